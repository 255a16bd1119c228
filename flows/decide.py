"""One arbiter: all proposals together become one stored decision for each account and session.

The first batch that is stored is the decision. A rerun finds it and decides nothing again, whatever has changed
since; what has changed is for the gates to see. Later decisions of the same session (an intraday harvest, a person's own
orders, an edit) are batches of their own, with the next sequence of their kind.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal

from flows.accounts import Account
from flows.calendar import closes, next_session
from flows.day import Day
from flows.leverage import leverage
from flows.locate import location
from flows.pre_trade import Known, known
from flows.rebalance import bands, cash_flow
from flows.switch_back import switch_back
from transforms import tables
from transforms.exact import nano_shares, trade_cents
from transforms.lots.check import beyond
from transforms.lots.divergence import choices, picks_text
from transforms.lots.methods import picked
from transforms.lots.picks import first_picks
from transforms.lots.relief import read_picks
from transforms.model import Lot, Trade
from transforms.orders.arbiter import Netted, Proposed, Sleeve, arbitrate
from transforms.orders.gates import Line
from transforms.orders.identity import batch_hash, batch_id
from warehouse.db import Warehouse


def harvests(warehouse: Warehouse, _day: Day) -> Iterator[Proposed]:
    """The harvests of core.proposals: each a sale and the purchase of what is held instead."""
    rows = warehouse.rows(
        "SELECT account_id, security_id, quantity, lots, price_usd, (short_loss_usd + long_loss_usd)::DECIMAL(28, 6), "
        "tax_saved_usd, replacement_id, replacement_quantity, replacement_price_usd, reason FROM core.proposals WHERE NOT is_refused "
        "ORDER BY account_id, tax_saved_usd DESC, security_id"
    )
    zero = Decimal(0)
    for account, sold, quantity, lots, price, loss, saved, bought, instead, at, reason in rows.iter_rows():
        name = f"harvest {account} {sold} {lots}"
        yield Proposed(name, "harvest", account, "sell", sold, quantity, price, lots, loss, saved, reason)
        yield Proposed(name, "harvest", account, "buy", bought, instead, at, "", zero, zero, f"instead of {sold}")


def index(warehouse: Warehouse, day: Day) -> Iterable[Proposed]:
    """The direct index; its solver takes most of a second to import, so it is only where a sleeve asks."""
    if not any(sleeve.method == "index" for sleeve in day.settings.portfolio.sleeves):
        return []
    from flows.index import index as proposed

    return proposed(warehouse, day)


METHODS: dict[
    str, Callable[[Warehouse, Day], Iterable[Proposed]]
] = {  # each proposes nothing unless the policy asks for it
    "leverage": leverage,
    "harvest": harvests,
    "switch_back": switch_back,
    "cash_flow": cash_flow,
    "bands": bands,
    "location": location,
    "index": index,
}


def decide(warehouse: Warehouse, day: Day) -> list[str]:
    """Store the decision for the session after `day.as_of`, or find it stored; the batch_ids.

    That there is nothing to do is a decision only when every source was sound: else a later run, with all of them there, decides.
    """
    session_on = next_session(day.as_of)
    decided = set(_stored(warehouse, session_on, "daily"))
    left = {a.id for a in day.settings.portfolio.accounts if batch_id(session_on, a.id) not in decided}
    if left:
        proposed = [trade for method in METHODS.values() for trade in method(warehouse, day)]
        others = {trade.proposal for trade in proposed if trade.account_id not in left}
        unsound = "SELECT count(*) FROM core.source_status WHERE NOT is_sound AND kind IN ('activities', 'positions', 'prices')"
        empty_for = left if not warehouse.value(unsound) else set()
        _store(warehouse, day, [trade for trade in proposed if trade.proposal not in others], "daily", empty_for)
    return _stored(warehouse, session_on, "daily")


def decide_now(warehouse: Warehouse, day: Day, proposed: Sequence[Proposed], kind: str) -> list[str]:
    """Store one more decision for the session after `day.as_of`, beside those that are stored; the batch_ids."""
    return _store(warehouse, day, proposed, kind, set())


def replace(warehouse: Warehouse, day: Day, batch: str, quantities: dict[int, Decimal], note: str) -> str:
    """An edit of a decision by a person: a new batch with other quantities by line, zero leaves a line out. Its batch_id.

    Errors   ValueError for a line that the batch has not, more than was decided, or a batch that was decided on already.
    """
    rows = warehouse.rows(
        "SELECT line, pair, method, side, security_id, quantity, price_usd, lots, loss_usd, tax_saved_usd, reason, intended_lots, "
        "relieved_lots FROM ledger.batch_lines WHERE batch_id = $batch ORDER BY line",
        batch=batch,
    ).rows()
    if unknown := set(quantities) - {row[0] for row in rows}:
        raise ValueError(f"{batch} has no line {', '.join(map(str, sorted(unknown)))}")
    if warehouse.value("SELECT count(*) FROM ledger.intents WHERE batch_id = $batch", batch=batch):
        raise ValueError(f"{batch} was sent already")
    if said := warehouse.value("SELECT verdict FROM ledger.approvals WHERE batch_id = $batch", batch=batch):
        raise ValueError(f"{batch} was {said} already")
    account_id, session_on, kind = warehouse.rows(
        "SELECT account_id, session_on, kind FROM ledger.batches WHERE batch_id = $batch", batch=batch
    ).row(0)
    account = next(a for a in day.settings.portfolio.accounts if a.id == account_id)
    lines: list[tuple] = []
    for number, pair, method, side, security, quantity, price, _, loss, saved, reason, intended, _ in rows:
        wanted = quantities.get(number, quantity)
        if not 0 <= wanted <= quantity:
            raise ValueError(
                f"line {number} of {batch} is about {quantity:f} shares: say 0 to {quantity:f}, not {wanted}"
            )
        if wanted:
            part = wanted / quantity
            cut = Netted(
                pair, method, account_id, side, security, wanted, price, first_picks(intended, wanted),
                (loss * part).quantize(Decimal("0.01")), (saved * part).quantize(Decimal("0.01")), reason,
            )  # fmt: skip
            lines.append(_line(warehouse, account, cut, len(lines) + 1))
    sequence = _next_sequence(warehouse, account_id, session_on, kind)
    name = batch_id(session_on, account_id, kind, sequence)
    with warehouse.transaction():
        _add(warehouse, day, account, kind, sequence, lines, replaces=batch)
        digest = warehouse.value("SELECT batch_hash FROM ledger.batches WHERE batch_id = $batch", batch=batch)
        warehouse.add("ledger.approvals", (batch, digest, "edited", note, day.clock.now()))
    return name


def _store(
    warehouse: Warehouse, day: Day, proposed: Sequence[Proposed], kind: str, empty_for: Collection[str]
) -> list[str]:
    """Arbitrate, and store a batch for each account where there is something to do, an empty one for those named."""
    session_on, policy = next_session(day.as_of), day.settings.portfolio
    proposals: dict[str, list[Proposed]] = {}
    for trade in proposed:
        proposals.setdefault(trade.proposal, []).append(trade)
    sleeves = [
        Sleeve(s.name, s.method, frozenset(s.accounts), frozenset(s.securities), s.is_harvested) for s in policy.sleeves
    ]
    is_checked = kind == "daily" and all(
        trade.method == "harvest" for trade in proposed
    )  # propose did, all of them together
    seen = None if is_checked else known(warehouse, day, session_on)
    under_way = [] if is_checked else waiting(warehouse, day)
    busy = _busy(warehouse, session_on)
    free = {
        name: trades
        for name, trades in proposals.items()
        if not any((trade.account_id, trade.security_id) in busy for trade in trades)
    }
    orders, refused = arbitrate(
        free,
        sleeves,
        policy.rank,
        policy.cautious_groups,
        lambda kept: _washes(warehouse, seen, kept, day, under_way),
    )
    refused |= dict.fromkeys(proposals.keys() - free.keys(), "an order of it is decided or worked already")
    names = []
    before = warehouse.value(  # a pair has one number in all accounts, and no other pair of the session and kind has it
        "SELECT coalesce(max(pair), 0) FROM ledger.batch_lines JOIN ledger.batches USING (batch_id) "
        "WHERE session_on = $on AND kind = $kind",
        on=session_on,
        kind=kind,
    )
    orders = [order._replace(pair=order.pair + before) for order in orders]
    with warehouse.transaction():
        shown = [
            (name, leg, t.method, *t[2:], refused.get(name, ""))
            for name, trades in proposals.items()
            for leg, t in enumerate(trades, 1)
        ]
        warehouse.replace("core.proposed_trades", tables.core("proposed_trades", shown))
        for account in policy.accounts:
            own = [order for order in orders if order.account_id == account.id]
            if own or account.id in empty_for:
                lines = [_line(warehouse, account, order, number) for number, order in enumerate(own, 1)]
                names.append(
                    _add(warehouse, day, account, kind, _next_sequence(warehouse, account.id, session_on, kind), lines)
                )
    return sorted(names)


def _busy(warehouse: Warehouse, session_on: date) -> set[tuple[str, str]]:
    """Accounts and securities that an earlier decision of the session still has something to do with."""
    lines = warehouse.rows(
        "SELECT account_id, security_id FROM mart.orders WHERE session_on >= $on AND status IN ('waiting', 'working')",
        on=session_on,
    )
    return set(lines.iter_rows())


def waiting(warehouse: Warehouse, day: Day) -> list[Proposed]:
    """What is decided for the session and not sent yet: it counts as if it were a part of a later decision."""
    rows = warehouse.rows(
        "SELECT batch_id || '.' || line, method, account_id, side, security_id, quantity, price_usd, lots, 0::DECIMAL(28, 6), "
        "0::DECIMAL(28, 6), reason FROM mart.orders WHERE session_on = $on AND status = 'waiting' ORDER BY ALL",
        on=next_session(day.as_of),
    )
    listed = {account.id for account in day.settings.portfolio.accounts}
    return [Proposed._make(row) for row in rows.iter_rows() if row[2] in listed]


def as_trades(warehouse: Warehouse, day: Day, proposed: Iterable[Proposed]) -> list[Trade]:
    """Proposed trades as the ledger would see them, in their order; a purchase of what the account owes gives it back."""
    owed = set(warehouse.rows("SELECT account_id, security_id FROM mart.positions WHERE quantity < 0").iter_rows())
    accounts = {account.id: account for account in day.settings.portfolio.accounts}
    on = next_session(day.as_of)
    return [
        Trade(
            f"{number:06d} {t.side}", t.account_id, t.security_id, t.side == "buy", nano_shares(t.quantity),
            trade_cents(t.quantity, t.price_usd, Decimal(0)), on, None, accounts[t.account_id].is_deferred,
            read_picks(t.lots) if t.side == "sell" and accounts[t.account_id].reaches_any_lot else (),
            is_short=t.side == "buy" and (t.account_id, t.security_id) in owed,
        )
        for number, t in enumerate(proposed)
    ]  # fmt: skip


def _washes(
    warehouse: Warehouse, seen: Known | None, kept: Sequence[Proposed], day: Day, under_way: Sequence[Proposed]
) -> dict[int, str]:
    """Trades of a batch that would wash more than the limits let pass, by place, all that is decided together."""
    if seen is None or not kept:
        return {}
    trades = as_trades(warehouse, day, [*kept, *under_way])
    told = seen.effects(trades)
    limits = day.settings.portfolio.wash_limits
    in_part = seen.beyond_in_part(trades[: len(kept)], limits)
    reasons = [beyond(told[t.trade_id], limits) or in_part.get(t.trade_id) for t in trades[: len(kept)]]
    for i, trade in enumerate(kept):  # the books know a lot that is gone, not who took it
        if told[trades[i].trade_id].unbooked and (other := _sold_by_another(kept, trade)):
            reasons[i] = f"the {other.method} sells what it would sell of {trade.security_id} in {trade.account_id}"
    return {i: reason for i, reason in enumerate(reasons) if reason}


def _sold_by_another(kept: Sequence[Proposed], trade: Proposed) -> Proposed | None:
    """A sale of the same security in the same account by another proposal."""
    where = trade.account_id, "sell", trade.security_id
    return next((one for one in kept if one[2:5] == where and one.proposal != trade.proposal), None)


def _line(warehouse: Warehouse, account: Account, order: Netted, number: int) -> tuple:
    """A row of ledger.batch_lines without its batch_id."""
    is_sale = order.side == "sell"
    told = order.lots if is_sale and account.reaches_any_lot else ""
    relieved = ""
    if is_sale:
        by_order = account.relief == "on_order" and order.lots
        relieved = order.lots if by_order else _first_in(warehouse, account, order.security_id, order.quantity)
    return (
        number, order.pair, order.method, order.side, order.security_id, order.quantity, order.price_usd, told, order.loss_usd,
        order.tax_saved_usd, order.reason, order.lots if is_sale else "", relieved,
    )  # fmt: skip


def _add(
    warehouse: Warehouse,
    day: Day,
    account: Account,
    kind: str,
    sequence: int,
    lines: list[tuple],
    *,
    replaces: str = "",
) -> str:
    session_on = next_session(day.as_of)
    name = batch_id(session_on, account.id, kind, sequence)
    rows = [(name, *line) for line in lines]
    warehouse.add(
        "ledger.batches",
        (
            name, account.id, session_on, closes(session_on), day.as_of, kind, sequence, batch_hash(rows), account.orders,
            replaces, day.run_id, day.clock.now(),
        ),
    )  # fmt: skip
    warehouse.add("ledger.batch_lines", *rows)
    return name


def _next_sequence(warehouse: Warehouse, account_id: str, session_on: date, kind: str) -> int:
    return 1 + warehouse.value(
        "SELECT coalesce(max(sequence), 0) FROM ledger.batches WHERE account_id = $account AND session_on = $on AND kind = $kind",
        account=account_id,
        on=session_on,
        kind=kind,
    )


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
    """The lines of a session's decisions, sells before buys; those that a person refused or replaced are none."""
    rows = warehouse.rows(
        "SELECT l.batch_id, l.line, l.pair, b.account_id, b.session_on, l.side, l.security_id, l.quantity, l.price_usd, l.lots, "
        "b.mode, l.method, b.expires_at, b.kind "
        "FROM ledger.batch_lines AS l JOIN ledger.batches AS b USING (batch_id) LEFT JOIN ledger.approvals AS a USING (batch_id) "
        "WHERE b.session_on = $on AND a.verdict IS DISTINCT FROM 'refused' AND a.verdict IS DISTINCT FROM 'edited' "
        "ORDER BY b.account_id, l.side DESC, b.batch_id, l.line",
        on=session_on,
    )
    return [Line._make(row) for row in rows.iter_rows()]


def halves(warehouse: Warehouse, session_on: date) -> dict[tuple[date, str, int], str]:
    """Pairs that stand in several accounts of which one has no part in it any more: a person refused it, or left it out."""
    rows = warehouse.rows(
        "SELECT b.session_on, b.kind, l.pair, min(b.account_id) FROM ledger.batch_lines AS l JOIN ledger.batches AS b USING (batch_id) "
        "LEFT JOIN ledger.approvals AS a USING (batch_id) WHERE b.session_on = $on GROUP BY b.session_on, b.kind, l.pair, b.account_id "
        "HAVING NOT bool_or(a.verdict IS DISTINCT FROM 'refused' AND a.verdict IS DISTINCT FROM 'edited') ORDER BY ALL",
        on=session_on,
    )
    return {row[:3]: row[3] for row in rows.iter_rows()}


def _stored(warehouse: Warehouse, session_on: date, kind: str) -> list[str]:
    return warehouse.rows(
        "SELECT batch_id FROM ledger.batches WHERE session_on = $on AND kind = $kind ORDER BY batch_id",
        on=session_on,
        kind=kind,
    )["batch_id"].to_list()
