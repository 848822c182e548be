"""The ``embed`` job: one vector for every usable window of a cube."""
