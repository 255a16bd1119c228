"""The simulated broker's own books: history, fills, and what companies did, day by day.

The problem: a history that a person brought may say dividends and splits already, for a while or to its end, and a
feed says them too, on other days.

The choice: the history is believed. What it shows near the day that the feed says is not done again; only what it does
not show is made by the simulation, as rows with names of their own. On its day what a company does comes before the
trades, and a dividend goes to the shares that were held before its ex-date.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import polars as pl

from flows.connectors.brokers.simulation.fills import Fill
from flows.connectors.brokers.simulation.prices import CorporateAction, PriceTable
from transforms.exact import NANO, half_up, shares, usd

ACTIONS = ("split", "symbol_change", "merger", "spin_off")
FROM_THE_FEED = ("split", "symbol_change")  # the others need what a feed does not say: let the history say them
MOVES = (
    "trade", "transfer", "gift", "inheritance", "dividend_reinvested", "award", "cash_in_lieu", "option_open", "option_close",
    "option_expire", "short_open", "short_close",
)  # fmt: skip
DIVIDENDS = ("dividend", "dividend_reinvested")
POSTED_WITHIN = timedelta(days=10)  # of the day that the feed says, a history that has an event may show it
PAID_WITHIN = timedelta(days=35)  # of its ex-date


class Past(NamedTuple):
    """A row of the history that can be read."""

    on: date
    row: Mapping[str, str]
    quantity: Decimal
    amount_usd: Decimal


class Books(NamedTuple):
    """What the broker's own books say at the end of a day."""

    held: dict[str, Decimal]  # shares by symbol, and dollars under USD
    made: list[dict[str, str]]  # rows of dividends and splits that are not in the history


def past(rows: pl.DataFrame, until: date) -> list[Past]:
    """The history up to a day; a row that nobody can read is in nobody's books."""
    read = []
    for row in rows.iter_rows(named=True):
        try:
            on = date.fromisoformat(row["at"][:10])
            quantity, amount = Decimal(row["quantity"] or 0), Decimal(row["amount_usd"] or 0)
        except (ArithmeticError, ValueError):
            continue
        if on <= until and quantity.is_finite() and amount.is_finite():
            read.append(Past(on, row, quantity, amount))
    return read


def booked(
    account_id: str, history: list[Past], fills: list[Fill], prices: PriceTable, dividends: str, until: date
) -> Books:
    """Everything in its order: dividends, what else companies do, the history's rows, fills."""
    books = Books(defaultdict(Decimal), [])
    is_adjusted = prices.is_adjusted(until)  # then a dividend is in the price already
    events: list[tuple[date, int, Callable[[], object]]] = []
    for on, row, quantity, amount in history:
        cash = Decimal(0) if is_adjusted and row["kind"] in DIVIDENDS else amount
        events.append((on, 1 if row["kind"] in ACTIONS else 2, partial(_move, books.held, row, quantity, cash)))
    for fill in fills:
        row = {"kind": "trade", "symbol": fill.order.security_id, "side": fill.order.side}
        events.append((fill.session_on, 3, partial(_move, books.held, row, fill.quantity, fill.amount_usd)))
    if not is_adjusted and history:
        bought = {fill.order.security_id for fill in fills}
        for action in _done_by_companies(history, bought, prices, dividends, until):
            pays = action.kind == "dividend"
            follows = partial(_pay if pays else _reshape, account_id, action, books, until)
            events.append((action.on, 0 if pays else 1, follows))
    for _, _, happens in sorted(events, key=lambda event: event[:2]):
        happens()
    return books


