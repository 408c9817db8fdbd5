"""From samples to one result: medians, ratios pair by pair with their quartiles, and what the floor says."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.contenders import CANDIDATE, RIVALS
from benchmarks.row import BEST_RIVAL
from benchmarks.sampling import quartiles

GOAL, FLOOR, MISSED = "goal", "floor", "missed"  # rows with a floor
WINS, LOSES = "wins", "loses"  # rows without one
ERROR, LEFT_OUT = "error", "left out"


def ratios(baseline: Sequence[float], contender: Sequence[float]) -> dict[str, float]:
    """Baseline's figure divided by the contender's, for each pair taken one after the other."""
    pairs = [theirs / ours for theirs, ours in zip(baseline, contender, strict=True)]
    q1, median, q3 = quartiles(pairs)
    return {"q1": q1, "median": median, "q3": q3}


def of_ratio(ratio: Mapping[str, float], floor: float | None, goal: float | None) -> str:
    """The verdict on the candidate's ratio.

    "Never slower" (a floor of 1) is kept by a tie: it is missed once the upper quartile is below 1, too.
    """
    if floor is None:
        return WINS if ratio["median"] >= 1 else LOSES
    if goal is not None and ratio["median"] >= goal:
        return GOAL
    return FLOOR if _keeps(ratio, floor) else MISSED


def _keeps(ratio: Mapping[str, float], floor: float) -> bool:
    return (ratio["q3"] if floor == 1 else ratio["median"]) >= floor


def against(samples: Mapping[str, Sequence[float]], others: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """The candidate's ratio to each of the others that the row has a floor against, where they took part."""
    held: dict[str, dict[str, Any]] = {}
    for other, floor in others.items():
        names = [name for name in (RIVALS if other == BEST_RIVAL else (other,)) if name in samples]
        if names:
            best = min(names, key=lambda name: quartiles(samples[name])[1])
            ratio = ratios(samples[best], samples[CANDIDATE])
            held[other] = {"name": best, "floor": floor, "kept": _keeps(ratio, floor), **ratio}
    return held


def result(
    about: Mapping[str, Any],
    samples: Mapping[str, Sequence[float]],
    *,
    limit: float | None = None,
    cpu: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, Any]:
    """A row's result as it is kept: `about` is name, title, baseline, floor, goal and the like."""
    figures: dict[str, dict[str, Any]] = {}
    for name, values in samples.items():
        q1, median, q3 = quartiles(values)
        figures[name] = {"q1": q1, "median": median, "q3": q3, "samples": list(values)}
        if cpu:
            figures[name]["cpu"] = quartiles(cpu[name])[1]
    if limit is not None:
        verdict = FLOOR if figures[CANDIDATE]["median"] <= limit else MISSED
        return {**about, "limit": limit, "figures": figures, "ratios": {}, "verdict": verdict}
    baseline = samples[about["baseline"]]
    all_ratios = {
        name: ratios(baseline, values) for name, values in samples.items() if name != about["baseline"]
    }
    verdict = of_ratio(all_ratios[CANDIDATE], about["floor"], about["goal"])
    held = against(samples, about.get("others", {}))
    if not all(each["kept"] for each in held.values()):
        verdict = MISSED
    return {**about, "figures": figures, "ratios": all_ratios, "against": held, "verdict": verdict}


def loses(each: Mapping[str, Any]) -> bool:
    """Whether the candidate loses to the baseline beyond the spread, floor or no floor."""
    ratio = each.get("ratios", {}).get(CANDIDATE)
    return ratio is not None and ratio["median"] < 1 and (each["verdict"] == LOSES or ratio["q3"] < 1)


def grouped(results: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Results under their headings, a title's regimes together, all in the order of first appearance."""
    groups: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for each in results:
        groups.setdefault(each["group"], {}).setdefault(each["title"], []).append(each)
    return [(group, [row for rows in titles.values() for row in rows]) for group, titles in groups.items()]
