"""The books against the broker's journal. What is true is read from the journal alone; the ledger is what is judged.

A wash sale counts as caused where whoever sent the later of the two orders could know: the loss was realised before
the purchase was sent, or the sale was decided on below its cost. Two others are told apart. One that only the market made
(decided on above cost, filled below) is counted. One that would not be there had every sale of the session been filled in full
is a violation of its own: what was left unsold replaces what was sold.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from flows.calendar import closes, session_at
from tests.chaos.truth import NEW_YORK, Execution, Order, executions, orders, washes
from tests.fake_alpaca.journal import recomputed
from transforms.orders.identity import batch_hash

ATTEMPTS = 3  # of the household's policy
Rows = dict[str, list[list[str]]]


class Line(NamedTuple):
    batch_id: str
    number: int
    pair: int
    method: str
    account: str
    session_on: str
    side: str
    symbol: str
    quantity: Decimal
    price: Decimal

    @property
    def key(self) -> tuple[str, int]:
        return self.batch_id, self.number


class Violation(NamedTuple):
    name: str
    words: str


class Seen(NamedTuple):
    """Everything that the rules look at."""

    made: list[Execution]  # by our orders
    all_made: list[Execution]
    sent: list[Order]  # ours
    held: dict[str, dict[str, Decimal]]
    lines: dict[tuple[str, int], Line]
    line_of: dict[str, Line]  # by the name of an order
    ledger: Rows
    as_of: date
    splits: dict[tuple[str, date], int]
    worked_at: datetime | None  # when the session's last undisturbed pass began


def seen(events: list[dict], began: int, ledger: Rows, as_of: date, splits: Any, worked_at: datetime | None) -> Seen:
    """`began` is the count of the journal's events before Thresher had the household."""
    own = {one.name for one in orders(events[:began])}
    lines = [
        Line(b, int(n), int(p), *rest, Decimal(quantity), Decimal(price))
        for b, n, p, *rest, quantity, price in ledger["lines"]
    ]
    by_key = {line.key: line for line in lines}
    line_of = {name: by_key[batch, int(line)] for name, batch, line, *_ in ledger["intents"]}
    made = executions(events)
    return Seen(
        [one for one in made if one.name not in own], made, [one for one in orders(events) if one.name not in own],
        recomputed(events), by_key, line_of, ledger, as_of, splits, worked_at,
    )  # fmt: skip


def orders_have_intents(at: Seen) -> Iterator[str]:
    for one in at.sent:
        if one.name not in at.line_of:
            yield f"{one.name}: {one.side} {one.quantity} {one.symbol} in {one.account}"


def orders_are_those_meant(at: Seen) -> Iterator[str]:
    meant = {row[0]: Decimal(row[4]) for row in at.ledger["intents"]}
    for one in at.sent:
        line = at.line_of.get(one.name)
        if line and (one.account, one.side, one.symbol, one.quantity) != (
            line.account, line.side, line.symbol, meant[one.name],
        ):  # fmt: skip
            yield f"{one.name}: {one} instead of {line}, {meant[one.name]}"


def no_line_twice(at: Seen) -> Iterator[str]:
    """Never filled beyond the line; never two orders at work for it; never one for more than what is left."""
    of_line: dict[tuple[str, int], list[Order]] = defaultdict(list)
    for one in at.sent:
        if one.name in at.line_of:
            of_line[at.line_of[one.name].key].append(one)
    filled: dict[tuple[str, int], list[Execution]] = defaultdict(list)
    for done in at.made:
        if done.name in at.line_of:
            filled[at.line_of[done.name].key].append(done)
    for name, batch, number, attempt, quantity in at.ledger["intents"]:
        key = batch, int(number)
        before = [done for done in filled[key] if int(done.name.rpartition(".")[2]) < int(attempt)]
        left = at.lines[key].quantity - sum((done.quantity for done in before), Decimal(0))
        if Decimal(quantity) > left:
            yield f"{name} is meant about {quantity}, {left} were left"
    for key, sent in of_line.items():
        line = at.lines[key]
        total = sum((done.quantity for done in filled[key]), Decimal(0))
        if total > line.quantity:
            yield f"{key}: {total} filled of {line.quantity}"
        for earlier, one in pairwise(sent):
            if earlier.ended_at is None or earlier.ended_at > one.submitted_at:
                yield f"{one.name} was sent at {one.submitted_at:%F %T} while {earlier.name} was worked"
        for one in sent:
            had = sum((done.quantity for done in filled[key] if done.at < one.submitted_at), Decimal(0))
            if one.quantity > line.quantity - had:
                yield f"{one.name} is about {one.quantity}, {line.quantity - had} were left"


