"""The contracts of the frames that pass between stations.

An arrival is split: sound rows go on, the others are set aside with their reasons. Everything that a transform
makes is checked whole: there a wrong row is a fault of ours and stops the run.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import pandera.polars as pa
import polars as pl

from transforms.model import RULES

QUANTITY = pl.Decimal(28, 9)
USD = pl.Decimal(28, 6)
PRICE = pl.Decimal(28, 9)
MOST_USD = Decimal(10**12)  # no row moves more; sums of rows that did would not fit their columns


class BrokenContract(Exception):
    """A frame is not what the transform promises: a fault of the program; no retry helps."""


def checked(frame: pl.DataFrame, contract: pa.DataFrameSchema) -> pl.DataFrame:
    """The frame, when it keeps its contract.

    Errors   BrokenContract names the contract and the first rows that break it.
    """
    frame = frame.select(list(contract.columns))
    if frame.is_empty() and frame.schema == _types(contract):
        return frame  # no row that a rule could be broken by; looking at every column would take ten milliseconds
    try:
        return contract.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as wrong:
        cases = wrong.failure_cases.select("column", "check", "failure_case", "index").head(5).rows()
        raise BrokenContract(f"{contract.name}: {cases}") from None


def _types(contract: pa.DataFrameSchema) -> dict[str, pl.DataType]:
    return {name: column.dtype.type for name, column in contract.columns.items()}


def split(frame: pl.DataFrame, contract: pa.DataFrameSchema) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sound rows, and the rows to be set aside with a column `reason` that lists everything wrong with each."""
    try:
        contract.validate(frame, lazy=True)
        return frame, frame.clear().with_columns(reason=pl.lit("", pl.String))
    except pa.errors.SchemaErrors as wrong:
        cases = wrong.failure_cases
        if cases["index"].null_count():
            rows = cases.filter(pl.col("index").is_null()).select("column", "check", "failure_case").rows()
            raise BrokenContract(f"{contract.name}: {rows}") from None
    said = (
        pl.when(pl.col("check") == "not_nullable")
        .then(pl.format("{} is missing or cannot be read", pl.col("column")))
        .otherwise(pl.col("check"))
    )
    reasons = (
        cases.select(pl.col("index").cast(pl.UInt32), said.alias("reason"))
        .unique(maintain_order=True)
        .group_by("index")
        .agg(pl.col("reason").str.join("; "))
    )
    numbered = frame.with_row_index("index").join(reasons, on="index", how="left")
    return (
        numbered.filter(pl.col("reason").is_null()).drop("index", "reason"),
        numbered.filter(pl.col("reason").is_not_null()).drop("index"),
    )


def _rule(is_right: pl.Expr, said: str) -> pa.Check:
    """A rule over several columns of a row."""
    return pa.Check(lambda data: data.lazyframe.select(is_right.fill_null(True)), error=said)


def _column(kind: pl.DataType | type, check: pa.Check | Sequence[pa.Check] = (), *, null: bool = False) -> pa.Column:
    return pa.Column(kind, list(check) if isinstance(check, Sequence) else [check], nullable=null)


_IS_WHOLE = pa.Column(pl.Boolean, pa.Check.eq(True, error="the row has more fields than the header"))
_IS_FIRST = pa.Column(
    pl.Boolean, pa.Check.eq(True, error="its id stands in this delivery already; the first row counts")
)
CASH = ("dividend", "interest", "deposit", "withdrawal", "fee")  # kinds that concern no lot
OF_LOTS = (
    "trade", "transfer", "gift", "inheritance", "dividend_reinvested", "award", "split", "spin_off", "merger", "cash_in_lieu",
    "return_of_capital", "symbol_change", "option_open", "option_close", "option_expire", "option_assign", "option_exercise",
    "short_open", "short_close", "correction",
)  # fmt: skip
KINDS = (*OF_LOTS, *CASH, "bust")


