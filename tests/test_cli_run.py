"""`plait run` does what `python` does: each case runs under both, and output and exit status have to be the same."""

import os
import pty
import py_compile
import signal
import subprocess
import zipfile
from pathlib import Path

import pytest

from side_by_side import PLAIT, PYTHON, SECONDS, same, under_plait

LOOK = """\
import sys
print(sys.argv, sys.path, __name__)
print(sys.modules["__main__"].__dict__ is globals(), __builtins__)
print({name: value for name, value in globals().items() if name.startswith("__") and name != "__builtins__"})
"""
ON_PLAIT = "import threading; print(threading.Lock.__module__, type(threading.Lock()).__module__)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to be started in, whose name has a blank."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    return folder


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


class TestWhatTheProgramSees:
    @pytest.mark.parametrize("spelling", ["look.py", "./look.py", "../a folder/look.py", "{}/look.py"])
    def test_script(self, folder: Path, spelling: str) -> None:
        write(folder / "look.py", LOOK)
        seen = same(spelling.format(folder), "one", "-m", "--two", cwd=folder)
        assert seen.status == 0
        assert "'one', '-m', '--two'" in seen.stdout

    def test_script_by_a_link(self, folder: Path) -> None:
        write(folder / "real" / "look.py", LOOK)
        (folder / "link.py").symlink_to("real/look.py")
        assert str(folder / "real") in same("link.py", cwd=folder).stdout

    def test_module(self, folder: Path) -> None:
        write(folder / "look.py", LOOK)
        same("-m", "look", "one", "-x", cwd=folder)
        same("-mlook", cwd=folder)

    def test_package(self, folder: Path) -> None:
        write(folder / "pack" / "__init__.py", "print('package')")
        write(folder / "pack" / "__main__.py", LOOK + "from . import other")
        write(folder / "pack" / "other.py", "print(__name__)")
        assert same("-m", "pack", cwd=folder).stdout.endswith("pack.other\n")
        same("-m", "pack.other", cwd=folder)

    @pytest.mark.parametrize("spelling", [".", "pack", "./pack", "pack/"])
    def test_directory(self, folder: Path, spelling: str) -> None:
        write(folder / "pack" / "__main__.py", LOOK + "import beside")
        write(folder / "pack" / "beside.py", "print('beside')")
        seen = same(spelling, "one", cwd=folder / "pack" if spelling == "." else folder)
        assert seen.stdout.endswith("beside\n")

    def test_zip_file(self, folder: Path) -> None:
        with zipfile.ZipFile(folder / "app.pyz", "w") as archive:
            archive.writestr("__main__.py", LOOK + "import beside")
            archive.writestr("beside.py", "print('beside')")
        assert same("app.pyz", "one", cwd=folder).stdout.endswith("beside\n")

    @pytest.mark.parametrize("arguments", [("-c", LOOK, "one", "-c"), ("-c" + LOOK,)])
    def test_code(self, folder: Path, arguments: tuple[str, ...]) -> None:
        assert same(*arguments, cwd=folder).status == 0

    def test_indented_code(self) -> None:
        same("-c", "    if True:\n        print('indented')\n    print(1)")

    @pytest.mark.parametrize("arguments", [(), ("-",), ("-", "one", "-x")])
    def test_standard_input(self, folder: Path, arguments: tuple[str, ...]) -> None:
        assert "<stdin>" in same(*arguments, cwd=folder, stdin=LOOK).stdout

    def test_compiled_file(self, folder: Path) -> None:
        write(folder / "look.py", LOOK + "1 / 0")
        py_compile.compile(str(folder / "look.py"), cfile=str(folder / "look.pyc"))
        assert same("look.pyc", "one", cwd=folder).status == 1

    @pytest.mark.parametrize("flag", ["-P", "-I", "-E", "-s", "-O", "-OO", "-Xdev", "-Wignore", "-b", "-u"])
    def test_options_of_the_interpreter(self, folder: Path, flag: str) -> None:
        write(folder / "pack" / "__main__.py", LOOK)
        write(folder / "look.py", LOOK + "print(sys.flags, sys.warnoptions, __debug__)")
        for arguments in ("look.py",), ("pack",), ("-c", LOOK):
            assert same(*arguments, cwd=folder, flags=[flag]).status == 0

    def test_safe_path_by_the_environment(self, folder: Path) -> None:
        write(folder / "look.py", LOOK)
        same("look.py", cwd=folder, env={"PYTHONSAFEPATH": "1"})

    def test_encodings(self, folder: Path) -> None:
        write(folder / "latin.py", "# coding: latin-1\nprint(ascii('\xe4'))".encode("latin-1"))
        write(folder / "bom.py", b"\xef\xbb\xbfprint(ascii('\xc3\xa4'))\r\nprint(1)\r\n")
        assert same("latin.py", cwd=folder).stdout == "'\\xe4'\n"
        assert same("bom.py", cwd=folder).stdout == "'\\xe4'\n1\n"

    def test_no_future_statement_leaks_in(self) -> None:
        same("-c", "def f(x: list[int]): pass\nprint(f.__annotations__)")

    def test_files_beside_the_script_that_are_named_as_the_standard_library_s(self, folder: Path) -> None:
        names = ["copy", "inspect", "logging", "pickle", "random", "re", "signal", "socket", "string"]
        for name in [*names, "traceback", "types", "typing", "weakref"]:
            write(folder / f"{name}.py", f"print('my own {name}')")
        write(folder / "look.py", f"import {', '.join(names)}")
        assert same("look.py", cwd=folder).stdout.count("my own") == len(names)

    def test_it_is_on_plait(self) -> None:
        assert under_plait("-c", ON_PLAIT).stdout == "plait.threading plait.threading\n"


