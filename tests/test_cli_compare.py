"""`plait compare`: what it measures, what it calls the same, what it says, and how it ends."""

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from plait.cli.program import Program
from plait.cli.report import Comparison, Difference
from plait.cli.trial import Trial, run
from side_by_side import SECONDS, Ended, start

DIFFERS = "import threading; print('one'); print(threading.Lock.__module__); print('three')"


def compare(*arguments: str, stdin: str = "", cwd: Path | None = None) -> Ended:
    return start([sys.executable, "-m", "plait", "compare", *arguments], stdin=stdin, cwd=cwd)


def compared(*arguments: str, **how: Any) -> dict[str, Any]:
    ended = compare("--json", *arguments, **how)
    report: dict[str, Any] = json.loads(ended.stdout)
    assert ended.status == (0 if report["same"] else 1)
    return report


class TestWhatIsTheSame:
    def test_a_program_that_prints_the_same(self) -> None:
        report = compared("--rounds", "2", "-c", "print(1)")
        assert report["same"] is True
        assert report["difference"] is None
        assert [pair["first"] for pair in report["rounds"]] == ["plait", "stdlib"]
        assert all(pair[side]["status"] == 0 for pair in report["rounds"] for side in ("stdlib", "plait"))

    def test_output_that_differs_is_an_error_with_a_diff(self) -> None:
        ended = compare("-c", DIFFERS)
        assert (ended.status, ended.stdout) == (1, "")
        assert ended.stderr.splitlines() == [
            "plait compare: stdout differs",
            "--- standard library",
            "+++ plait",
            "@@ -1,3 +1,3 @@",
            " one",
            "-_thread",
            "+plait.threading",
            " three",
        ]

    def test_output_that_differs_as_json(self) -> None:
        report = compared("-c", DIFFERS)
        assert report["same"] is False
        assert report["difference"]["kind"] == "stdout"
        assert report["difference"]["stdlib_changes_by_itself"] is False
        assert "+plait.threading" in report["difference"]["text"]
        assert report["summary"] == {}

    def test_output_that_changes_by_itself_is_said_to(self) -> None:
        ended = compare("-c", "import os; print(os.getpid())")
        assert ended.status == 1
        assert "changes from run to run" in ended.stderr

    def test_lines_to_ignore(self) -> None:
        assert compare("--rounds", "1", "--ignore", "^_thread|^plait[.]", "-c", DIFFERS).status == 0
        assert compare("--rounds", "1", "--ignore", "^_thread", "-c", DIFFERS).status == 1

    def test_all_output_ignored(self) -> None:
        report = compared("--rounds", "1", "--ignore-output", "-c", DIFFERS)
        assert (report["same"], report["output_compared"]) == (True, False)

    def test_the_end_of_the_last_line_counts(self) -> None:
        code = "import threading; print('x', end='\\n' if 'plait' in threading.Lock.__module__ else '')"
        assert "only the end of the last line differs" in compare("-c", code).stderr

    def test_standard_error_counts_when_asked(self) -> None:
        code = "import threading, sys; print(threading.Lock.__module__, file=sys.stderr)"
        assert compare("--rounds", "1", "-c", code).status == 0
        assert "stderr differs" in compare("--compare-stderr", "-c", code).stderr

    def test_an_ending_that_differs(self) -> None:
        code = "import threading, sys; sys.exit('plait' in threading.Lock.__module__ and 'the reason')"
        ended = compare("-c", code)
        assert ended.status == 1
        assert "on the standard library: exit status 0; on plait: exit status 1" in ended.stderr
        assert ended.stderr.endswith("the reason\n")

    def test_a_signal_that_differs(self) -> None:
        code = "import threading, os\nif 'plait' in threading.Lock.__module__: os.kill(os.getpid(), 11)"
        assert "on plait: killed by SIGSEGV" in compare("-c", code).stderr

    def test_a_program_that_fails_alike(self) -> None:
        ended = compare("--rounds", "1", "-c", "raise ValueError('twice the same')")
        assert ended.status == 0
        assert "exit status 1" in ended.stdout
        assert "ValueError: twice the same" in ended.stdout

    def test_sets_come_in_the_same_order(self) -> None:
        assert compare("--rounds", "1", "-c", "print({str(n) for n in range(99)})").status == 0

    def test_a_run_past_the_time_limit(self) -> None:
        ended = compare("--timeout", "0.5", "-c", "import time; time.sleep(1000)")
        assert ended.status == 1
        assert "no end within the time limit" in ended.stderr


