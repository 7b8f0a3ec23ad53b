"""How good a generator's pictures are: self-reenactment of real clips, figures and sheets. See docs/evaluate.md."""
