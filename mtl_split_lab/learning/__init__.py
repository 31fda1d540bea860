"""From a recipe and its pictures to a bundle: training, calibration, export."""
