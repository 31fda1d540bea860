"""The demonstration: processes started, recorded, and reported."""
