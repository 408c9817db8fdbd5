"""What workers print is there before the result that came after it."""

from concurrent.futures import as_completed

import pytest

from plait.concurrent.futures import ProcessPoolExecutor
from plait.multiprocessing import get_context


def say(number: int) -> int:
    print("said", number, flush=True)
    return number


def test_prints_come_before_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    expected = ""
    with ProcessPoolExecutor(1) as pool:
        for number in range(200):
            assert pool.submit(say, number).result(60) == number
            print("got", number)
            expected += f"said {number}\ngot {number}\n"
        assert capsys.readouterr().out == expected
        out = ""
        for future in as_completed([pool.submit(say, number) for number in range(50)], 60):
            out += capsys.readouterr().out
            assert f"said {future.result()}\n" in out
        assert list(pool.map(say, range(50))) == list(range(50))
        capsys.readouterr()
        pool.submit(say, 1).add_done_callback(lambda future: print("told", future.result()))
    assert capsys.readouterr().out == "said 1\ntold 1\n"


@pytest.mark.parametrize("way", ["fork", "zygote"])
def test_prints_come_before_what_a_pool_of_multiprocessing_gives(
    way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with get_context(way).Pool(1) as pool:
        for number in range(50):
            assert pool.map(say, [number]) == [number]
            print("got", number)
    assert capsys.readouterr().out == "".join(f"said {n}\ngot {n}\n" for n in range(50))
