"""From dollars of a class to trades of accounts: what is sold of which lot where, and what is bought for it.

The problem. The household has one set of targets and many accounts. A class can be sold in several of them at very
different tax; the money stays in the account where it is raised; there something may be barred by a loss of the last days,
or whole shares only may be bought; and a broker that relieves first in, first out sells its oldest lot whatever we want.

The choice. Every holding is a queue of lots: oldest first where the broker does that, least tax first where it is told. The
lot at the head of any queue that costs the least tax a dollar is sold next; deferred accounts cost none, a loss less than
none. With each lot the money is placed at once, in its own account, where it is needed most; what cannot be placed is not
sold. A lot is sold only where the risk that goes is worth its tax and its cost. Nothing here knows of wash sales: what the
pre-trade check refuses comes back as barred, and the trades are made again without it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from heapq import heappop, heappush
from typing import NamedTuple

from transforms.harvest.benefit import Rates, tax_on
from transforms.portfolio.bands import CASH
from transforms.portfolio.cash_flow import ZERO, levelled

CENT = Decimal("0.01")
ROUNDED = Decimal("0.10")  # so much the cents of a few classes may add up to


class Account(NamedTuple):
    """What an account is to a trade. Units: USD; `unit` is the smallest part of a share that it takes."""

    is_deferred: bool
    reaches_any_lot: bool
    unit: Decimal
    max_order_usd: Decimal


class OpenLot(NamedTuple):
    """A lot that may be sold. Units: shares; unrealised gains by term in USD, signed."""

    account_id: str
    security_id: str
    asset_class: str
    lot_id: str
    quantity: Decimal
    short_gain_usd: Decimal
    long_gain_usd: Decimal


class Sale(NamedTuple):
    security_id: str
    quantity: Decimal
    price_usd: Decimal
    picks: tuple[tuple[str, Decimal], ...]


class Purchase(NamedTuple):
    security_id: str
    asset_class: str
    quantity: Decimal
    price_usd: Decimal


class Swap(NamedTuple):
    """What one account sells of one class (or the cash that it spends) and what it buys for it. Units: USD.

    `tax_usd` is what the year's return would show; `worth_usd` what less drift is worth, None where nobody can tell.
    """

    account_id: str
    asset_class: str
    sales: tuple[Sale, ...]
    purchases: tuple[Purchase, ...]
    tax_usd: Decimal
    cost_usd: Decimal
    worth_usd: Decimal | None

    @property
    def sold_usd(self) -> Decimal:
        return sum((one.quantity * one.price_usd for one in self.sales), ZERO)

    @property
    def bought_usd(self) -> Decimal:
        return sum((one.quantity * one.price_usd for one in self.purchases), ZERO)


class LeftAlone(NamedTuple):
    """A holding that would be sold and is not, and why. Units: USD."""

    account_id: str
    asset_class: str
    security_id: str
    value_usd: Decimal
    reason: str


class Policy(NamedTuple):
    """Units: USD; fractions; basis points of what is traded."""

    min_trade_usd: Decimal
    cushion_rate: Decimal
    spread_bps: Decimal


@dataclass
class Desk:
    """What trades are made from, and what is left of it while they are made. Units: USD.

    `distance_usd` is value less target of every class; `drift_cost` says what such distances cost, or None. `choices` are
    the securities that an account may buy of a class, the best first.
    """

    accounts: Mapping[str, Account]
    prices: Mapping[str, Decimal]
    lots: Sequence[OpenLot]  # of a holding oldest first
    choices: Mapping[tuple[str, str], Sequence[str]]
    distance_usd: dict[str, Decimal]
    policy: Policy
    rates: Rates
    gains_usd: list[Decimal]  # short and long, of the year so far
    gains_left_usd: list[Decimal | None]  # that a day's sales may still realise
    turnover_left_usd: Decimal
    position_left_usd: Mapping[str, Decimal]  # that may be bought of a security; one that is not named: any
    drift_cost: Callable[[Mapping[str, Decimal]], Decimal] | None = None
    left_alone: list[LeftAlone] = field(default_factory=list)
    _ordered: dict[tuple[str, str, str], Decimal] = field(default_factory=dict)  # by account, security and side
    _bought: dict[str, Decimal] = field(default_factory=dict)

    def room(self, account_id: str, security_id: str, side: str) -> Decimal:
        """How much more of a security an account's order may be about."""
        left = self.accounts[account_id].max_order_usd - self._ordered.get((account_id, security_id, side), ZERO)
        if side == "buy" and security_id in self.position_left_usd:
            left = min(left, self.position_left_usd[security_id] - self._bought.get(security_id, ZERO))
        return max(ZERO, left)

    def moved(self, asset_class: str, usd: Decimal) -> None:
        self.distance_usd[asset_class] = self.distance_usd.get(asset_class, ZERO) + usd

    def book(self, account_id: str, security_id: str, side: str, usd: Decimal) -> None:
        key = account_id, security_id, side
        self._ordered[key] = self._ordered.get(key, ZERO) + usd
        self.turnover_left_usd -= usd
        if side == "buy":
            self._bought[security_id] = self._bought.get(security_id, ZERO) + usd


