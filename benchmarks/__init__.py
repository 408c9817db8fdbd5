"""plait against the standard library and its rivals: `python -m benchmarks`, that is `make bench`.

Where to look:
- `rows/` says what is measured, with the floor and the goal of each row; `contenders.py` says who runs it.
- `sampling.py` times one row in a fresh process (`child.py`), contenders in turn; `regimes.py` makes the
  machine quiet, one core or busy around it; `footprint.py` does memory, idle CPU and import time.
- `verdict.py` turns samples into ratios and verdicts; `table.py` and `plot.py` write them to `docs/`.
"""
