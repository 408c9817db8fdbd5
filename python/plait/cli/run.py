"""`plait run`: the program as `python` would run it, with plait in place of the standard library.

It runs in this interpreter, as the module `__main__`. What reaches the top of it is shown and answered for as the
interpreter itself does, less the frames of this file. Those frames do lie beneath the program's own:
`traceback.print_stack()` shows them, as it shows runpy's for `python -m`, and they count towards the recursion limit.

Little is imported here, and nothing of the engine's face: a module that lies beside the script and is named as
one of the standard library's has to be found as `python` would find it.
"""

from __future__ import annotations

import builtins
import os
import sys

from plait import _install
from plait.cli.program import Program, UsageError

TYPE_CHECKING = False  # `typing` takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, ModuleType, TracebackType
    from typing import NoReturn, TextIO

__all__ = ["main"]

# What a module said of its bytecode until 3.14.
_CACHED: dict[str, None] = {"__cached__": None} if sys.version_info < (3, 15) else {}

HELP = """\
usage: plait run [-m MODULE | SCRIPT | -c CODE | -] [ARGS...]

Runs a program, unchanged, on plait: `plait run app.py x y` is `python app.py x y` with
plait in place of the standard library's locks, queues, futures and thread pools.

  SCRIPT      a file, or a directory or zip file that has a __main__.py
  -m MODULE   a module or package, found on sys.path
  -c CODE     a piece of code
  -           standard input; at a terminal, an interactive session
  ARGS        the program's own, as sys.argv[1:]

The exit status is the program's. Processes that it starts with multiprocessing run on
plait too (fork, spawn and forkserver); those that it starts with subprocess do not.
Options of the interpreter go before: python -X dev -m plait run app.py

environment: PLAIT_DEADLOCK=off|warn|raise
  what happens when threads wait for each other for ever: nothing, a warning, or
  plait.DeadlockError where no one could resolve it and a warning elsewhere (default)
"""


def main(arguments: Sequence[str]) -> int:
    """Run the program that `arguments` name. Does not return where the program ends by an exception."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    try:
        program = Program.parse("plait run", arguments)
    except UsageError:
        if arguments and arguments[0][:2] in (
            "-X",
            "-W",
            "-O",
            "-I",
            "-E",
            "-s",
            "-S",
            "-u",
            "-B",
            "-P",
            "-b",
        ):
            raise UsageError(
                "plait run", f"{arguments[0]} is the interpreter's: python {arguments[0]} -m plait run ..."
            ) from None
        raise
    _install.install()
    match program.kind:
        case "script":
            return _script(program)
        case "module":
            return _module(program)
        case "code":
            return _code(program)
        case "stdin":
            return _stdin(program)


def _script(program: Program) -> int:
    path = program.target
    absolute = os.getcwd() if path == "." else os.path.join(os.getcwd(), path)
    sys.argv[:] = [path, *program.arguments]
    if _has_importer(absolute):  # a directory or a zip file
        _set_path0(absolute, even_if_safe=True)
        _new_main()
        return _answer_for(lambda: _runpy("__main__", False))
    try:
        with open(absolute, "rb") as file:
            source = file.read()
    except OSError as error:
        where = f"{sys.executable}: can't open file {absolute!r}"
        print(f"{where}: [Errno {error.errno}] {error.strerror}", file=sys.stderr)
        return 2
    _set_path0(os.path.dirname(os.path.realpath(path)))
    if path.endswith(".pyc"):
        from importlib.machinery import SourcelessFileLoader

        loader = SourcelessFileLoader("__main__", absolute)
        main = _new_main(__file__=absolute, **_CACHED, __loader__=loader)
        return _answer_for(lambda: exec(loader.get_code("__main__") or "", main.__dict__))
    from importlib.machinery import SourceFileLoader

    try:
        code = compile(source, absolute, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        # Not one line of it has run. What is wrong with it, python says best (the file's encoding above all).
        _leave_to_python(program)
    main = _new_main(__file__=absolute, **_CACHED, __loader__=SourceFileLoader("__main__", absolute))
    return _answer_for(lambda: exec(code, main.__dict__))


def _module(program: Program) -> int:
    sys.argv[:] = ["-m", *program.arguments]
    _set_path0(os.getcwd())
    _new_main()
    return _answer_for(lambda: _runpy(program.target, True))


def _code(program: Program) -> int:
    sys.argv[:] = ["-c", *program.arguments]
    _set_path0("")
    main = _new_main(__loader__=_builtin_importer())
    source = program.target + "\n"
    if sys.version_info >= (3, 14) and source.lstrip("\n")[:1].isspace():
        from textwrap import dedent

        source = dedent(source)

    def execute() -> None:
        code = compile(source, "<string>", "exec", dont_inherit=True)
        _show_lines_of(code, source)
        exec(code, main.__dict__)

    return _answer_for(execute)


def _show_lines_of(code: CodeType, source: str) -> None:
    """Let tracebacks show the lines of `-c`, as they do from 3.13 on."""
    if sys.version_info >= (3, 14):
        import linecache

        linecache._register_code(code, source, "<string>")  # type: ignore[attr-defined]
    elif sys.version_info >= (3, 13):
        import linecache

        linecache.cache["<string>"] = (len(source), None, source.splitlines(keepends=True), "<string>")


def _stdin(program: Program) -> int:
    sys.argv[:] = [program.target, *program.arguments]
    _set_path0("")
    main = _new_main(__loader__=_builtin_importer())
    if sys.stdin is not None and sys.stdin.isatty():
        return _answer_for(lambda: _interact(main))

    def execute() -> None:
        source = sys.stdin.buffer.read() if sys.stdin is not None else b""
        main.__dict__.update(__file__="<stdin>", **_CACHED)
        exec(compile(source, "<stdin>", "exec", dont_inherit=True), main.__dict__)

    return _answer_for(execute)


def _interact(main: ModuleType) -> None:
    import code
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # its import gives input() its line editing
    banner = f'Python {sys.version} on {sys.platform}, on plait\nType "help" for more information.'
    code.interact(banner, local=main.__dict__, exitmsg="")


def _runpy(name: str, alter_argv: bool) -> None:
    import runpy

    # Private, and what `python -m` itself calls: its errors and its frames are those that python shows.
    runpy._run_module_as_main(name, alter_argv)  # type: ignore[attr-defined]


def _new_main(**attributes: object) -> ModuleType:
    """A fresh `__main__` in place of plait's own."""
    main = type(sys)("__main__")
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    main.__dict__.update(__builtins__=builtins, **attributes)
    _kept.append(sys.modules["__main__"])
    sys.modules["__main__"] = main
    return main


