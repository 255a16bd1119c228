"""From a location program to trades: what the pre-trade check finds becomes a constraint, and the program is solved again.

The problem. A move sells in one account what another buys. Sold at a loss in a taxable account and bought in an IRA, the
loss would be gone for good. A purchase of last week, or one to come, may wash it as well; and where a broker sells its
oldest lots first, the tax of a part of a holding is not known before its lots are.

The choice. No second rule is written here. The trades of all moves go through the pre-trade check together. Where it
finds more washed than the limits let pass, another security of the class is bought instead; where there is none, the
lots at a loss are not sold. Where the exact tax takes too long to come back, the taxed lots are not sold. Then the
program is solved again. Every round takes something away, so it ends; what is held back keeps its reason.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

from transforms.exact import nano_shares, trade_cents, usd
from transforms.harvest.benefit import Rates
from transforms.harvest.candidates import cents
from transforms.harvest.scan import CASH_CUSHION
from transforms.lots.check import Effect, Limits, beyond
from transforms.model import Trade
from transforms.orders.arbiter import Proposed
from transforms.portfolio.location import Block, Cell, Move, relocate

ZERO = Decimal(0)


class Holding(NamedTuple):
    """A lot; or all of a security in an account where the broker chooses, or where lots make no difference. Units: shares, USD."""

    account_id: str
    asset_class: str
    security_id: str
    lot_id: str  # empty: all of it
    quantity: Decimal
    price_usd: Decimal
    value_usd: Decimal
    short_gain_usd: Decimal
    long_gain_usd: Decimal


class Place(NamedTuple):
    """What an account does to a move. Units: `kept_rate` of a dollar that is taken out; cents after tax."""

    is_deferred: bool
    kept_rate: Decimal
    step: Decimal  # the smallest part of a share that it trades
    most: int  # of one security, or of one class bought, in a day


class House(NamedTuple):
    """What the moves of a day have to do with."""

    on: date
    holdings: Sequence[Holding]
    places: Mapping[str, Place]
    costs: Mapping[Cell, Decimal]
    buys: Mapping[Cell, Sequence[str]]  # what an account may buy of a class, the first first
    prices: Mapping[str, Decimal]
    fixed: Mapping[int, str]  # holdings that stay where they are, and why
    rates: Rates
    effects: Callable[[Iterable[Trade]], Mapping[str, Effect]]  # the pre-trade check,
    in_part: Callable[[Iterable[Trade], Limits], Mapping[str, str]]  # and where only a part is filled
    limits: Limits
    max_years: Decimal
    trade_rate: Decimal
    min_move_usd: Decimal


class Planned(NamedTuple):
    """The moves of a day, the trades of each, and why others are held back."""

    moves: tuple[Move, ...]
    trades: tuple[tuple[Proposed, ...], ...]
    held_back: Mapping[Cell, str]


class _Draft(NamedTuple):
    """A trade of a move, and the holdings that it sells."""

    account_id: str
    side: str
    asset_class: str
    security_id: str
    quantity: Decimal
    price_usd: Decimal
    lots: str
    parts: tuple[int, ...]

    @property
    def amount_usd(self) -> Decimal:
        return cents(self.quantity * self.price_usd)


class _Priced(NamedTuple):
    """A move with its trades and what each would do, what it saves and costs, and whether that takes too long to come back."""

    move: Move
    drafts: list[tuple[_Draft, Effect]]
    taxed: tuple[int, ...]  # holdings whose sale is taxed; where none is, all that are sold
    reason: str
    is_late: bool


def blocks(house: House) -> list[Block]:
    """The holdings in dollars after tax, each with its tax if sold; a loss counts as nothing: taking it is a harvest's business."""
    return [
        Block(
            *one[:4],
            int(cents(one.value_usd * house.places[one.account_id].kept_rate) * 100),
            ZERO if house.places[one.account_id].is_deferred
            else _tax(one.short_gain_usd, one.long_gain_usd, house.rates) / one.value_usd,
        )
        for one in house.holdings
    ]  # fmt: skip


def plan(house: House) -> Planned:
    """The moves that the pre-trade check lets pass and that pay for their exact tax.

    Law      26 USC 1091(a), Rev. Rul. 2008-5, through the check.
    Order    moves by what they save.
    Omits    the tax that a realised gain spares later; what is done in an account that nobody sees.
    """
    whole, fixed, barred = blocks(house), dict(house.fixed), set[tuple[str, str]]()
    most = {account: place.most for account, place in house.places.items()}
    while True:
        free = [at for at in range(len(whole)) if at not in fixed]
        buys = {
            cell: left
            for cell, names in house.buys.items()
            if (left := [s for s in names if (cell[0], s) not in barred])
        }
        found = relocate([whole[at] for at in free], house.costs, buys, house.max_years, house.trade_rate, most)
        made = [(move, drafts) for move in found if (drafts := _drafts(move, free, whole, house, buys))]
        drafts = [draft for _, of_move in made for draft in of_move]
        trades = [_trade(number, draft, house) for number, draft in enumerate(drafts)]
        told = house.effects(trades)
        in_part = house.in_part(trades, house.limits)
        washed = {
            at: why
            for at, trade in enumerate(trades)
            if (why := beyond(told[trade.trade_id], house.limits) or in_part.get(trade.trade_id, ""))
        }
        if washed:
            _constrain([(drafts[at], why) for at, why in washed.items()], house, buys, fixed, barred)
            continue
        each = iter([told[trade.trade_id] for trade in trades])
        priced = [_priced(move, list(zip(of_move, each, strict=False)), house) for move, of_move in made]
        late = {at: one.reason for one in priced if one.is_late for at in one.taxed}
        if late:
            fixed |= late
            continue
        held_back = defaultdict[Cell, dict[str, None]](dict)
        for at, why in fixed.items():
            held_back[whole[at][:2]][why] = None
        return Planned(
            tuple(one.move for one in priced),
            tuple(tuple(_proposed(one, house)) for one in priced),
            {cell: "; ".join(why) for cell, why in held_back.items()},
        )


