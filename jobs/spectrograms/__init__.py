"""Recordings to a cube of log-mel spectrograms with absolute levels."""
