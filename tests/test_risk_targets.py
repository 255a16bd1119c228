"""Weights by risk: risk parity, volatility targets, tilts, and how much may be borrowed."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from conftest import House
from hypothesis import given, settings
from hypothesis import strategies as st
from small import Small

from flows.day import Day, day_of
from flows.leverage import leverage
from flows.margin_accounts import allowed, measure_leverage
from flows.risk_targets import target_weights
from flows.settings import SettingsError, read_portfolio
from transforms.law import LawMissing
from transforms.portfolio.leverage import Holding, Limits, Margin, dearest_first, margin, margin_rules, max_leverage
from transforms.portfolio.risk_parity import risk_budget_weights, risk_shares, shrunk_covariance
from transforms.portfolio.sharpe_tilt import sharpe_tilt, shrunk_means
from transforms.portfolio.volatility_target import ewma_volatility, exposure
from warehouse.db import writer
from warehouse.law import law_rows

DAY = date(2022, 10, 14)
D = Decimal
RULES = margin_rules(law_rows(), date(2026, 1, 2))


def drawn(seed: int, count: int, sessions: int = 400) -> np.ndarray:
    """Daily returns with a common factor and volatilities that differ by up to a factor of ten."""
    draw = np.random.default_rng(seed)
    moves = draw.uniform(0.002, 0.02, count)
    common = draw.normal(0, 1, (sessions, 1))
    return (0.6 * common + draw.normal(0, 1, (sessions, count))) * moves + draw.normal(0.0003, 0.0003, count)


# Risk parity ------------------------------------------------------------------------------------------


def test_the_published_example_comes_out():
    """Maillard, Roncalli and Teiletche (2010), table 1."""
    moves = np.array([0.1, 0.2, 0.3, 0.4])
    together = np.array([[1, 0.8, 0, 0], [0.8, 1, 0, 0], [0, 0, 1, -0.5], [0, 0, -0.5, 1]])
    covariance = together * np.outer(moves, moves)
    weights = risk_budget_weights(covariance)
    assert (100 * weights).round(2).tolist() == [38.36, 19.18, 24.26, 18.20]
    assert round(100 * float(np.sqrt(weights @ covariance @ weights)), 2) == 10.29
    assert risk_shares(weights, covariance) == pytest.approx([0.25] * 4, abs=1e-12)


def test_assets_that_do_not_move_together_weigh_by_the_inverse_of_their_volatility():
    weights = risk_budget_weights(np.diag([0.1**2, 0.2**2, 0.4**2]))
    assert weights == pytest.approx(np.array([4, 2, 1]) / 7, abs=1e-12)


@given(st.integers(0, 10**6), st.integers(2, 12), st.data())
@settings(max_examples=60, deadline=None)
def test_every_asset_carries_its_budget_of_the_risk(seed, count, data):
    budgets = np.array(data.draw(st.lists(st.floats(0.02, 1), min_size=count, max_size=count)))
    covariance = np.cov(drawn(seed, count).T)
    weights = risk_budget_weights(covariance, budgets)
    assert weights.sum() == pytest.approx(1, abs=1e-12) and weights.min() > 0
    assert risk_shares(weights, covariance) == pytest.approx(budgets / budgets.sum(), abs=1e-9)


def test_the_library_finds_the_same_weights():
    library = pytest.importorskip("skfolio.optimization")
    returns, budgets = drawn(5, 6), np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
    theirs = library.RiskBudgeting(risk_budget=budgets).fit(returns).weights_
    assert risk_budget_weights(np.cov(returns.T), budgets) == pytest.approx(theirs, abs=1e-4)


def test_what_can_carry_no_risk_is_refused():
    with pytest.raises(ValueError, match="does not move"):
        risk_budget_weights(np.diag([0.04, 0.0]))
    with pytest.raises(ValueError, match="above zero"):
        risk_budget_weights(np.diag([0.04, 0.04]), [1.0, 0.0])
    with pytest.raises(ValueError, match="one for each"):
        risk_budget_weights(np.diag([0.04, 0.04]), [1.0])


def test_shrinking_leaves_volatilities_and_pulls_correlations_towards_none():
    returns = drawn(3, 8, sessions=60)
    shrunk, plain = shrunk_covariance(returns), np.cov(returns.T) * 252
    assert np.diag(shrunk) == pytest.approx(np.diag(plain), rel=1e-12)
    between = ~np.eye(8, dtype=bool)
    factor = shrunk[between] / plain[between]
    assert factor == pytest.approx(factor[0], rel=1e-9) and 0 < factor[0] < 1


def test_a_covariance_of_more_assets_than_sessions_still_gives_weights():
    returns = drawn(4, 50, sessions=30)
    assert np.linalg.matrix_rank(np.cov(returns.T)) < 50
    covariance = shrunk_covariance(returns)
    assert risk_shares(risk_budget_weights(covariance), covariance) == pytest.approx([1 / 50] * 50, abs=1e-9)


# Volatility target ------------------------------------------------------------------------------------


def test_the_part_at_risk_is_predicted_to_move_as_the_target():
    returns = drawn(1, 1)[:, 0]
    predicted = ewma_volatility(returns, 63)
    part = exposure(predicted, 0.05, 0.0, 10.0).weight
    assert ewma_volatility(part * returns, 63) == pytest.approx(0.05, rel=1e-12)


def test_a_spell_of_wild_sessions_is_seen_and_forgotten_by_the_half_life():
    calm, wild = np.full(300, 0.005), np.full(63, 0.03)
    of = [ewma_volatility(np.concatenate(series), 63) ** 2 / 252 for series in ([calm, wild], [calm, wild, calm[:63]])]
    share = 1 / 2 / (1 - 0.5 ** (363 / 63))  # a half-life of weight, of all that there is
    assert of[0] == pytest.approx(share * 0.03**2 + (1 - share) * 0.005**2, rel=1e-9)
    assert of[1] < of[0] / 1.8


# Sharpe tilt ------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(2, 8), st.floats(0.05, 1.0))
@settings(max_examples=40, deadline=None)
def test_no_weights_within_the_limits_have_a_better_ratio(seed, count, most):
    draw = np.random.default_rng(seed)
    returns = drawn(seed, count)
    covariance, base = np.cov(returns.T) * 252, draw.dirichlet(np.ones(count)) * 0.9
    excess = draw.uniform(-0.02, 0.08, count)
    weights = sharpe_tilt(base, excess + 0.02, covariance, 0.02, most)
    assert weights.sum() == pytest.approx(0.9, abs=1e-9)
    assert np.all(weights >= base * (1 - most) - 1e-9) and np.all(weights <= base * (1 + most) + 1e-9)

    def ratio(some: np.ndarray) -> float:
        return float(some @ excess / np.sqrt(some @ covariance @ some))

    low, high = base * (1 - most), base * (1 + most)
    for _ in range(200):  # a step towards random feasible weights never helps
        other = np.clip(base + draw.uniform(-1, 1, count) * most * base, low, high)
        room = (high - other) if other.sum() < 0.9 else (other - low)
        other = other + (0.9 - other.sum()) * room / room.sum() if room.sum() else other
        if np.all(other >= low - 1e-12) and np.all(other <= high + 1e-12) and ratio(weights) > 0:
            assert ratio(other) <= ratio(weights) + 1e-6


def test_without_room_there_is_no_tilt():
    base = np.array([0.6, 0.4])
    assert sharpe_tilt(base, np.array([0.01, 0.2]), np.diag([0.01, 0.04]), 0.0, 0.0).tolist() == base.tolist()


@pytest.mark.parametrize("over", [1e-3, 1e-5, 1e-7, 1e-9, 1e-12, 0.0])
def test_where_hardly_more_than_cash_is_expected_there_is_no_tilt_and_no_failure(over):
    """The best that the limits allow is 0.625 / 0.375, expected `over` above cash."""
    base, calm = np.array([0.5, 0.5]), np.diag([0.04, 0.01])
    expected = np.array([0.02 + 0.375 + over, 0.02 - 0.625 + over])
    weights = sharpe_tilt(base, expected, calm, 0.02, 0.25)
    assert weights == pytest.approx(base if over < 1e-6 else [0.625, 0.375], abs=2e-3)


def test_means_are_shrunk_towards_their_mean_and_never_beyond():
    returns = drawn(8, 10, sessions=500)
    found, plain = shrunk_means(returns), returns.mean(axis=0) * 252
    assert 0 < found.shrinkage <= 1
    assert found.expected.mean() == pytest.approx(plain.mean(), rel=1e-9)
    assert found.expected - plain.mean() == pytest.approx((1 - found.shrinkage) * (plain - plain.mean()), abs=1e-12)


def test_what_all_did_together_does_not_count_as_an_error_of_their_differences():
    apart = drawn(9, 6, sessions=500) * 0.1 + np.linspace(0, 0.0005, 6)
    together = np.random.default_rng(9).normal(0, 0.03, (500, 1))
    assert 0 < shrunk_means(apart).shrinkage < 0.9
    assert shrunk_means(apart + together).shrinkage == pytest.approx(shrunk_means(apart).shrinkage, rel=1e-9)


def test_the_shrinkage_is_that_of_james_and_stein_about_a_common_mean():
    """Five assets in turn up by 1 %: equal errors; one is ahead. (5 - 3) x s2 / S, Efron and Morris (1973)."""
    days = np.tile(np.eye(5) - 0.2, (50, 1)) * 0.01 + np.array([0, 0, 0, 0, 0.002])
    apart = 4 / 5 * 0.002**2
    error = 250 * 0.01**2 * 0.8 / 249 / 250 / (5 - 1)  # the five variances of 0.01^2 x 0.16 x 250 / 249, over 4 x 250
    assert shrunk_means(days).shrinkage == pytest.approx(2 * error / apart, rel=1e-9)


def test_three_means_are_taken_as_one():
    found = shrunk_means(drawn(2, 3))
    assert found.shrinkage == 1 and len(set(found.expected.tolist())) == 1


def test_shrunk_means_are_nearer_to_the_truth_than_the_past():
    """The claim of James and Stein, on 300 pasts drawn from known means."""
    draw = np.random.default_rng(0)
    truth = np.linspace(0.0002, 0.0004, 8)
    errors = []
    for _ in range(300):
        past = truth + draw.normal(0, 0.01, (750, 8))
        errors.append([
            np.sum((means / 252 - truth) ** 2) for means in (past.mean(axis=0) * 252, shrunk_means(past).expected)
        ])  # fmt: skip
    plain, shrunk = np.mean(errors, axis=0)
    assert shrunk < 0.5 * plain


# Leverage ---------------------------------------------------------------------------------------------


def of(held: str, owed: str, house: str = "0.25", drop: str = "0.5", gross: str = "3", net: str = "3") -> Margin:
    holdings = [Holding("VTI", D(held) / 100, D(100))]
    return margin(holdings, -D(owed), RULES, Limits(D(gross), D(net), D(house), D(drop)))


def test_two_dollars_for_one_of_equity_are_called_after_a_third():
    assert of("200000", "100000").fall_to_call == D("0.3333")
    assert of("200000", "100000", house="0.4").fall_to_call == D("0.1666"), "a stricter policy is called earlier"
    assert of("100000", "0").fall_to_call == 1, "without debt no fall brings a call"
    assert of("200000", "160000").fall_to_call == 0, "20 % of equity is below the maintenance margin already"


def test_what_stays_stands_the_fall_to_the_cent():
    found = of("200000", "100000")
    assert (found.keep, found.cut_usd, found.binding) == (D("0.8"), D("40000.00"), "stress_drawdown")
    after = 160_000 * D("0.5")
    assert (after - 60_000) / after == D("0.25")


def test_under_stress_longs_fall_and_shorts_rise():
    """$1,000 owed at $10 a share becomes $1,500 at $15: $500 lost, and 35 % of $1,500, above $5 a share."""
    limits = Limits(D(9), D(9), D("0.35"), D("0.5"))
    owed = [Holding("A", D(-100), D(10))]
    just = D(500) + D(1500) * D("0.35")
    assert margin(owed, 1000 + just, RULES, limits).cut_usd == 0
    assert margin(owed, 1000 + just - 1, RULES, limits).binding == "stress_drawdown"


def test_gross_and_net_have_limits_of_their_own():
    assert of("150000", "50000", gross="1.2", drop="0").binding == "max_gross"
    assert of("150000", "50000", gross="1.2", drop="0").cut_usd == D("30000.00")
    assert of("150000", "50000", net="1.2", drop="0").binding == "max_net"
    pair = [Holding("A", D(100), D(10)), Holding("B", D(-100), D(10))]
    found = margin(pair, D(1000), RULES, Limits(D(2), D("0.1"), D(0), D(0)))
    assert (found.gross, found.net, found.keep) == (2, 0, 1)


def test_a_cheap_share_that_is_owed_needs_its_whole_value_or_two_and_a_half():
    """FINRA Rule 4210(c)(2), (3)."""
    none = Limits(D(99), D(99), D(0), D(0))
    needs = {price: margin([Holding("X", D(-100), D(price))], D(10**6), RULES, none).requirement_usd
             for price in ("2", "4", "6", "20")}  # fmt: skip
    assert needs == {"2": D(250), "4": D(400), "6": D(500), "20": D(600)}


@given(
    st.lists(st.tuples(st.integers(-500, 2000), st.integers(1, 300)), min_size=1, max_size=6),
    st.integers(-200_000, 100_000),
    st.sampled_from(["0.2", "0.35", "0.5", "0.8"]),
)
@settings(max_examples=150, deadline=None)
def test_what_is_cut_needs_no_second_cut(positions, cash, drop):
    holdings = [Holding(str(i), D(count), D(price)) for i, (count, price) in enumerate(positions) if count]
    limits = Limits(D("1.5"), D(1), D("0.3"), D(drop))
    found = margin(holdings, D(cash), RULES, limits)
    assert 0 <= found.keep <= 1 and (found.cut_usd > 0) == bool(found.binding)
    if found.equity_usd <= 0:
        assert found.keep == 0 or not holdings
        return
    left = [one._replace(quantity=one.quantity * found.keep) for one in holdings]
    paid = sum((one.value_usd for one in holdings), D(0)) - sum((one.value_usd for one in left), D(0))
    again = margin(left, D(cash) + paid, RULES, limits)
    assert again.equity_usd == pytest.approx(found.equity_usd) and again.cut_usd <= D("0.01")


def test_the_most_that_may_be_bought_is_what_needs_no_cut():
    for drop, house in (("0.5", "0.25"), ("0.35", "0.4"), ("0.1", "0")):
        limits = Limits(D(3), D(3), D(house), D(drop))
        most = max_leverage(RULES, limits)
        assert most <= 2, "Regulation T lets half of a purchase be borrowed"
        held = margin([Holding("A", most, D(1000))], 1000 - most * 1000, RULES, limits)
        assert held.cut_usd <= D("0.01")
        if most < 2:
            more = most + D("0.01")
            assert margin([Holding("A", more, D(1000))], 1000 - more * 1000, RULES, limits).cut_usd > 1


def test_a_rule_that_is_gone_is_named():
    rows = {"margin_requirement": [row for row in law_rows()["margin_requirement"] if row["category"] != "long_rate"]}
    with pytest.raises(LawMissing, match="long_rate"):
        margin_rules(rows, date(2026, 1, 2))
    with pytest.raises(LawMissing, match="2010-01-04"):
        margin_rules(law_rows(), date(2010, 1, 4))


# The household ----------------------------------------------------------------------------------------


def targets_of(house: House, policy: str) -> tuple[dict[str, float], list[dict]]:
    file = house.folder / "portfolio.toml"
    file.write_text(file.read_text() + policy)
    with writer(house.folder / "warehouse.duckdb") as warehouse:
        wanted = target_weights(warehouse, day_of(house.settings(), DAY, datetime(2022, 10, 15)))
        return wanted, warehouse.rows("FROM core.target_weights").to_dicts()


def test_fixed_targets_are_those_of_the_file(day_after):
    wanted, rows = targets_of(day_after, "")
    assert wanted == dict(day_after.settings().portfolio.targets)
    assert all(row["method"] == "fixed" and not row["is_fallback"] for row in rows)


def test_risk_parity_gives_every_class_of_the_household_its_part(day_after):
    wanted, rows = targets_of(day_after, '\n[risk_targets]\nmethod = "risk_parity"\n')
    assert sum(wanted.values()) == pytest.approx(1, abs=1e-9)
    assert [row["risk_share"] for row in rows] == pytest.approx([1 / 7] * 7, abs=1e-9)
    calm, wild = (
        next(row for row in rows if row["asset_class"] == name) for name in ("Consumer Staples", "Industrials")
    )
    assert calm["volatility"] < wild["volatility"] and calm["target_weight"] > wild["target_weight"]
    assert "its budget is 14.3% of the risk" in calm["reason"] and "sessions" in calm["reason"]


def test_a_volatility_target_leaves_the_mix_and_the_rest_is_cash(day_after):
    policy = '\n[risk_targets]\nmethod = "volatility_target"\ntarget_volatility = 0.12\n'
    wanted, rows = targets_of(day_after, policy)
    cash = wanted.pop("Cash")
    base = day_after.settings().portfolio.targets
    parts = [wanted[name] / base[name] for name in wanted]
    assert parts == pytest.approx([parts[0]] * len(parts)) and cash == pytest.approx(1 - parts[0])
    assert 0.25 < parts[0] < 1 and "what is left" in rows[-1]["reason"]


def test_a_tilt_keeps_within_its_limits(day_after):
    wanted, rows = targets_of(day_after, '\n[risk_targets]\nmethod = "sharpe_tilt"\nmax_tilt = 0.1\n')
    assert sum(wanted.values()) == pytest.approx(1, abs=1e-9)
    for row in rows:
        assert abs(row["target_weight"] / row["base_weight"] - 1) <= 0.1 + 1e-6
    assert any(abs(row["target_weight"] / row["base_weight"] - 1) > 0.09 for row in rows)


def test_a_class_that_nothing_stands_for_leaves_all_targets_as_they_are(day_after):
    policy = '\n[risk_targets]\nmethod = "risk_parity"\nproxies = { Energy = "XLE" }\n'
    wanted, rows = targets_of(day_after, policy)
    assert wanted == dict(day_after.settings().portfolio.targets)
    assert all(row["is_fallback"] and "XLE, which stands for Energy, has no prices" in row["reason"] for row in rows)


def test_a_method_that_finds_no_weights_leaves_all_targets_as_they_are(day_after):
    policy = '\n[risk_targets]\nmethod = "risk_parity"\n[risk_targets.budgets]\n'
    names = [name for name in day_after.settings().portfolio.targets if name != "Cash"]
    policy += "\n".join(f'"{name}" = {1e-300 if name == names[0] else 1.0}' for name in names)
    wanted, rows = targets_of(day_after, policy + "\n")
    assert wanted == dict(day_after.settings().portfolio.targets)
    assert all(row["is_fallback"] and "no weights carry these budgets" in row["reason"] for row in rows)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("[risk_targets]\nbudgets = { Gold = 1.0 }", "names what .targets. does not: Gold"),
        ("[risk_targets]\nmax_exposure = 1.5", "above leverage.max_gross"),
        ("[risk_targets]\nmin_exposure = 0.9\nmax_exposure = 0.5", "is above max_exposure"),
        ('[risk_targets]\nmethod = "hope"', "risk_parity"),
        ("[leverage]\nstress_drawdown = 1.0", "less than 1"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(house, policy, said):
    file = house.folder / "portfolio.toml"
    file.write_text(f"{file.read_text()}\n{policy}\n")
    with pytest.raises(SettingsError, match=said):
        read_portfolio(file)


BORROWED = """
[leverage]
max_gross = 2
max_net = 2
[gates]
max_order_weight = 1.0
[gates.accounts.margin]
is_margin = true
max_leverage = 2
"""


def lent(home: Path, more: str = "", shares: str = "750") -> Small:
    """$100,000 of equity, $180,000 of stock: AAA at a gain, BBB at a loss. Not booked yet."""
    small = Small(home, {"AAA": 120.0, "BBB": 80.0})
    small.account("margin", more=more)
    small.portfolio += BORROWED
    small.says(
        "margin",
        "M-0,2024-01-02,deposit,,,,,,100000,",
        "M-1,2024-01-03,trade,buy,AAA,1000,100,0,-100000,",
        f"M-2,2024-01-03,trade,buy,BBB,{shares},106.67,0,-80002.50,",
    )
    small.holds("margin", date(2024, 6, 3), AAA="1000", BBB=shares, usd="-80002.50")
    return small


@pytest.fixture
def borrowed(tmp_path: Path) -> Small:
    small = lent(tmp_path)
    small.run(date(2024, 6, 3))
    return small


def day_in(small: Small) -> Day:
    return day_of(small.settings(), date(2024, 6, 3), datetime(2024, 6, 4))


def test_a_margin_account_is_cut_before_a_call_and_its_losses_go_first(borrowed):
    day = day_in(borrowed)
    with writer(borrowed.folder / "warehouse.duckdb") as warehouse:
        measure_leverage(warehouse, day)
        [row] = warehouse.rows("FROM core.leverage").to_dicts()
        made = list(leverage(warehouse, day))
    equity = D("180000") - D("80002.50")
    assert (row["long_usd"], row["equity_usd"]) == (180_000, equity)
    stressed = D("0.5") + D("0.35") * D("0.5")  # the fall, and 35 % of what is left of it
    cut = D(180_000) - equity / stressed
    assert float(row["cut_usd"]) == pytest.approx(float(cut), abs=0.01) and "must go" in row["reason"]
    assert row["max_leverage"] == pytest.approx(float(1 / stressed))
    [sale] = made
    assert (sale.security_id, sale.side, sale.method) == ("BBB", "sell", "leverage")
    assert cut <= sale.quantity * 80 < cut + 1 and sale.loss_usd > 0 and "its tax is -$" in sale.reason


def test_without_a_margin_account_nothing_may_be_borrowed(borrowed, day_after):
    with writer(borrowed.folder / "warehouse.duckdb") as warehouse:
        assert allowed(warehouse, day_in(borrowed))[0] == pytest.approx(1 / 0.675)
    with writer(day_after.folder / "warehouse.duckdb") as warehouse:
        most, why = allowed(warehouse, day_of(day_after.settings(), DAY, datetime(2022, 10, 15)))
    assert most == 1 and "is_margin" in why


def test_an_account_borrows_on_its_own_equity_and_within_its_own_gate(tmp_path):
    """$99,997.50 of equity here, $300,000 in accounts that do not borrow: an IRA is one even with is_margin."""
    small = lent(tmp_path)
    for name, kind in (("cash", "taxable"), ("ira", "traditional_ira")):
        small.account(name, type=kind, owner="self")
        small.says(name, f"{name}-0,2024-01-02,deposit,,,,,,150000,")
        small.holds(name, date(2024, 6, 3), usd="150000")
    small.portfolio += "[gates.accounts.ira]\nis_margin = true\nmax_leverage = 2\n"
    small.run(date(2024, 6, 3))
    with writer(small.folder / "warehouse.duckdb") as warehouse:
        most = allowed(warehouse, day_in(small))[0]
        small.portfolio = small.portfolio.replace(
            "is_margin = true\nmax_leverage = 2\n", "is_margin = true\nmax_leverage = 1.2\n", 1
        )
        gated = allowed(warehouse, day_in(small))[0]
    equity = 99_997.5
    assert most == pytest.approx(1 + (1 / 0.675 - 1) * equity / (equity + 300_000))
    assert gated == pytest.approx(1 + 0.2 * equity / (equity + 300_000))


def test_a_cut_is_made_in_orders_that_the_gates_let_pass_and_says_what_is_left(borrowed):
    borrowed.portfolio = borrowed.portfolio.replace("max_order_weight = 1.0", "max_order_weight = 0.1")
    day = day_in(borrowed)
    with writer(borrowed.folder / "warehouse.duckdb") as warehouse:
        made = list(leverage(warehouse, day))
        left = warehouse.rows("FROM core.left_alone").to_dicts()
    equity = D("99997.50")
    assert [sale.security_id for sale in made] == ["BBB", "AAA"]
    assert all(equity * D("0.0999") < sale.quantity * sale.price_usd <= equity / 10 for sale in made)
    cut = D(180_000) - equity / (D("0.5") + D("0.35") * D("0.5"))
    [rest] = left
    assert rest["value_usd"] == pytest.approx(cut - 2 * equity / 10, abs=1) and rest["method"] == "leverage"
    assert "more must be sold: an order is at most $9,999.75 (gates max_order_weight)" in rest["reason"]


@pytest.mark.parametrize(("relief", "lots"), [("on_order", "M-3:"), ("fifo_only", "")])
def test_the_lots_with_the_least_tax_are_sold_where_the_broker_takes_them(tmp_path, relief, lots):
    """AAA at 120: bought at 100 two years ago, and at 119."""
    small = Small(tmp_path, {"AAA": 120.0})
    small.account("margin", more=f'relief = "{relief}"')
    small.portfolio += BORROWED
    small.says(
        "margin",
        "M-0,2022-01-03,deposit,,,,,,100000,",
        "M-1,2022-01-04,trade,buy,AAA,1000,100,0,-100000,",
        "M-3,2022-02-01,trade,buy,AAA,500,119,0,-59500,",
    )
    small.holds("margin", date(2024, 6, 3), AAA="1500", usd="-59500")
    small.portfolio = small.portfolio.replace("max_net = 2", "max_net = 2\nmax_gross = 1.4").replace(
        "max_gross = 2\n", ""
    )
    small.run(date(2024, 6, 3))
    with writer(small.folder / "warehouse.duckdb") as warehouse:
        [sale] = leverage(warehouse, day_in(small))
    assert sale.lots == (f"{lots}{sale.quantity.normalize():f}" if lots else "")
    gain = sale.quantity * (1 if lots else 20)
    assert f"its tax is ${gain * D('0.20'):,.2f}" in sale.reason  # 15 % and 5 % of the state


def test_a_price_that_is_missing_sells_nothing(borrowed):
    """Without the price of AAA the account looks as if $60,000 of equity were gone."""
    day = day_in(borrowed)
    with writer(borrowed.folder / "warehouse.duckdb") as warehouse:
        warehouse.run("DELETE FROM core.latest_prices WHERE security_id = 'AAA'")
        assert list(leverage(warehouse, day)) == []
        [left] = warehouse.rows("FROM core.left_alone").to_dicts()
        measure_leverage(warehouse, day)
        assert warehouse.value("SELECT reason FROM core.leverage").endswith("counted as nothing: AAA")
    assert left["reason"] == "nothing is traded: without a price, or an option, and counted as nothing: AAA"


def test_what_may_not_be_sold_is_left_alone_and_the_next_one_goes(borrowed):
    borrowed.portfolio = borrowed.portfolio.replace("[gates]\n", '[gates]\ndo_not_trade = ["BBB"]\n')
    day = day_in(borrowed)
    with writer(borrowed.folder / "warehouse.duckdb") as warehouse:
        assert [sale.security_id for sale in leverage(warehouse, day)] == ["AAA"]
        [left] = warehouse.rows("FROM core.left_alone").to_dicts()
        assert left["reason"] == "BBB: is on the do-not-trade list"
        warehouse.run("UPDATE core.latest_prices SET sessions_old = 9 WHERE security_id = 'AAA'")
        assert list(leverage(warehouse, day)) == []
        reasons = warehouse.rows("FROM core.left_alone")["reason"].to_list()
    assert "AAA: has no price" in reasons and any("more must be sold" in reason for reason in reasons)


def test_whole_shares_alone_are_sold_where_no_others_are(tmp_path):
    small = lent(tmp_path, more='shares = "whole"', shares="750.5")
    small.portfolio = small.portfolio.replace("max_net = 2", "max_net = 2\nstress_drawdown = 0.9")  # all of BBB must go
    small.run(date(2024, 6, 3))
    with writer(small.folder / "warehouse.duckdb") as warehouse:
        made = list(leverage(warehouse, day_in(small)))
    assert [(sale.security_id, sale.quantity % 1) for sale in made] == [("BBB", 0), ("AAA", 0)]
    assert made[0].quantity == 750


def test_what_is_owed_is_bought_back_in_proportion(tmp_path):
    """$150,000 held and $60,000 owed on $100,000 of equity, cut to what stands a fall by half."""
    small = Small(tmp_path, {"AAA": 100.0, "OWED": 60.0})
    small.account("margin")
    small.portfolio += BORROWED + "may_short = true\n"
    small.says(
        "margin",
        "M-0,2024-01-02,deposit,,,,,,100000,",
        "M-1,2024-01-03,trade,buy,AAA,1500,100,0,-150000,",
        "M-2,2024-01-03,short_open,sell,OWED,1000,60,0,60000,",
    )
    small.holds("margin", date(2024, 6, 3), AAA="1500", OWED="-1000", usd="10000")
    small.run(date(2024, 6, 3))
    decided = small.ask("SELECT side, security_id FROM ledger.batch_lines WHERE method = 'leverage' ORDER BY ALL")
    assert decided == [("buy", "OWED"), ("sell", "AAA")], "the day's decision has both halves"
    day = day_in(small)
    with writer(small.folder / "warehouse.duckdb") as warehouse:
        measure_leverage(warehouse, day)
        [row] = warehouse.rows("FROM core.leverage").to_dicts()
        made = {trade.side: trade for trade in leverage(warehouse, day)}
    asked_usd = D(210_000) * D("0.5") + D(75_000) * D("0.35") + D(90_000) * D("0.35")
    keep = 100_000 / asked_usd
    assert (row["long_usd"], row["short_usd"], row["equity_usd"]) == (150_000, 60_000, 100_000)
    assert made["sell"].quantity == pytest.approx(1500 * (1 - keep), abs=D("0.001"))
    assert (made["buy"].security_id, made["buy"].quantity) == ("OWED", pytest.approx(1000 * (1 - keep), abs=D("0.001")))
    left = [
        Holding("AAA", 1500 - made["sell"].quantity, D(100)), Holding("OWED", made["buy"].quantity - 1000, D(60)),
    ]  # fmt: skip
    cash = D(10_000) + made["sell"].quantity * 100 - made["buy"].quantity * 60
    assert margin(left, cash, RULES, Limits(D(2), D(2), D("0.35"), D("0.5"))).cut_usd == 0


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 60)), min_size=1, max_size=5),
    st.integers(10_000, 60_000),
    st.sampled_from(["0.2", "0.5"]),
)
@settings(max_examples=100, deadline=None)
def test_buying_back_the_dearest_first_does_what_cutting_all_in_proportion_does(owed, equity, drop):
    holdings = [Holding(str(i), D(-count), D(price)) for i, (count, price) in enumerate(owed)]
    short = -sum((one.value_usd for one in holdings), D(0))
    limits = Limits(D(3), D(3), D("0.3"), D(drop))
    found = margin(holdings, equity + short, RULES, limits)
    left, after = short * (1 - found.keep), []
    for one in dearest_first(holdings, RULES, limits):
        back = min(-one.quantity, left / one.price_usd)
        left -= back * one.price_usd
        after.append(one._replace(quantity=one.quantity + back))
    still = [one for one in after if one.quantity]
    again = margin(still, equity - sum((one.value_usd for one in still), D(0)), RULES, limits)
    assert again.equity_usd == pytest.approx(equity) and again.cut_usd <= D("0.01")


def test_what_is_said_of_an_account_is_true_at_the_ends(tmp_path):
    small = Small(tmp_path, {"AAA": 100.0})
    small.account("margin")
    small.portfolio += BORROWED
    small.says("margin", "M-0,2024-01-02,deposit,,,,,,100000,", "M-1,2024-01-03,trade,buy,AAA,500,100,0,-50000,")
    small.holds("margin", date(2024, 6, 3), AAA="500", usd="50000")
    small.account("empty")
    small.says("empty", "E-0,2024-01-02,fee,,,,,,-500,")
    small.holds("empty", date(2024, 6, 3), usd="-500")
    small.run(date(2024, 6, 3))
    with writer(small.folder / "warehouse.duckdb") as warehouse:
        measure_leverage(warehouse, day_in(small))
        said = dict(warehouse.rows("SELECT account_id, reason FROM core.leverage").iter_rows())
    assert "no fall brings a margin call: within the limits" in said["margin"]
    assert said["empty"] == "it owes $500.00 and holds nothing"


def test_an_account_within_the_limits_sells_nothing(borrowed):
    borrowed.portfolio = borrowed.portfolio.replace("max_net = 2", "max_net = 2\nstress_drawdown = 0.2")
    day = day_in(borrowed)
    with writer(borrowed.folder / "warehouse.duckdb") as warehouse:
        assert list(leverage(warehouse, day)) == []
        measure_leverage(warehouse, day)
        assert warehouse.value("SELECT reason FROM core.leverage").endswith("within the limits")
