"""Who the household is, its accounts, what it knows to come, and where rows and prices come from: those tables of portfolio.toml."""

from datetime import date, time
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from transforms.model import DEFERRED, TAXABLE

Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[Decimal, Field(ge=0, le=1)]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Household(Frozen):
    name: str
    filing_status: Literal["single", "mfj", "mfs", "hoh", "qss"]
    taxable_income_usd: Decimal  # ordinary taxable income of the year, before the portfolio
    state_rate: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal(0)
    carryover_into: int | None = None  # the tax year whose return begins with these losses, from the return before:
    carryover_short_usd: Annotated[Decimal, Field(ge=0)] = Decimal(0)  # short-term, positive
    carryover_long_usd: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    planned_short_gain_usd: Annotated[Decimal, Field(ge=0)] = Decimal(0)  # still to be realised this year, anywhere
    planned_long_gain_usd: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    linked: bool  # true: every account is under [[accounts]]; false lowers the confidence, visibly ([[unlinked]])

    @model_validator(mode="after")
    def _carried_into_a_year(self) -> "Household":
        if (self.carryover_short_usd or self.carryover_long_usd) and self.carryover_into is None:
            raise ValueError("carryover_into is missing: the tax year that the carryover is a part of, such as 2026")
        return self


KeyName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$")]  # a name, never the key itself


class Alpaca(Frozen):
    """How an account at Alpaca is reached. Its keys are in the environment or in Prefect Secret blocks, never here."""

    key_name: KeyName = (
        "ALPACA"  # ALPACA_API_KEY and ALPACA_SECRET_KEY, or the blocks alpaca-api-key and alpaca-secret-key
    )
    paper: bool = True


class Ibkr(Frozen):
    """How an account at Interactive Brokers is reached: a gateway on this machine, and Flex statements."""

    host: str = "127.0.0.1"
    port: int = 4002  # the gateway's paper port; 4001 is live
    client_id: Annotated[int, Field(ge=1)] = 1
    account: str = ""  # the broker's own number; empty where the login has one account
    flex_query: str = (
        ""  # id of the Flex query that tells activities; its token is IBKR_FLEX_TOKEN or the block ibkr-flex-token
    )
    patience_seconds: Annotated[float, Field(gt=0)] = 8  # so long a gateway may stay silent while it is connected to


class AlpacaPrices(Frozen):
    """Prices by Alpaca, live ones too. `feed`: iex is free, sip is every exchange."""

    key_name: KeyName = "ALPACA"
    feed: Literal["iex", "sip", "delayed_sip"] = "iex"


class Prices(Frozen):
    source: Literal["skfolio", "folder", "alpaca", "ibkr"]
    folder: str | None = None
    alpaca: AlpacaPrices = AlpacaPrices()
    ibkr: Ibkr = Ibkr()
    securities: str | None = None
    replay_from: date | None = None  # prices that end in the past: the first run works on this day, see clock.py


Bps = Annotated[Decimal, Field(ge=0, lt=5000, decimal_places=4)]
Dollars = Annotated[Decimal, Field(ge=0, decimal_places=6)]


class Simulation(Frozen):
    """What a trade costs at the simulated broker, and how much of it fills. Left out: nothing, and all of it at once."""

    slippage_bps: Bps = Decimal(0)  # of the close, against the trade
    impact_bps: Bps = Decimal(0)  # the same for a trade as large as the session's volume; a smaller one in proportion
    commission_order_usd: Dollars = Decimal(0)  # an order
    commission_share_usd: Dollars = Decimal(0)  # a share
    commission_min_usd: Dollars = Decimal(0)  # of an order that is filled at all
    commission_max_usd: Dollars | None = None  # of an order
    volume_share: Annotated[Decimal, Field(gt=0, le=1)] | None = None  # an order fills so much of a session's volume
    least_fill: Annotated[Decimal, Field(gt=0, le=1)] = Decimal(1)  # a session fills a part between this and all of it
    dividends: Literal["feed", "derived", "none"] = "feed"  # by the market's corporate actions, or its adjusted closes
    buying_power: Literal["unlimited", "cash"] = "unlimited"  # cash: a purchase beyond it is rejected

    @model_validator(mode="after")
    def _one_commission(self) -> "Simulation":
        if self.commission_order_usd and self.commission_share_usd:
            raise ValueError("commission_order_usd or commission_share_usd, not both")
        if self.commission_max_usd is not None and self.commission_max_usd < self.commission_min_usd:
            raise ValueError("commission_max_usd is below commission_min_usd")
        return self


