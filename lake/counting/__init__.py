"""Counts from a sample of windows that people heard: which to hear, how many sounds there are, and how sure that is."""
