"""Random households, each named by a seed, booked by the engine and by the reference.

`python tests/lots_histories.py 100000` compares so many through the four files of the command, says how far it is,
prints how many of them had what, and ends with the smallest file of every disagreement.
"""

from __future__ import annotations

import functools
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

import lots_reference as reference
import pytest
from lots_cases import Books, TradeRow, csv_text, difference, door, reference_books

from warehouse import law

ACCOUNTS = {
    "broker": ("taxable", "self"),
    "spouse": ("taxable", "spouse"),
    "ira": ("traditional_ira", "self"),
    "roth": ("roth_ira", "spouse"),
    "work": ("401k", "self"),
    "joint": ("taxable", "joint"),
    "kids": ("utma", "self"),
    "house": ("trust", "joint"),
}
ONE_IN = {"broker": 1, "spouse": 1.7, "ira": 3, "roth": 3, "work": 6, "joint": 6, "kids": 8, "house": 8}
GROUPS = [{}, {"AAA": "one", "BBB": "one"}, {"AAA": "one", "BBB": "one"}, {"AAA": "one", "BBB": "one", "CCC": "one"}]
QUANTITIES = ["0.731", "33.333333333", "0.000000001", "1.5", "2.25", "7", "13", "40", "0.1"]
PRICES = ["10", "9.5", "8", "11.125", "7.333333333333", "10.005", "12", "0.0001"]
FALLING = ["12", "11.125", "10.005", "10", "9.5", "8", "7.333333333333", "6", "5.25", "4.9", "4", "0.0001"]
FEES = ["0", "0", "0.01", "4.95", "0.005", "1"]
CLOCKS = [
    "T09:30:00",
    "T15:59:59",
    "T11:00:00",
    "T00:00:00",
    "T15:00:00Z",
    "T03:30:00+00:00",
    "T23:15:00+09:00",
]


class History(NamedTuple):
    rows: list[TradeRow]
    identical: dict[str, str]
    as_of: date | None

    @property
    def last_day(self) -> date:
        return max(reference.when(row["traded_at"])[0] for row in self.rows)

    @property
    def day(self) -> date:
        return self.as_of or self.last_day


