"""Faces without a network: landmarks, motion, basis, retargeting. Pure, but for the MediaPipe adapter."""
