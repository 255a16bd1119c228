"""A household of any size, made on real closes: four accounts, lots of many years, some sales.

Nothing is drawn but by the seed, so the same prices give the same files. Every trade is at its day's close to the
cent. The closes of a folder of prices are adjusted for splits over the whole span of the file, so that a share
bought in one year is the same share in another.

Omits    dividends, fees, the limits on what may be paid into an IRA.
"""

import csv
import io
import random
import sys
from collections import defaultdict
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, ROUND_UP, Decimal
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import NamedTuple

import polars as pl

from flows.connectors.markets.folder import FolderMarket

COLUMNS = ("id", "at", "kind", "side", "symbol", "quantity", "price_usd", "fee_usd", "amount_usd", "lots", "note")
STOCKS = 400
SPAN = timedelta(days=7 * 365)
SOLD = 0.12  # sales, as a part of the lots
IN_PART = 0.3  # of the sales, those that leave a third of the lot
BOUGHT_BACK = 0.3  # of the sales, those after which the stock is bought again within a month
LEAST_CLOSE = 10.0  # below it a cent is too coarse
CENT, SHARE = Decimal("0.01"), Decimal("0.0001")


class Account(NamedTuple):
    """`part` is the account's part of the household's lots; `letter` opens the ids of its rows."""

    id: str
    name: str
    type: str
    owner: str
    relief: str
    letter: str
    part: float


ACCOUNTS = (
    Account("taxable-fifo", "Joint taxable account, first in first out", "taxable", "joint", "fifo_only", "F", 0.25),
    Account("taxable-picked", "Taxable account that takes lots", "taxable", "self", "on_order", "P", 0.45),
    Account("ira", "Traditional IRA", "traditional_ira", "self", "fifo_only", "I", 0.20),
    Account("roth-spouse", "Roth IRA of the spouse", "roth_ira", "spouse", "fifo_only", "R", 0.10),
)

Closes = Mapping[str, Mapping[date, Decimal]]


class Trade(NamedTuple):
    id: str
    on: date
    side: str
    symbol: str
    quantity: Decimal
    price_usd: Decimal
    lots: str = ""

    @property
    def amount_usd(self) -> Decimal:
        worth = (self.quantity * self.price_usd).quantize(CENT, ROUND_HALF_UP)
        return worth if self.side == "sell" else -worth


def household(
    prices: pl.DataFrame, securities: pl.DataFrame, lots: int, as_of: date, seed: int, folder: str = "prices"
) -> dict[str, str]:
    """The files of a household with about `lots` open lots on `as_of`, by name; `folder` is where its prices are.

    Shape    prices: symbol, session_on, close_usd; securities: symbol, name, sector.

    >>> days = [date(2024, 1, 2) + timedelta(days=n) for n in range(60)]
    >>> closes = pl.DataFrame({"symbol": "XYZ", "session_on": days, "close_usd": [20.0 + n for n in range(60)]})
    >>> known = pl.DataFrame({"symbol": ["XYZ"], "name": ["Xyz Inc."], "sector": ["Energy"]})
    >>> files = household(closes, known, 10, days[-1], seed=1)
    >>> sorted(files)
    ['ira.csv', 'portfolio.toml', 'roth-spouse.csv', 'taxable-fifo.csv', 'taxable-picked.csv']
    >>> household(closes, known, 10, days[-1], seed=1) == files
    True
    """
    draw = random.Random(seed)
    closes, days = _closes(prices, securities, as_of, draw)
    sector = dict(securities.select("symbol", "sector").iter_rows())
    files: dict[str, str] = {}
    worth: dict[str, Decimal] = defaultdict(Decimal)
    for account in ACCOUNTS:
        trades = _trades(account, max(1, round(lots * account.part)), closes, days, draw)
        paid = _enough(trades)
        files[f"{account.id}.csv"] = _csv(account, trades, days[0], paid)
        worth["Cash"] += paid + sum(trade.amount_usd for trade in trades)
        for trade in trades:
            quantity = trade.quantity if trade.side == "buy" else -trade.quantity
            worth[sector[trade.symbol]] += quantity * closes[trade.symbol][days[-1]]
    return {"portfolio.toml": _portfolio(_targets(worth), folder), **files}


def _closes(
    prices: pl.DataFrame, securities: pl.DataFrame, as_of: date, draw: random.Random
) -> tuple[Closes, list[date]]:
    """The closes of stocks that were traded on every day of the span and never were too cheap, and those days."""
    rows = prices.filter(pl.col("session_on").is_between(as_of - SPAN, as_of))
    days = rows["session_on"].unique().sort().to_list()
    known = securities.filter(pl.col("sector") != "")
    whole = (
        rows.join(known, on="symbol", how="semi")
        .group_by("symbol")
        .agg(pl.len(), pl.col("close_usd").min())
        .filter((pl.col("len") == len(days)) & (pl.col("close_usd") >= LEAST_CLOSE))["symbol"]
        .sort()
        .to_list()
    )
    chosen = draw.sample(whole, min(STOCKS, len(whole)))
    closes: dict[str, dict[date, Decimal]] = {symbol: {} for symbol in sorted(chosen)}
    taken = rows.filter(pl.col("symbol").is_in(chosen)).select("symbol", "session_on", "close_usd")
    for symbol, on, close in taken.iter_rows():
        closes[symbol][on] = Decimal(str(close)).quantize(CENT, ROUND_HALF_UP)
    return closes, days