def orders_in_their_session(at: Seen) -> Iterator[str]:
    for one in at.sent:
        line = at.line_of.get(one.name)
        session = session_at(one.submitted_at.astimezone(UTC).replace(tzinfo=None))
        if line and str(session) != line.session_on:
            yield f"{one.name} was sent for {session}"


def fills_are_told_once(at: Seen) -> Iterator[str]:
    """Each execution once among the states of its order, and no other."""
    true = Counter((one.name, one.transaction_id, one.quantity) for one in at.made)
    told = Counter((row[0], row[2], Decimal(row[3])) for row in at.ledger["events"] if row[1] == "fill")
    yield from (f"lost: {one}" for one in true - told)
    yield from (f"too much: {one}" for one in told - true)


def fills_are_booked_once(at: Seen) -> Iterator[str]:
    true = Counter((x.transaction_id, x.account, x.side, x.symbol, x.quantity, x.price) for x in at.all_made)
    booked = Counter(
        (name, account, side, symbol, Decimal(quantity), Decimal(price))
        for name, _, account, side, symbol, quantity, price in at.ledger["trades"]
    )
    yield from (f"lost: {one}" for one in true - booked)
    yield from (f"too much: {one}" for one in booked - true)


def orders_have_ended(at: Seen) -> Iterator[str]:
    """In the evening of its session every order has ended, in the ledger as at the broker."""
    ended = {row[0] for row in at.ledger["events"] if row[1] in ("filled", "canceled", "expired", "rejected")}
    for name, line in at.line_of.items():
        if line.session_on <= str(at.as_of) and name not in ended:
            yield f"{name} has not ended"


def books_are_the_brokers(at: Seen) -> Iterator[str]:
    ours: dict[str, dict[str, Decimal]] = defaultdict(dict)
    for account, symbol, quantity in at.ledger["shares"] + at.ledger["cash"]:
        if Decimal(quantity):
            ours[account][symbol] = Decimal(quantity)
    for account in at.held.keys() | ours.keys():
        broker, own = at.held.get(account, {}), ours[account]
        for symbol in sorted(broker.keys() | own.keys()):
            if broker.get(symbol, 0) != own.get(symbol, 0):
                yield f"{account} {symbol}: the broker has {broker.get(symbol, 0)}, the ledger {own.get(symbol, 0)}"
    yield from (f"a break stops {row[0]}: {row}" for row in at.ledger["breaks"])


def no_wash_sale_is_caused(at: Seen) -> Iterator[str]:
    yield from (said for said, why in _washes(at) if why == "caused")


def no_unsold_rest_washes(at: Seen) -> Iterator[str]:
    yield from (said for said, why in _washes(at) if why == "unsold")


def unforeseen_washes(at: Seen) -> int:
    return sum(why == "unforeseen" for _, why in _washes(at))


def _had_all_been_sold(at: Seen, on: date) -> set[tuple[str, str]]:
    """The washes of a session, as pairs of executions, if every sale that was decided for it had been filled in full."""
    filled: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    for one in at.made:
        if one.name in at.line_of:
            filled[at.line_of[one.name].key] += one.quantity
    end = closes(on).replace(tzinfo=UTC)
    unsold = [
        Execution(
            f"unsold {line.key}",
            line.account,
            "",
            "sell",
            line.symbol,
            line.quantity - filled[line.key],
            line.price,
            end,
        )
        for line in at.lines.values()
        if line.side == "sell" and line.session_on == str(on) and line.quantity > filled[line.key]
    ]
    made = [one for one in at.all_made if one.at <= end]
    return {(w.sale.transaction_id, w.purchase.transaction_id) for w in washes([*made, *unsold], at.splits, on)}


