"""What each method may do: the tables of portfolio.toml that say how the money is run, with a careful adviser's defaults."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from flows.accounts import Bps, Fraction, Frozen, Rate
from transforms.portfolio.tax_cost import ASSUMED


class Bands(Frozen):
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


class CashFlow(Frozen):
    """What becomes of cash, and what a rebalancing trade is at least and costs."""

    keep_usd: Annotated[Decimal, Field(ge=0)] = Decimal(0)  # in every account, never invested
    lead_days: Annotated[int, Field(ge=0)] = 7  # before a withdrawal its money is raised: a sale settles in time
    min_trade_usd: Annotated[Decimal, Field(ge=0)] = Decimal(250)
    cushion_rate: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.02")  # of money left: prices move
    spread_bps: Bps = Decimal(5)  # what a trade costs, of its value


class Withdrawal(Frozen):
    """Money that is to leave an account on a day."""

    account: str
    on: date
    amount_usd: Annotated[Decimal, Field(gt=0, decimal_places=2)]


class HarvestBenefit(Frozen):
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


class Harvest(Frozen):
    """Which losses are taken: those beyond a threshold, of them what the year needs, or by expected benefit."""

    by: Literal["thresholds", "benefit", "need"] = "thresholds"
    buy_buy_sell: bool = False  # a part of a loss may be washed by what was bought before: its basis keeps it
    min_loss_usd: Annotated[Decimal, Field(ge=0)] = Decimal(1000)
    min_loss_rate: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.05")
    benefit: HarvestBenefit = HarvestBenefit()  # in place of the thresholds


class SwitchBack(Frozen):
    """When what was bought instead is sold again for what was harvested; docs/replacements.md says why these defaults."""

    min_benefit_usd: Annotated[Decimal, Field(ge=0)] = Decimal(50)  # over the next best: waiting, or keeping it
    risk_aversion: Annotated[float, Field(ge=0)] = 3.0  # a variance costs half of it times this, a year
    discount_rate: Annotated[float, Field(ge=0, lt=1)] = 0.05
    horizon_years: Annotated[float, Field(gt=0)] = 10.0  # so long a replacement would else be kept
    ends: Literal["sale", "step_up"] = "sale"  # what becomes of its gain then: taxed as long-term, or never
    spread_bps: Bps = Decimal(5)  # that a sale or a purchase costs, of its value


class Replacement(Frozen):
    min_correlation: Annotated[float, Field(ge=-1, le=1)] = 0.5
    max_correlation: Annotated[float, Field(ge=-1, le=1)] = 0.96  # above it two stocks are taken for share classes
    beta_range: tuple[float, float] = (0.6, 1.4)
    max_loading_gap: Annotated[float, Field(ge=0)] = 1.0  # between loadings on the market, and on the sector
    lookback_sessions: Annotated[int, Field(ge=60)] = 504
    pairs: dict[str, tuple[str, ...]] = {}  # fund -> what may stand in for it, the best first; over fund_pairs.csv
    switch_back: SwitchBack | None = None  # left out: a replacement is kept


class Risk(Frozen):
    lookback_sessions: Annotated[int, Field(ge=60)] = 252
    var_confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    max_drawdown: Fraction = 0.20
    risk_free_rate: float = 0.02


class RiskTargets(Frozen):
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


class Leverage(Frozen):
    """How much may be borrowed. Limits of our own: the rules of margin (sql/law) hold besides."""

    max_gross: Annotated[Decimal, Field(gt=0)] = Decimal(1)  # long and short positions to equity
    max_net: Annotated[Decimal, Field(gt=0)] = Decimal(1)  # long less short positions to equity
    maintenance_rate: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.35")  # of a position; the rule's where higher
    stress_drawdown: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.50")  # that must bring no margin call


class Sleeve(Frozen):
    """A part of the portfolio, and the one method that trades it besides harvests and a person's own orders."""

    name: str
    method: Literal["none", "cash_flow", "bands", "location", "index"]
    accounts: tuple[str, ...] = ()  # empty: all
    securities: tuple[str, ...] = ()  # empty: all
    harvest: bool | None = (
        None  # may losses be harvested there? Left out: yes, but for an index, whose optimizer does that
    )

    @property
    def is_harvested(self) -> bool:
        return self.method != "index" if self.harvest is None else self.harvest


