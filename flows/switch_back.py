"""Replacements that harvests brought, looked at once their window has passed: does it pay to go back?

Asked for by [replacement.switch_back]; transforms/harvest/switch_back.py says how it is weighed. The tax is that of the
pre-trade check. Each is weighed after those that were proposed before it, so that one loss does not pay for two gains.
"""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal
from math import ceil
from typing import NamedTuple

from flows.calendar import next_session
from flows.day import Day
from flows.measure import price_history
from flows.policy import SwitchBack
from flows.pre_trade import known
from transforms import tables
from transforms.exact import nano_shares, trade_cents, usd
from transforms.harvest.benefit import Rates, tax_on, unused
from transforms.harvest.candidates import cents
from transforms.harvest.deferral import carried_saving
from transforms.harvest.replacement import swap
from transforms.harvest.scan import CASH_CUSHION, SHARE
from transforms.harvest.switch_back import Plans, Terms, plans
from transforms.lots.check import beyond
from transforms.lots.divergence import picks_text
from transforms.model import Trade
from transforms.orders.arbiter import Proposed
from warehouse.db import Warehouse
from warehouse.law import wash_rules

ZERO = Decimal(0)
DAYS_A_YEAR = 365.25


class Kept(NamedTuple):
    """What is held instead of something, of one harvest. Units: shares, USD; `lots` with nano-shares."""

    account_id: str
    security_id: str
    back_to_id: str
    harvested_on: date
    lots: tuple[tuple[str, int], ...]
    quantity: Decimal
    value_usd: Decimal
    gain_usd: Decimal
    price_usd: Decimal
    back_price_usd: Decimal | None
    turns_long_on: date | None  # the last of its gains; None: all are long-term, or none is a gain


def switch_back(warehouse: Warehouse, day: Day) -> Iterator[Proposed]:
    """The switches that pay; fills core.switch_backs with all that were weighed.

    Omits    a pair whose harvest sold several securities (its purchase stands for no one of them), and going back two
             steps where a replacement was itself replaced: it goes back one.
    """
    policy = day.settings.portfolio.replacement.switch_back
    rows: list[tuple] = []
    made: list[Proposed] = []
    held = _held(warehouse, day) if policy is not None else []
    if policy is not None and held:
        rows, made = _weighed(warehouse, day, policy, held)
    warehouse.replace("core.switch_backs", tables.core("switch_backs", rows))
    yield from made


def _weighed(
    warehouse: Warehouse, day: Day, policy: SwitchBack, held: list[Kept]
) -> tuple[list[tuple], list[Proposed]]:
    on, portfolio = next_session(day.as_of), day.settings.portfolio
    seen = known(warehouse, day, on)
    window = wash_rules(on, portfolio.law_policy).window_days
    barred = _barred(warehouse, day, on)
    apart, unreached = _tracking_errors(warehouse, day, held), _unreached(warehouse, day)
    household = warehouse.value(
        "SELECT coalesce((SELECT sum(value_usd) FROM mart.positions), 0) + coalesce((SELECT sum(cash_usd) FROM mart.cash), 0)"
    )
    terms = Terms(
        policy.min_benefit_usd, policy.risk_aversion, policy.discount_rate, policy.horizon_years, policy.ends == "sale",
        policy.spread_bps / 10_000,
    )  # fmt: skip
    short, long, rates = seen.year.short_usd, seen.year.long_usd, seen.year.rates
    rows, made, batch = [], list[Proposed](), list[Trade]()
    for one in held:
        sale, purchase = _trades(one, day, on)
        pair = [sale] if purchase is None else [sale, purchase]
        said = seen.effects([*batch, *pair])
        effect = said[sale.trade_id]
        after = short + usd(effect.short_gain), long + usd(effect.long_gain)
        tax = cents(tax_on(*after, rates) - tax_on(short, long, rates))
        used_up = _used_up((short, long), after, rates, terms)
        error = apart.get((one.security_id, one.back_to_id))
        years = None if one.turns_long_on is None else max(0, (one.turns_long_on - on).days) / DAYS_A_YEAR
        cost = plans(
            one.value_usd, household, error or 0.0, tax, used_up, cents(one.gain_usd * rates.long), years, terms
        )
        refusal = (
            f"its window is open until {one.harvested_on + timedelta(days=window)}"
            if on <= one.harvested_on + timedelta(days=window)
            else barred.get((one.account_id, one.back_to_id), "")
            or (f"{one.back_to_id} has no price, or a share costs more than there is" if purchase is None else "")
            or unreached(one)
            or ("nobody can tell how far it drifts: no full history of both" if error is None else "")
            or next((why for trade in pair if (why := beyond(said[trade.trade_id], portfolio.wash_limits))), "")
        )
        reason = _said(one, cost, tax, used_up, error or 0.0, terms, refusal)
        is_proposed = not refusal and cost.benefit >= terms.min_benefit_usd
        rows.append((
            one.account_id, one.security_id, one.back_to_id, picks_text(one.lots), one.quantity, one.value_usd, one.gain_usd,
            one.harvested_on, error or 0.0, tax, cost.now, cost.later, cost.keep, is_proposed, reason,
        ))  # fmt: skip
        if is_proposed and purchase is not None:
            batch += pair
            short, long = after
            made += _proposed(one, purchase, effect.short_gain + effect.long_gain, tax, reason)
    return rows, made


