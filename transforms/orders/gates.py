"""What may hold an order back. Every gate is a pure function of a line and the evidence; all of them are asked.

A gate answers None, or why not: what it saw, and what the limit is. The table GATES at the end is the list.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from transforms.lots.check import Effect, Limits, beyond


class Line(NamedTuple):
    """A line of a decided batch. Units: shares, USD a share."""

    batch_id: str
    line: int
    pair: int
    account_id: str
    session_on: date
    side: str
    security_id: str
    quantity: Decimal
    price_usd: Decimal
    lots: str
    mode: str  # as it was when the batch was decided

    @property
    def value_usd(self) -> Decimal:
        return self.quantity * self.price_usd

    @property
    def key(self) -> tuple[str, int]:
        return self.batch_id, self.line


class Refusal(NamedTuple):
    batch_id: str
    line: int
    gate: str
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the gates look at. Units: USD; weights and rates are fractions."""

    session_on: date
    is_stopped: bool
    do_not_trade: frozenset[str]
    unsound: Mapping[str, str]  # account_id -> what is wrong with its sources
    broken: Mapping[str, str]  # account_id -> its unexplained difference
    price_age: Mapping[str, int]  # security_id -> sessions since its last price
    price_move: Mapping[str, float]  # security_id -> last price / the one before - 1
    max_price_age: int
    max_price_move: float
    account_value: Mapping[str, Decimal]
    household_value: Decimal
    max_order_weight: float
    max_daily_turnover: float
    cash_after: Mapping[str, Decimal]  # account_id -> cash when all its lines are done
    washed: Mapping[tuple[str, int], Effect]  # what the pre-trade check says of each line
    wash_limits: Limits
    turnover_before: Mapping[tuple[str, int], Decimal] = field(default_factory=dict)  # value of the lines before it

    def where_held(self, line: Line) -> Decimal:
        return self.account_value.get(line.account_id, Decimal(0))


def kill_switch(line: Line, seen: Evidence) -> str | None:
    return "the file STOP is there: remove it to trade again" if seen.is_stopped else None


def expired(line: Line, seen: Evidence) -> str | None:
    if line.session_on != seen.session_on:
        return f"decided for {line.session_on}, the session is {seen.session_on}"
    return None


def do_not_trade(line: Line, seen: Evidence) -> str | None:
    return f"{line.security_id} is on the do-not-trade list" if line.security_id in seen.do_not_trade else None


def source(line: Line, seen: Evidence) -> str | None:
    return seen.unsound.get(line.account_id)


def books_differ(line: Line, seen: Evidence) -> str | None:
    return seen.broken.get(line.account_id)


def price(line: Line, seen: Evidence) -> str | None:
    age = seen.price_age.get(line.security_id)
    if age is None or age > seen.max_price_age:
        return f"no price of {line.security_id} in the last {seen.max_price_age} sessions"
    move = seen.price_move.get(line.security_id, 0.0)
    if abs(move) > seen.max_price_move:
        return (
            f"{line.security_id} moved {move:+.0%} in one session, more than {seen.max_price_move:.0%} is not believed"
        )
    return None


def order_size(line: Line, seen: Evidence) -> str | None:
    limit = seen.where_held(line) * Decimal(str(seen.max_order_weight))
    if line.value_usd > limit:
        return f"${line.value_usd:,.0f} is more than {seen.max_order_weight:.0%} of the account (${limit:,.0f})"
    return None


def turnover(line: Line, seen: Evidence) -> str | None:
    limit = seen.household_value * Decimal(str(seen.max_daily_turnover))
    traded = seen.turnover_before.get(line.key, Decimal(0)) + line.value_usd
    if traded > limit:
        return f"the day's orders would reach ${traded:,.0f}, the limit is ${limit:,.0f}"
    return None


def cash(line: Line, seen: Evidence) -> str | None:
    left = seen.cash_after.get(line.account_id, Decimal(0))
    if line.side == "buy" and left < 0:
        return f"the account would lack ${-left:,.2f} of cash"
    return None


def wash_sale(line: Line, seen: Evidence) -> str | None:
    effect = seen.washed.get(line.key)
    return beyond(effect, seen.wash_limits) or None if effect else None


GATES: tuple[Callable[[Line, Evidence], str | None], ...] = (
    kill_switch, expired, do_not_trade, source, books_differ, price, order_size, turnover, cash, wash_sale,
)  # fmt: skip


def refusals(lines: list[Line], seen: Evidence) -> list[Refusal]:
    """Every refusal of every gate, and of each line whose pair was refused.

    A pair (a harvest and its replacement) goes together or not at all: half of it would change the exposure.
    """
    found = [
        Refusal(*line.key, gate.__name__, reason) for line in lines for gate in GATES if (reason := gate(line, seen))
    ]
    held_back = {(row.batch_id, row.line) for row in found}
    for line in lines:
        if line.key not in held_back:
            partner = next(
                (o for o in lines if o.batch_id == line.batch_id and o.pair == line.pair and o.key in held_back), None
            )
            if partner:
                found.append(
                    Refusal(*line.key, "pair", f"its pair, {partner.side} {partner.security_id}, is held back")
                )
    return found
