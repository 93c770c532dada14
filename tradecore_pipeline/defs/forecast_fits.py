"""A month's forecasts: the HARs, and the pool that is published, with the evidence on held-out and published bars."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd

from tradecore_pipeline.defs import feature_days
from tradecore_pipeline.defs.fits import HAR, LSTM, Month, load_har_family, load_regime_model
from tradecore_pipeline.defs.lstm_shape import shape_in_force
from tradecore_pipeline.defs.own_days import LSTM_FEATURES, outdated_days, own_names, own_version
from tradecore_pipeline.defs.windows import read_bars
from tradecore_pipeline.domain.tables import BARS, REGIMES
from tradecore_pipeline.domain.time import add_months, day_start
from tradecore_pipeline.features.registry import FEATURE_NAMES
from tradecore_pipeline.model_registry import LoggedModel, StoredModel, Verdict
from tradecore_pipeline.storage.own_features import own_features_table
from tradecore_pipeline.validation.scoreboard import ALL, DETECTABLE_ERRORS, hac_lags, standings
from tradecore_pipeline.validation.walk_forward import training_window

if TYPE_CHECKING:
    from tradecore_pipeline.models.evidence import Ablation, HeldOutReport
    from tradecore_pipeline.models.lstm_training import FittedForecaster, Recipe
    from tradecore_pipeline.models.pool_members import HarFamily

_MONTHS_OF_EVIDENCE = 12
"""Published months before, by whose scores a forecast becomes the champion."""
_ONE_DAY = timedelta(days=1)
_BASELINE = "The baseline that forecasts are held against: the newest month's version."


def fit_har_models(month: Month, run_id: str) -> tuple[LoggedModel, dict[str, Any]]:
    """The month's t-HAR and switching HAR."""
    from tradecore_pipeline.models.pool_members import fit_har_family  # noqa: PLC0415 (heavy, and only runs need it)

    bars, seed = month.window(), month.adapters.settings.random_seed
    family = fit_har_family(bars, timeframe=month.timeframe, seed=seed)
    switching, metrics = family.whole.switching, _har_metrics(family, bars)
    facts = {"df": family.har.df, "switching_states": 0 if switching is None else len(switching.transmat)}
    logged = month.log(
        HAR,
        bars,
        run_id,
        config=family.config(),
        arrays=family.to_arrays(),
        parameters={**facts, "location": family.har.location, "seed": seed},
        metrics=metrics,
        verdict=Verdict(champion=True, evidence=_BASELINE),
    )
    return logged, {"bars": len(bars), **facts, **metrics}


def _har_metrics(family: "HarFamily", bars: pd.DataFrame) -> dict[str, float]:
    forecasts, first = family.held_out(bars)
    metrics = {
        f"held_out_log_score_{name}": float(np.nanmean(scores))
        for name, scores in family.held_out_scores(forecasts, bars, first).items()
    }
    own = family.whole.scores({"own": family.har.forecast(bars)}, bars)["own"]
    return {"in_sample_log_score": float(np.nanmean(own)), **metrics}


def fit_forecaster(month: Month, run_id: str) -> tuple[LoggedModel, dict[str, Any]]:
    """The month's published forecast: the LSTM on top of t-HAR, and how it, t-HAR and the switching HAR are pooled."""
    from tradecore_pipeline.models import lstm_training  # noqa: PLC0415 (torch)
    from tradecore_pipeline.serving.forecast_card import forecast_card  # noqa: PLC0415 (imported where it is used)

    bars, (family, baseline) = month.window(), load_har_family(month)
    recipe, hmm, source = _recipe(month, bars)
    fitted = lstm_training.fit_forecaster(
        bars, family=family, recipe=recipe, ablations=month.adapters.settings.lstm_ablations
    )
    model, found, verdict = fitted.model, _evidence(month, fitted, bars), published_verdict(month)
    without = _ablations(month, fitted)
    card = forecast_card(str(month), model, found, without, published=verdict.evidence, shape_source=source)
    runs = {"hmm_run_id": hmm.run_id, "har_run_id": baseline.run_id, "shape_source": source, **_read_features(month)}
    evidence = None if found is None else found.to_json() | {"ablations": [row.to_json() for row in without]}
    logged = month.log(
        LSTM,
        bars,
        run_id,
        config=model.config() | runs | {"evidence": evidence},
        arrays=model.to_arrays(),
        tensors=dict(model.weights),
        parameters=recipe.choices
        | {"shape_source": source, "inputs": len(model.corrector.columns), "members": ", ".join(model.start.weights)},
        metrics=dict(card.metrics),
        series={"stopping_log_score_by_epoch": list(fitted.learning_curve)},
        figures=dict(card.figures),
        inputs=recipe.inputs(bars, family.har),
        verdict=replace(verdict, evidence=card.text),
    )
    return logged, {"bars": len(bars), "evidence": dg.MetadataValue.md(card.text), **card.metrics}


