"""From dollars of a class to trades of accounts: what is sold of which lot where, and what is bought for it.

The problem. The household has one set of targets and many accounts. A class can be sold in several of them at very
different tax; the money stays in the account where it is raised; there something may be barred by a loss of the last days,
or whole shares only may be bought; and a broker that relieves first in, first out sells its oldest lot whatever we want.

The choice. Every holding is a queue of lots: oldest first where the broker does that, least tax first where it is told. The
lot at the head of any queue that costs the least tax a dollar is sold next; deferred accounts cost none, a loss less than
none. With each lot the money is placed at once, in its own account, where it is needed most; what cannot be placed is not
sold. A lot is sold only where the risk that goes is worth its tax and its cost. Nothing here knows of wash sales, nor
whether the lots of a holding add up to an order: what the pre-trade check refuses and what is `too_small` comes back as
barred, and the trades are made again without it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from heapq import heappop, heappush

from transforms.harvest.benefit import tax_on
from transforms.portfolio.bands import CASH
from transforms.portfolio.cash_flow import ZERO, in_trades, levelled
from transforms.portfolio.desk import DOLLAR, Desk, LeftAlone, OpenLot, Purchase, Sale, Swap
from transforms.portfolio.sale_order import part_of, queues, tax_rate

CENT = Decimal("0.01")
ROUNDED = Decimal("0.10")  # so much the cents of a few classes may add up to


@dataclass
class _Draft:
    """A swap while it grows."""

    sales: dict[str, dict[str, Decimal]] = field(default_factory=dict)  # security -> lot -> shares
    spent: dict[tuple[str, str], Decimal] = field(default_factory=dict)  # security, class -> USD
    kept: Decimal = ZERO  # money that stays in cash because cash is below its target
    tax: Decimal = ZERO
    worth: Decimal | None = ZERO  # None where nobody can tell


def invest(desk: Desk, money: Mapping[str, Decimal]) -> list[Swap]:
    """Cash to what is furthest below its target, in the account where it lies, in purchases that are worth an order.

    Order    accounts by name; each sees what the ones before it bought.
    """
    made = []
    for account_id, usd in sorted(money.items()):
        short = {name: -distance for name, distance in desk.distance_usd.items() if name != CASH and distance < 0}
        able = _able(desk, account_id, short)
        spent = min(usd * desk.policy.left, max(ZERO, desk.turnover_left_usd))
        least = {name: _least(desk, account_id, name) for name in able}
        draft = _Draft()
        for asset_class, part in in_trades({name: short[name] for name in able}, spent, able, least).items():
            _spend(desk, draft, account_id, asset_class, part)
        made.append(_finished(desk, account_id, CASH, draft))
    return [one for one in made if one.purchases]


def raise_cash(desk: Desk, lacking: Mapping[str, Decimal]) -> list[Swap]:
    """Money that an account lacks, from what it holds of the classes furthest above their targets.

    Order    accounts by name; within a class the lots of least tax.
    Units    USD, a dollar at least: brokers take no smaller order. Shares are rounded up, until there is enough.
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
        wanted = max(DOLLAR, (usd / desk.policy.left).quantize(CENT, ROUND_UP))
        lowest = min(desk.distance_usd.get(name, ZERO) for name in held)
        over = {name: desk.distance_usd.get(name, ZERO) - lowest + wanted for name in held}
        made += _sold(desk, own, in_trades(over, wanted, held, dict.fromkeys(held, DOLLAR)), None)
    return made


def swap(desk: Desk, sells: Mapping[str, Decimal], buys: Mapping[str, Decimal]) -> list[Swap]:
    """What is above its target sold for what is below, over all accounts.

    Order    the lot that costs the least tax a dollar goes first, of any account; then by account, security and lot.
    """
    return _sold(desk, [lot for lot in desk.lots if lot.security_id in desk.prices], sells, dict(buys))


def too_small(swaps: Iterable[Swap], least_usd: Decimal) -> list[tuple[str, str]]:
    """Accounts and securities whose sales, all swaps together as the one order that they become, are not worth an order."""
    found: dict[tuple[str, str], Decimal] = {}
    for one in swaps:
        for sale in one.sales:
            key = one.account_id, sale.security_id
            found[key] = found.get(key, ZERO) + sale.quantity * sale.price_usd
    return [key for key, usd in found.items() if usd < least_usd]