Factor = Literal["value", "momentum", "quality", "size", "low_volatility"]


class Index(Frozen):
    """A direct index, for the accounts of the sleeves whose method is index; docs/direct-indexing.md."""

    constituents: str  # a CSV file: symbol, name, sector, industry, and weight or capitalisation
    top: Annotated[int, Field(ge=1)] | None = None  # only the largest
    names: Annotated[int, Field(ge=1)] | None = None  # held at most: a sample; None: all
    exclude_sectors: tuple[str, ...] = ()
    exclude_industries: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()  # tickers
    employer: tuple[str, ...] = ()  # tickers of who pays the household's wages
    tilts: dict[
        Factor, Annotated[float, Field(ge=-1, le=1)]
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
    max_factor_drift: dict[Factor, Annotated[float, Field(gt=0)]] = {}  # of a mean z-score from the target's
    max_short_gain_usd: Annotated[Decimal, Field(ge=0)] | None = None  # net, of all accounts that follow the index
    max_long_gain_usd: Annotated[Decimal, Field(ge=0)] | None = None
    min_days: Annotated[int, Field(ge=0)] = 0  # that a lot is held
    wait_days: Annotated[int, Field(ge=0, le=366)] = 0  # a gain is not sold that turns long-term within so many


class Orders(Frozen):
    """How a decision is carried out at a broker."""

    collar_rate: Fraction = 0.02  # the limit of an order, away from a live price
    overnight_collar_rate: Fraction = 0.10  # the same, away from the close that it was decided on
    attempts: Annotated[int, Field(ge=1)] = 2  # an order that ended unfilled is tried so often, in its session
    max_lapse_minutes: Annotated[int, Field(ge=0)] = 10  # a sale is filled, its replacement not: then at the market
    poll_seconds: Annotated[int, Field(ge=1)] = 5
    work_minutes: Annotated[int, Field(ge=0)] = 30  # so long the final flow waits for fills


class Intraday(Frozen):
    """Scans of live prices in market hours."""

    max_quote_age_minutes: Annotated[int, Field(ge=1)] = 20  # an older price is none
    again_at_growth: Annotated[Decimal, Field(ge=0)] = Decimal("0.25")  # of a loss that was decided on today


class AssetClass(Frozen):
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


class Location(Frozen):
    """Which class stands in which account; docs/location.md says why each default is what it is."""

    retirement_rate: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.22")  # on what traditional accounts hold
    retirement_growth_rate: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal(
        "0.24"
    )  # on what they grow by: it comes on top
    horizon_years: Annotated[int, Field(ge=0, le=100)] = 20  # until taxable gains are realised; 0: never
    max_break_even_years: Annotated[Decimal, Field(gt=0)] = Decimal(3)  # a move's tax comes back within
    trade_cost_bps: Bps = Decimal(2)  # half the spread, of every dollar sold or bought
    min_move_usd: Annotated[Decimal, Field(ge=0)] = Decimal(1000)
    fall_rate: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal(
        "0.02"
    )  # that a sale may be filled lower and wash no loss
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


class AccountGates(Frozen):
    """What an account may do; left out, it is a cash account."""

    is_margin: bool = False  # it may borrow, and its broker may count day trades
    may_short: bool = False
    max_leverage: Annotated[Decimal, Field(gt=0)] = Decimal(1)  # gross exposure to equity
    intraday_margin_from: date | None = None  # when its broker stopped counting day trades; None: nobody said


class Gates(Frozen):
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


class ExpenseRule(Frozen):
    match: str
    category: str
    business_share: Annotated[Decimal, Field(ge=0, le=1)] = Decimal(1)


class Expenses(Frozen):
    rules: tuple[ExpenseRule, ...] = ()
