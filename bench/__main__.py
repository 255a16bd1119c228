"""`python -m bench [--peers] [PART ...]`: how long Thresher takes on this machine, as tables.

Every figure is of a process of its own: seconds of the clock, of its own instructions and of
the system's for it, the most memory it held.
Small works are the best of several rounds, because what else runs on a machine can double them.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import run

from bench.figures import Row, figures, growth, machine, measured, parts, say, table, versions
from bench.trades import OURS, PEERS, PEERS_UP_TO

PYTHON = sys.executable
THRESHER = Path(PYTHON).with_name("thresher")
LABELS = ("first day, empty home", "the same day again", "the next day")
DEMO_DAYS = ("2022-10-14", "2022-10-14", "2022-10-17")
REAL_DAYS = ("2025-09-30", "2025-09-30", "2025-10-01")
REAL_LOTS = 5_000
HARVESTS = (100, 1_000, 10_000)
SCANS = (500, REAL_LOTS, 50_000)
OPTIMIZED, OPTIMIZED_PLAINLY = ((100, 600), (500, 3_000), (1_500, 10_000), (3_000, 20_000)), 500
LOCATED = (500, 3_000, 20_000)
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
PEER, PEER_SIZES = "capital-gains==1.0.8", (1_000, 10_000, PEERS_UP_TO)


def demo(_: argparse.Namespace) -> None:
    """(a) The household that comes with Thresher."""
    rows: list[Row] = []
    for number in range(3):
        say(f"the demo household, round {number + 1} of 3")
        with tempfile.TemporaryDirectory() as home:
            rows = _best(rows, _days(home, DEMO_DAYS, []))
    print(figures("the day's own work: the demo household", rows))
    print(parts("where its seconds go", rows))
    with tempfile.TemporaryDirectory() as home:
        command: list[str | Path] = [THRESHER, "demo", "--no-prefect", "--as-of", DEMO_DAYS[0]]
        print(figures("imports and all", [measured("thresher demo --no-prefect", command, {"THRESHER_HOME": home})]))


def real(_: argparse.Namespace) -> None:
    """(b) A household of 5,000 lots on 550 stocks and 25 years of prices."""
    folder = Path(os.environ.get("THRESHER_TEST_DATA") or "../shared").absolute() / "data"
    if not folder.is_dir():
        say(f"the real prices are left out: {folder} is not there (THRESHER_TEST_DATA names the folder above it)")
        return
    rows: list[Row] = []
    for number in range(3):
        say(f"{REAL_LOTS:,} lots on the prices of {folder.name}/, round {number + 1} of 3")
        with tempfile.TemporaryDirectory() as home:
            run([PYTHON, "-m", "bench.household", folder, str(REAL_LOTS), REAL_DAYS[0], home], check=True)
            rows = _best(rows, _days(home, REAL_DAYS, [str(folder)]))
    print(figures(f"the day's own work: {REAL_LOTS:,} lots, 550 stocks, 25 years", rows))
    print(parts("where its seconds go", rows))


def _days(home: str, days: tuple[str, ...], prices: list[str]) -> list[Row]:
    return [
        measured(label, [PYTHON, "-m", "bench.day", as_of, *prices], {"THRESHER_HOME": home}, by_itself=True)
        for label, as_of in zip(LABELS, days, strict=True)
    ]


def _best(rows: list[Row], others: list[Row]) -> list[Row]:
    return [min(pair, key=lambda row: row.seconds) for pair in zip(rows, others, strict=True)] if rows else others


def lots(options: argparse.Namespace) -> None:
    """(c) The lots engine, the sort that it cannot do without, and the nearest engine on the package index beside it."""
    say("the lots engine is compiled")
    first = [measured("first call ever, 10 trades", _engine("compile", 10, 1), by_itself=True)]
    print(figures("compiling the lots engine, once a machine", first))
    for securities in (50, 1):
        engine, floor, door = [], [], []
        name = f"{securities} securities" if securities > 1 else "one security"
        for size in SIZES:
            say(f"{size:,} trades, {name}")
            label = f"{size:,} trades"
            engine.append(measured(label, _engine("engine", size, securities), size=size, by_itself=True))
            floor.append(measured(label, _engine("sort", size, securities), size=size, by_itself=True))
            with tempfile.TemporaryDirectory() as folder:
                run([PYTHON, "-m", "bench.trades", str(size), str(securities), folder], check=True)
                door.append(_door(label, folder, size))
        print(figures(f"the lots engine, frame in, frames out, one core, {name}", engine))
        print(figures(f"the floor: DuckDB puts them in order, one thread, {name}", floor))
        print(figures(f"thresher lots: read, book, write, {name}", door))
    with _peer(options.peers) as capital_gains:
        if capital_gains:
            _beside(capital_gains)


def _beside(capital_gains: Path) -> None:
    ours, theirs = [], []
    for size in PEER_SIZES:
        say(f"{PEER}: {size:,} trades")
        label, rounds = f"{size:,} trades", 3 if size <= 10_000 else 1
        with tempfile.TemporaryDirectory() as folder:
            run([PYTHON, "-m", "bench.trades", str(size), "50", folder], check=True)
            ours.append(_door(label, folder, size))
            peer: list[str | Path] = [capital_gains, "-d", "2", "-t", Path(folder, PEERS)]
            theirs.append(measured(label, peer, rounds=rounds, size=size))
    print(figures("thresher lots: read, book, write", ours))
    print(figures(f"{PEER}: read, book, print", theirs))
    for our, their in zip(ours, theirs, strict=True):
        print(f"{our.label}: {PEER} takes {their.seconds / our.seconds:,.1f} times as long as thresher lots")
    alone = measured("", _engine("engine", PEERS_UP_TO, 50), by_itself=True)
    print(f"{theirs[-1].label}: and {theirs[-1].seconds / alone.seconds:,.0f} times as long as the engine alone\n")


def _engine(what: str, size: int, securities: int) -> list[str | Path]:
    return [PYTHON, "-m", "bench.book", what, str(size), str(securities)]


def _door(label: str, folder: str, size: int) -> Row:
    command: list[str | Path] = [THRESHER, "lots", Path(folder, OURS), "--out", folder]
    return measured(label, command, rounds=3 if size < SIZES[-1] else 1, size=size)


@contextmanager
def _peer(is_wanted: bool) -> Iterator[Path | None]:
    """The peer's command in an environment of its own that goes afterwards."""
    if not is_wanted:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        say(f"installing {PEER}")
        run([PYTHON, "-m", "venv", folder], check=True)
        run([Path(folder, "bin", "pip"), "install", "--quiet", PEER], check=True)
        yield Path(folder, "bin", "capital-gains")


