"""What the gates look at: the lines of a batch, what is known of the world, and what the lines add up to.

Nothing here judges. `Evidence` is what was read once; `counted` walks through the lines in the order in which they go out
and says what is true when one of them is done, so that a gate is a comparison and no arithmetic.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from transforms.lots.check import Effect, Limits
from transforms.orders.day_trades import Execution, Rule, day_trades
from transforms.orders.options import PER, contract, strategy
from transforms.orders.settled import Unpaid

WAITS = frozenset(("market_closed", "not_approved"))  # these refuse for now: the line is asked again
ZERO = Decimal(0)
Key = tuple[str, int]  # batch_id, line


class Line(NamedTuple):
    """A line of a decided batch. Units: shares or contracts, USD a share; expires_at is UTC without a time zone."""

    batch_id: str
    line: int
    pair: int
    account_id: str
    session_on: date
    side: str
    security_id: str
    quantity: Decimal
    price_usd: Decimal
    lots: str
    mode: str  # as it was when the batch was decided
    method: str = "harvest"
    expires_at: datetime | None = None
    kind: str = "daily"

    @property
    def together(self) -> tuple[date, str, int]:
        """What goes together or not at all, in whatever accounts."""
        return self.session_on, self.kind, self.pair

    @property
    def pair_here(self) -> tuple[str, int]:
        """The part of a pair in one account, where its sales pay for its purchases."""
        return self.batch_id, self.pair

    @property
    def value_usd(self) -> Decimal:
        return value_usd(self.security_id, self.quantity, self.price_usd)

    @property
    def cash_usd(self) -> Decimal:
        """What it does to the account's cash."""
        return -self.value_usd if self.side == "buy" else self.value_usd

    @property
    def key(self) -> Key:
        return self.batch_id, self.line


class Refusal(NamedTuple):
    """`waits`: it is not for good."""

    batch_id: str
    line: int
    gate: str
    reason: str

    @property
    def key(self) -> Key:
        return self.batch_id, self.line

    @property
    def waits(self) -> bool:
        return self.gate in WAITS


