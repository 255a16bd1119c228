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
from flows.fund_pairs import indexes, on_one_index
from transforms.lots.check import Limits
from transforms.lots.tiers import merged
from transforms.model import DEFERRED, TAXABLE
from transforms.portfolio.tax_cost import ASSUMED
from warehouse.law import policy

DEMO = Path(__file__).parent / "demo"
Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[Decimal, Field(ge=0, le=1)]


class SettingsError(Exception):
    """portfolio.toml is missing or wrong; the message says where and what to do."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Household(_Frozen):
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
    """How far a class may stray from its target, and how it is brought back; docs/rebalancing.md says why."""

    absolute: Fraction = 0.05  # of the household
    relative: Fraction = 0.20  # of the class's target; of a class without a target the absolute band alone counts
    of_both: Literal["tighter", "wider"] = "tighter"
    trade_back: Literal["target", "half", "edge"] = "half"  # of the band, on the side that the class is on
    look: Literal["daily", "weekly", "biweekly"] = "biweekly"  # the first decision of every day, week, two weeks
    cooldown_days: Annotated[int, Field(ge=0)] = 14  # since a class was sold, or bought for what was sold
    by_volatility: bool = False  # a band is scaled by its class's volatility over the household's mean,
    volatility_range: tuple[float, float] = (0.5, 2.0)  # between these limits
    lookback_sessions: Annotated[int, Field(ge=60)] = 252
    cost_benefit: bool = True  # a sale is made where less drift is worth its tax and cost
    risk_aversion: Annotated[float, Field(gt=0)] = 3.0
    horizon_years: Annotated[float, Field(gt=0)] = 3.0  # how long the drift would last otherwise

    @model_validator(mode="after")
    def _range(self) -> "Bands":
        low, high = self.volatility_range
        if not 0 < low <= 1 <= high:
            raise ValueError("volatility_range is two factors around 1, such as [0.5, 2.0]")
        return self


class CashFlow(_Frozen):
    """What becomes of cash, and what a rebalancing trade is at least and costs."""

    keep_usd: Annotated[Decimal, Field(ge=0)] = Decimal(0)  # in every account, never invested
    lead_days: Annotated[int, Field(ge=0)] = 7  # before a withdrawal its money is raised: a sale settles in time
    min_trade_usd: Annotated[Decimal, Field(ge=0)] = Decimal(250)
    cushion_rate: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.02")  # of money left: prices move
    spread_bps: Bps = Decimal(5)  # what a trade costs, of its value


class Withdrawal(_Frozen):
    """Money that is to leave an account on a day."""

    account: str
    on: date
    amount_usd: Annotated[Decimal, Field(gt=0, decimal_places=2)]


class HarvestBenefit(_Frozen):
    """What the household expects, where losses are weighed by it; docs/harvest.md has the formulae."""

    later_rate: Annotated[Decimal, Field(ge=0, lt=1)] | None = None  # of the gain given back; None: long-term, as now
    horizon_years: Annotated[int, Field(ge=1, le=60)] = 10  # until it is given back
    growth_rate: Annotated[float, Field(ge=0, lt=1)] = 0.05  # a year, of tax that is not paid
    never_taxed: Fraction = 0.0  # the part of it never given back: a step-up at death, a gift to charity
    cost_bps: Bps = Decimal(5)  # of a trade: half a spread and what it moves the price; a harvest is two
    risk_aversion: Annotated[float, Field(ge=0)] = 3.0  # prices the replacement's tracking error
    wait_days: Annotated[int, Field(ge=1, le=365)] = 30  # when one would look again
    drift_rate: Annotated[float, Field(gt=-1, lt=1)] = 0.0  # a year, of the price until then
    margin_usd: Annotated[Decimal, Field(ge=0)] = Decimal(25)  # so far taking a loss must be ahead of waiting
    lookback_sessions: Annotated[int, Field(ge=60)] = 252  # of the realised volatility


class Harvest(_Frozen):
    """Which losses are taken: those beyond a threshold, of them what the year needs, or by expected benefit."""

    by: Literal["thresholds", "benefit", "need"] = "thresholds"
    buy_buy_sell: bool = False  # a part of a loss may be washed by what was bought before: its basis keeps it
    min_loss_usd: Annotated[Decimal, Field(ge=0)] = Decimal(1000)
    min_loss_rate: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.05")
    benefit: HarvestBenefit = HarvestBenefit()  # in place of the thresholds


class SwitchBack(_Frozen):
    """When what was bought instead is sold again for what was harvested; docs/replacements.md says why these defaults."""

    min_benefit_usd: Annotated[Decimal, Field(ge=0)] = Decimal(50)  # over the next best: waiting, or keeping it
    risk_aversion: Annotated[float, Field(ge=0)] = 3.0  # a variance costs half of it times this, a year
    discount_rate: Annotated[float, Field(ge=0, lt=1)] = 0.05
    horizon_years: Annotated[float, Field(gt=0)] = 10.0  # so long a replacement would else be kept
    ends: Literal["sale", "step_up"] = "sale"  # what becomes of its gain then: taxed as long-term, or never
    spread_bps: Bps = Decimal(5)  # that a sale or a purchase costs, of its value


class Replacement(_Frozen):
    min_correlation: Annotated[float, Field(ge=-1, le=1)] = 0.5
    max_correlation: Annotated[float, Field(ge=-1, le=1)] = 0.96  # above it two stocks are taken for share classes
    beta_range: tuple[float, float] = (0.6, 1.4)
    max_loading_gap: Annotated[float, Field(ge=0)] = 1.0  # between loadings on the market, and on the sector
    lookback_sessions: Annotated[int, Field(ge=60)] = 504
    pairs: dict[str, tuple[str, ...]] = {}  # fund -> what may stand in for it, the best first; over fund_pairs.csv
    switch_back: SwitchBack | None = None  # left out: a replacement is kept


class Risk(_Frozen):
    lookback_sessions: Annotated[int, Field(ge=60)] = 252
    var_confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    max_drawdown: Fraction = 0.20
    risk_free_rate: float = 0.02


class RiskTargets(_Frozen):
    """Where target weights come from; docs/risk-targets.md says what each method does with [targets]."""

    method: Literal["fixed", "risk_parity", "volatility_target", "sharpe_tilt"] = "fixed"
    lookback_sessions: Annotated[int, Field(ge=60)] = 756
    proxies: dict[str, str] = {}  # asset class -> the security whose prices stand for it
    budgets: dict[str, Annotated[float, Field(gt=0)]] = {}  # risk_parity: parts of the risk; empty: equal ones
    target_volatility: Annotated[float, Field(gt=0, lt=1)] = 0.10  # volatility_target: of the whole, a year
    half_life_sessions: Annotated[int, Field(ge=5)] = 63
    min_exposure: Fraction = 0.25  # of the part that is not cash
    max_exposure: Annotated[float, Field(gt=0)] = 1.0  # more than 1 borrows: [leverage] must allow it
    max_tilt: Fraction = 0.25  # sharpe_tilt: of a weight, up or down

    @model_validator(mode="after")
    def _in_order(self) -> "RiskTargets":
        if self.min_exposure > self.max_exposure:
            raise ValueError(f"min_exposure {self.min_exposure} is above max_exposure {self.max_exposure}")
        return self


class Leverage(_Frozen):
    """How much may be borrowed. Limits of our own: the rules of margin (sql/law) hold besides."""

    max_gross: Annotated[Decimal, Field(gt=0)] = Decimal(1)  # long and short positions to equity
    max_net: Annotated[Decimal, Field(gt=0)] = Decimal(1)  # long less short positions to equity
    maintenance_rate: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.35")  # of a position; the rule's where higher
    stress_drawdown: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.50")  # that must bring no margin call


class Sleeve(_Frozen):
    """A part of the portfolio, and the one method that trades it besides harvests and a person's own orders."""

    name: str
    method: Literal["none", "cash_flow", "bands", "location", "index"]
    accounts: tuple[str, ...] = ()  # empty: all
    securities: tuple[str, ...] = ()  # empty: all
    harvest: bool = True


