"""What a direct index follows: constituents, what a household leaves out, and what becomes of its weight.

The problem. A household wants an index without an industry, without three names, without its own employer. The weight of what
goes must go somewhere, and where decides how far the rest drifts from the index.

The choice. What is left out is spread over the rest of its sector, pro rata: names of one sector move together, so the sector's
weight is kept with the names that are nearest. A sector that goes altogether is spread over everything else, pro rata.
A sector or industry that no constituent has is an error, because a misspelled exclusion would buy what the household refuses;
a ticker that is not in the index is told, not refused, because indices change and exclusions stay. Tickers are the same in
small letters and in capitals.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

COLUMNS = ("symbol", "name", "sector", "industry")
MEASURES = ("weight", "capitalisation")
FUNDAMENTALS = ("value", "quality")


class UniverseError(ValueError):
    """The constituents or the exclusions cannot be used: where, and what to do."""


class Constituent(NamedTuple):
    """A name of the index. Units: weight is a fraction of the index; value and quality as the file has them, higher is more."""

    symbol: str
    name: str
    sector: str
    industry: str
    weight: float
    capitalisation_usd: float | None = None
    value: float | None = None
    quality: float | None = None


class Exclusions(NamedTuple):
    """What the household leaves out; `employer` are the tickers of who pays its wages."""

    sectors: frozenset[str] = frozenset()
    industries: frozenset[str] = frozenset()
    symbols: frozenset[str] = frozenset()
    employer: frozenset[str] = frozenset()


class Universe(NamedTuple):
    """The benchmark's weights, those that are wanted instead, and why a name is left out."""

    benchmark: Mapping[str, float]
    wanted: Mapping[str, float]
    excluded: Mapping[str, str]
    not_found: tuple[str, ...]  # excluded tickers that the index does not have


def constituents(rows: Iterable[tuple[int, Mapping[str, str]]], source: str) -> list[Constituent]:
    """The names of a file, largest first, with weights that add up to one.

    Rows     symbol, name, sector, industry, and weight or capitalisation (USD); value and quality where the file has them.
             Weights may be fractions or percent: they are brought to one.
    Errors   UniverseError with the file and the line.

    >>> head = {"symbol": "KO", "name": "Coca-Cola", "sector": "Staples", "industry": "Drinks", "capitalisation": "300"}
    >>> other = {**head, "symbol": "PEP", "name": "PepsiCo", "capitalisation": "100"}
    >>> [(one.symbol, one.weight) for one in constituents([(2, head), (3, other)], "index.csv")]
    [('KO', 0.75), ('PEP', 0.25)]
    """
    found: dict[str, Constituent] = {}
    lines: dict[str, int] = {}
    measure = ""
    for line, row in rows:
        where = f"{source}:{line}"
        if missing := [column for column in COLUMNS if column not in row]:
            raise UniverseError(f"{source}:1: expected the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}")
        measure = measure or _measure(row, source)
        symbol, sector = row["symbol"].strip().upper(), row["sector"].strip()
        if not symbol or not sector:
            raise UniverseError(
                f"{where}: a constituent needs a symbol and a sector, this one has {symbol or 'no symbol'!r}"
            )
        if symbol in found:
            raise UniverseError(f"{where}: {symbol} stands on line {lines[symbol]} already: keep one of the two")
        size = _number(row[measure], measure, where)
        if size is None or size <= 0:
            raise UniverseError(
                f"{where}: {measure} of {symbol} must be above zero, it is {row[measure].strip() or 'empty'!r}"
            )
        more = {name: _number(row[name], name, where) for name in FUNDAMENTALS if name in row}
        cap = size if measure == "capitalisation" else None
        found[symbol] = Constituent(symbol, row["name"].strip(), sector, row["industry"].strip(), size, cap, **more)
        lines[symbol] = line
    if not found:
        raise UniverseError(f"{source}: no constituent: expected a line a name below the header")
    return _to_one(found.values())


