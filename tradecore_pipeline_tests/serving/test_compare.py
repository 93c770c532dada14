"""Variants on identical folds: the same in whatever order and however many processes; kept, and recalled."""

from collections.abc import Mapping
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import MissingInputError, ModelFitError, NotEnoughHistoryError
from tradecore_pipeline.domain.tables import BARS, REGIMES
from tradecore_pipeline.domain.time import add_months, day_start
from tradecore_pipeline.features.registry import FEATURE_NAMES
from tradecore_pipeline.models import variant_fits
from tradecore_pipeline.models.density import StudentMixture
from tradecore_pipeline.models.inputs import FEATURES
from tradecore_pipeline.models.ticks import next_log_scores, price_tick
from tradecore_pipeline.models.variants import VariantDefaults, parse_variants
from tradecore_pipeline.serving.compare import Evaluated, evaluate, fits_needed
from tradecore_pipeline.serving.compare_folds import Asked
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.validation.walk_forward import training_window
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, HOUR, MARCH, Chain, copy_home

WINDOW = 480
ASKED = Asked(BTC, HOUR, (FEBRUARY, MARCH), window_bars=WINDOW, least_bars=WINDOW)


@pytest.fixture
def settings(chain: Chain, tmp_path: Any) -> Settings:
    return copy_home(chain, tmp_path / "home")


def found(settings: Settings, text: str, *, processes: int, asked: Asked = ASKED) -> Evaluated:
    defaults = VariantDefaults(
        states=2,
        emission="return_variance",
        features=("scaled_return",),
        carry_bars=(1, 3),
        restarts=2,
        hidden=4,
        lstm_regimes="probabilities",
        epochs=1,
        seed=7,
        feature_names=(*FEATURES, *FEATURE_NAMES),
    )
    variants = parse_variants(text, defaults)
    done: list[str] = []
    result = evaluate(Lake(Layout(settings.home)), variants, asked, processes=processes, done=done.append)
    assert len(done) == fits_needed(variants, asked)
    return result


def assert_same(left: Evaluated, right: Evaluated) -> None:
    for name in ("log_scores", "variances", "day_variances", "realized"):
        one, other = getattr(left, name), getattr(right, name)
        pd.testing.assert_frame_equal(one, other[one.columns], check_exact=True)


def test_each_variant_is_fitted_on_the_months_own_window_and_scored_on_the_same_bars(settings: Settings) -> None:
    result = found(settings, "har,ewma-t,hmm", processes=1)
    lake = Lake(Layout(settings.home))
    for month in ASKED.months:
        start, end = training_window(month, bars=WINDOW, timeframe=HOUR)
        seen = lake.read(BARS, BTC, start, day_start(add_months(month, 1)), timeframe=HOUR)
        window = seen.loc[seen.index < end]
        density = variant_fits.fit_baseline(window, HOUR).forecast(seen)
        expected = next_log_scores(density, seen, timeframe=HOUR, tick=price_tick(window))
        own = result.log_scores.loc[day_start(month) : day_start(add_months(month, 1)) - HOUR.duration, "har"]
        by_bar = pd.Series(expected[:-1], index=seen.index[1:])
        np.testing.assert_array_equal(own, by_bar.loc[own.index])
    assert result.log_scores.notna().all(axis=None)
    assert list(result.log_scores.columns) == ["har", "ewma-t", "hmm"]
    assert (result.fitted, result.recalled) == (6, 0)


def test_neither_processes_nor_order_nor_company_change_a_figure(
    settings: Settings, chain: Chain, tmp_path: Any
) -> None:
    alone = found(settings, "har,hmm,ewma-t", processes=1)
    elsewhere = copy_home(chain, tmp_path / "other")
    assert_same(alone, found(elsewhere, "ewma-t,hmm,har", processes=2))


def test_a_second_comparison_costs_only_what_is_new_and_recalls_the_same(settings: Settings) -> None:
    first = found(settings, "har,ewma-t", processes=1)
    again = found(settings, "har,ewma-t,constant-t,pool:har+ewma-t", processes=1)
    assert (again.fitted, again.recalled) == (2, 4)
    pd.testing.assert_frame_equal(first.log_scores, again.log_scores[["har", "ewma-t"]], check_exact=True)
    pd.testing.assert_frame_equal(first.day_variances, again.day_variances[["har", "ewma-t"]], check_exact=True)


def test_what_was_kept_is_not_recalled_for_other_data_or_another_configuration(settings: Settings) -> None:
    found(settings, "har,ewma-t", processes=1)
    lake = Lake(Layout(settings.home))
    read = lake.read(BARS, BTC, day_start(FEBRUARY), day_start(MARCH), timeframe=HOUR)
    day = read.index[-1].date()
    rows = read.loc[day_start(day) :].reset_index()
    rows.loc[0, "volume"] += 1.0
    lake.publish(BARS, BTC, day, rows, timeframe=HOUR)
    again = found(settings, "har,ewma-t", processes=1)
    assert (again.fitted, again.recalled) == (4, 0)
    shorter = Asked(BTC, HOUR, (MARCH,), window_bars=WINDOW - 24, least_bars=WINDOW - 24)
    assert found(settings, "har,ewma-t", processes=1, asked=shorter).fitted == 2


