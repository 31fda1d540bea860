"""Experiments that write a page each: rate against accuracy, one network for all tasks against one each."""
