"""The roadside unit's node: bottlenecks in, the features of a middle part of the network out."""
