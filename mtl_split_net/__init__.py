"""The network in torch: backbones with named split points, the bottleneck at the split, heads and losses."""