@dataclass
class _Draft:
    """A swap while it grows."""

    sales: dict[str, dict[str, Decimal]] = field(default_factory=dict)  # security -> lot -> shares
    spent: dict[tuple[str, str], Decimal] = field(default_factory=dict)  # security, class -> USD
    kept: Decimal = ZERO  # money that stays in cash because cash is below its target
    tax: Decimal = ZERO
    worth: Decimal = ZERO


def invest(desk: Desk, money: Mapping[str, Decimal]) -> list[Swap]:
    """Cash to what is furthest below its target, in the account where it lies.

    Order    accounts by name; each sees what the ones before it bought.
    """
    made, left = [], 1 - desk.policy.cushion_rate
    for account_id, usd in sorted(money.items()):
        short = {name: -distance for name, distance in desk.distance_usd.items() if name != CASH and distance < 0}
        draft = _Draft()
        for asset_class, part in _placed(
            desk, account_id, short, min(usd * left, max(ZERO, desk.turnover_left_usd))
        ).items():
            _spend(desk, draft, account_id, asset_class, part)
        made.append(_finished(desk, account_id, CASH, draft))
    return [one for one in made if one.purchases]


def raise_cash(desk: Desk, lacking: Mapping[str, Decimal]) -> list[Swap]:
    """Money that an account lacks, from what it holds of the classes furthest above their targets.

    Order    accounts by name; within a class the lots of least tax.
    Rows     whether a sale is worth its tax is not asked: the money leaves.
    """
    made = []
    for account_id, usd in sorted(lacking.items()):
        own = [lot for lot in desk.lots if lot.account_id == account_id and lot.security_id in desk.prices]
        held: dict[str, Decimal] = {}
        for lot in own:
            held[lot.asset_class] = held.get(lot.asset_class, ZERO) + lot.quantity * desk.prices[lot.security_id]
        if not held:
            continue
        wanted = usd / (1 - desk.policy.cushion_rate)
        lowest = min(desk.distance_usd.get(name, ZERO) for name in held)
        over = {name: desk.distance_usd.get(name, ZERO) - lowest + wanted for name in held}
        made += _sold(desk, own, levelled(over, wanted, held), None)
    return made


def swap(desk: Desk, sells: Mapping[str, Decimal], buys: Mapping[str, Decimal]) -> list[Swap]:
    """What is above its target sold for what is below, over all accounts.

    Order    the lot that costs the least tax a dollar goes first, of any account; then by account, security and lot.
    """
    return _sold(desk, [lot for lot in desk.lots if lot.security_id in desk.prices], sells, dict(buys))


def _sold(
    desk: Desk, lots: Iterable[OpenLot], sells: Mapping[str, Decimal], buys: dict[str, Decimal] | None
) -> list[Swap]:
    """Sales of so much of each class; the money is placed in `buys`, or stays in cash where that is None."""
    wanted = dict(sells)
    drafts: dict[tuple[str, str], _Draft] = {}
    queues = _queues(desk, [lot for lot in lots if lot.asset_class in wanted])
    heads: list[tuple] = []
    for key, queue in sorted(queues.items()):
        heappush(heads, (_tax_rate(desk, queue[0]), key, 0))
    while heads:
        _, key, place = heappop(heads)
        lot = queues[key][place]
        draft = drafts.setdefault((lot.account_id, lot.asset_class), _Draft())
        if _sell_one(desk, lot, wanted, buys, draft) and place + 1 < len(queues[key]):
            heappush(heads, (_tax_rate(desk, queues[key][place + 1]), key, place + 1))
    done = [(_finished(desk, *key, draft), draft) for key, draft in drafts.items() if draft.sales]
    return [one for one, draft in done if one.purchases or draft.kept or buys is None]


