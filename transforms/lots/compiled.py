"""Relief and wash sales of plain trades, compiled: what `book.py` does, for millions of trades.

The problem. `book.py` says the law in plain Python, some ten microseconds a trade, and steps over lots that no
longer matter; ten million trades, or a hundred thousand lots of one security, are beyond it.

The choice. The same two passes over whole numbers in arrays: `relieve` settles which sale takes how much of which
lot, `wash` walks through time and matches. Nothing is looked at twice: open lots and lots that may still replace are
members of a set that gives the next member at once (`_next`), a lot that has nothing free today leaves the set until
tomorrow, and what a lot has matched before today and today is counted as it happens. `book.py` stays the text to read
and the measure: tests/test_compiled.py holds the two equal to the cent.

Whole numbers of 64 bits. A product of shares and cents needs 128; `share` finds the quotient in floats, off by one at
most, and puts it right with the remainder, whose lowest 64 bits are all that it needs. That holds for quantities below
2^62 nano-shares (4.6 thousand million shares) and amounts below 2^50 cents (11 million million dollars). Whatever goes
beyond, a holding or a basis that grows included, ends the pass with TOO_LARGE and never wraps.

Trades come sorted by group of identical securities, then in `trade_order`. A buy is a lot, numbered as it comes;
a slot is its place among all lots by (holding, acquired_on, trade_id), so that one holding has slots in a row.
"""

from typing import Any

import numpy as np
from numba import njit

from transforms.exact import MOST_CENTS, MOST_NANO

FIRST_DAY = -719_162  # 1 January of the year 1, in days from 1970: no holding period starts before it
TOO_LARGE = 1

# Why a sale is refused
OVERSELL, DO_NOT_ADD_UP, NOT_OPEN, MORE_THAN_LEFT = range(4)

TAKE = np.dtype([("lot", "i8"), ("quantity", "i8")])
REFUSAL = np.dtype([("trade", "i8"), ("why", "i8"), ("pick", "i8"), ("quantity", "i8")])
PICK = np.dtype([("trade", "i8"), ("lot", "i8"), ("quantity", "i8"), ("place", "i8")])
DISPOSAL = np.dtype(
    [(name, "i8") for name in ("trade", "lot", "quantity", "since", "proceeds", "basis", "disallowed", "permanent")]
    + [("replaced", "i8")]
)
WASH = np.dtype([(name, "i8") for name in ("trade", "sold_lot", "lot", "quantity", "disallowed")])
OPEN = np.dtype([(name, "i8") for name in ("lot", "quantity", "since", "basis")])
_LOT = np.dtype(
    [
        ("quantity", "i8"), ("amount", "i8"), ("gone", "i8"), ("cents_gone", "i8"), ("unmatched", "i8"),
        ("leaving", "i8"),  # shares that sales of today will still take
        ("before", "i8"),  # matched shares still here that were not matched today by an earlier purchase
        ("today", "i8"), ("today_left", "i8"),  # those that were, and those of them still here; `as_of` is that day
        ("first", "i8"), ("last", "i8"),  # of its matched slices
        ("as_of", "i4"), ("day", "i4"), ("is_deferred", "i8"),
    ]
)  # fmt: skip
_SLICE = np.dtype(
    [
        ("size", "i8"), ("gone", "i8"), ("amount", "i8"), ("cents_gone", "i8"), ("since", "i4"), ("held_on", "i4"),
        ("following", "i8"),  # the slice that leaves after this one; of one used up, the one used up before
    ]
)  # fmt: skip
_NEVER = -(2**31)
_BITS = np.array(
    [
        0, 1, 48, 2, 57, 49, 28, 3, 61, 58, 50, 42, 38, 29, 17, 4, 62, 55, 59, 36, 53, 51, 43, 22, 45, 39, 33, 30, 24, 18,
        12, 5, 63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21, 44, 32, 23, 11, 46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19,
        9, 13, 8, 7, 6,
    ]
)  # fmt: skip


