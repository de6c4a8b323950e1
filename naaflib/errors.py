"""What a user can do wrong, as one sentence. The command line prints it and exits; a notebook shows it."""


class NaafError(ValueError):
    """The input cannot be used (exit status 1). The message: the file, the place, the remedy."""

    exit_status = 1


class UsageError(NaafError):
    """The request itself is wrong: an unknown name, a value out of range (exit status 2)."""

    exit_status = 2
