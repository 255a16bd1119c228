"""Which asset class stands in which account, and which moves towards that are worth their tax.

The problem. Bonds and REITs cost most in a taxable account, growth gains most in a Roth, and accounts are full. A dollar
in a traditional account is not a dollar: a part of it is the tax to come. And what stands badly cannot simply be moved:
selling it may cost tax now, for a saving that comes in small pieces.

The choice. Two linear programs in dollars after tax, both networks: each amount leaves or enters one account and one
class, so that they are solved in whole cents (network.py).

- `place` starts from nothing: classes into accounts at the least cost a year.
- `relocate` starts from what is held. What is sold costs its tax and its trading, spread over the years in which a move
  has to pay for itself; so at its optimum every move does, and what does not pay stays where it is. Totals of accounts
  and of classes stay as they are: location does not change what the household holds, only where.

The cost of a class in an account is the tax cost a year (taxable; with the tax on growth that is sold in the end), or what
a traditional account takes of the return beyond the rate at which its dollars were counted; a Roth costs nothing. So a
Roth gets what is expected to grow most. Tax withheld abroad is lost in every account and is left out. Ties go by name.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from transforms.portfolio.network import Rows, solved
from transforms.portfolio.tax_cost import ZERO, Taxes, Yields, deferred_cost, tax_cost

Kind = Literal["taxable", "traditional", "roth"]
Cell = tuple[str, str]  # account_id, asset_class
TIE = 1e-10  # of a dollar a year, for each place in the names' order
LEAST = Decimal("0.000001")  # a year, of every dollar sold or bought: where trading is free, a tie moves nothing


class Infeasible(ValueError):
    """No location keeps every constraint; the message says which one stands in the way."""


class Retirement(NamedTuple):
    """What is expected of later taxes. Units: fractions; years."""

    rate: Decimal  # on what traditional accounts hold today, when it is taken out
    growth_rate: Decimal  # on what they grow by: it comes on top, perhaps in a higher bracket
    horizon_years: int  # until gains in taxable accounts are realised; 0: never


class Block(NamedTuple):
    """What may be sold together: a lot, or a holding whose broker chooses. Units: cents after tax; tax a dollar of it."""

    account_id: str
    asset_class: str
    security_id: str
    lot_id: str  # empty: as the broker relieves
    cents: int
    tax_rate: Decimal = ZERO


class Leg(NamedTuple):
    """One account's part of a move: blocks (by place) and cents after tax, and the class bought with them."""

    account_id: str
    sold_class: str
    bought_class: str
    sold: tuple[tuple[int, int], ...]


class Move(NamedTuple):
    """Accounts that hand classes on in a circle, mostly two that swap. Units: cents after tax in every leg; USD a year."""

    cents: int
    saving_usd: Decimal
    legs: tuple[Leg, ...]


def cost(yields: Yields, kind: Kind, by: Taxes, later: Retirement) -> Decimal:
    """What a class costs a year on a dollar after tax in a kind of account.

    Law      as in `tax_cost`; 26 USC 408(d)(1), 408A(d)(1): what is taken out of a traditional account is income, out of a
             Roth (qualified) it is not.
    Units    fraction of value a year; tax withheld abroad, paid anywhere, is left out.
    Omits    required distributions (26 USC 401(a)(9)) but through `growth_rate`; a step-up but through zero years.

    A dollar after tax in a traditional account is 1 / (1 - rate) dollars; at 22 % counted and 24 % paid on its growth, 7 %
    of return lose 7 % x 0.02 / 0.78.

    >>> later, stock = Retirement(Decimal("0.22"), Decimal("0.24"), 0), Yields(growth_rate=Decimal("0.07"))
    >>> [f"{cost(stock, kind, Taxes(ZERO, ZERO), later):.4%}" for kind in ("taxable", "traditional", "roth")]
    ['0.0000%', '0.1795%', '0.0000%']
    """
    if kind == "roth":
        return ZERO
    if kind == "traditional":
        return max(ZERO, yields.return_rate) * (later.growth_rate - later.rate) / (1 - later.rate)
    on_gains = by.long_rate + by.investment_rate + by.state_rate
    return tax_cost(yields, by) + deferred_cost(yields.growth_rate, on_gains, later.horizon_years)


