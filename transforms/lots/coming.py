"""Purchases that are known and not booked yet: reinvested dividends, payroll, vesting days, recurring buys, open orders.

A plan is what a household says of itself in portfolio.toml. In the window of a sale it becomes trades like those
that were made, so that the pre-trade check books them too.
"""

from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from transforms.exact import NANO, half_up
from transforms.model import Trade

EVERY = {"week": 0, "month": 1, "quarter": 3}  # months; a week has days


class Plan(NamedTuple):
    """A purchase that will be made, once or again and again. Units: nano-shares or cents, whichever is known.

    Once is `every` = '' and `first`; a stock that vests is a purchase too (Pub. 550: stock awards count).
    """

    name: str
    account_id: str
    security_id: str
    is_deferred: bool
    quantity: int | None
    amount: int | None
    first: date
    every: str = ""
    until: date | None = None
    replaces: bool = True


def days(plan: Plan, first: date, last: date) -> Iterator[date]:
    """The days of a plan from `first` to `last`, both included.

    Omits    days on which the exchange is closed: a day is taken as the plan says it.

    >>> monthly = Plan("recurring-1", "ira", "VOO", True, None, 50000, date(2025, 1, 31), "month")
    >>> [str(on) for on in days(monthly, date(2025, 2, 1), date(2025, 4, 30))]
    ['2025-02-28', '2025-03-31', '2025-04-30']
    """
    last = min(last, plan.until or last)
    on, count = plan.first, 0
    while on <= last:
        if on >= first:
            yield on
        if not plan.every:
            return
        count += 1
        on = (
            plan.first + timedelta(weeks=count)
            if plan.every == "week"
            else _later(plan.first, count * EVERY[plan.every])
        )


def coming(
    plans: Iterable[tuple[Plan, date]], last: date, prices: Mapping[str, Decimal]
) -> tuple[list[Trade], list[tuple[Plan, date]]]:
    """The purchases of the plans, each plan from the day that stands beside it to `last`, at the latest prices; and the
    plans with the first day whose shares nobody can tell.

    Units    prices in USD a share; nano-shares and cents out.
    Rows     of a plan in dollars without a price, or with neither shares nor dollars, none.

    >>> plan = Plan("payroll-1", "401k", "VOO", True, None, 50000, date(2025, 1, 15), "month")
    >>> made, unsized = coming([(plan, date(2025, 3, 1))], date(2025, 3, 31), {"VOO": Decimal(500)})
    >>> [(trade.trade_id, trade.quantity) for trade in made], unsized
    ([('payroll-1-2025-03-15', 1000000000)], [])
    """
    trades: list[Trade] = []
    unsized = []
    for plan, first in plans:
        for on in days(plan, first, last):
            quantity = _quantity(plan, prices.get(plan.security_id))
            if quantity is None:
                unsized.append((plan, on))
                break
            if quantity:
                amount = _amount(plan, quantity, prices.get(plan.security_id, Decimal(0)))
                trades.append(
                    Trade(
                        f"{plan.name}-{on}", plan.account_id, plan.security_id, True, quantity, amount, on, None,
                        plan.is_deferred, replaces=plan.replaces,
                    )
                )  # fmt: skip
    return trades, unsized


def _quantity(plan: Plan, price: Decimal | None) -> int | None:
    if plan.quantity is not None or plan.amount is None or not price:
        return plan.quantity
    shares = Fraction(plan.amount, 100) / Fraction(price)
    return half_up(shares.numerator * NANO, shares.denominator)


def _amount(plan: Plan, quantity: int, price: Decimal) -> int:
    if plan.amount is not None:
        return plan.amount
    cents = Fraction(quantity, NANO) * Fraction(price) * 100
    return half_up(cents.numerator, cents.denominator)


def _later(on: date, months: int) -> date:
    """The same day some months later; the last of the month where it has no such day."""
    year, month = divmod(on.year * 12 + on.month - 1 + months, 12)
    return date(year, month + 1, min(on.day, monthrange(year, month + 1)[1]))
