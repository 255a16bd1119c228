"""What may hold an order back. Every gate is a pure function of a line, the evidence and what the batch adds up to.

The problem. An order is refused for reasons that know nothing of one another, and a person wants to see all of them. Some
are about the batch: a day's turnover, an account's cash. They depend on which other lines go, and a line that is refused
for its price must not eat the cash of one that is sound.

The choice. A gate answers None, or what it saw and what the limit is; the table GATES is the list, and all of it is asked
of every line. Whatever is refused is taken out with its pair, and what is left is looked at again by itself, until nothing
is refused: the lines that go out have passed every gate together, and nothing is counted that does not go. A refusal
of a gate in WAITS is not for good: the exchange opens, a person says yes, and the line is asked again.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal

from transforms.lots.check import beyond
from transforms.orders.evidence import (
    WAITS,
    ZERO,
    Account,
    Count,
    Evidence,
    Line,
    Policy,
    Refusal,
    Security,
    counted,
)
from transforms.orders.options import RANK, underlying

__all__ = (
    "GATES", "WAITS", "Account", "Evidence", "Line", "Policy", "Refusal", "Security", "held_back", "refusals",
)  # fmt: skip


# The line and the world -------------------------------------------------------------------------------


def kill_switch(line: Line, seen: Evidence, at: Count) -> str | None:
    return seen.stopped or None


def expired(line: Line, seen: Evidence, at: Count) -> str | None:
    if (account := seen.accounts.get(line.account_id)) is None:
        return None
    if line.session_on != account.session_on:
        return f"decided for {line.session_on}, the session is {account.session_on}"
    if line.expires_at is not None and account.now >= line.expires_at:
        return f"the batch expired at {line.expires_at:%Y-%m-%d %H:%M} UTC, it is {account.now:%Y-%m-%d %H:%M}"
    return None


def market_closed(line: Line, seen: Evidence, at: Count) -> str | None:
    account = seen.accounts.get(line.account_id)
    if account and not account.is_open and line.mode != "dry_run":
        return f"the exchange is closed at {account.now:%Y-%m-%d %H:%M} UTC; the line waits for {account.session_on}"
    return None


def not_approved(line: Line, seen: Evidence, at: Count) -> str | None:
    if line.mode == "approve" and line.batch_id not in seen.approved:
        return f"nobody has approved {line.batch_id} as it stands yet; the line waits for a yes"
    return None


def account(line: Line, seen: Evidence, at: Count) -> str | None:
    if (found := seen.accounts.get(line.account_id)) is None:
        return f"portfolio.toml has no account {line.account_id}: describe it under [[accounts]], or decide again"
    return found.blocked or None


def do_not_trade(line: Line, seen: Evidence, at: Count) -> str | None:
    listed = seen.policy.do_not_trade & {line.security_id, underlying(line.security_id)}
    return f"{min(listed)} is on the do-not-trade list" if listed else None


def source(line: Line, seen: Evidence, at: Count) -> str | None:
    found = seen.accounts.get(line.account_id)
    return (found.unsound or None) if found else None


def books_differ(line: Line, seen: Evidence, at: Count) -> str | None:
    found = seen.accounts.get(line.account_id)
    return (found.broken or None) if found else None


def price(line: Line, seen: Evidence, at: Count) -> str | None:
    if line.quantity <= 0 or line.price_usd <= 0:
        return f"{line.quantity:f} at ${line.price_usd:f}: a quantity and a price are above zero"
    known = seen.securities.get(line.security_id)
    if known is None or known.sessions_old > seen.policy.max_price_age:
        return f"no price of {line.security_id} in the last {seen.policy.max_price_age} sessions"
    if not abs(known.move) <= seen.policy.max_price_move:  # a move that is no number is not believed either
        return (
            f"{line.security_id} moved {known.move:+.0%} in one session, "
            f"more than {seen.policy.max_price_move:.0%} is not believed"
        )
    return None


def drawdown(line: Line, seen: Evidence, at: Count) -> str | None:
    """Sales go on, and a purchase that only takes the place of what its own pair sells."""
    fallen, limit = seen.drawdown, seen.policy.max_drawdown
    if line.side == "buy" and at.pair_usd > 0 and fallen is not None and fallen > limit:
        return f"the household is {fallen:.1%} below its high, beyond {limit:.0%} nothing is bought"
    return None


# Size -------------------------------------------------------------------------------------------------


def order_size(line: Line, seen: Evidence, at: Count) -> str | None:
    found, rate = seen.accounts.get(line.account_id), seen.policy.max_order_weight
    limit = (found.equity_usd if found else ZERO) * rate
    return _over(line.value_usd, limit, f"is more than {rate:.0%} of the account")


def position(line: Line, seen: Evidence, at: Count) -> str | None:
    """A sale of more than is held; an option's is judged by its strategy, and needs a level."""
    found = seen.accounts.get(line.account_id)
    if line.side == "buy" or at.strategy or not at.short or (found and found.may_short):
        return None
    return (
        f"{at.sold:f} shares of {line.security_id} would be sold, {at.short:f} more than the account holds: "
        "it may not sell short (gates.accounts may_short)"
    )