def place(capacity: Mapping[str, int], wanted: Mapping[str, int], costs: Mapping[Cell, Decimal]) -> dict[Cell, int]:
    """Classes into accounts at the least cost a year; `costs` has the classes that each account can hold.

    Units    cents after tax, in and out; costs are fractions a year.
    Rows     none for an account that holds nothing of a class.
    Errors   Infeasible where totals differ, or where the accounts that can hold a class are too small.

    >>> costs = {("ira", "Bonds"): ZERO, ("ira", "Stocks"): ZERO}
    >>> costs |= {("joint", "Bonds"): Decimal("0.0131"), ("joint", "Stocks"): Decimal("0.0027")}
    >>> place({"joint": 60_00, "ira": 40_00}, {"Bonds": 50_00, "Stocks": 50_00}, costs)
    {('ira', 'Bonds'): 4000, ('joint', 'Bonds'): 1000, ('joint', 'Stocks'): 5000}
    """
    room, need = sum(capacity.values()), sum(wanted.values())
    if room != need:
        raise Infeasible(f"the accounts hold {_dollars(room)} after tax, and the classes add up to {_dollars(need)}")
    cells = sorted(cell for cell in costs if cell[0] in capacity and cell[1] in wanted)
    weights = [float(costs[cell]) + trace for cell, trace in zip(cells, _trace(cells), strict=True)]
    found = solved(weights, [room] * len(cells), _margins(capacity, wanted, cells))
    if found is None:
        raise Infeasible(_too_small(capacity, wanted, cells))
    return {cell: cents for cell, cents in zip(cells, found, strict=True) if cents}


def relocate(
    blocks: Sequence[Block],
    costs: Mapping[Cell, Decimal],
    buyable: Collection[Cell],
    max_years: Decimal,
    trade_rate: Decimal,
    most: Mapping[str, int] | None = None,
) -> list[Move]:
    """The moves that pay for their tax and trading within so many years, those first that save most.

    Units    cents after tax; `trade_rate` of every dollar sold or bought; `most` cents of one security that an account may
             sell in a day, and of one class that it may buy.
    Rows     none where everything stands well enough.

    >>> blocks = [Block("joint", "Bonds", "BND", "L1", 100_00), Block("ira", "Stocks", "VTI", "", 60_00)]
    >>> costs = {("ira", "Bonds"): ZERO, ("ira", "Stocks"): ZERO}
    >>> costs |= {("joint", "Bonds"): Decimal("0.0131"), ("joint", "Stocks"): Decimal("0.0027")}
    >>> [move] = relocate(blocks, costs, costs, Decimal(3), ZERO)
    >>> move.cents, move.saving_usd, [leg[:3] for leg in move.legs]
    (6000, Decimal('0.6240'), [('ira', 'Stocks', 'Bonds'), ('joint', 'Bonds', 'Stocks')])
    >>> relocate([blocks[0]._replace(tax_rate=Decimal("0.04")), blocks[1]], costs, costs, Decimal(3), ZERO)
    []
    """
    cells = sorted(cell for cell in buyable if cell in costs)
    every = [block[:2] for block in blocks] + cells
    once, total, limits = max(LEAST, trade_rate / max_years), sum(block.cents for block in blocks), most or {}
    weights = [float(-costs[b[:2]] + b.tax_rate / max_years + once) + TIE * at for at, b in enumerate(blocks, 1)]
    weights += [float(costs[cell] + once) + trace for cell, trace in zip(cells, _trace(cells), strict=True)]
    within = {(b.account_id, b.security_id): limits[b.account_id] for b in blocks if b.account_id in limits}
    equal = _margins(
        dict.fromkeys((a for a, _ in every), 0), dict.fromkeys((c for _, c in every), 0), every, len(blocks)
    )
    below = Rows(within.items())
    for at, block in enumerate(blocks):
        if block.account_id in limits:
            below.add((block.account_id, block.security_id), at)
    upper = [block.cents for block in blocks] + [limits.get(account, total) for account, _ in cells]
    found = solved(weights, upper, equal, below if within else None)
    assert found is not None  # to move nothing keeps every row
    return _moves(blocks, costs, found[: len(blocks)], dict(zip(cells, found[len(blocks) :], strict=True)))


def yearly_cost(located: Mapping[Cell, int], costs: Mapping[Cell, Decimal]) -> Decimal:
    """What a location costs a year. Units: cents after tax in, USD out."""
    return sum((cents * costs[cell] for cell, cents in located.items()), ZERO) / 100


