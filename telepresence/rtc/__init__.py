"""WebRTC between edges, and between an edge and its own page: aiortc adapters and the edge process."""
