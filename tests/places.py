"""Checks that what install() touches is afterwards as it was before."""

import contextlib
import importlib
from collections.abc import Iterator
from operator import attrgetter

from plait import _install


@contextlib.contextmanager
def left_as_they_were() -> Iterator[None]:
    """Every name in every place that installing touches has to be the same object at the block's end."""
    seen = []
    for row in _install.FACES:
        module = importlib.import_module(row.module)
        for path in row.names:
            owner, _, name = path.rpartition(".")
            holder = getattr(module, owner) if owner else module
            getattr(holder, name, None)  # some names are made when first asked for
            seen.append((holder, name, vars(holder).get(name)))
    yield
    for holder, name, value in seen:
        assert vars(holder).get(name) is value, f"{holder} {name}"


def is_there(row: _install.Face, path: str) -> bool:
    """Whether this version has the name."""
    try:
        attrgetter(path)(importlib.import_module(row.module))
    except AttributeError:
        return False
    return True


def is_shared(row: _install.Face, path: str) -> bool:
    """Whether plait's object for the name is the standard library's own, as on some versions."""
    if not is_there(row, path):
        return False
    return attrgetter(path)(importlib.import_module(row.module)) is getattr(
        importlib.import_module(row.face), row.names[path]
    )
