"""Which event takes how many shares of which lot.

Relief looks at quantities and, for the methods that go by cost, at what was paid; never at what a wash sale
added. So it can be settled for the whole history before the first loss is matched, and the matching may ask how
much of a lot is "still held at the end of the day" without going round in a circle.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from transforms.exact import NANO, decimal, half_up, nano_shares, shares_text
from transforms.lots.methods import Choice, ordered
from transforms.model import Action, Event, Exercise, Move, Option, Refused, Trade

SAID_AGAIN = 10  # days within which a second split is the first one, posted later by another broker
Taken = tuple[str, int]  # lot_id, nano-shares
Holding = tuple[str, str, bool]  # account_id, security_id, is it owed


class Relief(NamedTuple):
    """What each event takes, in order of acquisition; of an exercise that delivers shares also these.

    `skipped` are the refused events, and those that say again what a company did.
    """

    takes: dict[str, list[Taken]]
    delivered: dict[str, list[Taken]]
    refused: list[Refused]
    skipped: set[str]


def trade_order(event: Event, taxable_first: bool = True) -> tuple:
    """The one order in which things happen.

    Order    day; then what companies do; then of events of which only the day is known what moves and what is bought,
             timed events by the clock, then sales and exercises of which only the day is known; at one instant moves and
             purchases before sales, of purchases (policy same_time_taxable_first) the taxable before the deferred
             account; then trade_id bytewise.
    """
    if isinstance(event, Action):
        return event.traded_on, -2, "", 0, False, event.trade_id.encode()
    day = _WITHIN_A_DAY[type(event)] if not isinstance(event, Trade) else 0 if event.is_buy else 2
    timed = event.traded_at is not None
    return (
        event.traded_on,
        1 if timed else day,
        event.traded_at.isoformat() if event.traded_at is not None else "",
        day,
        day == 0 and event.is_deferred == taxable_first,
        event.trade_id.encode(),
    )


_WITHIN_A_DAY: dict[type, int] = {Move: -1, Exercise: 3}


def relieved(events: Sequence[Event], groups: Mapping[str, str] | None = None, window_days: int = 0) -> Relief:
    """The lots that each event takes, and the events that cannot be.

    Law      Treas. Reg. 1.1012-1(c): the lots identified, else first in, first out; each account by itself.
    Order    events in `trade_order`; lots by (acquired_on, lot_id bytewise), or by the method of the sale (methods.py).
             A deferred account is first in, first out always.
    Errors   an event that says otherwise of a security than an earlier one (an option's terms, a digital asset, a symbol that
             was changed), and an action said again within days, are refused as well.
    Omits    (each is refused by name) a short sale or a put beside shares of the same group (26 USC 1233(b), 1259); a
             short sale closed within the window of a sale of such shares (1091(e)(1)); what a company does while options
             on its shares are open, or (but for a split or a new symbol) while its shares are owed; short sales in a
             deferred account; average cost of a gift.
    """
    walk = ReliefWalk(events, groups or {}, window_days)
    for event in events:
        if isinstance(event, Trade):
            walk.trade(event)
        elif isinstance(event, Move):
            walk.move(event)
        elif isinstance(event, Exercise):
            walk.exercise(event)
        else:
            walk.act(event)
    return walk.said


def scaled(quantities: Sequence[int], ratio: Fraction) -> list[int]:
    """Quantities times a ratio, by cumulative rounding, so that they add up to the whole's.

    >>> scaled([10, 10, 10], Fraction(1, 4))
    [3, 2, 3]
    """
    before, after, made = 0, 0, []
    for quantity in quantities:
        after += quantity
        made.append(_times(after, ratio) - _times(before, ratio))
        before = after
    return made


def _times(quantity: int, ratio: Fraction) -> int:
    return half_up(quantity * ratio.numerator, ratio.denominator)


@dataclass(slots=True)
class _Queue:
    """The lots of one holding in order of acquisition; empty ones are stepped over and now and then thrown out."""

    lots: list[tuple[date, bytes, str]] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    spent: int = 0

    def add(self, acquired_on: date, lot_id: str, quantity: int) -> None:
        if lot_id in self.left:
            self.spent -= not self.left[lot_id]
            self.left[lot_id] += quantity
        else:
            insort(self.lots, (acquired_on, lot_id.encode(), lot_id))
            self.left[lot_id] = quantity

    def take(self, taken: list[Taken]) -> None:
        for lot_id, quantity in taken:
            self.left[lot_id] -= quantity
            self.spent += not self.left[lot_id]
        gone = 0  # first in, first out leaves empty lots in front; picks leave them anywhere
        while gone < len(self.lots) and not self.left[self.lots[gone][2]]:
            del self.left[self.lots[gone][2]]
            gone += 1
        del self.lots[:gone]
        self.spent -= gone
        if self.spent > 32 and self.spent * 2 > len(self.lots):  # step over few empty lots, never over many
            self.lots = self.open()
            self.left = {lot_id: self.left[lot_id] for *_, lot_id in self.lots}
            self.spent = 0

    def open(self) -> list[tuple[date, bytes, str]]:
        return [lot for lot in self.lots if self.left[lot[2]]]


class ReliefWalk:
    def __init__(self, events: Sequence[Event], groups: Mapping[str, str], window_days: int) -> None:
        self.events = events
        self.groups = groups
        self.window_days = window_days
        self.said = Relief({}, {}, [], set())
        self.queues: dict[Holding, _Queue] = defaultdict(_Queue)
        self.cost: dict[tuple[str, str], Fraction] = {}  # (security, lot_id) -> cents a nano-share, as bought
        self.gifts: set[str] = set()  # lots with a basis of their own for a loss
        self.deferred: set[str] = set()
        self.options: dict[str, Option] = {}  # by security
        self.said_of: dict[str, tuple[Option | None, bool, str]] = {}  # by security: what its first event says it is
        self.retired: dict[str, Action] = {}  # symbols that were changed
        self.acts: dict[tuple[str, str, date], Action] = {}
        self.done: list[Action] = []
        self.has_hedges = False

    def continued(self, tail: Sequence[Trade]) -> "ReliefWalk":
        """A walk of its own that goes on from here with plain trades; this one stays where it is."""
        walk = ReliefWalk(tail, self.groups, self.window_days)
        for trade in tail:
            holding = trade.account_id, trade.security_id, False
            if holding in self.queues and holding not in walk.queues:
                queue = self.queues[holding]
                walk.queues[holding] = _Queue([*queue.lots], {**queue.left}, queue.spent)
        walk.cost, walk.gifts, walk.deferred = {**self.cost}, {*self.gifts}, {*self.deferred}
        walk.said_of = {**self.said_of}
        return walk

    def trade(self, trade: Trade) -> None:
        if fault := self._another(trade, trade.security_id, trade.option, trade.is_digital):
            self._refuse(trade.trade_id, fault)
            return
        holding = trade.account_id, trade.security_id, trade.is_short
        if not trade.opens:
            if trade.is_short and trade.option is None and (fault := self._sold_beside(trade)):
                self._refuse(trade.trade_id, fault)
                return
            self._take(trade, holding, trade.quantity, trade.is_deferred)
            return
        if trade.is_deferred:
            self.deferred.add(trade.account_id)
        if trade.option is not None:
            self.options[trade.security_id] = trade.option
        if fault := self._beside(trade.security_id, trade.is_short, trade.is_deferred):
            self._refuse(trade.trade_id, fault)
            return
        self.queues[holding].add(trade.traded_on, trade.trade_id, trade.quantity)
        self.cost[trade.security_id, trade.trade_id] = Fraction(trade.amount, trade.quantity)
        if trade.loss_amount is not None:
            self.gifts.add(trade.trade_id)

    def move(self, move: Move) -> None:
        holding = move.account_id, move.security_id, False
        acquired = {lot_id: on for on, _, lot_id in self.queues[holding].lots}
        if not self._take(move, holding, move.quantity, move.is_deferred) or move.to_account_id is None:
            return
        target = self.queues[move.to_account_id, move.security_id, False]
        if move.to_is_deferred:
            self.deferred.add(move.to_account_id)
        if move.is_deferred and not move.to_is_deferred:
            target.add(move.traded_on, move.trade_id, move.quantity)
            self.cost[move.security_id, move.trade_id] = Fraction(move.amount, move.quantity)
            return
        for lot_id, quantity in self.said.takes[move.trade_id]:
            target.add(acquired[lot_id], lot_id, quantity)

    def exercise(self, exercise: Exercise) -> None:
        if fault := self._another(exercise, exercise.security_id, exercise.option, False):
            self._refuse(exercise.trade_id, fault)
            return
        holding = exercise.account_id, exercise.security_id, exercise.is_short
        stock = exercise.account_id, exercise.option.underlying_id, False
        self.options[exercise.security_id] = exercise.option
        if exercise.is_buy and (fault := self._beside(exercise.option.underlying_id, False, exercise.is_deferred)):
            self._refuse(exercise.trade_id, fault)
            return
        if not exercise.is_buy:
            contracts = sum(self.queues[holding].left.values())
            if contracts < exercise.quantity:
                self._refuse(exercise.trade_id, _oversell(exercise, exercise.security_id, exercise.quantity, contracts))
                return
            if not self._take(exercise, stock, exercise.shares, exercise.is_deferred):
                return
            self.said.delivered[exercise.trade_id] = self.said.takes.pop(exercise.trade_id)
        contract = exercise._replace(picks=(), method="fifo")
        if self._take(contract, holding, exercise.quantity, exercise.is_deferred) and exercise.is_buy:
            self.queues[stock].add(exercise.traded_on, exercise.trade_id, exercise.shares)

    def act(self, action: Action) -> None:
        what = action.kind, action.security_id, action.traded_on
        first = self.acts.setdefault(what, action)
        if first is not action:
            if first._replace(trade_id="") != action._replace(trade_id=""):
                self._refuse(action.trade_id, f"contradicts {first.trade_id}, the same {action.kind} of the same day")
            self.said.skipped.add(action.trade_id)
            return
        near = [one for one in self.done if one.kind == action.kind and one.security_id == action.security_id]
        if near and (action.traded_on - near[-1].traded_on).days <= SAID_AGAIN and action.kind != "return_of_capital":
            self._refuse(
                action.trade_id,
                f"the {action.kind} {near[-1].trade_id} was on {near[-1].traded_on}: say one event on one day",
            )
            return
        holdings = [(key, queue) for key, queue in self.queues.items() if key[1] == action.security_id]
        if fault := self._unmodelled(action, [key for key, queue in holdings if queue.open()]):
            self._refuse(action.trade_id, fault)
            return
        made = {}
        for key, queue in holdings:
            lots = queue.open()
            left = scaled([queue.left[lot_id] for *_, lot_id in lots], action.ratio)
            if 0 in left:
                lost = lots[left.index(0)][2]
                self._refuse(action.trade_id, f"lot {lost} would be less than nine decimals can say")
                return
            made[key] = [(on, lot_id, quantity) for (on, _, lot_id), quantity in zip(lots, left, strict=True)]
        self.done.append(action)
        if action.kind == "return_of_capital":
            return
        if action.kind == "symbol_change":
            self.retired[action.security_id] = action
            self.retired.pop(action.new_security_id, None)
            if action.security_id in self.said_of:
                self.said_of[action.new_security_id] = self.said_of.pop(action.security_id)
        to = action.new_security_id or action.security_id
        for (account_id, security_id, is_short), rows in made.items():
            if action.kind != "spin_off":
                self.queues[account_id, security_id, is_short] = _Queue()
            for on, lot_id, quantity in rows:
                self.queues[account_id, to, is_short].add(on, lot_id, quantity)
                if (
                    action.kind in ("split", "symbol_change")
                    and (was := self.cost.get((security_id, lot_id))) is not None
                ):
                    self.cost[to, lot_id] = was / action.ratio
                elif action.kind in ("spin_off", "merger"):
                    self.cost.pop((to, lot_id), None)

    def _take(self, event: Trade | Move | Exercise, holding: Holding, quantity: int, is_deferred: bool) -> bool:
        queue = self.queues[holding]
        try:
            taken = self._picked(event, holding, quantity, queue)
            if is_deferred or not taken:
                taken = self._in_order(event, holding, quantity, queue, "fifo" if is_deferred else event.method)
        except ValueError as wrong:
            self._refuse(event.trade_id, str(wrong))
            return False
        self.said.takes[event.trade_id] = taken
        queue.take(taken)
        return True

    def _in_order(
        self, event: Trade | Move | Exercise, holding: Holding, quantity: int, queue: _Queue, method: str
    ) -> list[Taken]:
        lots: Iterable[tuple[date, bytes, str]] = queue.lots
        if method == "average" and (gift := self.gifts & queue.left.keys()):
            raise ValueError(f"average cost of a gift ({min(gift)}) is not modelled")
        if method not in ("fifo", "average"):
            lots = self._by_method(queue.open(), holding[1], method)
        need, taken = quantity, []
        for on, _, lot_id in lots:
            part = min(need, queue.left[lot_id])
            if part:
                taken.append((on, lot_id, part))
                need -= part
            if not need:
                if lots is not queue.lots:
                    taken.sort(key=lambda lot: (lot[0], lot[1].encode()))
                return [(lot_id, part) for _, lot_id, part in taken]
        raise ValueError(_oversell(event, holding[1], quantity, quantity - need))

    def _by_method(
        self, lots: list[tuple[date, bytes, str]], security_id: str, method: str
    ) -> list[tuple[date, bytes, str]]:
        choices = []
        for on, _, lot_id in lots:
            cost = self.cost.get((security_id, lot_id))
            if cost is None:
                raise ValueError(f"lot {lot_id} was not simply bought: name the lots, {method} is not modelled for it")
            choices.append(Choice(lot_id, on, on, cost))
        return [(lot.acquired_on, lot.lot_id.encode(), lot.lot_id) for lot in ordered(choices, method)]

    def _picked(self, event: Trade | Move | Exercise, holding: Holding, quantity: int, queue: _Queue) -> list[Taken]:
        """The picks of an event in order of acquisition, none without picks.

        Errors   ValueError when they cannot be followed.
        """
        wanted: dict[str, int] = defaultdict(int)
        for lot_id, picked in event.picks:
            wanted[lot_id] += picked
        if wanted and sum(wanted.values()) != quantity:
            raise ValueError("its lots do not add up to the quantity sold")
        taken = [(lot_id, wanted.pop(lot_id)) for *_, lot_id in queue.lots if lot_id in wanted] if wanted else []
        for lot_id in wanted:
            raise ValueError(f"lot {lot_id} is not an open lot of {holding[1]} in {holding[0]}")
        for lot_id, picked in taken:
            if picked > queue.left[lot_id]:
                missing = _short(picked - queue.left[lot_id])
                raise ValueError(f"takes more from lot {lot_id} than is left: {missing} missing")
        return taken

    def _refuse(self, trade_id: str, reason: str) -> None:
        self.said.refused.append(Refused(trade_id, reason))
        self.said.skipped.add(trade_id)

    def _group(self, security_id: str) -> str:
        return self.groups.get(security_id, security_id)

    def _another(self, event: Trade | Exercise, security_id: str, option: Option | None, is_digital: bool) -> str:
        """Why an event cannot be of the security that an earlier one of the same name was of, or nothing."""
        if (change := self.retired.get(security_id)) is not None:
            return (
                f"{security_id} is {change.new_security_id} since {change.traded_on} ({change.trade_id}): another company "
                "under the old symbol needs a security_id of its own"
            )
        terms = option._replace(is_deep=False) if option is not None else None
        first, was_digital, where = self.said_of.setdefault(security_id, (terms, is_digital, event.trade_id))
        if first != terms:
            said = (
                f"{first.right} on {first.underlying_id} at {first.strike_usd}, {first.per} shares"
                if first
                else "no option"
            )
            return f"{security_id} is {said} in {where}: say its kind and its terms alike in every row"
        if was_digital != is_digital:
            return f"asset of {security_id} is {'digital_asset' if was_digital else 'security'} in {where}"
        return ""

    def _beside(self, security_id: str, is_short: bool, is_deferred: bool) -> str:
        """Shares may not stand beside what is owed of them, or beside a put on them: why not, or nothing."""
        group, mine = self._stance(security_id, is_short)
        if is_deferred:
            return "a short sale in a deferred account is not modelled" if mine == "a short position" else ""
        self.has_hedges |= mine in ("a put", "a short position")
        if not mine or not self.has_hedges:
            return ""
        for (account_id, other_id, is_owed), queue in self.queues.items():
            where, other = self._stance(other_id, is_owed)
            is_against = where == group and other and (mine == "shares") != (other == "shares")
            if is_against and account_id not in self.deferred and queue.open():
                return (
                    f"{mine} beside {other} of {group} ({other_id} in {account_id}) is not modelled "
                    "(26 USC 1233(b), 1259: the holding period, a constructive sale)"
                )
        return ""

    def _stance(self, security_id: str, is_short: bool) -> tuple[str, str]:
        option = self.options.get(security_id)
        if option is None:
            return self._group(security_id), "a short position" if is_short else "shares"
        return (self._group(option.underlying_id), "a put") if option.right == "put" and not is_short else ("", "")

    def _sold_beside(self, close: Trade) -> str:
        group = self._group(close.security_id)
        for event in self.events:
            if (
                isinstance(event, Trade) and not event.opens and not event.is_short and not event.is_deferred
                and self._group(event.security_id) == group
                and abs((event.traded_on - close.traded_on).days) <= self.window_days
            ):  # fmt: skip
                what = f"a short sale closed within {self.window_days} days of a sale ({event.trade_id})"
                return f"{what} is not modelled (26 USC 1091(e)(1))"
        return ""

    def _unmodelled(self, action: Action, holdings: list[Holding]) -> str:
        for security_id, option in self.options.items():
            if option.underlying_id == action.security_id and any(
                queue.open() for key, queue in self.queues.items() if key[1] == security_id
            ):
                return f"{action.kind} of {action.security_id} while {security_id} is open is not modelled: its terms or its name change"
        held = {key[1] for key, queue in self.queues.items() if queue.open()}
        if action.kind == "symbol_change" and action.new_security_id in held:
            return f"{action.new_security_id} is held already: two companies cannot have one security_id"
        if action.kind not in ("split", "symbol_change") and any(is_short for *_, is_short in holdings):
            return f"{action.kind} of {action.security_id} while shares of it are owed is not modelled"
        return ""


def read_picks(text: str) -> tuple[tuple[str, int], ...]:
    """LOT:QTY;LOT:QTY as (lot_id, nano-shares); an empty text picks nothing.

    Errors   ValueError.

    >>> read_picks("P-1:2.5;P-7:1")
    (('P-1', 2500000000), ('P-7', 1000000000))
    """
    picks = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        lot_id, colon, quantity = part.rpartition(":")
        if not colon or not lot_id.strip():
            raise ValueError(f"lots {text!r} is not LOT:QTY;LOT:QTY")
        picked = nano_shares(decimal(quantity))
        if picked <= 0:
            raise ValueError(f"lots {text!r}: a quantity is not above zero")
        picks.append((lot_id.strip(), picked))
    return tuple(picks)


def _oversell(event: Trade | Move | Exercise, security_id: str, quantity: int, held: int) -> str:
    return (
        f"oversell: {event.account_id} holds {_short(held)} of {security_id} on {event.traded_on}, "
        f"{_short(quantity - held)} too few"
    )


def _short(nano: int) -> str:
    return f"{shares_text(nano)} share" + ("" if nano == NANO else "s")