def largest(names: Iterable[Constituent], count: int) -> list[Constituent]:
    """The largest names by weight, brought to one.

    Order    ties by symbol.
    Errors   UniverseError for less than one name, or more than there are.
    """
    listed = list(names)
    if not 1 <= count <= len(listed):
        raise UniverseError(f"the top {count} of {len(listed)} constituents: expected 1 to {len(listed)}")
    return _to_one(sorted(listed, key=lambda one: (-one.weight, one.symbol))[:count])


def universe(names: Iterable[Constituent], exclusions: Exclusions) -> Universe:
    """The weights that a household wants: the index less what it leaves out, sector by sector.

    Errors   UniverseError for a sector or an industry that no constituent has, and where nothing is left.

    >>> row = ("", "Energy", "Oil")
    >>> index = [Constituent("XOM", *row, 0.3), Constituent("CVX", *row, 0.1), Constituent("KO", "", "Staples", "Drinks", 0.6)]
    >>> made = universe(index, Exclusions(employer=frozenset({"XOM"})))
    >>> {symbol: round(weight, 9) for symbol, weight in made.wanted.items()}, made.excluded["XOM"]
    ({'CVX': 0.4, 'KO': 0.6}, 'own employer')
    """
    listed = list(names)
    exclusions = exclusions._replace(symbols=_tickers(exclusions.symbols), employer=_tickers(exclusions.employer))
    for what, asked, known in (
        ("sector", exclusions.sectors, {one.sector for one in listed}),
        ("industry", exclusions.industries, {one.industry for one in listed if one.industry}),
    ):
        if unknown := sorted(asked - known):
            raise UniverseError(
                f"no constituent has the {what} {unknown[0]!r}; it is one of {', '.join(sorted(known))}"
            )
    excluded = {one.symbol: reason for one in listed if (reason := _reason(one, exclusions))}
    rest = [one for one in listed if one.symbol not in excluded]
    if not rest:
        raise UniverseError("the exclusions leave no constituent")
    before, after = _by_sector(listed), _by_sector(rest)
    scale = sum(weight for sector, weight in before.items() if sector in after)
    wanted = {one.symbol: one.weight * before[one.sector] / after[one.sector] / scale for one in rest}
    symbols = {one.symbol for one in listed}
    missing = tuple(sorted((exclusions.symbols | exclusions.employer) - symbols))
    return Universe({one.symbol: one.weight for one in listed}, wanted, excluded, missing)


def _tickers(symbols: Iterable[str]) -> frozenset[str]:
    """As `constituents` has them."""
    return frozenset(symbol.strip().upper() for symbol in symbols)


def _reason(one: Constituent, exclusions: Exclusions) -> str:
    if one.symbol in exclusions.employer:
        return "own employer"
    if one.symbol in exclusions.symbols:
        return "by ticker"
    if one.industry in exclusions.industries:
        return f"industry {one.industry}"
    return f"sector {one.sector}" if one.sector in exclusions.sectors else ""


def _by_sector(names: Iterable[Constituent]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for one in names:
        sums[one.sector] = sums.get(one.sector, 0.0) + one.weight
    return sums


def _to_one(names: Iterable[Constituent]) -> list[Constituent]:
    ordered = sorted(names, key=lambda one: (-one.weight, one.symbol))
    total = sum(one.weight for one in ordered)
    return [one._replace(weight=one.weight / total) for one in ordered]


def _measure(row: Mapping[str, str], source: str) -> str:
    there = [name for name in MEASURES if name in row]
    if len(there) != 1:
        raise UniverseError(
            f"{source}:1: expected one of the columns {' or '.join(MEASURES)}, there {'are both' if there else 'is none'}"
        )
    return there[0]


def _number(text: str, column: str, where: str) -> float | None:
    """A finite number; None for an empty cell."""
    if not (text := text.strip()):
        return None
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if number - number != 0:  # neither infinite nor no number
        raise UniverseError(f"{where}: {column} is {text!r}; expected a plain number, as in 0.0123")
    return number
