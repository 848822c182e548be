"""The errors that a user can meet, each with the exit code of the command that raises it."""


class DawnchorusError(Exception):
    """Base of every error that carries a message for the user.

    A message names the thing, what was expected, what was found and what to do next.
    """

    exit_code = 1


class InputError(DawnchorusError, ValueError):
    """A recording, manifest, table or image is not what it should be; the user can mend it."""

    exit_code = 3


class UsageError(InputError):
    """A word on the command line is not what it should be."""

    exit_code = 2


class StoreFormatError(InputError):
    """A store has another format version or schema than this release reads."""


class IdentityError(InputError):
    """A run's name is taken by a run with another configuration."""


class StoreError(DawnchorusError):
    """A store is incomplete, damaged, or differs from its ledger."""

    exit_code = 4


class QuarantineError(DawnchorusError):
    """The run finished, but set aside more recordings than it may."""

    exit_code = 5


class TryAgainError(DawnchorusError):
    """The run cannot go on now: another process owns it, or the disk is full."""

    exit_code = 75
