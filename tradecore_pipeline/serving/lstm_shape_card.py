"""The card of a yearly study of the LSTM's shape: what it chose and why, as text, a static page and metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from tradecore_pipeline.serving.card_page import card_page
from tradecore_pipeline.serving.tuning_report import importance_picture
from tradecore_pipeline.tuning.lstm_plan import ShapeResult, errors_to_replace

PAGE = "study.html"
IMPORTANCE = "importance.svg"

_NAMES = {
    "chunk_bars": "bars in a chunk",
    "hidden": "width",
    "layers": "layers",
    "dropout": "dropout",
    "learning_rate": "learning rate",
    "windows": "training windows",
}
_SHAPES_HEAD = ("choice", "default", "best trial", "in force", "importance")
_FOLDS_HEAD = ("fold from", "bars", "t-HAR", "default less t-HAR", "best less t-HAR", "best less default")
_TRIALS_HEAD = ("trial", *_NAMES.values(), "less t-HAR", "folds")

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class ShapeCard:
    """The card of a study."""

    text: str
    """As Markdown."""
    figures: Mapping[str, bytes]
    """As files for MLflow: a page without scripts or requests, and a picture where choices can be ranked."""
    metrics: Mapping[str, float]
    """Its main numbers."""
    series: Mapping[str, Sequence[float]]
    """Numbers by trial, in order."""


def shape_card(title: str, result: ShapeResult) -> ShapeCard:
    """The card of the study called ``title``, say ``binance:BTC/USDT 1h 2023``."""
    heading = f"The LSTM's shape: {title}"
    parts = (f"# {heading}", verdict(result), shapes_table(result), "## On the folds", folds_table(result))
    figures = {PAGE: _page(heading, result).encode()}
    if result.importances:
        figures[IMPORTANCE] = importance_picture(_importances(result)).encode()
    metrics = {
        "gain_over_default": result.gain,
        "replaces_default": float(result.replaces_default),
        "default_gain_over_har": result.trials[0].gain,
        "best_gain_over_har": result.trials[result.best_trial].gain,
        "best_trial": float(result.best_trial),
        "pruned_trials": float(_pruned(result)),
    }
    if np.isfinite(result.gain_error):
        metrics["gain_standard_error"] = result.gain_error
    series = {
        "trial_gain_over_har": [trial.gain for trial in result.trials],
        "trial_folds": [float(trial.folds) for trial in result.trials],
        "fold_default_gain_over_har": [fold.default - fold.har for fold in result.folds],
        "fold_best_gain_over_har": [fold.best - fold.har for fold in result.folds],
    }
    return ShapeCard("\n\n".join(parts), figures, metrics, series)


def verdict(result: ShapeResult) -> str:
    """What came of the study, in words."""
    folds, bars = len(result.folds), sum(fold.bars for fold in result.folds)
    basis = (
        f"{len(result.trials)} shapes ({_pruned(result)} given up early), {bars:,} held-out bars in {folds} folds, "
        f"data from {result.first_ts_open:%Y-%m-%d} to {result.last_ts_close:%Y-%m-%d %H:%M} UTC."
    )
    notes = "".join(f" Note: {note}." for note in result.notes)
    if result.best == result.default:
        return f"The default stays in force: no trial beat it. {basis}{notes}"
    error = f"{result.gain_error:.4f}" if np.isfinite(result.gain_error) else "unknown, too few bars"
    ahead = f"The best of the trials is ahead of the default by {result.gain:+.4f} nats a bar (standard error {error})"
    outcome = "it replaces the default" if result.replaces_default else "the default stays in force"
    rule = f"more than {errors_to_replace(len(result.trials)):.1f} standard errors are asked of the best of so many"
    return f"{ahead}; {rule}, so {outcome}. {basis}{notes}"


def shapes_table(result: ShapeResult) -> str:
    """Default, best and chosen values with each choice's importance, as Markdown."""
    return _markdown(_SHAPES_HEAD, _shapes(result))


def folds_table(result: ShapeResult) -> str:
    """The best shape against the default and t-HAR on each fold, nats a bar, as Markdown."""
    return _markdown(_FOLDS_HEAD, _folds(result))


def _shapes(result: ShapeResult) -> Rows:
    usual, best, chosen = (shape.config() for shape in (result.default, result.best, result.shape))
    shares = {name: f"{share:.0%}" for name, share in result.importances.items()}
    return [
        (words, *(_number(shape[name]) for shape in (usual, best, chosen)), shares.get(name, "-"))
        for name, words in _NAMES.items()
    ]


def _folds(result: ShapeResult) -> Rows:
    return [
        (
            fold.first[:10],
            f"{fold.bars:,}",
            f"{fold.har:.4f}",
            f"{fold.default - fold.har:+.4f}",
            f"{fold.best - fold.har:+.4f}",
            f"{fold.best - fold.default:+.4f}",
        )
        for fold in result.folds
    ]


def _trials(result: ShapeResult) -> Rows:
    return [
        (
            f"{place}{' (default)' if place == 0 else ' (best)' if place == result.best_trial else ''}",
            *(_number(value) for value in trial.shape.config().values()),
            f"{trial.gain:+.4f}",
            f"{trial.folds}" if trial.folds == len(result.folds) else f"{trial.folds}, given up",
        )
        for place, trial in enumerate(result.trials)
    ]


def _pruned(result: ShapeResult) -> int:
    return sum(trial.folds < len(result.folds) for trial in result.trials)


def _importances(result: ShapeResult) -> dict[str, float]:
    return {_NAMES[name]: share for name, share in result.importances.items()}


def _number(value: float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _markdown(head: Sequence[str], rows: Rows) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _page(title: str, result: ShapeResult) -> str:
    ranked = f"<h2>What mattered</h2>{importance_picture(_importances(result))}" if result.importances else ""
    return card_page(
        title,
        f"<p>{escape(verdict(result))}</p>{_html(_SHAPES_HEAD, _shapes(result))}",
        f"<h2>On the folds, mean log score in nats a bar</h2>{_html(_FOLDS_HEAD, _folds(result))}",
        f"{ranked}<h2>Trials</h2>{_html(_TRIALS_HEAD, _trials(result))}",
    )


def _html(head: Sequence[str], rows: Rows) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
