"""Target weights by what they risk: [targets] as they are, or what a method of [risk_targets] makes of them.

An asset class is as risky as what stands for it: the security that the policy names, or the household's own holdings of
that class at today's weights. Where a class has neither, where prices that reach back too far are missing, or where a method
finds no weights, none is made up: [targets] stand for all classes, and every row says why. Cash has no risk and keeps its
target, but where volatility is targeted: there it is what is left.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from flows.day import Day
from flows.margin_accounts import allowed
from transforms import tables
from transforms.portfolio.bands import CASH
from transforms.portfolio.drift import class_of
from transforms.portfolio.risk_parity import risk_budget_weights, risk_shares, shrunk_covariance
from transforms.portfolio.sharpe_tilt import sharpe_tilt, shrunk_means
from transforms.portfolio.volatility_target import ewma_volatility, exposure
from warehouse.db import Warehouse

LEAST_PRICED = 0.5  # of a class's value must have prices over the whole span, to stand for it
LEAST_SESSIONS = 60


class _Risk(NamedTuple):
    """Daily returns of the classes that are not cash, a column each, and the weights that [targets] names for them."""

    classes: list[str]
    returns: np.ndarray
    base: np.ndarray
    covariance: np.ndarray


class _Made(NamedTuple):
    """Weights of the classes in the order of _Risk, what is said of each, and what is expected of it."""

    weights: np.ndarray
    said: list[str]
    expected: np.ndarray | None = None


def target_weights(warehouse: Warehouse, day: Day) -> dict[str, float]:
    """Fill core.target_weights; the weights that are wanted, by asset class."""
    policy = day.settings.portfolio
    targets, method = policy.targets, policy.risk_targets.method
    if method == "fixed":
        rows: list[tuple] = [
            (name, "fixed", weight, weight, None, None, None, 0, False, f"{weight:.1%} by [targets]")
            for name, weight in targets.items()
        ]
    else:
        try:
            rows = _rows(warehouse, day, method)
        except _Unmeasured as missing:
            rows = [
                (name, method, weight, weight, None, None, None, 0, True, f"{weight:.1%} by [targets]: {missing}")
                for name, weight in targets.items()
            ]
    warehouse.replace("core.target_weights", tables.core("target_weights", rows))
    return {row[0]: row[3] for row in rows}


class _Unmeasured(Exception):
    """Why the risk of a class cannot be told; the message says what would help."""


def _rows(warehouse: Warehouse, day: Day, method: str) -> list[tuple]:
    targets = day.settings.portfolio.targets
    risk = _measured(warehouse, day)
    try:
        made = METHODS[method](warehouse, day, risk)
    except ValueError as unsolved:  # what the rules say of a covariance or of returns that no weights can be made of
        raise _Unmeasured(str(unsolved)) from None
    moves, shares = np.sqrt(np.diag(risk.covariance)), risk_shares(made.weights, risk.covariance)
    span = f"{len(risk.returns)} sessions"
    rows: list[tuple] = [
        (
            name, method, targets[name], float(made.weights[i]), float(moves[i]), float(shares[i]),
            None if made.expected is None else float(made.expected[i]), len(risk.returns), False,
            f"{made.weights[i]:.1%} instead of {targets[name]:.1%}: {made.said[i]}; "
            f"volatility {moves[i]:.1%}, {shares[i]:.1%} of the risk, {span}",
        )
        for i, name in enumerate(risk.classes)
    ]  # fmt: skip
    cash = 1 - float(made.weights.sum())
    if CASH in targets or abs(cash) > 1e-9:
        base = targets.get(CASH, 0.0)
        cash = base if abs(cash - base) < 1e-9 else cash
        said = "what is left beside the part at risk" if method == "volatility_target" else "cash keeps its target"
        reason = f"{cash:.1%} instead of {base:.1%}: {said}" if cash != base else f"{base:.1%}: {said}"
        rows.append((CASH, method, base, cash, None, 0.0, None, len(risk.returns), False, reason))
    order = {name: place for place, name in enumerate(targets)}
    unmoved = [
        (name, method, 0.0, 0.0, None, None, None, 0, False, "0.0% by [targets]: nothing is wanted of it")
        for name, weight in targets.items()
        if weight == 0 and name != CASH
    ]
    return sorted(rows + unmoved, key=lambda row: order.get(row[0], len(order)))


def _risk_parity(_: Warehouse, day: Day, risk: _Risk) -> _Made:
    budgets = day.settings.portfolio.risk_targets.budgets
    if budgets and (missing := [name for name in risk.classes if name not in budgets]):
        raise _Unmeasured(f"[risk_targets.budgets] says nothing of {', '.join(missing)}")
    wanted = np.array([budgets.get(name, 1.0) for name in risk.classes])
    weights = risk_budget_weights(risk.covariance, wanted) * risk.base.sum()
    said = [f"its budget is {part:.1%} of the risk" for part in wanted / wanted.sum()]
    return _Made(weights, said)


def _volatility_target(warehouse: Warehouse, day: Day, risk: _Risk) -> _Made:
    policy = day.settings.portfolio.risk_targets
    mix = risk.base / risk.base.sum()
    predicted = ewma_volatility(risk.returns @ mix, policy.half_life_sessions)
    most, why = allowed(warehouse, day)
    most = min(most, policy.max_exposure)
    at_risk = exposure(predicted, policy.target_volatility, min(policy.min_exposure, most), most)
    held = f", held to {at_risk.weight:.1%}" if at_risk.weight != at_risk.unlimited else ""
    borrowed = f" ({why})" if held and at_risk.weight == most < policy.max_exposure else ""
    said = (
        f"{at_risk.unlimited:.1%} at risk brings the predicted volatility of {predicted:.1%} "
        f"to {policy.target_volatility:.1%}{held}{borrowed}"
    )
    return _Made(mix * at_risk.weight, [said] * len(mix))


def _sharpe_tilt(_: Warehouse, day: Day, risk: _Risk) -> _Made:
    policy = day.settings.portfolio
    means = shrunk_means(risk.returns)
    weights = sharpe_tilt(
        risk.base, means.expected, risk.covariance, policy.risk.risk_free_rate, policy.risk_targets.max_tilt
    )
    said = [
        f"{mean:.1%} expected a year (past means shrunk by {means.shrinkage:.0%} to their mean), "
        f"tilted by {weight / base - 1:+.1%} of at most {policy.risk_targets.max_tilt:.0%}"
        for mean, weight, base in zip(means.expected, weights, risk.base, strict=True)
    ]
    return _Made(weights, said, means.expected)


METHODS: dict[str, Callable[[Warehouse, Day, _Risk], _Made]] = {
    "risk_parity": _risk_parity,
    "volatility_target": _volatility_target,
    "sharpe_tilt": _sharpe_tilt,
}


def _measured(warehouse: Warehouse, day: Day) -> _Risk:
    """What the classes went through, by what stands for each.

    Errors   _Unmeasured names the class.
    """
    from flows.measure import price_history  # measure asks for the targets, so it cannot be asked before it is there

    policy = day.settings.portfolio
    wanted = {name: weight for name, weight in policy.targets.items() if name != CASH and weight > 0}
    if not wanted:
        raise _Unmeasured("[targets] wants nothing but cash")
    history = price_history(warehouse, day, policy.risk_targets.lookback_sessions)
    if history.height <= LEAST_SESSIONS:
        raise _Unmeasured(f"prices reach back {max(0, history.height - 1)} sessions, {LEAST_SESSIONS} are needed")
    prices = {name: history[name].to_numpy() for name in history.columns[1:]}
    held: dict[str, dict[str, float]] = {}
    rows = warehouse.rows(
        "SELECT any_value(asset_class), security_id, sum(value_usd)::DOUBLE FROM mart.positions "
        "WHERE value_usd > 0 GROUP BY security_id ORDER BY security_id"
    )
    for asset_class, security_id, value in rows.iter_rows():
        held.setdefault(class_of(security_id, asset_class, policy.targets), {})[security_id] = value
    columns = [_returns(name, policy.risk_targets.proxies, prices, held.get(name, {})) for name in wanted]
    returns = np.column_stack(columns)
    if still := [name for name, moves in zip(wanted, returns.std(axis=0), strict=True) if not moves > 0]:
        raise _Unmeasured(f"the prices of {', '.join(still)} did not move")
    return _Risk(list(wanted), returns, np.array(list(wanted.values())), shrunk_covariance(returns))


def _returns(
    name: str, proxies: Mapping[str, str], prices: Mapping[str, np.ndarray], held: Mapping[str, float]
) -> np.ndarray:
    """Daily returns of what stands for a class: its proxy, the security that it is, or the holdings of it."""
    proxy = proxies.get(name) or (name if name in prices else "")
    if proxy:
        if proxy not in prices:
            raise _Unmeasured(f"{proxy}, which stands for {name}, has no prices over the whole span")
        return prices[proxy][1:] / prices[proxy][:-1] - 1
    priced = {security: value for security, value in held.items() if security in prices}
    if not held:
        raise _Unmeasured(f"nothing of {name} is held: name what stands for it in [risk_targets.proxies]")
    if sum(priced.values()) < LEAST_PRICED * sum(held.values()):
        raise _Unmeasured(
            f"most of what is held of {name} has no prices over the whole span: name what stands for it in "
            "[risk_targets.proxies], or look back less far"
        )
    total = sum(priced.values())
    moves = [value / total * (prices[security][1:] / prices[security][:-1] - 1) for security, value in priced.items()]
    return np.sum(moves, axis=0)
