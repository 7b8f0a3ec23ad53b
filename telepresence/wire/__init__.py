"""What crosses the network: packets, their clock, and which of them is shown. Sans-I/O: `now` is an argument."""
