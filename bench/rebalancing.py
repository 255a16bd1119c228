"""`python -m bench.rebalancing`: how often a 60/40 household is rebalanced, by rule, over 84 years of months; and how long the trades take.

Stocks are Shiller's index with its dividends, bonds a ten-year note priced anew every month from the long interest rate: both
are averages of a month, so they move a little less than a month's end would show. The rules are those of
transforms/portfolio/bands.py.
"""

import os
import random
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import polars as pl

from bench.figures import Row, figures, own_use, table
from transforms.harvest.benefit import Rates
from transforms.portfolio.bands import back_to, half_width, is_outside
from transforms.portfolio.desk import Account, Desk, OpenLot, Policy
from transforms.portfolio.trades import swap

FIRST, MONTHS = 1926, 84 * 12
NOTE_YEARS = 10
SHARE = Decimal("0.0001")


class Rule(NamedTuple):
    """When it is looked at, and what is done."""

    name: str
    every: int  # months
    absolute: float
    relative: float
    trade_back: str


RULES = (
    Rule("monthly, no threshold", 1, 0.0, 1.0, "target"),
    Rule("quarterly, no threshold", 3, 0.0, 1.0, "target"),
    Rule("annual, no threshold", 12, 0.0, 1.0, "target"),
    Rule("monthly, 5 points", 1, 0.05, 1.0, "target"),
    Rule("annual, 5 points", 12, 0.05, 1.0, "target"),
    Rule("monthly, 10 points", 1, 0.10, 1.0, "target"),
    Rule("annual, 10 points", 12, 0.10, 1.0, "target"),
    Rule("monthly, 20 % of target", 1, 1.0, 0.20, "target"),
    Rule("monthly, 20 % of target, half", 1, 1.0, 0.20, "half"),
    Rule("monthly, 5 points or 20 %, half", 1, 0.05, 0.20, "half"),
)


class Outcome(NamedTuple):
    """What a rule did. Units: fractions; turnover and growth a year, the largest distance from 60 %."""

    events: int
    turnover: float
    growth: float
    volatility: float
    furthest: float


def monthly_returns(file: Path) -> np.ndarray:
    """Returns of stocks and bonds by month, from January of the first year on.

    Shape    (MONTHS, 2).
    """
    rows = pl.read_parquet(file).sort("Date")
    start = rows["Date"].dt.year().to_list().index(FIRST)
    rows = rows[start - 1 : start + MONTHS]  # a month more in front: a return needs two
    price, paid, rate = (rows[name].to_numpy() for name in ("SP500", "Dividend", "Long Interest Rate"))
    stocks = (price[1:] + paid[1:] / 12) / price[:-1] - 1
    y0, y1 = rate[:-1] / 100, rate[1:] / 100
    growth = (1 + y1) ** -(NOTE_YEARS - 1 / 12)
    bonds = y0 / y1 * (1 - growth) + growth - 1 + y0 / 12
    return np.column_stack([stocks, bonds])


def outcome(returns: np.ndarray, rule: Rule, target: float = 0.60) -> Outcome:
    """A household of two classes under a rule; it is looked at at the end of every `every` months."""
    held = np.array([target, 1 - target])
    bands = [half_width(one, rule.absolute, rule.relative) for one in (target, 1 - target)]
    events, turnover, furthest, values = 0, 0.0, 0.0, [1.0]
    for month, moves in enumerate(returns, 1):
        held = held * (1 + moves)
        values.append(held.sum())
        stocks = held[0] / held.sum()
        furthest = max(furthest, abs(stocks - target))
        if month % rule.every:
            continue
        out = [is_outside(w, t, b) for w, t, b in ((stocks, target, bands[0]), (1 - stocks, 1 - target, bands[1]))]
        if any(out):
            inner = min(bands)
            to = back_to(stocks, target, inner, rule.trade_back)
            turnover += abs(stocks - to)
            events += 1
            held = np.array([to, 1 - to]) * held.sum()
    growth = np.diff(np.log(values))
    years = len(returns) / 12
    return Outcome(
        events, turnover / years, float(np.exp(growth.sum() / years) - 1), float(growth.std() * np.sqrt(12)), furthest
    )


def events(file: Path) -> None:
    returns = monthly_returns(file)
    cells = []
    for rule in RULES:
        found = outcome(returns, rule)
        cells.append(
            [rule.name, f"{found.events:,}", *(f"{x:.2%}" for x in (found.turnover, found.growth, found.volatility, found.furthest))]
        )  # fmt: skip
    span = f"60/40, {FIRST}-{FIRST + MONTHS // 12 - 1}, {len(returns):,} months"
    print(table([span, "events", "turnover a year", "growth a year", "volatility", "furthest"], cells))


def a_desk(lots: int, seed: int = 7) -> Desk:
    """Eleven classes of 50 securities each in four accounts, and so many lots."""
    rng = random.Random(seed)
    names = [f"S{n:03d}" for n in range(550)]
    of = {name: f"class {n % 11:02d}" for n, name in enumerate(names)}
    accounts = {name: Account(name > "b", name == "a", SHARE, Decimal(10**9)) for name in ("a", "b", "c", "d")}
    made = [
        OpenLot(rng.choice("abcd"), name, of[name], f"L{n}", Decimal(rng.randint(1, 100)), Decimal(0), Decimal(rng.randint(-400, 900)))
        for n in range(lots) if (name := rng.choice(names))
    ]  # fmt: skip
    return Desk(
        accounts=accounts, prices=dict.fromkeys(names, Decimal(100)), lots=made,
        choices={(a, c): [n for n in names if of[n] == c][:3] for a in accounts for c in sorted(set(of.values()))},
        distance_usd={}, policy=Policy(Decimal(250), Decimal("0.02"), Decimal(5)),
        rates=Rates(Decimal("0.29"), Decimal("0.20"), Decimal("0.29"), Decimal(3000)), gains_usd=[Decimal(0), Decimal(0)],
        gains_left_usd=[None, None], turnover_left_usd=Decimal(10**12), position_left_usd={},
    )  # fmt: skip


def speeds() -> Iterator[Row]:
    for lots in (500, 5_000, 50_000):
        desk = a_desk(lots)
        whole = sum((lot.quantity for lot in desk.lots), Decimal(0)) * 100
        part = (whole / 50).quantize(Decimal("0.01"))
        before = own_use()
        made = swap(desk, {f"class {n:02d}": part for n in range(5)}, {f"class {n:02d}": part for n in range(5, 11)})
        after = own_use()
        assert made
        seconds, user, system = (b - a for a, b in zip(before, after, strict=True))
        yield Row(f"{lots:,} lots", seconds, user, system, 0, lots)


def main() -> None:
    file = Path(os.environ.get("THRESHER_TEST_DATA") or "../shared").absolute() / "data" / "shiller_monthly.parquet"
    if file.exists():
        began = perf_counter()
        events(file)
        print(f"{len(RULES)} rules in {perf_counter() - began:.2f} s\n")
    else:
        print(
            f"event counts are left out: {file} is not there (THRESHER_TEST_DATA names the folder above it)",
            file=sys.stderr,
        )
    print(figures("a tenth of the household moved between eleven classes", list(speeds())))


if __name__ == "__main__":
    main()
