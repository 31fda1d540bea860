"""The network in torch: backbones with named split points, the bottleneck at the split, heads for every task, and their losses."""