def start(_: argparse.Namespace) -> None:
    """(d) How soon a command answers."""
    say("commands")
    with tempfile.TemporaryDirectory() as folder:
        run([PYTHON, "-m", "bench.trades", "10", "50", folder], check=True)
        lots_command: list[str | Path] = [THRESHER, "lots", Path(folder, OURS), "--out", folder]
        rows = [
            measured("thresher --help", [THRESHER, "--help"], rounds=5),
            measured("thresher lots, ten rows", lots_command, rounds=5),
        ]
    print(figures("commands", rows))


def intraday(_: argparse.Namespace) -> None:
    """(e) From live prices to harvests."""
    rows = []
    for size in SCANS:
        say(f"a scan of {size:,} lots")
        rows.append(measured(f"{size:,} lots", _scan(size), size=size, rounds=3, by_itself=True))
    counts = ("open", "candidates", "harvests", "ms", "wash check ms")
    cells = [
        [row.label, *(f"{(row.parts or {})[name]:,.0f}" for name in counts), f"{row.user * 1000:,.0f}", grown]
        for row, grown in zip(rows, growth(rows), strict=True)
    ]
    heads = ["a scan: four accounts, 550 securities", "taxable lots", *counts[1:], "user ms", "growth"]
    print(table(heads, cells))
    anew = measured("", [*_scan(REAL_LOTS), "anew"], by_itself=True)
    print(f"{REAL_LOTS:,} lots with everything booked anew at every question: {anew.seconds * 1000:,.0f} ms\n")