def test_a_pool_is_the_mean_of_densities_and_of_their_moments(settings: Settings) -> None:
    result = found(settings, "pool:har+ewma-t,har,ewma-t", processes=1)
    scores, variances = result.log_scores, result.variances
    np.testing.assert_allclose(
        np.exp(scores["pool:har+ewma-t"]), (np.exp(scores["har"]) + np.exp(scores["ewma-t"])) / 2, rtol=1e-12
    )
    least = variances[["har", "ewma-t"]].mean(axis=1)
    assert (variances["pool:har+ewma-t"] >= least - 1e-12).all()
    np.testing.assert_allclose(variances["pool:har+ewma-t"], least, rtol=0.01)


def test_what_was_published_is_taken_as_it_stands(settings: Settings) -> None:
    result = found(settings, "har,published", processes=1)
    rows = Lake(Layout(settings.home)).read(
        REGIMES, BTC, day_start(FEBRUARY), day_start(add_months(MARCH, 1)), timeframe=HOUR
    )
    scores = result.log_scores["published"]
    np.testing.assert_array_equal(scores, rows.loc[scores.index, "log_score"])
    bar = scores.index[100]
    before = rows.loc[bar - HOUR.duration, "forecast_volatility"]
    assert result.variances.loc[bar, "published"] == pytest.approx((100 * before) ** 2)
    assert result.day_variances["published"].isna().all()


def test_realized_variances_of_a_day_begin_with_the_bar(settings: Settings) -> None:
    realized = found(settings, "har,ewma-t", processes=1).realized
    assert realized["day"].iloc[0] == pytest.approx(realized["bar"].iloc[:24].sum())


@pytest.mark.parametrize(
    "text",
    [
        "lstm:tuned=yes",
        "lstm:regimes=no,tuned=no",
        "lstm:regimes=per_regime",
        "hmm:emission=student_t,features=scaled_return+rsi_14",
    ],
)
def test_features_and_tuned_indicators_reach_the_variants_that_read_them(settings: Settings, text: str) -> None:
    march = Asked(BTC, HOUR, (MARCH,), window_bars=WINDOW, least_bars=WINDOW)
    result = found(settings, f"har,{text}", processes=1, asked=march)
    assert result.log_scores.notna().all(axis=None)
    assert found(settings, f"har,{text}", processes=1, asked=march).fitted == 0


def failing(times: int) -> Mapping[str, Any]:
    """Fits of which the first ``times`` of ewma-t find nothing."""
    calls: list[int] = []

    def fit(options: Mapping[str, Any], fold: variant_fits.Fold) -> StudentMixture:
        calls.append(len(fold.window))
        if len(calls) <= times:
            raise ModelFitError("no optimum")
        return real(options, fold)

    real = variant_fits._FITS["ewma-t"]
    return {**variant_fits._FITS, "ewma-t": fit}


def test_where_no_fit_comes_out_an_earlier_window_stands_in_and_a_note_says_so(settings: Settings) -> None:
    march = Asked(BTC, HOUR, (MARCH,), window_bars=WINDOW, least_bars=WINDOW)
    with mock.patch.object(variant_fits, "_FITS", failing(1)):
        result = found(settings, "har,ewma-t", processes=1, asked=march)
    assert result.notes == (
        "ewma-t found no fit on the window before 2025-03: one that ended 1 month earlier stands in",
    )
    again = found(settings, "har,ewma-t", processes=1, asked=march)
    assert (again.fitted, again.notes) == (0, result.notes)
    assert_same(result, again)


def test_a_variant_without_any_fit_stops_with_what_to_do(settings: Settings) -> None:
    with (
        mock.patch.object(variant_fits, "_FITS", failing(9)),
        pytest.raises(ModelFitError, match=r"ewma-t of 2025-02: no optimum: leave it out"),
    ):
        found(settings, "har,ewma-t", processes=1)


def test_missing_history_days_and_published_rows_are_named(settings: Settings) -> None:
    early = Asked(BTC, HOUR, (add_months(FEBRUARY, -1),), window_bars=WINDOW, least_bars=WINDOW)
    with pytest.raises(NotEnoughHistoryError, match="in the window before 2025-01 and 480 are needed"):
        found(settings, "har,ewma-t", processes=1, asked=early)
    with pytest.raises(MissingInputError, match="nothing is published"):
        found(settings, "har,published", processes=1, asked=early)
    lake = Lake(Layout(settings.home))
    lake.layout.day(BARS.name, BTC, FEBRUARY, timeframe=HOUR).unlink()
    with pytest.raises(MissingInputError, match=r"no 1h bars for 1 days \(2025-02-01\)"):
        found(settings, "har,ewma-t", processes=1)
