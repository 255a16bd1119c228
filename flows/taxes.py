"""The tax years: Schedule D, Schedule C, and what harvests have deferred so far."""

from decimal import Decimal

from flows.day import Day
from flows.pre_trade import carried_in, realized, stated_carryover
from flows.tax_alpha import tax_alpha
from transforms import tables
from transforms.exact import apportioned
from transforms.expenses.categorize import expenses
from transforms.harvest.benefit import rates, tax_on, unused
from transforms.harvest.candidates import cents
from transforms.tax.schedule_d import schedule_d
from warehouse.db import Warehouse


def taxes(warehouse: Warehouse, day: Day) -> None:
    """Fill core.schedule_d, core.expenses, core.harvests and core.tax_alpha from the books as they stand."""
    household = day.settings.portfolio.household
    sales = warehouse.rows("SELECT * FROM core.reported_sales ORDER BY sold_on, trade_id, slice")
    warehouse.replace(
        "core.schedule_d", schedule_d(sales, day.law, household.taxable_income_usd, stated_carryover(day))
    )
    lines = warehouse.rows(
        "SELECT bank_id, bank_line_id, posted_on, description, amount_usd FROM stg.bank_lines AS b "
        "ANTI JOIN core.set_aside AS s ON s.kind = 'bank_lines' AND s.delivery_id = b.delivery_id AND s.raw_line = b.line "
        "WHERE posted_on <= $as_of "
        "QUALIFY row_number() OVER (PARTITION BY bank_id, bank_line_id ORDER BY delivery_id DESC, line) = 1 "
        "ORDER BY posted_on, bank_line_id",
        as_of=day.as_of,
    )
    warehouse.replace("core.expenses", expenses(lines, day.settings.portfolio.expenses.rules, day.law))
    warehouse.replace("core.harvests", tables.core("harvests", _harvests(warehouse, day)))
    tax_alpha(warehouse, day)


def _harvests(warehouse: Warehouse, day: Day) -> list[tuple]:
    """Every harvest executed, with its share of what the year's harvests saved together."""
    household = day.settings.portfolio.household
    sold = warehouse.rows(
        """
        WITH fills AS (
            SELECT i.batch_id, i.line, i.client_order_id, e.transaction_id
            FROM ledger.intents AS i JOIN ledger.order_events AS e USING (client_order_id) WHERE e.event = 'fill'
        ), ladder AS (
            SELECT lot_id, sum(gain_usd) FILTER (term_today = 'short') AS short_gain,
                sum(gain_usd) FILTER (term_today = 'long') AS long_gain
            FROM mart.lot_ladder GROUP BY lot_id
        ), bought AS (  -- a pair may hold several purchases, and each may be filled in parts
            SELECT l.batch_id, l.pair, string_agg(DISTINCT l.security_id, ', ') AS security_id,
                sum(g.short_gain) AS short_gain, sum(g.long_gain) AS long_gain
            FROM ledger.batch_lines AS l
            LEFT JOIN fills AS f USING (batch_id, line)
            LEFT JOIN ladder AS g ON g.lot_id = f.transaction_id
            WHERE l.side = 'buy' GROUP BY ALL
        ), sold AS (
            SELECT l.batch_id, l.line, l.pair, min(f.client_order_id) AS client_order_id, b.account_id, l.security_id,
                min(d.sold_on) AS sold_on, -sum(d.gain_usd) FILTER (d.term = 'short') AS short_loss,
                -sum(d.gain_usd) FILTER (d.term = 'long') AS long_loss, sum(d.adjustment_usd) AS disallowed
            FROM ledger.batch_lines AS l
            JOIN ledger.batches AS b USING (batch_id)
            JOIN fills AS f USING (batch_id, line)
            JOIN core.disposals AS d ON d.trade_id = f.transaction_id
            WHERE l.side = 'sell' AND l.method LIKE '%harvest%' GROUP BY ALL
        )
        SELECT s.client_order_id, s.account_id, s.security_id, coalesce(r.security_id, ''), s.sold_on, s.short_loss, s.long_loss,
            s.disallowed, CASE WHEN place = 1 THEN r.short_gain END, CASE WHEN place = 1 THEN r.long_gain END
        FROM (SELECT *, row_number() OVER (PARTITION BY batch_id, pair ORDER BY line) AS place FROM sold) AS s
        LEFT JOIN bought AS r USING (batch_id, pair)
        ORDER BY s.sold_on, s.client_order_id
        """
    ).rows()
    years = {row[4].year for row in sold}
    found = []
    for year in sorted(years):
        rate = rates(day.law(year), household.taxable_income_usd, household.state_rate)
        rows = [[Decimal(0) if value is None else value for value in row] for row in sold if row[4].year == year]
        brought_short, brought_long = carried_in(warehouse, day, year)
        short, long = realized(warehouse, year)
        short, long = short - brought_short, long - brought_long
        harvested_short, harvested_long = (sum((row[i] for row in rows), Decimal(0)) for i in (5, 6))
        saved = cents(tax_on(short + harvested_short, long + harvested_long, rate) - tax_on(short, long, rate))
        # one that was filled at a gain has no part in what the others saved
        whole = sum((max(row[5] + row[6], Decimal(0)) for row in rows), Decimal(0))
        carried = min(unused(short, long, rate), whole)
        done = Decimal(0)
        for name, account, security, instead, sold_on, short_loss, long_loss, disallowed, short_gain, long_gain in rows:
            allowed = short_loss + long_loss
            until = done + max(allowed, Decimal(0))
            parts = [_part(amount, done, until, whole) for amount in (saved, carried)]
            done = until
            owed = max(Decimal(0), cents(short_gain * rate.short + long_gain * rate.long))
            found.append((name, account, security, instead, sold_on, allowed, disallowed, *parts, owed))
    return found


def _part(amount: Decimal, before: Decimal, after: Decimal, whole: Decimal) -> Decimal:
    """The part of an amount that falls on one harvest, in whole cents that add up."""
    if whole <= 0:
        return Decimal(0)
    start, end, all_of_it = (int(value * 100) for value in (before, after, whole))
    return Decimal(apportioned(int(amount * 100), start, end, all_of_it)).scaleb(-2)
