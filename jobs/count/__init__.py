"""Counts of sounds by site and period, and detection histories, from verdicts on windows."""
