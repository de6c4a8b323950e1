"""What a user can do wrong, as one sentence. The command line prints it and exits; a notebook shows it."""

from collections.abc import Iterable


class NaafError(ValueError):
    """The input cannot be used (exit status 1). The message: the file, the place, the remedy."""

    exit_status = 1

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: a notebook shows the sentence alone, without the way that led to it."""
        return [f"{type(self).__name__}: {self}"]


class UsageError(NaafError):
    """The request itself is wrong: an unknown name, a value out of range (exit status 2)."""

    exit_status = 2


def unknown(kind: str, name: object, names: Iterable[str]) -> UsageError:
    """The error of a name that is none of the known ones; kind: "method", "pooling", ..."""
    return UsageError(f"there is no {kind} {name!r}; {kind}s: {', '.join(names)}")


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind where it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
