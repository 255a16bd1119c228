"""Which moves between accounts would lower the household's yearly tax: gathered here, decided in transforms/portfolio/moves.py."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal

from flows.calendar import next_session
from flows.day import Day
from flows.pre_trade import known
from flows.propose import unsafe_accounts
from flows.settings import Account, Location
from transforms import tables
from transforms.exact import half_up, usd
from transforms.harvest.scan import SHARE, unseen
from transforms.orders.arbiter import Proposed
from transforms.portfolio.location import Cell, Infeasible, Kind, Retirement, cost, place
from transforms.portfolio.moves import Holding, House, Place, blocks, plan
from transforms.portfolio.tax_cost import ASSUMED, Yields, taxes
from warehouse.db import Warehouse

_KINDS: dict[str, Kind] = {
    "roth_ira": "roth",
    "hsa": "roth",
    "taxable": "taxable",
    "utma": "taxable",
    "trust": "taxable",
}


def location(warehouse: Warehouse, day: Day) -> Iterator[Proposed]:
    """The moves that cost no tax or pay for it, each with its reason; fills core.location. Nothing without [location]."""
    policy, rows = day.settings.portfolio.location, list[tuple]()
    house = gather(warehouse, day, policy) if policy else None
    if house:
        rows = _rows(house, day.settings.portfolio.targets)
    warehouse.replace("core.location", tables.core("location", rows))
    for trades in plan(house).trades if house else ():
        yield from trades


def gather(warehouse: Warehouse, day: Day, policy: Location) -> House:
    """Holdings with their gains, costs by account and class, what may be bought, and the pre-trade check of the day."""
    portfolio, on = day.settings.portfolio, next_session(day.as_of)
    law, own, seen = day.law(on.year), portfolio.household, known(warehouse, day, on)
    accounts = {account.id: account for account in portfolio.accounts}
    held = list(_holdings(warehouse, accounts, on))
    yields = _yields(policy, {one.asset_class for one in held} | set(portfolio.targets))
    # the credit is without a limit only where all that is held from abroad, wherever it comes to stand, is little enough
    abroad = sum(one.value_usd * yields[one.asset_class].withheld_rate for one in held if one.asset_class in yields)
    by = taxes(law, own.taxable_income_usd, own.state_rate)
    later = Retirement(policy.retirement_rate, policy.retirement_growth_rate, policy.horizon_years)
    costs = {
        (account.id, name): cost(
            of, _kind(account), by, later, is_credit_limited=abroad > law.foreign_tax_de_minimis_usd
        )
        for account in accounts.values()
        for name, of in yields.items()
    }
    prices = dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows())
    unsafe, fixed = unsafe_accounts(warehouse, day), {}
    for at, one in enumerate(held):
        is_lossy = not accounts[one.account_id].is_deferred and one.short_gain_usd + one.long_gain_usd < 0
        if one.asset_class not in yields:
            fixed[at] = (
                f"yields of {one.asset_class} are not known: say them in [location.classes], or in [location.like]"
            )
        elif one.security_id in portfolio.gates.do_not_trade:
            fixed[at] = f"{one.security_id} is not to be traded"
        elif is_lossy and (why := unseen(one.security_id, unsafe, portfolio.cautious_groups)):
            fixed[at] = f"{one.security_id} is not sold at a loss: {why}"
    weight = Decimal(str(portfolio.gates.max_order_weight))
    places = {account.id: _place(account, policy, held, weight) for account in accounts.values()}
    buys = _buys(policy, portfolio.accounts, held, yields, prices.keys() - portfolio.gates.do_not_trade)
    return House(
        on, held, places, costs, buys, prices, fixed, seen.year.rates, seen.effects, seen.beyond_in_part,
        portfolio.wash_limits, policy.max_break_even_years, policy.trade_cost_bps / 10_000, policy.min_move_usd,
    )  # fmt: skip


def _holdings(warehouse: Warehouse, accounts: Mapping[str, Account], on: date) -> Iterator[Holding]:
    """What has a price, lot by lot in taxable accounts whose broker sells the lots that it is told."""
    rows = warehouse.rows(
        "SELECT l.account_id, coalesce(s.asset_class, 'Unknown'), l.security_id, "
        "CASE WHEN list_contains($by_lot, l.account_id) THEN l.lot_id ELSE '' END, "
        "sum(l.quantity)::DECIMAL(28, 9), any_value(p.price_usd), sum(l.value_usd)::DECIMAL(28, 6), "
        "coalesce(sum(l.gain_usd) FILTER (l.long_term_from > $on), 0)::DECIMAL(28, 6), "
        "coalesce(sum(l.gain_usd) FILTER (l.long_term_from <= $on), 0)::DECIMAL(28, 6) "
        "FROM mart.lot_ladder AS l JOIN core.latest_prices AS p USING (security_id) "
        "LEFT JOIN stg.securities AS s USING (security_id) "
        "GROUP BY 1, 2, 3, 4 HAVING min(l.quantity) > 0 AND sum(l.value_usd) > 0 ORDER BY 1, 2, 3, min(l.acquired_on), 4",
        by_lot=[account.id for account in accounts.values() if account.reaches_any_lot and not account.is_deferred],
        on=on,
    )
    return (one for one in map(Holding._make, rows.iter_rows()) if one.account_id in accounts)


def _kind(account: Account) -> Kind:
    return _KINDS.get(account.type, "traditional")


def _place(account: Account, policy: Location, held: Iterable[Holding], weight: Decimal) -> Place:
    kept = 1 - policy.retirement_rate if _kind(account) == "traditional" else Decimal(1)
    value = sum((one.value_usd for one in held if one.account_id == account.id), Decimal(0))
    step = Decimal(1) if account.shares == "whole" else SHARE
    return Place(account.is_deferred, kept, step, int(value * kept * weight * 100))


def _yields(policy: Location, names: Iterable[str]) -> dict[str, Yields]:
    known_of = ASSUMED | {name: Yields(**said.model_dump()) for name, said in policy.classes.items()}
    like = {name: policy.like.get(name, name) for name in sorted(names)}
    return {name: known_of[as_] for name, as_ in like.items() if as_ in known_of}


def _buys(
    policy: Location, accounts: Iterable[Account], held: Iterable[Holding], classes: Iterable[str], tradable: set[str]
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


def _rows(house: House, targets: Mapping[str, float]) -> list[tuple]:
    """Rows of core.location."""
    now, value = defaultdict[Cell, int](int), defaultdict[Cell, Decimal](Decimal)
    for one, block in zip(house.holdings, blocks(house), strict=True):
        now[block[:2]] += block.cents
        value[block[:2]] += one.value_usd
    ideal, why_not = _ideal(house, {cell: cents for cell, cents in now.items() if cell in house.costs}, targets)
    planned, after = plan(house), defaultdict[Cell, int](int, now)
    for move in planned.moves:
        for leg in move.legs:
            after[leg.account_id, leg.sold_class] -= move.cents
            after[leg.account_id, leg.bought_class] += move.cents
    return [
        (
            *cell, value[cell], usd(now.get(cell, 0)), None if why_not or cell not in house.costs else usd(ideal.get(cell, 0)),
            usd(after[cell]), float(house.costs[cell]) if cell in house.costs else None,
            "; ".join(filter(None, (planned.held_back.get(cell, ""), why_not))),
        )
        for cell in sorted({*now, *ideal, *after})
    ]  # fmt: skip


def _ideal(house: House, now: Mapping[Cell, int], targets: Mapping[str, float]) -> tuple[dict[Cell, int], str]:
    """Where the targets, or without targets what is held, would cost least a year; and why there is no such place."""
    capacity, wanted = defaultdict[str, int](int), defaultdict[str, int](int)
    for (account, name), cents in now.items():
        capacity[account] += cents
        wanted[name] += cents
    named = {name: Decimal(str(weight)) for name, weight in sorted(targets.items()) if name != "Cash" and weight}
    total, whole, before = sum(capacity.values()), sum(named.values(), Decimal(0)), Decimal(0)
    if named and all((account, name) in house.costs for account in capacity for name in named):
        wanted.clear()
        for name, weight in named.items():
            wanted[name] = _part(total, before + weight, whole) - _part(total, before, whole)
            before += weight
    can = {*house.buys, *now}
    try:
        return place(capacity, wanted, {cell: rate for cell, rate in house.costs.items() if cell in can}), ""
    except Infeasible as why:
        return {}, str(why)


def _part(total: int, before: Decimal, whole: Decimal) -> int:
    """`total` x before / whole in whole cents, so that the parts add up."""
    (n, n_of), (d, d_of) = before.as_integer_ratio(), whole.as_integer_ratio()
    return half_up(total * n * d_of, n_of * d)