def _proposed(one: Kept, purchase: Trade, gain: int, tax: Decimal, reason: str) -> Iterator[Proposed]:
    name = f"switch back {one.account_id} {one.security_id} {picks_text(one.lots)}"
    quantity = Decimal(purchase.quantity).scaleb(-9)
    assert one.back_price_usd is not None  # without one there is no purchase
    yield Proposed(
        name, "switch_back", one.account_id, "sell", one.security_id, one.quantity, one.price_usd, picks_text(one.lots),
        max(ZERO, -usd(gain)), max(ZERO, -tax), reason,
    )  # fmt: skip
    yield Proposed(
        name, "switch_back", one.account_id, "buy", one.back_to_id, quantity, one.back_price_usd, "", ZERO, ZERO,
        f"back from {one.security_id}",
    )  # fmt: skip


def _trades(one: Kept, day: Day, on: date) -> tuple[Trade, Trade | None]:
    """The sale and the purchase as the ledger would see them; no purchase without a price."""
    account = next(account for account in day.settings.portfolio.accounts if account.id == one.account_id)
    name = f"{one.account_id} {one.security_id} {one.lots[0][0]}"
    amount = trade_cents(one.quantity, one.price_usd, ZERO)
    picks = one.lots if account.reaches_any_lot else ()
    sale = Trade(
        f"sell {name}",
        one.account_id,
        one.security_id,
        False,
        nano_shares(one.quantity),
        amount,
        on,
        None,
        False,
        picks,
    )
    if one.back_price_usd is None:
        return sale, None
    unit = Decimal(1) if account.shares == "whole" else SHARE
    quantity = (one.value_usd * CASH_CUSHION / one.back_price_usd).quantize(unit, ROUND_DOWN)
    if not quantity:
        return sale, None
    paid = trade_cents(quantity, one.back_price_usd, ZERO)
    return sale, Trade(
        f"back from {name}", one.account_id, one.back_to_id, True, nano_shares(quantity), paid, on, None, False
    )


def _held(warehouse: Warehouse, day: Day) -> list[Kept]:
    """What harvests bought and is still held, the oldest first."""
    rows = warehouse.rows(
        """
        WITH fills AS (
            SELECT DISTINCT i.batch_id, i.line, e.transaction_id
            FROM ledger.intents AS i JOIN ledger.order_events AS e USING (client_order_id) WHERE e.event = 'fill'
        ), sold AS (
            SELECT l.batch_id, l.pair, any_value(l.security_id) AS security_id, any_value(b.session_on) AS sold_on
            FROM ledger.batch_lines AS l JOIN ledger.batches AS b USING (batch_id) JOIN fills AS f USING (batch_id, line)
            WHERE l.side = 'sell' AND l.method LIKE '%harvest%' GROUP BY ALL HAVING count(DISTINCT l.security_id) = 1
        ), bought AS (
            SELECT b.account_id, l.security_id, s.security_id AS back_to_id, s.sold_on, f.transaction_id AS lot_id
            FROM ledger.batch_lines AS l JOIN ledger.batches AS b USING (batch_id) JOIN sold AS s USING (batch_id, pair)
            JOIN fills AS f USING (batch_id, line) WHERE l.side = 'buy'
        ), lots AS (
            SELECT account_id, security_id, lot_id, sum(quantity) AS quantity, sum(value_usd) AS value_usd, sum(gain_usd) AS gain_usd,
                max(long_term_from) FILTER (gain_usd > 0 AND long_term_from > $on) AS turns_long_on
            FROM mart.lot_ladder WHERE NOT is_deferred AND quantity > 0 AND value_usd IS NOT NULL GROUP BY ALL
        )
        SELECT b.account_id, b.security_id, b.back_to_id, b.sold_on,
            list(b.lot_id ORDER BY b.lot_id) AS lots, list((l.quantity * 1000000000)::BIGINT ORDER BY b.lot_id) AS sizes,
            sum(l.quantity)::DECIMAL(28, 9), sum(l.value_usd)::DECIMAL(28, 6), sum(l.gain_usd)::DECIMAL(28, 6),
            any_value(p.price_usd), any_value(q.price_usd), max(l.turns_long_on)
        FROM bought AS b
        JOIN lots AS l USING (account_id, security_id, lot_id)
        JOIN core.latest_prices AS p ON p.security_id = b.security_id
        LEFT JOIN core.latest_prices AS q ON q.security_id = b.back_to_id
        GROUP BY b.account_id, b.security_id, b.back_to_id, b.sold_on
        ORDER BY b.sold_on, b.account_id, b.security_id, b.back_to_id
        """,
        on=next_session(day.as_of),
    )
    listed = {account.id for account in day.settings.portfolio.accounts}
    return [
        Kept._make((*row[:4], tuple(zip(row[4], row[5], strict=True)), *row[6:]))
        for row in rows.iter_rows()
        if row[0] in listed
    ]


