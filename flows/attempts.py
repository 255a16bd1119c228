"""What is left of a decision to send: how much of each line, and which purchases the cash at hand pays for, at which limit.

The problem. A line is filled in parts and tried again. Prices have moved since it was decided: a sale may bring less than its
replacement costs, and a limit that leaves room for a jump may promise cash that is not there. A broker refuses the one,
and the other is a debt in an account that may not borrow.

The choice. What is left of a line is counted anew in every pass. Purchases are reckoned at the price of now. In an account that
may not borrow all its limits together promise no more than its cash: the room above the price is what the cash leaves,
at most the collar. A purchase whose own sales are done is cut to what they brought, so that a pair does not stand on one leg
for a few dollars.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

from flows.accounts import Account
from flows.calendar import next_session
from flows.connectors import FINAL
from flows.day import Day
from flows.fills import NOTHING, Progress
from transforms.lots.picks import first_picks, rest_of_picks
from transforms.orders.collar import collar
from transforms.orders.gates import Line, Refusal
from transforms.orders.identity import client_order_id
from warehouse.db import Warehouse

ZERO, WHOLE, FRACTION = Decimal(0), Decimal(1), Decimal("0.0001")
Lines = Mapping[tuple[str, int], Progress]


class Attempt(NamedTuple):
    """An order to be sent: a line with the quantity and the lots that are left of it. Units: USD a share."""

    line: Line
    number: int
    at_market: bool
    limit_usd: Decimal | None = None

    @property
    def name(self) -> str:
        return client_order_id(*self.line.key, self.number)


def attempts_of(day: Day, lines: list[Line], progress: Lines, refused: Collection[tuple[str, int]]) -> list[Attempt]:
    """What is left to send: lines that nothing was sent for, and those whose order ended before they were filled."""
    accounts = {account.id: account for account in day.settings.portfolio.accounts}
    legs = Counter(line.together for line in lines)
    begun = {line.together for line in lines if progress.get(line.key, NOTHING).filled and legs[line.together] > 1}
    found = []
    for line in lines:
        made = progress.get(line.key, NOTHING)
        if made.is_open or made.is_over or made.attempts >= day.settings.portfolio.orders.attempts:
            continue
        if line.key in refused or not (account := accounts.get(line.account_id)):
            continue
        wanted = line.quantity
        if line.side == "buy" and (share := _sold(day, line, lines, progress)) < 1:
            wanted = (wanted * share).quantize(_step(account), ROUND_DOWN)
        left = wanted - made.filled
        if account.shares == "whole":
            left = left.quantize(WHOLE, ROUND_DOWN)
        if left > 0:
            lots = first_picks(rest_of_picks(line.lots, made.filled), left)
            is_late = made.attempts > 0 and line.together in begun
            found.append(Attempt(line._replace(quantity=left, lots=lots), made.attempts + 1, is_late))
    return found


def affordable(
    warehouse: Warehouse, day: Day, lines: list[Line], progress: Lines, passing: list[Attempt]
) -> tuple[list[Attempt], list[Refusal]]:
    """Sales, and the purchases that the cash at hand pays for, with their limits; the others wait for the proceeds.

    A simulated broker fills all of a session's orders at its one close: there the proceeds count already, and sales that pay
    for purchases have no limit, lest the purchases are filled alone.
    """
    policy = day.settings.portfolio
    accounts = {account.id: account for account in policy.accounts}
    at_hand = _at_hand(warehouse, day)
    own, spent = dict(at_hand), defaultdict[str, Decimal](Decimal)
    for sale in (a.line for a in passing if a.line.side == "sell"):
        if accounts[sale.account_id].broker == "simulated":
            at_hand[sale.account_id] += sale.value_usd
    sales = [line for line in lines if line.side == "sell"]
    bought: list[Attempt] = []
    poor: list[Refusal] = []
    bound: dict[tuple[str, int], Decimal] = {}  # cost at the price of now, of those whose limits share what is left
    for attempt in (a for a in passing if a.line.side == "buy"):
        line, account = attempt.line, accounts[attempt.line.account_id]
        may_borrow = policy.gates.of(account.id).is_margin
        paid_by = [sale for sale in sales if sale.pair_here == line.pair_here]
        price, rate = _price(day, line)
        if attempt.at_market and not may_borrow:
            price *= 1 + rate  # an order without a limit may cost so much
        cost, there = line._replace(price_usd=price).value_usd, at_hand[account.id]
        if (paid_by or not may_borrow) and cost > there:
            to_come = paid_by or [sale for sale in sales if sale.account_id == account.id]
            is_all = all(_is_done(day, progress.get(sale.key, NOTHING)) for sale in to_come)
            cut = max(line.quantity * there / cost, ZERO).quantize(_step(account), ROUND_DOWN)
            if not (is_all and cut and cost - there <= 2 * rate * cost):
                poor.append(Refusal(*line.key, "proceeds", f"waits for ${cost - there:,.2f} of cash"))
                continue
            cost, attempt = cost * cut / line.quantity, attempt._replace(line=line._replace(quantity=cut))
        at_hand[account.id] -= cost
        spent[account.id] += cost
        bought.append(attempt)
        is_ahead = account.broker == "simulated" and bool(paid_by)  # both legs move together, before there is any cash
        if not (may_borrow or attempt.at_market or account.shares == "notional" or is_ahead):
            bound[line.key] = cost
    costs = defaultdict[str, Decimal](Decimal)
    for attempt in bought:
        costs[attempt.line.account_id] += bound.get(attempt.line.key, ZERO)
    ready = []
    for attempt in [a for a in passing if a.line.side == "sell"] + bought:
        line = attempt.line
        price, rate = _price(day, line)
        is_at_market = attempt.at_market or (
            line.side == "sell"
            and accounts[line.account_id].broker == "simulated"
            and not policy.gates.of(line.account_id).is_margin
            and spent[line.account_id] > own.get(line.account_id, ZERO)
        )
        if line.key in bound:
            rate = min(rate, at_hand[line.account_id] / costs[line.account_id])
        ready.append(attempt if is_at_market else attempt._replace(limit_usd=collar(line.side, price, rate)))
    return ready, poor


def _at_hand(warehouse: Warehouse, day: Day) -> dict[str, Decimal]:
    """Cash of every account, less what its open purchases may still cost."""
    at_hand: dict[str, Decimal] = defaultdict(
        Decimal, warehouse.rows("SELECT account_id, cash_usd FROM mart.cash").iter_rows()
    )
    for account_id, worth in warehouse.rows(
        "SELECT b.account_id, sum((i.quantity - coalesce(f.filled, 0)) * coalesce(i.limit_usd, l.price_usd))::DECIMAL(28, 6) "
        "FROM ledger.intents AS i JOIN ledger.batches AS b USING (batch_id) JOIN ledger.batch_lines AS l USING (batch_id, line) "
        "LEFT JOIN (SELECT client_order_id, sum(quantity) AS filled FROM ledger.order_events WHERE event = 'fill' GROUP BY ALL) AS f "
        "USING (client_order_id) WHERE l.side = 'buy' AND b.session_on >= $on AND i.client_order_id NOT IN "
        "(SELECT client_order_id FROM ledger.order_events WHERE list_contains($final, event)) GROUP BY ALL",
        final=list(FINAL),
        on=next_session(day.as_of),
    ).iter_rows():
        at_hand[account_id] -= worth
    return at_hand


def _sold(day: Day, buy: Line, lines: list[Line], progress: Lines) -> Decimal:
    """The part of a pair's sales that its purchase may replace now: all of it while they can still be filled in full."""
    sales = [line for line in lines if line.pair_here == buy.pair_here and line.side == "sell"]
    made = [progress.get(line.key, NOTHING) for line in sales]
    if not any(_is_done(day, one) for one in made):
        return Decimal(1)
    worth = sum((line.value_usd for line in sales), ZERO)
    done = sum((min(one.filled, line.quantity) * line.price_usd for line, one in zip(sales, made, strict=True)), ZERO)
    return done / worth if worth else Decimal(1)


def _is_done(day: Day, made: Progress) -> bool:
    """Nothing more comes of it: it was filled or rejected, or has been tried often enough."""
    return made.is_over or (made.attempts >= day.settings.portfolio.orders.attempts and not made.is_open)


def _price(day: Day, line: Line) -> tuple[Decimal, Decimal]:
    """What a security trades at now, or closed at when it was decided, and how far from it an order may go."""
    policy = day.settings.portfolio.orders
    if live := (day.quotes or {}).get(line.security_id):
        return live, Decimal(str(policy.collar_rate))
    return line.price_usd, Decimal(str(policy.overnight_collar_rate))


def _step(account: Account) -> Decimal:
    return WHOLE if account.shares == "whole" else FRACTION