class Index(_Frozen):
    """A direct index, for the accounts of the sleeves whose method is index; docs/direct-indexing.md."""

    constituents: str  # a CSV file: symbol, name, sector, industry, and weight or capitalisation
    top: Annotated[int, Field(ge=1)] | None = None  # only the largest
    names: Annotated[int, Field(ge=1)] | None = None  # held at most: a sample; None: all
    exclude_sectors: tuple[str, ...] = ()
    exclude_industries: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()  # tickers
    employer: tuple[str, ...] = ()  # tickers of who pays the household's wages
    tilts: dict[
        Literal["value", "momentum", "quality", "size", "low_volatility"], Annotated[float, Field(ge=-1, le=1)]
    ] = {}  # factor -> strength: a weight is multiplied by exp(strength x score)
    sector_neutral: bool = True  # tilts keep the weight of every sector
    max_tracking_error: Annotated[float, Field(gt=0, lt=1)] = 0.01  # predicted, to the index of the file, a year
    lookback_sessions: Annotated[int, Field(ge=252)] = 504  # of the risk model
    risk_aversion: Annotated[float, Field(ge=0)] = 10.0  # at 10, 1 % of tracking error costs 10 bps
    threshold_bps: Annotated[float, Field(ge=0)] = 1.0  # of the account: what trading must be better by
    half_spread_bps: Annotated[float, Field(ge=0)] = 2.0  # of a trade's value
    min_trade_usd: Annotated[Decimal, Field(ge=0)] = Decimal(0)  # 0: no less than $1, and the spread keeps trades large
    # of one decision; None or 0: no limit
    max_turnover: Annotated[float, Field(gt=0, le=1)] | None = None  # half of purchases and sales, of the account
    max_sector_drift: Annotated[float, Field(gt=0, lt=1)] | None = None  # of a sector's weight from the target's
    max_short_gain_usd: Annotated[Decimal, Field(ge=0)] | None = None  # net, of all accounts that follow the index
    max_long_gain_usd: Annotated[Decimal, Field(ge=0)] | None = None
    min_days: Annotated[int, Field(ge=0)] = 0  # that a lot is held
    wait_days: Annotated[int, Field(ge=0, le=366)] = 0  # a gain is not sold that turns long-term within so many


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