def concentration(line: Line, seen: Evidence, at: Count) -> str | None:
    rate = seen.policy.max_position_weight
    if line.side == "sell":
        return None
    return _over(
        at.position_usd, seen.equity_usd * rate, f"of {line.security_id} is more than {rate:.0%} of the household"
    )


def volume(line: Line, seen: Evidence, at: Count) -> str | None:
    """Where no source tells a volume there is nothing to measure against, and the other limits of size hold alone."""
    known, rate = seen.securities.get(line.security_id), seen.policy.max_volume_rate
    if known is None or known.daily_volume_usd is None:
        return None
    limit = known.daily_volume_usd * rate
    return _over(at.security_usd, limit, f"of {line.security_id} is more than {rate:.1%} of a day's volume")


def turnover(line: Line, seen: Evidence, at: Count) -> str | None:
    limit = seen.equity_usd * seen.policy.max_daily_turnover
    if at.traded_usd > limit:
        return f"the day's orders would reach ${at.traded_usd:,.0f}, the limit is ${limit:,.0f}"
    return None


def gains(line: Line, seen: Evidence, at: Count) -> str | None:
    if line.side == "buy":
        return None
    limits = seen.policy.max_daily_short_gain_usd, seen.policy.max_daily_long_gain_usd
    own = seen.washed.get(line.key)
    realises = (own.short_gain > 0, own.long_gain > 0) if own else (False, False)
    over = [
        f"the day's sales would realise ${gained:,.2f} of {term} gains, the limit is ${limit:,.2f}"
        for term, gained, limit, does in zip(("short-term", "long-term"), at.gained_usd, limits, realises, strict=True)
        if does and limit is not None and gained > limit
    ]
    return "; ".join(over) or None


# Money ------------------------------------------------------------------------------------------------


def cash(line: Line, seen: Evidence, at: Count) -> str | None:
    found = seen.accounts.get(line.account_id)
    if line.side == "sell" or at.cash_usd >= 0 or (found and found.is_margin):
        return None
    return f"the account would lack ${-at.cash_usd:,.2f} of cash, and may not borrow (gates.accounts is_margin)"


def buying_power(line: Line, seen: Evidence, at: Count) -> str | None:
    found = seen.accounts.get(line.account_id)
    if line.side == "sell" or found is None or found.buying_power_usd is None:
        return None
    return _over(at.bought_usd, found.buying_power_usd, "less what is sold is more than the broker's buying power")


def leverage(line: Line, seen: Evidence, at: Count) -> str | None:
    """Of what adds exposure: gross exposure to equity."""
    found = seen.accounts.get(line.account_id)
    is_less = line.side == "sell" and not at.short
    if found is None or is_less or at.exposure_usd <= found.equity_usd * found.max_leverage:
        return None
    ratio = f"{at.exposure_usd / found.equity_usd:.2f}" if found.equity_usd > 0 else "no equity at all"
    return (
        f"${at.exposure_usd:,.2f} of exposure on ${found.equity_usd:,.2f} of equity would be {ratio}, "
        f"the limit is {found.max_leverage:.2f} (gates.accounts max_leverage)"
    )


def unsettled(line: Line, seen: Evidence, at: Count) -> str | None:
    """Law      12 CFR 220.8(c)(1): shares of a cash account are paid for before they are sold, see settled.py."""
    found = seen.accounts.get(line.account_id)
    lots = found.unpaid.get(line.security_id, {}) if found else {}
    if line.side == "buy" or found is None or not lots:
        return None
    named = sorted({part.rpartition(":")[0] for part in line.lots.split(";")} & set(lots))
    paid = found.held.get(line.security_id, ZERO) - sum(lots.values(), ZERO)
    if not named and at.sold <= paid:
        return None
    what = (
        f"lot {', '.join(named)} of {line.security_id} was bought"
        if named
        else f"{at.sold:f} shares of {line.security_id} would be sold where {max(paid, ZERO):f} are paid for: the rest was bought"
    )
    return f"{what} with money that has not settled, a cash account sells it when it has"


def day_trade(line: Line, seen: Evidence, at: Count) -> str | None:
    """Law      FINRA Rule 4210(f)(8)(B) while the account's broker counts, see day_trades.py."""
    found = seen.accounts.get(line.account_id)
    rule = found.day_trade_rule if found else None
    if found is None or rule is None or not at.is_day_trade or at.day_trades < rule.day_trades:
        return None
    if found.equity_usd >= rule.equity_usd or at.day_trades <= rule.over_rate * at.trades:
        return None
    return (
        f"it would be day trade {at.day_trades} in {rule.sessions} sessions; {rule.day_trades} need "
        f"${rule.equity_usd:,.0f} of equity, the account has ${found.equity_usd:,.0f}"
    )