def _sold(
    desk: Desk, lots: Iterable[OpenLot], sells: Mapping[str, Decimal], buys: dict[str, Decimal] | None
) -> list[Swap]:
    """Sales of so much of each class; the money is placed in `buys`, or stays in cash where that is None."""
    wanted = dict(sells)
    drafts: dict[tuple[str, str], _Draft] = {}
    ordered = queues(desk, [lot for lot in lots if lot.asset_class in wanted])
    heads: list[tuple] = []
    for key, queue in sorted(ordered.items()):
        heappush(heads, (tax_rate(desk, queue[0]), key, 0))
    while heads:
        _, key, place = heappop(heads)
        lot = ordered[key][place]
        draft = drafts.setdefault((lot.account_id, lot.asset_class), _Draft())
        if _sell_one(desk, lot, wanted, buys, draft) and place + 1 < len(ordered[key]):
            heappush(heads, (tax_rate(desk, ordered[key][place + 1]), key, place + 1))
    done = [(_finished(desk, *key, draft), draft) for key, draft in drafts.items() if draft.sales]
    made = [one for one, draft in done if one.purchases or draft.kept or buys is None]
    desk.lots = _without(desk.lots, made)
    return made


def _without(lots: Iterable[OpenLot], made: Iterable[Swap]) -> list[OpenLot]:
    """What is left of lots after sales: what is raised for a withdrawal is not sold once more."""
    gone = {
        (one.account_id, sale.security_id, lot_id): shares
        for one in made
        for sale in one.sales
        for lot_id, shares in sale.picks
    }
    left = []
    for lot in lots:
        shares = lot.quantity - gone.get((lot.account_id, lot.security_id, lot.lot_id), ZERO)
        if shares > 0:
            left.append(lot if shares == lot.quantity else part_of(lot, shares))
    return left


