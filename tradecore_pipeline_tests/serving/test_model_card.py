import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.models.equal_states import equalled
from tradecore_pipeline.models.regimes import RegimeModel, fit_regimes
from tradecore_pipeline.models.return_variance import ReturnVarianceEmission
from tradecore_pipeline.models.returns import percent_returns
from tradecore_pipeline.serving.card_facts import CardFacts, card_facts
from tradecore_pipeline.serving.model_card import card_text, model_card_figures
from tradecore_pipeline_tests.chain import BTC, HOUR
from tradecore_pipeline_tests.models.markets import simulate

MONTH = date(2022, 6, 1)
UNDECIDED = {"difference_bps": 1.5, "low_bps": -2.0, "high_bps": 5.0, "significant": False, "reason": ""}


def fitted(bars: pd.DataFrame, *, states: int = 2, features: tuple[str, ...] = ()) -> RegimeModel:
    return fit_regimes(
        bars, timeframe=HOUR, states=states, restarts=2, emission="student_t" if features else "return_variance",
        features=features, carry_bars=(1,), seed=7,
    )  # fmt: skip


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return simulate(1500, scales=(0.3, 1.2), stay=0.98, df=6.0, seed=5, frequency="1h", minutes=60).bars


@pytest.fixture(scope="module")
def model(bars: pd.DataFrame) -> RegimeModel:
    return fitted(bars)


@pytest.fixture(scope="module")
def half_model(bars: pd.DataFrame) -> RegimeModel:
    return fitted(bars.iloc[:750])


@pytest.fixture(scope="module")
def facts(bars: pd.DataFrame, model: RegimeModel, half_model: RegimeModel) -> CardFacts:
    return card_facts(
        bars, instrument=BTC, month=MONTH, model=model, half_model=half_model, direction=UNDECIDED,
        label_threshold=0.6, earlier=[(date(2022, 5, 1), half_model)],
    )  # fmt: skip


def figures(
    bars: pd.DataFrame, model: RegimeModel, half_model: RegimeModel | None, earlier: list[tuple[date, RegimeModel]]
) -> dict[str, str]:
    found = model_card_figures(
        bars, instrument=BTC, month=MONTH, model=model, half_model=half_model, direction=UNDECIDED,
        label_threshold=0.6, earlier=earlier,
    )  # fmt: skip
    return {name: content.decode() for name, content in found.items()}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "path", "rect", "circle"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"path", "rect", "circle"}:
            assert self.open.pop() == tag


def test_the_page_is_whole_light_and_asks_nobody_for_anything(
    bars: pd.DataFrame, model: RegimeModel, half_model: RegimeModel
) -> None:
    page = figures(bars, model, half_model, [(date(2022, 5, 1), half_model)])["model_card.html"]
    parsed = _Page()
    parsed.feed(page)
    assert parsed.open == []
    assert parsed.addresses == []
    assert not parsed.tags & {"script", "link", "img", "iframe"}
    assert len(page) < 200_000
    assert not re.search(r"\b(nan|inf|None)\b", page)
    assert page.count("<svg") == 6


def test_the_same_fit_makes_the_same_bytes(bars: pd.DataFrame, model: RegimeModel, half_model: RegimeModel) -> None:
    assert figures(bars, model, half_model, []) == figures(bars, model, half_model, [])


def test_calibration_reads_only_the_second_half_by_the_model_of_the_first(facts: CardFacts) -> None:
    assert facts.calibration is not None
    assert len(facts.calibration) == 749
    # The market is of the model's own family: its probability integrals are uniform.
    counts = np.histogram(facts.calibration, bins=10, range=(0, 1))[0]
    assert ((counts - 74.9) ** 2 / 74.9).sum() < 30
    assert facts.tail_share == pytest.approx(0.02, abs=0.015)


def test_without_a_model_of_the_first_half_nothing_is_said_of_calibration(
    bars: pd.DataFrame, model: RegimeModel
) -> None:
    text = figures(bars, model, None, [])["card.md"]
    assert "Not known: there is no model of the window's first half" in text


