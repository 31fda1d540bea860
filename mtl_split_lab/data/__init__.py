"""What networks learn from and are tested on: labelled pictures, wherever they come from."""
