"""The year's page: what a household reads, prints and keeps. Sections in the order in which they are asked for."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import polars as pl

from flows.documents.charts import drift_chart, gains_chart, has_amounts, ladder_chart
from flows.documents.page import (
    Column,
    Figure,
    Html,
    chart,
    columns,
    element,
    figures,
    page,
    part,
    section,
    table,
)
from flows.documents.tables import day, number, percent, usd
from flows.settings import Portfolio
from transforms.expenses.categorize import OTHER_FORM, REVIEW
from transforms.tax.form_8949 import AMOUNTS, totals
from warehouse.db import Warehouse

BOXES = {
    "A": "Part I, box A: short-term, basis reported to the IRS",
    "B": "Part I, box B: short-term, basis not reported to the IRS",
    "C": "Part I, box C: short-term, not on a form of a broker",
    "G": "Part I, box G: short-term digital assets, basis reported to the IRS",
    "H": "Part I, box H: short-term digital assets, basis not reported to the IRS",
    "D": "Part II, box D: long-term, basis reported to the IRS",
    "E": "Part II, box E: long-term, basis not reported to the IRS",
    "F": "Part II, box F: long-term, not on a form of a broker",
    "J": "Part II, box J: long-term digital assets, basis reported to the IRS",
    "K": "Part II, box K: long-term digital assets, basis not reported to the IRS",
}
NOT_ADVICE = (
    "This is not tax advice. Check every row against the 1099-B: a broker sees one account, this page "
    "sees all that are listed."
)
PROVISIONAL = "the wash-sale window is still open, and a purchase may yet disallow them."
ADJUSTED = (
    "Prices are adjusted for splits and dividends: their source has no others. Dividends are shown as income "
    "and are not counted again in values, returns or cash."
)
NOT_LINKED = (
    "Not every account of the household is listed and linked. A purchase in {names} can wash a loss unseen: "
    "read every loss and every harvest here with that in mind."
)
DEFERRED = (
    "Tax deferred is an estimate at the marginal rates: a loan without interest, not a gift. The "
    "replacements have a lower basis, and the tax comes back when they are sold."
)


def statement(
    warehouse: Warehouse, portfolio: Portfolio, filed: dict[str, pl.DataFrame], year: int, as_of: date
) -> str:
    """The page as HTML; `filed` are the rows that became CSV files, by name."""
    household, not_linked = portfolio.household, [str(account) for account in portfolio.not_linked]
    return page(
        f"{household.name}: {year}",
        _heading(household.name, year, as_of),
        figures(_key_figures(warehouse, filed["schedule_c"], year)),
        _to_do(warehouse, filed["expenses"], not_linked),
        _contents(),
        section("harvest", "Harvest", *_harvest(warehouse)),
        section("portfolio", "Portfolio", *_portfolio(warehouse)),
        section("gains", f"Realized gains {year}", *_gains(warehouse, filed["wash_sales"], year)),
        section("form-8949", f"Form 8949, {year}", *_form_8949(filed["form_8949"], filed["broker_differs"], year)),
        section("schedule-d", f"Schedule D, {year}", _schedule_d(filed["schedule_d"], year)),
        section("business", f"The business {year}", *_business(filed["schedule_c"], filed["expenses"], year)),
        section("records", "The records", *_records(warehouse)),
        _notes(warehouse, year, not_linked),
    )


def _heading(name: str, year: int, as_of: date) -> Html:
    said = f"Investments and business, after tax \u00b7 tax year {year}"
    when = element("p", "as of", element("strong", day(as_of)), class_="when")
    return element("header", element("div", element("h1", name), element("p", said)), when)


def _contents() -> Html:
    names = ("Harvest", "Portfolio", "Gains", "Form 8949", "Schedule D", "Business", "Records", "Notes")
    return element("nav", *(element("a", name, href=f"#{name.lower().replace(' ', '-')}") for name in names))


def _key_figures(warehouse: Warehouse, business: pl.DataFrame, year: int) -> Iterator[Figure]:
    gains = warehouse.rows("FROM mart.realized_gains WHERE year = $year", year=year)
    for term in ("short", "long"):
        rows = gains.filter(pl.col("term") == term)
        gain, sales = _sum(rows, "gain_usd"), int(rows["sales"].sum())
        note = f"{_count(sales, 'row', 'rows')} of Form 8949"
        yield Figure(f"{term.title()}-term gain {year}", usd(gain), note, gain < 0)
    disallowed, permanent = _sum(gains, "disallowed_usd"), _sum(gains, "permanent_usd")
    yield Figure("Losses disallowed", usd(disallowed), "wash sales of all accounts of the household")
    yield Figure("Of these, lost for good", usd(permanent), "replaced in a retirement account", permanent > 0)
    deferred = warehouse.rows("FROM mart.tax_deferred WHERE year <= $year", year=year)
    owed = usd(_sum(deferred, "owed_back_usd"))
    note = f"an estimate; owed back if the replacements are sold at market: {owed}"
    yield Figure("Tax deferred so far", usd(_sum(deferred, "tax_deferred_usd")), note)
    net = _net(business)
    yield Figure("Business net", usd(net), "Schedule C, before what other forms compute", net < 0)


def _to_do(warehouse: Warehouse, spent: pl.DataFrame, not_linked: list[str]) -> Html:
    """What needs a person, in one line; nothing when nothing does."""
    asked = (
        ("core.risk WHERE is_alert", "alert", "alerts", "portfolio"),
        ("core.source_status WHERE NOT is_sound", "source is not sound", "sources are not sound", "records"),
        ("core.breaks WHERE blocks", "difference to a broker", "differences to a broker", "records"),
        ("mart.set_aside", "row set aside", "rows set aside", "records"),
    )
    links = [
        element("a", _count(n, one, many), href=f"#{place}")
        for rows, one, many, place in asked
        if (n := warehouse.rows(f"FROM {rows}").height)
    ]
    if n := _to_review(spent).height:
        links.append(element("a", _count(n, "bank line to review", "bank lines to review"), href="#business"))
    if not_linked:
        links.append(element("a", "confidence lowered by accounts that are not linked", href="#notes"))
    if not links:
        return Html("")
    return element("p", element("strong", "Needs you: "), Html(" \u00b7 ".join(links)), class_="warning")


def _harvest(warehouse: Warehouse) -> Iterator[Html]:
    order = "tax_saved_usd DESC, loss_usd DESC, account_id, security_id"
    rows = warehouse.rows(f"FROM mart.harvest_candidates ORDER BY {order}")
    found, refused = rows.filter(~pl.col("is_refused")), rows.filter("is_refused")
    sold = columns(
        account_id="Account", security_id="Sell", quantity="Shares: shares", loss_usd="Loss: usd",
        loss_rate="Of basis: percent",
    )  # fmt: skip
    instead = columns(
        tax_saved_usd="Tax saved: usd", replacement_id="Buy instead", correlation="Corr.: number",
        beta="Beta: number",
    )  # fmt: skip
    total = _total(found, "account_id", "loss_usd", "tax_saved_usd")
    note = "The tax saved is an estimate at the marginal rates; it is owed back when the replacement is sold."
    why = Column("reason", "Why", "wide")
    yield part("Losses worth taking today", table(found, [*sold, *instead, why], total, "None today."), note=note)
    note = "Losses that the law, the other accounts or the household's own rules do not let it take."
    yield part("Refused, and why", table(refused, [*sold, why], empty="None refused."), note=note)
    orders = warehouse.rows(
        "FROM mart.orders WHERE session_on = (SELECT max(session_on) FROM mart.orders) "
        "ORDER BY account_id, batch_id, line"
    )
    shown = orders.with_columns(said=pl.when(pl.col("note") == "").then("reason").otherwise("note"))
    shown_as = columns(
        account_id="Account", side="Side", security_id="Security", quantity="Shares: shares",
        price_usd="Decided at: usd", status="Status: mark", said="Note: wide",
    )  # fmt: skip
    session = orders["session_on"].max()
    heading = f"Orders of {day(session)}" if isinstance(session, date) else "Orders"
    yield part(heading, table(shown, shown_as, empty="No orders yet."))
    blocked = warehouse.rows(
        """SELECT security_id, until_on, sold_on, sold_account_id, quantity, loss_usd,
               coalesce(string_agg(account_id, ', ' ORDER BY account_id) FILTER (is_for_good), '') AS lost_in, tier
           FROM mart.cannot_buy_today GROUP BY ALL ORDER BY until_on, security_id, sold_on, sold_account_id, quantity"""
    )
    shown_as = columns(
        security_id="Security", until_on="Not until after: day", sold_on="Sold at a loss: day",
        sold_account_id="In account", quantity="Shares: shares", loss_usd="Loss at stake: usd",
        lost_in="Gone for good if bought in: wide", tier="Likeness",
    )  # fmt: skip
    note = "A purchase by anyone in the household, in any account, linked or not, would disallow the loss."
    yield part("Not to be bought now", table(blocked, shown_as, empty="Everything may be bought."), note=note)
    washed = warehouse.rows(
        "FROM mart.cannot_sell_at_a_loss_today WHERE loss_usd > 0 ORDER BY account_id, security_id, until_on, purchase_id"
    )
    shown_as = columns(
        account_id="Account", security_id="Security", until_on="Not until after: day", quantity="Shares: shares",
        loss_usd="Loss today: usd", reason="Because: wide",
    )  # fmt: skip
    note = "A purchase of the last days, or one that is known to come, would wash the loss of so many shares."
    yield part("Not to be sold at a loss now", table(washed, shown_as, empty="Every loss may be taken."), note=note)


def _portfolio(warehouse: Warehouse) -> Iterator[Html]:
    drift = warehouse.rows("FROM core.drift ORDER BY target_weight DESC, asset_class")
    shown_as = columns(
        asset_class="Asset class", value_usd="Value: usd", weight="Weight: percent",
        target_weight="Target: percent", drift="Drift: percent", band="Band \u00b1: percent",
        state="State: mark",
    )  # fmt: skip
    state = pl.when("is_outside").then(pl.lit("outside")).otherwise(pl.lit("inside"))
    said = "Percentage points from the target, all accounts together; the shaded part is the band"
    drawn = chart(drift_chart(drift), said) if drift.height else ""
    total = _total(drift, "asset_class", "value_usd") | {"weight": drift["weight"].sum()}
    weights = table(drift.with_columns(state=state), shown_as, total, "No prices yet.")
    yield part("Against the targets", drawn, weights)
    gains = warehouse.rows(
        """SELECT security_id, CASE WHEN is_deferred THEN 'In a retirement account' WHEN term_today = 'short'
               THEN 'Short-term' ELSE 'Long-term' END AS series, sum(gain_usd)::DECIMAL(28, 6) AS amount_usd
           FROM mart.lot_ladder WHERE gain_usd IS NOT NULL GROUP BY ALL ORDER BY ALL"""
    )
    if has_amounts(gains):
        yield part("Unrealized gains", chart(ladder_chart(gains), "Open lots by security, at the latest prices"))
    risk = warehouse.rows("FROM core.risk")
    shown = risk.with_columns(
        metric=_words("metric"),
        figure=pl.struct("value", "unit").map_elements(lambda row: _figure(**row), pl.String),
        alert=pl.when("is_alert").then(pl.lit("alert")).otherwise(pl.lit("")),
    )
    shown_as = columns(
        metric="Figure", figure="Value: number", alert=": mark", note="How it is measured: wide",
    )  # fmt: skip
    yield part("Risk", table(shown, shown_as, empty="Not measured yet."))


def _gains(warehouse: Warehouse, washed: pl.DataFrame, year: int) -> Iterator[Html]:
    months = warehouse.rows("FROM mart.gains_by_month WHERE year = $year ORDER BY month, series", year=year)
    said = "Gains after wash sales, and the losses that these disallowed"
    none = element("p", f"Nothing was sold in {year}.", class_="empty")
    yield part("By month", chart(gains_chart(months), said) if has_amounts(months) else none)
    shown_as = columns(
        sold_on="Sold: day", security_id="Security", account_id="In account", quantity="Shares: shares",
        disallowed_usd="Disallowed: usd", permanent_usd="For good: usd", replaced_on="Replaced: day",
        replacement_account_id="In account", days="Days: number", citation="Law: wide",
    )  # fmt: skip
    total = _total(washed, "sold_on", "disallowed_usd", "permanent_usd")
    note = "A disallowed loss moves into the basis of the shares that replaced the sold, or is lost for good."
    yield part("Wash sales", table(washed, shown_as, total, f"None in {year}."), note=note)
    paid = warehouse.rows(
        "SELECT account_id, name, if(is_deferred, 'not taxed now', 'income of the year') AS taxed, "
        "sum(dividends_usd)::DECIMAL(28, 6) AS dividends_usd FROM mart.dividends "
        "JOIN core.accounts USING (account_id) WHERE year = $year GROUP BY ALL ORDER BY account_id",
        year=year,
    )
    shown_as = columns(account_id="Account", name=": wide", taxed="Tax", dividends_usd="Dividends: usd")
    total = _total(paid, "account_id", "dividends_usd")
    yield part("Dividends", table(paid, shown_as, total, f"None in {year}."))


def _form_8949(sales: pl.DataFrame, differs: pl.DataFrame, year: int) -> Iterator[Html]:
    shown_as = columns(
        description="(a) Description", date_acquired="(b) Acquired: day", date_sold="(c) Sold: day",
        proceeds="(d) Proceeds: usd", cost="(e) Cost: usd", code="(f) Code",
        adjustment="(g) Adjustment: usd", gain="(h) Gain or loss: gain",
    )  # fmt: skip
    for sums in totals(sales).to_dicts():
        total = {"description": "Total"} | {name: sums[name] for name in AMOUNTS}
        yield part(BOXES[sums["box"]], table(sales.filter(box=sums["box"]), shown_as, total))
    if sales.is_empty():
        yield element("p", f"Nothing was sold in {year}.", class_="empty")
    shown_as = columns(
        sold_on="Sold: day", account_id="Account", security_id="Security", adjustment_code="Code",
        adjustment_usd="Adjustment: usd", gain_usd="Gain or loss: gain", note="Why: wide",
    )  # fmt: skip
    note = (
        "A broker sees one account and one CUSIP number. Column (e) says its basis, (f) and (g) what is wrong with it."
    )
    yield part("Where the 1099-B will say something else", table(differs, shown_as, empty="Nowhere."), note=note)


def _schedule_d(lines: pl.DataFrame, year: int) -> Html:
    shown_as = columns(line="Line", text=": wide", amount_usd="Amount: gain")
    shown = lines.with_columns(pl.col("line").str.replace("carryover_.*", f"to {year + 1}"))
    return part("Capital gains and losses", table(shown, shown_as, empty=f"Nothing was sold in {year}."))


def _business(business: pl.DataFrame, spent: pl.DataFrame, year: int) -> Iterator[Html]:
    lines = business.filter(pl.col("schedule_c_line") != "").with_columns(
        words=_words("category"),
        note=pl.when(pl.col("category").is_in(sorted(OTHER_FORM)))
        .then(pl.lit("computed by another form first"))
        .otherwise(pl.lit("")),
    )
    shown_as = columns(
        schedule_c_line="Line", words="Category", lines="Bank lines: number",
        amount_usd="Money in or out: usd", deductible_usd="On the line: usd", note=": wide",
    )  # fmt: skip
    total = {"schedule_c_line": "Net", "deductible_usd": _net(business)}
    note = "Line 1 less the other lines is the business's net."
    yield part(
        "Schedule C",
        table(lines, shown_as, total, f"No bank line of {year} belongs to a business."),
        note=note,
    )
    shown_as = columns(
        posted_on="Posted: day", bank_id="Bank", description="Description: wide", amount_usd="Amount: usd",
    )  # fmt: skip
    note = "No rule of portfolio.toml fits these lines: add one, or they count nowhere."
    yield part("To review", table(_to_review(spent), shown_as, empty="Every line has its category."), note=note)


def _records(warehouse: Warehouse) -> Iterator[Html]:
    aside = warehouse.rows("FROM mart.set_aside ORDER BY source, kind, delivery_id, line, reason")
    shown_as = columns(
        source="Source", kind="Kind", line="Line: number", reason="Why: wide", payload="As it came: wide",
    )  # fmt: skip
    yield part("Rows set aside", table(aside, shown_as, empty="Every row could be used."))
    breaks = warehouse.rows("FROM core.breaks ORDER BY account_id, security_id")
    shown_as = columns(
        account_id="Account", security_id="Security", kind="What", broker_quantity="Broker: shares",
        ledger_quantity="Ledger: shares", guess="Likely cause: wide",
    )  # fmt: skip
    note = "An account with a difference of shares or cash takes no orders; one of cost is shown and stops nothing."
    yield part(
        "Differences to the brokers",
        table(breaks, shown_as, empty="The ledger agrees with every broker."),
        note=note,
    )
    status = warehouse.rows("FROM core.source_status ORDER BY source, kind").with_columns(
        state=pl.when("is_sound").then(pl.lit("sound")).otherwise(pl.lit("not sound"))
    )
    shown_as = columns(
        source="Source", kind="Kind", stated_on="Speaks for: day", max_age_days="May be days old: number",
        state="State: mark", reason="What to do: wide",
    )  # fmt: skip
    yield part("How fresh every source is", table(status, shown_as, empty="No source yet."))
    accounts = warehouse.rows("FROM core.accounts ORDER BY account_id").with_columns(
        type=_words("type").str.replace("ira", "IRA")
    )
    shown_as = columns(account_id="Account", name=": wide", type="Type", owner="Owner")
    yield part("Accounts", table(accounts, shown_as, empty="No account yet."))


def _notes(warehouse: Warehouse, year: int, not_linked: list[str]) -> Html:
    said = [NOT_ADVICE]
    losses = "SELECT gain_usd FROM core.disposals WHERE is_provisional AND year(sold_on) = $year"
    provisional = warehouse.rows(losses, year=year)
    if provisional.height:
        loss, rows = usd(-_sum(provisional, "gain_usd")), _count(provisional.height, "row", "rows")
        said.append(f"Losses of {loss} in {rows} of Form 8949 are provisional: {PROVISIONAL}")
    if warehouse.value("SELECT bool_or(is_adjusted) FROM core.latest_prices"):
        said.append(ADJUSTED)
    if not_linked:
        said.append(NOT_LINKED.format(names=" or ".join(not_linked)))
    items = (element("li", text) for text in (*said, DEFERRED))
    return element("footer", element("strong", "Notes"), element("ol", *items), class_="notes", id="notes")


def _words(column: str) -> pl.Expr:
    """value_at_risk as Value at risk."""
    text = pl.col(column).str.replace_all("_", " ")
    return text.str.head(1).str.to_uppercase() + text.str.slice(1)


def _to_review(spent: pl.DataFrame) -> pl.DataFrame:
    return spent.filter(pl.col("category") == REVIEW)


def _figure(value: float, unit: str) -> str:
    """A risk figure with its unit: a fraction is a percentage, a ratio is a number."""
    kind, _, of = unit.partition(" ")
    written = {"fraction": percent, "USD": usd}.get(kind, number)(value)
    return f"{written} {of}".strip()


def _net(business: pl.DataFrame) -> Decimal:
    """Line 1 less every other line."""
    return sum(
        (
            amount if line == "1" else -amount
            for line, amount in business.select("schedule_c_line", "deductible_usd").rows()
        ),
        Decimal(0),
    )


def _total(rows: pl.DataFrame, first: str, *summed: str) -> dict[str, object]:
    """The last line of a table: the word in its first column, the sums under theirs."""
    return {first: "Total", **{name: _sum(rows, name) for name in summed}}


def _sum(rows: pl.DataFrame, column: str) -> Decimal:
    return sum(rows[column], Decimal(0))


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
