"""The ledger's rows -> events, through the same reader as `thresher lots`; and which lots each sale is identified with.

Two lists come out of one ledger: what the household's books take, and, for the few sales in which a broker relieves other
lots than the law lets the household take, what that broker's books take.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from flows.accounts import Account
from flows.calendar import NEW_YORK, next_session
from flows.day import Day
from flows.lots_rows import read_event, restated
from transforms.law import LawMissing, value_on
from transforms.lots.identify import Identified, Sale, deadline, is_in_time, settles_on
from transforms.lots.picks import first_picks, rest_of_picks
from transforms.lots.relief import read_picks
from transforms.lots.rules import Rules
from transforms.model import Event, Trade
from transforms.tables import OF_LOTS
from warehouse.db import Warehouse
from warehouse.law import law_rows, wash_rules

SETTLED = timedelta(days=14)  # after so long no lots can be identified any more


class Meant(NamedTuple):
    """What a decision of ours says of a fill: the lots meant, and those that the broker was told, when and how."""

    intended_lots: str
    told: Identified | None


class Told(NamedTuple):
    """A sale and its identification: a row of core.identifications."""

    sale: Trade
    said: Identified
    deadline: datetime | None
    is_in_time: bool
    is_followed: bool
    note: str


class Ledger(NamedTuple):
    """`at_broker` holds the sales that a broker relieves otherwise than the household's books; by trade_id."""

    events: list[Event]
    at_broker: dict[str, Trade]
    told: list[Told]
    meant: dict[str, str]  # trade_id of a fill -> the lots that its decision meant
    unbooked: list[tuple[str, str]]

    @property
    def as_brokers_see_it(self) -> list[Event]:
        return [self.at_broker.get(event.trade_id, event) for event in self.events]


def read_ledger(warehouse: Warehouse, day: Day, until: date) -> Ledger:
    """Every event of the ledger up to a day, and the rows that cannot be booked with the reason."""
    accounts = {account.id: account for account in day.settings.portfolio.accounts}
    rules = wash_rules(until, day.settings.portfolio.law_policy)
    kinds = dict(warehouse.rows("SELECT security_id, kind FROM stg.securities").iter_rows())
    rows = warehouse.rows(
        "SELECT transaction_id, account_id, kind, side, security_id, quantity, price_usd, fee_usd, traded_on, traded_at, "
        "lots, details FROM stg.transactions WHERE traded_on <= $until AND list_contains($kinds, kind)",
        until=until,
        kinds=list(OF_LOTS),
    )
    texts = {row["transaction_id"]: row for row in rows.iter_rows(named=True)}
    said = {name: _text_row(row) for name, row in texts.items()}
    unbooked = _corrected(said)
    found = Ledger([], {}, [], {}, unbooked)
    fills = _fills(warehouse)
    for name, row in said.items():
        raw = texts[name]
        try:
            event = _event(row, raw["traded_on"], raw["traded_at"], accounts, kinds, rules)
        except ValueError as wrong:
            unbooked.append((name, str(wrong)))
            continue
        if isinstance(event, Trade) and not event.is_buy and not event.is_short:
            meant = fills.get(name)
            if meant and meant.intended_lots and not event.is_deferred:
                found.meant[name] = meant.intended_lots
            is_fund = kinds.get(event.security_id) == "fund"
            event = _identified(event, row, meant, accounts[event.account_id], found, until, is_fund=is_fund)
        found.events.append(event)
    return found


def _text_row(row: Mapping[str, Any]) -> dict[str, str]:
    """A row of the ledger in the columns that the reader knows; a correction says only what it changes."""
    details = json.loads(row["details"])
    is_trade, is_correction = row["kind"] == "trade", row["kind"] == "correction"
    numbers = {name: "" if is_correction else f"{row[name]:f}" for name in ("quantity", "price_usd", "fee_usd")}
    return {
        "trade_id": row["transaction_id"],
        "account_id": "" if is_correction else row["account_id"],
        "security_id": "" if is_correction else row["security_id"],
        "side": row["side"],
        "kind": "" if is_trade else row["kind"],
        "lots": row["lots"],
        **numbers,
        **details,
    }


def _corrected(rows: dict[str, dict[str, str]]) -> list[tuple[str, str]]:
    """Let corrections restate their rows, in place; those that cannot be followed, with the reason."""
    wrong, done = [], set()
    for name in [name for name, row in rows.items() if row["kind"] == "correction"]:
        correction = rows.pop(name)
        target = correction.get("corrects", "")
        if target not in rows:
            wrong.append((name, f"corrects {target!r}, which is no row of the ledger up to this day, or taken back"))
        elif target in done:
            wrong.append((name, f"{target} is corrected already: bring the row itself as it should be"))
        elif correction["quantity"] and not Decimal(correction["quantity"]):
            del rows[target]
        else:
            done.add(target)
            rows[target] = restated(rows[target], correction)
    return wrong


def _event(
    row: dict[str, str],
    on: date,
    at: time | None,
    accounts: Mapping[str, Account],
    kinds: Mapping[str, str],
    rules: Rules,
) -> Event:
    account = accounts.get(row["account_id"])
    if account is None:
        raise ValueError(f"account {row['account_id']} is not in portfolio.toml: list it, closed accounts too")
    is_option = row["kind"].startswith("option_")
    for column in ("underlying_id" if is_option else "security_id", "new_security_id"):
        if (symbol := row.get(column, "")) and symbol not in kinds:
            raise ValueError(f"unknown symbol {symbol}: no source describes it; correct it or add it to the securities")
    if row["kind"] == "transfer":
        to = accounts.get(row.get("to_account_id", ""))
        if to is None:
            raise ValueError(f"to_account_id {row.get('to_account_id', '')!r} is not in portfolio.toml: list it")
        row = {**row, "to_account_type": to.type, "to_owner": to.owner}
    if kinds.get(row["security_id"]) == "digital_asset":
        row = {**row, "asset": "digital_asset"}
    return read_event(row, account.type, account.owner, on, at, rules)


