"""What asset location found, as rows that a person can ask for: where things stand, what moves, what classes cost."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import NamedTuple

from transforms.exact import half_up, usd
from transforms.harvest.candidates import cents
from transforms.portfolio.foreign_tax import break_even
from transforms.portfolio.location import Cell, Infeasible, Retirement, cost, place
from transforms.portfolio.moves import House, Planned
from transforms.portfolio.tax_cost import ASSUMED, Taxes, Yields

AT_HOME = "US stocks"  # what a class with foreign dividends is compared with


class Scene(NamedTuple):
    """The household as it stands, and what each class costs; `classes` are those whose yields are known."""

    house: House
    classes: Mapping[str, Yields]
    holdable: Collection[Cell]  # classes that an account can hold, whatever is locked today
    by: Taxes
    later: Retirement


def unknown(*names: str) -> str:
    """What would help where the yields of a class are missing."""
    return f"yields of {', '.join(names)} are not known: say them in [location.classes], or what they are like in [location.like]"


def location_rows(scene: Scene, planned: Planned, targets: Mapping[str, float]) -> list[tuple]:
    """Rows of core.location."""
    house = scene.house
    now, value = defaultdict[Cell, int](int), defaultdict[Cell, Decimal](Decimal)
    for one, block in zip(house.holdings, house.blocks(), strict=True):
        now[block[:2]] += block.cents
        value[block[:2]] += one.value_usd
    ideal, why_not = _ideal(scene, {cell: amount for cell, amount in now.items() if cell in house.costs}, targets)
    bought = {name for _, name in house.buys}
    no_buy = {
        name: f"nothing of {name} can be bought: what [location.buy] or the household has of it has no fresh price, "
        "is not to be traded, or no account can hold it"
        for name in scene.classes
        if name not in bought
    }
    after = defaultdict[Cell, int](int, now)
    for move in planned.moves:
        for leg in move.legs:
            after[leg.account_id, leg.sold_class] -= move.cents
            after[leg.account_id, leg.bought_class] += move.cents
    return [
        (
            *cell, value[cell], usd(now.get(cell, 0)), None if why_not or cell not in house.costs else usd(ideal.get(cell, 0)),
            usd(after[cell]), float(house.costs[cell]) if cell in house.costs else None,
            "; ".join(filter(None, (planned.held_back.get(cell) or no_buy.get(cell[1], ""), why_not))),
        )
        for cell in sorted({*now, *ideal, *after})
    ]  # fmt: skip


def _ideal(scene: Scene, now: Mapping[Cell, int], targets: Mapping[str, float]) -> tuple[dict[Cell, int], str]:
    """Where the targets, or without targets what is held, would cost least a year; and why there is no such place."""
    capacity, wanted = defaultdict[str, int](int), defaultdict[str, int](int)
    for (account, name), amount in now.items():
        capacity[account] += amount
        wanted[name] += amount
    named = {name: Decimal(str(weight)) for name, weight in sorted(targets.items()) if name != "Cash" and weight}
    total, whole, before = sum(capacity.values()), sum(named.values(), Decimal(0)), Decimal(0)
    if missing := [name for name in named if name not in scene.classes]:
        return {}, unknown(*missing)
    if named:
        wanted.clear()
        for name, weight in named.items():
            wanted[name] = _part(total, before + weight, whole) - _part(total, before, whole)
            before += weight
    can = {*scene.holdable, *now}
    try:
        return place(capacity, wanted, {cell: rate for cell, rate in scene.house.costs.items() if cell in can}), ""
    except Infeasible as why:
        return {}, str(why)


def _part(total: int, before: Decimal, whole: Decimal) -> int:
    """`total` x before / whole in whole cents, so that the parts add up."""
    (n, n_of), (d, d_of) = before.as_integer_ratio(), whole.as_integer_ratio()
    return half_up(total * n * d_of, n_of * d)


def move_rows(planned: Planned) -> list[tuple]:
    """Rows of core.location_moves: those that are made, then those that are left, each by what it saves."""
    rows = []
    every = [(one, True) for one in planned.made] + [(one, False) for one in planned.left]
    for number, (one, is_proposed) in enumerate(every, 1):
        for leg in one.move.legs:
            trades = [
                f"{d.side} {d.quantity.normalize():f} {d.security_id}"
                for d, _ in one.drafts
                if d.account_id == leg.account_id
            ]
            rows.append(
                (
                    number, *leg[:3], ", ".join(trades), usd(one.move.cents), cents(one.move.saving_usd), cents(one.tax_usd),
                    cents(one.trading_usd), float(one.years), is_proposed, one.reason,
                )
            )  # fmt: skip
    return rows


def cost_rows(scene: Scene) -> list[tuple]:
    """Rows of core.class_costs: every class by kind of account, and the break-even of those with foreign dividends."""
    home = scene.classes.get(AT_HOME, ASSUMED[AT_HOME])
    rows = []
    for name, of in scene.classes.items():
        taxable, traditional, roth = (
            cost(of, kind, scene.by, scene.later) for kind in ("taxable", "traditional", "roth")
        )
        found = break_even(of, home, scene.by) if of.withheld_rate else None
        rows.append(
            (
                name, float(taxable), float(traditional), float(roth), float(of.withheld_rate),
                float(found.withholding_rate) if found else None, float(found.break_even_rate) if found else None,
                found.is_international if found else None,
            )
        )  # fmt: skip
    return rows
