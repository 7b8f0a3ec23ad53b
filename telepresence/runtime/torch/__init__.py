"""torch as a runtime: executes an engine's graph operator by operator, on a GPU captured whole as one CUDA graph."""