def _drafts(
    move: Move, free: Sequence[int], whole: Sequence[Block], house: House, buys: Mapping[Cell, Sequence[str]]
) -> list[_Draft]:
    """The trades of a move, sales first; none where one of them would be too small."""
    sales: list[_Draft] = []
    purchases: list[_Draft] = []
    for leg in move.legs:
        place, brought = house.places[leg.account_id], ZERO
        by_security = defaultdict[str, list[tuple[int, Decimal]]](list)
        for at, part in leg.sold:
            one, block = house.holdings[free[at]], whole[free[at]]
            shares = one.quantity if part == block.cents else (one.quantity * part / block.cents)
            by_security[one.security_id].append((free[at], shares))
        for security, parts in by_security.items():
            cut = [
                (at, shares if _is_all(shares, at, place, house) else _down(shares, place.step)) for at, shares in parts
            ]
            price = house.holdings[parts[0][0]].price_usd
            quantity = sum((shares for _, shares in cut), ZERO)
            lots = ";".join(f"{lot}:{n.normalize():f}" for at, n in cut if n and (lot := house.holdings[at].lot_id))
            sale = _Draft(
                leg.account_id, "sell", leg.sold_class, security, quantity, price, lots, tuple(at for at, _ in cut)
            )
            if quantity:
                sales.append(sale)
                brought += sale.amount_usd
        bought = buys[leg.account_id, leg.bought_class][0]
        price = house.prices[bought]
        quantity = _down(brought * CASH_CUSHION / price, place.step)
        purchases.append(_Draft(leg.account_id, "buy", leg.bought_class, bought, quantity, price, "", ()))
        if not quantity or brought < house.min_move_usd:
            return []
    return sales + purchases


def _is_all(shares: Decimal, at: int, place: Place, house: House) -> bool:
    return shares == house.holdings[at].quantity and place.step < 1


def _down(shares: Decimal, step: Decimal) -> Decimal:
    return shares.quantize(step, ROUND_DOWN)


def _trade(number: int, draft: _Draft, house: House) -> Trade:
    """A draft as the ledger would see it."""
    picks = tuple(
        (lot, nano_shares(Decimal(n))) for lot, n in (one.rsplit(":", 1) for one in draft.lots.split(";") if one)
    )
    return Trade(
        f"{number:06d} {draft.side}", draft.account_id, draft.security_id, draft.side == "buy", nano_shares(draft.quantity),
        trade_cents(draft.quantity, draft.price_usd, ZERO), house.on, None, house.places[draft.account_id].is_deferred, picks,
    )  # fmt: skip


def _constrain(
    washed: Sequence[tuple[_Draft, str]], house: House, buys: Mapping[Cell, Sequence[str]],
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
        fixed |= dict.fromkeys(lossy or draft.parts, f"{draft.security_id} is not sold at a loss: {why}")
    if not sold:
        barred |= {(one.account_id, one.security_id) for one in bought}


def _priced(move: Move, drafts: list[tuple[_Draft, Effect]], house: House) -> _Priced:
    due = {
        draft: _tax(usd(effect.short_gain), usd(effect.long_gain), house.rates)
        for draft, effect in drafts
        if draft.side == "sell" and not house.places[draft.account_id].is_deferred
    }
    tax_usd = sum(due.values(), ZERO)
    taxed = tuple(at for draft, _ in drafts if due.get(draft) or not tax_usd for at in draft.parts)
    spread = sum((draft.amount_usd for draft, _ in drafts), ZERO) * house.trade_rate
    years = (tax_usd + spread) / move.saving_usd
    gives = ", ".join(f"{leg.account_id} gives {leg.sold_class} for {leg.bought_class}" for leg in move.legs)
    tax = f"${tax_usd:,.2f} of tax now" if tax_usd else "no tax now"
    reason = (
        f"{gives}: ${usd(move.cents):,.2f} after tax stand where they save ${move.saving_usd:,.2f} of tax a year, for {tax} "
        f"and ${spread:,.2f} of trading, back in {years:.1f} years (at most {house.max_years:f})"
    )
    return _Priced(move, drafts, taxed, reason, years > house.max_years)


def _tax(short_usd: Decimal, long_usd: Decimal, rates: Rates) -> Decimal:
    return max(ZERO, short_usd * rates.short + long_usd * rates.long)


def _proposed(one: _Priced, house: House) -> Iterator[Proposed]:
    name = "location " + " ".join(f"{leg.account_id}:{leg.sold_class}" for leg in one.move.legs)
    for draft, effect in one.drafts:
        is_taxed = draft.side == "sell" and not house.places[draft.account_id].is_deferred
        loss = usd(effect.loss) if is_taxed else ZERO
        yield Proposed(
            name, "location", draft.account_id, draft.side, draft.security_id, draft.quantity, draft.price_usd,
            draft.lots, loss, ZERO, one.reason,
        )  # fmt: skip
