"""How much may be borrowed, and what must be sold before a broker sells it.

The problem. A margin call comes after a fall, when selling costs most, and the broker picks what goes. At two dollars of stock
for a dollar of equity it comes after a fall of a third.

The choice. The account is looked at as it would be after a bad fall: longs down and shorts up by the policy's
drawdown. It must then still meet the maintenance margin, the rule's (sql/law/margin_requirement.csv) or the policy's where
that is stricter. If it would not, positions are cut now, longs and shorts in proportion, to the point where it just would;
gross and net exposure have limits of their own. Selling pays debt and leaves equity as it is, so what may stay is a division.
Of the shorts those go first that ask for most margin a dollar, so that cutting some of them does at least what cutting all a
little would; of the longs every dollar asks for the same.

Law      FINRA Rule 4210(b), (c); Regulation T, 12 CFR 220.12.
Omits    portfolio margin, options, concentrated or leveraged funds (brokers ask more for them), interest on the debt, the
         least equity of an account that borrows ($2,000, Rule 4210(b)(4)).
"""

from collections.abc import Sequence
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from transforms.law import LawMissing, Tables

CENT = Decimal("0.01")


class MarginRules(NamedTuple):
    """What a broker must ask for at least. Units: fractions of market value, USD a share."""

    initial_rate: Decimal
    long_rate: Decimal
    short_rate: Decimal
    short_share_usd: Decimal
    cheap_short_rate: Decimal
    cheap_short_share_usd: Decimal
    cheap_below_usd: Decimal


class Limits(NamedTuple):
    """The policy. Units: multiples of equity; fractions."""

    max_gross: Decimal
    max_net: Decimal
    maintenance_rate: Decimal
    stress_drawdown: Decimal


class Holding(NamedTuple):
    """A position of a margin account. Units: shares (negative: owed), USD a share."""

    security_id: str
    quantity: Decimal
    price_usd: Decimal

    @property
    def value_usd(self) -> Decimal:
        return self.quantity * self.price_usd


class Margin(NamedTuple):
    """How an account stands. Units: USD, positive; gross and net are multiples of equity, the others fractions.

    `fall_to_call`: the adverse move at which the requirement would not be met; `keep`: the part of every position that may
    stay; `binding`: the limit that says so, empty where all of it may.
    """

    long_usd: Decimal
    short_usd: Decimal
    equity_usd: Decimal
    gross: Decimal
    net: Decimal
    requirement_usd: Decimal
    fall_to_call: Decimal
    keep: Decimal
    binding: str
    cut_usd: Decimal


def margin_rules(law: Tables, on: date) -> MarginRules:
    """The rules in force on a day.

    Errors   LawMissing.

    >>> from warehouse.law import law_rows
    >>> margin_rules(law_rows(), date(2026, 1, 2)).long_rate
    Decimal('0.25')
    """
    rows = sorted(law.get("margin_requirement", ()), key=lambda row: row["effective_from"])
    said = {row["category"]: Decimal(row["value"]) for row in rows if date.fromisoformat(row["effective_from"]) <= on}
    names = [name.removesuffix("_usd") for name in MarginRules._fields]
    if missing := [name for name in names if name not in said]:
        raise LawMissing(f"sql/law/margin_requirement.csv has no {', '.join(missing)} in force on {on}: add it")
    return MarginRules(*(said[name] for name in names))


def max_leverage(rules: MarginRules, limits: Limits) -> Decimal:
    """The most long exposure to equity that may be bought and that stands the fall without a margin call.

    After a fall of d, exposure x is worth x (1 - d) and equity 1 - x d; a call is avoided while that is at least the
    maintenance rate m of the value: x <= 1 / (d + m (1 - d)).

    >>> from warehouse.law import law_rows
    >>> rules = margin_rules(law_rows(), date(2026, 1, 2))
    >>> max_leverage(rules, Limits(Decimal(3), Decimal(3), Decimal(0), Decimal("0.5")))
    Decimal('1.6')
    >>> max_leverage(rules, Limits(Decimal(3), Decimal(3), Decimal(0), Decimal("0.2")))  # 2.5, but for Regulation T
    Decimal('2')
    """
    kept = max(limits.maintenance_rate, rules.long_rate)
    stressed = 1 / (limits.stress_drawdown + kept * (1 - limits.stress_drawdown))
    return min(limits.max_gross, limits.max_net, 1 / rules.initial_rate, stressed)