@njit(cache=True)
def share(amount: int, part: int, whole: int) -> int:
    """amount x part / whole to the nearest whole number, a half away from zero, in 128 bits.

    Units    |amount| below 2^53, 0 <= part, whole below 2^62, the result below 2^50; else it is meaningless.

    >>> share(-(2**50) + 1, 2**62 - 1, 2**62 - 1) == -(2**50) + 1, share(5, 1, 2), share(-5, 1, 2), share(7, 1, 3)
    (True, 3, -3, 2)
    """
    size = abs(amount)
    near = int(float(size) * float(part) / float(whole))
    rest = size * part - near * whole  # wraps as often on both sides
    while rest < 0:
        near -= 1
        rest += whole
    while rest >= whole:
        near += 1
        rest -= whole
    if rest >= whole - rest:
        near += 1
    return near if amount >= 0 else -near


# A set of whole numbers that knows its next member -----------------------------------------------------


def members(size: int) -> tuple[Any, Any]:
    """An empty set of numbers below `size`: bits, then bits that say which 64 of them are not all zero, and so on."""
    starts = [0]
    while True:
        size = -(-size // 64)
        starts.append(starts[-1] + size)
        if size <= 1:
            return np.zeros(starts[-1] + 1, np.uint64), np.array(starts)


@njit(cache=True)
def _add(bits: Any, starts: Any, number: int) -> None:
    for level in range(len(starts) - 1):
        word = starts[level] + (number >> 6)
        before = bits[word]
        bits[word] = before | (np.uint64(1) << np.uint64(number & 63))
        if before:
            return
        number >>= 6


@njit(cache=True)
def _drop(bits: Any, starts: Any, number: int) -> None:
    for level in range(len(starts) - 1):
        word = starts[level] + (number >> 6)
        bits[word] &= ~(np.uint64(1) << np.uint64(number & 63))
        if bits[word]:
            return
        number >>= 6


@njit(cache=True)
def _has(bits: Any, number: int) -> bool:
    return bool((bits[number >> 6] >> np.uint64(number & 63)) & np.uint64(1))


@njit(cache=True)
def _lowest(word: Any) -> int:
    low = word & (~word + np.uint64(1))
    return _BITS[(low * np.uint64(0x03F79D71B4CB0A89)) >> np.uint64(58)]


@njit(cache=True)
def _next(bits: Any, starts: Any, number: int) -> int:
    """The smallest member that is not below `number`, or -1."""
    level = 0
    while level < len(starts) - 1:
        word = starts[level] + (number >> 6)
        if word >= starts[level + 1]:
            return -1
        above = bits[word] >> np.uint64(number & 63)
        if above:
            number += _lowest(above)
            while level:
                level -= 1
                number = (number << 6) + _lowest(bits[starts[level] + number])
            return number
        number = (number >> 6) + 1
        level += 1
    return -1


@njit(cache=True)
def _sort(codes: Any, place: Any, order: Any) -> None:
    for code in codes:
        place[code + 1] += 1
    for code in range(1, len(place)):
        place[code] += place[code - 1]
    for row in range(len(codes)):
        order[place[codes[row]]] = row
        place[codes[row]] += 1


def stable_order(codes: Any, count: int) -> Any:
    """The order that sorts codes from 0 to `count` - 1, equal ones as they stand."""
    order = np.empty(len(codes), np.int64)
    _sort(codes.astype(np.int64, copy=False), np.zeros(count + 1, np.int64), order)
    return order


@njit(cache=True)
def _grown(rows: Any) -> Any:
    more = np.empty(2 * len(rows), rows.dtype)
    for at in range(len(rows)):  # a slice assigned takes seconds to compile
        more[at] = rows[at]
    return more


@njit(cache=True)
def _roomy(rows: Any, used: int) -> Any:
    return rows if used < len(rows) else _grown(rows)


@njit(cache=True)
def lay_out(rows: Any, order: Any, made: Any) -> None:
    """Rows of whole numbers, in an order, as columns."""
    for at in range(len(order)):
        for name in range(len(made)):
            made[name, at] = rows[order[at], name]


# Relief -----------------------------------------------------------------------------------------------


def relief_room(trades: int, lots: int, picks: int) -> tuple[Any, ...]:
    """Memory for `relieve`: shares left and holding of a lot, takes, where the takes of each sale end.

    numpy asks for it in large pages, a compiled function does not: with small ones half of the time is the system's.
    """
    return (
        np.zeros(lots, np.int64), np.empty(lots, np.int32), np.empty(trades + picks, TAKE),
        np.empty(trades - lots, np.int64),
    )  # fmt: skip


@njit(cache=True)
def relieve(
    is_buy: Any, is_deferred: Any, quantity: Any, holding: Any, slot: Any, lot_at: Any, first_slot: Any, picks: Any,
    bits: Any, starts: Any, left: Any, of_holding: Any, takes: Any, take_end: Any,
) -> Any:  # fmt: skip
    """What each sale takes of which lot, and the sales that cannot be: (trouble, where, takes, take_end, refusals).

    Shape    is_buy, is_deferred, quantity and holding by trade; slot by lot and lot_at by slot; first_slot by holding
             and one more; picks sorted by trade, then by slot; take_end by sale. `bits`, `starts`: an empty set of slots;
             the rest is `relief_room`.
    Order    as `relief.relieved`: an empty lot stays in its holding's queue until that one would have let it go,
             because the reason of a refusal says which of the two it is.
    """
    held = np.zeros(len(first_slot), np.int64)
    queued, spent = np.zeros_like(held), np.zeros_like(held)
    refusals = np.empty(16, REFUSAL)
    lot = sale = taken = refused = pick = 0
    for trade in range(len(is_buy)):
        where, need = holding[trade], quantity[trade]
        if is_buy[trade]:
            held[where] += need
            if held[where] >= MOST_NANO:
                return TOO_LARGE, trade, takes, take_end, refusals
            left[lot], of_holding[lot] = need, where
            _add(bits, starts, slot[lot])
            queued[where] += 1
            lot += 1
            continue
        first = pick
        while pick < len(picks) and picks[pick].trade == trade:
            pick += 1
        picked = picks[first:pick]
        why, which, missing = _wrong_picks(picked, need, where, lot, left, of_holding, slot, bits)
        if why < 0 and need > held[where] and (first == pick or is_deferred[trade]):
            why, missing = OVERSELL, held[where]
        if why >= 0:
            if refused == len(refusals):
                refusals = _grown(refusals)
            refusals[refused].trade, refusals[refused].why = trade, why
            refusals[refused].pick, refusals[refused].quantity = first + which, missing
            refused += 1
        else:
            held[where] -= need
            begin = taken
            if first < pick and not is_deferred[trade]:
                taken = _as_picked(picked, takes, taken)
            else:
                taken = _first_in_first_out(need, first_slot[where], lot_at, left, bits, starts, takes, taken)
            for take in takes[begin:taken]:
                left[take.lot] -= take.quantity
                spent[where] += left[take.lot] == 0
            _let_go(first_slot, where, lot_at, left, queued, spent, bits, starts)
        take_end[sale] = taken
        sale += 1
    return 0, 0, takes[:taken], take_end, refusals[:refused]


@njit(cache=True)
def _wrong_picks(
    picks: Any, need: int, where: int, lots: int, left: Any, of_holding: Any, slot: Any, bits: Any
) -> tuple[int, int, int]:
    """Why the picks of a sale cannot be followed: (why, which of them, shares missing), or why is -1."""
    total = 0
    for pick in picks:
        if pick.quantity > need - total:
            return DO_NOT_ADD_UP, 0, 0
        total += pick.quantity
    if total != need and len(picks):
        return DO_NOT_ADD_UP, 0, 0
    which = -1
    for one in range(len(picks)):
        lot = picks[one].lot
        is_open = 0 <= lot < lots and of_holding[lot] == where and _has(bits, slot[lot])
        if not is_open and (which < 0 or picks[one].place < picks[which].place):
            which = one
    if which >= 0:
        return NOT_OPEN, which, 0
    wanted = 0
    for one in range(len(picks)):
        lot = picks[one].lot
        wanted += picks[one].quantity
        if one + 1 == len(picks) or picks[one + 1].lot != lot:
            if wanted > left[lot]:
                return MORE_THAN_LEFT, one, wanted - left[lot]
            wanted = 0
    return -1, 0, 0


@njit(cache=True)
def _as_picked(picks: Any, takes: Any, taken: int) -> int:
    for one in range(len(picks)):
        if one and picks[one].lot == picks[one - 1].lot:
            takes[taken - 1].quantity += picks[one].quantity
        else:
            takes[taken].lot, takes[taken].quantity = picks[one].lot, picks[one].quantity
            taken += 1
    return taken


@njit(cache=True)
def _first_in_first_out(
    need: int, place: int, lot_at: Any, left: Any, bits: Any, starts: Any, takes: Any, taken: int
) -> int:
    while need:
        place = _next(bits, starts, place)
        part = min(need, left[lot_at[place]])
        if part:
            takes[taken].lot, takes[taken].quantity = lot_at[place], part
            taken += 1
            need -= part
        place += 1
    return taken


@njit(cache=True)
def _let_go(
    first_slot: Any, where: int, lot_at: Any, left: Any, queued: Any, spent: Any, bits: Any, starts: Any
) -> None:
    """Empty lots leave a queue where `relief._Queue.take` lets them go: in front, and all when they are many."""
    place = _next(bits, starts, first_slot[where])
    while 0 <= place < first_slot[where + 1] and not left[lot_at[place]]:
        _drop(bits, starts, place)
        queued[where] -= 1
        spent[where] -= 1
        place = _next(bits, starts, place)
    if spent[where] > 32 and spent[where] * 2 > queued[where]:
        while 0 <= place < first_slot[where + 1]:
            if not left[lot_at[place]]:
                _drop(bits, starts, place)
                queued[where] -= 1
            place = _next(bits, starts, place + 1)
        spent[where] = 0


# Wash sales -------------------------------------------------------------------------------------------


def wash_room(lots: int, takes: int) -> tuple[Any, ...]:
    """Memory for `wash`: lots, slices, disposals, matches, open slices. What is never written to costs nothing."""
    rows = 2 * takes + 1024
    return (
        np.zeros(lots, _LOT), np.empty(rows, _SLICE), np.empty(rows, DISPOSAL), np.empty(rows, WASH),
        np.empty(2 * lots + 1024, OPEN),
    )  # fmt: skip


@njit(cache=True)
def _give(lot: Any, quantity: int) -> int:
    """Take shares out of the rest of a lot and return the cents that go with them."""
    lot.gone += quantity
    before, lot.cents_gone = lot.cents_gone, share(lot.amount, lot.gone, lot.quantity)
    return lot.cents_gone - before


@njit(cache=True)
def _turn(lot: Any, today: int) -> None:
    """What was matched on an earlier day is no longer held for that day's sales."""
    if lot.as_of != today:
        lot.before += lot.today_left
        lot.today = lot.today_left = 0
        lot.as_of = today


@njit(cache=True)
def _free(lot: Any, today: int, held_to_day_end: bool) -> int:
    """Shares bought before a sale of today that may replace its loss: `Held.free`.

    It never grows within a day: a sale takes as much from what leaves as from what is here.
    """
    if lot.is_deferred:
        return lot.unmatched
    rest = lot.quantity - lot.gone
    if not held_to_day_end:
        return rest
    _turn(lot, today)
    tonight = rest + lot.before + lot.today_left - lot.leaving
    return min(rest, tonight - max(0, lot.before - lot.leaving) - lot.today)


@njit(cache=True)
def _match(
    sold: Any, sold_on: int, lots: Any, which: int, free: int, held_on: int, slices: Any, washes: Any, counts: Any
) -> bool:
    """Let shares of a lot replace what is left of the loss; False where the basis becomes too large.

    `counts` are the matches and the slices made, and the slice used up last (or -1).
    """
    lot = lots[which]
    count = min(sold.quantity - sold.replaced, free)
    sold.replaced += count
    disallowed = share(sold.basis - sold.proceeds, sold.replaced, sold.quantity) - sold.disallowed
    sold.disallowed += disallowed
    lot.unmatched -= count
    row = washes[counts[0]]
    counts[0] += 1
    row.trade, row.sold_lot, row.lot, row.quantity, row.disallowed = sold.trade, sold.lot, which, count, disallowed
    if lot.is_deferred:
        sold.permanent += disallowed
        return True
    amount = _give(lot, count) + disallowed
    since = max(lot.day - (sold_on - sold.since), FIRST_DAY)
    at = counts[2]
    if at >= 0:
        counts[2] = slices[at].following
    else:
        at = counts[1]
        counts[1] += 1
    part = slices[at]
    part.size, part.gone, part.amount, part.cents_gone = count, 0, amount, 0
    part.since, part.held_on, part.following = since, held_on, -1
    if lot.first < 0:
        lot.first = at
    else:
        slices[lot.last].following = at
    lot.last = at
    if held_on == _NEVER:
        lot.before += count
    else:
        _turn(lot, held_on)
        lot.today += count
        lot.today_left += count
    return abs(amount) < MOST_CENTS


@njit(cache=True)
def _sell(row: Any, lot: Any, need: int, today: int, slices: Any, counts: Any) -> int:
    """Take shares out of the next slice of a lot and write them down; how many there were, at most `need`."""
    if lot.first < 0:
        row.quantity, row.since, row.basis = need, lot.day, _give(lot, need)
        return need
    at = lot.first
    part = slices[at]
    count = min(need, part.size - part.gone)
    part.gone += count
    before, part.cents_gone = part.cents_gone, share(part.amount, part.gone, part.size)
    row.quantity, row.since, row.basis = count, part.since, part.cents_gone - before
    if part.held_on == today:
        lot.today_left -= count
    else:
        lot.before -= count
    if part.gone == part.size:
        lot.first, part.following = part.following, counts[2]
        counts[2] = at
    return count


@njit(cache=True)
def _paid(rows: Any, amount: int, whole: int) -> bool:
    """Share the proceeds of a sale among its disposals; False where a loss is too large."""
    passed = cents = 0
    for row in rows:
        passed += row.quantity
        before, cents = cents, share(amount, passed, whole)
        row.proceeds = cents - before
        if row.basis - row.proceeds >= MOST_CENTS:
            return False
    return True


@njit(cache=True)
def _can_replace(lot: Any) -> bool:
    return (lot.unmatched if lot.is_deferred else lot.quantity - lot.gone) > 0


@njit(cache=True)
def wash(
    is_buy: Any, is_deferred: Any, replaces: Any, quantity: Any, amount: Any, day: Any, group_end: Any, takes: Any,
    take_end: Any, lot_at: Any, window: int, held_to_day_end: bool, older_lot_replaces: bool, bits: Any, starts: Any,
    lots: Any, slices: Any, disposals: Any, washes: Any, left: Any,
) -> Any:  # fmt: skip
    """Disposals, matches and open slices: (trouble, where, disposals, washes, open slices).

    Law, window and order are those of `book.book`; a purchase whose `replaces` is false replaces no loss.

    Shape    trades as in `relieve`; group_end: the trade after each group's last; disposals by sale, matches as they
             happen, open slices by slot, of each the matched ones first. `bits`, `starts`: an empty set of lots; the rest
             is `wash_room`.
    """
    waiting, parked = np.empty(1024, np.int64), np.empty(16, np.int64)
    counts = np.array([0, 0, -1])
    lot = sale = sold_count = taken = begin = 0
    for end in group_end:
        today, oldest, kept, first, last = _NEVER, lot, 0, 0, 0
        for trade in range(begin, end):
            if day[trade] != today:
                today = day[trade]
                for which in parked[:kept]:
                    if _can_replace(lots[which]):
                        _add(bits, starts, which)
                kept = 0
                last_sale, later = sale, trade
                while later < end and day[later] == today:
                    last_sale += not is_buy[later]
                    later += 1
                for take in takes[taken : take_end[last_sale - 1] if last_sale else 0]:
                    lots[take.lot].leaving += take.quantity
                while oldest < lot and lots[oldest].day + window < today:
                    oldest += 1
                while first < last and day[disposals[waiting[first]].trade] + window < today:
                    first += 1
            if is_buy[trade]:
                new = lots[lot]
                new.quantity = new.unmatched = quantity[trade]
                new.amount, new.day, new.is_deferred = amount[trade], today, is_deferred[trade]
                new.first, new.last, new.as_of = -1, -1, today
                while replaces[trade] and first < last and new.unmatched:
                    washes, slices = _roomy(washes, counts[0]), _roomy(slices, counts[1])
                    sold = disposals[waiting[first]]
                    if not _match(sold, day[sold.trade], lots, lot, new.unmatched, _NEVER, slices, washes, counts):
                        return TOO_LARGE, trade, disposals, washes, left
                    first += sold.replaced == sold.quantity
                if replaces[trade] and new.unmatched:
                    _add(bits, starts, lot)
                lot += 1
                continue
            before = sold_count
            for take in takes[taken : take_end[sale]]:
                lots[take.lot].leaving -= take.quantity
                if is_deferred[trade]:
                    _give(lots[take.lot], take.quantity)
                    continue
                _turn(lots[take.lot], today)
                need = take.quantity
                while need:
                    disposals = _roomy(disposals, sold_count)
                    row = disposals[sold_count]
                    row.trade, row.lot, row.disallowed, row.permanent, row.replaced = trade, take.lot, 0, 0, 0
                    need -= _sell(row, lots[take.lot], need, today, slices, counts)
                    sold_count += 1
                if not _can_replace(lots[take.lot]):
                    _drop(bits, starts, take.lot)
            taken = take_end[sale]
            sale += 1
            if not _paid(disposals[before:sold_count], amount[trade], quantity[trade]):
                return TOO_LARGE, trade, disposals, washes, left
            for which in range(before, sold_count):
                sold = disposals[which]
                if sold.basis <= sold.proceeds:
                    continue
                near = _next(bits, starts, oldest if older_lot_replaces else max(oldest, sold.lot + 1))
                while near >= 0 and sold.replaced < sold.quantity:
                    free = _free(lots[near], today, held_to_day_end)
                    if near != sold.lot and free > 0:
                        washes, slices = _roomy(washes, counts[0]), _roomy(slices, counts[1])
                        if not _match(sold, today, lots, near, free, today, slices, washes, counts):
                            return TOO_LARGE, trade, disposals, washes, left
                        if not _can_replace(lots[near]):
                            _drop(bits, starts, near)
                    elif free <= 0:  # nothing of it is free before tomorrow
                        _drop(bits, starts, near)
                        parked = _roomy(parked, kept)
                        parked[kept] = near
                        kept += 1
                    near = _next(bits, starts, near + 1)
                if sold.replaced < sold.quantity:
                    waiting = _roomy(waiting, last)
                    waiting[last] = which
                    last += 1
        begin = end
    return 0, 0, disposals[:sold_count], washes[: counts[0]], _open_slices(lots, slices, lot_at, left)


@njit(cache=True)
def _open_slices(lots: Any, slices: Any, lot_at: Any, rows: Any) -> Any:
    count = 0
    for which in lot_at:
        lot = lots[which]
        at = lot.first
        while at >= 0 or lot.gone < lot.quantity:
            rows = _roomy(rows, count)
            row = rows[count]
            count += 1
            row.lot = which
            if at < 0:
                row.quantity, row.since, row.basis = lot.quantity - lot.gone, lot.day, lot.amount - lot.cents_gone
                break
            part = slices[at]
            row.quantity, row.since = part.size - part.gone, part.since
            row.basis, at = part.amount - part.cents_gone, part.following
    return rows[:count]
