"""TensorRT: plans built from an engine's graphs on this machine, kept, checked, and executed without a stall."""
