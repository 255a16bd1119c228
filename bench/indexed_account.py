"""A direct index of one account through the years: decided at a month's last close, filled at the next one.

A million dollars, one deposit, no withdrawal. The household has gains elsewhere every year that losses can offset. Prices
are adjusted ones, so dividends are reinvested without tax and without a lot of their own. What the optimizer sold and bought is booked
at the end by the lots engine, which finds the wash sales that there were: `direct_index.py`. Names whose prices end are paid out.
No minimum trade: the spread alone keeps trades from being small, and every decision would take several times as long.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from time import perf_counter
from typing import NamedTuple

import numpy as np

from bench.point_in_time import Month, Panel
from transforms.exact import NANO
from transforms.harvest.benefit import Rates
from transforms.index.constraints import TrackingErrorCap, WashWindows
from transforms.index.optimizer import Solution, solve
from transforms.index.problem import Costs, Lots, Problem, Taxes, later_rate
from transforms.index.risk_model import RiskModel
from transforms.lots.term import long_term_from
from transforms.model import Trade

VALUE_USD = 1_000_000
CAP = 0.01
WINDOW_DAYS = 30
HALF_SPREAD_BPS = 2.0
RATES = Rates(Decimal("0.408"), Decimal("0.238"), Decimal("0.37"), Decimal(3000))
OTHER_LONG_USD = Decimal(150_000)  # gains elsewhere, every year
LATER = later_rate(0.238, 10, 0.05)
RISK_AVERSION, THRESHOLD_BPS = 10.0, 1.0
STEP = NANO // 1_000_000


class Decided(NamedTuple):
    """What a month's decision came to. Units: fractions; seconds."""

    on: date
    choice: str  # empty: infeasible
    predicted: float
    turnover: float
    barred_buys: int  # names that a wash window keeps from being bought
    barred_sales: int  # and from being sold at a loss
    gap_bps: float  # to a bound that no plan can beat
    seconds: float
    lots: int
    reason: str


class Held(NamedTuple):
    lot_id: str
    name: int
    quantity: int  # nano-shares
    cost: int  # cents
    on: date


@dataclass
class Account:
    """Holdings as they are, trades as they were, values session by session."""

    cents: int = VALUE_USD * 100
    lots: list[Held] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    losses: dict[int, date] = field(default_factory=dict)  # name -> last sold at a loss
    realised: dict[int, list[int]] = field(default_factory=dict)  # year -> cents short, long
    forced: int = 0

    def value(self, prices: np.ndarray) -> float:
        return self.cents / 100 + sum(lot.quantity * prices[lot.name] for lot in self.lots) / NANO

    def sell(self, at: int, quantity: int, price: float, on: date, security: str) -> None:
        """A part of a lot, or all of it; the place of the others does not change."""
        lot = self.lots[at]
        proceeds = round(quantity * price * 100 / NANO)
        cost = lot.cost * quantity // lot.quantity
        gain = proceeds - cost
        self.realised.setdefault(on.year, [0, 0])[on >= long_term_from(lot.on)] += gain
        if gain < 0:
            self.losses[lot.name] = on
        self._note(security, False, quantity, proceeds, on, ((lot.lot_id, quantity),))
        self.cents += proceeds
        self.lots[at] = lot._replace(quantity=lot.quantity - quantity, cost=lot.cost - cost)

    def buy(self, name: int, quantity: int, price: float, on: date, security: str) -> None:
        cost = round(quantity * price * 100 / NANO)
        if cost <= 0:
            return
        self.cents -= cost
        self.lots.append(Held(self._note(security, True, quantity, cost, on, ()), name, quantity, cost, on))

    def settle(self) -> None:
        self.lots = [lot for lot in self.lots if lot.quantity]

    def _note(self, security: str, is_buy: bool, quantity: int, cents: int, on: date, picks: tuple) -> str:
        trade_id = f"{len(self.trades):06}"
        self.trades.append(Trade(trade_id, "index", security, is_buy, quantity, cents, on, None, False, picks))
        return trade_id


Modelled = Callable[[Panel, int, np.ndarray], RiskModel]


def followed(
    prices: Panel, index: list[Month], modelled: Modelled, account: Account
) -> Iterator[tuple[Decided, np.ndarray]]:
    """Month by month: the decision, and the account's daily returns until the next one."""
    for month in index:
        before = account.value(prices.prices[month.at])
        _ended(account, prices, month.at)
        problem, lots, names = _problem(account, prices, month, modelled)
        began = perf_counter()
        plan = solve(problem)
        seconds = perf_counter() - began
        fill, traded = month.at + 1, 0.0
        if plan.status == "optimal":
            traded = _filled(account, prices, fill, plan, lots, names)
        wash = problem.constraints["wash windows"]
        now = problem.risk.tracking_error(problem.held - problem.target)
        yield (
            Decided(
                prices.days[month.at],
                plan.choice,
                plan.tracking_error if plan.choice else now,
                traded / before,
                int(wash.barred_buys(problem).sum()),
                len({lots[at].name for at in np.flatnonzero(wash.barred_sales(problem))}),
                sum(plan.losses.values()),
                seconds,
                len(lots),
                plan.reason,
            ),
            _returns(account, prices, before, fill, month.until),
        )