def _sell_one(
    desk: Desk, lot: OpenLot, wanted: dict[str, Decimal], buys: dict[str, Decimal] | None, draft: _Draft
) -> bool:
    """Sell of a lot what is wanted, possible and worth it; is all of it gone, so that the next may follow?"""
    account, price = desk.accounts[lot.account_id], desk.prices[lot.security_id]
    whole, least, left = lot.quantity * price, desk.policy.min_trade_usd, 1 - desk.policy.cushion_rate
    if wanted[lot.asset_class] <= 0 or (buys is not None and not draft.sales and wanted[lot.asset_class] < least):
        return False
    limits = {
        "": min(whole, wanted[lot.asset_class]),
        "an order of the account may not be larger (gates.max_order_weight)": desk.room(lot.account_id, lot.security_id, "sell"),
        "the day's turnover is used up (gates.max_daily_turnover)": max(ZERO, desk.turnover_left_usd) / 2,
        "the day's sales may realise no more gains (gates.max_daily_short_gain_usd, max_daily_long_gain_usd)": _by_gains(desk, lot),
    }  # fmt: skip
    placed: dict[str, Decimal] = {}
    if buys is not None:
        room = sum(_placed(desk, lot.account_id, buys, limits[""] * left).values(), ZERO) / left
        limits["nothing more that is below its target can be bought there"] = (
            room if limits[""] - room > ROUNDED else limits[""]
        )
    why, amount = min(limits.items(), key=lambda limit: limit[1])
    is_gone = amount >= whole
    is_all = is_gone and account.unit < 1
    quantity = lot.quantity if is_all else min(lot.quantity, amount / price).quantize(account.unit, ROUND_DOWN)
    value = (quantity * price).quantize(CENT)
    if quantity <= 0:
        _leave(desk, lot, why)
        return is_gone
    part = quantity / lot.quantity
    gains = [gain * part for gain in (lot.short_gain_usd, lot.long_gain_usd)]
    tax = ZERO if account.is_deferred else _tax(desk, gains)
    if buys is not None:
        placed = _placed(desk, lot.account_id, buys, value * left)
        worth = _worth(desk, lot.asset_class, value, placed)
        cost = tax + _cost(desk, value + sum(placed.values(), ZERO))
        if worth is not None and cost > worth:
            _leave(desk, lot, f"its sale would cost ${cost:,.2f} (tax ${tax:,.2f}), less drift is worth ${worth:,.2f}")
            return False
        draft.worth += worth or ZERO
    if not account.is_deferred:
        for i, gain in enumerate(gains):
            desk.gains_usd[i] += gain
            if gain > 0 and (still := desk.gains_left_usd[i]) is not None:
                desk.gains_left_usd[i] = still - gain
    draft.tax += tax
    picks = draft.sales.setdefault(lot.security_id, {})
    picks[lot.lot_id] = picks.get(lot.lot_id, ZERO) + quantity
    wanted[lot.asset_class] -= value
    desk.moved(lot.asset_class, -value)
    desk.moved(CASH, value if buys is not None else ZERO)  # else it is about to leave
    desk.book(lot.account_id, lot.security_id, "sell", value)
    for asset_class, usd in placed.items():
        spent = _spend(desk, draft, lot.account_id, asset_class, usd)
        draft.kept += spent if asset_class == CASH else ZERO
        if buys is not None:
            buys[asset_class] -= spent
    if not is_gone:
        _leave(desk, lot._replace(quantity=lot.quantity - quantity), why)
    return is_gone


def _queues(desk: Desk, lots: Iterable[OpenLot]) -> dict[tuple[str, str], list[OpenLot]]:
    """The lots of every holding in the order in which they can be sold."""
    queues: dict[tuple[str, str], list[OpenLot]] = {}
    for lot in lots:
        queues.setdefault((lot.account_id, lot.security_id), []).append(lot)
    for (account_id, _), queue in queues.items():
        if desk.accounts[account_id].reaches_any_lot:
            queue.sort(key=lambda lot: _tax_rate(desk, lot))  # stable: the oldest of two
    return queues


