"""A network that gives vectors of frames, as ``contrast`` trains and ``embed`` uses it."""
