"""A scan of live prices, timed in a process of its own: `python -m bench.intraday LOTS [anew]`; a line of JSON.

A household made up by a seed: four accounts, 550 securities in 11 sectors that move with one market, purchases of seven
years, every eighth lot sold, a part of it bought back. What is gathered once a day is done before the clock starts. Every
round has prices of its own; the quickest of the rounds counts. `anew`: by the check that books everything every time.
"""

import gc
import json
import random
import resource
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from time import perf_counter

import numpy as np

from bench.figures import RSS_UNIT, own_use
from transforms.exact import NANO, shares, usd
from transforms.harvest.benefit import Rates
from transforms.harvest.candidates import OpenLot, holdings
from transforms.harvest.replacement import replacements
from transforms.harvest.scan import Scan, Thresholds, proposals
from transforms.lots.ahead import Ahead
from transforms.lots.book import book
from transforms.lots.check import Effect, Limits, Year, effects
from transforms.lots.in_part import OpenShares, Young
from transforms.lots.rules import Rules
from transforms.lots.term import long_term_from
from transforms.model import Trade

ON = date(2025, 10, 1)
ROUNDS = 9
SECURITIES, SECTORS, SESSIONS, YEARS = 550, 11, 504, 7
ACCOUNTS = {"taxable-fifo": 0.25, "taxable-picked": 0.45, "ira": 0.20, "roth-spouse": 0.10}  # parts of the lots
SOLD, BOUGHT_BACK = 0.12, 0.3
YEAR = Year(Rates(Decimal("0.29"), Decimal("0.20"), Decimal("0.29"), Decimal(3000)), Decimal(0), Decimal(0))


def ledger(lots: int, draw: random.Random) -> list[Trade]:
    """Purchases, sales of whole lots, and purchases within a month of those sales."""
    trades = []
    for number, account in enumerate(draw.choices(list(ACCOUNTS), list(ACCOUNTS.values()), k=round(lots * (1 + SOLD)))):
        security, is_deferred = f"S{draw.randrange(SECURITIES):03}", account in ("ira", "roth-spouse")
        on = ON - timedelta(days=draw.randrange(1, 365 * YEARS))
        quantity = draw.randrange(10_000, 400_000) * NANO // 10_000
        amount = quantity * draw.randrange(7_500, 11_500) // NANO  # cents
        bought = Trade(f"B-{number}", account, security, True, quantity, amount, on, None, is_deferred)
        trades.append(bought)
        if draw.random() < SOLD / (1 + SOLD):
            sold_on = on + (ON - on) * draw.random()
            if sold_on == on:
                continue
            lot = () if is_deferred or account == "taxable-fifo" else ((bought.trade_id, quantity),)
            trades.append(
                bought._replace(
                    trade_id=f"S-{number}", is_buy=False, amount=amount * draw.randrange(70, 130) // 100, traded_on=sold_on, picks=lot
                )
            )  # fmt: skip
            if draw.random() < BOUGHT_BACK:
                back_on = min(sold_on + timedelta(days=draw.randrange(1, 20)), ON - timedelta(days=1))
                trades.append(bought._replace(trade_id=f"R-{number}", traded_on=back_on))
    return trades


def open_lots(trades: Iterable[Trade]) -> Iterator[OpenLot]:
    number: dict[tuple[str, str, str], int] = {}
    for lot in book(trades, Rules()).lots:
        if lot.is_deferred:
            continue
        key = lot.account_id, lot.security_id, lot.lot_id
        number[key] = number.get(key, 0) + 1
        yield OpenLot(
            lot.account_id, lot.security_id, lot.acquired_on, lot.lot_id, number[key], shares(lot.quantity),
            usd(lot.basis), long_term_from(lot.holding_since),
        )  # fmt: skip


def young(trades: list[Trade]) -> Young:
    held = book(trades, Rules()).lots
    first = ON - timedelta(days=Rules().window_days)
    return Young(
        (OpenShares(x.lot_id, x.account_id, x.security_id, x.quantity, x.acquired_on >= first) for x in held), {}
    )


def scan_of(trades: list[Trade]) -> Scan:
    names = [f"S{number:03}" for number in range(SECURITIES)]
    random_moves = np.random.default_rng(7)
    market = random_moves.normal(0, 0.01, SESSIONS)
    betas = random_moves.uniform(0.7, 1.3, SECURITIES)
    returns = {
        name: market * beta + random_moves.normal(0, 0.006, SESSIONS) for name, beta in zip(names, betas, strict=True)
    }
    sector = {name: f"sector {number % SECTORS}" for number, name in enumerate(names)}
    ahead = Ahead(trades, [], Rules(), YEAR, {}, {}, ON)
    ahead.prepare()
    return Scan(
        ON, holdings(open_lots(trades)), {"taxable-fifo": False, "taxable-picked": True}, set(),
        Thresholds(Decimal(1000), Decimal("0.05")), ahead.effects, Limits(5000, Decimal("0.02"), 5000), YEAR, [], [], {},
        replacements(returns, sector, 0.5, (0.6, 1.4)), set(), young(trades), (), "no replacement",
    )  # fmt: skip


def quotes(draw: random.Random) -> dict[str, Decimal]:
    return {f"S{number:03}": Decimal(draw.randrange(8_500, 12_500)).scaleb(-2) for number in range(SECURITIES)}


def main(lots: int, *, is_anew: bool) -> None:
    draw = random.Random(7)
    trades = ledger(lots, draw)
    began = perf_counter()
    scan = scan_of(trades)
    gathered = perf_counter() - began
    spent = 0.0

    def timed(batch: Iterable[Trade]) -> Mapping[str, Effect]:
        nonlocal spent
        began = perf_counter()
        try:
            return effects(trades, list(batch), [], Rules(), YEAR, {}, {}) if is_anew else scan.effects(batch)
        finally:
            spent += perf_counter() - began

    took = []
    gc.collect()
    gc.freeze()  # what is there for good is not looked through again and again
    for _ in range(1 if is_anew else ROUNDS):
        prices, spent = quotes(draw), 0.0
        before = own_use()
        found = proposals(scan._replace(effects=timed), prices)
        used = [after - earlier for after, earlier in zip(own_use(), before, strict=True)]
        took.append((*used, spent, len(found), sum(not one.candidate.refusal for one in found)))
    seconds, user, system, check, candidates, harvests = min(took)
    counts = {"lots": sum(lot.is_buy for lot in trades), "open": int(scan.holdings.holding_of.size)}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
    print(
        json.dumps(
            {"seconds": seconds, "user": user, "system": system, "memory": memory,
             "parts": {**counts, "candidates": candidates, "harvests": harvests, "ms": seconds * 1000,
                       "wash check ms": check * 1000, "gathered once ms": gathered * 1000}}
        )
    )  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]), is_anew=sys.argv[2:] == ["anew"])
