"""The ``adopt`` job: a vision transformer that was trained elsewhere becomes a backbone of the lake."""