class Account(Frozen):
    id: str
    name: str
    type: str
    owner: Literal["self", "spouse", "joint"]
    broker: Literal["simulated", "statements", "alpaca", "ibkr"]
    relief: Literal["fifo_only", "on_order", "after_trade", "average"] = "fifo_only"
    method: Literal["fifo", "lifo", "hifo", "lowest_tax"] | None = None  # the lots that we intend, see `intends`
    standing: Literal["fifo", "lifo", "hifo"] = "fifo"  # what the broker is told once and for all
    standing_since: date | None = None
    identify_by: time = time(20, 30)  # after_trade: until when the broker takes the lots, New York, on the trade day
    activities: str | None = None  # statements: the file, or files ("schwab/*.csv"); simulated: its history
    positions: str | None = None  # statements: the file that says what is held, and how far it speaks
    format: str = "thresher"  # statements: whose export it is, or a name of [formats]
    number: str = ""  # statements: the broker's own number, or its last digits, where the files tell of several
    alpaca: Alpaca = Alpaca()
    ibkr: Ibkr = Ibkr()
    simulation: Simulation = Simulation()
    shares: Literal["whole", "fractional", "notional"] = (
        "fractional"  # what it takes: notional, purchases in dollars too
    )
    max_age_days: Annotated[int, Field(ge=1)] = 5
    mode: Literal["dry_run", "approve", "auto"] | None = None
    can_hold: tuple[str, ...] = ()  # the securities it can hold; empty: any

    @model_validator(mode="after")
    def _known_type(self) -> "Account":
        if self.type not in DEFERRED | TAXABLE:
            raise ValueError(f"type {self.type!r} is not one of {', '.join(sorted(DEFERRED | TAXABLE))}")
        if (self.broker in ("simulated", "statements")) != (self.activities is not None):
            raise ValueError("activities names a file where broker is simulated or statements, and only there")
        if self.broker != "statements" and self.positions is not None:
            raise ValueError("positions names a file where broker is statements, and only there")
        if self.broker == "statements" and self.format == "thresher" and self.positions is None:
            raise ValueError("positions is missing: the file that says what is held, and how far the statements speak")
        if self.broker != "simulated" and self.simulation != Simulation():
            raise ValueError("simulation is for an account whose broker is simulated")
        if self.broker == "statements" and self.mode not in (None, "dry_run"):
            raise ValueError("an account known by its statements takes no orders: leave mode out")
        if (self.standing != "fifo") != (self.standing_since is not None):
            raise ValueError("standing and standing_since go together: the order, and the day from which it stands")
        if self.standing != "fifo" and self.relief not in ("on_order", "after_trade"):
            raise ValueError(f"a broker that is {self.relief} follows no standing order")
        return self

    @property
    def is_deferred(self) -> bool:
        return self.type in DEFERRED

    @property
    def reaches_any_lot(self) -> bool:
        """Does the broker sell the lots that it is told, with the order or after it?"""
        return self.relief in ("on_order", "after_trade")

    @property
    def intends(self) -> str:
        """The lot method that we intend: where the broker lets us choose the one that costs the least tax."""
        return self.method or ("lowest_tax" if self.reaches_any_lot else "fifo")

    @property
    def orders(self) -> str:
        """dry_run unless told otherwise; the simulated broker, where nothing is at stake, fills on its own."""
        return self.mode or ("auto" if self.broker == "simulated" else "dry_run")


class Unlinked(Frozen):
    """An account that the household knows of and Thresher does not see."""

    name: str
    type: str
    owner: Literal["self", "spouse", "joint"]
    can_hold: tuple[str, ...] = ()  # the securities it can hold; empty: any

    @model_validator(mode="after")
    def _known_type(self) -> "Unlinked":
        if self.type not in DEFERRED | TAXABLE:
            raise ValueError(f"type {self.type!r} is not one of {', '.join(sorted(DEFERRED | TAXABLE))}")
        return self

    def __str__(self) -> str:
        held = f", holds {', '.join(self.can_hold)} only" if self.can_hold else ""
        return self.name if self is NOT_LISTED else f"{self.name} ({self.type} of {self.owner}{held})"


NOT_LISTED = Unlinked(name="an account that is not listed", type="taxable", owner="joint")


class Future(Frozen):
    """A purchase that is known to come: on a day, or every week, month or quarter from a first day on."""

    account: str  # an id of [[accounts]], or a name of [[unlinked]]
    security: str
    kind: Literal["reinvestment", "payroll", "vesting", "recurring", "order"]
    quantity: Annotated[Decimal, Field(gt=0, decimal_places=9)] | None = None
    amount_usd: Annotated[Decimal, Field(gt=0, decimal_places=2)] | None = None
    on: date | None = None
    every: Literal["week", "month", "quarter"] | None = None
    first: date | None = None
    until: date | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Future":
        if (self.on is None) == (self.every is None) or (self.every is None) != (self.first is None):
            raise ValueError("say when: on = a date, or every = week, month or quarter with first = a date")
        if self.quantity is not None and self.amount_usd is not None:
            raise ValueError("say quantity or amount_usd, not both")
        if self.quantity is None and self.amount_usd is None and self.kind != "reinvestment":
            raise ValueError("say how much: quantity or amount_usd (a reinvestment may leave it to its last dividend)")
        return self


class Bank(Frozen):
    id: str
    lines: str  # the file, or files ("bank/*.qfx")
    format: str = "thresher"  # whose export it is, or a name of [formats]
    number: str = ""  # the account's number, or its last digits, where the files tell of several
    max_age_days: Annotated[int, Field(ge=1)] = 10
