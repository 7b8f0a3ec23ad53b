"""The few-shot adversarial method of Zakharov et al. 2019, as an engine like any other."""
