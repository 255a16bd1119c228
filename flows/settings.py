"""portfolio.toml as one typed, frozen object.

A household is described in one file. Every key is checked when it is read: an unknown key, a weight that does
not add up or an account of an unknown type stops with the file, the key, what was expected and what to do.
"""

import os
import tomllib
from datetime import date, time
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flows.connectors.formats.column_map import MARKUP, OWN, ColumnMap, shipped
from transforms.lots.check import Limits
from transforms.lots.tiers import merged
from transforms.model import DEFERRED, TAXABLE
from warehouse.law import policy

DEMO = Path(__file__).parent / "demo"
Fraction = Annotated[float, Field(ge=0, le=1)]


class SettingsError(Exception):
    """portfolio.toml is missing or wrong; the message says where and what to do."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Household(_Frozen):
    name: str
    filing_status: Literal["single", "mfj", "mfs", "hoh", "qss"]
    taxable_income_usd: Decimal  # ordinary taxable income of the year, before the portfolio
    state_rate: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal(0)
    linked: bool  # true: every account is under [[accounts]]; false lowers the confidence, visibly ([[unlinked]])


KeyName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$")]  # a name, never the key itself


class Alpaca(_Frozen):
    """How an account at Alpaca is reached. Its keys are in the environment or in Prefect Secret blocks, never here."""

    key_name: KeyName = (
        "ALPACA"  # ALPACA_API_KEY and ALPACA_SECRET_KEY, or the blocks alpaca-api-key and alpaca-secret-key
    )
    paper: bool = True


class Ibkr(_Frozen):
    """How an account at Interactive Brokers is reached: a gateway on this machine, and Flex statements."""

    host: str = "127.0.0.1"
    port: int = 4002  # the gateway's paper port; 4001 is live
    client_id: Annotated[int, Field(ge=1)] = 1
    account: str = ""  # the broker's own number; empty where the login has one account
    flex_query: str = (
        ""  # id of the Flex query that tells activities; its token is IBKR_FLEX_TOKEN or the block ibkr-flex-token
    )
    patience_seconds: Annotated[float, Field(gt=0)] = 8  # so long a gateway may stay silent while it is connected to


class AlpacaPrices(_Frozen):
    """Prices by Alpaca, live ones too. `feed`: iex is free, sip is every exchange."""

    key_name: KeyName = "ALPACA"
    feed: Literal["iex", "sip", "delayed_sip"] = "iex"


class Prices(_Frozen):
    source: Literal["skfolio", "folder", "alpaca", "ibkr"]
    folder: str | None = None
    alpaca: AlpacaPrices = AlpacaPrices()
    ibkr: Ibkr = Ibkr()
    securities: str | None = None
    replay_from: date | None = None  # prices that end in the past: the first run works on this day, see clock.py


Bps = Annotated[Decimal, Field(ge=0, lt=5000, decimal_places=4)]
Dollars = Annotated[Decimal, Field(ge=0, decimal_places=6)]


class Simulation(_Frozen):
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


class Account(_Frozen):
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


class Unlinked(_Frozen):
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


class Future(_Frozen):
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


class Bank(_Frozen):
    id: str
    lines: str  # the file, or files ("bank/*.qfx")
    format: str = "thresher"  # whose export it is, or a name of [formats]
    number: str = ""  # the account's number, or its last digits, where the files tell of several
    max_age_days: Annotated[int, Field(ge=1)] = 10


class Bands(_Frozen):
    absolute: Fraction = 0.05


class Harvest(_Frozen):
    min_loss_usd: Annotated[Decimal, Field(ge=0)] = Decimal(1000)
    min_loss_rate: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.05")


class Replacement(_Frozen):
    min_correlation: Annotated[float, Field(ge=-1, le=1)] = 0.5
    beta_range: tuple[float, float] = (0.6, 1.4)
    lookback_sessions: Annotated[int, Field(ge=60)] = 504


class Risk(_Frozen):
    lookback_sessions: Annotated[int, Field(ge=60)] = 252
    var_confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    max_drawdown: Fraction = 0.20
    risk_free_rate: float = 0.02


class Sleeve(_Frozen):
    """A part of the portfolio, and the one method that trades it besides harvests and a person's own orders."""

    name: str
    method: str  # none, or a method that proposes: see METHODS in decide.py
    accounts: tuple[str, ...] = ()  # empty: all
    securities: tuple[str, ...] = ()  # empty: all
    harvest: bool = True