class Policy(NamedTuple):
    """The limits of portfolio.toml. Units: rates and weights are fractions; None is no limit."""

    max_order_weight: Decimal
    max_position_weight: Decimal
    max_volume_rate: Decimal
    max_daily_turnover: Decimal
    max_daily_short_gain_usd: Decimal | None
    max_daily_long_gain_usd: Decimal | None
    max_price_age: int
    max_price_move: float
    max_drawdown: float
    wash: Limits
    do_not_trade: frozenset[str]


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of an account, orders that are under way taken off. Units: USD, shares; `now` is UTC.

    `unsound`, `broken` and `blocked` say what is wrong with it; empty: nothing.
    """

    now: datetime
    session_on: date  # the one in which an order that is sent now is executed
    is_open: bool = True  # the exchange trades now
    cash_usd: Decimal = ZERO
    held: Mapping[str, Decimal] = field(default_factory=dict)  # negative where shares are owed
    worth_usd: Mapping[str, Decimal] = field(default_factory=dict)  # of what is held, by security
    unsound: str = ""
    broken: str = ""
    blocked: str = ""
    buying_power_usd: Decimal | None = None  # None: the broker does not say
    options_level: int | None = None
    is_margin: bool = False
    may_short: bool = False
    max_leverage: Decimal = Decimal(1)
    unpaid: Unpaid = field(default_factory=dict)  # of a cash account
    day_trade_rule: Rule | None = None
    executions: tuple[Execution, ...] = ()  # of the rule's sessions
    day_trades_told: int = 0  # by the broker

    @property
    def equity_usd(self) -> Decimal:
        return self.cash_usd + sum(self.worth_usd.values(), ZERO)


NOBODY = Account(datetime.min, date.min)  # of a line whose account is not described any more: nothing is there


class Security(NamedTuple):
    """What is known of a security's price. None: nobody says."""

    sessions_old: int
    move: float  # last price / the one before - 1
    daily_volume_usd: Decimal | None = None  # shares x price, mean of the last 20 sessions that have a volume


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the gates look at, but for the lines themselves. Units: USD, signed as said."""

    policy: Policy
    accounts: Mapping[str, Account]
    securities: Mapping[str, Security]
    stopped: str = ""  # where the kill switch stands and how to lift it; empty: it is not there
    drawdown: float | None = None  # below the high, as a positive fraction; None: not measured
    washed: Mapping[Key, Effect] = field(default_factory=dict)  # what the pre-trade check says of each line
    washed_in_part: Mapping[Key, str] = field(default_factory=dict)  # why not, if not all of them were filled
    unseen: Mapping[str, str] = field(default_factory=dict)  # security -> who could have bought it unseen, in words
    approved: frozenset[str] = frozenset()  # batches, by the digest of these lines
    sent_usd: Decimal = ZERO  # value of the orders that went out for this session already
    pair_usd: Mapping[tuple[str, int], Decimal] = field(default_factory=dict)  # what they put into a pair's securities
    gained_usd: tuple[Decimal, Decimal] = (ZERO, ZERO)  # short and long, realised in this session already

    @property
    def equity_usd(self) -> Decimal:
        return sum((account.equity_usd for account in self.accounts.values()), ZERO)


class Count(NamedTuple):
    """What is true when a line is done: itself and the lines before it; of `pair` and `day_trades`, all lines."""

    traded_usd: Decimal  # by the household in this session
    security_usd: Decimal  # of it in this security, by these lines
    position_usd: Decimal  # the household's, in this security
    sold: Decimal  # shares of it that these lines sell from the account
    short: Decimal  # of those, what the account does not hold
    cash_usd: Decimal  # of the account, all of its sales done first
    bought_usd: Decimal  # by the account less all that it sells
    exposure_usd: Decimal  # of the account, what is owed as positive too
    pair_usd: Decimal  # what the whole pair puts into securities
    gained_usd: tuple[Decimal, Decimal]  # short and long, gains alone
    is_day_trade: bool  # does it open what another closes in this session, or the other way
    day_trades: int  # in the rule's sessions, with this batch
    trades: int  # the same, of every kind
    strategy: str  # of an option, see options.py


def value_usd(security_id: str, quantity: Decimal, price_usd: Decimal) -> Decimal:
    """
    >>> value_usd("HD", Decimal(2), Decimal(300)), value_usd("HD240119C00350000", Decimal(2), Decimal("1.50"))
    (Decimal('600'), Decimal('300.00'))
    """
    return quantity * price_usd * (PER if contract(security_id) else 1)


def counted(lines: Sequence[Line], seen: Evidence) -> dict[Key, Count]:
    """What every line adds up to with those before it.

    Order    as given: sales go out before purchases, so an account's sales count before its first purchase.
    Units    USD and shares.
    """
    own = {name: [line for line in lines if line.account_id == name] for name in {line.account_id for line in lines}}
    account = {name: seen.accounts.get(name, NOBODY) for name in own}
    sells_usd = {name: sum((x.value_usd for x in mine if x.side == "sell"), ZERO) for name, mine in own.items()}
    days = {name: _day_trades(mine, account[name]) for name, mine in own.items()}
    pair_usd = defaultdict(Decimal, seen.pair_usd)
    for line in lines:
        pair_usd[line.pair_here] -= line.cash_usd

    traded = _running(lines, _household, lambda x: x.value_usd, lambda x: seen.sent_usd)
    ordered = _running(lines, _security, lambda x: x.value_usd)
    position = _running(lines, _security, lambda x: -x.cash_usd, lambda x: _worth(seen, x.security_id))
    sold = _running(lines, _where, lambda x: x.quantity if x.side == "sell" else ZERO)
    bought = _running(lines, _account, lambda x: x.value_usd if x.side == "buy" else ZERO)
    worth = _running(
        lines, _where, lambda x: -x.cash_usd, lambda x: account[x.account_id].worth_usd.get(x.security_id, ZERO)
    )
    exposure = _running(
        lines, _account, lambda x: abs(worth[x.key]) - abs(worth[x.key] + x.cash_usd),
        lambda x: sum(map(abs, account[x.account_id].worth_usd.values()), ZERO),
    )  # fmt: skip
    gained = {line.key: _gains(seen, line) for line in lines}
    short = _running(lines, _household, lambda x: gained[x.key][0], lambda x: seen.gained_usd[0])
    long = _running(lines, _household, lambda x: gained[x.key][1], lambda x: seen.gained_usd[1])
    return {
        line.key: Count(
            traded[line.key], ordered[line.key], position[line.key], sold[line.key], _short(sold[line.key], line, account[name]),
            account[name].cash_usd + sells_usd[name] - bought[line.key], bought[line.key] - sells_usd[name],
            exposure[line.key], pair_usd[line.pair_here], (short[line.key], long[line.key]),
            line.security_id in days[name].today, days[name].day_trades, days[name].trades,
            _strategy(line, own[name], account[name]),
        )
        for line in lines
        if (name := line.account_id)
    }  # fmt: skip


def _running(
    lines: Iterable[Line],
    by: Callable[[Line], Hashable],
    of: Callable[[Line], Decimal],
    start: Callable[[Line], Decimal] = lambda _: ZERO,
) -> dict[Key, Decimal]:
    """The sum of `of` over the lines that are alike `by`, up to each line and with it."""
    sums: dict[Hashable, Decimal] = {}
    found: dict[Key, Decimal] = {}
    for line in lines:
        sums[by(line)] = found[line.key] = sums.get(by(line), start(line)) + of(line)
    return found


def _household(line: Line) -> str:
    return ""


def _account(line: Line) -> str:
    return line.account_id


def _security(line: Line) -> str:
    return line.security_id


def _where(line: Line) -> tuple[str, str]:
    return line.account_id, line.security_id


def _worth(seen: Evidence, security_id: str) -> Decimal:
    return sum((account.worth_usd.get(security_id, ZERO) for account in seen.accounts.values()), ZERO)


def _gains(seen: Evidence, line: Line) -> tuple[Decimal, Decimal]:
    """What a sale would realise in gains, short and long; a loss counts nothing, and pays for no other line's gain."""
    if (effect := seen.washed.get(line.key)) is None or line.side == "buy":
        return ZERO, ZERO
    return max(ZERO, Decimal(effect.short_gain).scaleb(-2)), max(ZERO, Decimal(effect.long_gain).scaleb(-2))


