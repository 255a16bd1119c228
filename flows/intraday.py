"""Harvests in market hours: live prices are looked at every few minutes, and what passes is proposed at once.

The problem. A loss that is there at eleven may be gone at four. But a scan must not do in haste what the evening would
not do: it needs the whole check, prices that can be believed, and the patience not to propose the same thing twice.

The choice. A scan asks the same function as the evening (transforms/harvest/scan.py), with the books of the last session
and live prices. It reads the published copy and takes no lock; only when something new has passed does it open the
warehouse, look once more at what is booked by then, and let the arbiter store the decision.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from time import perf_counter
from typing import NamedTuple

from flows.calendar import is_open, opens, session_at, session_on_or_before
from flows.connectors import Quote, Unavailable
from flows.day import Day, day_of
from flows.decide import decide_now
from flows.pre_trade import known
from flows.propose import gather
from flows.runs import last_booked, publish, reached
from flows.settings import Settings
from transforms.harvest.live import Belief, Close, Today, anew, doubt
from transforms.harvest.scan import Proposal, Scan, proposals
from transforms.orders.arbiter import Proposed
from warehouse.db import Warehouse, reader, writer


class Found(NamedTuple):
    """What a scan came to. Units: milliseconds from the prices to the proposals."""

    session_on: date
    skipped: str = ""  # why nothing was looked at; empty: it was
    priced: int = 0
    unpriced: Mapping[str, str] = {}  # security_id -> why it has no price
    left_out: Mapping[str, str] = {}  # account_id -> why nothing of it is sold
    harvests: tuple[Proposal, ...] = ()  # those that are new today
    batches: tuple[str, ...] = ()
    milliseconds: float = 0.0

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.session_on}: nothing was looked at: {self.skipped}"
        unpriced = f", {len(self.unpriced)} without a price" if self.unpriced else ""
        new = "; ".join(_words(one) for one in self.harvests) or "no new harvest"
        if self.harvests and not self.batches:
            new += "; the arbiter left all of it out (core.proposed_trades says why)"
        return f"{self.session_on}: {self.priced} prices{unpriced}: {new}"


def intraday(settings: Settings, now: datetime, *, stopped: str = "", wait: float = 60) -> Found:
    """Look at live prices once, and decide on the harvests that are new; `now` is UTC. Most scans find nothing.

    Errors   Locked when another run is still writing after `wait` seconds; SettingsError, LawMissing, CalendarEnded.
    """
    session = session_at(now)
    if not is_open(now):
        return Found(session, "the exchange is closed")
    if (settings.home / "STOP").exists() or stopped:
        return Found(session, stopped or "the file STOP is there: remove it to trade again")
    if not settings.snapshot.exists():
        return Found(session, "nothing is booked yet: run thresher daily after the close")
    with reader(settings.snapshot) as published:
        if why := _behind(published, session):
            return Found(session, why)
        day = day_of(settings, session_on_or_before(session - timedelta(days=1)), now)
        look = _Look(published, day)
        try:
            answers = day.market().quotes(sorted(look.scan.symbols))
            prices, unpriced = _believed(published, day, answers, _acted(day, session))
        except Unavailable as silent:
            return Found(session, f"no live prices: {silent}")
        unpriced |= dict.fromkeys(look.scan.symbols - prices.keys() - unpriced.keys(), "it has no live price")
        began = perf_counter()
        harvests = look.at(prices)
        found = Found(session, "", len(prices), unpriced, look.left_out, (), (), 1000 * (perf_counter() - began))
    if not harvests:
        return found
    with writer(settings.warehouse, wait) as warehouse:
        if why := _behind(warehouse, session):
            return Found(session, why)
        harvests = _Look(warehouse, day).at(prices)  # on what is booked by now
        if not harvests:
            return found
        batches = decide_now(warehouse, day, [*_trades(harvests)], "intraday")
        reached(warehouse, day, "decided")
        publish(warehouse, day)
    return found._replace(harvests=tuple(harvests), batches=tuple(batches))


class _Look:
    """The books as a scan needs them: everything but the prices."""

    def __init__(self, warehouse: Warehouse, day: Day):
        self._day = day
        self.left_out = _left_out(warehouse)
        seen = known(warehouse, day, session_at(day.known_at))
        seen.ahead.prepare()
        self._today = _today(warehouse, day)
        pending = {group for _, group in self._today.sold}  # what is sold today is not bought back today
        scan = gather(warehouse, day, seen, self.left_out)
        self.scan: Scan = scan._replace(barred={*scan.barred, *pending})

    def at(self, prices: Mapping[str, Decimal]) -> list[Proposal]:
        """The harvests at these prices that are new today."""
        growth = self._day.settings.portfolio.intraday.again_at_growth
        return anew(proposals(self.scan, prices), self._today, self.scan.identical, growth)


def _behind(warehouse: Warehouse, session: date) -> str:
    """Why the books are not those of the session before this one; empty when they are."""
    booked, before = last_booked(warehouse), session_on_or_before(session - timedelta(days=1))
    if booked == before:
        return ""
    return f"the books are of {booked or 'no day'}, the session before was {before}: run thresher daily first"


def _left_out(warehouse: Warehouse) -> dict[str, str]:
    """Accounts whose own statement is old or whose books differ from the broker's: no order of theirs would go out."""
    rows = warehouse.rows(
        "SELECT source, string_agg(reason, '; ' ORDER BY kind) FROM core.source_status "
        "WHERE NOT is_sound AND kind IN ('activities', 'positions') GROUP BY source "
        "UNION ALL SELECT account_id, 'its books differ from its broker''s: ' || string_agg(security_id, ', ' ORDER BY security_id) "
        "FROM core.breaks WHERE blocks GROUP BY account_id ORDER BY 1"
    )
    return dict(rows.iter_rows())