_kept: list[ModuleType] = []  # plait's own __main__ goes on running beneath


def _builtin_importer() -> object:
    from importlib.machinery import BuiltinImporter

    return BuiltinImporter


def _set_path0(directory: str, even_if_safe: bool = False) -> None:
    if not sys.flags.safe_path:
        sys.path[0] = directory  # in place of what this command's own start has put there
    elif even_if_safe:
        sys.path.insert(0, directory)


def _has_importer(path: str) -> bool:
    for hook in sys.path_hooks:
        try:
            sys.path_importer_cache[path] = hook(path)
        except ImportError:
            continue
        return True
    return False


def _leave_to_python(program: Program) -> NoReturn:
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]  # as multiprocessing does

    _flush(sys.stdout)
    _flush(sys.stderr)
    os.execv(sys.executable, [sys.executable, *_args_from_interpreter_flags(), *program.words()])


def _answer_for(program: Callable[[], object]) -> int:
    """Run it; what it raises ends this process as it would end `python`."""
    try:
        program()
    except SystemExit:
        raise
    except BaseException as exception:
        _report(exception, _below(exception.__traceback__))
        if not isinstance(exception, KeyboardInterrupt):
            return 1
    else:
        return 0
    return _die_interrupted()


def _below(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame on that is not of this file."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    return traceback


def _report(exception: BaseException, traceback: TracebackType | None) -> None:
    """Show it through `sys.excepthook`, as the interpreter does with what reaches its top."""
    exception.__traceback__ = traceback
    sys.last_type, sys.last_value, sys.last_traceback = type(exception), exception, traceback
    if sys.version_info >= (3, 12):
        sys.last_exc = exception
    _flush(sys.stdout)
    if not hasattr(sys, "excepthook"):
        print("sys.excepthook is missing", file=sys.stderr)
    hook = getattr(sys, "excepthook", sys.__excepthook__)
    try:
        hook(type(exception), exception, traceback)
    except SystemExit:
        raise
    except BaseException as second:
        second.__traceback__ = _below(second.__traceback__)
        second.__context__ = None if second.__context__ is exception else second.__context__
        print("Error in sys.excepthook:", file=sys.stderr)
        sys.__excepthook__(type(second), second, second.__traceback__)
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(type(exception), exception, traceback)


def _flush(stream: TextIO | None) -> None:
    try:
        if stream is not None:
            stream.flush()
    except Exception:
        pass  # the interpreter, too, goes on


def _die_interrupted() -> NoReturn:
    """End as the interpreter ends on Ctrl-C: after its finalization, by SIGINT. It has been reported already."""
    hook = sys.excepthook

    def silent(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
        sys.excepthook = hook

    sys.excepthook = silent
    raise KeyboardInterrupt
