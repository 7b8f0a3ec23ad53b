"""Sinks: where pictures go."""
