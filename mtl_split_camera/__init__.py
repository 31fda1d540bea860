"""Image sources: the simulated street, a video file, a folder of pictures."""