def _washes(at: Seen) -> Iterator[tuple[str, str]]:
    """Every wash sale, and why there is one: caused, unsold, unforeseen."""
    submitted = {one.name: one.submitted_at for one in at.sent}
    whole: dict[date, set[tuple[str, str]]] = {}
    for wash in washes(at.all_made, at.splits, at.as_of):
        sale, purchase = wash.sale, wash.purchase
        line = at.line_of.get(sale.name)
        was_realised = purchase.name in submitted and submitted[purchase.name] > sale.at
        below_cost = line is not None and line.price < wash.cost
        said = (
            f"{wash.disallowed} of {sale.account} {sale.symbol} (sold {sale.at:%F %T} by {sale.name}, decided at "
            f"{line and line.price}, cost {wash.cost:.4f}) by {purchase.name}, bought {purchase.at:%F %T}"
        )
        on = sale.at.astimezone(NEW_YORK).date()
        if on not in whole:
            whole[on] = _had_all_been_sold(at, on)
        is_unsold = purchase.at <= sale.at and (sale.transaction_id, purchase.transaction_id) not in whole[on]
        yield said, "unsold" if is_unsold else "caused" if was_realised or below_cost else "unforeseen"


def decisions_are_whole(at: Seen) -> Iterator[str]:
    """A harvest is stored with what replaces it, a batch with its lines."""
    for batch, digest, lines in at.ledger["batches"]:
        if lines == "0" and digest != batch_hash([]):
            yield f"{batch} was stored without its lines"
    sides: dict[tuple[str, int], set[str]] = defaultdict(set)
    for line in at.lines.values():
        if line.method == "harvest":
            sides[line.batch_id, line.pair].add(line.side)
    yield from (f"{batch} pair {pair}: {min(of)} only" for (batch, pair), of in sides.items() if len(of) == 1)


def no_leg_stands_alone(at: Seen) -> Iterator[str]:
    """After a pass that nothing disturbed, what a sale brought was replaced, is being replaced, or it is said why not."""
    if at.worked_at is None:
        return
    pairs: dict[tuple[str, int], list[Line]] = defaultdict(list)
    for line in at.lines.values():
        if line.session_on == str(at.as_of):
            pairs[line.batch_id, line.pair].append(line)
    refused = {(row[0], int(row[1])) for row in at.ledger["refusals"] + at.ledger["waiting"]}
    rejected = {row[0] for row in at.ledger["events"] if row[1] == "rejected"}
    for legs in pairs.values():
        if {line.side for line in legs} != {"buy", "sell"}:
            continue
        sold = [
            one for one in at.made if at.line_of.get(one.name) in legs and one.side == "sell" and one.at < at.worked_at
        ]
        if not sold:
            continue
        for line in (line for line in legs if line.side == "buy"):
            sent = [one for one in at.sent if at.line_of.get(one.name) == line]
            names = {name for name, of in at.line_of.items() if of == line}
            got = sum((one.quantity for one in at.made if at.line_of.get(one.name) == line), Decimal(0))
            is_worked = any(one.ended_at is None or one.ended_at > at.worked_at for one in sent)
            is_said = line.key in refused or names & rejected or len(names) >= ATTEMPTS
            if got < line.quantity - 1 and not is_worked and not is_said:
                done = sum((one.quantity for one in sold), Decimal(0))
                yield f"{line.batch_id} line {line.number}: {done} sold, {got} of {line.quantity} {line.symbol} bought"


RULES = {
    "an order without an intent": orders_have_intents,
    "another order than meant": orders_are_those_meant,
    "an order twice": no_line_twice,
    "an order outside its session": orders_in_their_session,
    "a fill told wrongly": fills_are_told_once,
    "a fill booked wrongly": fills_are_booked_once,
    "an order without an end": orders_have_ended,
    "books are not the broker's": books_are_the_brokers,
    "a wash sale": no_wash_sale_is_caused,
    "a wash sale by what was left unsold": no_unsold_rest_washes,
    "half a decision": decisions_are_whole,
    "a leg alone": no_leg_stands_alone,
}


def violations(at: Seen) -> list[Violation]:
    return [Violation(name, words) for name, rule in RULES.items() for words in rule(at)]