def _believed(
    warehouse: Warehouse, day: Day, answers: Sequence[Quote], acted: Mapping[str, str]
) -> tuple[dict[str, Decimal], dict[str, str]]:
    """The live prices that are believed, and why the others are not."""
    policy, now = day.settings.portfolio, day.known_at
    rows = warehouse.rows("SELECT security_id, price_usd, sessions_old FROM core.latest_prices")
    closes = {name: Close(price, age) for name, price, age in rows.iter_rows()}
    age = timedelta(minutes=policy.intraday.max_quote_age_minutes)
    since = opens(session_at(now))
    belief = Belief(since, now, age, policy.gates.max_price_move, policy.gates.max_price_age_sessions)
    prices, unpriced = {}, {}
    for quote in answers:
        name, at = quote.security_id, quote.at
        at = at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
        if why := acted.get(name) or doubt(quote.price_usd, at, closes.get(name), belief):
            unpriced[name] = why
        else:
            prices[name] = quote.price_usd
    return prices, unpriced


def _acted(day: Day, session: date) -> dict[str, str]:
    """Securities whose company does something today that the books do not know yet."""
    try:
        rows = day.market().corporate_actions(session, session).rows
    except Unavailable:  # then only a move beyond max_price_move gives it away
        return {}
    return {
        row["symbol"]: f"a {row['kind']} today: its price is that of other shares than those booked"
        for row in rows.iter_rows(named=True)
        if row["kind"] != "dividend"
    }


def _today(warehouse: Warehouse, day: Day) -> Today:
    """What was decided on and traded in this session, by whoever it was."""
    on, group = session_at(day.known_at), day.settings.portfolio.cautious_groups
    sold: dict[tuple[str, str], Decimal | None] = {}
    bought = set()
    traded = warehouse.rows(
        "SELECT account_id, security_id, side FROM stg.transactions WHERE traded_on = $on AND kind = 'trade'", on=on
    )
    decided = warehouse.rows(
        "SELECT account_id, security_id, side, max(loss_usd) FROM ("
        "SELECT b.account_id, l.security_id, l.side, l.loss_usd FROM ledger.batch_lines AS l JOIN ledger.batches AS b "
        "USING (batch_id) WHERE b.session_on = $on UNION ALL "
        "SELECT account_id, security_id, side, loss_usd FROM core.proposed_trades WHERE refusal <> '' AND side = 'sell' "
        "AND $on = (SELECT max(session_on) FROM ledger.batches)) GROUP BY ALL",
        on=on,
    )
    for account_id, security_id, side in traded.iter_rows():
        if side == "sell":
            sold[account_id, group.get(security_id, security_id)] = None
        else:
            bought.add(group.get(security_id, security_id))
    for account_id, security_id, side, loss in decided.iter_rows():
        key = account_id, group.get(security_id, security_id)
        if side == "sell":
            sold[key] = max(loss, sold.get(key) or Decimal(0))
        else:
            bought.add(key[1])
    return Today(sold, frozenset(bought))


def _trades(harvests: Sequence[Proposal]) -> Iterator[Proposed]:
    """Each harvest as the arbiter takes it: a sale and the purchase of what is held instead."""
    for one in harvests:
        sold = one.candidate
        assert one.instead is not None  # a harvest without a replacement is refused
        lots = ";".join(f"{lot}:{quantity.normalize():f}" for lot, quantity in sold.lots)
        name = f"harvest {sold.account_id} {sold.security_id} {lots}"
        yield Proposed(
            name, "harvest", sold.account_id, "sell", sold.security_id, sold.quantity, sold.price_usd, lots, sold.loss_usd,
            one.saved_usd, one.reason,
        )  # fmt: skip
        yield Proposed(
            name, "harvest", sold.account_id, "buy", one.instead.security_id, one.quantity, one.price_usd, "", Decimal(0),
            Decimal(0), f"instead of {sold.security_id}",
        )  # fmt: skip


def _words(one: Proposal) -> str:
    sold = one.candidate
    instead = f"{one.quantity:f} {one.instead.security_id}" if one.instead else "nothing"
    return f"{sold.account_id} sells {sold.quantity.normalize():f} {sold.security_id} for {instead}: {one.reason}"
