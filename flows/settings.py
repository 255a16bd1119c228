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


class Prices(_Frozen):
    source: Literal["skfolio", "folder"]
    folder: str | None = None
    securities: str | None = None
    replay_from: date | None = None  # prices that end in the past: the first run works on this day, see clock.py


class Account(_Frozen):
    id: str
    name: str
    type: str
    owner: Literal["self", "spouse", "joint"]
    broker: Literal["simulated", "statements"]
    relief: Literal["fifo_only", "on_order", "after_trade", "average"] = "fifo_only"
    method: Literal["fifo", "lifo", "hifo", "lowest_tax"] | None = None  # the lots that we intend, see `intends`
    standing: Literal["fifo", "lifo", "hifo"] = "fifo"  # what the broker is told once and for all
    standing_since: date | None = None
    identify_by: time = time(20, 30)  # after_trade: until when the broker takes the lots, New York, on the trade day
    activities: str
    positions: str | None = None  # statements only: the file that says what is held, and how far it speaks
    max_age_days: Annotated[int, Field(ge=1)] = 5
    mode: Literal["dry_run", "auto"] | None = None
    can_hold: tuple[str, ...] = ()  # the securities it can hold; empty: any

    @model_validator(mode="after")
    def _known_type(self) -> "Account":
        if self.type not in DEFERRED | TAXABLE:
            raise ValueError(f"type {self.type!r} is not one of {', '.join(sorted(DEFERRED | TAXABLE))}")
        if (self.broker == "statements") != (self.positions is not None):
            raise ValueError("positions names a file where broker is statements, and only there")
        if self.broker == "statements" and self.mode == "auto":
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
    lines: str
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


class Gates(_Frozen):
    max_order_weight: Fraction = 0.10  # of the account
    max_daily_turnover: Fraction = 0.25  # of the household
    max_price_age_sessions: Annotated[int, Field(ge=0)] = 1
    max_price_move: Fraction = 0.35  # a larger move in one session is not believed
    max_washed_usd: Annotated[Decimal, Field(ge=0)] = Decimal(50)  # of loss that a trade may wash: this much,
    max_washed_rate: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.02")  # or this part of it, whichever is more
    max_permanent_usd: Annotated[Decimal, Field(ge=0)] = Decimal(50)  # of it that may be lost for good
    do_not_trade: tuple[str, ...] = ()


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
    unlinked: tuple[Unlinked, ...] = ()
    future: tuple[Future, ...] = ()
    identical: dict[str, str] = {}  # the same security, its share classes, and what the household says is one
    same_index: dict[str, str] = {}  # fund -> its index
    law_policy: dict[str, str] = {}  # answers to the open questions of sql/law/policy.csv, as its values are written
    targets: dict[str, Fraction] = {}
    bands: Bands = Bands()
    harvest: Harvest = Harvest()
    replacement: Replacement = Replacement()
    risk: Risk = Risk()
    gates: Gates = Gates()
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
        if self.unlinked and self.household.linked:
            raise ValueError("household.linked is true, and [[unlinked]] names accounts that are not: set it to false")
        known = {account.id for account in self.accounts} | {account.name for account in self.unlinked}
        if unknown := {future.account for future in self.future} - known:
            raise ValueError(f"[[future]] names accounts that are not listed: {', '.join(sorted(unknown))}")
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