def _tax_rate(desk: Desk, lot: OpenLot) -> Decimal:
    """Tax on a dollar of a lot's sale, by the household's marginal rates."""
    if desk.accounts[lot.account_id].is_deferred:
        return ZERO
    tax = lot.short_gain_usd * desk.rates.short + lot.long_gain_usd * desk.rates.long
    return tax / (lot.quantity * desk.prices[lot.security_id])


def _tax(desk: Desk, gains: Sequence[Decimal]) -> Decimal:
    """What gains add to the tax of the year, after those before them."""
    short, long = desk.gains_usd
    return tax_on(short + gains[0], long + gains[1], desk.rates) - tax_on(short, long, desk.rates)


def _by_gains(desk: Desk, lot: OpenLot) -> Decimal:
    """How much of a lot may be sold until the day's gains reach their limit."""
    value = lot.quantity * desk.prices[lot.security_id]
    if desk.accounts[lot.account_id].is_deferred:
        return value
    parts = [
        max(ZERO, still) / gain
        for gain, still in zip((lot.short_gain_usd, lot.long_gain_usd), desk.gains_left_usd, strict=True)
        if gain > 0 and still is not None
    ]
    return value * min([Decimal(1), *parts])


def _placed(desk: Desk, account_id: str, short: Mapping[str, Decimal], usd: Decimal) -> dict[str, Decimal]:
    """Money over what is short, where an account can buy it; cash that is short takes what it is short of."""
    able = {
        name: sum((desk.room(account_id, one, "buy") for one in desk.choices.get((account_id, name), ())), ZERO)
        for name in short
    }
    if CASH in short:
        able[CASH] = short[CASH]
    return levelled({name: gap for name, gap in short.items() if able[name] > 0}, usd, able)


def _spend(desk: Desk, draft: _Draft, account_id: str, asset_class: str, usd: Decimal) -> Decimal:
    """Spend money of an account on a class, on the first of its securities that has room; how much was spent."""
    left = usd
    for security_id in desk.choices.get((account_id, asset_class), ()) if asset_class != CASH else ():
        part = min(left, desk.room(account_id, security_id, "buy"))
        if part > 0:
            key = security_id, asset_class
            draft.spent[key] = draft.spent.get(key, ZERO) + part
            desk.book(account_id, security_id, "buy", part)
            left -= part
    if asset_class == CASH:
        return usd  # it is there already
    desk.moved(CASH, left - usd)
    desk.moved(asset_class, usd - left)
    return usd - left


def _worth(desk: Desk, sold: str, value: Decimal, placed: Mapping[str, Decimal]) -> Decimal | None:
    if desk.drift_cost is None:
        return None
    after = {**desk.distance_usd, sold: desk.distance_usd.get(sold, ZERO) - value}
    for name, usd in placed.items():
        after[name] = after.get(name, ZERO) + usd
    return desk.drift_cost(desk.distance_usd) - desk.drift_cost(after)


def _cost(desk: Desk, traded_usd: Decimal) -> Decimal:
    return (traded_usd * desk.policy.spread_bps / 10_000).quantize(CENT)


def _leave(desk: Desk, lot: OpenLot, why: str) -> None:
    value = (lot.quantity * desk.prices[lot.security_id]).quantize(CENT)
    if why:
        desk.left_alone.append(LeftAlone(lot.account_id, lot.asset_class, lot.security_id, value, why))


def _finished(desk: Desk, account_id: str, asset_class: str, draft: _Draft) -> Swap:
    """A draft as trades: shares that the account takes, and none that is too small to be worth an order."""
    unit, least = desk.accounts[account_id].unit, desk.policy.min_trade_usd
    sales = [
        Sale(name, sum(picks.values(), ZERO), desk.prices[name], tuple(picks.items()))
        for name, picks in draft.sales.items()
    ]
    purchases = [
        Purchase(name, of, (usd / desk.prices[name]).quantize(unit, ROUND_DOWN), desk.prices[name])
        for (name, of), usd in draft.spent.items()
        if usd >= least * (1 - desk.policy.cushion_rate)
    ]
    sold = sum((one.quantity * one.price_usd for one in sales), ZERO)
    cost = _cost(desk, sold + sum((one.quantity * one.price_usd for one in purchases), ZERO))
    return Swap(
        account_id, asset_class, tuple(sales), tuple(one for one in purchases if one.quantity > 0),
        draft.tax.quantize(CENT), cost, draft.worth.quantize(CENT) if desk.drift_cost else None,
    )  # fmt: skip