def _sell_one(
    desk: Desk, lot: OpenLot, wanted: dict[str, Decimal], buys: dict[str, Decimal] | None, draft: _Draft
) -> bool:
    """Sell of a lot what is wanted, possible and worth it; is all of it gone, so that the next may follow?"""
    account, price = desk.accounts[lot.account_id], desk.prices[lot.security_id]
    whole, left = lot.quantity * price, desk.policy.left
    more = wanted[lot.asset_class]
    if buys is None:
        more = min(more, sum(wanted.values(), ZERO))  # a share too many of one class is as good as one of another
    if more <= 0 or (buys is not None and not draft.sales and more < desk.policy.least_sale_usd):
        return False
    turnover = max(ZERO, desk.turnover_left_usd)
    limits = {
        "": min(whole, more),
        "an order of the account may not be larger (gates.max_order_weight)": desk.room(lot.account_id, lot.security_id, "sell"),
        "the day's turnover is used up (gates.max_daily_turnover)": turnover if buys is None else turnover / 2,
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
    up = buys is None and not why
    quantity = lot.quantity if is_gone else _shares(lot, amount, price, account.unit, limits if up else {})
    value = (quantity * price).quantize(CENT)
    if quantity <= 0:
        leave(desk, lot, why)
        return is_gone
    part = part_of(lot, quantity)
    gains = [part.short_gain_usd, part.long_gain_usd]
    tax = ZERO if account.is_deferred else _tax(desk, gains)
    if buys is not None:
        placed = _placed(desk, lot.account_id, buys, value * left)
        worth = _worth(desk, lot.asset_class, value, placed)
        cost = tax + _cost(desk, value + sum(placed.values(), ZERO))
        if worth is not None and cost > worth:
            leave(desk, lot, f"its sale would cost ${cost:,.2f} (tax ${tax:,.2f}), less drift is worth ${worth:,.2f}")
            return False
        draft.worth = None if worth is None or draft.worth is None else draft.worth + worth
    if not account.is_deferred:
        for i, gain in enumerate(gains):
            desk.gains_usd[i] += gain
            if gain > 0 and (still := desk.gains_left_usd[i]) is not None:
                desk.gains_left_usd[i] = still - gain
    draft.tax += tax
    picks = draft.sales.setdefault(lot.security_id, {})
    taken = ZERO
    for lot_id, its in lot.parts or ((lot.lot_id, lot.quantity),):
        if taken < quantity:
            picks[lot_id] = picks.get(lot_id, ZERO) + min(its, quantity - taken)
            taken += min(its, quantity - taken)
    wanted[lot.asset_class] -= value
    desk.moved(lot.asset_class, -value)
    desk.moved(CASH, value)
    desk.book(lot.account_id, lot.security_id, "sell", value)
    for asset_class, usd in placed.items():
        spent = _spend(desk, draft, lot.account_id, asset_class, usd)
        draft.kept += spent if asset_class == CASH else ZERO
        if buys is not None:
            buys[asset_class] -= spent
    if not is_gone:
        leave(desk, lot._replace(quantity=lot.quantity - quantity), why)
    return is_gone


def _shares(lot: OpenLot, usd: Decimal, price: Decimal, unit: Decimal, limits: Mapping[str, Decimal]) -> Decimal:
    """Dollars as shares: rounded up where limits are given and the last one passes none of them, else down."""
    more = min(lot.quantity, (usd / price).quantize(unit, ROUND_UP))
    if limits and more * price <= min(most for limit, most in limits.items() if limit):
        return more
    return min(lot.quantity, (usd / price).quantize(unit, ROUND_DOWN))


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
    able = _able(desk, account_id, short)
    return levelled({name: short[name] for name in able}, usd, able)


def _able(desk: Desk, account_id: str, short: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """How much an account can take of each class that is short, of those of which it can take any."""
    able = {
        name: sum((desk.room(account_id, one, "buy") for one in desk.choices.get((account_id, name), ())), ZERO)
        for name in short
        if name != CASH
    }
    if CASH in short:
        able[CASH] = short[CASH]
    return {name: most for name, most in able.items() if most > 0}


def _least(desk: Desk, account_id: str, asset_class: str) -> Decimal:
    """What a purchase of a class is at least: worth an order, and a share where the account takes no parts."""
    least, unit = desk.policy.least_purchase_usd, desk.accounts[account_id].unit
    choices = [desk.prices[name] for name in desk.choices.get((account_id, asset_class), ())]
    return max(least, choices[0]) if unit == 1 and choices else least


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
    """What less drift is worth; None where it is not asked, or nobody can tell how the class moves that is sold."""
    if desk.drift_cost is None or sold in desk.unmeasured:
        return None
    after = {**desk.distance_usd, sold: desk.distance_usd.get(sold, ZERO) - value}
    for name, usd in placed.items():
        after[name] = after.get(name, ZERO) + usd
    return desk.drift_cost(desk.distance_usd) - desk.drift_cost(after)


def _cost(desk: Desk, traded_usd: Decimal) -> Decimal:
    return (traded_usd * desk.policy.spread_bps / 10_000).quantize(CENT)


def leave(desk: Desk, lot: OpenLot, why: str) -> None:
    if why:
        value = (lot.quantity * desk.prices[lot.security_id]).quantize(CENT)
        desk.left_alone.append(LeftAlone(lot.account_id, lot.asset_class, lot.security_id, value, why))


def _finished(desk: Desk, account_id: str, asset_class: str, draft: _Draft) -> Swap:
    """A draft as trades: shares that the account takes, and none that is too small to be worth an order."""
    unit, least = desk.accounts[account_id].unit, desk.policy.least_purchase_usd
    sales = [
        Sale(name, sum(picks.values(), ZERO), desk.prices[name], tuple(picks.items()))
        for name, picks in draft.sales.items()
    ]
    purchases = [
        Purchase(name, of, (usd / desk.prices[name]).quantize(unit, ROUND_DOWN), desk.prices[name])
        for (name, of), usd in draft.spent.items()
        if usd >= least
    ]
    sold = sum((one.quantity * one.price_usd for one in sales), ZERO)
    cost = _cost(desk, sold + sum((one.quantity * one.price_usd for one in purchases), ZERO))
    return Swap(
        account_id, asset_class, tuple(sales), tuple(one for one in purchases if one.quantity > 0),
        draft.tax.quantize(CENT), cost, draft.worth.quantize(CENT) if desk.drift_cost and draft.worth is not None else None,
    )  # fmt: skip
