"""The tax years: Schedule D, Schedule C, and what harvests have deferred so far."""

from decimal import Decimal

from flows.day import Day
from flows.pre_trade import realized
from transforms import tables
from transforms.exact import apportioned
from transforms.expenses.categorize import expenses
from transforms.harvest.benefit import rates, tax_on, unused
from transforms.harvest.candidates import cents
from transforms.tax.schedule_d import schedule_d
from warehouse.db import Warehouse


def taxes(warehouse: Warehouse, day: Day) -> None:
    """Fill core.schedule_d, core.expenses and core.harvests from the books as they stand."""
    household = day.settings.portfolio.household
    sales = warehouse.rows("SELECT * FROM core.reported_sales ORDER BY sold_on, trade_id, slice")
    warehouse.replace("core.schedule_d", schedule_d(sales, day.law, household.taxable_income_usd))
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


def _harvests(warehouse: Warehouse, day: Day) -> list[tuple]:
    """Every harvest executed, with its share of what the year's harvests saved together."""
    household = day.settings.portfolio.household
    sold = warehouse.rows(
        """
        SELECT i.client_order_id, b.account_id, s.security_id, r.security_id, d.sold_on,
            -sum(d.gain_usd) FILTER (d.term = 'short'), -sum(d.gain_usd) FILTER (d.term = 'long'), sum(d.adjustment_usd),
            any_value(g.short_gain), any_value(g.long_gain)
        FROM ledger.intents AS i
        JOIN ledger.batches AS b USING (batch_id)
        JOIN ledger.batch_lines AS s ON s.batch_id = i.batch_id AND s.line = i.line AND s.side = 'sell'
        JOIN ledger.batch_lines AS r ON r.batch_id = i.batch_id AND r.pair = s.pair AND r.side = 'buy'
        JOIN ledger.order_events AS e ON e.client_order_id = i.client_order_id AND e.event = 'filled'
        JOIN core.disposals AS d ON d.trade_id = e.transaction_id
        LEFT JOIN ledger.intents AS ri ON ri.batch_id = r.batch_id AND ri.line = r.line
        LEFT JOIN ledger.order_events AS re ON re.client_order_id = ri.client_order_id AND re.event = 'filled'
        LEFT JOIN (
            SELECT lot_id, sum(gain_usd) FILTER (term_today = 'short') AS short_gain,
                sum(gain_usd) FILTER (term_today = 'long') AS long_gain
            FROM mart.lot_ladder GROUP BY lot_id
        ) AS g ON g.lot_id = re.transaction_id
        GROUP BY ALL
        ORDER BY d.sold_on, i.client_order_id
        """
    ).rows()
    years = {row[4].year for row in sold}
    found = []
    for year in sorted(years):
        rate = rates(day.law(year), household.taxable_income_usd, household.state_rate)
        rows = [[Decimal(0) if value is None else value for value in row] for row in sold if row[4].year == year]
        short, long = realized(warehouse, year)
        harvested_short, harvested_long = (sum((row[i] for row in rows), Decimal(0)) for i in (5, 6))
        saved = cents(tax_on(short + harvested_short, long + harvested_long, rate) - tax_on(short, long, rate))
        whole = harvested_short + harvested_long
        carried = min(unused(short, long, rate), max(whole, Decimal(0)))
        done = Decimal(0)
        for name, account, security, instead, sold_on, short_loss, long_loss, disallowed, short_gain, long_gain in rows:
            allowed = short_loss + long_loss
            parts = [_part(amount, done, done + allowed, whole) for amount in (saved, carried)]
            done += allowed
            owed = max(Decimal(0), cents(short_gain * rate.short + long_gain * rate.long))
            found.append((name, account, security, instead, sold_on, allowed, disallowed, *parts, owed))
    return found


def _part(amount: Decimal, before: Decimal, after: Decimal, whole: Decimal) -> Decimal:
    """The part of an amount that falls on one harvest, in whole cents that add up."""
    if whole <= 0:
        return Decimal(0)
    start, end, all_of_it = (int(value * 100) for value in (before, after, whole))
    return Decimal(apportioned(int(amount * 100), start, end, all_of_it)).scaleb(-2)
