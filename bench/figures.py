"""Processes measured, and the tables that say so.

The process that measures stays small and starts everything large in another one: on Linux the peak memory of a
child counts from the memory of the one that started it.
"""

import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

VERSIONS = ("thresher", "duckdb", "polars", "numba", "pandera", "great-expectations", "altair", "vl-convert-python")
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


class Row(NamedTuple):
    """Work measured. Units: seconds of the clock, of its own instructions, of the system's (mostly handing out memory); the most memory
    in bytes; `parts` in seconds.
    """

    label: str
    seconds: float
    user: float
    system: float
    memory: int
    size: int = 0
    parts: dict[str, float] | None = None


def measured(
    label: str,
    command: Sequence[str | Path],
    environment: dict[str, str] | None = None,
    *,
    rounds: int = 1,
    size: int = 0,
    by_itself: bool = False,
) -> Row:
    """The quickest of some rounds of a command; `by_itself`: it measures its own work and says so in a line of JSON.

    Errors   SystemExit when the command fails, with what it said.
    """
    return min(
        (_once(label, command, environment, size, by_itself) for _ in range(rounds)), key=lambda row: row.seconds
    )


def _once(
    label: str, command: Sequence[str | Path], environment: dict[str, str] | None, size: int, by_itself: bool
) -> Row:
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        began = perf_counter()
        process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=said, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        seconds = perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{errors.read()[-2000:]}")
        row = Row(label, seconds, used.ru_utime, used.ru_stime, used.ru_maxrss * RSS_UNIT, size)
        if by_itself:
            said.seek(0)
            row = row._replace(**json.loads(said.read().splitlines()[-1]))
    return row


def own_use() -> tuple[float, float, float]:
    """Seconds of the clock, of this process' instructions, of the system's for it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return perf_counter(), used.ru_utime, used.ru_stime


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, {platform.system()} {platform.machine()}"


def versions() -> str:
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in VERSIONS)])


def growth(rows: list[Row]) -> list[str]:
    """The exponent x with which the time grew from the row before: twice the work takes 2 to the x times as long.

    >>> growth([Row("", 1.0, 0, 0, 0, 1000), Row("", 4.0, 0, 0, 0, 2000)])
    ['', 'n^2.00']
    """
    found = [""]
    for before, row in pairwise(rows):
        found.append(f"n^{math.log(row.seconds / before.seconds) / math.log(row.size / before.size):.2f}")
    return found[: len(rows)]


def figures(title: str, rows: list[Row]) -> str:
    """What each work took."""
    columns: dict[str, Callable[[Row], str]] = {
        "seconds": lambda row: f"{row.seconds:.3f}" if row.seconds < 1 else f"{row.seconds:.2f}",
        "user": lambda row: f"{row.user:.2f}",
        "system": lambda row: f"{row.system:.2f}",
        "peak MiB": lambda row: f"{row.memory / 2**20:,.0f}",
    }
    cells = [[row.label, *(shown(row) for shown in columns.values())] for row in rows]
    heads = [title, *columns]
    if all(row.size for row in rows):
        heads += ["a second", "growth", "of user"]
        rates = [f"{row.size / row.seconds:,.0f}" for row in rows]
        own = growth([row._replace(seconds=max(row.user, 0.001)) for row in rows])
        cells = [[*cell, *more] for cell, *more in zip(cells, rates, growth(rows), own, strict=True)]
    return table(heads, cells)


def parts(title: str, rows: list[Row]) -> str:
    """Which part of each work took how long."""
    names = list(dict.fromkeys(name for row in rows for name in row.parts or {}))
    return table(
        [title, *names], [[row.label, *(f"{(row.parts or {}).get(name, 0):.2f}" for name in names)] for row in rows]
    )


def table(heads: list[str], cells: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths, strict=True)))
        for line in (heads, ["-" * width for width in widths], *cells)
    ]  # fmt: skip
    return "\n".join(line.rstrip() for line in lines) + "\n"


def say(text: str) -> None:
    """Progress, beside the tables."""
    print(text, file=sys.stderr, flush=True)
