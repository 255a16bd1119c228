"""What margin accounts may borrow, how far they are from a call, and the sales that keep it away.

Nothing is proposed for an account without debt. Where positions must be cut, what costs the least tax goes first: the
holdings with the least gain for their value, losses that may be taken before all. A sale that would wash a loss beyond the
limits is left out, and the next one takes its place.
"""

from collections.abc import Iterator
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from flows.calendar import next_session
from flows.day import Day
from flows.pre_trade import Known, known
from transforms import tables
from transforms.exact import nano_shares, trade_cents, usd
from transforms.lots.check import beyond, dollars
from transforms.model import Trade
from transforms.orders.arbiter import Proposed
from transforms.portfolio.leverage import CENT, Holding, Limits, Margin, MarginRules, margin, margin_rules, max_leverage
from warehouse.db import Warehouse
from warehouse.law import law_rows

SHARE = Decimal("0.0001")


def allowed(day: Day) -> tuple[float, str]:
    """The most exposure that the household may have, to its equity, and why; 1 without an account that may borrow."""
    policy = day.settings.portfolio
    if not any(account.is_margin for account in policy.gates.accounts.values()):
        return 1.0, "no account may borrow: is_margin of [gates.accounts]"
    most = max_leverage(*_rules(day))
    return float(most), f"{most:.2f} is the most that stands a fall of {policy.leverage.stress_drawdown:.0%}"


def measure_leverage(warehouse: Warehouse, day: Day) -> None:
    """Fill core.leverage."""
    rules, limits = _rules(day)
    most = float(max_leverage(rules, limits))
    rows = [
        (
            name, found.long_usd, found.short_usd, found.equity_usd, float(found.gross), float(found.net),
            found.requirement_usd.quantize(CENT, ROUND_CEILING), float(found.fall_to_call), most, found.cut_usd,
            "; ".join(filter(None, (_said(found, limits), _without(unpriced)))),
        )
        for name, (_, unpriced, found) in _accounts(warehouse, day, rules, limits).items()
    ]  # fmt: skip
    warehouse.replace("core.leverage", tables.core("leverage", rows))


def leverage(warehouse: Warehouse, day: Day) -> Iterator[Proposed]:
    """Sales that bring a margin account back within the limits, before its broker would.

    Rows     margin accounts only: another one's debt is for the cash-flow rules.
    Omits    buying back short positions: what is to be cut is shown (core.leverage), the trades are a person's.
    """
    rules, limits = _rules(day)
    of = day.settings.portfolio.gates.of
    in_need = {
        name: account
        for name, account in _accounts(warehouse, day, rules, limits).items()
        if account.found.cut_usd and of(name).is_margin
    }
    if not in_need:
        return
    seen = known(warehouse, day, next_session(day.as_of))
    for name, (holdings, _, found) in in_need.items():
        if not found.short_usd:
            yield from _sales(warehouse, day, seen, name, holdings, found)


def _sales(
    warehouse: Warehouse, day: Day, seen: Known, account_id: str, holdings: list[Holding], found: Margin
) -> Iterator[Proposed]:
    policy = day.settings.portfolio
    account = next(one for one in policy.accounts if one.id == account_id)
    unit = Decimal(1) if account.shares == "whole" else SHARE
    basis = dict(
        warehouse.rows(
            "SELECT security_id, sum(basis_usd) FROM core.lots WHERE account_id = $account AND quantity > 0 GROUP BY ALL",
            account=account_id,
        ).iter_rows()
    )
    left = found.cut_usd
    for one in sorted(holdings, key=lambda one: (1 - basis[one.security_id] / one.value_usd, one.security_id)):
        if left <= 0:
            return
        if one.security_id in policy.gates.do_not_trade:
            continue
        quantity = min(one.quantity, (left / one.price_usd).quantize(unit, ROUND_CEILING))
        name = f"leverage {account_id} {one.security_id}"
        amount = trade_cents(quantity, one.price_usd, Decimal(0))
        trade = Trade(
            name, account_id, one.security_id, False, nano_shares(quantity), amount, next_session(day.as_of), None,
            account.is_deferred,
        )  # fmt: skip
        effect = seen.effects([trade])[name]
        if beyond(effect, policy.wash_limits):
            continue
        left -= usd(amount)
        loss = max(Decimal(0), -usd(effect.short_gain + effect.long_gain))
        reason = f"{_said(found, Limits(*_limits(day)))}; its tax is {dollars(effect.tax)}"
        yield Proposed(
            name, "leverage", account_id, "sell", one.security_id, quantity, one.price_usd, "", loss,
            max(Decimal(0), -usd(effect.tax)), reason,
        )  # fmt: skip


class _Account(NamedTuple):
    holdings: list[Holding]
    unpriced: list[str]  # what it holds or owes without a price: counted as nothing
    found: Margin


def _accounts(warehouse: Warehouse, day: Day, rules: MarginRules, limits: Limits) -> dict[str, _Account]:
    """The accounts that may borrow, or that owe cash or shares, with what they hold and how they stand."""
    policy = day.settings.portfolio
    cash = dict(warehouse.rows("SELECT account_id, cash_usd FROM mart.cash").iter_rows())
    held: dict[str, list[Holding]] = {account.id: [] for account in policy.accounts}
    rows = warehouse.rows(
        "SELECT account_id, security_id, sum(quantity)::DECIMAL(28, 9), any_value(price_usd) FROM core.lots "
        "LEFT JOIN core.latest_prices USING (security_id) GROUP BY ALL HAVING sum(quantity) <> 0 ORDER BY ALL"
    )
    unpriced: dict[str, list[str]] = {name: [] for name in held}
    for account_id, security_id, quantity, price in rows.iter_rows():
        if account_id in held and price is None:
            unpriced[account_id].append(security_id)
        elif account_id in held:
            held[account_id].append(Holding(security_id, quantity, price))
    return {
        name: _Account(holdings, unpriced[name], margin(holdings, cash.get(name, Decimal(0)), rules, limits))
        for name, holdings in held.items()
        if policy.gates.of(name).is_margin
        or cash.get(name, Decimal(0)) < 0
        or any(one.quantity < 0 for one in holdings)
    }


def _rules(day: Day) -> tuple[MarginRules, Limits]:
    return margin_rules(law_rows(), next_session(day.as_of)), Limits(*_limits(day))


def _limits(day: Day) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    policy = day.settings.portfolio.leverage
    return policy.max_gross, policy.max_net, policy.maintenance_rate, policy.stress_drawdown


def _without(unpriced: list[str]) -> str:
    return f"not counted, without a price: {', '.join(unpriced)}" if unpriced else ""


def _said(found: Margin, limits: Limits) -> str:
    stands = (
        f"${found.long_usd + found.short_usd:,.2f} on ${found.equity_usd:,.2f} of equity ({found.gross:.2f} gross, "
        f"{found.net:.2f} net); a margin call comes after an adverse move of {found.fall_to_call:.1%}"
    )
    if not found.cut_usd:
        return f"{stands}: within the limits"
    why = {
        "max_gross": f"at most {limits.max_gross:.2f} gross may be held",
        "max_net": f"at most {limits.max_net:.2f} net may be held",
        "maintenance": "the maintenance margin is not met today",
        "stress_drawdown": f"a move of {limits.stress_drawdown:.0%} must bring none",
        "equity": "no equity is left",
    }[found.binding]
    return f"{stands}; {why}: ${found.cut_usd:,.2f} must go"
