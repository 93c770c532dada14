"""A month's regime model: fitted from its year's anchor, with its evidence on direction and its card."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from tradecore_pipeline.defs.anchors import Anchor, load_anchor
from tradecore_pipeline.defs.fits import HMM, Month
from tradecore_pipeline.defs.own_days import own_version
from tradecore_pipeline.domain.time import add_months
from tradecore_pipeline.model_registry import LoggedModel
from tradecore_pipeline.settings import Settings

if TYPE_CHECKING:
    from datetime import date

    import pandas as pd

    from tradecore_pipeline.models.direction import DirectionEvidence
    from tradecore_pipeline.models.regimes import RegimeModel

_MONTHS_OF_DRIFT = 3
"""Months before, beside which the card shows a month's parameters; each costs the reading of a model."""


def fit_hmm(month: Month, run_id: str) -> tuple[LoggedModel, dict[str, Any]]:
    """The month's regime model, with the evidence on whether its states know direction."""
    from tradecore_pipeline.models.direction import state_names  # noqa: PLC0415 (heavy, and only runs need it)
    from tradecore_pipeline.serving.model_card import model_card_figures  # noqa: PLC0415 (as above)

    bars, choices = month.window(), regime_choices(month.adapters.settings)
    columns = month.training_columns(bars)
    model, anchor, evidence = _fitted(month, bars, columns, choices)
    names = state_names(model)
    figures = model_card_figures(
        bars, columns, instrument=month.instrument, month=month.month, model=model, half_model=evidence.half_model,
        direction=evidence.to_json(), label_threshold=month.adapters.settings.label_threshold,
        earlier=_models_before(month, model),
    )  # fmt: skip
    logged = month.log(
        HMM,
        bars,
        run_id,
        config=model.config()
        | _origin(month, anchor)
        | own_version(month.adapters, model.emission.features)
        | {"direction": evidence.to_json(), "names": names},
        arrays=model.to_arrays(),
        parameters=choices | _told(anchor),
        metrics=_metrics(model),
        figures=figures,
    )
    left_out = 0 if columns is None else len(bars) - len(columns.dropna())
    facts = {"bars": len(bars), "bars_without_all_features": left_out}
    return logged, _metadata(model, evidence, names) | facts | _told(anchor)


def _fitted(
    month: Month, bars: "pd.DataFrame", columns: "pd.DataFrame | None", choices: dict[str, Any]
) -> tuple["RegimeModel", Anchor, "DirectionEvidence"]:
    """The model, the anchor that it was fitted from, and the evidence on direction."""
    from tradecore_pipeline.models.direction import direction_evidence  # noqa: PLC0415 (as above)
    from tradecore_pipeline.models.regimes import fit_regimes  # noqa: PLC0415 (as above)

    anchor = load_anchor(month, choices)
    with month.named():
        model = fit_regimes(bars, columns, timeframe=month.timeframe, anchor=anchor.model, **choices)
        evidence = direction_evidence(bars, columns, timeframe=month.timeframe, **choices)
    return model, anchor, evidence


def _origin(month: Month, anchor: Anchor) -> dict[str, Any]:
    """What prediction needs to know of how the month was fitted: settings may be others by then."""
    return {
        "anchor": f"{anchor.month:%Y-%m}",
        "anchor_sha256": anchor.digest,
        "window_bars": month.adapters.settings.window_bars(month.timeframe),
    }


def _told(anchor: Anchor) -> dict[str, Any]:
    """Where the fit began, and why not earlier in its year where that failed."""
    told = {"anchor": f"{anchor.month:%Y-%m}"}
    return told | ({"anchor_passed_over": "; ".join(anchor.passed_over)} if anchor.passed_over else {})


def regime_choices(settings: Settings) -> dict[str, Any]:
    """What ``fit_regimes`` takes beside bars."""
    return {
        "states": settings.hmm_states,
        "restarts": settings.hmm_restarts,
        "emission": settings.hmm_emission,
        "features": settings.hmm_features,
        "carry_bars": settings.hmm_carry_bars,
        "seed": settings.random_seed,
    }


def _models_before(month: Month, model: "RegimeModel") -> list[tuple["date", "RegimeModel"]]:
    """The models of the months before that exist by now and look at the same things."""
    from tradecore_pipeline.models.regimes import RegimeModel  # noqa: PLC0415 (as above)

    found: list[tuple[date, RegimeModel]] = []
    for back in range(1, _MONTHS_OF_DRIFT + 1):
        earlier = replace(month, month=add_months(month.month, -back))
        stored = month.adapters.registry.load(HMM, month.instrument, timeframe=month.timeframe, month=earlier.month)
        if stored is not None:
            other = RegimeModel.from_parts(stored.config, stored.arrays)
            if (other.emission.kind, other.emission.features) == (model.emission.kind, model.emission.features):
                found.append((earlier.month, other))
    return found


def _metrics(model: "RegimeModel") -> dict[str, float]:
    metrics = {"log_likelihood_per_bar": model.log_likelihood, "anchored": float(model.anchored)}
    metrics["order_agrees"] = float(model.order_agrees)
    if np.isfinite(model.cold_gain):
        metrics["cold_gain_nats"] = model.cold_gain
    by_state = {
        "occupancy": model.occupancy,
        "mean_return_bps": model.mean_returns_bps,
        "volatility_percent": model.volatilities_percent,
        "stay_probability": np.diag(model.transmat),
    }
    return metrics | {
        f"{name}_{k}": float(value) for name, values in by_state.items() for k, value in enumerate(values)
    }


def _metadata(
    model: "RegimeModel", evidence: "DirectionEvidence", names: list[tuple[str, str]]
) -> dict[str, dg.MetadataValue[Any] | Any]:
    """What a person wants to see of the month in Dagster."""
    lasting = [bars_it_lasts(bars) for bars in model.expected_durations.tolist()]
    rows = [
        f"| {k} | {names[k][0]} | {names[k][1]} | {model.occupancy[k]:.1%} | {model.volatilities_percent[k]:.3f} | "
        f"{model.mean_returns_bps[k]:+.2f} [{low:+.2f}, {high:+.2f}] | {lasting[k]} |"
        for k, (low, high) in enumerate(model.mean_return_intervals_bps)
    ]
    head = [
        "| state | by scale | by mean | share | volatility, % | mean return, bps [95%] | bars it lasts |",
        "|---|---|---|---|---|---|---|",
    ]
    notes = {"density": f"the states' own: {model.density_note}"} if model.density_note else {}
    return notes | {
        "states": dg.MetadataValue.md("\n".join(head + rows)),
        "equal_scales": model.equal_scales,
        "direction_significant": evidence.significant,
        "direction": dg.MetadataValue.json(evidence.to_json()),
        "log_likelihood_per_bar": model.log_likelihood,
        "anchored": model.anchored,
    }


def bars_it_lasts(duration: float) -> str:
    """An expected duration as people read it."""
    return f"{duration:.0f}" if np.isfinite(duration) else "for ever"
