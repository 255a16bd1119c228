"""The day in a few lines that a person can act on."""

import sys
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from flows.calendar import next_session
from flows.day import Day
from flows.documents.tables import usd
from transforms.portfolio.bands import CASH
from warehouse.db import Warehouse


class Summary(NamedTuple):
    """A heading, and lines under names: Ingested, Harvest, Ordered, Refused, Look at, Tax, Next."""

    heading: str
    sections: dict[str, list[str]]

    def plain(self) -> str:
        """For a terminal."""
        said = [self.heading, ""]
        for name, lines in self.sections.items():
            first, *rest = lines or ["nothing"]
            said += [f"{name:<9} {first}", *(f"{'':<9} {line}" for line in rest)]
        return "\n".join(said)

    def markdown(self) -> str:
        """For the Prefect UI."""
        said = [f"### {self.heading}"]
        for name, lines in self.sections.items():
            said += ["", f"**{name}**", "", *(f"- {line}" for line in lines or ["nothing"])]
        return "\n".join(said)


def summary(warehouse: Warehouse, day: Day, page: Path) -> Summary:
    """What was ingested, harvested, ordered and refused, what it saves, and where to look."""
    session_on = next_session(day.as_of)
    flag = " --demo" if day.settings.home.name == "demo" else ""
    return Summary(
        f"{day.settings.portfolio.household.name}, {day.as_of:%A} {day.as_of} (orders for {session_on})",
        {
            "Ingested": _ingested(warehouse),
            "Harvest": _lines(warehouse, _HARVESTS),
            "Ordered": [*_lines(warehouse, _DECIDED_BEFORE, on=session_on), *_lines(warehouse, _ORDERS, on=session_on)],
            "Refused": [
                *_lines(warehouse, _REFUSED),
                *_lines(warehouse, _LEFT_OUT),
                *_lines(warehouse, _HELD_BACK, on=session_on),
            ],
            "Look at": [
                *_not_linked(warehouse, day),
                *_owed(warehouse, day),
                *_alerts(warehouse),
                *_lines(warehouse, _NOT_RAISED),
                *_nobody_is(warehouse, day),
                *_lines(warehouse, _INDEX),
            ],
            "Tax": _tax(warehouse, day),
            "Next": [
                f"report:    {page}",
                f"snapshot:  {day.settings.snapshot}",
                f'SQL:       {_command()} sql{flag} "FROM mart.harvest_candidates"   (ask instead of sql lists ready questions)',
                "Prefect:   make serve, then http://127.0.0.1:4200",
            ],
        },
    )


_HARVESTS = """
SELECT format('sell {} {} in {}, buy {} {}: {}', rtrim(rtrim(quantity::VARCHAR, '0'), '.'), security_id, account_id,
    rtrim(rtrim(replacement_quantity::VARCHAR, '0'), '.'), replacement_id, reason)
FROM core.proposals SEMI JOIN (FROM mart.harvest_candidates WHERE NOT is_refused) USING (account_id, security_id)
ORDER BY tax_saved_usd DESC, security_id
"""
_REFUSED = """
SELECT format('{} in {}, a loss of ${:,.2f}: {}', security_id, account_id, loss_usd::DOUBLE, reason)
FROM mart.harvest_candidates WHERE is_refused ORDER BY loss_usd DESC, security_id
"""
_LEFT_OUT = """
SELECT format('{}: {} {} in {}{}, left out: {}', method, side, security_id, account_id,
    CASE WHEN orders > 1 THEN format(' and {} more with it', orders - 1) ELSE '' END, refusal)
FROM (SELECT *, count(*) OVER (PARTITION BY proposal) AS orders FROM core.proposed_trades)
WHERE refusal <> '' AND method <> 'harvest' AND leg = 1 ORDER BY method, proposal
"""
_DECIDED_BEFORE = """
SELECT format('(decided by an earlier run, at {} UTC: this one decided and ordered nothing new)',
    strftime(min(decided_at), '%Y-%m-%d %H:%M'))
FROM ledger.batches WHERE session_on = $on AND run_id <> (SELECT run_id FROM mart.today) HAVING count(*) > 0
"""
_ORDERS = """
SELECT format('{}: {} {} {} in {} ({}){}', status, side, rtrim(rtrim(quantity::VARCHAR, '0'), '.'), security_id, account_id,
    method, CASE WHEN note <> '' THEN ', ' || note WHEN lots <> '' THEN ', lots ' || lots ELSE '' END)
FROM mart.orders WHERE session_on = $on AND status <> 'refused' ORDER BY account_id, line
"""
_HELD_BACK = """
WITH held AS (
    SELECT *, note LIKE 'pair: its pair,%' AS is_partner,
        count(*) FILTER (note LIKE 'pair: its pair,%') OVER (PARTITION BY account_id) AS partners
    FROM mart.orders WHERE session_on = $on AND status = 'refused'
), told AS (
    SELECT account_id, line,
        format('{} {} {} in {} ({}): {}', side, rtrim(rtrim(quantity::VARCHAR, '0'), '.'), security_id, account_id, method, note) AS text
    FROM held WHERE NOT is_partner OR partners <= 10
    UNION ALL
    SELECT account_id, max(line), format('{} more in {}: other parts of their pairs are held back', count(*), account_id)
    FROM held WHERE is_partner AND partners > 10 GROUP BY account_id
)
SELECT text FROM told ORDER BY account_id, line, text
"""

