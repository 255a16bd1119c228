"""Which fund may stand in for another: a table with sources, never two funds on one index.

The table is fund_pairs.csv: a row a pair, the better one first, each index as the page named beside it says. It is short
on purpose: a pair is in it only where somebody has read what both funds follow. A household adds its own under
[replacement.pairs], with [same_index] for what its funds follow.
"""

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("fund_pairs.csv")


class Pair(NamedTuple):
    fund: str
    fund_index: str
    replacement: str
    replacement_index: str
    fund_source: str
    replacement_source: str


@cache
def shipped(file: Path = FILE) -> tuple[Pair, ...]:
    """The table, as it is written.

    Errors   ValueError for another header, an empty field or a pair on one index, with file and line.
    """
    with file.open(encoding="utf-8", newline="") as rows:
        reader = csv.reader(rows, strict=True)
        if next(reader, None) != list(Pair._fields):
            raise ValueError(f"{file}:1: the columns are {', '.join(Pair._fields)}")
        pairs = []
        for row in reader:
            if len(row) != len(Pair._fields) or not all(field.strip() for field in row):
                raise ValueError(f"{file}:{reader.line_num}: a field is missing or empty")
            pair = Pair._make(row)
            if pair.fund_index == pair.replacement_index or pair.fund == pair.replacement:
                raise ValueError(f"{file}:{reader.line_num}: {pair.fund} and {pair.replacement} follow one index")
            pairs.append(pair)
        return tuple(pairs)


def pairs_of(own: Mapping[str, Sequence[str]], groups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What may stand in for each fund: what the household says, else the table; none of one group of `groups`.

    Order    the best first.

    >>> pairs_of({}, {})["SPY"], pairs_of({"SPY": ["VTI"]}, {})["SPY"]
    (('SCHX', 'VV'), ('VTI',))
    >>> pairs_of({}, {"SPY": "large", "SCHX": "large"})["SPY"]
    ('VV',)
    """
    listed: dict[str, tuple[str, ...]] = {}
    for pair in shipped():
        listed[pair.fund] = (*listed.get(pair.fund, ()), pair.replacement)
    listed |= {fund: tuple(others) for fund, others in own.items()}
    return {
        fund: tuple(other for other in others if groups.get(other, other) != groups.get(fund, fund))
        for fund, others in listed.items()
    }


@cache
def indexes() -> dict[str, str]:
    """What every fund of the table follows.

    >>> indexes()["SPY"] == indexes()["VOO"]
    True
    """
    return {pair.fund: pair.fund_index for pair in shipped()} | {
        pair.replacement: pair.replacement_index for pair in shipped()
    }


def on_one_index(own: Mapping[str, Sequence[str]], groups: Mapping[str, str]) -> list[str]:
    """The pairs of a household whose funds are of one group: of one index, by its own word or by the table.

    >>> on_one_index({"SPY": ["VTI", "VOO"]}, indexes()), on_one_index({"AAA": ["AAA"]}, {})
    (['SPY and VOO'], ['AAA and AAA'])
    """
    return [
        f"{fund} and {other}"
        for fund, others in own.items()
        for other in others
        if groups.get(fund, fund) == groups.get(other, other)
    ]
