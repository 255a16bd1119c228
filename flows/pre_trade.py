"""The pre-trade check on the warehouse: what a batch would do, with everything that is known to come.

`propose` asks it before it proposes, the gate before an order goes out: one function, one limit.
"""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from flows.book import ledger_events
from flows.day import Day
from transforms import tables
from transforms.exact import nano_shares, shares, trade_cents, usd
from transforms.harvest.benefit import rates
from transforms.lots.ahead import Ahead
from transforms.lots.check import Effect, Limits, Year
from transforms.lots.coming import Plan, coming
from transforms.lots.groups import united
from transforms.lots.in_part import OpenShares, Young, beyond_in_part
from transforms.lots.rules import Rules, purchase_replaces
from transforms.model import DEFERRED, Event, Trade
from transforms.tax.schedule_d import Carried, carried_into
from warehouse.db import Warehouse
from warehouse.law import wash_rules


class Known(NamedTuple):
    """What the check looks at besides the batch; `unsized` are plans whose shares nobody can tell, with the first day."""

    events: list[Event]
    coming: list[Trade]
    unsized: list[tuple[Plan, date]]
    rules: Rules
    year: Year
    identical: dict[str, str]
    cautious: dict[str, str]
    ahead: Ahead
    young: Young

    def effects(self, proposed: Iterable[Trade]) -> dict[str, Effect]:
        """What each trade of a batch would do, the whole batch together."""
        return self.ahead.effects(proposed)

    def beyond_in_part(self, proposed: Iterable[Trade], limits: Limits) -> dict[str, str]:
        """Why sales of a batch may not be made, though they pass when all of it is filled: a limit may leave some."""
        return beyond_in_part(proposed, self.young, self.effects, limits)


def known(warehouse: Warehouse, day: Day, on: date) -> Known:
    """Everything that a sale on a day could have to do with, from the ledger, the plans and the open orders.

    The ledger counts as far as the books reach: with the day's own fills where those were booked. A plan in dollars is
    taken at the last close, whatever a security trades at now.
    """
    policy = day.settings.portfolio
    law = wash_rules(on, policy.law_policy)
    booked_to = warehouse.value("SELECT max(booked_to) FROM core.accounts")
    events, _ = ledger_events(warehouse, day, booked_to or day.as_of)
    prices = dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows())
    trades, unsized = coming(_plans(warehouse, day, law, on), on + timedelta(days=law.window_days), prices)
    to_come, year = [*trades, *_open_orders(warehouse, day, law)], _year(warehouse, day, on)
    ahead = Ahead(events, to_come, law, year, policy.groups, policy.cautious_groups, on)
    held = warehouse.rows(
        "SELECT lot_id, account_id, security_id, (quantity * 1000000000)::BIGINT, acquired_on >= $first FROM core.lots "
        "WHERE quantity > 0",
        first=on - timedelta(days=law.window_days),
    )
    young = Young(map(OpenShares._make, held.iter_rows()), policy.cautious_groups)
    return Known([*events], to_come, unsized, law, year, policy.groups, policy.cautious_groups, ahead, young)


def show(warehouse: Warehouse, seen: Known) -> None:
    """Fill core.coming and core.identical, which the views of what cannot be bought and sold today read."""
    rows = [
        (
            trade.trade_id, trade.account_id, trade.security_id, shares(trade.quantity), usd(trade.amount),
            trade.traded_on, trade.is_deferred,
        )
        for trade in seen.coming
        if trade.replaces
    ]  # fmt: skip
    warehouse.replace("core.coming", tables.core("coming", rows))
    tiers = {
        "identical": united(seen.events, seen.identical),  # an old and a new symbol too
        "same index": seen.cautious if seen.cautious != seen.identical else {},
    }
    named = [(name, group, tier) for tier, groups in tiers.items() for name, group in sorted(groups.items())]
    warehouse.replace("core.identical", tables.core("identical", named))


def realized(warehouse: Warehouse, year: int) -> tuple[Decimal, Decimal]:
    """Net short-term and long-term results of a tax year so far, USD, signed."""
    rows = warehouse.rows(
        "SELECT coalesce(sum(gain_usd) FILTER (term = 'short'), 0)::DECIMAL(28, 6), "
        "coalesce(sum(gain_usd) FILTER (term = 'long'), 0)::DECIMAL(28, 6) FROM core.disposals WHERE year(sold_on) = $year",
        year=year,
    )
    return rows.row(0)


