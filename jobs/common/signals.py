"""Signals by name, as far as the system has them: Windows has no SIGHUP, and a process starts there all the same."""

import signal


def signals(*names: str) -> tuple[signal.Signals, ...]:
    """Return those of the signals that this system has."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))
