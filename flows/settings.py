"""portfolio.toml as one typed, frozen object.

A household is described in one file. Every key is checked when it is read: an unknown key, a weight that does
not add up or an account of an unknown type stops with the file, the key, what was expected and what to do.
"""

import os
import tomllib
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from flows.accounts import NOT_LISTED, Account, Bank, Fraction, Frozen, Future, Household, Prices, Unlinked
from flows.connectors.formats.column_map import MARKUP, OWN, ColumnMap, shipped
from flows.fund_pairs import indexes, on_one_index
from flows.policy import (
    Bands,
    CashFlow,
    Expenses,
    Gates,
    Harvest,
    Index,
    Intraday,
    Leverage,
    Location,
    Orders,
    Replacement,
    Risk,
    RiskTargets,
    Sleeve,
    Withdrawal,
)
from transforms.lots.check import Limits
from transforms.lots.tiers import merged
from warehouse.law import policy

DEMO = Path(__file__).parent / "demo"


class SettingsError(Exception):
    """portfolio.toml is missing or wrong; the message says where and what to do."""


class Portfolio(Frozen):
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
    index: Index | None = None  # a direct index, followed by the sleeves of that method
    sleeves: tuple[Sleeve, ...] = ()  # the first that holds an account and a security is theirs
    rank: tuple[str, ...] = (  # of methods that want opposite things, the first goes
        "hand", "leverage", "harvest", "cash_flow", "bands", "index", "location", "switch_back",
    )  # fmt: skip
    preferred: dict[str, tuple[str, ...]] = {}  # what is bought of a class, the first that may be; else what is held
    bands: Bands = Bands()
    cash_flow: CashFlow = CashFlow()
    withdrawals: tuple[Withdrawal, ...] = ()
    harvest: Harvest = Harvest()
    replacement: Replacement = Replacement()
    risk: Risk = Risk()
    risk_targets: RiskTargets = RiskTargets()
    leverage: Leverage = Leverage()
    gates: Gates = Gates()
    orders: Orders = Orders()
    intraday: Intraday = Intraday()
    expenses: Expenses = Expenses()
    location: Location | None = None  # without the table nothing is moved between accounts

    @property
    def groups(self) -> dict[str, str]:
        """The substantially identical securities that the books match in."""
        washes = policy(self.law_policy)["same_index_washes"] == "true"
        return self.cautious_groups if washes else self.identical

    @property
    def cautious_groups(self) -> dict[str, str]:
        """The same with the funds on one index united, whatever the policy: a harvest is kept clear of these.

        What a fund follows is what the household says, else what fund_pairs.csv says.
        """
        return merged(self.identical, indexes() | self.same_index)

    @property
    def not_linked(self) -> tuple[Unlinked, ...]:
        """The accounts that nobody sees: those named, or one that may hold anything where none is."""
        return self.unlinked if self.unlinked or self.household.linked else (NOT_LISTED,)

    @property
    def wash_limits(self) -> Limits:
        gates = self.gates
        washed, permanent = int(gates.max_washed_usd * 100), int(gates.max_permanent_usd * 100)
        return Limits(washed, gates.max_washed_rate, permanent, self.harvest.buy_buy_sell)

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
        listed = {account.id for account in self.accounts}
        if unknown := {one.account for one in self.withdrawals} - listed:
            raise ValueError(f"[[withdrawals]] names accounts that are not listed: {', '.join(sorted(unknown))}")
        if unknown := set(self.preferred) - set(self.targets):
            raise ValueError(f"[preferred] names what [targets] does not: {', '.join(sorted(unknown))}")
        if self.risk_targets.method != "fixed" and not self.targets:
            raise ValueError(f"risk_targets.method {self.risk_targets.method} begins with [targets]: there are none")
        if unknown := {*self.risk_targets.budgets, *self.risk_targets.proxies} - set(self.targets):
            raise ValueError(f"[risk_targets] names what [targets] does not: {', '.join(sorted(unknown))}")
        if self.risk_targets.max_exposure > self.leverage.max_gross:
            raise ValueError("risk_targets.max_exposure is above leverage.max_gross: raise that too, or borrow less")
        if alike := on_one_index(self.replacement.pairs, self.cautious_groups):
            raise ValueError(f"[replacement.pairs] names funds on one index: {', '.join(alike)}")
        if any(sleeve.method == "index" for sleeve in self.sleeves):
            if self.index is None:
                raise ValueError("a sleeve's method is index, and there is no [index] that says which")
            if other := [
                one.name for one in self.sleeves if one.method == "index" and (one.securities or not one.accounts)
            ]:
                raise ValueError(f"the sleeve {other[0]} follows the index: name its accounts, and no securities")
        if self.targets and abs(sum(self.targets.values()) - 1) > 1e-9:
            raise ValueError(f"targets must add up to 1, they add up to {sum(self.targets.values()):.4f}")
        return self


class Settings(Frozen):
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