def activities(today: date) -> pa.DataFrameSchema:
    """Broker rows as stg.activities reads them; nothing may lie after `today`."""
    is_trade, is_of_lots = (
        pl.col("kind") == "trade",
        pl.col("kind").is_in(OF_LOTS[:-1]),
    )  # a correction may leave all empty
    return pa.DataFrameSchema(
        {
            "transaction_id": _column(pl.String, pa.Check.str_length(min_value=1, error="id is empty")),
            "kind": _column(pl.String, pa.Check.isin(KINDS, error=f"kind is not one of {', '.join(KINDS)}")),
            "quantity": _column(QUANTITY, pa.Check.ge(0, error="quantity is negative")),
            "price_usd": _column(PRICE, pa.Check.ge(0, error="price_usd is negative")),
            "fee_usd": _column(USD, pa.Check.ge(0, error="fee_usd is negative")),
            "amount_usd": _column(
                USD, pa.Check.in_range(-MOST_USD, MOST_USD, error="amount_usd is more than can be booked")
            ),
            "traded_on": _column(pl.Date, pa.Check.le(today, error=f"the date lies in the future (after {today})")),
            "is_exact": _column(pl.Boolean, pa.Check.eq(True, error="more decimals than the ledger keeps")),
            "is_first": _IS_FIRST,
            "is_whole": _IS_WHOLE,
        },
        checks=[
            _rule(~is_trade | pl.col("side").is_in(["buy", "sell"]), "side of a trade is not buy or sell"),
            _rule(~is_of_lots | (pl.col("security_id") != ""), "symbol of a trade is empty"),
            _rule(~is_trade | (pl.col("quantity") > 0), "quantity of a trade is not above zero"),
        ],
        name="activities",
    )


def bank_lines(today: date) -> pa.DataFrameSchema:
    """Bank lines as stg.bank_lines reads them."""
    return pa.DataFrameSchema(
        {
            "bank_line_id": _column(pl.String, pa.Check.str_length(min_value=1, error="id is empty")),
            "posted_on": _column(pl.Date, pa.Check.le(today, error=f"the date lies in the future (after {today})")),
            "description": _column(pl.String),
            "amount_usd": _column(
                USD, pa.Check.in_range(-MOST_USD, MOST_USD, error="amount_usd is more than can be booked")
            ),
            "is_first": _IS_FIRST,
            "is_whole": _IS_WHOLE,
        },
        name="bank_lines",
    )


def prices(until: date) -> pa.DataFrameSchema:
    """Prices as a source delivers them: one of the two closes is there and is a price."""
    close = pl.coalesce(pl.col("close_usd"), pl.col("adjusted_close_usd"))
    return pa.DataFrameSchema(
        {
            "symbol": _column(pl.String, pa.Check.str_length(min_value=1, error="symbol is empty")),
            "session_on": _column(pl.Date, pa.Check.le(until, error=f"the date lies in the future (after {until})")),
            "close_usd": _column(pl.Float64, null=True),
            "adjusted_close_usd": _column(pl.Float64, null=True),
            "volume": _column(pl.Int64, null=True),
        },
        checks=[
            pa.Check(
                lambda data: data.lazyframe.select((close.is_finite() & (close > 0)).fill_null(False)),
                error="the close is missing, not a number, zero or negative",
            )
        ],
        name="prices",
    )


POSITIONS = pa.DataFrameSchema(
    {
        "security_id": _column(pl.String, pa.Check.str_length(min_value=1, error="symbol is empty")),
        "quantity": _column(QUANTITY),
        "is_cost_read": pa.Column(pl.Boolean, pa.Check.eq(True, error="cost_usd cannot be read; the quantity counts")),
        "is_first": _IS_FIRST,
        "is_whole": _IS_WHOLE,
    },
    name="positions",
)

BALANCES = pa.DataFrameSchema(
    {
        "name": _column(pl.String, pa.Check.str_length(min_value=1, error="name is empty")),
        "value": _column(pl.String, pa.Check.str_length(min_value=1, error="value is empty")),
        "is_first": _IS_FIRST,
        "is_whole": _IS_WHOLE,
    },
    name="balances",
)