class TestWhatTheProgramGets:
    def test_standard_input_goes_to_both(self) -> None:
        ended = compare(
            "--rounds", "1", "--show-output", "-c", "print(input() + input())", stdin="one\ntwo\n"
        )
        assert ended.status == 0
        assert ended.stdout.startswith("onetwo\n")

    def test_standard_input_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "in").write_text("from a file\n")
        ended = compare(
            "--stdin", "in", "--rounds", "1", "--show-output", "-c", "print(input())", cwd=tmp_path
        )
        assert ended.stdout.startswith("from a file\n")

    def test_arguments_and_options_of_its_own(self, tmp_path: Path) -> None:
        (tmp_path / "program.py").write_text("import sys; print(sys.argv)")
        for how, name in (["program.py"], "program.py"), (["-m", "program"], str(tmp_path / "program.py")):
            ended = compare("--rounds", "1", "--show-output", *how, "--rounds", "7", "-m", cwd=tmp_path)
            assert ended.stdout.startswith(f"['{name}', '--rounds', '7', '-m']\n")

    def test_options_of_the_interpreter(self) -> None:
        code = "import sys; print(sys.flags.optimize)"
        command = [
            sys.executable,
            "-OO",
            "-m",
            "plait",
            "compare",
            "--show-output",
            "--rounds",
            "1",
            "-c",
            code,
        ]
        assert start(command).stdout.startswith("2\n")


class TestMeasures:
    def trial(self, code: str, side: str = "stdlib") -> Trial:
        with open(os.devnull, "rb") as nothing:
            return run(Program("code", code, []), side, nothing, SECONDS)  # type: ignore[arg-type]

    def test_wall_time(self) -> None:
        trial = self.trial("import time; time.sleep(0.3)")
        assert 0.3 <= trial.wall < SECONDS
        assert trial.cpu < trial.wall

    def test_cpu_time_of_the_program_and_its_children(self) -> None:
        burn = "import time\nwhile time.process_time() < 0.3: pass"
        assert self.trial(burn).cpu >= 0.3
        child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}], check=True)"
        assert self.trial(child).cpu >= 0.3

    @pytest.mark.parametrize("side", ["stdlib", "plait"])
    def test_cpu_time_and_memory_of_workers_that_nobody_waits_for(self, side: str) -> None:
        code = "\n".join(
            (
                "import time, multiprocessing as mp",
                "from concurrent.futures import ProcessPoolExecutor",
                "def burn():",
                "    data = bytes(range(256)) * 400_000",
                "    while time.process_time() < 0.5: pass",
                "    return len(data)",
                "if __name__ == '__main__':",
                "    context = None if 'plait' in str(ProcessPoolExecutor) else mp.get_context('fork')",
                "    with ProcessPoolExecutor(1, mp_context=context) as pool: print(pool.submit(burn).result())",
            )
        )
        trial = self.trial(code, side)
        assert trial.stdout == b"102400000\n", trial.stderr
        assert trial.cpu >= 0.4
        assert trial.memory > 95 * 2**20

    def test_a_process_that_outlives_the_program_is_left_alone(self) -> None:
        begin = time.monotonic()
        trial = self.trial("import os, time\nif os.fork() == 0: os.setsid(); time.sleep(15); os._exit(0)")
        assert trial.status == 0
        assert time.monotonic() - begin < 10

    def test_peak_memory(self) -> None:
        small, large = self.trial("pass").memory, self.trial("bytes(range(256)) * 400_000").memory
        assert small < 30 * 2**20
        assert 95 * 2**20 < large - small < 110 * 2**20

    def test_it_runs_on_plait(self) -> None:
        code = "import threading; print(threading.Lock.__module__)"
        assert self.trial(code).stdout == b"_thread\n"
        assert self.trial(code, "plait").stdout == b"plait.threading\n"


