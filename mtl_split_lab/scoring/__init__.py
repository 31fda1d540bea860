"""Frames, the ways to send them, and how good the answers are."""
