"""What the brokers say that holdings cost, beside our view of their lots: explained, or warned of.

The problem. A broker's cost is no second set of books: one interface tells averages, another leaves out its own wash
sales, a third has no basis for shares that came from elsewhere. None of that is an error of the ledger.

The choice. The figure is laid beside `core.broker_lots`, the lots as that broker must keep them. Where it differs by more
than rounding, the habits that are known are tried one after the other, each by its own arithmetic; the one that makes the
broker's figure explains it. What none explains is warned of. Nothing here stops an order.
"""

from datetime import date
from decimal import Decimal
from typing import NamedTuple

import polars as pl

from transforms.breaks import CENT, Trade, average_cost
from warehouse.db import Warehouse

ROUNDING = CENT  # a lot: interfaces round each by itself
_LOTS = """
SELECT account_id, security_id, b.quantity, b.basis_usd::DECIMAL(28, 9) AS ledger, o.basis_usd::DECIMAL(28, 9) AS own, b.lots
FROM (
    SELECT account_id, security_id, sum(quantity) AS quantity, sum(basis_usd) AS basis_usd, count(*) AS lots
    FROM core.broker_lots WHERE NOT is_deferred GROUP BY ALL
) AS b
JOIN (SELECT account_id, security_id, sum(basis_usd) AS basis_usd FROM core.lots GROUP BY ALL) AS o USING (account_id, security_id)
ORDER BY ALL
"""
_HISTORY = """
SELECT transaction_id, kind, CASE side WHEN 'buy' THEN quantity ELSE -quantity END AS quantity,
    round(quantity::DECIMAL(19, 9) * price_usd::DECIMAL(19, 9) + fee_usd, 2)::DECIMAL(28, 6) AS cost_usd
FROM stg.transactions
WHERE (account_id = $account OR details ->> 'to_account_id' = $account) AND security_id = $security AND traded_on <= $until
    AND quantity <> 0 OR kind IN ('split', 'merger', 'symbol_change', 'spin_off', 'return_of_capital')
    AND $security IN (security_id, details ->> 'new_security_id') AND traded_on <= $until
ORDER BY traded_on, traded_at NULLS FIRST, side, transaction_id
"""


class Differs(NamedTuple):
    """A holding whose cost differs. Units: USD; `lots` counts them."""

    account_id: str
    security_id: str
    broker: Decimal
    ledger: Decimal  # by our view of the broker's lots
    own: Decimal  # by the household's books
    lots: int


class Passed(NamedTuple):
    """A row of the holding's history. Units: shares, signed; cost_usd with the fee."""

    transaction_id: str
    kind: str
    quantity: Decimal
    cost_usd: Decimal


def costs(warehouse: Warehouse, stated: pl.DataFrame, until: date) -> list[tuple]:
    """Rows of core.breaks of the kind cost; `stated` are rows of mart.reconciliation."""
    told = {
        (row["account_id"], row["security_id"]): (row["broker_quantity"], row["cost_usd"])
        for row in stated.filter(~pl.col("has_moved")).iter_rows(named=True)
        if row["cost_usd"] is not None
    }
    rows: list[tuple] = []
    for account, security, quantity, ledger, own, count in warehouse.rows(_LOTS).iter_rows():
        at_broker, cost = told.get((account, security), (None, ledger))
        if at_broker != quantity or abs(cost - ledger) <= ROUNDING * count:
            continue
        one = Differs(account, security, cost, ledger, own, count)
        where = {"account": one.account_id, "security": one.security_id}
        history = [Passed(*passed) for passed in warehouse.rows(_HISTORY, until=until, **where).iter_rows()]
        lots = warehouse.rows(
            "SELECT lot_id, quantity FROM core.broker_lots WHERE account_id = $account AND security_id = $security",
            **where,
        ).rows()
        explained = explanation(one, history, lots)
        said = explained or "nothing known explains the broker's cost: compare its lots with core.broker_lots"
        rows.append((*one[:4], "cost", False, bool(explained), said))
    return rows


def explanation(one: Differs, history: list[Passed], lots: list[tuple[str, Decimal]]) -> str:
    """The habit of brokers that makes their figure; empty when none does.

    >>> day = [Passed("A", "trade", Decimal(10), Decimal(100)), Passed("B", "trade", Decimal(10), Decimal(200))]
    >>> sold = Passed("S", "trade", Decimal(-5), Decimal(75))
    >>> one = Differs("joint", "ABC", Decimal(225), Decimal(250), Decimal(250), 2)
    >>> explanation(one, [*day, sold], [("A", Decimal(5)), ("B", Decimal(10))])
    'the broker tells an average cost: its lots may still be as here'
    """
    near = ROUNDING * one.lots
    if any(row.kind in ("transfer", "gift", "inheritance") for row in history):
        return "shares came from elsewhere: the broker has another basis for them, or none"
    if abs(one.broker - one.own) <= near:
        return (
            "it is the basis of the household's own books: the broker knows of the wash sales with other accounts too"
        )
    if any(row.kind not in ("trade", "dividend_reinvested") for row in history):
        return ""
    paid = {row.transaction_id: row.cost_usd / row.quantity for row in history if row.quantity > 0}
    if all(name in paid for name, _ in lots):
        before_washes = sum((quantity * paid[name] for name, quantity in lots), Decimal(0))
        if abs(one.broker - before_washes) <= near:
            return f"the broker leaves out ${one.ledger - one.broker:,.2f} of disallowed losses that wash sales added"
    held = sum((row.quantity for row in history), Decimal(0))
    average = average_cost(Trade(row.quantity, row.cost_usd) for row in history)
    if abs(one.broker - average) <= max(near, held * CENT / 2):  # an average price is told in cents
        return "the broker tells an average cost: its lots may still be as here"
    return ""
