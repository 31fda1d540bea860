"""Off the vehicle: data sets, training, export, evaluation, the demo and the `mtl-split` command."""