ACTIONS = ("split", "dividend", "spin_off", "merger", "symbol_change")  # what a feed tells of a company
_has_ratio = pl.col("new_shares").is_not_null() & pl.col("old_shares").is_not_null()
CORPORATE_ACTIONS = pa.DataFrameSchema(
    {
        "action_id": _column(pl.String, pa.Check.str_length(min_value=1, error="id is empty")),
        "kind": _column(pl.String, pa.Check.isin(ACTIONS, error=f"kind is not one of {', '.join(ACTIONS)}")),
        "security_id": _column(pl.String, pa.Check.str_length(min_value=1, error="symbol is empty")),
        "ex_on": _column(pl.Date),
        "is_readable": pa.Column(pl.Boolean, pa.Check.eq(True, error="ratio or cash_usd cannot be read")),
        "is_first": _IS_FIRST,
        "is_whole": _IS_WHOLE,
    },
    checks=[
        _rule((pl.col("kind") != "split") | _has_ratio, "a split has no ratio"),
        _rule((pl.col("kind") != "dividend") | (pl.col("cash_usd") > 0), "a dividend has no cash_usd"),
    ],
    name="corporate_actions",
)

SECURITIES = pa.DataFrameSchema(
    {
        "security_id": _column(pl.String, pa.Check.str_length(min_value=1, error="symbol is empty")),
        "name": _column(pl.String),
        "asset_class": _column(pl.String, pa.Check.str_length(min_value=1, error="sector is empty")),
    },
    name="securities",
)


def _core(table: str, /, **columns: pa.Column) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(columns, strict=True, ordered=True, name=f"core.{table}")


_text, _day, _flag, _count, _float = pl.String, pl.Date, pl.Boolean, pl.Int64, pl.Float64
_above_zero, _not_negative = pa.Check.gt(0), pa.Check.ge(0)
_term = pa.Check.isin(["short", "long"])
_disposal = {
    "trade_id": _column(_text), "lot_id": _column(_text), "slice": _column(_count, _above_zero),
    "account_id": _column(_text), "security_id": _column(_text), "quantity": _column(QUANTITY, _not_negative),
    "acquired_on": _column(_day), "holding_since": _column(_day), "sold_on": _column(_day),
    "proceeds_usd": _column(USD), "basis_usd": _column(USD),
    "adjustment_code": _column(_text, pa.Check.isin(["", "W"])), "adjustment_usd": _column(USD, _not_negative),
    "permanent_usd": _column(USD, _not_negative), "gain_usd": _column(USD), "term": _column(_text, _term),
    "is_provisional": _column(_flag),
}  # fmt: skip
_lot = {
    "lot_id": _column(_text), "slice": _column(_count, _above_zero), "account_id": _column(_text),
    "security_id": _column(_text), "quantity": _column(QUANTITY, pa.Check.ne(0)), "acquired_on": _column(_day),
    "holding_since": _column(_day), "long_term_from": _column(_day), "basis_usd": _column(USD), "is_deferred": _column(_flag),
}  # fmt: skip

