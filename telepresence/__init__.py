"""A real-time telepresence avatar streamer: only motion crosses the network, the receiver draws the picture."""

__version__ = "0.1.0"
