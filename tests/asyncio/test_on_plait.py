"""What `plait.install()` makes of a program that uses asyncio, and what it leaves."""

import asyncio
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path

import pytest

import plait
import plait.asyncio
from places import left_as_they_were
from side_by_side import start

EARLY = asyncio.Lock, asyncio.Event, asyncio.gather, asyncio.Task, asyncio.Future, asyncio.run


@pytest.fixture(autouse=True)
def _left_as_they_were() -> Iterator[None]:
    with left_as_they_were():
        yield


async def which() -> type:
    return type(asyncio.get_running_loop())


class TestWhichLoop:
    def test_run(self) -> None:
        with plait.installed():
            assert asyncio.run(which()) is plait.asyncio.EventLoop
        assert asyncio.run(which()) is not plait.asyncio.EventLoop

    def test_runner(self) -> None:
        with plait.installed(), asyncio.Runner() as runner:
            assert runner.run(which()) is plait.asyncio.EventLoop
            assert runner.run(which()) is plait.asyncio.EventLoop

    def test_new_event_loop(self) -> None:
        with plait.installed():
            loop = asyncio.new_event_loop()
        try:
            assert loop.run_until_complete(which()) is plait.asyncio.EventLoop
        finally:
            loop.close()

    def test_selector_event_loop(self) -> None:
        with plait.installed():
            loop = asyncio.SelectorEventLoop()
            assert isinstance(loop, asyncio.SelectorEventLoop)
        assert isinstance(loop, asyncio.SelectorEventLoop)
        loop.close()

    def test_a_policy_of_the_programs_own_decides(self) -> None:
        code = """
import plait; plait.install()
import asyncio, warnings
warnings.simplefilter("ignore")
made = []
class Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        made.append(super().new_event_loop())
        return made[-1]
asyncio.set_event_loop_policy(Policy())
async def main():
    print(asyncio.get_running_loop() is made[0], type(made[0]).__module__)
asyncio.run(main())
"""
        ended = start([sys.executable, "-c", code])
        assert (ended.status, ended.stdout, ended.stderr) == (0, "True plait.asyncio.loop\n", "")

    def test_explicitly(self) -> None:
        assert plait.asyncio.run(which()) is plait.asyncio.EventLoop
        with plait.asyncio.Runner() as runner:
            assert runner.run(which()) is plait.asyncio.EventLoop
        loop = plait.asyncio.new_event_loop()
        assert type(loop) is plait.asyncio.EventLoop
        loop.close()

    def test_run_within_a_running_loop(self) -> None:
        async def main() -> None:
            coroutine = which()
            with pytest.raises(
                RuntimeError, match=r"asyncio.run\(\) cannot be called from a running event loop"
            ):
                plait.asyncio.run(coroutine)
            coroutine.close()

        plait.asyncio.run(main())

    @pytest.mark.skipif(sys.version_info >= (3, 16), reason="3.16 has no policies")
    def test_the_policy(self) -> None:
        code = """
import asyncio, warnings, plait.asyncio
warnings.simplefilter("ignore")
asyncio.set_event_loop_policy(plait.asyncio.EventLoopPolicy())
async def main():
    print(type(asyncio.get_running_loop()).__module__)
asyncio.run(main())
"""
        ended = start([sys.executable, "-c", code])
        assert (ended.status, ended.stdout, ended.stderr) == (0, "plait.asyncio.loop\n", "")