class AssetClass(_Frozen):
    """What an asset class pays and realises, a dollar a year; the words of transforms/portfolio/tax_cost.py (Yields)."""

    qualified_rate: Rate = Decimal(0)  # qualified dividends, before foreign tax
    ordinary_rate: Rate = Decimal(0)  # other dividends
    reit_rate: Rate = Decimal(0)
    interest_rate: Rate = Decimal(0)
    treasury_rate: Rate = Decimal(0)  # no state taxes it; of TIPS with the growth of their principal
    muni_rate: Rate = Decimal(0)
    is_muni_of_state: bool = True
    foreign_share: Rate = Decimal(0)  # of the dividends
    withholding_rate: Rate = Decimal(0)  # foreign tax on that part
    turnover: Rate = Decimal(0)
    embedded_gain_rate: Rate = Decimal(0)  # the gain in what the turnover sells
    short_gain_rate: Rate = Decimal(0)
    growth_rate: Annotated[Decimal, Field(gt=-1, lt=1)] = Decimal(0)  # expected, beside all that


class Location(_Frozen):
    """Which class stands in which account; docs/location.md says why each default is what it is."""

    retirement_rate: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.22")  # on what traditional accounts hold
    retirement_growth_rate: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal(
        "0.24"
    )  # on what they grow by: it comes on top
    horizon_years: Annotated[int, Field(ge=0, le=100)] = 20  # until taxable gains are realised; 0: never
    max_break_even_years: Annotated[Decimal, Field(gt=0)] = Decimal(3)  # a move's tax comes back within
    trade_cost_bps: Bps = Decimal(2)  # half the spread, of every dollar sold or bought
    min_move_usd: Annotated[Decimal, Field(ge=0)] = Decimal(1000)
    like: dict[str, str] = {}  # an asset class of securities.csv -> the one whose yields it has
    classes: dict[str, AssetClass] = {}  # yields by asset class, in place of the assumed ones
    buy: dict[str, tuple[str, ...]] = {}  # asset class -> what is bought of it, the first first; left out: what is held

    @model_validator(mode="after")
    def _consistent(self) -> "Location":
        known = {*ASSUMED, *self.classes}
        if unknown := set(self.like.values()) - known:
            raise ValueError(f"like names {', '.join(sorted(unknown))}; yields are known of {', '.join(sorted(known))}")
        if self.retirement_growth_rate < self.retirement_rate:
            raise ValueError("retirement_growth_rate is below retirement_rate: what comes on top is not taxed at less")
        return self


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
