"""How the accounts that may borrow, or that owe, stand: core.leverage, and how much the household may borrow at all.

What an account holds or owes without a price, or an option, is counted as nothing and named.
"""

from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from flows.calendar import next_session
from flows.day import Day
from transforms import tables
from transforms.lots.check import dollars
from transforms.orders.options import contract
from transforms.portfolio.leverage import CENT, Holding, Limits, Margin, MarginRules, margin, margin_rules, max_leverage
from warehouse.db import Warehouse
from warehouse.law import law_rows

ZERO = Decimal(0)


class Held(NamedTuple):
    """An account: what it holds and owes, what of it nobody can value, whose price is old, and how it stands."""

    holdings: list[Holding]
    unvalued: list[str]  # without a price, or an option: counted as nothing
    stale: set[str]
    found: Margin


def allowed(warehouse: Warehouse, day: Day) -> tuple[float, str]:
    """The most exposure that the household may have, to its equity, and why; 1 without an account that may borrow.

    An account borrows on its own equity alone, up to the gate's `max_leverage`; an IRA does not (26 USC 408(e)(2), 4975).
    """
    policy = day.settings.portfolio
    rules, limits = margin_policy(day)
    stands = max_leverage(rules, limits)
    standing = margin_accounts(warehouse, day, rules, limits, every=True)
    total = sum((one.found.equity_usd for one in standing.values()), ZERO)
    borrowers = [a for a in policy.accounts if policy.gates.of(a.id).is_margin and not a.is_deferred]
    if not borrowers or total <= 0:
        return 1.0, "no account may borrow: is_margin of [gates.accounts]"
    more = sum(
        max(ZERO, min(stands, policy.gates.of(a.id).max_leverage) - 1) * max(ZERO, standing[a.id].found.equity_usd)
        for a in borrowers
    )
    most = 1 + more / total
    return float(most), (
        f"{most:.2f} is the most that {', '.join(a.id for a in borrowers)} may borrow for and that stands a fall of "
        f"{limits.stress_drawdown:.0%}"
    )


def measure_leverage(warehouse: Warehouse, day: Day) -> None:
    """Fill core.leverage."""
    rules, limits = margin_policy(day)
    most = float(max_leverage(rules, limits))
    rows = [
        (
            name, found.long_usd, found.short_usd, found.equity_usd, float(found.gross), float(found.net),
            found.requirement_usd.quantize(CENT, ROUND_CEILING), float(found.fall_to_call), most, found.cut_usd,
            "; ".join(filter(None, (said(found, limits), uncounted(unvalued)))),
        )
        for name, (_, unvalued, _, found) in margin_accounts(warehouse, day, rules, limits).items()
    ]  # fmt: skip
    warehouse.replace("core.leverage", tables.core("leverage", rows))


def margin_accounts(
    warehouse: Warehouse, day: Day, rules: MarginRules, limits: Limits, *, every: bool = False
) -> dict[str, Held]:
    """The accounts that may borrow, or that owe cash or shares (or `every` one), with what they hold and how they stand."""
    policy = day.settings.portfolio
    cash = dict(warehouse.rows("SELECT account_id, cash_usd FROM mart.cash").iter_rows())
    rows = warehouse.rows(
        "SELECT account_id, security_id, sum(quantity)::DECIMAL(28, 9), any_value(price_usd), any_value(sessions_old) "
        "FROM core.lots LEFT JOIN core.latest_prices USING (security_id) GROUP BY ALL HAVING sum(quantity) <> 0 ORDER BY ALL"
    )
    holdings: dict[str, list[Holding]] = {account.id: [] for account in policy.accounts}
    unvalued: dict[str, list[str]] = {account.id: [] for account in policy.accounts}
    stale = set()
    for account_id, security_id, quantity, price, age in rows.iter_rows():
        if account_id not in holdings:
            continue
        if price is None or contract(security_id):
            unvalued[account_id].append(security_id)
        else:
            holdings[account_id].append(Holding(security_id, quantity, price))
        if age is not None and age > policy.gates.max_price_age_sessions:
            stale.add(security_id)
    return {
        name: Held(held, unvalued[name], stale, margin(held, cash.get(name, ZERO), rules, limits))
        for name, held in holdings.items()
        if every or policy.gates.of(name).is_margin or cash.get(name, ZERO) < 0 or any(one.quantity < 0 for one in held)
    }


def margin_policy(day: Day) -> tuple[MarginRules, Limits]:
    """The rules in force in the next session, and the household's own limits."""
    policy = day.settings.portfolio.leverage
    limits = Limits(policy.max_gross, policy.max_net, policy.maintenance_rate, policy.stress_drawdown)
    return margin_rules(law_rows(), next_session(day.as_of)), limits


def uncounted(unvalued: list[str]) -> str:
    """What of an account is not in its figures; empty: nothing."""
    return f"without a price, or an option, and counted as nothing: {', '.join(unvalued)}" if unvalued else ""


def said(found: Margin, limits: Limits) -> str:
    """How an account stands, in words and numbers."""
    whole, equity = (dollars(int(amount * 100)) for amount in (found.long_usd + found.short_usd, found.equity_usd))
    if found.equity_usd < 0 and not found.long_usd + found.short_usd:
        return f"it owes {equity.removeprefix('-')} and holds nothing"
    call = f"a margin call comes after an adverse move of {found.fall_to_call:.1%}"
    if found.fall_to_call == 1:
        call = "no fall brings a margin call"
    stands = f"{whole} on {equity} of equity ({found.gross:.2f} gross, {found.net:.2f} net); {call}"
    if not found.cut_usd:
        return f"{stands}: within the limits"
    why = {
        "max_gross": f"at most {limits.max_gross:.2f} gross may be held",
        "max_net": f"at most {limits.max_net:.2f} net may be held",
        "maintenance": "the maintenance margin is not met today",
        "stress_drawdown": f"a move of {limits.stress_drawdown:.0%} must bring none",
        "equity": "no equity is left",
    }[found.binding]
    return f"{stands}; {why}: {dollars(int(found.cut_usd * 100))} must go"