class Orders(_Frozen):
    """How a decision is carried out at a broker."""

    collar_rate: Fraction = 0.02  # the limit of an order, away from a live price
    overnight_collar_rate: Fraction = 0.10  # the same, away from the close that it was decided on
    attempts: Annotated[int, Field(ge=1)] = 2  # an order that ended unfilled is tried so often, in its session
    max_lapse_minutes: Annotated[int, Field(ge=0)] = 10  # a sale is filled, its replacement not: then at the market
    poll_seconds: Annotated[int, Field(ge=1)] = 5
    work_minutes: Annotated[int, Field(ge=0)] = 30  # so long the final flow waits for fills


class Intraday(_Frozen):
    """Scans of live prices in market hours."""

    max_quote_age_minutes: Annotated[int, Field(ge=1)] = 20  # an older price is none
    again_at_growth: Annotated[Decimal, Field(ge=0)] = Decimal("0.25")  # of a loss that was decided on today


class AccountGates(_Frozen):
    """What an account may do; left out, it is a cash account."""

    is_margin: bool = False  # it may borrow, and its broker may count day trades
    may_short: bool = False
    max_leverage: Annotated[Decimal, Field(gt=0)] = Decimal(1)  # gross exposure to equity
    intraday_margin_from: date | None = None  # when its broker stopped counting day trades; None: nobody said


class Gates(_Frozen):
    """What no order may pass; docs/gates.md says what each limit is for."""

    max_order_weight: Fraction = 0.10  # of the account
    max_position_weight: Fraction = 0.50  # of the household, in one security, after a purchase
    max_volume_rate: Fraction = 0.01  # of a day's volume, mean of 20 sessions
    max_daily_turnover: Fraction = 0.25  # of the household
    max_daily_short_gain_usd: Annotated[Decimal, Field(ge=0)] | None = Decimal(1000)  # that a day's sales realise
    max_daily_long_gain_usd: Annotated[Decimal, Field(ge=0)] | None = Decimal(10_000)
    max_price_age_sessions: Annotated[int, Field(ge=0)] = 1
    max_price_move: Fraction = 0.35  # a larger move in one session is not believed
    max_washed_usd: Annotated[Decimal, Field(ge=0)] = Decimal(50)  # of loss that a trade may wash: this much,
    max_washed_rate: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.02")  # or this part of it, whichever is more
    max_permanent_usd: Annotated[Decimal, Field(ge=0)] = Decimal(50)  # of it that may be lost for good
    do_not_trade: tuple[str, ...] = ()
    accounts: dict[str, AccountGates] = {}  # by the id of [[accounts]]

    def of(self, account_id: str) -> AccountGates:
        return self.accounts.get(account_id, AccountGates())


class ExpenseRule(_Frozen):
    match: str
    category: str
    business_share: Annotated[Decimal, Field(ge=0, le=1)] = Decimal(1)


class Expenses(_Frozen):
    rules: tuple[ExpenseRule, ...] = ()


