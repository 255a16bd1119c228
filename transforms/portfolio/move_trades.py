"""A move as trades: shares instead of cents after tax, and what the trades would really cost.

The problem. A move is an amount after tax that stands in several lots; an order is a number of shares that an account trades
in steps. And where a broker sells its oldest lots first, the tax of a part of a holding is not known before its lots are.

The choice. Sales are rounded down to the account's step, and what is bought costs at most what they bring, less a cushion for
prices that move. The tax is that of the pre-trade check, which books the trades; the program's own is only its estimate.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

from transforms.exact import nano_shares, trade_cents, usd
from transforms.harvest.benefit import Rates
from transforms.harvest.candidates import cents
from transforms.harvest.scan import CASH_CUSHION
from transforms.lots.check import Effect
from transforms.model import Trade
from transforms.orders.arbiter import Proposed
from transforms.portfolio.location import Block, Cell, Move

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


class Terms(NamedTuple):
    """What a move is made and judged by."""

    on: date
    places: Mapping[str, Place]
    prices: Mapping[str, Decimal]
    rates: Rates
    max_years: Decimal
    trade_rate: Decimal
    min_move_usd: Decimal
    fall_rate: Decimal = ZERO  # a sale may be filled so far below its price


class Draft(NamedTuple):
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


class Priced(NamedTuple):
    """A move with its trades and what each would do, what it saves and costs. Units: USD; saving a year; years."""

    move: Move
    drafts: tuple[tuple[Draft, Effect], ...]
    taxed: tuple[int, ...]  # holdings whose sale is taxed; where none is, all that are sold
    tax_usd: Decimal
    trading_usd: Decimal
    years: Decimal  # until what it saves has paid for both
    reason: str


def block(one: Holding, place: Place, rates: Rates) -> Block:
    """A holding in dollars after tax, with its tax if sold; a loss counts as nothing: taking it is a harvest's business."""
    due = ZERO if place.is_deferred else tax_usd(one.short_gain_usd, one.long_gain_usd, rates) / one.value_usd
    return Block(*one[:4], int(cents(one.value_usd * place.kept_rate) * 100), due)


def tax_usd(short_usd: Decimal, long_usd: Decimal, rates: Rates) -> Decimal:
    """Tax on what a sale realises at the marginal rates; a loss that is left over counts as nothing.

    >>> tax_usd(Decimal(-100), Decimal(1000), Rates(Decimal("0.29"), Decimal("0.20"), Decimal("0.29"), Decimal(3000)))
    Decimal('171.00')
    """
    return max(ZERO, short_usd * rates.short + long_usd * rates.long)


def drafts(
    move: Move, at_of: Sequence[int], holdings: Sequence[Holding], whole: Sequence[Block],
    buys: Mapping[Cell, Sequence[str]], terms: Terms,
) -> list[Draft]:  # fmt: skip
    """The trades of a move, sales first; none where one of them would be too small. `at_of` are the places of its holdings."""
    sales: list[Draft] = []
    purchases: list[Draft] = []
    for leg in move.legs:
        place, brought = terms.places[leg.account_id], ZERO
        by_security = defaultdict[str, list[tuple[int, Decimal]]](list)
        for part, sold in leg.sold:
            at = at_of[part]
            held = holdings[at].quantity
            is_all = sold == whole[at].cents
            shares = held if is_all and place.step < 1 else _down(held * sold / whole[at].cents, place.step)
            by_security[holdings[at].security_id].append((at, shares))
        for security, parts in by_security.items():
            quantity = sum((shares for _, shares in parts), ZERO)
            lots = ";".join(f"{lot}:{n.normalize():f}" for at, n in parts if n and (lot := holdings[at].lot_id))
            if quantity:
                price = holdings[parts[0][0]].price_usd
                sales.append(
                    Draft(leg.account_id, "sell", leg.sold_class, security, quantity, price, lots, tuple(at for at, _ in parts))
                )  # fmt: skip
                brought += sales[-1].amount_usd
        bought = buys[leg.account_id, leg.bought_class][0]
        price = terms.prices[bought]
        quantity = _down(brought * CASH_CUSHION / price, place.step)
        purchases.append(Draft(leg.account_id, "buy", leg.bought_class, bought, quantity, price, "", ()))
        if not quantity or brought < terms.min_move_usd:
            return []
    return sales + purchases


def _down(shares: Decimal, step: Decimal) -> Decimal:
    return shares.quantize(step, ROUND_DOWN)


def trade(number: int, draft: Draft, terms: Terms) -> Trade:
    """A draft as the ledger would see it."""
    picks = tuple(
        (lot, nano_shares(Decimal(n))) for lot, n in (one.rsplit(":", 1) for one in draft.lots.split(";") if one)
    )
    return Trade(
        f"{number:06d} {draft.side}", draft.account_id, draft.security_id, draft.side == "buy", nano_shares(draft.quantity),
        trade_cents(draft.quantity, draft.price_usd, ZERO), terms.on, None, terms.places[draft.account_id].is_deferred, picks,
    )  # fmt: skip


def priced(move: Move, made: Sequence[tuple[Draft, Effect]], terms: Terms) -> Priced:
    """What a move costs by the exact effects of its trades, and when that is back."""
    due = {
        draft: tax_usd(usd(effect.short_gain), usd(effect.long_gain), terms.rates)
        for draft, effect in made
        if draft.side == "sell" and not terms.places[draft.account_id].is_deferred
    }
    tax = sum(due.values(), ZERO)
    taxed = tuple(at for draft, _ in made if due.get(draft) or not tax for at in draft.parts)
    spread = sum((draft.amount_usd for draft, _ in made), ZERO) * terms.trade_rate
    years = (tax + spread) / move.saving_usd
    gives = ", ".join(f"{leg.account_id} gives {leg.sold_class} for {leg.bought_class}" for leg in move.legs)
    reason = (
        f"{gives}: ${usd(move.cents):,.2f} after tax stand where they save ${move.saving_usd:,.2f} of tax a year, for "
        f"{f'${tax:,.2f} of tax now' if tax else 'no tax now'} and ${spread:,.2f} of trading, back in {years:.1f} years "
        f"(at most {terms.max_years:f})"
    )
    return Priced(move, tuple(made), taxed, tax, spread, years, reason)


def proposed(one: Priced, terms: Terms) -> Iterator[Proposed]:
    """The trades of a move as a proposal: all of them, or none."""
    name = "location " + " ".join(f"{leg.account_id}:{leg.sold_class}" for leg in one.move.legs)
    for draft, effect in one.drafts:
        is_taxed = draft.side == "sell" and not terms.places[draft.account_id].is_deferred
        loss = usd(effect.loss) if is_taxed else ZERO
        yield Proposed(
            name, "location", draft.account_id, draft.side, draft.security_id, draft.quantity, draft.price_usd,
            draft.lots, loss, ZERO, one.reason,
        )  # fmt: skip
