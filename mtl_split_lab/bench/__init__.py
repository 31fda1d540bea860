"""Measurements on this machine, each with its page in docs/results; `make bench` runs them."""