def _trades(account: Account, lots: int, closes: Closes, days: list[date], draw: random.Random) -> list[Trade]:
    """Buys of some hundred or thousand dollars on any day, sales of what is held by then, some of it bought back."""
    sales = round(lots * SOLD)
    buys = lots + round(sales * (1 - IN_PART - BOUGHT_BACK))
    symbols = list(closes)
    events = [(draw.randrange(len(days)), False, draw.choice(symbols)) for _ in range(buys)]
    events += [(draw.randrange(len(days) // 4, len(days)), True, "") for _ in range(sales)]
    heapify(events)
    held: dict[str, list[tuple[str, Decimal]]] = defaultdict(list)
    trades: list[Trade] = []
    while events:
        day, is_sale, symbol = heappop(events)
        name, on = f"{account.letter}-{len(trades) + 1:06}", days[day]
        if not is_sale:
            price = closes[symbol][on]
            quantity = (draw.randrange(400, 4000) / price).quantize(SHARE, ROUND_DOWN)
            held[symbol].append((name, quantity))
            trades.append(Trade(name, on, "buy", symbol, quantity, price))
        elif there := sorted(symbol for symbol, queue in held.items() if queue):
            symbol = draw.choice(there)
            place = draw.randrange(len(held[symbol])) if account.relief == "on_order" else 0
            lot, quantity = held[symbol].pop(place)
            if draw.random() < IN_PART and (left := (quantity / 3).quantize(SHARE, ROUND_DOWN)):
                held[symbol].insert(place, (lot, left))
                quantity -= left
            picks = f"{lot}:{quantity}" if account.relief == "on_order" else ""
            trades.append(Trade(name, on, "sell", symbol, quantity, closes[symbol][on], picks))
            if draw.random() < BOUGHT_BACK:
                heappush(events, (min(day + draw.randrange(1, 20), len(days) - 1), False, symbol))
    return trades


def _enough(trades: list[Trade]) -> Decimal:
    """The deposit, in whole thousands, with which the account's cash is never below zero."""
    cash = least = Decimal(0)
    for trade in trades:
        cash += trade.amount_usd
        least = min(least, cash)
    return (-least / 1000).quantize(Decimal(1), ROUND_UP) * 1000


def _targets(worth: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Whole percents near the weights held that add up to 1: the largest takes what rounding leaves."""
    total = sum(worth.values())
    weights = {name: (usd / total).quantize(CENT, ROUND_HALF_UP) for name, usd in sorted(worth.items())}
    weights[max(weights, key=lambda name: weights[name])] += 1 - sum(weights.values())
    return {name: weight for name, weight in weights.items() if weight}


def _csv(account: Account, trades: list[Trade], first: date, paid: Decimal) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerow((f"{account.letter}-000000", first, "deposit", "", "", "", "", "", f"{paid}.00", "", "savings"))
    for trade in trades:
        rows.writerow((*trade[:2], "trade", *trade[2:6], "0.00", trade.amount_usd, trade.lots, ""))
    return text.getvalue()


def _portfolio(targets: Mapping[str, Decimal], folder: str) -> str:
    accounts = "\n".join(
        f'[[accounts]]\nid = "{account.id}"\nname = "{account.name}"\ntype = "{account.type}"\n'
        f'owner = "{account.owner}"\nbroker = "simulated"\nrelief = "{account.relief}"\n'
        f'activities = "{account.id}.csv"\n'
        for account in ACCOUNTS
    )
    weights = "\n".join(f'"{name}" = {weight}' for name, weight in targets.items())
    return f"""# Made by bench/household.py, for measuring and for tests.

[household]
name = "The bench household"
filing_status = "mfj"
taxable_income_usd = 210000
state_rate = 0.05
linked = true

[prices]
source = "folder"
folder = "{folder}"

{accounts}
[targets]
{weights}
"""


def main(prices: Path, lots: int, as_of: date, home: Path) -> None:
    """Write a household on a folder of prices: `python -m bench.household PRICES LOTS AS_OF HOME`."""
    market = FolderMarket(prices)
    closes = market.prices(as_of - SPAN, as_of).rows
    for name, text in household(closes, market.securities().rows, lots, as_of, seed=7, folder=str(prices)).items():
        (home / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), date.fromisoformat(sys.argv[3]), Path(sys.argv[4]))
