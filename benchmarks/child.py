"""The measured process: takes one order as JSON in its argument, prints one JSON object with the figures.

A process for each row keeps rows apart (threads left behind, adaptive state, a hang), and a few processes for
each row keep the luck of one process's memory layout out of the figures.
"""

import json
import sys

from benchmarks import regimes


def main() -> None:
    """Run the order: `{"kind": "row" | a footprint's kind, ...}`."""
    order = json.loads(sys.argv[1])
    regimes.enter(order.get("regime", ""))
    from benchmarks import footprint, footprint_loop, footprint_process
    from benchmarks.contenders import LeftOut

    kind = str(order["kind"])
    try:
        if kind == "row":
            answer = _row(order)
        elif kind.startswith("process-"):
            answer = {"value": footprint_process.measure(order)}
        elif kind.startswith("loop-"):
            answer = {"value": footprint_loop.measure(order)}
        else:
            answer = footprint.measure(order)
    except LeftOut as reason:
        answer = {"left_out": str(reason)}
    print(json.dumps(answer), flush=True)


def _row(order: dict[str, object]) -> dict[str, object]:
    from dataclasses import asdict, replace

    from benchmarks.contenders import CANDIDATE
    from benchmarks.rows import ROWS
    from benchmarks.sampling import take

    row = ROWS[str(order["row"])]
    if order["self_check"]:
        # Under the candidate's name the baseline runs against itself: ratios have to come out at 1.
        row = replace(row, setups=dict.fromkeys((row.baseline, CANDIDATE), row.setups[row.baseline]))
    samples, left_out = take(row, int(str(order["rounds"])), float(str(order["sample_seconds"])))
    return {
        "samples": {name: asdict(figures) for name, figures in samples.items()},
        "contenders_left_out": left_out,
    }


if __name__ == "__main__":
    main()
