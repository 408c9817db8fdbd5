"""plait.progress: tqdm's bar where tqdm is there and wanted, else the iterable as it is."""

import io
import sys

import pytest

import plait


class TestWithTqdm:
    @pytest.fixture(autouse=True)
    def _tqdm(self) -> None:
        pytest.importorskip("tqdm", reason="tqdm is what shows the bar")

    def test_the_items_come_through(self) -> None:
        assert list(plait.progress(iter("abc"))) == ["a", "b", "c"]

    def test_the_bar_is_shown_with_what_was_given(self) -> None:
        screen = io.StringIO()
        assert sum(plait.progress(iter([1, 2]), 2, "adding", file=screen, disable=False, unit="number")) == 3
        assert "adding: 100%" in screen.getvalue()
        assert "2/2" in screen.getvalue()
        assert "number" in screen.getvalue()

    def test_none_where_there_is_no_terminal(self) -> None:
        screen = io.StringIO()
        assert sum(plait.progress([1, 2], file=screen)) == 3
        assert screen.getvalue() == ""

    def test_every_keyword_is_tqdms(self) -> None:
        import inspect

        import tqdm

        from plait.progress import _TQDM_WORDS

        theirs = inspect.signature(tqdm.tqdm.__init__).parameters
        assert theirs.keys() - {"self", "iterable", "total", "desc", "kwargs"} == _TQDM_WORDS


class TestWithoutTqdm:
    @pytest.fixture(autouse=True)
    def _no_tqdm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tqdm", None)

    def test_the_iterable_itself_comes_back(self) -> None:
        items = [1, 2]
        assert plait.progress(items, total=2, desc="adding", unit="number") is items
        lazy = iter(items)
        assert plait.progress(lazy) is lazy

    def test_a_misspelt_keyword_is_an_error_all_the_same(self) -> None:
        with pytest.raises(TypeError, match="has no argument 'uint'"):
            plait.progress([], uint="number")


class TestWrongArguments:
    def test_not_an_iterable(self) -> None:
        with pytest.raises(TypeError, match="needs an iterable, not int"):
            plait.progress(3)  # type: ignore[arg-type]

    @pytest.mark.parametrize("total", ["3", [3], True])
    def test_a_total_that_is_no_number(self, total: object) -> None:
        with pytest.raises(TypeError, match=f"needs a number or None as total, not {type(total).__name__}"):
            plait.progress([], total=total)  # type: ignore[arg-type]

    @pytest.mark.parametrize("total", [-1, float("nan")])
    def test_a_total_below_zero(self, total: float) -> None:
        with pytest.raises(ValueError, match="needs a total of 0 or more"):
            plait.progress([], total=total)

    def test_an_unknown_keyword(self) -> None:
        with pytest.raises(
            TypeError, match="has no argument 'colur': it takes total, desc and what tqdm.tqdm takes"
        ):
            plait.progress([], colur="red")