def options_level(line: Line, seen: Evidence, at: Count) -> str | None:
    needed = RANK.get(at.strategy, 0)
    found = seen.accounts.get(line.account_id)
    has = found.options_level if found else None
    if needed == 0 or (has is not None and has >= needed):
        return None
    says = "its broker says none" if has is None else f"it has level {has}"
    return f"{line.side} {line.security_id} is {at.strategy} and needs options level {needed}, {says}"


def wash_sale(line: Line, seen: Evidence, at: Count) -> str | None:
    """Of a sale its own loss, of a purchase every loss of the household that it washes, realised or in the batch."""
    if line.side == "sell" and "harvest" in line.method and (unseen := seen.unseen.get(line.security_id)):
        return unseen
    effect = seen.washed.get(line.key)
    whole = beyond(effect, seen.policy.wash) if effect else ""
    return whole or seen.washed_in_part.get(line.key)


def _over(amount: Decimal, limit: Decimal, what: str) -> str | None:
    return f"${amount:,.2f} {what} (${limit:,.2f})" if amount > limit else None


# The table --------------------------------------------------------------------------------------------

Gate = Callable[[Line, Evidence, Count], str | None]
GATES: tuple[Gate, ...] = (
    kill_switch, expired, market_closed, not_approved, account, do_not_trade, source, books_differ, price, drawdown,
    order_size, position, concentration, volume, turnover, gains,
    cash, buying_power, leverage, unsettled, day_trade, options_level, wash_sale,
)  # fmt: skip
OF_THE_BATCH = frozenset(  # what these say depends on which other lines go
    gate.__name__
    for gate in (
        position,
        concentration,
        volume,
        turnover,
        gains,
        cash,
        buying_power,
        leverage,
        unsettled,
        day_trade,
        options_level,
    )
)


def refusals(lines: Sequence[Line], seen: Evidence) -> list[Refusal]:
    """Every refusal of every gate, and of each line whose pair was refused.

    A pair (a harvest and its replacement, a move and its counterpart in another account) goes together or not at all: half of
    it would change the exposure.
    """
    at = counted(lines, seen)
    found = [
        Refusal(*line.key, gate.__name__, reason)
        for line in lines
        for gate in GATES
        if (reason := gate(line, seen, at[line.key]))
    ]
    return found + _partners(lines, found)


def held_back(lines: Sequence[Line], look: Callable[[Sequence[Line]], Evidence]) -> list[Refusal]:
    """Every refusal; those that depend on the batch are counted over the lines that go, and over no others.

    `look` gathers the evidence for some of the lines. The lines that no refusal names pass every gate together.

    Order    what no other line can change is refused first; of what adds up to too much one pair after another is taken, in the
             order of the lines, as long as all that are taken pass together.
    """
    found: list[Refusal] = []
    left = list(lines)
    while left:
        seen = look(left)
        now = [row for row in refusals(left, seen) if row.gate != "pair"]
        if not now:
            break
        # What is refused by itself says so alone: what was counted with it was counted over lines that do not go.
        stopped = [row for row in now if row.gate not in OF_THE_BATCH] or _too_much(left, seen)
        stopped += _partners(left, stopped)
        found += stopped
        out = {row.key for row in stopped}
        left = [line for line in left if line.key not in out]
    return found


def _too_much(lines: Sequence[Line], seen: Evidence) -> list[Refusal]:
    """The refusals of the pairs for which those before them leave no room."""
    waiting = list(dict.fromkeys(line.together for line in lines))
    taken: set[tuple[date, str, int]] = set()
    while True:  # a sale that was taken may make room for what came before it
        found: dict[tuple[date, str, int], list[Refusal]] = {}
        for pair in waiting:
            some = [line for line in lines if line.together == pair or line.together in taken]
            rows = [row for row in refusals(some, seen) if row.gate in OF_THE_BATCH]
            if not rows:
                taken.add(pair)
                continue
            own = {line.key for line in some if line.together == pair}
            # where only others would pass a limit for it, it is the one that does not fit
            found[pair] = [row for row in rows if row.key in own] or [Refusal(*min(own), *rows[0][2:])]
        if len(found) in (0, len(waiting)):
            return [row for rows in found.values() for row in rows]
        waiting = list(found)


def _partners(lines: Sequence[Line], found: Sequence[Refusal]) -> list[Refusal]:
    """The lines that fall with the other half of their pair, or wait with it."""
    waiting = {row.key: row.gate for row in found if row.waits}
    final = {row.key for row in found if not row.waits}
    pairs: dict[tuple[date, str, int], list[Line]] = defaultdict(list)
    for line in lines:
        pairs[line.together].append(line)
    rows = []
    for line in lines:
        if line.key in final:
            continue
        others = pairs[line.together]
        other = next((x for x in others if x.key in final), None)
        if other is None and line.key not in waiting:
            other = next((x for x in others if x.key in waiting), None)
        if other:
            gate = "pair" if other.key in final else waiting[other.key]
            where = "" if other.account_id == line.account_id else f" in {other.account_id}"
            rows.append(Refusal(*line.key, gate, f"its pair, {other.side} {other.security_id}{where}, is held back"))
    return rows