def _done_by_companies(
    history: list[Past], bought: set[str], prices: PriceTable, dividends: str, until: date
) -> list[CorporateAction]:
    """What the history does not say already, of the securities that were ever held."""
    said: dict[tuple[str, str], list[date]] = defaultdict(list)
    for on, row, _, _ in history:
        said["dividend" if row["kind"] in DIVIDENDS else row["kind"], row["symbol"]].append(on)
    since = min(row.on for row in history)
    found = prices.corporate_actions(since, until)
    symbols = bought | {row.row["symbol"] for row in history} | {action.new_symbol for action in found}
    symbols |= {row.row.get("new_security_id", "") for row in history}
    if dividends == "derived":
        found = [action for action in found if action.kind != "dividend"] + prices.derived_dividends(since, until)
    kinds = FROM_THE_FEED if dividends == "none" else (*FROM_THE_FEED, "dividend")
    return [
        action
        for action in found
        if action.kind in kinds
        and action.symbol in symbols
        and not any(_is_told(action, on) for on in said[action.kind, action.symbol])
    ]


def _is_told(action: CorporateAction, on: date) -> bool:
    """Would the history show the event on that day? Brokers post dividends weeks after the ex-date."""
    if action.kind != "dividend":
        return abs(on - action.on) <= POSTED_WITHIN
    return action.on <= on <= max(action.payable_on + POSTED_WITHIN, action.on + PAID_WITHIN)


def _pay(account_id: str, action: CorporateAction, books: Books, until: date) -> None:
    held = books.held[action.symbol]
    owed = Fraction(held) * Fraction(action.cash_usd) * 100
    cents = half_up(owed.numerator, owed.denominator)
    if cents <= 0 or action.payable_on > until:
        return
    books.held["USD"] += usd(cents)
    note = f"{price_text(action.cash_usd)} a share on {held:f} shares, ex-date {action.on}"
    books.made.append(
        _row(account_id, action, action.payable_on)
        | {"amount_usd": f"{usd(cents):f}", "note": f"{note}, {action.note}" if action.note else note}
    )


def _reshape(account_id: str, action: CorporateAction, books: Books, _: date) -> None:
    row = _row(account_id, action, action.on) | {"ratio": action.ratio, "new_security_id": action.new_symbol}
    if books.held[action.symbol] > 0 and _move(books.held, row, Decimal(0), Decimal(0)):
        books.made.append(row)


def _row(account_id: str, action: CorporateAction, on: date) -> dict[str, str]:
    name = f"{action.kind}-{account_id}-{action.id}"  # of this account: ids differ across accounts
    return {"id": name, "at": str(on), "kind": action.kind, "symbol": action.symbol}


def _move(held: dict[str, Decimal], row: Mapping[str, str], quantity: Decimal, amount_usd: Decimal) -> bool:
    """What a row does to shares and cash; false where what a company did cannot be read.

    Omits    exercises, and shares that another account transfers in: say those in a statement.
    """
    kind, symbol = row["kind"], row["symbol"]
    held["USD"] += amount_usd
    if kind in ACTIONS:
        if (ratio := _ratio(row.get("ratio", ""))) is None:
            return False
        exact = Fraction(held[symbol]) * ratio * NANO
        if kind != "spin_off":
            held[symbol] = Decimal(0)
        held[row.get("new_security_id") or symbol] += shares(half_up(exact.numerator, exact.denominator))
    elif kind in MOVES:
        held[symbol] += quantity if row["side"] == "buy" else -quantity
    return True


def _ratio(text: str) -> Fraction | None:
    """NEW:OLD; a row that says none keeps the number of shares.

    >>> _ratio("3:2"), _ratio(""), _ratio("three")
    (Fraction(3, 2), Fraction(1, 1), None)
    """
    new, colon, old = text.partition(":")
    try:
        return Fraction(new) / Fraction(old) if colon else None if new else Fraction(1)
    except (ValueError, ArithmeticError):
        return None


def price_text(price_usd: Decimal) -> str:
    """A price with its cents, and with what is finer than a cent only where there is such.

    >>> price_text(Decimal("50.050000000")), price_text(Decimal("50.1"))
    ('50.05', '50.10')
    """
    whole, _, cents = f"{price_usd:f}".partition(".")
    return f"{whole}.{cents.rstrip('0').ljust(2, '0')}"