class TestObjectsOfBothKinds:
    def test_names_taken_before_go_on_to_work(self) -> None:
        lock_type, event_type, gather, task_type, future_type, run = EARLY

        async def main() -> list[object]:
            lock, event, loop = lock_type(), event_type(), asyncio.get_running_loop()
            future: asyncio.Future[int] = future_type(loop=loop)
            task = task_type(use(lock, event), loop=loop)
            late = asyncio.create_task(use(asyncio.Lock(), event))
            loop.call_soon(future.set_result, 3)
            loop.call_soon(event.set)
            return await gather(task, late, future, asyncio.gather(use(lock, event)))

        async def use(lock: asyncio.Lock, event: asyncio.Event) -> str:
            async with lock:
                await event.wait()
            return type(asyncio.current_task()).__name__

        with plait.installed():
            assert run(main()) == ["Task", "Task", 3, ["Task"]]

    def test_isfuture_iscoroutine_and_ensure_future(self) -> None:
        async def main() -> None:
            future = asyncio.get_running_loop().create_future()
            assert asyncio.isfuture(future)
            assert asyncio.ensure_future(future) is future
            task = asyncio.ensure_future(which())
            assert asyncio.isfuture(task)
            assert isinstance(task, asyncio.Task)
            assert isinstance(task, asyncio.Future)
            coroutine = which()
            assert asyncio.iscoroutine(coroutine)
            coroutine.close()
            future.cancel()
            await task
            async with asyncio.timeout(10):
                await asyncio.sleep(0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await asyncio.Event().wait()

        with plait.installed():
            asyncio.run(main())

    def test_the_standard_librarys_functions_know_our_tasks_without_install(self) -> None:
        async def main() -> None:
            task = plait.asyncio.create_task(asyncio.sleep(10), name="other")
            me = asyncio.current_task()
            assert me is not None
            assert type(me) is plait.asyncio.Task
            assert asyncio.all_tasks() == {me, task} == plait.asyncio.all_tasks()
            assert asyncio.all_tasks(asyncio.get_running_loop()) == {me, task}
            task.cancel()
            await asyncio.wait([task])
            assert asyncio.all_tasks() == {me}
            seen = await asyncio.to_thread(asyncio.all_tasks, asyncio.get_running_loop())
            assert seen == {me}

        plait.asyncio.run(main())

    def test_a_loop_of_the_standard_library_with_our_tasks(self) -> None:
        async def main() -> int:
            me = asyncio.current_task()
            assert type(me) is plait.asyncio.Task
            await asyncio.sleep(0)
            return sum(await asyncio.gather(one(), asyncio.create_task(one()), asyncio.to_thread(int, "1")))

        async def one() -> int:
            await asyncio.sleep(0.001)
            return 1

        loop = asyncio.SelectorEventLoop()
        with plait.installed():
            try:
                assert loop.run_until_complete(main()) == 3
            finally:
                loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()


class TestWhatTheStandardLibraryMakesOfIt:
    def test_isolated_asyncio_test_case(self) -> None:
        seen: list[object] = []

        class Case(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self) -> None:
                self.lock = asyncio.Lock()
                self.addAsyncCleanup(which)

            async def test_one(self) -> None:
                seen.append(await which())
                async with self.lock:
                    await asyncio.sleep(0)

        with plait.installed():
            result = unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(unittest.TestResult())
        assert result.wasSuccessful(), result
        assert seen == [plait.asyncio.EventLoop]

    def test_the_repl(self) -> None:
        """`python -m asyncio`, under `plait run`."""
        lines = (
            "import asyncio\nprint(type(asyncio.get_running_loop()).__module__)\nawait asyncio.sleep(0, 7)\n"
        )
        ended = start(
            [sys.executable, "-m", "plait", "run", "-m", "asyncio"],
            stdin=lines,
            env={"PYTHON_BASIC_REPL": "1", "TERM": "dumb"},
        )
        assert "plait.asyncio.loop" in ended.stdout
        assert "7" in ended.stdout.split()
        assert ended.status == 0

    def test_an_unchanged_program(self, tmp_path: Path) -> None:
        program = tmp_path / "program.py"
        program.write_text(
            "import asyncio\n"
            "async def main():\n"
            "    print(type(asyncio.get_running_loop()).__module__, type(asyncio.current_task()).__module__)\n"
            "asyncio.run(main())\n",
            encoding="utf-8",
        )
        ended = start([sys.executable, "-m", "plait", "run", str(program)])
        assert (ended.status, ended.stdout, ended.stderr) == (0, "plait.asyncio.loop plait.asyncio\n", "")

    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_children_of_multiprocessing(self, tmp_path: Path, method: str) -> None:
        program = tmp_path / "program.py"
        program.write_text(
            "import asyncio, multiprocessing, warnings\n"
            "async def main():\n"
            "    print(type(asyncio.get_running_loop()).__module__, flush=True)\n"
            "def child():\n"
            "    asyncio.run(main())\n"
            "if __name__ == '__main__':\n"
            f"    process = multiprocessing.get_context('{method}').Process(target=child)\n"
            "    asyncio.run(main())\n"
            "    process.start(); process.join()\n"
            "    print(process.exitcode)\n",
            encoding="utf-8",
        )
        ended = start([sys.executable, "-m", "plait", "run", str(program)])
        assert (ended.status, ended.stdout, ended.stderr) == (
            0,
            "plait.asyncio.loop\nplait.asyncio.loop\n0\n",
            "",
        )

    def test_debug_mode(self) -> None:
        code = """
import asyncio, time
async def main():
    asyncio.get_running_loop().slow_callback_duration = 0.01
    time.sleep(0.05)
asyncio.run(main(), debug=True)
"""
        ended = start([sys.executable, "-c", f"import plait; plait.install()\n{code}"])
        assert ended.status == 0
        assert "Executing <Task" in ended.stderr
        assert "seconds" in ended.stderr