def _ended(account: Account, prices: Panel, at: int) -> None:
    """Names whose prices have ended are paid out at the last one, on the session after it."""
    for place, lot in enumerate(account.lots):
        if (last := int(prices.last[lot.name])) < at:
            on = prices.days[last + 1]
            account.sell(place, lot.quantity, prices.prices[last, lot.name], on, prices.names[lot.name])
            account.forced += 1
    account.settle()


def _problem(
    account: Account, prices: Panel, month: Month, modelled: Modelled
) -> tuple[Problem, list[Held], np.ndarray]:
    names = np.array(sorted({*month.names.tolist(), *(lot.name for lot in account.lots)}))
    place = {name: at for at, name in enumerate(names.tolist())}
    fill_on = prices.days[month.at + 1]
    target = np.zeros(len(names))
    target[[place[name] for name in month.names.tolist()]] = month.weights
    lots = list(account.lots)
    long_from = [long_term_from(lot.on) for lot in lots]
    since = fill_on - timedelta(days=WINDOW_DAYS)
    short, long = account.realised.get(fill_on.year, (0, 0))
    securities = tuple(prices.names[name] for name in names)
    problem = Problem(
        securities,
        prices.prices[month.at, names],
        target / target.sum(),
        Lots(
            tuple(lot.lot_id for lot in lots),
            np.array([place[lot.name] for lot in lots], np.int64),
            np.array([lot.quantity for lot in lots], np.int64),
            np.array([lot.cost / 100 * NANO / lot.quantity for lot in lots], float),
            np.array([fill_on >= day for day in long_from], bool),
            np.array([(fill_on - lot.on).days for lot in lots], np.int64),
            np.array([max(0, (day - fill_on).days) for day in long_from], np.int64),
            np.ones(len(lots)),
        ),
        Decimal(account.cents) / 100,
        modelled(prices, month.at, names),
        Taxes(RATES, Decimal(short) / 100, OTHER_LONG_USD + Decimal(long) / 100, LATER, LATER),
        Costs(np.full(len(names), HALF_SPREAD_BPS), np.zeros(len(names)), np.full(len(names), np.inf)),
        RISK_AVERSION,
        THRESHOLD_BPS,
        {
            "tracking error": TrackingErrorCap(CAP),
            "wash windows": WashWindows(
                frozenset(prices.names[name] for name, on in account.losses.items() if on >= since),
                frozenset(prices.names[lot.name] for lot in lots if lot.on >= since),
            ),
        },
        step=STEP,
    )
    return problem, lots, names


def _filled(account: Account, prices: Panel, fill: int, plan: Solution, lots: list[Held], names: np.ndarray) -> float:
    """Sales, then purchases as far as the cash goes; the dollars that were traded, half of both sides."""
    on, cost, traded = prices.days[fill], HALF_SPREAD_BPS / 10_000, 0.0
    for place in np.flatnonzero(plan.sold):
        name = lots[place].name
        price = prices.prices[fill, name] * (1 - cost)
        account.sell(place, int(plan.sold[place]), price, on, prices.names[name])
        traded += plan.sold[place] * price / NANO
    account.settle()
    wanted = {int(names[at]): int(plan.bought[at]) for at in np.flatnonzero(plan.bought)}
    asked = sum(quantity * prices.prices[fill, name] * (1 + cost) / NANO for name, quantity in wanted.items())
    part = min(1.0, (account.cents / 100 - 1) / asked) if asked else 0.0  # prices rose over night: less of everything
    for name, quantity in wanted.items():
        taken = int(quantity * part) // STEP * STEP
        account.buy(name, taken, prices.prices[fill, name] * (1 + cost), on, prices.names[name])
    return (traded + asked * part) / 2


def _returns(account: Account, prices: Panel, before: float, fill: int, until: int) -> np.ndarray:
    """From the decision's close to the month's end; the fill's costs are in its session."""
    held = np.array([lot.name for lot in account.lots], np.int64)
    shares = np.array([lot.quantity for lot in account.lots]) / NANO
    values = prices.prices[fill : until + 1, held] @ shares + account.cents / 100
    path = np.concatenate([[before], values])
    return path[1:] / path[:-1] - 1
