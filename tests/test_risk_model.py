"""A risk model finds what made the returns, and says what it did not see."""

import os
from datetime import date
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.index.risk_model import fundamental, noise_edge, statistical

ROOT = Path(__file__).parents[1]
REAL = Path(os.environ.get("THRESHER_TEST_DATA") or ROOT.parent / "shared").absolute() / "data"
YEAR = np.sqrt(252)


def world(seed, sessions=504, count=120, factors=3):
    """Returns of known exposures, and the standard deviations that a year of them has."""
    draw = np.random.default_rng(seed)
    exposures = np.column_stack(
        [0.010 + 0.002 * draw.normal(size=count), 0.006 * draw.normal(size=(count, factors - 1))]
    )
    specific = draw.uniform(0.008, 0.02, count)
    returns = draw.normal(size=(sessions, factors)) @ exposures.T + specific * draw.normal(size=(sessions, count))
    return returns, exposures, specific


def named(count, sectors=4):
    return [f"S{at:03}" for at in range(count)], [f"sector {at % sectors}" for at in range(count)]


def true_error(exposures, specific, active):
    return YEAR * np.sqrt(np.sum((exposures.T @ active) ** 2) + np.sum((specific * active) ** 2))


# What is found ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("factors", [1, 3, 8])
@pytest.mark.parametrize("seed", [1, 2])
def test_as_many_factors_are_found_as_there_are(factors, seed):
    returns, *_ = world(seed, factors=factors)
    found = statistical(returns, *named(120), half_life=1e9).factors
    assert factors <= found <= factors + 2


def test_sectors_behind_a_large_market_are_found_too():
    """One look finds the market and loses four sectors a twentieth of its size."""
    draw = np.random.default_rng(3)
    places = np.arange(120) % 4
    returns = (
        0.03 * draw.normal(size=(504, 1))
        + 0.006 * draw.normal(size=(504, 4))[:, places]
        + 0.01 * draw.normal(size=(504, 120))
    )
    assert 4 <= statistical(returns, *named(120), half_life=1e9).factors <= 6


def test_noise_has_no_factors():
    returns = np.random.default_rng(5).normal(0, 0.01, (504, 120))
    assert statistical(returns, *named(120), half_life=1e9).factors == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_tracking_error_of_a_portfolio_is_found_within_a_tenth(seed):
    returns, exposures, specific = world(seed)
    model = statistical(returns, *named(120), half_life=1e9).model
    draw = np.random.default_rng(seed)
    for _ in range(20):
        active = draw.dirichlet(np.ones(120)) - 1 / 120
        assert model.tracking_error(active) == pytest.approx(true_error(exposures, specific, active), rel=0.10)


def test_the_portfolio_of_least_predicted_risk_is_riskier_than_predicted_but_not_as_the_sample_has_it():
    """With fewer sessions than names the sample covariance promises a portfolio without risk."""
    returns, exposures, specific = world(3, sessions=100)
    model = statistical(returns, *named(120), half_life=1e9).model
    covariance = model.exposures @ model.exposures.T + np.diag(model.specific**2)
    least = np.linalg.solve(covariance, np.ones(120))
    least /= least.sum()
    ratio = true_error(exposures, specific, least) / model.tracking_error(least)
    assert 1.0 < ratio < 1.5
    assert np.linalg.matrix_rank(np.cov(returns, rowvar=False)) < 120


def test_the_whole_variance_of_a_name_is_kept_whatever_the_factors_lose():
    returns, *_ = world(4)
    model = statistical(returns, *named(120), half_life=1e9, prior_sessions=0).model
    whole = np.sqrt(np.sum(model.exposures**2, axis=1) + model.specific**2)
    assert whole == pytest.approx(returns.std(axis=0) * YEAR, rel=1e-7)


def test_what_names_have_in_common_is_not_overstated_by_few_sessions():
    """A hundred sessions make the smaller factors too large; shrunk, they are not."""
    ratios = []
    for seed in range(40):
        returns, exposures, _ = world(seed, sessions=100)
        standard = returns.std(axis=0)[:, None]
        own = statistical(returns, *named(120), half_life=1e9).model.exposures / YEAR / standard
        said, true = (
            np.sort(np.linalg.eigvalsh(each.T @ each))[::-1][1:3].sum() for each in (own, exposures / standard)
        )
        ratios.append(said / true)
    assert 0.93 < np.mean(ratios) < 1.02  # as they come it is 1.06


def test_more_names_than_sessions_and_fewer_give_the_same_model():
    """The sessions twice over tell the same, and go the other way to the components."""
    returns, *_ = world(6, sessions=100)
    wide = statistical(returns, *named(120), half_life=1e9).model
    tall = statistical(np.vstack([returns, returns]), *named(120), half_life=1e9).model
    active = np.random.default_rng(1).dirichlet(np.ones(120)) - 1 / 120
    assert tall.tracking_error(active) == pytest.approx(wide.tracking_error(active), rel=0.1)


