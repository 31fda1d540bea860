"""Rosbags: written, played, replayed, and what came of it compared."""
