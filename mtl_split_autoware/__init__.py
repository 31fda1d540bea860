"""The node that hands detections to Autoware."""
