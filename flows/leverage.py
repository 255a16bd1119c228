"""The trades that keep a margin call away.

Nothing is proposed for an account without debt. Where positions must be cut, what is sold first costs the least tax (the
holdings with the least gain for their value, losses before all), and what is bought back first asks for the most margin. A
trade that would wash a loss beyond the limits is left out, and the next one takes its place. No order is larger than the gates
let it be, so that a large cut takes days; what is left says so in core.left_alone. An account that holds or owes what nobody
can value is not traded: one price that is missing would look like a loss, and sell the rest.
"""

from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_DOWN, Decimal
from fractions import Fraction

from flows.accounts import Account
from flows.calendar import next_session
from flows.day import Day
from flows.margin_accounts import Held, margin_accounts, margin_policy, said, uncounted
from flows.pre_trade import Known, known
from transforms import tables
from transforms.exact import nano_shares, trade_cents, usd
from transforms.lots.check import beyond, dollars
from transforms.lots.divergence import choices, picks_text
from transforms.lots.methods import Asked, picked
from transforms.model import Lot, Trade
from transforms.orders.arbiter import Proposed
from transforms.portfolio.leverage import CENT, Holding, dearest_first
from warehouse.db import Warehouse

METHOD = "leverage"
SHARE = Decimal("0.0001")
ZERO = Decimal(0)


def leverage(warehouse: Warehouse, day: Day) -> Iterator[Proposed]:
    """Sales, and purchases of what is owed, that bring a margin account back within the limits, before its broker would.

    Rows     margin accounts only: another one's debt is for the cash-flow rules.
    """
    rules, limits = margin_policy(day)
    policy, seen = day.settings.portfolio, None
    left_alone: list[tuple] = []
    for name, held in margin_accounts(warehouse, day, rules, limits).items():
        if not held.found.cut_usd or not policy.gates.of(name).is_margin:
            continue
        if held.unvalued:
            left_alone.append(
                (METHOD, name, "", "", held.found.cut_usd, f"nothing is traded: {uncounted(held.unvalued)}")
            )
            continue
        seen = seen or known(warehouse, day, next_session(day.as_of))
        account = next(one for one in policy.accounts if one.id == name)
        yield from _cuts(warehouse, day, seen, account, held, left_alone)
    others = warehouse.rows("FROM core.left_alone WHERE method <> $method", method=METHOD)
    warehouse.replace("core.left_alone", others)
    warehouse.append("core.left_alone", tables.core("left_alone", left_alone))


def _cuts(
    warehouse: Warehouse, day: Day, seen: Known, account: Account, held: Held, left_alone: list[tuple]
) -> Iterator[Proposed]:
    """The trades of a day; what is not done is added to `left_alone`."""
    rules, limits = margin_policy(day)
    policy, found = day.settings.portfolio, held.found
    unit = Decimal(1) if account.shares == "whole" else SHARE
    most = max(ZERO, found.equity_usd) * Decimal(str(policy.gates.max_order_weight))
    why_cut = said(found, limits)
    for side, position_usd, order in (
        ("sell", found.long_usd, _least_gain_first(warehouse, account.id, held.holdings)),
        ("buy", found.short_usd, dearest_first(held.holdings, rules, limits)),
    ):
        left = (position_usd * (1 - found.keep)).quantize(CENT, ROUND_CEILING)
        for one in order:
            if left <= 0:
                break
            wanted = min(abs(one.quantity), (left / one.price_usd).quantize(unit, ROUND_CEILING))
            quantity = min(wanted, most / one.price_usd).quantize(unit, ROUND_DOWN)
            name = f"leverage {account.id} {one.security_id}"
            amount = trade_cents(quantity, one.price_usd, ZERO)
            picks = _picks(warehouse, day, seen, account, one, quantity) if side == "sell" else ()
            trade = Trade(
                name, account.id, one.security_id, side == "buy", nano_shares(quantity), amount, next_session(day.as_of),
                None, account.is_deferred, picks, is_short=side == "buy",
            )  # fmt: skip
            effect = seen.effects([trade])[name] if quantity else None
            if one.security_id in policy.gates.do_not_trade:
                why = "is on the do-not-trade list"
            elif one.security_id in held.stale:
                why = "has no price"
            elif effect is None:
                why = f"the least that is traded is more than an order may be, {dollars(int(most * 100))} (gates max_order_weight)"
            else:
                why = beyond(effect, policy.wash_limits)
            if why or effect is None:
                value = min(left, abs(one.value_usd)).quantize(CENT)
                left_alone.append((METHOD, account.id, "", one.security_id, value, f"{one.security_id}: {why}"))
                continue
            left -= usd(amount)
            loss = max(ZERO, -usd(effect.short_gain + effect.long_gain))
            yield Proposed(
                name, METHOD, account.id, side, one.security_id, quantity, one.price_usd, picks_text(picks), loss,
                max(ZERO, -usd(effect.tax)), f"{why_cut}; its tax is {dollars(effect.tax)}",
            )  # fmt: skip
        if left > 0:
            done = "sold" if side == "sell" else "bought back"
            left_alone.append(
                (
                    METHOD, account.id, "", "", left,
                    f"{dollars(int(left * 100))} more must be {done}: an order is at most {dollars(int(most * 100))} "
                    "(gates max_order_weight) and the rest follows on later days, but for what is listed here",
                )
            )  # fmt: skip


def _picks(
    warehouse: Warehouse, day: Day, seen: Known, account: Account, one: Holding, quantity: Decimal
) -> tuple[tuple[str, int], ...]:
    """The lots to be sold by the account's method; none where its broker chooses, or where they make no difference."""
    if account.is_deferred or not account.reaches_any_lot:
        return ()
    rows = warehouse.rows(
        "SELECT lot_id, account_id, security_id, (quantity * 1000000000)::BIGINT, acquired_on, holding_since, "
        "(basis_usd * 100)::BIGINT, is_deferred FROM core.lots "
        "WHERE account_id = $account AND security_id = $security AND quantity > 0 ORDER BY slice",
        account=account.id,
        security=one.security_id,
    )
    made, left = choices(map(Lot._make, rows.iter_rows()))
    rates = {"short": seen.year.rates.short, "long": seen.year.rates.long}
    asked = Asked(next_session(day.as_of), Fraction(one.price_usd), rates)
    return picked(made, left, nano_shares(quantity), account.intends, asked)


def _least_gain_first(warehouse: Warehouse, account_id: str, holdings: Sequence[Holding]) -> list[Holding]:
    basis = dict(
        warehouse.rows(
            "SELECT security_id, sum(basis_usd) FROM core.lots WHERE account_id = $account AND quantity > 0 GROUP BY ALL",
            account=account_id,
        ).iter_rows()
    )
    longs = (one for one in holdings if one.quantity > 0)
    return sorted(longs, key=lambda one: (1 - basis[one.security_id] / one.value_usd, one.security_id))