def carried_in(warehouse: Warehouse, day: Day, year: int) -> tuple[Decimal, Decimal]:
    """Short-term and long-term losses of earlier years that a tax year begins with, USD, positive."""
    income, stated = day.settings.portfolio.household.taxable_income_usd, stated_carryover(day)
    rows = warehouse.rows("SELECT DISTINCT year(sold_on) FROM core.disposals WHERE year(sold_on) < $year", year=year)
    results = {before: realized(warehouse, before) for (before,) in rows.iter_rows()}
    return carried_into(year, results, day.law, income, stated)


def stated_carryover(day: Day) -> Carried | None:
    """What the household says of an earlier return; None: nothing."""
    household = day.settings.portfolio.household
    if household.carryover_into is None:
        return None
    return Carried(household.carryover_into, household.carryover_short_usd, household.carryover_long_usd)


def _year(warehouse: Warehouse, day: Day, on: date) -> Year:
    """The year as it stands: realised, still planned, and carried into it."""
    household = day.settings.portfolio.household
    short, long = realized(warehouse, on.year)
    brought_short, brought_long = carried_in(warehouse, day, on.year)
    return Year(
        rates(day.law(on.year), household.taxable_income_usd, household.state_rate),
        short + household.planned_short_gain_usd - brought_short,
        long + household.planned_long_gain_usd - brought_long,
    )


def _plans(warehouse: Warehouse, day: Day, law: Rules, on: date) -> Iterator[tuple[Plan, date]]:
    """The plans of portfolio.toml, each with the first day that its account's ledger does not speak for yet."""
    policy = day.settings.portfolio
    seen_to = dict(
        warehouse.rows("SELECT source, stated_on FROM core.source_status WHERE kind = 'activities'").iter_rows()
    )
    accounts = {account.id: account for account in policy.accounts}
    unlinked = {account.name: account for account in policy.unlinked}
    for number, future in enumerate(policy.future, 1):
        linked = accounts.get(future.account)
        account = linked or unlinked[future.account]
        first = future.on or future.first
        assert first is not None  # settings.py: one of the two
        amount = future.amount_usd
        if amount is None and future.quantity is None:
            amount = _last_dividend(warehouse, future.account, future.security)
        plan = Plan(
            f"{future.kind}-{number}", future.account, future.security, account.type in DEFERRED,
            None if future.quantity is None else nano_shares(future.quantity),
            None if amount is None else int(amount * 100),
            first, future.every or "", future.until, purchase_replaces(law, account.type, account.owner),
        )  # fmt: skip
        if linked:
            booked_to = min(seen_to.get(linked.id) or day.as_of, day.as_of)
            yield plan, booked_to + timedelta(days=1)
        else:
            yield plan, on - timedelta(days=law.window_days)


def _last_dividend(warehouse: Warehouse, account_id: str, security_id: str) -> Decimal | None:
    """What a reinvestment will be about: the dividend that the account was paid last."""
    return warehouse.value(
        "SELECT amount_usd FROM stg.transactions WHERE kind = 'dividend' AND account_id = $account "
        "AND security_id = $security AND amount_usd > 0 ORDER BY traded_on DESC LIMIT 1",
        account=account_id,
        security=security_id,
    )


def _open_orders(warehouse: Warehouse, day: Day, law: Rules) -> list[Trade]:
    """Orders to buy that were sent or are about to be, and may still be filled: a batch expires with its session."""
    rows = warehouse.rows(
        "SELECT i.client_order_id, b.account_id, l.security_id, "
        "(i.quantity - coalesce(sum(e.quantity) FILTER (e.event = 'fill'), 0))::DECIMAL(28, 9), l.price_usd, b.session_on "
        "FROM ledger.intents AS i JOIN ledger.batches AS b USING (batch_id) "
        "JOIN ledger.batch_lines AS l USING (batch_id, line) LEFT JOIN ledger.order_events AS e USING (client_order_id) "
        "WHERE l.side = 'buy' AND b.session_on > $as_of "
        "GROUP BY i.client_order_id, b.account_id, l.security_id, i.quantity, l.price_usd, b.session_on "
        "HAVING count(*) FILTER (e.event IN ('filled', 'canceled', 'expired', 'rejected')) = 0 "
        "AND i.quantity > coalesce(sum(e.quantity) FILTER (e.event = 'fill'), 0) ORDER BY 1",
        as_of=day.as_of,
    )
    accounts = {account.id: account for account in day.settings.portfolio.accounts}
    return [
        Trade(
            name, where, security, True, nano_shares(quantity), trade_cents(quantity, price, Decimal(0)), on, None,
            account.is_deferred, replaces=purchase_replaces(law, account.type, account.owner),
        )
        for name, where, security, quantity, price, on in rows.iter_rows()
        if (account := accounts.get(where)) is not None
    ]  # fmt: skip