def _moves(
    blocks: Sequence[Block], costs: Mapping[Cell, Decimal], sold: Iterable[int], bought: Mapping[Cell, int]
) -> list[Move]:
    """What is sold and bought in circles: of each class that one account sells another buys, until the first is reached."""
    selling: dict[str, dict[int, int]] = defaultdict(dict)
    for at, cents in enumerate(sold):
        if cents:
            selling[blocks[at].account_id][at] = cents
    buying: dict[str, dict[str, int]] = defaultdict(dict)
    for (account, asset_class), cents in sorted(bought.items()):
        if cents:
            buying[asset_class][account] = cents
    circles: dict[tuple[Cell, ...], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    while accounts := [account for account in sorted(selling) if selling[account]]:
        path, account = list[int](), accounts[0]
        order: list[str] = []
        while account not in order:
            order.append(account)
            path.append(min(selling[account], key=lambda at: blocks[at][1:4]))
            account = next(iter(buying[blocks[path[-1]].asset_class]))
        first = order.index(account)
        path, order = path[first:], order[first:]
        to = [*order[1:], account]
        amount = min(
            *(selling[blocks[at].account_id][at] for at in path),
            *(buying[blocks[at].asset_class][buyer] for at, buyer in zip(path, to, strict=True)),
        )
        start = order.index(min(order))
        circle = tuple(blocks[at][:2] for at in (*path[start:], *path[:start]))
        for at, buyer in zip(path, to, strict=True):
            circles[circle][at] += amount
            _less(selling[blocks[at].account_id], at, amount)
            _less(buying[blocks[at].asset_class], buyer, amount)
    made = [_move(blocks, costs, circle, parts) for circle, parts in circles.items() if len(circle) > 1]
    return sorted(made, key=lambda move: (-move.saving_usd, move.legs))


def _move(
    blocks: Sequence[Block], costs: Mapping[Cell, Decimal], circle: tuple[Cell, ...], parts: Mapping[int, int]
) -> Move:
    legs = []
    for place_in, (account, asset_class) in enumerate(circle):
        taken = tuple((at, cents) for at, cents in sorted(parts.items()) if blocks[at][:2] == (account, asset_class))
        legs.append(Leg(account, asset_class, circle[place_in - 1][1], taken))
    cents = sum(cents for _, cents in legs[0].sold)
    a_year = sum(
        (costs[leg.account_id, leg.sold_class] - costs[leg.account_id, leg.bought_class] for leg in legs), ZERO
    )
    return Move(cents, cents * a_year / 100, tuple(legs))


def _less(amounts: dict, key: object, amount: int) -> None:
    amounts[key] -= amount
    if not amounts[key]:
        del amounts[key]


def _margins(accounts: Mapping[str, int], classes: Mapping[str, int], cells: Sequence[Cell], sold: int = 0) -> Rows:
    """A row an account and a row a class; the first `sold` cells leave them."""
    rows = Rows(
        [*((("account", a), to) for a, to in accounts.items()), *((("class", c), to) for c, to in classes.items())]
    )
    for at, (account, asset_class) in enumerate(cells):
        sign = -1 if at < sold else 1
        rows.add(("account", account), at, sign)
        rows.add(("class", asset_class), at, sign)
    return rows


def _too_small(capacity: Mapping[str, int], wanted: Mapping[str, int], cells: Sequence[Cell]) -> str:
    """Which classes find no room, and where room is left that they cannot use: the most that can be placed is placed."""
    most = [min(capacity[account], wanted[asset_class]) for account, asset_class in cells]
    found = solved([-1.0] * len(cells), most, below=_margins(capacity, wanted, cells)) or []
    left, missing = dict(capacity), dict(wanted)
    for (account, asset_class), cents in zip(cells, found, strict=True):
        left[account] -= cents
        missing[asset_class] -= cents
    said = []
    for name, cents in missing.items():
        if cents:
            holders = [account for account, asset_class in cells if asset_class == name]
            full = f"{', '.join(holders)} alone can hold it" if holders else "no account can hold it"
            said.append(f"{_dollars(cents)} of {name} has no room: {full}")
    room = ", ".join(f"{account} ({_dollars(cents)})" for account, cents in left.items() if cents)
    return f"{'; '.join(said)}; room is left in {room}"


def _trace(cells: Sequence[Cell]) -> list[float]:
    """A trace of the names' order, which decides what costs the same: a first account rather gets a first class."""
    account = {name: rank for rank, name in enumerate(sorted({cell[0] for cell in cells}), 1)}
    asset_class = {name: rank for rank, name in enumerate(sorted({cell[1] for cell in cells}), 1)}
    return [-TIE * account[a] * asset_class[c] for a, c in cells]


def _dollars(cents: int) -> str:
    return f"${cents / 100:,.2f}"