@pytest.mark.parametrize(("count", "half_life"), [(120, 1e9), (120, 126), (800, 252), (3000, 252)])
def test_the_edge_of_noise_is_where_noise_ends_however_sessions_count(count, half_life):
    draw = np.random.default_rng(count)
    share = 0.5 ** (np.arange(504)[::-1] / half_life)
    share /= share.sum()
    largest = np.linalg.eigvalsh((made := np.sqrt(share)[:, None] * draw.normal(size=(504, count))) @ made.T)[-1]
    assert noise_edge(count, share) == pytest.approx(largest, rel=0.06)


def test_recent_sessions_count_more():
    returns, *_ = world(7)
    returns[-126:] *= 3
    active = np.random.default_rng(1).dirichlet(np.ones(120)) - 1 / 120
    calm, quick = (statistical(returns, *named(120), half_life=life).model.tracking_error(active) for life in (1e9, 63))
    assert quick > 1.2 * calm


def test_the_same_returns_give_the_same_model_bit_for_bit():
    returns, *_ = world(8)
    one, two = (statistical(returns, *named(120)).model for _ in range(2))
    assert one.exposures.tobytes() == two.exposures.tobytes() and one.specific.tobytes() == two.specific.tobytes()


# What was not seen ------------------------------------------------------------------------------------


def test_a_name_listed_yesterday_is_the_mean_of_its_sector():
    returns, *_ = world(9)
    returns[:, 0] = np.nan  # sector 0
    found = statistical(returns, *named(120))
    peers = list(range(4, 120, 4))
    assert found.borrowed == {"S000": 0}
    assert found.model.exposures[0] == pytest.approx(found.model.exposures[peers].mean(axis=0))
    assert 0.7 < found.model.specific[0] ** 2 / np.mean(found.model.specific[peers] ** 2) < 1.5


@pytest.mark.parametrize("daily", [0.0, 0.0002])
def test_a_price_that_never_moves_is_no_history_and_stops_nobody(daily):
    """A money market fund, a stock that is halted: a return that is always the same has no variance to divide by."""
    returns, *_ = world(9)
    missing, still = returns.copy(), returns.copy()
    missing[:, 0], still[:, 0] = np.nan, daily
    one, other = statistical(missing, *named(120)), statistical(still, *named(120))
    assert other.borrowed == {"S000": 0}
    assert np.array_equal(one.model.exposures, other.model.exposures)
    assert np.array_equal(one.model.specific, other.model.specific)


def test_a_sector_without_any_history_is_the_mean_of_all():
    returns, *_ = world(9)
    securities, sectors = named(120)
    sectors[0] = "new"
    returns[:, 0] = np.nan
    found = statistical(returns, securities, sectors)
    assert found.model.exposures[0] == pytest.approx(found.model.exposures[1:].mean(axis=0))


def test_the_longer_the_history_the_nearer_the_exposures_come_to_the_names_own():
    returns, exposures, _ = world(10, count=121)
    exposures[0] = [0.02, 0.0, 0.0]  # twice the market of its sector
    draw = np.random.default_rng(2)
    returns[:, 0] = 2.0 * returns[:, 1:].mean(axis=1) + 0.01 * draw.normal(size=504)
    names = named(121)
    market = np.full(121, 1 / 120)
    market[0] = 0.0
    betas = []
    for sessions in (0, 20, 60, 150, 300):
        part = returns.copy()
        part[: 504 - sessions, 0] = np.nan
        found = statistical(part, *names)
        common = found.model.exposures @ (found.model.exposures.T @ market)
        betas.append(common[0] / (market @ common))
        assert found.borrowed == {"S000": sessions}
    assert betas == sorted(betas) and betas[0] == pytest.approx(1, abs=0.15) and betas[-1] > 1.6


def test_a_halt_of_a_few_days_is_no_missing_history():
    returns, *_ = world(11)
    returns[100:110, 0] = np.nan
    assert statistical(returns, *named(120)).borrowed == {}


def test_specific_risk_has_a_floor_and_says_where():
    returns, *_ = world(12)
    returns[:, 5] = returns[:, :120].mean(axis=1)  # a fund of the others has no risk of its own
    found = statistical(returns, *named(120), prior_sessions=0, specific_floor=0.05)
    assert found.floored == ("S005",) and found.model.specific[5] == 0.05


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda r: r[:30], "30 sessions of returns are too few"),
        (lambda r: np.where(np.arange(120) < 115, np.nan, r), "5 of 120 securities have returns in nearly all"),
        (lambda r: np.where(np.arange(120) == 7, np.inf, r), "a return is infinite"),
        (lambda r: r[:, :100], "do not fit"),
    ],
)
def test_returns_that_tell_nothing_are_refused(spoil, said):
    returns, *_ = world(13)
    with pytest.raises(ValueError, match=said):
        statistical(spoil(returns), *named(120))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.6))
def test_a_model_of_any_history_is_finite_and_positive(seed, missing):
    returns, *_ = world(seed, sessions=80, count=30)
    draw = np.random.default_rng(seed)
    for name in range(12, 30):
        if draw.random() < missing:
            returns[: draw.integers(0, 81), name] = np.nan
    found = statistical(returns, *named(30))
    assert np.isfinite(found.model.exposures).all() and (found.model.specific >= 0.05).all()


