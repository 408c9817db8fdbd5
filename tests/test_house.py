"""The rules of the house that no linter knows: what each file says first, and which way imports point.

Each rule comes with a piece of text that breaks it, so that a rule that has gone blind is noticed.
"""

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("crates", "python", "tests", "conformance", "benchmarks", "examples", "docs", ".ci")
SUFFIXES = {".rs", ".py", ".pyi", ".toml", ".md", ".sh", ".json", ""}
LINES = 400

# Which crates each crate may name. Nothing points upward; nothing sideways that is not written here.
MAY_USE = {
    "core": set(),
    "ring": set(),
    "reactor": {"core"},
    "trace": set(),
    "pool": {"core"},
    "proc": {"core", "ring", "reactor"},
    "shared": {"core", "ring"},
    "engine": {"core", "ring", "reactor", "trace", "pool", "proc", "shared"},
}
KNOWS_PYTHON = "engine"


def files() -> Iterator[PurePosixPath]:
    """Every text file that was written by hand, relative to the repository."""
    for name in sorted(path.name for path in ROOT.iterdir() if path.is_file() and path.name != "Cargo.lock"):
        if not name.startswith(("LICENSE", ".coverage")):
            yield PurePosixPath(name)
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            parts = path.relative_to(ROOT).parts
            if path.is_file() and path.suffix in SUFFIXES and "__pycache__" not in parts:
                yield PurePosixPath(*parts)


@dataclass(frozen=True)
class Rule:
    """One rule: which files it is about, what is wrong with a file's text (None: nothing), and text that breaks it."""

    name: str
    about: Callable[[PurePosixPath], bool]
    wrong: Callable[[PurePosixPath, str], str | None]
    broken: tuple[str, str]


def suffix(*suffixes: str, inside: str = "") -> Callable[[PurePosixPath], bool]:
    """Whether a path ends so, and lies inside the folder."""
    return lambda path: path.suffix in suffixes and str(path).startswith(inside)


def search(pattern: str, but: str = "") -> Callable[[PurePosixPath, str], str | None]:
    """Finds the first line that holds the pattern, and not `but`."""

    def wrong(_: PurePosixPath, text: str) -> str | None:
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(pattern, line) and not (but and re.search(but, line)):
                return f"line {number}: {line.strip()}"
        return None

    return wrong


def says_first_what_it_is(path: PurePosixPath, text: str) -> str | None:
    """A Rust module begins with `//!`, a Python module with a docstring."""
    if path.suffix == ".rs":
        return None if text.startswith("//! ") else "does not begin with //!"
    return None if ast.get_docstring(ast.parse(text)) else "does not begin with a docstring"


def is_short(_: PurePosixPath, text: str) -> str | None:
    """A long file says why."""
    lines = len(text.splitlines())
    if lines <= LINES or "long because" in text.lower():
        return None
    return f'{lines} lines, and none that says "Long because ..."'


def code_of_engine(path: PurePosixPath, text: str) -> str | None:
    """Nothing in the engine unwraps: a panic there is somebody's exception."""
    return search(r"\.(unwrap|expect|unwrap_err|expect_err)\(")(path, without_tests(text))


def without_tests(text: str) -> str:
    """The module without its comments and without the tests at its end."""
    return re.sub(r"//.*", "", text.split("#[cfg(test)]")[0])


# Written in two parts, so that this file keeps its own rules.
MACHINE = "|".join(("/ro" + "ot/", "/ho" + "me/[a-z]", "/wo" + "rk/", r"/opt/" + r"py\d", "/tmp/" + "[vt]/"))
UNFINISHED = "|".join(("XX" + "X", "TO" + "DO", "FIX" + "ME", "HA" + "CK"))
CYRILLIC = "[\u0400-\u04ff]"

