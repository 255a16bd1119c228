"""What a rebalance says: why it trades, and what it leaves alone."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from flows.day import Day
from flows.household import Household
from transforms.portfolio.bands import CASH
from transforms.portfolio.cash_flow import ZERO
from transforms.portfolio.desk import Desk, LeftAlone, Swap

BACK_TO = {"target": "its target", "half": "half the band", "edge": "the edge of the band"}
CENT = Decimal("0.01")


def cash_reason(there: Household, day: Day, one: Swap, lacking: Mapping[str, Decimal]) -> str:
    return f"{_usd(one.bought_usd)} of spare cash in {one.account_id} to what is below its target"


def withdrawal_reason(there: Household, day: Day, one: Swap, lacking: Mapping[str, Decimal]) -> str:
    return (
        f"{_usd(lacking[one.account_id])} is missing in {one.account_id} for {_leaves(there, one.account_id)}; "
        f"{there.stands(one.asset_class)}: sell {_usd(one.sold_usd)}; {_taxed(one, day)}"
    )


def band_reason(there: Household, day: Day, one: Swap, lacking: Mapping[str, Decimal]) -> str:
    policy, band = day.settings.portfolio.bands, there.held[one.asset_class].band
    strayed = there.is_outside(one.asset_class)
    why = f"to come back to {BACK_TO[policy.trade_back]}" if strayed else "for what is below its band"
    bought = sorted({bought.asset_class for bought in one.purchases})
    into = f" and buy {', '.join(bought)}" if bought else ""
    if one.worth_usd is not None:
        worth = (
            f"less drift is worth {_usd(one.worth_usd)} over {policy.horizon_years:g} years, "
            f"the trades cost {_usd(one.cost_usd)}"
        )
    elif one.asset_class in there.unmeasured:
        worth = f"not weighed against its cost of {_usd(one.cost_usd)}: no full price history of {one.asset_class}"
    else:
        worth = f"the trades cost {_usd(one.cost_usd)}"
    return f"{there.stands(one.asset_class)}, band {band:.1%}: sell {_usd(one.sold_usd)} {why}{into}; {_taxed(one, day)}; {worth}"


def left(
    there: Household, day: Day, desk: Desk, withdrawn: Sequence[Swap], lacking: Mapping[str, Decimal]
) -> Iterator[LeftAlone]:
    """What was left alone of the classes that are above their band; those below that cannot be bought, or rest; money not raised."""
    yield from _not_raised(there, day, desk, withdrawn, lacking)
    outside = {name for name in there.held if name != CASH and there.is_outside(name)}
    alone: dict[tuple[str, str, str, str], Decimal] = {}
    for one in desk.left_alone:
        if one.asset_class in outside and there.distance_usd(one.asset_class) > 0:
            key = one.account_id, one.asset_class, one.security_id, one.reason
            alone[key] = alone.get(key, ZERO) + one.value_usd
    for (account, asset_class, security, reason), value in sorted(alone.items()):
        yield LeftAlone(account, asset_class, security, value, reason)
    can_buy = {name for (_, name), likely in desk.choices.items() if likely}
    for name in sorted(outside - can_buy):
        if (short := -there.distance_usd(name)) > 0:
            why = "nothing of it can be bought today: core.drift says what is locked, [preferred] what to buy of it"
            yield LeftAlone("", name, "", short.quantize(CENT), why)
    for name, on in sorted(there.resting.items()):
        if name in outside:
            yield LeftAlone("", name, "", there.held[name].value_usd, f"it rests: it was rebalanced on {on}")


def _not_raised(
    there: Household, day: Day, desk: Desk, withdrawn: Sequence[Swap], lacking: Mapping[str, Decimal]
) -> Iterator[LeftAlone]:
    """Money that an account lacks and that is not raised today."""
    for account, usd in sorted(lacking.items()):
        still = usd - sum((one.sold_usd for one in withdrawn if one.account_id == account), ZERO)
        if still > 0:
            reasons = dict.fromkeys(
                f"{one.security_id}: {one.reason}" for one in desk.left_alone if one.account_id == account
            )
            why = "; ".join(reasons) or "nothing else there can be sold"
            what = f"of {_usd(usd)} that is missing for {_leaves(there, account)} so much is not raised today: {why}"
            yield LeftAlone(account, CASH, "", still.quantize(CENT), what)
    for account, leaves in sorted(there.leaving_usd.items()):
        still = leaves - max(ZERO, there.cash_usd[account])
        if account not in lacking and still > 0:
            why = there.locks.accounts.get(account) or "no sleeve of bands or cash_flow has a part in it"
            what = f"it is missing for {_leaves(there, account)}, and nothing is sold in {account}: {why}"
            yield LeftAlone(account, CASH, "", still.quantize(CENT), what)


def _leaves(there: Household, account_id: str) -> str:
    own = [f"{_usd(one.amount_usd)} on {one.on}" for one in there.withdrawals if one.account_id == account_id]
    return f"the withdrawal of {', '.join(own)}" if own else "what is overdrawn"


def _taxed(one: Swap, day: Day) -> str:
    account = next(account for account in day.settings.portfolio.accounts if account.id == one.account_id)
    where = f" ({account.type})" if account.is_deferred else ""
    return f"tax {_usd(one.tax_usd)} in {account.id}{where}"


def _usd(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):,.0f}"