# Sectors and styles -----------------------------------------------------------------------------------


def of_sectors(seed, count=120, sessions=504):
    draw = np.random.default_rng(seed)
    securities, sectors = named(count)
    places = np.array([int(sector[-1]) for sector in sectors])
    styles = draw.normal(size=(count, 2))
    moves = 0.01 * draw.normal(size=(sessions, 1)) + 0.005 * draw.normal(size=(sessions, 4))
    slopes = draw.normal(size=(sessions, 2)) * np.array([0.004, 0.002])
    returns = moves[:, places] + slopes @ styles.T + 0.012 * draw.normal(size=(sessions, count))
    return returns, securities, sectors, styles, places


@pytest.mark.parametrize("seed", range(3))
def test_sector_and_style_factors_are_recovered(seed):
    returns, securities, sectors, styles, places = of_sectors(seed)
    model = fundamental(returns, securities, sectors, styles, np.ones(120), half_life=1e9).model
    draw = np.random.default_rng(seed)
    for _ in range(10):
        active = draw.dirichlet(np.ones(120)) - 1 / 120
        by_sector = np.bincount(places, active, 4)
        variance = 0.01**2 * active.sum() ** 2 + 0.005**2 * by_sector @ by_sector
        variance += (
            (0.004 * styles[:, 0] @ active) ** 2 + (0.002 * styles[:, 1] @ active) ** 2 + 0.012**2 * active @ active
        )
        assert model.tracking_error(active) == pytest.approx(YEAR * np.sqrt(variance), rel=0.1)


def test_a_new_name_has_its_sector_and_its_styles_at_once():
    returns, securities, sectors, styles, _ = of_sectors(4)
    styles[4], styles[0] = styles[0], styles[0]  # S000 and S004 are of one sector and one style
    returns[:, 0] = np.nan
    found = fundamental(returns, securities, sectors, styles, np.ones(120))
    assert found.borrowed == {"S000": 0}
    assert found.model.exposures[0] == pytest.approx(found.model.exposures[4])


def test_sessions_in_which_names_are_missing_do_not_dull_the_factors():
    returns, securities, sectors, styles, _ = of_sectors(6)
    active = np.array([1.0 if at % 4 == 0 else -1.0 if at % 4 == 1 else 0.0 for at in range(120)]) / 30
    before = fundamental(returns, securities, sectors, styles, np.ones(120), half_life=1e9).model.tracking_error(active)
    returns[:450, 12:80] = np.nan
    after = fundamental(returns, securities, sectors, styles, np.ones(120), half_life=1e9).model.tracking_error(active)
    assert after == pytest.approx(before, rel=0.12)


def test_an_unknown_style_is_the_mean_and_a_capitalisation_must_be_known():
    returns, securities, sectors, styles, _ = of_sectors(5)
    unknown, zero = styles.copy(), styles.copy()
    unknown[3, 0], zero[3, 0] = np.nan, 0.0
    one, two = (fundamental(returns, securities, sectors, made, np.ones(120)).model for made in (unknown, zero))
    assert one.exposures == pytest.approx(two.exposures)
    with pytest.raises(ValueError, match="capitalisation must be positive"):
        fundamental(returns, securities, sectors, styles, np.zeros(120))


# Time, and real prices ----------------------------------------------------------------------


def test_three_thousand_names_take_seconds_not_minutes():
    draw = np.random.default_rng(1)
    returns = 0.01 * (draw.normal(size=(504, 1)) + draw.normal(size=(504, 3000)))
    began = perf_counter()
    model = statistical(returns, *named(3000)).model
    assert perf_counter() - began < 10  # about half a second; a covariance of 3,000 names would take minutes
    assert model.exposures.shape[1] == 1


@pytest.mark.skipif(
    not list(REAL.glob("us_stocks_daily_*.parquet")),
    reason=f"no real prices in {REAL}: THRESHER_TEST_DATA names the folder above it",
)
def test_on_real_prices_an_index_in_fewer_names_tracks_about_as_predicted():
    from bench.point_in_time import held, months, panel
    from transforms.index.sampling import sampled

    prices = panel(REAL, date(2014, 12, 1), date(2019, 12, 31))
    predicted, came = [], []
    for month in months(prices, date(2017, 1, 1))[:30:6]:
        month = month._replace(until=month.at + 125)
        names, sectors = ([each[name] for name in month.names] for each in (prices.names, prices.sectors))
        model = statistical(prices.returns[month.at - 503 : month.at + 1, month.names], names, sectors).model
        weights = sampled(month.weights, model, 100)
        predicted.append(model.tracking_error(weights - month.weights))
        came.append(held(prices, month, month.names, weights) - held(prices, month, month.names, month.weights))
    ratio = np.std(np.concatenate(came)) * YEAR / np.sqrt(np.mean(np.square(predicted)))
    assert 0.67 < ratio < 1.5
