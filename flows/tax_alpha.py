"""The tax-alpha ledger of the household: harvests followed from their fills, beside the twin that did nothing."""

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from itertools import groupby

from flows.day import Day
from flows.pre_trade import realized, stated_carryover
from transforms import tables
from transforms.harvest import alpha
from transforms.harvest.benefit import Rates, rates
from transforms.harvest.carried import used_later
from transforms.harvest.followed import Bought, Ended, Harvest, Sold
from transforms.harvest.twin import Closes
from transforms.tax.schedule_d import carried_into
from warehouse.db import Warehouse

_FILLS = """
WITH fills AS (
    SELECT i.batch_id, i.line, i.client_order_id, e.transaction_id
    FROM ledger.intents AS i JOIN ledger.order_events AS e USING (client_order_id) WHERE e.event = 'fill'
)
"""
_SOLD = f"""
{_FILLS}
SELECT l.batch_id, l.pair, l.line, b.account_id, l.security_id, d.trade_id, t.fee_usd, d.sold_on, d.term,
    d.quantity, d.proceeds_usd, d.basis_usd, d.adjustment_usd, d.permanent_usd, d.gain_usd, d.holding_since,
    min(f.client_order_id) OVER (PARTITION BY l.batch_id, l.line) AS client_order_id
FROM ledger.batch_lines AS l JOIN ledger.batches AS b USING (batch_id)
JOIN fills AS f USING (batch_id, line)
JOIN core.disposals AS d ON d.trade_id = f.transaction_id
JOIN stg.transactions AS t ON t.transaction_id = f.transaction_id
WHERE l.side = 'sell' AND l.method LIKE '%harvest%' AND d.quantity > 0
ORDER BY l.batch_id, l.line, d.trade_id, d.lot_id, d.slice
"""
_BOUGHT = f"""
{_FILLS}
, ladder AS (
    SELECT lot_id, sum(basis_usd)::DECIMAL(28, 6) AS basis_usd,
        CASE WHEN count(*) = count(gain_usd) THEN sum(CASE term_today WHEN 'short' THEN gain_usd ELSE 0 END)::DECIMAL(28, 6) END
            AS short_gain_usd,
        CASE WHEN count(*) = count(gain_usd) THEN sum(CASE term_today WHEN 'long' THEN gain_usd ELSE 0 END)::DECIMAL(28, 6) END
            AS long_gain_usd
    FROM mart.lot_ladder GROUP BY lot_id
)
SELECT l.batch_id, l.pair, f.transaction_id, l.security_id, t.traded_on, t.quantity, -t.amount_usd, t.fee_usd,
    coalesce(g.basis_usd, 0)::DECIMAL(28, 6),
    CASE WHEN g.lot_id IS NULL THEN 0 ELSE g.short_gain_usd END::DECIMAL(28, 6),
    CASE WHEN g.lot_id IS NULL THEN 0 ELSE g.long_gain_usd END::DECIMAL(28, 6)
FROM ledger.batch_lines AS l JOIN fills AS f USING (batch_id, line)
JOIN stg.transactions AS t ON t.transaction_id = f.transaction_id
LEFT JOIN ladder AS g ON g.lot_id = f.transaction_id
WHERE l.side = 'buy' ORDER BY l.batch_id, l.line, f.transaction_id
"""
_GONE = f"""
{_FILLS}
, swapped AS (  -- our own sales that something was bought for: a harvest, or the way back from one
    SELECT f.transaction_id, CASE WHEN l.method LIKE '%harvest%' THEN 'harvested' ELSE 'switched' END AS how
    FROM ledger.batch_lines AS l JOIN fills AS f USING (batch_id, line)
    WHERE l.side = 'sell' AND (l.method LIKE '%harvest%' OR l.method LIKE '%switch_back%')
)
SELECT d.lot_id, d.sold_on, d.term, d.basis_usd, d.gain_usd, coalesce(s.how, 'sold') FROM core.disposals AS d
LEFT JOIN swapped AS s ON s.transaction_id = d.trade_id
WHERE d.lot_id IN (SELECT transaction_id FROM fills) AND d.quantity > 0
ORDER BY d.sold_on, d.trade_id, d.lot_id, d.slice
"""


def tax_alpha(warehouse: Warehouse, day: Day) -> None:
    """Fill core.tax_alpha from the books, the orders and the prices; core.harvests is there already."""
    household = day.settings.portfolio.household

    @cache
    def of_year(year: int) -> Rates:
        return rates(day.law(year), household.taxable_income_usd, household.state_rate)

    harvests = _used(_harvests(warehouse), warehouse, day, of_year)
    closes = _closes(warehouse, day, harvests)
    rows = alpha.tax_alpha(harvests, closes.__getitem__, of_year, day.as_of)
    warehouse.replace("core.tax_alpha", tables.core("tax_alpha", rows))