def history(seed: int) -> History:
    """A household that buys, sells and buys again on few days around a new year, so that windows overlap."""
    chance = random.Random(seed)
    accounts = [name for name, one_in in ONE_IN.items() if chance.random() < 1 / one_in]
    securities = ["AAA", "BBB", "CCC"][: chance.choice([1, 2, 2, 3])]
    span = chance.choice([3, 30, 45, 60, 75, 150, 420])
    first = date(2024, 1, 1) - timedelta(days=int(span * chance.choice([0.3, 0.4, 0.5, 0.6, 0.7, 1.2])))
    days = [chance.randrange(span) for _ in range(chance.choice([4, 10, 40]))]
    later = chance.choice([0, 0, 0, 366])  # the same season a year later too
    timed = chance.choice([0, 0.3, 0.9])
    fractional = chance.choice([0, 0.3, 0.6])
    buying = chance.choice([0.4, 0.55])
    is_falling = chance.random() < 0.7
    scale = chance.choice([1, 1, 1, 1, 1, 1, 10**5])  # basis x shares beyond 64 bits
    rows = []
    for number in range(chance.randint(5, chance.choice([10, 30, 50]))):
        account_id = chance.choice(accounts)
        account_type, owner = ACCOUNTS[account_id]
        whole = str(chance.randint(1, 20) * chance.choice([1, 1, 8]) * scale)
        day = chance.choice(days)
        price = FALLING[min(len(FALLING) - 1, day * 9 // span + chance.randrange(4))]
        moment = str(first + timedelta(days=day + chance.choice([0, later])))
        if chance.random() < timed:
            moment += chance.choice(CLOCKS)
        rows.append(
            {
                "trade_id": chance.choice(["t", "T", "b", "ü", ""]) + str(number),
                "account_id": account_id,
                "account_type": account_type,
                "owner": owner,
                "security_id": chance.choice(securities),
                "side": "buy" if chance.random() < buying else "sell",
                "quantity": chance.choice(QUANTITIES) if chance.random() < fractional else whole,
                "price_usd": price if is_falling else chance.choice(PRICES),
                "fee_usd": chance.choice(FEES),
                "traded_at": moment,
                "lots": "",
            }
        )
    rows = sell_what_is_held(rows, chance)
    chance.shuffle(rows)
    for row in chance.sample(rows, min(len(rows), chance.choice([0, 0, 0, 1]))):
        rows.append(row | {"quantity": "3", "side": "buy"})  # a duplicate: the first row stands
    history = History(rows, chance.choice(GROUPS), None)
    if chance.random() < 0.4:
        return history._replace(as_of=history.last_day + timedelta(days=chance.randint(-span // 3, 40)))
    return history


def part(held: Decimal, chance: random.Random) -> Decimal:
    """All of it, or some of it in nano-shares, or some of it in whole shares."""
    some = [held, held, (held * Decimal("0.37")).quantize(Decimal("1e-9")), held // 2, held // 3]
    return chance.choice([quantity for quantity in some if quantity > 0])


def whole_part(held: Decimal, chance: random.Random) -> Decimal:
    return chance.choice([held, max(Decimal(1), held // 2), max(Decimal(1), held // 3)])


def sell_what_is_held(
    rows: list[TradeRow], chance: random.Random, part: Callable[[Decimal, random.Random], Decimal] = part
) -> list[TradeRow]:
    """Give every sale a quantity and picks that its account can deliver, and now and then ones it cannot."""
    held: defaultdict[tuple[str, str], dict[str, Decimal]] = defaultdict(dict)
    row_of = {row["trade_id"]: row for row in rows}
    trades = sorted((reference.read(row, 0) for row in rows), key=lambda trade: trade.order)
    acquired = {trade.trade_id: (trade.day, trade.trade_id.encode()) for trade in trades}
    kept = []
    for trade in trades:
        row = row_of[trade.trade_id]
        lots = held[trade.account_id, trade.security_id]
        if trade.side == "buy":
            lots[trade.trade_id] = Decimal(row["quantity"])
            kept.append(row)
            continue
        total = sum(lots.values(), Decimal(0))
        mood = chance.randrange(100)
        if mood >= 97:
            kept.append(row | {"quantity": str(total + Decimal("0.5"))})  # an oversell
            continue
        if not total:
            if mood < 40:
                lots[trade.trade_id] = Decimal(row["quantity"])
                kept.append(row | {"side": "buy"})
            continue
        picked = {}
        if chance.randrange(100) >= 55 and trade.account_type in reference.TAXABLE:
            for lot_id in chance.sample(sorted(lots), chance.randint(1, len(lots))):
                picked[lot_id] = part(lots[lot_id], chance)
            quantity = sum(picked.values())
            row = row | {"quantity": str(quantity), "lots": ";".join(f"{k}:{v}" for k, v in picked.items())}
            if mood >= 94:
                kept.append(row | {"quantity": str(quantity + 1)})  # picks that do not add up
                continue
        else:
            quantity = part(total, chance)
            row = row | {"quantity": str(quantity)}
            for lot_id in sorted(lots, key=acquired.__getitem__):
                picked[lot_id] = min(lots[lot_id], quantity - sum(picked.values(), Decimal(0)))
        for lot_id, taken in picked.items():
            lots[lot_id] -= taken
            if not lots[lot_id]:
                del lots[lot_id]
        kept.append(row)
    return kept or rows


# What a history had

WASHED_BY = {
    "washes": "a purchase replaces a loss",
    "chains": "a loss of shares that had replaced another is replaced again",
    "deferred accounts": "a purchase in an IRA, a 401(k) or the like replaces a loss",
    "spouse purchases": "the spouse buys what another owner sold at a loss",
    "groups": "another security of the group replaces a loss",
    "fractions": "a broken number of shares replaces a loss",
    "fees": "a fee is in the loss or in its replacement",
    "picked lots": "the sale that is washed named its lots",
    "same-day trades": "the replacement is bought on the day of the sale",
    "year crossings": "the replacement is bought in another year than that of the sale",
}
ALSO = {
    "bought before the sale": "a purchase replaces a loss of a later day",
    "bought after the sale": "a purchase replaces a loss of an earlier day",
    "partly washed": "a part of a slice's loss is disallowed",
    "provisional": "the window of a loss is still open",
    "long": "a disposal is long-term",
    "rejected": "a row is rejected",
}


def traits(case: History, books: Books) -> set[str]:
    """What of WASHED_BY and ALSO is in a history, by what its books say: it is there where it decides something."""
    found = {"rejected"} if books.rejects else set()
    rows: dict[str, TradeRow] = {}
    for row in case.rows:
        rows.setdefault(row["trade_id"], row)
    for row in books.disposals:
        loss = row["basis_usd"] - row["proceeds_usd"]
        found |= {
            name
            for name, is_so in {
                "chains": row["holding_since"] != row["acquired_on"] and row["adjustment_usd"] > 0,
                "partly washed": 0 < row["adjustment_usd"] < loss,
                "provisional": row["is_provisional"],
                "long": row["term"] == "long",
            }.items()
            if is_so
        }
    for row in books.wash_sales:
        sale, buy = rows[row["trade_id"]], rows[row["replacement_lot_id"]]
        sold, bought = (reference.when(trade["traded_at"])[0] for trade in (sale, buy))
        found |= {
            name
            for name, is_so in {
                "washes": True,
                "deferred accounts": row["permanent_usd"] > 0,
                "spouse purchases": sale["owner"] != buy["owner"] == "spouse",
                "groups": sale["security_id"] != buy["security_id"],
                "fractions": row["quantity"] % 1,
                "fees": sale["fee_usd"] != "0" or buy["fee_usd"] != "0",
                "picked lots": sale["lots"],
                "same-day trades": sold == bought,
                "year crossings": sold.year != bought.year,
                "bought before the sale": bought < sold,
                "bought after the sale": bought > sold,
            }.items()
            if is_so
        }
    return found


# The engine and the reference


def disagreement(case: History) -> str:
    theirs = reference_books(case.rows, case.identical, case.day)
    return difference(door(case.rows, case.identical, case.as_of).books, theirs)


def smallest(case: History) -> History:
    """Leave out rows for as long as the disagreement stays."""
    case = case._replace(as_of=case.day)
    shrunk = True
    while shrunk:
        shrunk = False
        for index in range(len(case.rows)):
            fewer = case._replace(rows=case.rows[:index] + case.rows[index + 1 :])
            if fewer.rows and disagreement(fewer):
                case, shrunk = fewer, True
                break
    return case


@contextmanager
def the_law_read_once() -> Iterator[None]:
    """Most of a small file's time goes into reading the same law again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(law, "law_rows", functools.cache(law.law_rows))
        yield


class Comparison(NamedTuple):
    histories: int
    seconds: float
    had: Counter[str]
    wrong: list[int]  # seeds

    def table(self) -> str:
        lines = [
            f"{self.histories:,} histories in {self.seconds:,.0f} s, {len(self.wrong)} booked otherwise by the reference"
        ]
        for name, meaning in (WASHED_BY | ALSO).items():
            lines.append(f"{self.had[name]:>9,} {self.had[name] / self.histories:5.1%}  {name}: {meaning}")
        return "\n".join(lines)

    def share(self, name: str) -> float:
        return self.had[name] / self.histories


def compare(histories: int, say: Callable[[str], None] = lambda line: None) -> Comparison:
    """Book histories both ways; every 5,000 say how far it is."""
    began = time.monotonic()
    had: Counter[str] = Counter()
    wrong: list[int] = []
    with the_law_read_once():
        for seed in range(histories):
            case = history(seed)
            theirs = reference_books(case.rows, case.identical, case.day)
            if difference(door(case.rows, case.identical, case.as_of).books, theirs):
                wrong.append(seed)
            had.update(traits(case, theirs))
            if (seed + 1) % 5000 == 0:
                say(f"{seed + 1:,} of {histories:,} after {time.monotonic() - began:,.0f} s, {len(wrong)} wrong")
    return Comparison(histories, time.monotonic() - began, had, wrong)


def report_of(seed: int) -> str:
    """The smallest file that still shows the disagreement, and what it is."""
    case = smallest(history(seed))
    return f"seed {seed}, as of {case.as_of}, identical {case.identical}\n{csv_text(case.rows)}\n{disagreement(case)}"


def main(histories: int) -> int:
    done = compare(histories, functools.partial(print, file=sys.stderr, flush=True))
    print(done.table(), *map(report_of, done.wrong[:5]), sep="\n\n")
    return 1 if done.wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
