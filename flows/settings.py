"""portfolio.toml as one typed, frozen object.

A household is described in one file. Every key is checked when it is read: an unknown key, a weight that does
not add up or an account of an unknown type stops with the file, the key, what was expected and what to do.
"""

import os
import tomllib
from datetime import date
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from transforms.model import DEFERRED, TAXABLE

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
    linked: bool  # true: every account of the household is listed; false lowers the confidence, visibly


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
    relief: Literal["fifo_only", "on_order"] = "fifo_only"
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
        return self

    @property
    def is_deferred(self) -> bool:
        return self.type in DEFERRED

    @property
    def orders(self) -> str:
        """dry_run unless told otherwise; the simulated broker, where nothing is at stake, fills on its own."""
        return self.mode or ("auto" if self.broker == "simulated" else "dry_run")


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
    identical: dict[str, str] = {}
    law_policy: dict[str, str] = {}  # answers to the open questions of sql/law/policy.csv, as its values are written
    targets: dict[str, Fraction] = {}
    bands: Bands = Bands()
    harvest: Harvest = Harvest()
    replacement: Replacement = Replacement()
    risk: Risk = Risk()
    gates: Gates = Gates()
    expenses: Expenses = Expenses()

    @model_validator(mode="after")
    def _consistent(self) -> "Portfolio":
        ids = [account.id for account in self.accounts] + [bank.id for bank in self.banks]
        if repeated := {name for name in ids if ids.count(name) > 1}:
            raise ValueError(f"ids must differ; repeated: {', '.join(sorted(repeated))}")
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
