"""`python -m tests.chaos --days 1000 --seed 1`: bad days, and what became of them."""

import argparse
import atexit
import gc
import os
import sys
import time
from collections import Counter
from datetime import date

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: a thread of it would not survive a fork
os.environ["POLARS_MAX_THREADS"] = "1"  # a process for each core is what is faster here

import pandera.backends.polars.builtin_checks
import pandera.backends.polars.components
import pandera.backends.polars.container
import pandera.strategies.base_strategies  # noqa: F401 - imported once, instead of by every process

from flows.calendar import next_session
from tests.chaos.bugs import BUGS
from tests.chaos.days import Ran, run_world
from tests.chaos.faults import ALL
from tests.chaos.process import begun, heard, tell

WORLD = 40  # days


def arguments() -> argparse.Namespace:
    said = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    said.add_argument("--days", type=int, default=1000, help="trading days, in worlds of 40")
    said.add_argument("--minutes", type=float, help="begin no world after so many; what was made is summed up")
    said.add_argument("--seed", default="1", help="1: the worlds 1.0, 1.1, ...; 1.7: that world alone")
    said.add_argument("--jobs", type=int, default=1, help="so many worlds at once")
    said.add_argument("--bug", choices=BUGS, help="with a fault planted on purpose")
    said.add_argument("--bugs", action="store_true", help="each planted fault in turn, until it is found")
    said.add_argument("--log", action="store_true", help="print every run")
    said.add_argument("--keep", action="store_true", help="keep the world's folder")
    return said.parse_args()


def worlds(seed: str, days: int) -> list[tuple[str, int]]:
    """
    >>> worlds("1", 90)
    [('1.0', 40), ('1.1', 40), ('1.2', 10)]
    >>> worlds("1.2", 10)
    [('1.2', 10)]
    """
    if "." in seed:
        return [(seed, days)]
    return [(f"{seed}.{n}", min(WORLD, days - n * WORLD)) for n in range(-(-days // WORLD))]


def run(
    asked: list[tuple[str, int]], jobs: int = 1, bug: str = "", minutes: float | None = None, *, log: bool = False,
    keep: bool = False,
) -> list[Ran]:  # fmt: skip
    """The worlds, some at once, each in a process of its own; none is begun after a violation, or when the time is over."""
    until = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    next_session(date(2025, 1, 2))  # the calendar is loaded once, for every process
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)
    made: list[Ran] = []
    waiting, at_work = list(asked), []
    while waiting or at_work:
        while waiting and len(at_work) < jobs and time.monotonic() < until and not any(one.violations for one in made):
            seed, days = waiting.pop(0)
            out = sys.stdout if log else None
            at_work.append(begun(lambda end, s=seed, d=days: tell(end, run_world(s, d, bug, out, keep)._asdict())))  # type: ignore[misc]
        if not at_work:
            break
        ended = heard(*at_work.pop(0), patience=24 * 3600)
        if ended.told is None:
            raise SystemExit("a world ended without a word: see above")
        made.append(Ran(**ended.told))
        one = made[-1]
        print(
            f"world {one.seed}: {one.days} days, {one.runs} runs, {one.orders} orders, {len(one.violations)} violations",
            flush=True,
        )
    return made


def summary(made: list[Ran], seconds: float, bug: str) -> str:
    planted = f" --bug {bug}" if bug else ""
    met = sum((Counter(one.met) for one in made), Counter())
    total = {name: sum(getattr(one, name) for one in made) for name in ("days", "runs", "orders", "fills", "washed")}
    found = [(one, row) for one in made for row in one.violations]
    lines = [
        f"{total['days']} days, {total['runs']} runs, {total['orders']} orders, {total['fills']} fills, "
        f"{sum(met.values())} faults met, {len(found)} violations, {seconds:.0f} seconds",
        f"losses that a price washed, which nobody could foresee: {total['washed']}",
        *(f"  {met[name]:6} {name}" for name in ALL),
    ]
    for one, (on, name, words) in found:
        lines.append(
            f"VIOLATION {on} {name}: {words}\n  again: python -m tests.chaos --seed {one.seed} --days {one.days}{planted}"
        )
    return "\n".join(lines)


def find_bugs(seed: str, most: int, jobs: int) -> int:
    """Each planted fault until it is found; how many were not."""
    missed = 0
    for name, bug in BUGS.items():
        days, found = 0, None
        for world in worlds(seed, most):
            [one] = run([world], 1, name)
            days += one.days
            if one.violations:
                found = one
                break
        what = f"NOT FOUND in {days} days"
        if found:
            _, violation, words = found.violations[0]
            what = f"found after {days} days: {violation}: {words[:160]}"
        missed += found is None
        print(f"{name} ({bug.words}): {what}", flush=True)
    return missed


def main() -> int:
    said, began = arguments(), time.monotonic()
    if said.bugs:
        return find_bugs(said.seed, said.days, said.jobs)
    made = run(worlds(said.seed, said.days), said.jobs, said.bug or "", said.minutes, log=said.log, keep=said.keep)
    print(summary(made, time.monotonic() - began, said.bug or ""))
    return any(one.violations for one in made)


if __name__ == "__main__":
    sys.exit(main())
