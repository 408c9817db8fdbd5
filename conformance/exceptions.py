"""The list of tests that cannot pass, each with its reason: read, matched, and held to its limits."""

import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

LIST = Path(__file__).with_name("exceptions.toml")
# Of the tests that pass on the standard library, at most this share may be listed.
SHARE = 0.02


@dataclass(frozen=True)
class Entry:
    """Tests that are expected to fail on plait: a pattern of ids, the versions where they do, and why."""

    test: str
    reason: str
    suite: str = "*"
    versions: tuple[str, ...] = ()

    def covers(self, suite: str, test: str) -> bool:
        """Whether this entry speaks of the test."""
        return fnmatchcase(suite, self.suite) and fnmatchcase(test, self.test)


def version() -> str:
    """The running interpreter as the list names it: 3.13, 3.14t."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}" + ("t" if "t" in sys.abiflags else "")


def read(path: Path = LIST) -> list[Entry]:
    """The entries that hold for the running interpreter; ValueError where one gives no reason."""
    entries = []
    for table in tomllib.loads(path.read_text(encoding="utf-8")).get("exception", []):
        entry = Entry(**{**table, "versions": tuple(table.get("versions", ()))})
        if len(entry.reason.split()) < 4:
            raise ValueError(f"{path.name}: {entry.test}: {entry.reason!r} is no reason")
        if not entry.versions or version() in entry.versions:
            entries.append(entry)
    return entries
