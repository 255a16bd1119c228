"""From a location program to moves: what the pre-trade check finds becomes a constraint, and the program is solved again.

The problem. A move sells in one account what another buys. Sold at a loss in a taxable account and bought in an IRA, the
loss would be gone for good; and what is a gain at today's price may be a loss when it is filled. A purchase of last week,
or one to come, may wash it as well; and where a broker sells its oldest lots first, the tax of a part of a holding is not
known before its lots are.

The choice. No second rule is written here. The trades of all moves go through the pre-trade check together. Where it
finds more washed than the limits let pass, another security of the class is bought instead; where there is none, the
lots at a loss are not sold. Where the exact tax takes too long to come back, the taxed lots are not sold. Then the
program is solved again. Every round takes something away, so it ends; what is held back keeps its reason. At the end it is
asked once more what it would move if no year were too far off: what it then still wants to move is left where it is, and
is shown with the years in which it would be back.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from transforms.lots.check import Effect, Limits, beyond
from transforms.model import Trade
from transforms.orders.arbiter import Proposed
from transforms.portfolio.location import Block, Cell, Move, relocate
from transforms.portfolio.move_trades import Draft, Holding, Priced, Terms, block, drafts, priced, proposed, trade

NO_LIMIT = Decimal(10) ** 6  # years


class House(NamedTuple):
    """What the moves of a day have to do with."""

    terms: Terms
    holdings: Sequence[Holding]
    costs: Mapping[Cell, Decimal]
    buys: Mapping[Cell, Sequence[str]]  # what an account may buy of a class, the first first
    fixed: Mapping[int, str]  # holdings that stay where they are, and why
    effects: Callable[[Iterable[Trade]], Mapping[str, Effect]]  # the pre-trade check,
    in_part: Callable[[Iterable[Trade], Limits], Mapping[str, str]]  # and where only a part is filled
    limits: Limits

    def blocks(self) -> list[Block]:
        return [block(one, self.terms.places[one.account_id], self.terms.rates) for one in self.holdings]


class Planned(NamedTuple):
    """The moves of a day, those that are left as they do not pay (or not today), and why others are held back."""

    made: tuple[Priced, ...]
    left: tuple[Priced, ...]
    held_back: Mapping[Cell, str]
    trades: tuple[tuple[Proposed, ...], ...]

    @property
    def moves(self) -> tuple[Move, ...]:
        return tuple(one.move for one in self.made)


class _Asked(NamedTuple):
    """Moves as trades, what the check says of them, and which of them it would not let pass."""

    moves: list[tuple[Move, list[tuple[Draft, Effect]]]]
    washed: list[tuple[Draft, str]]


def plan(house: House) -> Planned:
    """The moves that the pre-trade check lets pass and that pay for their exact tax.

    Law      26 USC 1091(a), Rev. Rul. 2008-5, through the check.
    Order    moves by what they save.
    Omits    the tax that a realised gain spares later; what is done in an account that nobody sees.
    """
    terms, whole, fixed = house.terms, house.blocks(), dict(house.fixed)
    late, barred = set[int](), set[tuple[str, str]]()
    most = {account: place.most for account, place in terms.places.items()}
    while True:
        free = [at for at in range(len(whole)) if at not in fixed and at not in late]
        buys = _left_to_buy(house, barred)
        found = relocate([whole[at] for at in free], house.costs, buys, terms.max_years, terms.trade_rate, most)
        asked = _asked(house, found, free, whole, buys)
        if asked.washed:
            _constrain(asked.washed, house, buys, fixed, barred)
            continue
        made = [priced(move, of_move, terms) for move, of_move in asked.moves]
        too_late = {at for one in made if one.years > terms.max_years for at in one.taxed}
        if too_late:
            late |= too_late
            continue
        held_back = defaultdict[Cell, dict[str, None]](dict)
        for at, why in fixed.items():
            held_back[whole[at][:2]][why] = None
        left = _left(house, [at for at in range(len(whole)) if at not in fixed], free, whole, buys, made)
        for one in left:
            for leg in one.move.legs:
                held_back[leg[:2]][one.reason] = None
        return Planned(
            tuple(made), tuple(left), {cell: "; ".join(why) for cell, why in held_back.items()},
            tuple(tuple(proposed(one, terms)) for one in made),
        )  # fmt: skip


def _asked(
    house: House, moves: Sequence[Move], free: Sequence[int], whole: Sequence[Block], buys: Mapping[Cell, Sequence[str]]
) -> _Asked:
    made = [(m, of_move) for m in moves if (of_move := drafts(m, free, house.holdings, whole, buys, house.terms))]
    every = [draft for _, of_move in made for draft in of_move]
    trades = [trade(number, draft, house.terms) for number, draft in enumerate(every)]
    told = house.effects(trades)
    reasons = _beyond(house, trades, told)
    if fall := house.terms.fall_rate:
        lower = [one if one.is_buy else one._replace(amount=int(one.amount * (1 - fall))) for one in trades]
        below = f"if it fell by {fall:.0%} until it is filled, "
        fallen = _beyond(house, lower, house.effects(lower))
        reasons = [why or (below + other if other else "") for why, other in zip(reasons, fallen, strict=True)]
    effect = iter([told[one.trade_id] for one in trades])
    return _Asked(
        [(move, [(draft, next(effect)) for draft in of_move]) for move, of_move in made],
        [(draft, why) for draft, why in zip(every, reasons, strict=True) if why],
    )


def _beyond(house: House, trades: Sequence[Trade], told: Mapping[str, Effect]) -> list[str]:
    """Why each trade may not be made, wholly or in part; empty where it may."""
    in_part = house.in_part(trades, house.limits)
    return [beyond(told[one.trade_id], house.limits) or in_part.get(one.trade_id, "") for one in trades]


def _left_to_buy(house: House, barred: set[tuple[str, str]]) -> dict[Cell, list[str]]:
    may = {cell: [s for s in names if (cell[0], s) not in barred] for cell, names in house.buys.items()}
    return {cell: names for cell, names in may.items() if names}


def _constrain(
    washed: Sequence[tuple[Draft, str]], house: House, buys: Mapping[Cell, Sequence[str]],
    fixed: dict[int, str], barred: set[tuple[str, str]],
) -> None:  # fmt: skip
    """Buy something else of the class; where nothing else is there, do not sell at a loss; where nothing is, do not buy."""
    bought = [draft for draft, _ in washed if draft.side == "buy"]
    others = {(one.account_id, one.security_id) for one in bought if len(buys[one.account_id, one.asset_class]) > 1}
    if others:
        barred |= others
        return
    sold = [(draft, why) for draft, why in washed if draft.side == "sell"]
    for draft, why in sold:
        lossy = [at for at in draft.parts if house.holdings[at].short_gain_usd + house.holdings[at].long_gain_usd < 0]
        said = "is not sold at a loss" if lossy else "is not sold"
        fixed |= dict.fromkeys(lossy or draft.parts, f"{draft.security_id} {said}: {why}")
    if not sold:
        barred |= {(one.account_id, one.security_id) for one in bought}


def _left(
    house: House, sellable: Sequence[int], free: Sequence[int], whole: Sequence[Block],
    buys: Mapping[Cell, Sequence[str]], made: Sequence[Priced],
) -> list[Priced]:  # fmt: skip
    """What would save tax and is not moved: it takes too long to come back, or is more than a day moves."""
    terms, rest = house.terms, {at: whole[at].cents for at in sellable}
    for one in made:
        for leg in one.move.legs:
            for part, cents in leg.sold:
                rest[free[part]] -= cents
    still = [at for at, cents in rest.items() if cents]
    found = relocate(
        [whole[at]._replace(cents=rest[at]) for at in still], house.costs, buys, NO_LIMIT, terms.trade_rate
    )
    asked = _asked(house, found, still, whole, buys)
    why_not = dict(asked.washed)
    left = []
    for move, of_move in asked.moves:
        one = priced(move, of_move, terms)
        washed = [why_not[draft] for draft, _ in of_move if draft in why_not]
        today = "" if one.years > terms.max_years else ("; ".join(washed) or "more than a day moves: on a later one")
        left.append(one._replace(reason="; ".join(filter(None, (one.reason, today)))))
    return left