CORE = {
    "accounts": _core(
        "accounts",
        account_id=_column(_text), name=_column(_text), type=_column(_text), owner=_column(_text),
        broker=_column(_text), relief=_column(_text), method=_column(_text), mode=_column(_text),
        is_deferred=_column(_flag), booked_to=_column(_day),
    ),
    "lots": _core("lots", **_lot),
    "broker_lots": _core("broker_lots", **_lot),
    "disposals": _core("disposals", **_disposal),
    "broker_disposals": _core("broker_disposals", **_disposal),
    "reported_sales": _core(
        "reported_sales",
        trade_id=_column(_text), slice=_column(_count, _above_zero), lot_id=_column(_text), broker_lot_id=_column(_text),
        account_id=_column(_text), security_id=_column(_text), quantity=_column(QUANTITY, _not_negative),
        acquired_on=_column(_day), sold_on=_column(_day), proceeds_usd=_column(USD), basis_usd=_column(USD),
        adjustment_code=_column(_text, pa.Check.str_matches("^B?T?W?$")), adjustment_usd=_column(USD),
        permanent_usd=_column(USD, _not_negative), gain_usd=_column(USD), term=_column(_text, _term),
        is_provisional=_column(_flag), is_reported=_column(_flag),
        box=_column(_text, pa.Check.isin([*"ABCDEFGHIJKL"])), right_basis_usd=_column(USD),
        disallowed_usd=_column(USD, _not_negative), broker_basis_usd=_column(USD),
        broker_disallowed_usd=_column(USD, _not_negative), broker_term=_column(_text, _term), note=_column(_text),
    ),
    "intended_sales": _core(
        "intended_sales",
        trade_id=_column(_text), account_id=_column(_text), security_id=_column(_text), sold_on=_column(_day),
        quantity=_column(QUANTITY, _above_zero), method=_column(_text), intended_lots=_column(_text),
        relieved_lots=_column(_text), is_possible=_column(_flag), intended_basis_usd=_column(USD),
        relieved_basis_usd=_column(USD), intended_short_gain_usd=_column(USD), intended_long_gain_usd=_column(USD),
        relieved_short_gain_usd=_column(USD), relieved_long_gain_usd=_column(USD), tax_usd=_column(USD),
    ),
    "identifications": _core(
        "identifications",
        trade_id=_column(_text), account_id=_column(_text), security_id=_column(_text), sold_on=_column(_day),
        quantity=_column(QUANTITY, _above_zero), lots=_column(_text),
        how=_column(_text, pa.Check.isin(["", "order", "after trade", "own books"])),
        identified_at=_column(pl.Datetime("us"), null=True), deadline_at=_column(pl.Datetime("us"), null=True),
        is_in_time=_column(_flag), is_followed=_column(_flag), note=_column(_text),
    ),
    "wash_sales": _core(
        "wash_sales",
        trade_id=_column(_text), sold_lot_id=_column(_text), replacement_lot_id=_column(_text),
        quantity=_column(QUANTITY, _above_zero), disallowed_usd=_column(USD, _not_negative),
        permanent_usd=_column(USD, _not_negative), days=_column(_count), citation=_column(_text),
        rule=_column(_text, pa.Check.isin(sorted(RULES))), replacement_quantity=_column(QUANTITY, _above_zero),
    ),
    "identical": _core(
        "identical",
        security_id=_column(_text), group_id=_column(_text), tier=_column(_text, pa.Check.isin(["identical", "same index"])),
    ),
    "coming": _core(
        "coming",
        trade_id=_column(_text), account_id=_column(_text), security_id=_column(_text),
        quantity=_column(QUANTITY, _above_zero), amount_usd=_column(USD, _not_negative), expected_on=_column(_day),
        is_deferred=_column(_flag),
    ),
    "set_aside": _core(
        "set_aside",
        delivery_id=_column(_text), raw_line=_column(_count), kind=_column(_text), source=_column(_text),
        line=_column(_count), payload=_column(_text), reason=_column(_text),
    ),
    "unbooked": _core("unbooked", transaction_id=_column(_text), reason=_column(_text)),
    "moved_disposals": _core(
        "moved_disposals",
        trade_id=_column(_text), lot_id=_column(_text), slice=_column(_count),
        change=_column(_text, pa.Check.isin(["was", "is now"])), quantity=_column(QUANTITY), basis_usd=_column(USD),
        gain_usd=_column(USD), term=_column(_text, _term),
    ),
    "source_status": _core(
        "source_status",
        source=_column(_text), kind=_column(_text), stated_on=_column(_day, null=True), max_age_days=_column(_count),
        is_sound=_column(_flag), reason=_column(_text), warning=_column(_text),
    ),
    "breaks": _core(
        "breaks",
        account_id=_column(_text), security_id=_column(_text),
        kind=_column(_text, pa.Check.isin(["shares", "cash", "settled cash", "cost", "split"])),
        broker_quantity=_column(QUANTITY), ledger_quantity=_column(QUANTITY), blocks=_column(_flag),
        is_explained=_column(_flag), guess=_column(_text, pa.Check.str_length(min_value=1)),
    ),
    "alerts": _core(
        "alerts",
        account_id=_column(_text), security_id=_column(_text), kind=_column(_text, pa.Check.isin(["price", "dividend"])),
        text=_column(_text, pa.Check.str_length(min_value=1)),
    ),
    "latest_prices": _core(
        "latest_prices",
        security_id=_column(_text), session_on=_column(_day), price_usd=_column(PRICE, _above_zero),
        previous_usd=_column(PRICE, _above_zero), sessions_old=_column(_count, _not_negative),
        is_adjusted=_column(_flag),
    ),
    "drift": _core(
        "drift",
        asset_class=_column(_text), value_usd=_column(USD), weight=_column(_float), target_weight=_column(_float),
        drift=_column(_float), band=_column(_float), is_outside=_column(_flag), locked_usd=_column(USD),
        locked=_column(_text),
    ),
    "location": _core(
        "location",
        account_id=_column(_text), asset_class=_column(_text), value_usd=_column(USD, _not_negative),
        after_tax_usd=_column(USD, _not_negative), ideal_usd=_column(USD, _not_negative, null=True),
        planned_usd=_column(USD, _not_negative), cost_rate=_column(_float, null=True), reason=_column(_text),
    ),
    "location_moves": _core(
        "location_moves",
        move=_column(_count, _above_zero), account_id=_column(_text), sold_class=_column(_text), bought_class=_column(_text),
        trades=_column(_text), after_tax_usd=_column(USD, _above_zero), saving_usd=_column(USD, _not_negative),
        tax_usd=_column(USD, _not_negative), trading_usd=_column(USD, _not_negative),
        break_even_years=_column(_float, _not_negative), is_proposed=_column(_flag),
        reason=_column(_text, pa.Check.str_length(min_value=1)),
    ),
    "class_costs": _core(
        "class_costs",
        asset_class=_column(_text), taxable_rate=_column(_float), traditional_rate=_column(_float),
        roth_rate=_column(_float), withheld_rate=_column(_float, _not_negative),
        withholding_rate=_column(_float, null=True), break_even_rate=_column(_float, null=True),
        is_better_taxable=_column(_flag, null=True),
    ),
    "target_weights": _core(
        "target_weights",
        asset_class=_column(_text), method=_column(_text, pa.Check.isin(["fixed", "risk_parity", "volatility_target", "sharpe_tilt"])),
        base_weight=_column(_float, _not_negative), target_weight=_column(_float), volatility=_column(_float, null=True),
        risk_share=_column(_float, null=True), expected_return=_column(_float, null=True),
        sessions=_column(_count, _not_negative), is_fallback=_column(_flag), reason=_column(_text, pa.Check.str_length(min_value=1)),
    ),
    "leverage": _core(
        "leverage",
        account_id=_column(_text), long_usd=_column(USD, _not_negative), short_usd=_column(USD, _not_negative),
        equity_usd=_column(USD), gross=_column(_float), net=_column(_float), requirement_usd=_column(USD, _not_negative),
        fall_to_call=_column(_float), max_leverage=_column(_float), cut_usd=_column(USD, _not_negative),
        reason=_column(_text, pa.Check.str_length(min_value=1)),
    ),
    "switch_backs": _core(
        "switch_backs",
        account_id=_column(_text), security_id=_column(_text), back_to_id=_column(_text), lots=_column(_text),
        quantity=_column(QUANTITY, _above_zero), value_usd=_column(USD, _not_negative), gain_usd=_column(USD),
        harvested_on=_column(_day), tracking_error=_column(_float, _not_negative), tax_now_usd=_column(USD),
        now_usd=_column(USD), later_usd=_column(USD, null=True), keep_usd=_column(USD), is_proposed=_column(_flag),
        reason=_column(_text, pa.Check.str_length(min_value=1)),
    ),
    "left_alone": _core(
        "left_alone",
        method=_column(_text), account_id=_column(_text), asset_class=_column(_text), security_id=_column(_text),
        value_usd=_column(USD), reason=_column(_text, pa.Check.str_length(min_value=1)),
    ),
    "risk": _core(
        "risk",
        metric=_column(_text), value=_column(_float), unit=_column(_text), is_alert=_column(_flag), note=_column(_text),
    ),
    "proposals": _core(
        "proposals",
        account_id=_column(_text), security_id=_column(_text), quantity=_column(QUANTITY, _above_zero),
        lots=_column(_text), price_usd=_column(PRICE, _above_zero), basis_usd=_column(USD), value_usd=_column(USD),
        short_loss_usd=_column(USD, _not_negative), long_loss_usd=_column(USD, _not_negative),
        tax_saved_usd=_column(USD, _not_negative), replacement_id=_column(_text),
        replacement_quantity=_column(QUANTITY, _not_negative), replacement_price_usd=_column(PRICE, _not_negative),
        correlation=_column(_float), beta=_column(_float), tracking_error=_column(_float, _not_negative),
        disallowed_usd=_column(USD, _not_negative), permanent_usd=_column(USD, _not_negative), unlinked=_column(_text),
        turns_long_on=_column(_day, null=True), benefit_usd=_column(USD), is_refused=_column(_flag), reason=_column(_text),
    ),
    "proposed_trades": _core(
        "proposed_trades",
        proposal=_column(_text), leg=_column(_count, _above_zero), method=_column(_text), account_id=_column(_text),
        side=_column(_text, pa.Check.isin(["buy", "sell"])), security_id=_column(_text),
        quantity=_column(QUANTITY, _above_zero), price_usd=_column(PRICE, _above_zero), lots=_column(_text),
        loss_usd=_column(USD, _not_negative), tax_saved_usd=_column(USD, _not_negative), reason=_column(_text),
        refusal=_column(_text),
    ),
    "waiting": _core(
        "waiting", batch_id=_column(_text), line=_column(_count, _above_zero), gate=_column(_text), reason=_column(_text)
    ),
    "harvests": _core(
        "harvests",
        client_order_id=_column(_text), account_id=_column(_text), security_id=_column(_text),
        replacement_id=_column(_text), sold_on=_column(_day), allowed_loss_usd=_column(USD),
        disallowed_usd=_column(USD, _not_negative), tax_deferred_usd=_column(USD),
        unused_loss_usd=_column(USD, _not_negative), owed_back_usd=_column(USD),
    ),
    "tax_alpha": _core(
        "tax_alpha",
        client_order_id=_column(_text), account_id=_column(_text), security_id=_column(_text),
        replacement_id=_column(_text), sold_on=_column(_day), short_loss_usd=_column(USD), long_loss_usd=_column(USD),
        saved_usd=_column(USD), used_usd=_column(USD), carried_usd=_column(USD, _not_negative),
        given_back_usd=_column(USD), deferred_usd=_column(USD), lost_usd=_column(USD, _not_negative),
        permanent_usd=_column(USD), commission_usd=_column(USD, _not_negative),
        switch_back_short_gain_usd=_column(USD, null=True), switch_back_long_gain_usd=_column(USD, null=True),
        switch_back_tax_usd=_column(USD, null=True),
        slippage_usd=_column(USD, null=True), tracking_usd=_column(USD, null=True),
        growth_usd=_column(USD, null=True), ours_usd=_column(USD, null=True), twin_usd=_column(USD, null=True),
        alpha_usd=_column(USD, null=True), tracking_error=_column(_float, null=True),
    ),
    "expenses": _core(
        "expenses",
        bank_id=_column(_text), bank_line_id=_column(_text), posted_on=_column(_day), description=_column(_text),
        amount_usd=_column(USD), category=_column(_text), schedule_c_line=_column(_text),
        deductible_usd=_column(USD),
    ),
    "schedule_d": _core(
        "schedule_d", year=_column(_count), line=_column(_text), text=_column(_text), amount_usd=_column(USD)
    ),
}  # fmt: skip


def core(name: str, rows: Sequence[tuple] | pl.DataFrame) -> pl.DataFrame:
    """Rows as the checked frame of core.<name>; tuples stand in the order of its columns."""
    contract = CORE[name]
    if not isinstance(rows, pl.DataFrame):
        rows = pl.DataFrame(rows, schema=_types(contract), orient="row", strict=True)
    return checked(rows, contract)
