"""Tells when a module has been imported: a finder that lets the others find it and wraps its loader.

The wrapper takes itself out before the module runs, so `__spec__.loader` and `__loader__` are what they would
have been. The call comes after the module's own code and before the import statement returns, in the thread that
imports, with the module's import lock held.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of plait
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

__all__ = ["is_complete", "unwatch", "watch"]


class _Finder:
    def __init__(self) -> None:
        self.watches: dict[Callable[[str], None], frozenset[str]] = {}

    def tell(self, name: str) -> None:
        for tell, names in list(self.watches.items()):
            if name in names:
                tell(name)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not any(name in names for names in list(self.watches.values())):
            return None
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            if finder is self or find_spec is None:
                continue
            spec: ModuleSpec | None = find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]  # duck-typed, as the import system takes it
                return spec
        return None


class _Loader:
    def __init__(self, loader: Any, finder: _Finder) -> None:
        self.loader = loader
        self.finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        _ended.discard(name)
        self.loader.exec_module(module)
        _ended.add(name)
        self.finder.tell(name)


_finder = _Finder()
_ended: set[str] = set()  # modules loaded through here whose own code has come to its end


def watch(names: Iterable[str], tell: Callable[[str], None]) -> None:
    """Call `tell(name)` each time that one of `names` has been executed by an import. One watch for each `tell`."""
    _finder.watches[tell] = frozenset(names)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def unwatch(tell: Callable[[str], None]) -> None:
    """End the watch."""
    _finder.watches.pop(tell, None)
    if not _finder.watches and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


def is_complete(name: str) -> bool:
    """Whether the module is imported and its own code has come to its end."""
    module = sys.modules.get(name)
    if module is None:
        return False
    # While a module is being told of, the import system still calls it unfinished: hence `_ended`.
    return name in _ended or not getattr(getattr(module, "__spec__", None), "_initializing", False)