RULES = (
    Rule("says first what it is", suffix(".rs", ".py"), says_first_what_it_is, ("a.rs", "use std::fmt;\n")),
    Rule("is short, or says why not", suffix(".rs", ".py", ".pyi"), is_short, ("a.py", "pass\n" * 500)),
    Rule(
        "has a name that says something",
        # A mirrored module is called as the standard library's.
        lambda path: path.parent != PurePosixPath("python/plait/multiprocessing"),
        lambda path, _: (
            f"is called {path.name}"
            if re.fullmatch(r"_?(utils?|common|helpers?|misc|managers?|tools)", path.stem)
            else None
        ),
        ("crates/core/src/utils.rs", ""),
    ),
    Rule(
        "does not unwrap",
        suffix(".rs", inside="crates/engine/src"),
        code_of_engine,
        ("a.rs", "let a = b.unwrap();\n"),
    ),
    Rule(
        "knows no Python",
        lambda path: path.parts[0] == "crates" and path.parts[1] != KNOWS_PYTHON,
        lambda path, text: search(r"pyo3|cpython", but=r"^\s*//|^\s*#")(path, text),
        ("crates/core/Cargo.toml", "[dependencies]\npyo3.workspace = true\n"),
    ),
    Rule("names no folder of one machine", lambda path: True, search(MACHINE), ("a.md", "cd /ro" + "ot/plait")),
    Rule(
        "leaves nothing undone",
        suffix(".rs", ".py", ".pyi"),
        search(rf"\b({UNFINISHED})\b"),
        ("a.py", "# TO" + "DO"),
    ),
    Rule("is written in English", lambda path: True, search(CYRILLIC), ("a.md", "\u043f\u043b\u0435\u0442\u044c")),
    Rule(
        "skips no test without a reason",
        suffix(".py", inside="tests/"),
        search(r"mark\.(skip|xfail)(?!\w)", but=r"reason|\($"),
        ("tests/test_a.py", "@pytest.mark.sk" + "ip\n"),
    ),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    seen, found = 0, []
    for path in files():
        if rule.about(path):
            seen += 1
            problem = rule.wrong(path, (ROOT / path).read_text(encoding="utf-8"))
            if problem is not None:
                found.append(f"{path}: {problem}")
    assert seen, "the rule is about no file at all"
    assert not found, "\n".join(found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_broken_rule_is_noticed(rule: Rule) -> None:
    name, text = rule.broken
    assert rule.wrong(PurePosixPath(name), text) is not None


def crates() -> dict[str, dict[str, object]]:
    """Each crate's Cargo.toml, by the crate's folder."""
    return {
        path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "crates").glob("*/Cargo.toml"))
    }


def dependencies(manifest: dict[str, object]) -> set[str]:
    """The names of all dependencies: of the library, of its tests and of its build script, on any target."""
    names: set[str] = set()
    for key, value in manifest.items():
        if key.endswith("dependencies") and isinstance(value, dict):
            names |= value.keys()
        elif key == "target" and isinstance(value, dict):
            for target in value.values():
                names |= dependencies(target)
    return names


def test_crates_point_one_way() -> None:
    manifests = crates()
    assert KNOWS_PYTHON in manifests
    for crate, manifest in manifests.items():
        ours = {name.removeprefix("plait-") for name in dependencies(manifest) if name.startswith("plait-")}
        assert ours <= MAY_USE[crate], f"crates/{crate} may not use {', '.join(sorted(ours - MAY_USE[crate]))}"


def test_dependencies_are_found_wherever_they_are_named() -> None:
    manifest = tomllib.loads(
        "[dependencies]\na.workspace = true\n[dev-dependencies]\nb = '1'\n"
        "[target.'cfg(loom)'.dependencies]\nc = '1'\n[build-dependencies]\nd = '1'\n"
    )
    assert dependencies(manifest) == {"a", "b", "c", "d"}


def test_the_package_imports_nothing_from_beside_it() -> None:
    outside = {"tests", "conformance", "benchmarks", "examples"}
    for path in sorted((ROOT / "python").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
                names.append(node.module)
            assert not {name.partition(".")[0] for name in names} & outside, f"{path}: {names}"


def test_every_module_is_in_the_package_and_every_test_in_the_run() -> None:
    """A folder of modules without `__init__.py`, or a file of tests by another name, would be left out silently."""
    for path in (ROOT / "python" / "plait").rglob("*.py"):
        assert (path.parent / "__init__.py").exists(), f"{path.parent} has no __init__.py"
    for path in (ROOT / "tests").glob("*.py"):
        named = path.name.startswith("test_") or path.name == "conftest.py"
        has_tests = re.search(r"^\s*def test_", path.read_text(encoding="utf-8"), re.M)
        assert named or not has_tests, f"{path.name} holds tests and is not run"
