"""The edge's control of what it does with each frame: what it knows of the link."""
