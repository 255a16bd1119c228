"""`python -m bench [--peers] [PART ...]`: how long Thresher takes on this machine, as tables.

Every figure is of a process of its own: seconds of the clock, seconds of its processors, the most memory it held.
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

from bench.figures import Row, figures, machine, measured, parts, say, versions
from bench.trades import OURS, PEERS

PYTHON = sys.executable
THRESHER = Path(PYTHON).with_name("thresher")
LABELS = ("first day, empty home", "the same day again", "the next day")
DEMO_DAYS = ("2022-10-14", "2022-10-14", "2022-10-17")
REAL_DAYS = ("2025-09-30", "2025-09-30", "2025-10-01")
REAL_LOTS = 5_000
SIZES = (1_000, 10_000, 100_000, 300_000)
PEER, PEER_UP_TO = "capital-gains==1.0.8", 100_000  # it takes minutes for more


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
    """(c) The lots engine, and the nearest one on the package index beside it."""
    engine, door, peer = [], [], []
    with tempfile.TemporaryDirectory() as folder, _peer(options.peers) as capital_gains:
        ours, theirs = Path(folder, OURS), Path(folder, PEERS)
        for size in SIZES:
            say(f"lots of {size:,} trades")
            run([PYTHON, "-m", "bench.trades", str(size), folder], check=True)
            label, rounds = f"{size:,} trades", 3
            book: list[str | Path] = [PYTHON, "-m", "bench.book", ours]
            engine.append(measured(label, book, rounds=rounds, size=size, by_itself=True))
            command: list[str | Path] = [THRESHER, "lots", ours, "--out", folder]
            door.append(measured(label, command, rounds=rounds, size=size))
            if capital_gains and size <= PEER_UP_TO:
                command = [capital_gains, "-d", "2", "-t", theirs]
                peer.append(measured(label, command, rounds=3 if size <= 10_000 else 1, size=size))
    print(figures("the lots engine alone, 50 securities", engine))
    print(figures("thresher lots: read, book, write", door))
    if peer:
        print(figures(f"{PEER}: read, book, print", peer))


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
        run([PYTHON, "-m", "bench.trades", "10", folder], check=True)
        lots_command: list[str | Path] = [THRESHER, "lots", Path(folder, OURS), "--out", folder]
        rows = [
            measured("thresher --help", [THRESHER, "--help"], rounds=5),
            measured("thresher lots, ten rows", lots_command, rounds=5),
        ]
    print(figures("commands", rows))


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {"demo": demo, "real": real, "lots": lots, "start": start}


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
