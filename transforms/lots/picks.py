"""Picks of a sale that is filled in parts: its first shares take its first lots."""

from decimal import Decimal

from transforms.exact import nano_shares
from transforms.lots.divergence import picks_text
from transforms.lots.relief import read_picks


def first_picks(lots: str, quantity: Decimal) -> str:
    """The first so many shares of picks.

    >>> first_picks("a:3;b:2", Decimal("3.5"))
    'a:3;b:0.5'
    """
    left, kept = nano_shares(quantity), []
    for lot_id, picked_quantity in read_picks(lots):
        if taken := min(left, picked_quantity):
            kept.append((lot_id, taken))
            left -= taken
    return picks_text(tuple(kept))


def rest_of_picks(lots: str, quantity: Decimal) -> str:
    """What is left of picks after the first so many shares.

    >>> rest_of_picks("a:3;b:2", Decimal("3.5"))
    'b:1.5'
    """
    done, left = nano_shares(quantity), []
    for lot_id, picked_quantity in read_picks(lots):
        taken = min(done, picked_quantity)
        done -= taken
        if picked_quantity > taken:
            left.append((lot_id, picked_quantity - taken))
    return picks_text(tuple(left))
