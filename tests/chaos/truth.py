"""What the broker's journal says: orders, executions, shares and cash; and the wash sales that follow from nothing else."""

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tests.chaos.world import ACCOUNTS
from tests.lots_reference import run

NEW_YORK = ZoneInfo("America/New_York")


class Execution(NamedTuple):
    transaction_id: str
    account: str
    name: str  # the client_order_id
    side: str
    symbol: str
    quantity: Decimal
    price: Decimal
    at: datetime


class Order(NamedTuple):
    name: str
    account: str
    side: str
    symbol: str
    quantity: Decimal
    submitted_at: datetime
    ended_at: datetime | None  # None: it is worked
    ended: str


class Wash(NamedTuple):
    """A loss of one execution that another replaces. Units: USD; `cost` is what a share that was sold had cost."""

    sale: Execution
    purchase: Execution
    disallowed: Decimal
    cost: Decimal


def executions(events: Iterable[dict]) -> list[Execution]:
    return [
        Execution(
            row["id"], event["account"], event["client_order_id"], row["side"], row["symbol"], Decimal(row["qty"]),
            Decimal(row["price"]), datetime.fromisoformat(event["at"]),
        )
        for event in events
        if event["kind"] == "execution"
        for row in [event["activity"]]
    ]  # fmt: skip


def orders(events: Iterable[dict]) -> list[Order]:
    """Every order that was taken, in the order of their coming."""
    found: dict[str, Order] = {}
    for event in events:
        at = datetime.fromisoformat(event["at"])
        if event["kind"] == "order":
            told = event["order"]
            found[told["id"]] = Order(
                told["client_order_id"],
                event["account"],
                told["side"],
                told["symbol"],
                Decimal(told["qty"]),
                at,
                None,
                "",
            )
        elif event["kind"] in ("order_state", "execution"):
            status = event["status"] if event["kind"] == "order_state" else event["activity"]["order_status"]
            if status in ("filled", "canceled", "expired", "rejected", "replaced"):
                found[event["order_id"]] = found[event["order_id"]]._replace(ended_at=at, ended=status)
    return list(found.values())


def washes(made: list[Execution], splits: dict[tuple[str, date], int], as_of: date) -> list[Wash]:
    """By the independent reckoning of tests/lots_reference.py, with shares of before a split restated as after it."""
    rows = [_row(one, splits, as_of) for one in made]
    disposals, _, found, wrong = run(rows, {}, as_of)
    if any(not str(row["trade_id"]).startswith("unsold") for row in wrong):
        raise AssertionError(f"the broker's own journal cannot be booked: {wrong[0]}")
    by_id = {one.transaction_id: one for one in made}
    cost: dict[object, Decimal] = {}
    for row in disposals:
        sale = by_id[str(row["trade_id"])]
        shares = Decimal(str(row["quantity"])) / _ratio(sale, splits, as_of)
        cost[row["trade_id"], row["lot_id"]] = max(
            cost.get((row["trade_id"], row["lot_id"]), Decimal(0)), Decimal(str(row["basis_usd"])) / shares
        )
    return [
        Wash(by_id[str(row["trade_id"])], by_id[str(row["replacement_lot_id"])], Decimal(str(row["disallowed_usd"])),
             cost[row["trade_id"], row["sold_lot_id"]])
        for row in found
    ]  # fmt: skip


def _ratio(one: Execution, splits: dict[tuple[str, date], int], as_of: date) -> int:
    ratio = 1
    for (symbol, on), times in splits.items():
        if symbol == one.symbol and one.at.astimezone(NEW_YORK).date() < on <= as_of:
            ratio *= times
    return ratio


def _row(one: Execution, splits: dict[tuple[str, date], int], as_of: date) -> dict[str, str]:
    kind, owner, _ = ACCOUNTS[one.account]
    ratio = _ratio(one, splits, as_of)
    return {
        "trade_id": one.transaction_id, "account_id": one.account, "account_type": kind, "owner": owner,
        "security_id": one.symbol, "side": one.side, "quantity": str(one.quantity * ratio), "price_usd": str(one.price / ratio),
        "fee_usd": "0", "traded_at": one.at.astimezone(NEW_YORK).replace(tzinfo=None).isoformat(), "lots": "",
    }  # fmt: skip
