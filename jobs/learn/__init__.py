"""A linear head for each sound, from vectors and verdicts."""
