"""The edge node: camera images in, bottlenecks out."""
