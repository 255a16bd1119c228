"""Where cash goes, and where it comes from.

The problem. Deposits, dividends and interest bring a household nearer to its targets for nothing: a purchase realises no
gain. Yet money cannot move between accounts, and what is bought with it is a few whole trades, not a sliver of everything.

The choice. Money goes to what is furthest below its target until that is level with the next, and so on: of all ways to
spend an amount it is the one that leaves the smallest sum of squared distances. Where a part would be too small for an
order, the class that is least short goes without, until every part is worth one. A withdrawal takes the same way down: from
what is furthest above its target. All of it is reckoned in whole cents.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from transforms.exact import apportioned

ZERO = Decimal(0)


class Withdrawal(NamedTuple):
    """Money that is to leave an account on a day. Units: USD."""

    account_id: str
    on: date
    amount_usd: Decimal


def levelled(
    gaps: Mapping[str, Decimal], amount: Decimal, most: Mapping[str, Decimal] | None = None
) -> dict[str, Decimal]:
    """An amount spread over gaps so that the largest gap left is as small as it can be; never more than a gap, or `most` of it.

    Order    what no level decides, a cent at a time, by name.
    Units    USD, to the cent.

    >>> gaps = {"Bonds": Decimal(100), "Energy": Decimal(60), "Utilities": Decimal(10)}
    >>> {name: str(usd) for name, usd in levelled(gaps, Decimal(60)).items()}
    {'Bonds': '50.00', 'Energy': '10.00'}
    >>> {name: str(usd) for name, usd in levelled(gaps, Decimal(60), {"Bonds": Decimal(20)}).items()}
    {'Bonds': '20.00', 'Energy': '40.00'}
    """
    size = {name: _cents(gap) for name, gap in sorted(gaps.items()) if gap > 0}
    cap = {name: max(0, min(gap, _cents((most or {}).get(name, gaps[name])))) for name, gap in size.items()}
    wanted = min(_cents(amount), sum(cap.values()))
    if wanted <= 0:
        return {}

    def above(level: int) -> dict[str, int]:
        return {name: max(0, min(cap[name], gap - level)) for name, gap in size.items()}

    low, high = 0, max(size.values())  # the lowest level that takes no more than is there
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if sum(above(middle).values()) <= wanted else (middle + 1, high)
    parts = above(low)
    left = wanted - sum(parts.values())
    for name in parts:
        if left and parts[name] < cap[name] and size[name] - parts[name] >= low:
            parts[name] += 1
            left -= 1
    return {name: Decimal(cents).scaleb(-2) for name, cents in parts.items() if cents}


def in_trades(
    gaps: Mapping[str, Decimal], amount: Decimal, most: Mapping[str, Decimal], least: Mapping[str, Decimal]
) -> dict[str, Decimal]:
    """An amount spread in the same way over as few gaps as each needs `least` of it; where no gap can take that much, none.

    >>> gaps = {"Bonds": Decimal(900), "Energy": Decimal(800), "Utilities": Decimal(800)}
    >>> spread = in_trades(gaps, Decimal(600), gaps, dict.fromkeys(gaps, Decimal(250)))
    >>> {name: str(usd) for name, usd in spread.items()}
    {'Bonds': '350.00', 'Energy': '250.00'}
    """
    able = {name: gap for name, gap in gaps.items() if min(gap, most[name]) >= least[name]}
    while True:
        parts = levelled(able, amount, most)
        small = [name for name, usd in parts.items() if usd < least[name]]
        if not small:
            return parts
        able.pop(min(sorted(small, reverse=True), key=lambda name: able[name]))


def unmade(planned: Iterable[Withdrawal], made: Iterable[Withdrawal], lead_days: int) -> list[Withdrawal]:
    """The planned withdrawals less what was withdrawn for them already, so that their money is raised once.

    Window   what left an account up to `lead_days` before or after the planned day.
    Order    by day; what was withdrawn counts once, for the earliest that it can be for.

    >>> planned = [Withdrawal("ira", date(2026, 3, 20), Decimal(500))]
    >>> [str(one.amount_usd) for one in unmade(planned, [Withdrawal("ira", date(2026, 3, 16), Decimal(450))], 7)]
    ['50']
    """
    done = sorted(made, key=lambda one: one.on)
    found = []
    for one in sorted(planned, key=lambda one: one.on):
        still = one.amount_usd
        for i, it in enumerate(done):
            if it.account_id == one.account_id and abs((it.on - one.on).days) <= lead_days:
                part = min(still, it.amount_usd)
                still, done[i] = still - part, it._replace(amount_usd=it.amount_usd - part)
        if still > 0:
            found.append(one._replace(amount_usd=still))
    return found


def due(withdrawals: Iterable[Withdrawal], on: date, until: date) -> dict[str, Decimal]:
    """What leaves every account from one day to another, both included. Units: USD.

    Omits    a withdrawal whose day has passed and that nobody made: it is raised no more.

    >>> planned = [Withdrawal("ira", date(2026, 3, 12), Decimal(500)), Withdrawal("ira", date(2026, 4, 12), Decimal(500))]
    >>> due(planned, date(2026, 3, 9), date(2026, 3, 16))
    {'ira': Decimal('500')}
    """
    found: dict[str, Decimal] = {}
    for one in withdrawals:
        if on <= one.on <= until:
            found[one.account_id] = found.get(one.account_id, ZERO) + one.amount_usd
    return found


def missing(cash_usd: Mapping[str, Decimal], due_usd: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """What every account lacks for what leaves it; an overdrawn account lacks that too.

    >>> missing({"ira": Decimal(200), "joint": Decimal(-30)}, {"ira": Decimal(500)})
    {'ira': Decimal('300'), 'joint': Decimal('30')}
    """
    lacks = {name: due_usd.get(name, ZERO) - cash_usd.get(name, ZERO) for name in sorted({*cash_usd, *due_usd})}
    return {name: lack for name, lack in lacks.items() if lack > 0}


def spare(
    cash_usd: Mapping[str, Decimal],
    due_usd: Mapping[str, Decimal],
    keep_usd: Decimal,
    target_usd: Decimal,
    elsewhere_usd: Decimal = ZERO,
) -> dict[str, Decimal]:
    """Cash to invest in every account, where it lies: above what is kept in each, leaves it soon, and is a target in all.

    Units    USD, to the cent. What the household wants in cash beyond what its accounts keep, and has `elsewhere`, stays in
             all of them in proportion; what leaves soon is no part of it.

    >>> cash = {"ira": Decimal(900), "joint": Decimal(350)}
    >>> {name: str(usd) for name, usd in spare(cash, {"joint": Decimal(50)}, Decimal(0), Decimal(650)).items()}
    {'ira': '412.50', 'joint': '137.50'}
    """
    stays = {name: usd - due_usd.get(name, ZERO) for name, usd in sorted(cash_usd.items())}
    free = {name: cents for name, usd in stays.items() if (cents := _cents(usd - keep_usd)) > 0}
    whole = sum(free.values())
    kept = sum((max(ZERO, usd) for usd in stays.values()), ZERO) - Decimal(whole).scaleb(-2) + elsewhere_usd
    left, before = max(0, whole - max(0, _cents(target_usd - kept))), 0
    found = {}
    for name, cents in free.items():
        part = apportioned(left, before, before + cents, whole)
        before += cents
        if part:
            found[name] = Decimal(part).scaleb(-2)
    return found


def _cents(amount: Decimal) -> int:
    """Whole cents, rounded towards zero."""
    return int(amount * 100)