class TestInput:
    def test_the_program_reads_standard_input(self) -> None:
        assert same("-c", "print(input(), input())", stdin="one\ntwo\n").stdout == "one two\n"

    def test_input_past_the_end(self) -> None:
        assert "EOFError" in same("-c", "input()").stderr

    def test_a_program_that_comes_by_standard_input_finds_it_at_its_end(self) -> None:
        assert same("-", stdin="import sys; print(repr(sys.stdin.read()))").stdout == "''\n"

    def test_an_interactive_session(self) -> None:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            PLAIT,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "TERM": "dumb"},
        ) as session:
            os.close(theirs)
            os.write(
                ours, b"x = 20 + 1\nprint('sum', 2 * x)\n1 / 0\nimport __main__; print(__main__.x)\n\x04"
            )
            out, err = session.communicate(timeout=SECONDS)
            os.close(ours)
        assert b"sum 42" in out
        assert b"\n21\n" in out.replace(b">>> ", b"\n")
        assert b"ZeroDivisionError" in err
        assert session.returncode == 0


class TestEndings:
    @pytest.mark.parametrize(
        "value", ["", "None", "0", "3", "256", "-1", "'a text'", "(1, 2)", "True", "2.5", "10**30"]
    )
    def test_sys_exit(self, value: str) -> None:
        same("-c", f"import sys; print('before'); sys.exit({value})")

    def test_sys_exit_in_a_function_of_a_script(self, folder: Path) -> None:
        write(
            folder / "end.py",
            "import sys\ndef f():\n    try:\n        sys.exit(4)\n    finally:\n        print('f')\nf()",
        )
        assert same("end.py", cwd=folder).status == 4
        assert same("-m", "end", cwd=folder).status == 4

    def test_exit_functions_threads_and_flush_at_the_end(self, folder: Path) -> None:
        write(
            folder / "end.py",
            "import atexit, threading\n"
            "atexit.register(print, 'atexit', __name__)\n"
            "go = threading.Event()\n"
            "threading.Thread(target=lambda: (go.wait(), print('thread'))).start()\n"
            "threading.Thread(target=go.wait, args=(1000,), daemon=True).start()\n"
            "print('main', end='')\n"
            "go.set()\n",
        )
        assert same("end.py", cwd=folder).stdout == "mainthread\natexit __main__\n"

    def test_os_exit(self) -> None:
        assert same("-c", "import os; os._exit(7)").status == 7

    @pytest.mark.parametrize("how", [("end.py",), ("-m", "end"), ("-c", "import end"), ("pack",)])
    def test_keyboard_interrupt(self, folder: Path, how: tuple[str, ...]) -> None:
        code = "import atexit; atexit.register(print, 'atexit'); raise KeyboardInterrupt('by hand')"
        write(folder / "end.py", code)
        write(folder / "pack" / "__main__.py", code)
        ended = same(*how, cwd=folder)
        assert (ended.status, ended.stdout) == (-signal.SIGINT, "atexit\n")

    def test_ctrl_c(self, folder: Path) -> None:
        """The program says when it is about to wait; the signal comes then."""
        write(
            folder / "wait.py",
            "import threading\n"
            "lock = threading.Lock()\n"
            "lock.acquire()\n"
            "print('waits', flush=True)\n"
            # A signal that comes between the print and the wait is heard at the wait's end: so wait in pieces.
            "while not lock.acquire(timeout=0.1): pass\n",
        )
        ends = []
        for command in PYTHON, PLAIT:
            with subprocess.Popen(
                [*command, "wait.py"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "waits\n"
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=SECONDS)
                assert "plait" not in err
                ends.append((process.returncode, err.splitlines()[0], err.splitlines()[-1]))
        assert (
            ends[0] == ends[1] == (-signal.SIGINT, "Traceback (most recent call last):", "KeyboardInterrupt")
        )

    def test_killed_by_another_signal(self) -> None:
        assert same("-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)").status == -signal.SIGTERM


class TestTracebacks:
    DEEP = "def f(n):\n    if n:\n        f(n - 1)\n    raise ValueError('deep')\nf(3)\n"

    @pytest.mark.parametrize(
        "how", [("deep.py",), ("-m", "deep"), ("-c", DEEP), ("-c", "import deep"), ("pack",)]
    )
    def test_of_a_plain_error(self, folder: Path, how: tuple[str, ...]) -> None:
        write(folder / "deep.py", self.DEEP)
        write(folder / "pack" / "__main__.py", self.DEEP)
        ended = same(*how, cwd=folder)
        assert ended.status == 1
        assert "plait" not in ended.stderr

    def test_of_standard_input(self) -> None:
        same(stdin=self.DEEP)

    @pytest.mark.parametrize(
        "code",
        [
            "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise ValueError(2) from error",
            "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise ValueError(2)",
            "raise ExceptionGroup('two', [ValueError(1), TypeError(2)])",
            "import nosuchmodule",
            "raise KeyError('a\\nb')",
            "class E(BaseException): pass\nraise E(1)",
            "class E(Exception):\n    def __str__(self): 1 / 0\nraise E",
            "error = ValueError(1)\nerror.add_note('a note')\nraise error",
            "raise GeneratorExit",
            "nam = 1\nname",
            "async def f(): 1 / 0\nimport asyncio\nasyncio.run(f())",
        ],
    )
    def test_of_special_errors(self, folder: Path, code: str) -> None:
        write(folder / "error.py", code)
        assert same("error.py", cwd=folder).status == 1

    def test_of_an_error_in_a_thread(self) -> None:
        same(
            "-c",
            "import threading\nt = threading.Thread(target=lambda: 1 / 0, name='T')\nt.start()\nt.join()",
        )

    @pytest.mark.parametrize(
        "hook",
        [
            "lambda *args: print('hook', args[0], [f.name for f in traceback.extract_tb(args[2])])",
            "lambda *args: 1 / 0",
            "lambda *args: sys.exit(5)",
            "None",
        ],
    )
    def test_the_programs_own_hook(self, folder: Path, hook: str) -> None:
        write(folder / "hook.py", f"import sys, traceback\nsys.excepthook = {hook}\ndef f(): [][0]\nf()")
        same("hook.py", cwd=folder)

    def test_a_hook_that_was_deleted(self) -> None:
        same("-c", "import sys; del sys.excepthook; 1 / 0")

    def test_what_is_left_in_sys(self) -> None:
        code = (
            "import atexit, sys, traceback\n"
            "def look():\n"
            "    print(sys.last_type, sys.last_value, [f.name for f in traceback.extract_tb(sys.last_traceback)])\n"
            "    print(getattr(sys, 'last_exc', None))\n"
            "atexit.register(look)\n"
            "1 / 0"
        )
        assert "ZeroDivisionError" in same("-c", code).stdout

    def test_standard_error_is_closed(self) -> None:
        same("-c", "import sys; sys.stderr = None; 1 / 0")
        same("-c", "import sys; sys.stdout = None; 1 / 0")


class TestWhatCannotRun:
    @pytest.mark.parametrize(
        "content",
        [
            b"x = (1\nprint('never')\n",
            b"if True:\nprint(1)\n",
            b"\tx = 1\n        y = 2\n",
            b"print('a\xff')\n",
            b"print(1)\nx = 1\0\n",
            b"\0",
            b"# coding: nosuch\nprint(1)\n",
            b"\xff\xfep\0r\0i\0n\0t\0(\0)\0",
            b"return 1\n",
            b"await x\n",
        ],
        ids=lambda content: ascii(content)[2:-1][:25],
    )
    def test_a_file_that_is_not_python(self, folder: Path, content: bytes) -> None:
        write(folder / "bad.py", content)
        write(folder / "pack" / "__main__.py", content)
        assert same("bad.py", "one", cwd=folder).status == 1
        assert same("-m", "bad", cwd=folder).status == 1
        assert same("pack", cwd=folder).status == 1

    def test_code_that_is_not_python(self) -> None:
        for code in "x = (1", "if True:\nprint(1)", "return 1":
            assert same("-c", code).status == 1
            assert same(stdin=code).status == 1

    def test_an_empty_file(self, folder: Path) -> None:
        write(folder / "empty.py", "")
        assert same("empty.py", cwd=folder).status == 0
        assert same("-c", "").status == 0
        assert same(stdin="").status == 0

    @pytest.mark.parametrize(
        "path", ["nosuch.py", "nosuch/file.py", "./nosuch.py", "file.py/nosuch", "x" * 300]
    )
    def test_a_file_that_is_not_there(self, folder: Path, path: str) -> None:
        write(folder / "file.py", "")
        assert same(path, cwd=folder).status == 2

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
    def test_a_file_that_may_not_be_read(self, folder: Path) -> None:
        write(folder / "secret.py", "").chmod(0)
        assert same("secret.py", cwd=folder).status == 2

    @pytest.mark.parametrize("path", [".", "empty", "empty.zip"])
    def test_a_place_without_main(self, folder: Path, path: str) -> None:
        (folder / "empty").mkdir()
        zipfile.ZipFile(folder / "empty.zip", "w").close()
        assert same(path, cwd=folder).status == 1

    @pytest.mark.parametrize(
        "module", ["nosuch", "no.such", "folder", "folder.nosuch", "json.nosuch", ".x", "look.py", "sys"]
    )
    def test_a_module_that_cannot_run(self, folder: Path, module: str) -> None:
        write(folder / "folder" / "__init__.py", "")
        write(folder / "look.py", "")
        assert same("-m", module, cwd=folder).status == 1

    def test_a_package_that_fails(self, folder: Path) -> None:
        write(folder / "pack" / "__init__.py", "1 / 0")
        write(folder / "pack" / "module.py", "")
        assert same("-m", "pack.module", cwd=folder).status == 1