_NOT_RAISED = """
SELECT format('{}, ${:,.0f}: {}', account_id, value_usd::DOUBLE, reason)
FROM core.left_alone WHERE method IN ('bands', 'cash_flow') AND asset_class = 'Cash' ORDER BY account_id
"""
_INDEX = """
SELECT format('index{}: {}{}', CASE WHEN account_id <> '' THEN ', ' || account_id ELSE '' END,
    CASE WHEN max(security_id) <> '' THEN string_agg(security_id, ', ' ORDER BY security_id) || ': ' ELSE '' END, reason)
FROM core.left_alone WHERE method = 'index' GROUP BY account_id, reason ORDER BY account_id, reason
"""


def _owed(warehouse: Warehouse, day: Day) -> list[str]:
    """Accounts that owe cash and may not borrow."""
    policy = day.settings.portfolio
    listed = {account.id for account in policy.accounts if not policy.gates.of(account.id).is_margin}
    rows = warehouse.rows("SELECT account_id, cash_usd FROM mart.cash WHERE cash_usd < 0 ORDER BY account_id")
    return [
        f"{account} owes {usd(-cash)} of cash, and may not borrow"
        for account, cash in rows.iter_rows()
        if account in listed
    ]


def _nobody_is(warehouse: Warehouse, day: Day) -> list[str]:
    """Targets that no security stands for: most often a class that is spelled otherwise."""
    there = set(
        warehouse.rows(
            "SELECT security_id FROM stg.securities UNION SELECT asset_class FROM stg.securities"
        ).to_series()
    )
    return [
        f"[targets] {name!r}: no security is of this class, so nothing can be bought for it; is it spelled so?"
        for name, weight in day.settings.portfolio.targets.items()
        if weight and name not in there | {CASH}
    ]


def _command() -> str:
    """How a person calls `thresher` from where they are."""
    installed = Path(sys.executable).with_name("thresher")
    return str(installed.relative_to(Path.cwd())) if installed.is_relative_to(Path.cwd()) else str(installed)


def _lines(warehouse: Warehouse, query: str, **values: object) -> list[str]:
    return warehouse.rows(query, **values).to_series().to_list()


def _ingested(warehouse: Warehouse) -> list[str]:
    transactions, trades, lots, accounts, prices, securities, bank, aside = warehouse.rows(
        "SELECT (SELECT count(*) FROM stg.transactions), (SELECT count(*) FROM stg.transactions WHERE kind = 'trade'), "
        "(SELECT count(DISTINCT lot_id) FROM core.lots), (SELECT count(*) FROM core.accounts), "
        "(SELECT count(*) FROM raw.prices), (SELECT count(DISTINCT symbol) FROM raw.prices), "
        "(SELECT count(DISTINCT (bank_id, bank_line_id)) FROM stg.bank_lines), (SELECT count(*) FROM mart.set_aside)"
    ).row(0)
    said = [
        f"{transactions:,} transactions ({trades:,} trades) and {lots:,} open lots in {accounts} accounts; {bank:,} bank lines; "
        f"{prices:,} prices of {securities:,} securities; {aside:,} rows set aside"
    ]
    if warehouse.value("SELECT bool_or(is_adjusted) FROM core.latest_prices"):
        said.append("prices are adjusted for splits and dividends; dividends count as income, not again as return")
    return said


