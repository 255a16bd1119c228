"""Asset location, timed in a process of its own: `python -m bench.locate LOTS`; a line of JSON.

A household made up by a seed: three taxable accounts whose brokers sell the lots that they are told, two IRAs and a Roth, seven
classes of three funds each, lots of five years, a third of them at a loss, everything standing anywhere. `plan` is the whole
decision with the pre-trade check of every round, and with the moves that are left; `place` the ideal location alone.
"""

import gc
import json
import resource
import sys
from datetime import date, timedelta
from decimal import Decimal

import numpy as np

from bench.figures import RSS_UNIT, own_use
from transforms.exact import NANO
from transforms.harvest.benefit import Rates
from transforms.lots.ahead import Ahead
from transforms.lots.check import Limits, Year
from transforms.lots.in_part import OpenShares, Young
from transforms.lots.in_part import beyond_in_part as in_part
from transforms.lots.rules import Rules
from transforms.lots.term import term
from transforms.model import Trade
from transforms.portfolio.location import Kind, Retirement, cost, place
from transforms.portfolio.move_trades import Holding, Place, Terms
from transforms.portfolio.moves import House, plan
from transforms.portfolio.tax_cost import ASSUMED, Taxes

D = Decimal
ON = date(2026, 3, 9)
ACCOUNTS: dict[str, Kind] = {
    "joint": "taxable", "his": "taxable", "hers": "taxable", "ira": "traditional", "401k": "traditional", "roth": "roth",
}  # fmt: skip
FUNDS, ROUNDS = 3, 3
PRICE = D(100)


def house(lots: int) -> House:
    draw = np.random.default_rng(lots)
    bought, holdings = [], dict[tuple[str, str, str, str], Holding]()
    rates = Rates(D("0.29"), D("0.20"), D("0.29"), D(3000))
    for at in range(lots):
        account, name = list(ACCOUNTS)[draw.integers(6)], list(ASSUMED)[draw.integers(7)]
        fund, lot = f"{name} {draw.integers(FUNDS)}", f"L{at:06}"
        on = ON - timedelta(days=int(draw.integers(40, 1800)))
        shares, paid = D(int(draw.integers(1, 200))), D(int(draw.integers(60, 118)))
        is_deferred = ACCOUNTS[account] != "taxable"
        bought.append(
            Trade(lot, account, fund, True, int(shares) * NANO, int(shares * paid * 100), on, None, is_deferred)
        )
        gain = shares * (PRICE - paid)
        parts = (D(0), gain) if term(on, ON) == "long" else (gain, D(0))
        key = (account, name, fund, "" if is_deferred else lot)
        was = holdings.get(key, Holding(*key, D(0), PRICE, D(0), D(0), D(0)))
        holdings[key] = Holding(
            *key,
            was.quantity + shares,
            PRICE,
            was.value_usd + shares * PRICE,
            was.short_gain_usd + parts[0],
            was.long_gain_usd + parts[1],
        )
    by = Taxes(D("0.24"), D("0.15"), state_rate=D("0.05"), reit_deduction_rate=D("0.20"))
    later = Retirement(D("0.22"), D("0.24"), 20)
    costs = {
        (account, name): cost(of, kind, by, later) for account, kind in ACCOUNTS.items() for name, of in ASSUMED.items()
    }
    ahead = Ahead(bought, [], Rules(), Year(rates, D(0), D(0)), {}, {}, ON)
    young = Young([OpenShares(t.trade_id, t.account_id, t.security_id, t.quantity, False) for t in bought], {})
    places = {
        account: Place(kind != "taxable", D("0.78") if kind == "traditional" else D(1), D("0.0001"), 10**12)
        for account, kind in ACCOUNTS.items()
    }
    funds = {name: [f"{name} {at}" for at in range(FUNDS)] for name in ASSUMED}
    prices = {fund: PRICE for names in funds.values() for fund in names}
    return House(
        Terms(ON, places, prices, rates, D(3), D("0.0002"), D(1000)), [holdings[key] for key in sorted(holdings)], costs,
        {cell: funds[cell[1]] for cell in costs}, {}, ahead.effects,
        lambda trades, limits: in_part(trades, young, ahead.effects, limits), Limits(5000, D("0.02"), 5000),
    )  # fmt: skip


def main(size: int) -> None:
    asked = house(size)
    capacity, wanted = dict.fromkeys(ACCOUNTS, 0), dict.fromkeys(ASSUMED, 0)
    for block in asked.blocks():
        capacity[block.account_id] += block.cents
        wanted[block.asset_class] += block.cents
    plan(house(60))  # libraries loaded
    place(capacity, wanted, asked.costs)
    took = []
    for _ in range(ROUNDS):
        gc.collect()
        before = own_use()
        found = plan(asked)
        took.append([after - earlier for after, earlier in zip(own_use(), before, strict=True)])
    before = own_use()
    place(capacity, wanted, asked.costs)
    parts = {
        "place ms": (own_use()[0] - before[0]) * 1000, "moves": len(found.made), "left": len(found.left),
        "trades": sum(map(len, found.trades)), "saving": float(sum(one.move.saving_usd for one in found.made)),
    }  # fmt: skip
    seconds, user, system = min(took)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
    print(json.dumps({"seconds": seconds, "user": user, "system": system, "memory": memory, "parts": parts}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