def _short(sold: Decimal, line: Line, account: Account) -> Decimal:
    return max(ZERO, sold - max(ZERO, account.held.get(line.security_id, ZERO)))


def _strategy(line: Line, own: Sequence[Line], account: Account) -> str:
    if contract(line.security_id) is None:
        return ""
    before = [(x.side, x.security_id, x.quantity) for x in own[: own.index(line)]]
    return strategy(line.side, line.security_id, line.quantity, account.held, before, account.cash_usd)


class _Days(NamedTuple):
    day_trades: int
    trades: int
    today: frozenset[str]  # securities that are day-traded in this session


def _day_trades(own: Sequence[Line], account: Account) -> _Days:
    """With these lines done: the day trades and the trades of the rule's sessions."""
    if account.day_trade_rule is None:
        return _Days(0, 0, frozenset())
    new = [Execution(account.session_on, None, x.security_id, _opens(x, account)) for x in own]
    known, both = day_trades(account.executions), day_trades([*account.executions, *new])
    now = [one for one in (*account.executions, *new) if one.session_on == account.session_on]
    today = {name for name in {x.security_id for x in own} if day_trades(x for x in now if x.security_id == name)}
    total = max(known, account.day_trades_told) + both - known
    return _Days(total, len(account.executions) + len(new), frozenset(today))


def _opens(line: Line, account: Account) -> bool:
    held = account.held.get(line.security_id, ZERO)
    return held >= 0 if line.side == "buy" else held <= 0
