"""Workers are killed, stopped and die while thousands of calls are made: every result comes, once and right."""

import pytest

import chaos


@pytest.mark.parametrize("trouble", chaos.TROUBLES)
def test_nothing_is_lost_and_nothing_is_left(trouble: str) -> None:
    counts = chaos.run(trouble, seed=1)
    assert counts["calls"] == 4000