class TestShown:
    def comparison(self, stdlib: list[float], plait: list[float]) -> Comparison:
        pairs = [
            {
                "stdlib": Trial(b"a\n", b"", 0, one, one, 2**20),
                "plait": Trial(b"a\n", b"", 0, other, other, 2**21),
            }
            for one, other in zip(stdlib, plait, strict=True)
        ]
        program = Program("script", "a b.py", ["x"])
        return Comparison(program, pairs[0], pairs, ["plait"] * len(pairs), None, False)  # type: ignore[arg-type]

    def test_the_table(self) -> None:
        lines = self.comparison([2.0, 4.0, 3.0], [1.0, 1.0, 2.0]).table().splitlines()
        assert lines[0] == "'a b.py' x"
        assert lines[3].split() == ["standard", "library", "plait", "ratio", "lowest", "to", "highest"]
        assert lines[5].split() == ["wall", "time", "3.00", "s", "1.00", "s", "2.00x", "1.50x", "to", "4.00x"]
        assert lines[7].split() == [
            "peak",
            "memory",
            "1.0",
            "MiB",
            "2.0",
            "MiB",
            "0.50x",
            "0.50x",
            "to",
            "0.50x",
        ]
        assert lines[9] == "In every pair plait was quicker: 2.00 times as quick in the middle one."
        assert lines[10] == "Both printed the same 1 line and ended alike (exit status 0)."

    def test_a_loss_is_called_one(self) -> None:
        text = self.comparison([1.0, 1.0], [2.0, 2.0]).table()
        assert "In every pair plait was slower: it took 2.00 times as long" in text

    def test_what_is_not_clear_is_not_called_a_win(self) -> None:
        assert "no clear difference" in self.comparison([1.0, 2.0], [2.0, 1.0]).table()

    def test_a_long_difference_is_cut(self) -> None:
        trial = Trial(b"", b"", 0, 1.0, 1.0, 1)
        same = [f"{n}\n" for n in range(10_000)]
        text = Difference("stdout", trial, trial, [*same, *"abc" * 40], [*same, *"xyz" * 40]).diff()
        assert len(text.splitlines()) == 61
        assert text.startswith("--- standard library, from line 9998\n")
        assert text.endswith("more lines of difference")

    def test_no_bar_where_there_is_no_terminal(self) -> None:
        assert compare("--rounds", "1", "-c", "print(1)").stderr == ""

    def test_a_bar_on_a_terminal(self) -> None:
        pytest.importorskip("tqdm", reason="the bar is tqdm's")
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        command = [sys.executable, "-m", "plait", "compare", "--rounds", "1", "-c", "print(1)"]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs
        ) as process:
            os.close(theirs)
            shown = b""
            try:
                while part := os.read(ours, 4096):
                    shown += part
            except OSError:  # the other end is closed
                pass
            os.close(ours)
            assert process.wait(SECONDS) == 0
        assert b"/4 " in shown
        assert b"run" in shown


class TestWrongArguments:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ([], "name the program"),
            (["--json"], "name the program"),
            (["-"], "name the program"),
            (["nosuch.py"], "there is no file 'nosuch.py'"),
            (["-m"], "-m needs the name of a module"),
            (["--rounds", "0", "-c", ""], "--rounds: needs a whole number of 1 or more, not '0'"),
            (["--rounds", "many", "-c", ""], "--rounds: needs a whole number of 1 or more, not 'many'"),
            (["--rounds"], "--rounds: expected one argument"),
            (["--timeout", "nan", "-c", ""], "--timeout: needs a number of seconds above 0, not 'nan'"),
            (["--timeout=-1", "-c", ""], "--timeout: needs a number of seconds above 0, not '-1'"),
            (["--ignore", "(", "-c", ""], "'(' is not a regular expression"),
            (["--stdin", "nosuch", "-c", "1"], "cannot read --stdin 'nosuch': No such file"),
            (["--round", "3", "-c", ""], "--round"),
            (["--quick", "a.py"], "--quick"),
        ],
    )
    def test_one_line_and_status_2(self, arguments: list[str], says: str) -> None:
        ended = compare(*arguments)
        assert (ended.status, ended.stdout) == (2, "")
        assert says in ended.stderr
        assert ended.stderr.startswith("plait compare: ")
        assert ended.stderr.count("\n") == 1

    def test_help(self) -> None:
        ended = compare("--help")
        assert (ended.status, ended.stderr) == (0, "")
        for word in "--rounds", "--timeout", "--json", "--ignore", "SCRIPT", "ratio", "exit status":
            assert word in ended.stdout


def test_ctrl_c_ends_the_program_too(tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    code = f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
    command = [sys.executable, "-m", "plait", "compare", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        program = int(started.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""
    # It was killed before compare ended; init has yet to reap it.
    deadline = time.monotonic() + SECONDS
    while os.path.exists(f"/proc/{program}") and time.monotonic() < deadline:
        if "(zombie)" in Path(f"/proc/{program}/status").read_text():
            return
    assert not os.path.exists(f"/proc/{program}")
