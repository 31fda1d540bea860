"""The perception itself, free of ROS and of training: the two halves, the bottleneck between them, the bundle."""
