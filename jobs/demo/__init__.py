"""The demo study: a synthetic dawn chorus with known truth, made here and always the same."""
