"""The server node: bottlenecks in, one topic per task out."""