def _barred(warehouse: Warehouse, day: Day, on: date) -> dict[tuple[str, str], str]:
    """What an account may not buy, and why."""
    rows = warehouse.rows(
        "SELECT account_id, security_id, arg_max(reason, until_on) FROM mart.cannot_buy_today WHERE until_on >= $on GROUP BY ALL",
        on=on,
    )
    policy = day.settings.portfolio
    why = {(account, name): reason for account, name, reason in rows.iter_rows()}
    listed = {
        (a.id, name): f"{name} is on the list do_not_trade"
        for a in policy.accounts
        for name in policy.gates.do_not_trade
    }
    return why | listed


def _unreached(warehouse: Warehouse, day: Day) -> Callable[[Kept], str]:
    """Why a broker would sell other lots than the replacement's; empty where it would not."""
    relief = {account.id: account.relief for account in day.settings.portfolio.accounts}
    lots = warehouse.rows(
        "SELECT account_id, security_id, lot_id, acquired_on FROM core.lots WHERE quantity > 0 ORDER BY acquired_on, slice"
    ).rows()

    def why(one: Kept) -> str:
        if relief[one.account_id] not in ("fifo_only", "average"):
            return ""
        own = {lot for lot, _ in one.lots}
        queue = [lot[2:] for lot in lots if lot[:2] == (one.account_id, one.security_id)]
        newest = max(on for lot, on in queue if lot in own)
        for lot, on in queue:
            if lot not in own and (on <= newest or relief[one.account_id] == "average"):
                how = "at average cost" if relief[one.account_id] == "average" else "first in, first out"
                return f"the broker sells {how} and would take lot {lot} of {on} too"
        return ""

    return why


def _tracking_errors(warehouse: Warehouse, day: Day, held: list[Kept]) -> dict[tuple[str, str], float]:
    history = price_history(warehouse, day, day.settings.portfolio.replacement.lookback_sessions)
    if history.height < 3:
        return {}
    wanted = {(one.security_id, one.back_to_id) for one in held}
    names = {name for pair in wanted for name in pair} & set(history.columns[1:])
    closes = {name: history[name].to_numpy() for name in names}
    returns = {name: prices[1:] / prices[:-1] - 1 for name, prices in closes.items()}
    return {
        (security, back): swap(returns, back, security).tracking_error
        for security, back in wanted
        if security in names and back in names
    }


def _used_up(before: tuple[Decimal, Decimal], after: tuple[Decimal, Decimal], rates: Rates, terms: Terms) -> Decimal:
    """What losses that would have been carried over would have saved in later years."""
    carried = unused(*after, rates), unused(*before, rates)
    years = ceil(terms.horizon_years)
    return cents(Decimal(carried_saving(*carried, rates, float(rates.long), terms.discount_rate, years)))


def _said(one: Kept, cost: Plans, tax: Decimal, used_up: Decimal, error: float, terms: Terms, refusal: str) -> str:
    later = (
        ""
        if cost.later is None
        else f"waiting until {one.turns_long_on}, when its gain is long-term, costs {_usd(cost.later)}; "
    )
    end = "sold" if terms.is_taxed_at_the_end else "left to heirs"
    weighed = (
        f"held instead of {one.back_to_id} since {one.harvested_on}, at a {_signed(one.gain_usd, 'gain of', 'loss of')}: going back now "
        f"{_signed(cost.now, 'costs', 'saves')} (tax {_usd(tax)}, losses used up {_usd(used_up)}, the rest spread); {later}"
        f"keeping it costs {_usd(cost.keep)} (tracking error {error:.1%}, {_usd(cost.drift_a_year)} a year for "
        f"{terms.horizon_years:g} years, then {end})"
    )
    if refusal:
        return f"not to be done: {refusal}; {weighed}"
    if cost.benefit >= terms.min_benefit_usd:
        return f"{weighed}; that saves {_usd(cost.benefit)}"
    return f"kept: {weighed}; at least {_usd(terms.min_benefit_usd)} must be saved"


def _signed(amount: Decimal, above: str, below: str) -> str:
    """
    >>> _signed(Decimal(-5), "costs", "saves")
    'saves $5.00'
    """
    return f"{above if amount >= 0 else below} {_usd(abs(amount))}"


def _usd(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"