def _identified(
    sale: Trade,
    row: Mapping[str, str],
    meant: Meant | None,
    account: Account,
    found: Ledger,
    until: date,
    *,
    is_fund: bool,
) -> Trade:
    """The sale with the lots that the books follow. What the law does not let us follow is noted, and left to the broker."""
    if sale.is_deferred:
        return sale
    by_itself = _by_itself(sale, account, is_fund=is_fund)
    given_at = row.get("identified_at", "")
    said = meant.told if meant and not row["lots"] else None
    if row["lots"]:
        said = Identified(row["lots"], "order", _moment(given_at) if given_at else None)
    if said is None and meant and meant.intended_lots and sale.is_digital and own_books_identify(sale.traded_on):
        followed = by_itself._replace(picks=read_picks(meant.intended_lots), method="fifo")
        found.at_broker[sale.trade_id] = by_itself
        own = Identified(meant.intended_lots, "own books", None)
        found.told.append(Told(followed, own, None, True, True, "the broker relieves its own lots and reports those"))
        return followed
    if said is None:
        if account.relief == "after_trade" and until - sale.traded_on < SETTLED:
            last = _deadline(sale, account)
            if last.date() >= until:
                found.told.append(
                    Told(by_itself, Identified("", "", None), last, False, False, "tell the broker the lots")
                )
        return by_itself
    until_when = _deadline(sale, account) if said.identified_at is not None else None
    if (
        until_when is not None
        and said.how == "order"
        and said.identified_at
        and not _is_before(said.identified_at, sale)
    ):
        said = said._replace(how="after trade")
    if until_when is None or is_in_time(said, until_when):
        found.told.append(Told(sale, said, until_when, True, True, ""))
        return by_itself._replace(picks=read_picks(said.lots), method="fifo")
    late = f"told at {said.identified_at}, the deadline was {until_when}: the books do not follow"
    found.told.append(Told(sale, said, until_when, False, False, late))
    if row["lots"]:
        found.at_broker[sale.trade_id] = sale
    return by_itself


def _by_itself(sale: Trade, account: Account, *, is_fund: bool) -> Trade:
    """The sale as the broker relieves it when it is told nothing."""
    method = sale.method
    if account.relief == "average" and is_fund:
        method = "average"
    elif account.standing_since is not None and sale.traded_on >= account.standing_since and method == "fifo":
        method = account.standing
    return sale._replace(picks=(), method=method)


def _deadline(sale: Trade, account: Account) -> datetime:
    days = int(value_on(_law(), "settlement_days", sale.traded_on))
    by = account.identify_by if account.relief == "after_trade" else None
    asked = Sale(sale.is_digital, sale.traded_on, sale.traded_at, by)
    return deadline(asked, sale.traded_on if sale.is_digital else settles_on(sale.traded_on, days, next_session))


def own_books_identify(on: date) -> bool:
    """May a digital asset that a broker holds be identified in our own books? Not before the first row of the law."""
    try:
        return value_on(_law(), "own_books_identify_digital_assets", on) == "true"
    except LawMissing:
        return False


@cache
def _law() -> dict[str, list[dict[str, str]]]:
    return law_rows()


def _is_before(at: datetime, sale: Trade) -> bool:
    return at <= datetime.combine(sale.traded_on, sale.traded_at or time.min)


def _moment(text: str) -> datetime:
    """A timestamp in New York: with an offset it is converted, without one it is New York's.

    >>> _moment("2026-11-21T01:30:00Z")
    datetime.datetime(2026, 11, 20, 20, 30)
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"identified_at {text!r} is not an ISO timestamp") from None
    return new_york(at) if at.tzinfo else at


def new_york(at: datetime) -> datetime:
    return at.astimezone(NEW_YORK).replace(tzinfo=None)


def _fills(warehouse: Warehouse) -> dict[str, Meant]:
    """What our decisions say of their fills, by the fill's transaction_id. A line's fills take its lots in their order."""
    rows = warehouse.rows(
        "SELECT e.transaction_id, e.quantity, i.batch_id || '.' || i.line AS line, i.client_order_id, l.intended_lots, t.lots, t.how, "
        "t.identified_at FROM ledger.order_events AS e "
        "JOIN ledger.intents AS i USING (client_order_id) JOIN ledger.batch_lines AS l USING (batch_id, line) "
        "LEFT JOIN ledger.lot_identifications AS t USING (client_order_id) WHERE e.event = 'fill' AND l.side = 'sell' "
        "ORDER BY line, i.attempt, e.known_at, e.transaction_id"
    )
    of_line: dict[str, Decimal] = defaultdict(Decimal)
    of_order: dict[str, Decimal] = defaultdict(Decimal)
    found = {}
    for name, quantity, line, order, intended, lots, how, at in rows.iter_rows():
        meant = first_picks(rest_of_picks(intended, of_line[line]), quantity)
        told = first_picks(rest_of_picks(lots or "", of_order[order]), quantity)
        of_line[line] += quantity
        of_order[order] += quantity
        # lots that went with the order were there before the fill, whatever a moved clock says
        found[name] = Meant(
            meant,
            Identified(told, how, new_york(at.replace(tzinfo=UTC)) if how == "after trade" else None) if told else None,
        )
    return found