def test_the_states_densities_add_up_to_the_windows_returns(facts: CardFacts) -> None:
    found = facts.densities
    assert found is not None
    step = found.grid[1] - found.grid[0]
    assert step * found.states.sum() == pytest.approx(1.0, abs=0.01)
    assert (found.histogram * np.diff(found.edges)).sum() == pytest.approx(1.0, abs=0.01)


def test_drift_compares_volatilities_on_the_same_bars(facts: CardFacts, bars: pd.DataFrame) -> None:
    before, now = facts.drift
    assert (before.month, now.month) == (date(2022, 5, 1), MONTH)
    np.testing.assert_allclose(now.volatilities, facts.model.volatilities_percent, rtol=1e-9)
    weights = facts.model.filter(bars).probabilities[1:]
    squares = percent_returns(bars, HOUR)[1:] ** 2
    np.testing.assert_allclose(now.volatilities**2 @ weights.sum(axis=0), squares.sum(), rtol=1e-9)


def test_later_months_and_other_numbers_of_states_are_not_compared(bars: pd.DataFrame, model: RegimeModel) -> None:
    others = [(date(2022, 7, 1), model), (MONTH, model), (date(2022, 4, 1), fitted(bars, states=3))]
    page = figures(bars, model, None, others)["model_card.html"]
    assert "No month before this one had a model of as many states" in page


def test_a_model_that_sees_no_returns_says_so(bars: pd.DataFrame) -> None:
    model = fitted(bars, features=("log_realized_variance",))
    page = figures(bars, model, model, [])["model_card.html"]
    assert "it has no density of returns" in page
    assert "Not known:" in page


def test_a_card_names_no_level_of_equal_states_and_tells_a_forecast_without_calibration(facts: CardFacts) -> None:
    assert "States are in order of scale." in card_text(facts)
    emission = facts.model.emission
    assert isinstance(emission, ReturnVarianceEmission)
    equal = replace(emission, parameters=equalled(emission.parameters))
    model = replace(facts.model, emission=equal, density=None, density_note="no optimum was found")
    told = replace(facts, model=model)
    text = card_text(told)
    assert "Equal 1" in text
    assert not re.search("Calm|Turbulent|order of scale", text)
    assert "States are in order of mean return, since they are equal in volatility." in text
    assert any("the states are equal in volatility" in alarm for alarm in told.alarms)
    assert "the forecast is the states' own, uncalibrated: no optimum was found" in told.alarms


def test_direction_is_never_named_without_what_it_is_worth(facts: CardFacts) -> None:
    text = card_text(facts)
    assert "Bear (not significant)" in text
    assert "not significant on bars the states were not fitted on (top less bottom state +1.50 bps a bar, 95%" in text
    proven = replace(facts, direction=UNDECIDED | {"low_bps": 0.5, "significant": True})
    assert "(not significant)" not in card_text(proven)
    unknown = {"difference_bps": None, "low_bps": None, "high_bps": None, "significant": False, "reason": "too short"}
    assert "no evidence either way (too short)" in card_text(replace(facts, direction=unknown))


def test_a_good_fit_raises_no_alarm_and_each_flaw_raises_its_own(facts: CardFacts) -> None:
    assert facts.alarms == []
    model = facts.model
    flaws = {
        "holds 4.0% of the window": replace(facts, model=replace(model, occupancy=np.array([0.96, 0.04]))),
        "lasts 2.0 bars": replace(facts, model=replace(model, transmat=np.array([[0.5, 0.5], [0.01, 0.99]]))),
        "fresh starts found a fit 55 nats better": replace(facts, model=replace(model, cold_gain=55.0)),
        "names may have changed hands": replace(facts, model=replace(model, order_agrees=False)),
        "outside the central 98%": replace(facts, calibration=np.repeat([0.001, 0.3, 0.6, 0.4], 50)),
        "too wide": replace(facts, calibration=np.linspace(0.2, 0.8, 200)),
        "times as volatile": replace(
            facts, drift=(replace(facts.drift[0], volatilities=facts.drift[1].volatilities * 2), facts.drift[1])
        ),
    }
    for words, flawed in flaws.items():
        assert any(words in alarm for alarm in flawed.alarms), words
    page = card_text(flaws["too wide"])
    assert "- 83% of the bars it was not fitted on fell in the central half of the forecast: too wide" in page
