"""How many states: what each number of them is worth on bars it was not fitted on, and how well it holds together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.domain.errors import ModelFitError, NotEnoughHistoryError
from tradecore_pipeline.domain.statistics import variance_of_mean
from tradecore_pipeline.models.alignment import relabelled_share
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.filtered_regimes import FilteredRegimes
from tradecore_pipeline.models.flicker import held_states
from tradecore_pipeline.models.regimes import RegimeModel
from tradecore_pipeline.models.returns import percent_returns
from tradecore_pipeline.models.ticks import next_log_scores, price_tick

LEAST_OCCUPANCY = 0.05
"""The share of the window that the rarest state must hold."""
LEAST_DURATION_BARS = 6.0
"""How long the shortest state must be expected to last: below, it is a shock."""
MOST_RELABELLED = 0.2
"""The share of the bars two overlapping windows have in common that their fits may label differently."""
LEAST_GAIN_NATS = 0.01
"""What a larger number must gain per bar, beyond two standard errors: about 1% in the density of every bar."""
ERRORS = 2.0

Fit = Callable[[pd.DataFrame, pd.DataFrame | None, int], RegimeModel]
"""Bars, columns and a number of states to the model fitted on them."""


@dataclass(frozen=True, slots=True)
class StatesReview:
    """What one number of states did inside a training window."""

    states: int
    failure: str
    """Why a fit was not acceptable (there are no figures then), else empty."""
    log_likelihoods: Floats
    """Nats, of each held-out bar given those before it."""
    next_bar_scores: Floats | None
    """Nats, that the forecast of each held-out bar gave to its return; None where the model has no such density."""
    occupancy: Floats
    """Of the fit on the whole window, in order of scale, as are the durations."""
    durations: Floats
    """Expected bars in a row."""
    relabelled: float
    """Mean share of the bars that two windows have in common which their fits label differently."""
    switches: float
    """Changes of the most probable state per 1,000 held-out bars."""
    held_switches: float
    """Changes of the label shown per 1,000 held-out bars."""

    @property
    def evidence(self) -> Floats:
        """The held-out series that numbers of states are compared by."""
        return self.log_likelihoods if self.next_bar_scores is None else self.next_bar_scores

    @property
    def objection(self) -> str:
        """Why this number is not to be taken, whatever it scores; empty where nothing forbids it."""
        if self.failure:
            return self.failure
        if self.occupancy.min() < LEAST_OCCUPANCY:
            return f"a state holds {self.occupancy.min():.1%} of the window, under {LEAST_OCCUPANCY:.0%}"
        if self.durations.min() < LEAST_DURATION_BARS:
            return f"a state lasts {self.durations.min():.1f} bars, under {LEAST_DURATION_BARS:g}"
        return ""

    @property
    def instability(self) -> str:
        """What speaks against adding states; empty where overlapping windows agree."""
        if self.relabelled <= MOST_RELABELLED:
            return ""
        return f"overlapping windows disagree on {self.relabelled:.0%} of their bars, over {MOST_RELABELLED:.0%}"


def review_states(
    bars: pd.DataFrame,
    columns: pd.DataFrame | None = None,
    *,
    states: Sequence[int],
    folds: int,
    label_threshold: float,
    fit: Fit,
) -> list[StatesReview]:
    """A review per number in ``states``, from the training window ``bars`` alone.

    The window's second half is cut into ``folds`` blocks. Each is held out and scored by a model of the bars before
    it, always half a window of them, so that neighbouring fits overlap as those of neighbouring months do.

    Raises:
        NotEnoughHistoryError: a block would be empty.
    """
    edges = np.linspace(len(bars) // 2, len(bars), folds + 1).astype(np.intp)
    if (np.diff(edges) < 2).any():
        raise NotEnoughHistoryError(f"{len(bars)} bars cannot be cut into {folds} folds: lengthen the training window")
    return [_review(bars, columns, count, edges, label_threshold, fit) for count in states]


def _review(
    bars: pd.DataFrame, columns: pd.DataFrame | None, states: int, edges: NDArray[np.intp], threshold: float, fit: Fit
) -> StatesReview:
    length = int(edges[0])
    try:
        whole = fit(bars, columns, states)
        models = [_fit_rows(bars, columns, states, slice(int(last) - length, int(last)), fit) for last in edges[:-1]]
    except ModelFitError as error:
        nothing = np.zeros(0)
        # What to do about it, which follows the colon, is what a review answers.
        reason = f"no acceptable fit: {str(error).partition(':')[0]}"
        return StatesReview(states, reason, nothing, None, nothing, nothing, *(np.nan,) * 3)
    blocks = [
        _held_out(bars, columns, model, (int(first), int(last)), threshold)
        for model, first, last in zip(models, edges[:-1], edges[1:], strict=True)
    ]
    scores = [block.scores for block in blocks if block.scores is not None]
    held_out = sum(block.bars for block in blocks)
    return StatesReview(
        states=states,
        failure="",
        log_likelihoods=np.concatenate([block.log_likelihoods for block in blocks]),
        next_bar_scores=np.concatenate(scores) if scores else None,
        occupancy=whole.occupancy,
        durations=whole.expected_durations,
        relabelled=_relabelled(bars, columns, models, edges),
        switches=1000 * sum(block.switches for block in blocks) / held_out,
        held_switches=1000 * sum(block.held_switches for block in blocks) / held_out,
    )


@dataclass(frozen=True, slots=True)
class _Block:
    bars: int
    log_likelihoods: Floats
    scores: Floats | None
    switches: int
    held_switches: int


def _held_out(
    bars: pd.DataFrame, columns: pd.DataFrame | None, model: RegimeModel, block: tuple[int, int], threshold: float
) -> _Block:
    """The block's figures by a model of the bars before it, filtered from the window's beginning."""
    first, last = block
    seen = bars.iloc[:last]
    filtered = model.filter(seen, None if columns is None else columns.iloc[:last])
    known = ~np.isnan(percent_returns(seen, model.timeframe)[first:])
    held = held_states(filtered.probabilities, threshold)
    return _Block(
        bars=last - first,
        log_likelihoods=filtered.log_density[first:][known],
        scores=_next_bar_scores(model, seen, filtered, first, known),
        switches=int((np.diff(filtered.index[first - 1 :]) != 0).sum()),
        held_switches=int((np.diff(held[first - 1 :]) != 0).sum()),
    )


def _next_bar_scores(
    model: RegimeModel, bars: pd.DataFrame, filtered: FilteredRegimes, first: int, known: NDArray[np.bool_]
) -> Floats | None:
    try:
        forecast = model.forecast(bars, filtered)
    except ValueError:  # a model of features without a return
        return None
    scores = next_log_scores(forecast, bars, timeframe=model.timeframe, tick=price_tick(bars.iloc[:first]))
    return scores[first - 1 : -1][known]


def _fit_rows(bars: pd.DataFrame, columns: pd.DataFrame | None, states: int, rows: slice, fit: Fit) -> RegimeModel:
    return fit(bars.iloc[rows], None if columns is None else columns.iloc[rows], states)


def _relabelled(
    bars: pd.DataFrame, columns: pd.DataFrame | None, models: Sequence[RegimeModel], edges: NDArray[np.intp]
) -> float:
    """Over neighbouring fits, on the bars that both windows hold; 0 where there is one fit."""
    starts = edges - edges[0]
    shared = [slice(int(start), int(end)) for start, end in zip(starts[1:-1], edges[:-2], strict=True)]
    shares = [
        relabelled_share(one, other, bars.iloc[rows], None if columns is None else columns.iloc[rows])
        for one, other, rows in zip(models, models[1:], shared, strict=False)
    ]
    return float(np.mean(shares)) if shares else 0.0


def mean_score(review: StatesReview, *, lags: int) -> tuple[float, float]:
    """Mean evidence of ``review`` in nats per held-out bar, and its standard error (Newey-West)."""
    return float(review.evidence.mean()), float(np.sqrt(variance_of_mean(review.evidence, lags=lags)))


def gain(review: StatesReview, fewer: StatesReview, *, lags: int) -> tuple[float, float]:
    """Mean gain of ``review`` over ``fewer`` in nats per held-out bar, and its standard error (Newey-West)."""
    gains = review.evidence - fewer.evidence
    return float(gains.mean()), float(np.sqrt(variance_of_mean(gains, lags=lags)))


def recommend(reviews: Sequence[StatesReview], *, lags: int) -> tuple[int | None, str]:
    """The fewest states that nothing forbids and that no larger number clearly beats, and why, in a sentence.

    Scores alone favour too many states wherever the model's densities are not quite the market's (Pohle et al. 2017),
    so each further one has to be stable, and to gain ``LEAST_GAIN_NATS`` and two standard errors.
    """
    chosen: StatesReview | None = None
    reasons: list[str] = []
    for review in sorted(reviews, key=lambda review: review.states):
        if review.objection:
            reasons.append(f"{review.states} is out ({review.objection})")
        elif chosen is None:
            chosen = review
            reasons += [f"{review.states} is not stable ({review.instability})"] if review.instability else []
        else:
            earned, reason = _earned(review, chosen, lags)
            reasons.append(reason)
            chosen = review if earned else chosen
    why = "; ".join(reasons) or "it is the only one reviewed"
    if chosen is None:
        return None, f"no number of states is acceptable in this window: {why}"
    return chosen.states, f"{chosen.states} states: {why}"


def _earned(review: StatesReview, chosen: StatesReview, lags: int) -> tuple[bool, str]:
    """Whether a larger number has earned its place, and the reason."""
    gained, error = gain(review, chosen, lags=lags)
    figure = f"{review.states} gains {gained:+.4f} nats a bar over {chosen.states}"
    if gained <= ERRORS * error:
        return False, f"{figure}, within two standard errors ({ERRORS * error:.4f})"
    if gained <= LEAST_GAIN_NATS:
        return False, f"{figure}, under {LEAST_GAIN_NATS:g}"
    if review.instability:
        return False, f"{figure}, but {review.instability}"
    return True, figure
