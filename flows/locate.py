"""Which moves between accounts would lower the household's yearly tax: gathered here, decided in transforms/portfolio/moves.py.

A move has a half in each of two accounts, so nothing is planned that one half of could not be done: what no method may trade
today (flows/measure.py: locks), in an account or of a security, stays where it is and says why.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import date
from decimal import Decimal

from flows.accounts import Account
from flows.calendar import next_session
from flows.day import Day
from flows.measure import locks
from flows.policy import Location
from flows.pre_trade import known
from flows.propose import unsafe_accounts
from transforms import tables
from transforms.harvest.scan import SHARE, unseen
from transforms.orders.arbiter import Proposed
from transforms.portfolio.drift import class_of
from transforms.portfolio.located import Scene, cost_rows, location_rows, move_rows, unknown
from transforms.portfolio.location import Cell, Kind, Retirement, cost
from transforms.portfolio.move_trades import Holding, Place, Terms
from transforms.portfolio.moves import House, plan
from transforms.portfolio.tax_cost import ASSUMED, Yields, taxes
from warehouse.db import Warehouse

KINDS: dict[str, Kind] = {"roth_ira": "roth", "hsa": "roth", "taxable": "taxable", "trust": "taxable"}
NOT_OURS = {"utma"}  # what a child owns is not exchanged for what its parents own


def location(warehouse: Warehouse, day: Day) -> Iterator[Proposed]:
    """The moves that cost no tax or pay for it, each with its reason. Nothing without [location].

    Fills core.location, core.location_moves and core.class_costs.
    """
    policy = day.settings.portfolio.location
    rows: dict[str, list[tuple]] = {"location": [], "location_moves": [], "class_costs": []}
    planned = None
    if policy:
        scene = gather(warehouse, day, policy)
        planned = plan(scene.house)
        rows = {
            "location": location_rows(scene, planned, day.settings.portfolio.targets),
            "location_moves": move_rows(planned),
            "class_costs": cost_rows(scene),
        }
    for name, made in rows.items():
        warehouse.replace(f"core.{name}", tables.core(name, made))
    for trades in planned.trades if planned else ():
        yield from trades


def gather(warehouse: Warehouse, day: Day, policy: Location) -> Scene:
    """Holdings with their gains, costs by account and class, what may be bought, and the pre-trade check of the day."""
    portfolio, on = day.settings.portfolio, next_session(day.as_of)
    law, own, seen, locked = day.law(on.year), portfolio.household, known(warehouse, day, on), locks(warehouse, day)
    accounts = {account.id: account for account in portfolio.accounts}
    ours = [account for account in accounts.values() if account.type not in NOT_OURS]
    held = list(_holdings(warehouse, accounts, portfolio.targets, on))
    yields = _yields(warehouse, policy, {one.asset_class for one in held} | set(portfolio.targets))
    by = taxes(law, own.taxable_income_usd, own.state_rate)
    # the credit is without a limit only where all that is held from abroad, wherever it comes to stand, is little enough
    abroad = sum(one.value_usd * yields[one.asset_class].withheld_rate for one in held if one.asset_class in yields)
    if abroad <= law.foreign_tax_de_minimis_usd and by.credit_rate:
        by = by._replace(credit_rate=None)
    later = Retirement(policy.retirement_rate, policy.retirement_growth_rate, policy.horizon_years)
    costs = {(account.id, name): cost(of, _kind(account), by, later) for account in ours for name, of in yields.items()}
    prices = dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows())
    unsafe, fixed = unsafe_accounts(warehouse, day), {}
    for at, one in enumerate(held):
        is_lossy = not accounts[one.account_id].is_deferred and one.short_gain_usd + one.long_gain_usd < 0
        if accounts[one.account_id].type in NOT_OURS:
            fixed[at] = f"{one.account_id} is a child's: it is not exchanged for what others own"
        elif one.asset_class not in yields:
            fixed[at] = unknown(one.asset_class)
        elif one.account_id in locked.accounts:
            fixed[at] = f"{one.account_id}: {locked.accounts[one.account_id]}"
        elif one.security_id in locked.securities:
            fixed[at] = f"{one.security_id} {locked.securities[one.security_id]}"
        elif is_lossy and (why := unseen(one.security_id, unsafe, portfolio.cautious_groups)):
            fixed[at] = f"{one.security_id} is not sold at a loss: {why}"
    weight = Decimal(str(portfolio.gates.max_order_weight))
    terms = Terms(
        on, {account.id: _place(account, policy, held, weight) for account in accounts.values()}, prices, seen.year.rates,
        policy.max_break_even_years, policy.trade_cost_bps / 10_000, policy.min_move_usd,
        policy.fall_rate,
    )  # fmt: skip
    holdable = _buys(policy, ours, held, yields, prices.keys()).keys()
    trading = [account for account in ours if account.id not in locked.accounts]
    buys = _buys(policy, trading, held, yields, prices.keys() - locked.securities.keys())
    house = House(terms, held, costs, buys, fixed, seen.effects, seen.beyond_in_part, portfolio.wash_limits)
    return Scene(house, yields, holdable, by, later)


def _holdings(
    warehouse: Warehouse, accounts: Mapping[str, Account], targets: Mapping[str, float], on: date
) -> Iterator[Holding]:
    """What has a price, lot by lot in taxable accounts whose broker sells the lots that it is told."""
    rows = warehouse.rows(
        "SELECT l.account_id, any_value(s.asset_class), l.security_id, "
        "CASE WHEN list_contains($by_lot, l.account_id) THEN l.lot_id ELSE '' END, "
        "sum(l.quantity)::DECIMAL(28, 9), any_value(p.price_usd), sum(l.value_usd)::DECIMAL(28, 6), "
        "coalesce(sum(l.gain_usd) FILTER (l.long_term_from > $on), 0)::DECIMAL(28, 6), "
        "coalesce(sum(l.gain_usd) FILTER (l.long_term_from <= $on), 0)::DECIMAL(28, 6) "
        "FROM mart.lot_ladder AS l JOIN core.latest_prices AS p USING (security_id) "
        "LEFT JOIN stg.securities AS s USING (security_id) "
        "GROUP BY 1, 3, 4 HAVING min(l.quantity) > 0 AND sum(l.value_usd) > 0 ORDER BY 1, 2, 3, min(l.acquired_on), 4",
        by_lot=[account.id for account in accounts.values() if account.reaches_any_lot and not account.is_deferred],
        on=on,
    )
    for account, asset_class, security, *rest in rows.iter_rows():
        if account in accounts:
            yield Holding(account, class_of(security, asset_class, targets), security, *rest)


def _kind(account: Account) -> Kind:
    return KINDS.get(account.type, "traditional")


def _place(account: Account, policy: Location, held: Iterable[Holding], weight: Decimal) -> Place:
    kept = 1 - policy.retirement_rate if _kind(account) == "traditional" else Decimal(1)
    value = sum((one.value_usd for one in held if one.account_id == account.id), Decimal(0))
    step = Decimal(1) if account.shares == "whole" else SHARE
    return Place(account.is_deferred, kept, step, int(value * kept * weight * 100))


def _yields(warehouse: Warehouse, policy: Location, names: Iterable[str]) -> dict[str, Yields]:
    """By class; of a security that is a class of its own those of its sector, where nothing else is said."""
    known_of = ASSUMED | {name: Yields(**said.model_dump()) for name, said in policy.classes.items()}
    sector = dict(warehouse.rows("SELECT security_id, coalesce(asset_class, '') FROM stg.securities").iter_rows())
    found = {}
    for name in sorted(names):
        own, general = policy.like.get(name, name), sector.get(name, "")
        as_ = own if own in known_of else policy.like.get(general, general)
        if as_ in known_of:
            found[name] = known_of[as_]
    return found


def _buys(
    policy: Location, accounts: Iterable[Account], held: Iterable[Holding], classes: Iterable[str], tradable: Set[str]
) -> dict[Cell, list[str]]:
    """By account and class: the policy's securities, else those held, in this account first, then the largest holding."""
    worth, mine = defaultdict[tuple[str, str], Decimal](Decimal), set()
    for one in held:
        worth[one.asset_class, one.security_id] += one.value_usd
        mine.add((one.account_id, one.security_id))
    found = {}
    for account in accounts:
        can = tradable & set(account.can_hold) if account.can_hold else tradable
        for name in classes:
            ranked = [((account.id, s) not in mine, -value, s) for (of, s), value in worth.items() if of == name]
            names = policy.buy.get(name, tuple(s for *_, s in sorted(ranked)))
            if may := [s for s in names if s in can]:
                found[account.id, name] = may
    return found
