"""What the accounts that follow the index are decided on: the wanted weights, the risk model, lots, prices and locks.

A constituent that cannot be bought, because it has no price or only an old one, is left out like one that the household excludes;
its risk is taken to be its sector's, so that the tracking error counts what leaving it out does.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import polars as pl

from flows.calendar import next_session, sessions
from flows.csv_file import SURPLUS, Unreadable, csv_rows
from flows.day import Day
from flows.measure import Locks, locks
from flows.policy import Index
from flows.pre_trade import Known, known
from flows.settings import Settings, SettingsError
from transforms.index.risk_model import RiskModel, statistical
from transforms.index.target import Target, target
from transforms.index.tilts import TiltError
from transforms.index.universe import Constituent, Exclusions, UniverseError, constituents, largest, universe
from warehouse.db import Warehouse


class LotRow(NamedTuple):
    """An open lot with a price. Units: shares, USD."""

    account_id: str
    security_id: str
    lot_id: str
    quantity: Decimal
    basis_usd: Decimal
    acquired_on: date
    long_term_from: date


class NoRiskModel(Exception):
    """The prices carry no risk model: why."""


Told = tuple[str, str, str]  # account, security, what is to be known of it; no account: of all


class Scene(NamedTuple):
    """What the accounts that follow the index are decided on. Units: USD."""

    day: Day
    on: date
    policy: Index
    sectors: Mapping[str, str]
    target: Target
    model: RiskModel
    prices: Mapping[str, Decimal]
    lots: list[LotRow]
    cash_usd: Mapping[str, Decimal]
    locked: Locks
    washes: set[tuple[str, str]]  # accounts and securities whose sale at a loss a purchase would wash
    seen: Known


def scene_of(warehouse: Warehouse, day: Day, policy: Index, followers: set[str]) -> tuple[Scene, list[Told]]:
    """What is decided on, and what a person should know of it.

    Errors   SettingsError for a file, an exclusion or a tilt that cannot be used; NoRiskModel for prices that cannot.
    """
    on = next_session(day.as_of)
    found = warehouse.rows("SELECT security_id, price_usd, sessions_old FROM core.latest_prices").rows()
    prices = {name: price for name, price, _ in found}
    old = {name: age for name, _, age in found if age > day.settings.portfolio.gates.max_price_age_sessions}
    held = [lot for lot in _lots(warehouse) if lot.account_id in followers]
    lots = [lot for lot in held if lot.security_id in prices]
    names, there = constituents_of(day.settings), {lot.security_id for lot in lots}
    unpriced = [one.symbol for one in names if one.symbol not in prices]
    aged = [one.symbol for one in names if one.symbol in old and one.symbol not in there]  # held: it is locked as it is
    securities = tuple(sorted({one.symbol for one in names} | there))
    closes = _closes(warehouse, day, securities, policy.lookback_sessions)
    sectors = dict(warehouse.rows("SELECT security_id, coalesce(asset_class, '') FROM stg.securities").iter_rows())
    sectors |= {one.symbol: one.sector for one in names}
    try:
        model = statistical(
            closes[1:] / closes[:-1] - 1, securities, [sectors.get(name, "") for name in securities]
        ).model
    except ValueError as wrong:
        raise NoRiskModel(f"the prices carry no risk model: {wrong}") from wrong
    exclusions = _exclusions(policy, unpriced, aged)
    tilts = {str(name): power for name, power in policy.tilts.items()}
    try:
        wanted = target(
            names, exclusions, tilts, policy.names, model, closes,
            sector_neutral=policy.sector_neutral, factors=policy.max_factor_drift.keys(),
        )  # fmt: skip
    except (UniverseError, TiltError) as wrong:
        raise SettingsError(f"[index]: {wrong}") from wrong
    washes = warehouse.rows(
        "SELECT DISTINCT account_id, security_id FROM mart.cannot_sell_at_a_loss_today WHERE until_on >= $on", on=on
    )
    scene = Scene(
        day, on, policy, sectors, wanted, model, prices, lots,
        dict(warehouse.rows("SELECT account_id, cash_usd FROM mart.cash").iter_rows()),
        locks(warehouse, day), set(washes.iter_rows()), known(warehouse, day, on),
    )  # fmt: skip
    told = [("", name, "has no price: its weight is spread over its sector") for name in unpriced]
    told += [
        ("", name, f"its price is {old[name]} sessions old: its weight is spread over its sector") for name in aged
    ]
    told += [
        ("", name, "is to be left out, and the index does not have it: is it spelled so?") for name in wanted.not_found
    ]
    blind = sorted({(lot.account_id, lot.security_id) for lot in held if lot.security_id not in prices})
    return scene, told + [
        (*one, "is held and has no price: it is left as it is and counts for nothing") for one in blind
    ]


def constituents_of(settings: Settings) -> list[Constituent]:
    """The constituents of the index that accounts follow; none without one.

    Errors   SettingsError for a file that cannot be read, or an exclusion of what it does not have.
    """
    policy = settings.portfolio.index
    if policy is None:
        return []
    try:
        rows = list(csv_rows(settings.beside(policy.constituents), []))
        if wrong := [line for line, row in rows if SURPLUS in row]:
            raise UniverseError(
                f"{policy.constituents}:{wrong[0]}: more cells than the header has columns; a name with a comma needs quotes"
            )
        names = constituents(rows, policy.constituents)
        names = largest(names, policy.top) if policy.top else names
        universe(names, _exclusions(policy))
    except (Unreadable, UniverseError) as wrong:
        raise SettingsError(f"[index]: {wrong}") from wrong
    return names


def _exclusions(policy: Index, *more: Sequence[str]) -> Exclusions:
    return Exclusions(
        frozenset(policy.exclude_sectors),
        frozenset(policy.exclude_industries),
        frozenset(policy.exclude).union(*more),
        frozenset(policy.employer),
    )


def _lots(warehouse: Warehouse) -> list[LotRow]:
    """Oldest first; a lot of several slices is one, and long-term when all of it is."""
    rows = warehouse.rows(
        "SELECT account_id, security_id, lot_id, sum(quantity)::DECIMAL(28, 9), sum(basis_usd)::DECIMAL(28, 6), "
        "min(acquired_on) AS acquired_on, max(long_term_from) FROM core.lots WHERE quantity > 0 "
        "GROUP BY account_id, security_id, lot_id ORDER BY account_id, security_id, acquired_on, lot_id"
    )
    return [LotRow._make(row) for row in rows.iter_rows()]


def _closes(warehouse: Warehouse, day: Day, securities: tuple[str, ...], count: int) -> np.ndarray:
    """Adjusted closes of the exchange's sessions, newest last, NaN where there is none: coins have prices on Sundays too.

    Shape    (up to count + 1, securities).
    """
    after = day.as_of - timedelta(days=2 * count)
    rows = warehouse.rows(
        "SELECT security_id, session_on, adjusted_price_usd::DOUBLE AS price FROM stg.prices "
        "WHERE session_on > $after AND session_on <= $as_of",  # plain bounds, so that only these days are read
        after=after,
        as_of=day.as_of,
    )
    days = sorted(set(rows["session_on"]) & set(sessions(after, day.as_of)))[-count - 1 :]
    rows = rows.join(
        pl.DataFrame({"session_on": days}, schema={"session_on": pl.Date}).with_row_index("row"), on="session_on"
    )
    rows = rows.join(pl.DataFrame({"security_id": securities}).with_row_index("column"), on="security_id")
    made = np.full((len(days), len(securities)), np.nan)
    made[rows["row"].to_numpy(), rows["column"].to_numpy()] = rows["price"].to_numpy()
    return made