def _harvests(warehouse: Warehouse) -> list[Harvest]:
    """Every harvest that was filled; what a pair bought is divided between its sales by their proceeds."""
    saved = {
        name: (deferred, unused)
        for name, deferred, unused in warehouse.rows(
            "SELECT client_order_id, tax_deferred_usd, unused_loss_usd FROM core.harvests"
        ).iter_rows()
    }
    rows = warehouse.rows(_SOLD).rows(named=True)
    proceeds: dict[tuple, Decimal] = defaultdict(Decimal)
    for row in rows:
        proceeds[row["batch_id"], row["pair"]] += row["proceeds_usd"]
    bought = _bought(warehouse)
    found = []
    for (batch_id, pair, name), of_line in groupby(
        rows, lambda row: (row["batch_id"], row["pair"], row["client_order_id"])
    ):
        lots = list(of_line)
        share = sum((lot["proceeds_usd"] for lot in lots), Decimal(0)) / proceeds[batch_id, pair]
        fees = {lot["trade_id"]: lot["fee_usd"] for lot in lots}
        sold = tuple(Sold(*(lot[field] for field in Sold._fields)) for lot in lots)
        instead = tuple(_part_of(lot, share) for lot in bought.get((batch_id, pair), ()))
        fee = sum(fees.values(), Decimal(0))
        what = lots[0]["account_id"], lots[0]["security_id"], sold, fee, instead
        found.append(Harvest(name, *what, saved[name][0], Decimal(0), saved[name][1]))
    return sorted(found, key=lambda one: (one.sold[0].sold_on, one.client_order_id))


def _used(harvests: list[Harvest], warehouse: Warehouse, day: Day, of_year: Callable[[int], Rates]) -> list[Harvest]:
    """The harvests with what their losses saved in the years after, by the books' own results and carryovers."""
    if not harvests:
        return []
    years = warehouse.rows("SELECT DISTINCT year(sold_on) FROM core.disposals ORDER BY 1").to_series().to_list()
    results = {year: realized(warehouse, year) for year in range(years[0], max(day.as_of.year, years[-1]) + 1)}
    income, stated = day.settings.portfolio.household.taxable_income_usd, stated_carryover(day)
    found = used_later(harvests, results, lambda year, of: carried_into(year, of, day.law, income, stated), of_year)
    return [one._replace(used_usd=used, left_usd=left) for one, (used, left) in zip(harvests, found, strict=True)]


def _bought(warehouse: Warehouse) -> dict[tuple[str, int], list[Bought]]:
    """The replacement lots of every pair, each with how it ended."""
    ended: dict[str, list[Ended]] = defaultdict(list)
    gone = warehouse.rows(_GONE)
    for lot_id, *end in gone.iter_rows():
        ended[lot_id].append(Ended(*end))
    found: dict[tuple[str, int], list[Bought]] = defaultdict(list)
    for batch_id, pair, lot_id, security, on, quantity, cost, fee, *open_ in warehouse.rows(_BOUGHT).iter_rows():
        found[batch_id, pair].append(Bought(security, on, quantity, cost, fee, tuple(ended[lot_id]), *open_))
    return found


def _part_of(lot: Bought, share: Decimal) -> Bought:
    if share == 1:
        return lot
    ended = tuple(end._replace(basis_usd=end.basis_usd * share, gain_usd=end.gain_usd * share) for end in lot.ended)
    gains = (None if gain is None else gain * share for gain in (lot.short_gain_usd, lot.long_gain_usd))
    return Bought(
        lot.security_id, lot.bought_on, lot.quantity * share, lot.cost_usd * share, lot.commission_usd * share, ended,
        lot.open_basis_usd * share, *gains,
    )  # fmt: skip


def _closes(warehouse: Warehouse, day: Day, harvests: list[Harvest]) -> dict[str, Closes]:
    """The prices since the first harvest of every security that one has to do with."""
    names = sorted({one.security_id for one in harvests} | {lot.security_id for one in harvests for lot in one.bought})
    found = {name: Closes([], [], []) for name in names}
    if not names:
        return found
    rows = warehouse.rows(
        "SELECT security_id, session_on, price_usd, adjusted_price_usd FROM stg.prices "
        "WHERE session_on BETWEEN $first AND $last AND list_contains($names, security_id) ORDER BY security_id, session_on",
        first=min(one.sold[0].sold_on for one in harvests),
        last=day.as_of,
        names=names,
    )
    for (name,), of_one in rows.group_by("security_id", maintain_order=True):
        found[str(name)] = Closes(*(of_one[column].to_list() for column in of_one.columns[1:]))
    return found
