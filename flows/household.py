"""What a rebalance looks at: the household by class, what leaves it soon, the lots and the cash that are its own, and why not.

`bands` and `cash_flow` look at one household together: what one of them buys, the other does not buy again. What a method trades
is what a sleeve gives it: the first sleeve that holds an account and a security is theirs. Weights are of what is left when
the withdrawals of the lead are made, so that money is raised and classes are brought back towards the same targets.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from flows.calendar import next_session
from flows.day import Day
from flows.measure import Locks, class_histories, locks
from transforms.portfolio.bands import CASH, Held, drift_cost, is_outside
from transforms.portfolio.cash_flow import ZERO, Withdrawal, due, unmade
from transforms.portfolio.desk import OpenLot
from transforms.portfolio.drift import class_of
from transforms.portfolio.volatility_bands import covariance
from warehouse.db import Warehouse

METHODS = ("bands", "cash_flow")
Cost = Callable[[Mapping[str, Decimal]], Decimal]


class Household(NamedTuple):
    """What there is, whatever may not be traded of it. Units: USD."""

    on: date
    held: dict[str, Held]  # by class, as core.drift shows it
    withdrawals: list[Withdrawal]  # of the lead, less what was withdrawn
    cash_usd: dict[str, Decimal]  # by account
    lots: list[OpenLot]  # of the sleeves of both methods
    worth_usd: dict[str, Decimal]  # of every account with its cash
    positions_usd: dict[str, Decimal]  # by security
    prices: dict[str, Decimal]
    classes: dict[str, str]  # security -> class
    locks: Locks
    harvested: dict[tuple[str, str], str]  # account, security -> why it is left alone today
    harvest_usd: Decimal
    resting: dict[str, date]  # class -> when it was rebalanced last
    drift_cost: Cost | None
    unmeasured: tuple[str, ...]  # classes whose risk nobody can tell

    @property
    def whole_usd(self) -> Decimal:
        return sum((one.value_usd for one in self.held.values()), ZERO)

    @property
    def leaving_usd(self) -> dict[str, Decimal]:
        return due(self.withdrawals, date.min, date.max)

    @property
    def total_usd(self) -> Decimal:
        """What is left when the withdrawals are made."""
        return self.whole_usd - sum(self.leaving_usd.values(), ZERO)

    def target_usd(self, asset_class: str) -> Decimal:
        return Decimal(repr(self.held[asset_class].target_weight)) * self.total_usd

    def distance_usd(self, asset_class: str) -> Decimal:
        """Value less target, signed."""
        leaves = sum(self.leaving_usd.values(), ZERO) if asset_class == CASH else ZERO
        return self.held[asset_class].value_usd - leaves - self.target_usd(asset_class)

    def is_outside(self, asset_class: str) -> bool:
        """Is a class outside its band? Of a household that is worth nothing none is."""
        total, one = self.total_usd, self.held[asset_class]
        if total <= 0:
            return False
        weight = float((self.distance_usd(asset_class) + self.target_usd(asset_class)) / total)
        return is_outside(weight, one.target_weight, one.band)

    def stands(self, asset_class: str) -> str:
        """A class as core.drift shows it, in words."""
        held, whole = self.held[asset_class], self.whole_usd
        return f"{asset_class} {float(held.value_usd / whole):.1%} against {held.target_weight:.1%}"


def owner(day: Day, account_id: str, security_id: str) -> str:
    """The method that trades a security in an account: that of the first sleeve that holds both; none without one."""
    for sleeve in day.settings.portfolio.sleeves:
        if (not sleeve.accounts or account_id in sleeve.accounts) and (
            not sleeve.securities or security_id in sleeve.securities
        ):
            return sleeve.method
    return ""


def steers(day: Day, account_id: str) -> bool:
    """Has one of the methods a part of an account, so that its cash is invested and its withdrawals are raised?"""
    for sleeve in day.settings.portfolio.sleeves:
        if not sleeve.accounts or account_id in sleeve.accounts:
            if sleeve.method in METHODS:
                return True
            if not sleeve.securities:  # the whole account is another's
                return False
    return False


def household(warehouse: Warehouse, day: Day) -> Household:
    policy, on = day.settings.portfolio, next_session(day.as_of)
    rows = warehouse.rows("SELECT asset_class, value_usd, target_weight, band FROM core.drift").rows()
    held = {name: Held(value, target, band) for name, value, target, band in rows}
    held.setdefault(CASH, Held(ZERO, 0.0, policy.bands.absolute))
    targets = {name: one.target_weight for name, one in held.items() if one.target_weight > 0}
    asset_classes = dict(warehouse.rows("SELECT security_id, asset_class FROM stg.securities").iter_rows())
    listed = {account.id for account in policy.accounts}
    cash = dict(warehouse.rows("SELECT account_id, coalesce(cash_usd, 0) FROM mart.cash").iter_rows())
    positions = warehouse.rows(
        "SELECT account_id, security_id, value_usd FROM mart.positions WHERE value_usd IS NOT NULL"
    ).rows()
    worth, by_security = dict(cash), dict[str, Decimal]()
    for account, name, value in positions:
        worth[account] = worth.get(account, ZERO) + value
        by_security[name] = by_security.get(name, ZERO) + value
    harvested, harvest_usd = _harvested(warehouse)
    found = Household(
        on=on,
        held=held,
        withdrawals=_withdrawals(warehouse, day, on),
        cash_usd={name: cash.get(name, ZERO) for name in sorted(listed)},
        lots=[
            lot
            for lot in _lots(warehouse, on, asset_classes, targets)
            if lot.account_id in listed and owner(day, lot.account_id, lot.security_id) in METHODS
        ],
        worth_usd=worth,
        positions_usd=by_security,
        prices=dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows()),
        classes={name: class_of(name, its, targets) for name, its in asset_classes.items()},
        locks=locks(warehouse, day),
        harvested=harvested,
        harvest_usd=harvest_usd,
        resting=_resting(warehouse, day, asset_classes, targets),
        drift_cost=None,
        unmeasured=(),
    )
    cost, unmeasured = _drift_cost(warehouse, day, found, targets)
    return found._replace(drift_cost=cost, unmeasured=unmeasured)


def _withdrawals(warehouse: Warehouse, day: Day, on: date) -> list[Withdrawal]:
    """What is still to leave in the lead, or before the session after the next: the planned less what the ledger shows."""
    policy = day.settings.portfolio
    made = warehouse.rows(
        "SELECT account_id, traded_on, -amount_usd FROM stg.transactions WHERE kind = 'withdrawal' AND amount_usd < 0"
    )
    planned = [Withdrawal(one.account, one.on, one.amount_usd) for one in policy.withdrawals]
    left = unmade(planned, (Withdrawal(*row) for row in made.iter_rows()), policy.cash_flow.lead_days)
    until = max(on + timedelta(days=policy.cash_flow.lead_days), next_session(on) - timedelta(days=1))
    return [one for one in left if on <= one.on <= until]


def _lots(
    warehouse: Warehouse, on: date, asset_classes: Mapping[str, str], targets: Mapping[str, float]
) -> list[OpenLot]:
    """Open lots with a price, oldest first; a lot of several slices is one."""
    rows = warehouse.rows(
        "WITH worth AS (SELECT l.*, quantity::DECIMAL(19, 9) * price_usd::DECIMAL(19, 9) - basis_usd AS gain_usd "
        "  FROM core.lots AS l JOIN core.latest_prices USING (security_id) WHERE quantity > 0) "
        "SELECT account_id, security_id, lot_id, sum(quantity)::DECIMAL(28, 9), "
        "  coalesce(sum(gain_usd) FILTER (long_term_from > $on), 0)::DECIMAL(28, 6), "
        "  coalesce(sum(gain_usd) FILTER (long_term_from <= $on), 0)::DECIMAL(28, 6) "
        "FROM worth GROUP BY account_id, security_id, lot_id ORDER BY account_id, security_id, min(acquired_on), lot_id",
        on=on,
    )
    return [
        OpenLot(account, name, class_of(name, asset_classes.get(name), targets), lot, quantity, short, long)
        for account, name, lot, quantity, short, long in rows.iter_rows()
    ]


def _harvested(warehouse: Warehouse) -> tuple[dict[tuple[str, str], str], Decimal]:
    """What a harvest of today trades: two methods do not sell the same lots, nor does one buy what the other sells at a loss."""
    rows = warehouse.rows(
        "SELECT account_id, security_id, value_usd, replacement_id, replacement_quantity, replacement_price_usd "
        "FROM core.proposals WHERE NOT is_refused"
    ).rows()
    found, traded = dict[tuple[str, str], str](), ZERO
    for account, sold, value, bought, quantity, price in rows:
        found[account, sold] = "it is harvested today"
        found[account, bought] = "a harvest of today buys it"
        found["", sold] = "it is harvested today"
        traded += value + quantity * price
    return found, traded


def _resting(
    warehouse: Warehouse, day: Day, asset_classes: Mapping[str, str], targets: Mapping[str, float]
) -> dict[str, date]:
    """Classes whose last sale by `bands`, or purchase with the proceeds of one, is too young."""
    rows = warehouse.rows(
        "SELECT o.security_id, max(o.session_on) FROM mart.orders AS o JOIN ledger.batch_lines AS l USING (batch_id, line) "
        "WHERE list_contains(string_split(l.method, ', '), 'bands') AND o.status IN ('filled', 'partly filled', 'working') "
        "AND EXISTS (SELECT 1 FROM ledger.batch_lines AS s WHERE s.batch_id = l.batch_id AND s.pair = l.pair AND s.side = 'sell') "
        "GROUP BY o.security_id"
    )
    last: dict[str, date] = {}
    for name, on in rows.iter_rows():
        its = class_of(name, asset_classes.get(name), targets)
        last[its] = max(on, last.get(its, on))
    days, today = day.settings.portfolio.bands.cooldown_days, next_session(day.as_of)
    return {name: on for name, on in last.items() if (today - on).days < days}


def _drift_cost(
    warehouse: Warehouse, day: Day, seen: Household, targets: Mapping[str, float]
) -> tuple[Cost | None, tuple[str, ...]]:
    """What distances from the targets cost in dollars, and the classes without a history; None where the policy does not ask."""
    policy, total = day.settings.portfolio.bands, seen.total_usd
    if not policy.cost_benefit or total <= 0:
        return None, ()
    returns = class_histories(warehouse, day, targets, policy.lookback_sessions)
    classes, spread = covariance(returns)

    def cost(distances: Mapping[str, Decimal]) -> Decimal:
        weights = {name: float(distance / total) for name, distance in distances.items()}
        rate = drift_cost(weights, classes, spread, policy.risk_aversion, policy.horizon_years)
        return (Decimal(repr(round(rate, 15))) * total).quantize(Decimal("0.01"))

    return cost, tuple(sorted(name for name in seen.held if name != CASH and name not in classes))


def choices(seen: Household, day: Day, why_not: Callable[[str, str], str]) -> dict[tuple[str, str], list[str]]:
    """What an account may buy of every class with a target: what is preferred, else what is held, the most of it first."""
    policy = day.settings.portfolio
    wanted = [name for name, one in seen.held.items() if one.target_weight > 0 and name != CASH]
    in_account: dict[tuple[str, str], Decimal] = {}
    for lot in seen.lots:
        key = lot.account_id, lot.security_id
        in_account[key] = in_account.get(key, ZERO) + lot.quantity * seen.prices[lot.security_id]
    found = {}
    for account in policy.accounts:
        for name in wanted:
            likely: Sequence[str] = policy.preferred.get(name) or ((name,) if name in seen.classes else ())
            if not likely:
                likely = sorted(
                    (one for one, usd in seen.positions_usd.items() if usd > 0 and seen.classes.get(one) == name),
                    key=lambda one: (-in_account.get((account.id, one), ZERO), -seen.positions_usd[one], one),
                )
            found[account.id, name] = [
                one
                for one in likely
                if one in seen.prices
                and seen.classes.get(one) == name
                and owner(day, account.id, one) in METHODS
                and (not account.can_hold or one in account.can_hold)
                and not why_not(account.id, one)
            ]
    return found
