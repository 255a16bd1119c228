"""One arbiter: all proposals together become one stored decision for each account and session.

The first batch that is stored is the decision. A rerun finds it and decides nothing again, whatever has changed
since; what has changed is for the gates to see.
"""

from datetime import UTC, date, datetime
from decimal import Decimal

from flows.calendar import next_session
from flows.day import Day
from flows.settings import Account
from transforms.exact import nano_shares
from transforms.lots.divergence import choices, picks_text
from transforms.lots.methods import picked
from transforms.model import Lot
from transforms.orders.gates import Line
from transforms.orders.identity import batch_hash, batch_id
from warehouse.db import Warehouse


def decide(warehouse: Warehouse, day: Day) -> list[str]:
    """Store the decision for the session after `day.as_of`, or find it stored; the batch_ids."""
    session_on = next_session(day.as_of)
    if stored := _stored(warehouse, session_on):
        return stored
    proposals = warehouse.rows(
        "SELECT account_id, security_id, quantity, lots, price_usd, (short_loss_usd + long_loss_usd)::DECIMAL(28, 6), "
        "tax_saved_usd, replacement_id, replacement_quantity, replacement_price_usd, reason "
        "FROM core.proposals WHERE NOT is_refused ORDER BY account_id, tax_saved_usd DESC, security_id"
    ).rows()
    with warehouse.transaction():
        for account in day.settings.portfolio.accounts:
            name = batch_id(session_on, account.id)
            lines: list[tuple] = []
            for pair, (_, sold, quantity, lots, price, loss, saved, bought, instead, at, reason) in enumerate(
                (row for row in proposals if row[0] == account.id), 1
            ):
                told = lots if account.reaches_any_lot else ""
                relieved = lots if account.relief == "on_order" else _first_in(warehouse, account, sold, quantity)
                lines.append(
                    (
                        name,
                        len(lines) + 1,
                        pair,
                        "sell",
                        sold,
                        quantity,
                        price,
                        told,
                        loss,
                        saved,
                        reason,
                        lots,
                        relieved,
                    )
                )
                lines.append(
                    (
                        name,
                        len(lines) + 1,
                        pair,
                        "buy",
                        bought,
                        instead,
                        at,
                        "",
                        Decimal(0),
                        Decimal(0),
                        f"instead of {sold}",
                        "",
                        "",
                    )
                )
            warehouse.add(
                "ledger.batches",
                (
                    name, account.id, session_on, day.as_of, "daily", 1, batch_hash(lines), account.orders, day.run_id,
                    datetime.now(UTC).replace(tzinfo=None),
                ),
            )  # fmt: skip
            warehouse.add("ledger.batch_lines", *lines)
    return _stored(warehouse, session_on)


def _first_in(warehouse: Warehouse, account: Account, security_id: str, quantity: Decimal) -> str:
    """The lots that a broker relieves that is told nothing: by its standing order, else first in, first out."""
    rows = warehouse.rows(
        "SELECT lot_id, account_id, security_id, (quantity * 1000000000)::BIGINT AS quantity, acquired_on, holding_since, "
        "(basis_usd * 100)::BIGINT AS basis, is_deferred FROM core.lots "
        "WHERE account_id = $account AND security_id = $security AND quantity > 0 ORDER BY slice",
        account=account.id,
        security=security_id,
    )
    made, left = choices(map(Lot._make, rows.iter_rows()))
    return picks_text(picked(made, left, nano_shares(quantity), account.standing))


def lines_of(warehouse: Warehouse, session_on: date) -> list[Line]:
    """The lines of a session's decision, sells before buys."""
    rows = warehouse.rows(
        "SELECT l.batch_id, l.line, l.pair, b.account_id, b.session_on, l.side, l.security_id, l.quantity, l.price_usd, l.lots, "
        "b.mode "
        "FROM ledger.batch_lines AS l JOIN ledger.batches AS b USING (batch_id) WHERE b.session_on = $on "
        "ORDER BY b.account_id, l.side DESC, l.line",
        on=session_on,
    )
    return [Line._make(row) for row in rows.iter_rows()]


def _stored(warehouse: Warehouse, session_on: date) -> list[str]:
    return warehouse.rows(
        "SELECT batch_id FROM ledger.batches WHERE session_on = $on ORDER BY batch_id", on=session_on
    )["batch_id"].to_list()