def _recipe(month: Month, bars: pd.DataFrame) -> tuple["Recipe", StoredModel, str]:
    """What the LSTM is trained on and how, the regime model whose probabilities are among it, and whence its shape."""
    from tradecore_pipeline.models.lstm_training import Recipe  # noqa: PLC0415 (torch)

    settings, (shape, source) = month.adapters.settings, shape_in_force(month)
    regimes, hmm = load_regime_model(month)
    read = (*regimes.emission.features, *settings.lstm_features)
    earlier = history(month, bars, windows=shape.windows, features=read)
    longest = bars if earlier is None else earlier
    tuned = month.tuned(longest) if settings.lstm_tuned else None
    recipe = Recipe(
        filtered=regimes.filter(longest, month.columns(longest, regimes.emission.features)).frame,
        features=month.with_columns(tuned, longest, settings.lstm_features),
        regimes=settings.lstm_regimes,
        shape=shape,
        epochs=settings.lstm_epochs,
        seed=settings.random_seed,
        device=settings.lstm_device,
        history=earlier,
    )
    return recipe, hmm, source


def _read_features(month: Month) -> dict[str, Any]:
    """What prediction has to bring along: settings may be others by then."""
    names = month.adapters.settings.lstm_features
    return {LSTM_FEATURES: list(names), **own_version(month.adapters, names)}


def history(month: Month, bars: pd.DataFrame, *, windows: int, features: Sequence[str]) -> pd.DataFrame | None:
    """Bars of as many training windows, the month's among them, as far back as days are stored without a hole.

    A day whose own features another version of the user's files computed is a hole, too.

    None where that is no further than the month's own. What a bar of another window says of the month is little: unlike
    a hole in the month's window, its absence is no reason to refuse the month.
    """
    if windows == 1:
        return None
    adapters, timeframe = month.adapters, month.timeframe
    wanted = windows * adapters.settings.window_bars(timeframe)
    start, end = training_window(month.month, bars=wanted, timeframe=timeframe)
    first = bars.index[0].date()
    stored = _stored_days(month, features, start.date(), first)
    while first > start.date() and first - _ONE_DAY in stored:
        first -= _ONE_DAY
    if first == bars.index[0].date():
        return None
    return read_bars(adapters, month.instrument, max(start, day_start(first)), end, timeframe=timeframe)


def _stored_days(month: Month, features: Sequence[str], start: date, end: date) -> set[date]:
    """Days from ``start`` to before ``end`` of which there are bars, and ``features`` as they are computed now."""
    tables = [BARS]
    tables += [feature_days.FEATURES] if any(name in FEATURE_NAMES for name in features) else []
    tables += [own_features_table(())] if own_names(features) else []
    adapters, timeframe = month.adapters, month.timeframe
    stored = [set(adapters.lake.days(table, month.instrument, timeframe=timeframe)) for table in tables]
    days = {day for day in set.intersection(*stored) if start <= day < end}
    if own_names(features):  # whose files may have been edited since
        days -= outdated_days(adapters, month.instrument, sorted(days), timeframe=timeframe).keys()
    return days


def _ablations(month: Month, fitted: "FittedForecaster") -> "tuple[Ablation, ...]":
    from tradecore_pipeline.models.evidence import ablation_table  # noqa: PLC0415 (imported where it is used)
    from tradecore_pipeline.models.pool import BASELINE  # noqa: PLC0415 (likewise)

    held_out = fitted.held_out
    if not held_out.ablations:
        return ()
    return ablation_table(held_out.scores[BASELINE], held_out.ablations, timeframe=month.timeframe)


def _evidence(month: Month, fitted: "FittedForecaster", bars: pd.DataFrame) -> "HeldOutReport | None":
    from tradecore_pipeline.models.evidence import held_out_report  # noqa: PLC0415 (imported where it is used)

    return held_out_report(
        bars,
        fitted.held_out.forecasts,
        fitted.held_out.scores,
        timeframe=month.timeframe,
        tick=fitted.model.har.tick,
        seed=month.adapters.settings.random_seed,
    )


def published_verdict(month: Month) -> Verdict:
    """Whether what was published before the month beat t-HAR: the one test that nothing was fitted to."""
    start, end = day_start(add_months(month.month, -_MONTHS_OF_EVIDENCE)), day_start(month.month)
    rows = month.adapters.lake.read(
        REGIMES, month.instrument, start, end, timeframe=month.timeframe, columns=["log_score", "har_log_score"]
    )
    columns = {name: rows[name].to_numpy(dtype=np.float64) for name in ("har_log_score", "log_score")}
    scores = pd.DataFrame(columns, index=rows.index).dropna()
    if scores.empty:
        return Verdict(champion=False, evidence="Challenger: no score was published before this month.")
    found = standings(scores, baseline="har_log_score", lags=hac_lags(month.timeframe))
    own = next(standing for standing in found if (standing.model, standing.era) == ("log_score", ALL))
    champion = bool(own.t_statistic >= DETECTABLE_ERRORS)
    evidence = (
        f"{'Champion' if champion else 'Challenger'}: what was published of the {_MONTHS_OF_EVIDENCE} months before "
        f"({own.bars:,} bars) scored {own.difference:+.4f} nats a bar against t-HAR, HAC t {own.t_statistic:.1f} "
        f"({DETECTABLE_ERRORS:g} makes a champion)."
    )
    return Verdict(champion=champion, evidence=evidence)
