"""What a direct index follows: the file, the exclusions, the tilts, the sample and the shares."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.csv_file import csv_rows
from transforms.index.risk_model import RiskModel
from transforms.index.sampling import sampled, stratified
from transforms.index.target import target
from transforms.index.tilts import FACTORS, TiltError, low_volatility, momentum, scores, size, tilted
from transforms.index.universe import Constituent, Exclusions, UniverseError, constituents, largest, universe

FILE = """symbol,name,sector,industry,weight,value
XOM,Exxon Mobil,Energy,Integrated Oil & Gas,30,0.8
CVX,Chevron,Energy,Integrated Oil & Gas,10,0.9
KO,Coca-Cola,Consumer Staples,Soft Drinks,25,0.1
PM,Philip Morris,Consumer Staples,Tobacco,15,
MSFT,Microsoft,Information Technology,Software,20,0.2
"""


def read(tmp_path, text):
    path = tmp_path / "index.csv"
    path.write_text(text)
    return constituents(csv_rows(path, []), "index.csv")


@pytest.fixture
def names(tmp_path):
    return read(tmp_path, FILE)


# The file ---------------------------------------------------------------------------------------------


def test_weights_in_percent_are_brought_to_one_and_stand_largest_first(names):
    assert [one.symbol for one in names] == ["XOM", "KO", "MSFT", "PM", "CVX"]
    assert names[0].weight == pytest.approx(0.30) and sum(one.weight for one in names) == pytest.approx(1)


def test_an_empty_fundamental_is_unknown_and_not_zero(names):
    assert {one.symbol: one.value for one in names}["PM"] is None
    assert all(one.quality is None for one in names)


def test_a_capitalisation_stands_for_a_weight_and_is_kept(tmp_path):
    made = read(tmp_path, "symbol,name,sector,industry,capitalisation\nA,,X,,3e9\nB,,X,,1e9\n")
    assert [(one.weight, one.capitalisation_usd) for one in made] == [(0.75, 3e9), (0.25, 1e9)]


HEAD = "symbol,name,sector,industry,weight\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("symbol,name,sector\nA,a,X\n", r"index.csv:1: expected the columns .* missing: industry"),
        ("symbol,name,sector,industry\nA,a,X,\n", "index.csv:1: expected one of the columns weight or capitalisation"),
        ("symbol,name,sector,industry,weight,capitalisation\nA,a,X,,1,1\n", "there are both"),
        (HEAD + "A,a,X,,1\nB,b,X,,many\n", "index.csv:3: weight is 'many'"),
        (HEAD + "A,a,X,,nan\n", "index.csv:2: weight is 'nan'"),
        (HEAD + "A,a,X,,-1\n", "index.csv:2: weight of A must be above zero, it is '-1'"),
        (HEAD + "A,a,X,,\n", "index.csv:2: weight of A must be above zero, it is 'empty'"),
        (HEAD + "A,a,X,,1\n a ,b,X,,1\n", "index.csv:3: A stands on line 2 already"),
        (HEAD + "A,a,,,1\n", "index.csv:2: a constituent needs a symbol and a sector"),
        (HEAD, "index.csv: no constituent"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(tmp_path, text, said):
    with pytest.raises(UniverseError, match=said):
        read(tmp_path, text)


def test_the_top_names_are_the_largest_and_make_one_again(names):
    top = largest(names, 2)
    assert [(one.symbol, round(one.weight, 6)) for one in top] == [("XOM", 0.545455), ("KO", 0.454545)]
    with pytest.raises(UniverseError, match="the top 6 of 5 constituents"):
        largest(names, 6)


# Exclusions -------------------------------------------------------------------------------------------


def weights(made):
    return {symbol: round(weight, 9) for symbol, weight in made.wanted.items()}


def test_what_is_excluded_goes_to_the_rest_of_its_sector(names):
    made = universe(names, Exclusions(industries=frozenset({"Tobacco"})))
    assert weights(made) == {"XOM": 0.3, "KO": 0.4, "MSFT": 0.2, "CVX": 0.1}
    assert made.excluded == {"PM": "industry Tobacco"} and made.benchmark["PM"] == pytest.approx(0.15)


def test_a_whole_sector_goes_to_everything_else_pro_rata(names):
    made = universe(names, Exclusions(sectors=frozenset({"Energy"})))
    assert weights(made) == {"KO": 0.416666667, "PM": 0.25, "MSFT": 0.333333333}
    assert made.excluded == {"XOM": "sector Energy", "CVX": "sector Energy"}


def test_an_employer_is_excluded_as_such(names):
    made = universe(names, Exclusions(symbols=frozenset({"MSFT", "KO"}), employer=frozenset({"MSFT"})))
    assert made.excluded == {"MSFT": "own employer", "KO": "by ticker"}


def test_a_misspelled_sector_stops_and_says_which_there_are(names):
    with pytest.raises(
        UniverseError, match="no constituent has the sector 'Enrgy'; it is one of Consumer Staples, Energy"
    ):
        universe(names, Exclusions(sectors=frozenset({"Enrgy"})))
    with pytest.raises(UniverseError, match="no constituent has the industry 'tobacco'"):
        universe(names, Exclusions(industries=frozenset({"tobacco"})))


def test_a_ticker_that_the_index_does_not_have_is_told(names):
    assert universe(names, Exclusions(symbols=frozenset({"MO"}))).not_found == ("MO",)


def test_a_ticker_is_the_same_in_small_letters(names):
    made = universe(names, Exclusions(symbols=frozenset({"ko"}), employer=frozenset({" msft"})))
    assert made.excluded == {"MSFT": "own employer", "KO": "by ticker"} and made.not_found == ()


def test_what_leaving_out_a_name_without_prices_does_is_counted_as_for_any_other():
    """A third of the index goes: what it has of its own is missing, and the rest of its sector stands for its factor."""
    index = [Constituent(symbol, "", "X", "", 1 / 3) for symbol in "ABC"]
    model = RiskModel(("A", "B", "C"), np.full((3, 1), 0.2), np.full(3, 0.3))
    prices = np.column_stack([np.full((5, 2), 10.0), np.full((5, 1), np.nan)])
    made = target(index, Exclusions(symbols=frozenset("C")), {}, None, model, prices)
    assert made.weights.tolist() == pytest.approx([0.5, 0.5, 0])
    assert made.tracking_error == pytest.approx(0.3 * math.sqrt(2 / 36 + 1 / 9))


def test_a_part_of_a_model_says_the_same_of_what_is_in_it():
    _, model, _ = market(1)
    places = np.array([7, 3, 50])
    active = np.zeros(60)
    active[places] = [0.1, -0.2, 0.1]
    assert model.only(places).securities == ("S7", "S3", "S50")
    assert model.only(places).tracking_error(active[places]) == pytest.approx(model.tracking_error(active))


def test_exclusions_that_leave_nothing_are_refused(names):
    with pytest.raises(UniverseError, match="leave no constituent"):
        universe(names, Exclusions(symbols=frozenset({"XOM", "CVX", "KO", "PM", "MSFT"})))


@given(
    st.lists(st.tuples(st.sampled_from("XYZ"), st.floats(0.01, 100)), min_size=2, max_size=30),
    st.sets(st.integers(0, 29), max_size=10),
)
def test_exclusions_keep_the_sum_and_every_sector_that_is_left(rows, out):
    total = sum(weight for _, weight in rows)
    names = [Constituent(f"S{at}", "", sector, "", weight / total) for at, (sector, weight) in enumerate(rows)]
    gone = frozenset(f"S{at}" for at in out if at < len(names))
    left = {one.sector for one in names if one.symbol not in gone}
    if not left:
        return
    made = universe(names, Exclusions(symbols=gone))
    assert sum(made.wanted.values()) == pytest.approx(1) and not gone & set(made.wanted)
    sector = {one.symbol: one.sector for one in names}
    before = {key: sum(one.weight for one in names if one.sector == key) for key in left}
    after = {key: sum(weight for name, weight in made.wanted.items() if sector[name] == key) for key in left}
    scale = sum(before.values())
    assert all(after[key] == pytest.approx(before[key] / scale) for key in left)


# Tilts ------------------------------------------------------------------------------------------------


def test_momentum_leaves_out_the_last_month():
    prices = np.full((300, 2), 100.0)
    prices[-15:, 0] = 500.0  # within the last month: not counted
    prices[-100:, 1] = 130.0
    assert momentum(prices).tolist() == pytest.approx([0.0, 0.3])
    assert np.isnan(momentum(prices[:252])).all()


def test_the_calmer_and_the_smaller_name_scores_more():
    wave = 1 + 0.01 * np.sin(np.arange(300))[:, None] * np.array([1.0, 3.0])
    calm, wild = low_volatility(100 * wave)
    assert calm > wild and wild == pytest.approx(3 * calm, rel=0.05)
    small, large = size(np.array([1e9, 1e12]))
    assert small > large


def test_a_strange_name_does_not_make_all_the_others_alike():
    measure = np.array([*np.linspace(0, 1, 49), 1e6])
    made = scores(measure, ["A"] * 50, "value")
    assert made.max() <= 3 and made[48] - made[0] > 0.1


def test_scores_by_sector_make_no_bet_on_sectors():
    measure, sectors = np.array([1.0, 2.0, 101.0, 102.0]), ["A", "A", "B", "B"]
    assert scores(measure, sectors, "value").tolist() == pytest.approx([-1, 1, -1, 1])
    assert scores(measure, sectors, "value", sector_neutral=False)[:2].max() < 0


def test_a_tilt_without_its_data_is_refused_by_name():
    with pytest.raises(TiltError, match="the tilt 'quality' needs a column of the constituents file: 1 of 4 names"):
        scores(np.array([1.0, np.nan, np.nan, np.nan]), ["A"] * 4, "quality")
    with pytest.raises(TiltError, match="'momentum' needs prices"):
        scores(np.full(4, np.nan), ["A"] * 4, "momentum")
    with pytest.raises(TiltError, match="no scores for the tilt 'carry'"):
        tilted(np.array([1.0]), {}, {"carry": 1.0}, ["A"])


def test_an_unknown_score_is_the_mean():
    made = scores(np.array([1.0, 3.0, np.nan]), ["A"] * 3, "value")
    assert made.tolist() == [-1.0, 1.0, 0.0]


def test_without_sector_neutrality_a_tilt_moves_between_sectors():
    held, scored = np.array([0.5, 0.5]), {"size": np.array([1.0, -1.0])}
    assert tilted(held, scored, {"size": 1.0}, ["A", "B"]).tolist() == pytest.approx([0.5, 0.5])
    free = tilted(held, scored, {"size": 1.0}, ["A", "B"], sector_neutral=False)
    assert free.tolist() == pytest.approx([math.e / (math.e + 1 / math.e), 1 / math.e / (math.e + 1 / math.e)])


@given(st.integers(0, 2**32 - 1), st.floats(0, 2), st.sampled_from(FACTORS))
def test_tilts_are_positive_keep_sectors_and_point_the_right_way(seed, strength, factor):
    draw = np.random.default_rng(seed)
    held = draw.dirichlet(np.ones(20))
    sectors = [f"{at % 3}" for at in range(20)]
    scored = {factor: scores(draw.normal(size=20), sectors, factor)}
    made = tilted(held, scored, {factor: strength}, sectors)
    assert (made > 0).all()
    for sector in "012":
        here = np.array(sectors) == sector
        assert made[here].sum() == pytest.approx(held[here].sum())
        assert made[here] @ scored[factor][here] >= held[here] @ scored[factor][here] - 1e-9


# Samples ------------------------------------------------------------------------------------------


def market(seed, count=60):
    draw = np.random.default_rng(seed)
    exposures = np.column_stack([0.15 + 0.05 * draw.normal(size=count), 0.1 * draw.normal(size=(count, 4))])
    held = draw.dirichlet(np.full(count, 0.7))
    model = RiskModel(tuple(f"S{at}" for at in range(count)), exposures, draw.uniform(0.1, 0.4, count))
    return held, model, [f"{at % 4}" for at in range(count)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [8, 20, 40])
def test_a_sample_holds_what_was_asked_and_tracks_better_than_strata(seed, count):
    held, model, sectors = market(seed)
    chosen, strata = sampled(held, model, count), stratified(held, sectors, count)
    for made in (chosen, strata):
        assert 0 < np.sum(made > 0) <= count and (made >= 0).all() and made.sum() == pytest.approx(1)
    assert model.tracking_error(chosen - held) < model.tracking_error(strata - held)


def test_the_weights_of_a_sample_are_the_best_for_its_names():
    held, model, _ = market(3)
    made = sampled(held, model, 15)
    here, draw = np.flatnonzero(made), np.random.default_rng(0)
    least = model.tracking_error(made - held)
    for _ in range(300):
        other = made.copy()
        one, two = draw.choice(here, 2, replace=False)
        step = min(other[one], 1e-3)
        other[one] -= step
        other[two] += step
        assert model.tracking_error(other - held) >= least - 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_taking_names_away_step_by_step_is_better_than_keeping_the_largest(seed):
    held, model, _ = market(seed)
    largest_only = np.where(held >= np.sort(held)[-15], held, 0.0)
    at_once = sampled(largest_only / largest_only.sum(), model, 15)  # nothing to take away: as it was
    by_steps = sampled(held, model, 15)
    assert set(np.flatnonzero(by_steps)) != set(np.flatnonzero(at_once))
    assert model.tracking_error(by_steps - held) < 0.95 * model.tracking_error(at_once - held)


def test_a_sample_of_all_names_is_the_index():
    held, model, sectors = market(1)
    assert sampled(held, model, 60) == pytest.approx(held) and stratified(held, sectors, 60) == pytest.approx(held)


def test_strata_give_each_sector_its_weight_and_refuse_fewer_names_than_sectors():
    held, _, sectors = market(2)
    made = stratified(held, sectors, 9)
    for sector in "0123":
        here = np.array(sectors) == sector
        assert made[here].sum() == pytest.approx(held[here].sum())
    with pytest.raises(ValueError, match="3 names cannot stand for 4 sectors"):
        stratified(held, sectors, 3)
