"""Listed options in orders: what a symbol says, and which level of approval an order needs at its broker.

A broker admits an account to strategies, not to contracts: the same sale of a call is covered beside the shares, a spread
beside a longer call, and naked beside nothing. So the level follows from what the account holds and from what the lines
before it have used up. Levels are those that Alpaca and Interactive Brokers number alike, 0 to 4.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from transforms.model import Option

_OCC = re.compile(r"(?P<root>[A-Z][A-Z0-9.]{0,5}) *(?P<on>\d{6})(?P<right>[CP])(?P<strike>\d{8})", re.ASCII)
PER = 100  # shares a contract
RANK = {"close": 0, "covered": 1, "long": 2, "spread": 3, "naked": 4}  # strategy -> level


class Contract(NamedTuple):
    """A listed option and its last day."""

    option: Option
    expires_on: date


@lru_cache(4096)  # asked many times for every line
def contract(security_id: str) -> Contract | None:
    """What an option's symbol says; None where it is no option's.

    Units    strike_usd a share.
    Omits    contracts adjusted for what a company did, which deliver other than 100 shares.

    >>> found = contract("HD240119C00350000")
    >>> found.option.underlying_id, found.option.right, found.option.strike_usd, str(found.expires_on)
    ('HD', 'call', Decimal('350.000'), '2024-01-19')
    >>> contract("HD")
    """
    if not (said := _OCC.fullmatch(security_id)):
        return None
    try:
        expires_on = datetime.strptime(said["on"], "%y%m%d").date()
    except ValueError:  # a ticker that happens to look like one, with no such day
        return None
    right = "call" if said["right"] == "C" else "put"
    return Contract(Option(said["root"], right, Decimal(said["strike"]).scaleb(-3), PER), expires_on)


def underlying(security_id: str) -> str:
    """
    >>> underlying("HD240119C00350000"), underlying("HD")
    ('HD', 'HD')
    """
    found = contract(security_id)
    return found.option.underlying_id if found else security_id


def strategy(
    side: str,
    security_id: str,
    quantity: Decimal,
    held: Mapping[str, Decimal],
    before: Sequence[tuple[str, str, Decimal]],
    cash_usd: Decimal,
) -> str:
    """What an order for an option is, beside what its account holds: a key of RANK; empty for a share.

    `before` are the account's earlier orders of the batch: side, security, quantity.

    Units    contracts and shares; USD.
    Omits    spreads that are one order of several legs; margin of spreads; cash that earlier lines of the batch spend.

    A hundred shares cover one call, and not a second one.

    >>> call, held = "HD240119C00350000", {"HD": Decimal(100)}
    >>> strategy("sell", call, Decimal(1), held, [], Decimal(0))
    'covered'
    >>> strategy("sell", call, Decimal(1), held, [("sell", call, Decimal(1))], Decimal(0))
    'naked'
    """
    if (asked := contract(security_id)) is None:
        return ""
    now = dict(held)
    for done, what, how_many in before:
        now[what] = now.get(what, Decimal(0)) + (how_many if done == "buy" else -how_many)
    have, option = now.get(security_id, Decimal(0)), asked.option
    if side == "buy":
        return "close" if quantity <= -have else "long"
    written = quantity - max(have, Decimal(0))
    if written <= 0:
        return "close"
    alike = [
        (other, count)
        for name, count in now.items()
        if (other := contract(name)) is not None
        and (other.option.underlying_id, other.option.right) == (option.underlying_id, option.right)
        and name != security_id
    ]
    owed = [(other, -count) for other, count in alike if count < 0]
    owed += [(asked, -have)] if have < 0 else []
    if option.right == "call":
        covers = now.get(option.underlying_id, Decimal(0)) >= PER * (written + sum((n for _, n in owed), Decimal(0)))
    else:
        promised = sum((other.option.strike_usd * PER * n for other, n in owed), Decimal(0))
        covers = cash_usd >= option.strike_usd * PER * written + promised
    if covers:
        return "covered"
    longer = sum((count for other, count in alike if count > 0 and other.expires_on >= asked.expires_on), Decimal(0))
    return "spread" if longer >= written + sum((n for _, n in owed), Decimal(0)) else "naked"