def _scan(size: int) -> list[str | Path]:
    return [PYTHON, "-m", "bench.intraday", str(size)]


def index(_: argparse.Namespace) -> None:
    """A risk model's forecasts and a direct index, 2015 to 2025, on real prices."""
    folder = Path(os.environ.get("THRESHER_TEST_DATA") or "../shared").absolute() / "data"
    if not folder.is_dir():
        say(f"the direct index is left out: {folder} is not there (THRESHER_TEST_DATA names the folder above it)")
        return
    say("a direct index on real prices: about two minutes")
    run([PYTHON, "-m", "bench.direct_index", folder], check=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})


def alpha(_: argparse.Namespace) -> None:
    """What harvests have brought, followed to today."""
    rows = []
    for size in HARVESTS:
        say(f"the tax-alpha ledger: {size:,} harvests")
        command: list[str | Path] = [PYTHON, "-m", "bench.tax_alpha", str(size)]
        rows.append(measured(f"{size:,} harvests", command, size=size, rounds=3, by_itself=True))
    print(figures("the tax-alpha ledger, seven years of daily prices", rows))


def optimize(_: argparse.Namespace) -> None:
    """What to sell and buy, lot by lot."""
    ours, plain = [], []
    for securities, size in OPTIMIZED:
        label = f"{securities:,} securities, {size:,} lots"
        say(f"the optimizer: {label}")
        command: list[str | Path] = [PYTHON, "-m", "bench.optimize", str(securities), str(size)]
        ours.append(measured(label, command, {"OPENBLAS_NUM_THREADS": "1"}, size=size, by_itself=True))
        if securities <= OPTIMIZED_PLAINLY:
            plain.append(measured(label, [*command, "plain"], {"OPENBLAS_NUM_THREADS": "1"}, size=size, by_itself=True))
    print(figures("the optimizer: a whole decision", ours))
    names = ("core ms", "objective", "bound", "one side", "whole shares", "tracking error")
    found = [row.parts or {} for row in ours]
    cells = [[row.label, *(f"{part[name]:,.4g}" for name in names)] for row, part in zip(ours, found, strict=True)]
    print(table(["the optimizer: basis points, and what is lost by step", *names], cells))
    print(figures("a plain statement of its convex core in cvxpy, one solve", plain))
    for row in plain:
        said = row.parts or {}
        print(f"{row.label}: {said['plain bps']:.7f} bps by cvxpy, {said['core bps']:.7f} bps by ours")
    print()


def locate(_: argparse.Namespace) -> None:
    """Which class stands in which account, and what is moved."""
    rows = []
    for size in LOCATED:
        say(f"asset location: {size:,} lots")
        rows.append(measured(f"{size:,} lots", [PYTHON, "-m", "bench.locate", str(size)], size=size, by_itself=True))
    print(figures("asset location: the moves of six accounts and seven classes, wash check included", rows))
    names = ("place ms", "moves", "left", "trades", "saving")
    cells = [[row.label, *(f"{(row.parts or {})[name]:,.0f}" for name in names)] for row in rows]
    print(table(["asset location", *names[:-1], "saving, USD a year"], cells))


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "demo": demo,
    "real": real,
    "lots": lots,
    "start": start,
    "intraday": intraday,
    "alpha": alpha,
    "optimize": optimize,
    "locate": locate,
    "index": index,
}


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; all without one")
    parser.add_argument("--peers", action="store_true", help=f"measure {PEER} too, in an environment of its own")
    options = parser.parse_args()
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"{unknown[0]!r} is not one of {', '.join(PARTS)}")
    print(f"{machine()}\n{versions()}\n", flush=True)
    for name, part in PARTS.items():
        if not options.parts or name in options.parts:
            part(options)


if __name__ == "__main__":
    main()
