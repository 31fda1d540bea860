"""The perception itself, free of ROS and of training: both halves of the network, the bottleneck between them, the bundle."""