class Portfolio(_Frozen):
    household: Household
    prices: Prices
    accounts: tuple[Account, ...] = Field(min_length=1)
    banks: tuple[Bank, ...] = ()
    formats: dict[str, ColumnMap] = {}  # exports of your own: docs/statements.md
    unlinked: tuple[Unlinked, ...] = ()
    future: tuple[Future, ...] = ()
    identical: dict[str, str] = {}  # the same security, its share classes, and what the household says is one
    same_index: dict[str, str] = {}  # fund -> its index
    law_policy: dict[str, str] = {}  # answers to the open questions of sql/law/policy.csv, as its values are written
    targets: dict[str, Fraction] = {}
    sleeves: tuple[Sleeve, ...] = ()  # the first that holds an account and a security is theirs
    rank: tuple[str, ...] = ("hand", "harvest")  # of methods that want opposite things
    bands: Bands = Bands()
    harvest: Harvest = Harvest()
    replacement: Replacement = Replacement()
    risk: Risk = Risk()
    gates: Gates = Gates()
    orders: Orders = Orders()
    intraday: Intraday = Intraday()
    expenses: Expenses = Expenses()

    @property
    def groups(self) -> dict[str, str]:
        """The substantially identical securities that the books match in."""
        washes = policy(self.law_policy)["same_index_washes"] == "true"
        return self.cautious_groups if washes else self.identical

    @property
    def cautious_groups(self) -> dict[str, str]:
        """The same with the funds on one index united, whatever the policy: a harvest is kept clear of these."""
        return merged(self.identical, self.same_index) if self.same_index else self.identical

    @property
    def not_linked(self) -> tuple[Unlinked, ...]:
        """The accounts that nobody sees: those named, or one that may hold anything where none is."""
        return self.unlinked if self.unlinked or self.household.linked else (NOT_LISTED,)

    @property
    def wash_limits(self) -> Limits:
        gates = self.gates
        return Limits(int(gates.max_washed_usd * 100), gates.max_washed_rate, int(gates.max_permanent_usd * 100))

    @model_validator(mode="after")
    def _consistent(self) -> "Portfolio":
        ids = [account.id for account in self.accounts] + [bank.id for bank in self.banks]
        ids += [account.name for account in self.unlinked]
        if repeated := {name for name in ids if ids.count(name) > 1}:
            raise ValueError(f"ids must differ; repeated: {', '.join(sorted(repeated))}")
        known_formats = {*MARKUP, *shipped(), *self.formats, OWN}
        said_formats = {account.format for account in self.accounts} | {bank.format for bank in self.banks}
        if unknown := said_formats - known_formats:
            raise ValueError(
                f"format {', '.join(sorted(unknown))} is not known; one of {', '.join(sorted(known_formats))}"
            )
        if self.unlinked and self.household.linked:
            raise ValueError("household.linked is true, and [[unlinked]] names accounts that are not: set it to false")
        known = {account.id for account in self.accounts} | {account.name for account in self.unlinked}
        if unknown := {future.account for future in self.future} - known:
            raise ValueError(f"[[future]] names accounts that are not listed: {', '.join(sorted(unknown))}")
        reached: list[tuple[str | int | bool, ...]] = [
            (a.alpaca.key_name, a.alpaca.paper) for a in self.accounts if a.broker == "alpaca"
        ]
        reached += [(a.ibkr.host, a.ibkr.port, a.ibkr.account) for a in self.accounts if a.broker == "ibkr"]
        if twice := {str(where[0]) for where in reached if reached.count(where) > 1}:
            raise ValueError(f"two accounts are reached the same way, and would be one: {', '.join(sorted(twice))}")
        if unknown := set(self.gates.accounts) - {account.id for account in self.accounts}:
            raise ValueError(f"[gates.accounts] names accounts that are not listed: {', '.join(sorted(unknown))}")
        if self.targets and abs(sum(self.targets.values()) - 1) > 1e-9:
            raise ValueError(f"targets must add up to 1, they add up to {sum(self.targets.values()):.4f}")
        return self


class Settings(_Frozen):
    """Where everything is, and the household's own policy."""

    home: Path
    portfolio_file: Path
    portfolio: Portfolio

    @property
    def warehouse(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def snapshot(self) -> Path:
        return self.home / "snapshot.duckdb"

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    def beside(self, name: str) -> Path:
        """A file that portfolio.toml names, relative to where portfolio.toml stands."""
        return self.portfolio_file.parent / name

    @cached_property
    def policy_hash(self) -> str:
        return sha256(self.portfolio.model_dump_json().encode()).hexdigest()[:16]


def home() -> Path:
    """THRESHER_HOME, by default ~/.thresher; made on first use, readable by its owner only."""
    path = Path(os.environ.get("THRESHER_HOME") or Path.home() / ".thresher").absolute()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def load(prices_folder: Path | None = None, *, demo: bool = False) -> Settings:
    """The household of THRESHER_HOME, or the demo household; `prices_folder` replaces the source of prices.

    Errors   SettingsError.
    """
    base = home() / "demo" if demo else home()
    base.mkdir(mode=0o700, exist_ok=True)
    own = base / "portfolio.toml"
    file = DEMO / "portfolio.toml" if demo and not own.exists() else own
    portfolio = read_portfolio(file)
    if prices_folder is not None:
        prices = Prices(source="folder", folder=str(prices_folder.absolute()), replay_from=portfolio.prices.replay_from)
        portfolio = portfolio.model_copy(update={"prices": prices})
    if (
        portfolio.prices.source == "skfolio"
        and not (listed := file.parent / (portfolio.prices.securities or "securities.csv")).exists()
    ):
        raise SettingsError(
            f"{listed} does not exist: prices.securities names a CSV of symbol,name,sector; copy {DEMO / 'securities.csv'}"
        )
    return Settings(home=base, portfolio_file=file, portfolio=portfolio)


def read_portfolio(file: Path) -> Portfolio:
    try:
        return Portfolio.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SettingsError(
            f"{file} does not exist. Make one: copy {DEMO / 'portfolio.toml'} to it and put your own accounts, "
            "targets and rules in. To see Thresher work first, without one: thresher demo"
        ) from None
    except tomllib.TOMLDecodeError as wrong:
        raise SettingsError(f"{file} is not TOML: {wrong}") from None
    except ValidationError as wrong:
        faults = "\n".join(f"  {'.'.join(map(str, e['loc'])) or '(file)'}: {e['msg']}" for e in wrong.errors())
        raise SettingsError(f"{file} needs mending:\n{faults}") from None