def margin(holdings: Sequence[Holding], cash_usd: Decimal, rules: MarginRules, limits: Limits) -> Margin:
    """How an account stands against the limits, and how much of it must go.

    Units    `cash_usd` is negative where it is owed; `cut_usd` is rounded up to the cent.
    Errors   ValueError for a price that is none.

    $200,000 of stock on $100,000 of equity: the call comes after a third; to stand a fall by half, $40,000 must go.

    >>> from warehouse.law import law_rows
    >>> rules = margin_rules(law_rows(), date(2026, 1, 2))
    >>> held = [Holding("VTI", Decimal(1000), Decimal(200))]
    >>> found = margin(held, Decimal(-100000), rules, Limits(Decimal(2), Decimal(2), Decimal("0.25"), Decimal("0.5")))
    >>> found.fall_to_call, found.keep, found.cut_usd, found.binding
    (Decimal('0.3333'), Decimal('0.8'), Decimal('40000.00'), 'stress_drawdown')
    """
    if wrong := [one.security_id for one in holdings if not one.price_usd > 0]:
        raise ValueError(f"without a price nobody can tell the margin: {', '.join(wrong)}")
    long = sum((one.value_usd for one in holdings if one.quantity > 0), Decimal(0))
    short = -sum((one.value_usd for one in holdings if one.quantity < 0), Decimal(0))
    equity = long - short + cash_usd
    needed = _required(holdings, rules, limits, Decimal(0))
    whole = long + short
    if equity <= 0:
        gone = Decimal(0)
        binding = "equity" if whole else ""
        return Margin(long, short, equity, gone, gone, needed, gone, gone if whole else Decimal(1), binding, whole)
    drop = limits.stress_drawdown
    asked = {
        "max_gross": whole / limits.max_gross,
        "max_net": abs(long - short) / limits.max_net,
        "maintenance": needed,
        "stress_drawdown": drop * whole + _required(holdings, rules, limits, drop),
    }
    binding = max(asked, key=lambda name: asked[name])
    is_met = asked[binding] <= equity
    keep = Decimal(1) if is_met else equity / asked[binding]
    cut = (whole * (1 - keep)).quantize(CENT, ROUND_CEILING)
    fall = _fall_to_call(holdings, equity, rules, limits)
    return Margin(
        long, short, equity, whole / equity, (long - short) / equity, needed, fall, keep, "" if is_met else binding, cut
    )


def required_usd(one: Holding, rules: MarginRules, limits: Limits, move: Decimal) -> Decimal:
    """The maintenance margin of a position when longs have fallen and shorts risen by `move`.

    Law      FINRA Rule 4210(c)(1) to (3), or the policy's rate where it is higher.

    >>> from warehouse.law import law_rows
    >>> rules, none = margin_rules(law_rows(), date(2026, 1, 2)), Limits(Decimal(9), Decimal(9), Decimal(0), Decimal(0))
    >>> [required_usd(Holding("X", Decimal(-100), Decimal(price)), rules, none, Decimal(0)) for price in (2, 4, 6, 20)]
    [Decimal('250.00'), Decimal('400.00'), Decimal('500.00'), Decimal('600.00')]
    """
    price = one.price_usd * (1 - move if one.quantity > 0 else 1 + move)
    if one.quantity > 0:
        return one.quantity * price * max(rules.long_rate, limits.maintenance_rate)
    is_cheap = price < rules.cheap_below_usd
    rate = max(rules.cheap_short_rate if is_cheap else rules.short_rate, limits.maintenance_rate)
    return -one.quantity * max(price * rate, rules.cheap_short_share_usd if is_cheap else rules.short_share_usd)


def dearest_first(holdings: Sequence[Holding], rules: MarginRules, limits: Limits) -> list[Holding]:
    """The short positions, those first that ask for most margin a dollar after the policy's fall.

    >>> from warehouse.law import law_rows
    >>> rules = margin_rules(law_rows(), date(2026, 1, 2))
    >>> owed = [Holding(name, Decimal(-10), Decimal(price)) for name, price in (("DEAR", 100), ("CHEAP", 3), ("LOW", 1))]
    >>> [one.security_id for one in dearest_first(owed, rules, Limits(Decimal(2), Decimal(2), Decimal(0), Decimal("0.5")))]
    ['LOW', 'CHEAP', 'DEAR']
    """

    def asks(one: Holding) -> Decimal:
        return required_usd(one, rules, limits, limits.stress_drawdown) / -one.value_usd

    return sorted((one for one in holdings if one.quantity < 0), key=lambda one: (-asks(one), one.security_id))


def _required(holdings: Sequence[Holding], rules: MarginRules, limits: Limits, move: Decimal) -> Decimal:
    return sum((required_usd(one, rules, limits, move) for one in holdings), Decimal(0))


def _fall_to_call(holdings: Sequence[Holding], equity: Decimal, rules: MarginRules, limits: Limits) -> Decimal:
    """The adverse move, in steps of a hundredth of a percent, up to which no call comes; 1 where none does."""
    whole = sum((abs(one.value_usd) for one in holdings), Decimal(0))

    def is_met(step: int) -> bool:
        move = Decimal(step).scaleb(-4)
        return equity - move * whole >= _required(holdings, rules, limits, move)

    if not is_met(0):
        return Decimal(0)
    low, high = 0, 10_000
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if is_met(middle) else (low, middle - 1)
    return Decimal(low).scaleb(-4)