def _not_linked(warehouse: Warehouse, day: Day) -> list[str]:
    """The accounts that nobody sees, and how many of the harvests they lower the confidence of."""
    found = _lines(warehouse, "SELECT unlinked FROM core.proposals WHERE NOT is_refused")
    return [
        f"confidence is lowered: {account} is not linked; a purchase there could wash "
        f"{sum(account.name in unlinked.split('; ') for unlinked in found)} of {len(found)} harvests unseen"
        for account in day.settings.portfolio.not_linked
    ]


def _alerts(warehouse: Warehouse) -> list[str]:
    found = [
        *_lines(warehouse, "SELECT DISTINCT reason FROM core.source_status WHERE NOT is_sound ORDER BY 1"),
        *_lines(
            warehouse,
            "SELECT format('{} of {}, line {}: {}', kind, source, line, reason) FROM mart.set_aside ORDER BY source, line LIMIT 20",
        ),
        *_lines(
            warehouse,
            "SELECT format('{}: the broker says {} {}, the ledger {}; {}', account_id, "
            "rtrim(rtrim(broker_quantity::VARCHAR, '0'), '.'), "
            "CASE WHEN kind IN ('shares', 'cash') THEN security_id ELSE kind || ' of ' || security_id END, "
            "rtrim(rtrim(ledger_quantity::VARCHAR, '0'), '.'), guess) FROM core.breaks WHERE NOT is_explained ORDER BY 1",
        ),
        *_lines(warehouse, "SELECT format('{}, {}: {}', account_id, security_id, text) FROM core.alerts ORDER BY 1"),
        *_lines(warehouse, "SELECT warning FROM core.source_status WHERE warning <> '' ORDER BY 1"),
        *_lines(
            warehouse,
            "SELECT format('{} is {:.1f} points off its target of {:.0f} %', asset_class, drift * 100, target_weight * 100) "
            "FROM core.drift WHERE is_outside AND EXISTS (FROM core.target_weights) ORDER BY abs(drift) DESC",
        ),
        *_lines(
            warehouse, "SELECT format('{} is {:.1f} % ({})', metric, value * 100, note) FROM core.risk WHERE is_alert"
        ),
        *_lines(
            warehouse,
            "SELECT format('sale {} changed since the last run: {} lot {} with a gain of ${:,.2f}', trade_id, change, lot_id, "
            "gain_usd::DOUBLE) FROM core.moved_disposals ORDER BY trade_id, slice, change DESC",
        ),
        *_lines(
            warehouse,
            "SELECT format('tell {} until {} (New York) that sale {} took {}: it saves ${:,.2f}', account_id, "
            "strftime(deadline_at, '%Y-%m-%d %H:%M'), trade_id, lots, tax_usd::DOUBLE) FROM mart.identifications_due",
        ),
        *_lines(
            warehouse,
            "SELECT format('sale {} in {}: the broker relieved {}, meant were {}; that costs ${:,.2f} of tax', trade_id, account_id, "
            "relieved_lots, intended_lots, tax_usd::DOUBLE) FROM mart.lot_divergence "
            "ANTI JOIN mart.identifications_due USING (trade_id) WHERE sold_on >= (SELECT as_of FROM mart.today)",
        ),
    ]
    aside = warehouse.value("SELECT count(*) FROM mart.set_aside")
    if aside > 20:
        found.append(f"{aside - 20} more rows were set aside: thresher ask which_rows_need_me")
    waiting = warehouse.value("SELECT count(*) FROM core.expenses WHERE category = 'review'")
    if waiting:
        found.append(f"{waiting} bank lines match no rule: thresher ask which_rows_need_me")
    return found


def _tax(warehouse: Warehouse, day: Day) -> list[str]:
    rows = warehouse.rows("SELECT * FROM mart.tax_deferred ORDER BY year").rows(named=True)
    if not rows:
        return ["nothing deferred yet: no harvest was executed"]
    saved, owed = (sum((row[name] for row in rows), Decimal(0)) for name in ("tax_deferred_usd", "owed_back_usd"))
    said = [
        f"an estimated {usd(saved)} deferred so far; {usd(owed)} of it owed back if the replacements are sold at market "
        f"(close of {day.as_of})"
    ]
    said += [
        f"{row['year']}: {row['harvests']} harvests, {usd(row['allowed_loss_usd'])} of losses allowed, "
        f"{usd(row['disallowed_usd'])} disallowed, {usd(row['unused_loss_usd'])} left for later years"
        for row in rows
    ]
    return said
