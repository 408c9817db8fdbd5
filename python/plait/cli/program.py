"""A program as `python` takes it on its command line: a script, a module, a piece of code, or standard input."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` and `dataclasses` take longer to import than the rest of `plait run`
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    Kind = Literal["script", "module", "code", "stdin"]

__all__ = ["Program", "UsageError"]


class UsageError(Exception):
    """A wrong argument: one line for standard error, and exit status 2."""

    def __init__(self, command: str, problem: str) -> None:
        super().__init__(f"{command}: {problem} ({command} --help says more)")


class Program:
    """What to run, and the arguments for it."""

    def __init__(self, kind: Kind, target: str, arguments: Sequence[str]) -> None:
        self.kind = kind
        self.target = target  # a path, a module's name or code; "-" or "" for standard input
        self.arguments = list(arguments)

    @classmethod
    def parse(cls, command: str, words: Sequence[str]) -> Program:
        """Read `words` as `python` reads what follows its own options. `command` is named in a complaint."""
        first, *rest = words or [""]
        if first in ("", "-"):
            return cls("stdin", first, rest)
        if first.startswith("-m"):
            return cls("module", *_value(command, "-m", "the name of a module", words))
        if first.startswith("-c"):
            return cls("code", *_value(command, "-c", "a piece of code", words))
        if first.startswith("-"):
            raise UsageError(command, f"no option {first!r}")
        return cls("script", first, rest)

    def words(self) -> list[str]:
        """The words that `python`, and `plait run`, take for this program."""
        flag = {"module": ["-m"], "code": ["-c"]}.get(self.kind, [])
        return [*flag, self.target or "-", *self.arguments]

    def __str__(self) -> str:
        import shlex

        return shlex.join(self.words())


def _value(command: str, flag: str, what: str, words: Sequence[str]) -> tuple[str, list[str]]:
    first, *rest = words
    if first == flag and not rest:
        raise UsageError(command, f"{flag} needs {what}")
    value = first.removeprefix(flag) or rest.pop(0)
    return value, rest
