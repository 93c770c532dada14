"""Published rows with their future removed and scrambled at a thousand moments; and leaks that must be caught."""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.registry import FEATURE_NAMES, compute_features
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS, tuned_features
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.har import fit_har
from tradecore_pipeline.models.inputs import RETURN_VARIANCE
from tradecore_pipeline.models.kernels import expectation
from tradecore_pipeline.models.lstm import forecast_inputs
from tradecore_pipeline.models.lstm_training import fit_lstm
from tradecore_pipeline.models.regimes import fit_regimes
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.validation.leaks import Rowwise, assert_causal, assert_future_does_not_matter
from tradecore_pipeline_tests.benchmarks.report import print_report, say
from tradecore_pipeline_tests.models.markets import simulate

HOUR = Timeframe("1h")
CUTS, ROWS, WARM = 1000, 1200, 700
SEED = 7
TOLERANCE = {"LSTM density": 1e-6}
"""torch sums single-precision products in an order that depends on how many rows there are; all else is exact."""


def published(bars: pd.DataFrame) -> tuple[dict[str, Rowwise], dict[str, Rowwise]]:
    """What is published, as functions of bars, fitted on ``bars``; and functions that look ahead."""
    har = fit_har(bars, timeframe=HOUR, seasonal=SeasonalScale.fit(bars))
    model = fit_regimes(
        bars,
        timeframe=HOUR,
        states=3,
        restarts=4,
        emission=RETURN_VARIANCE,
        features=(),
        carry_bars=(1, 3),
        seed=SEED,
    )

    def inputs(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        return model.filter(rows).frame, tuned_features(rows, DEFAULT_PARAMETERS, timeframe=HOUR)

    filtered, tuned = inputs(bars)
    lstm = fit_lstm(bars, har=har, filtered=filtered, features=tuned, hidden=8, epochs=3, seed=SEED, device="cpu")

    def network(rows: pd.DataFrame) -> Floats:
        regimes, features = inputs(rows)
        return _moments(lstm.forecast(rows, forecast_inputs(rows, har, filtered=regimes, features=features)).pooled)

    def regimes(rows: pd.DataFrame) -> Floats:
        found = model.filter(rows)
        return np.column_stack((found.probabilities, found.log_density, _moments(model.forecast(rows, found))))

    def smoothed(rows: pd.DataFrame) -> Floats:
        return expectation(model.startprob, model.transmat, model.log_likelihood_of(rows))[1]

    functions: dict[str, Rowwise] = {
        "filtered regimes": regimes,
        "t-HAR density": lambda rows: _moments(har.forecast(rows)),
        "LSTM density": network,
        "features": lambda rows: compute_features(rows, None, None, timeframe=HOUR)[list(FEATURE_NAMES)],
        "tuned features": lambda rows: tuned_features(rows, DEFAULT_PARAMETERS, timeframe=HOUR),
    }
    leaks: dict[str, Rowwise] = {
        "smoothed regimes": smoothed,
        "next close": lambda rows: rows["close"].shift(-1),
        "centred mean": lambda rows: rows["close"].rolling(5, center=True).mean(),
        "standardised by the whole window": lambda rows: (rows["close"] - rows["close"].mean()) / rows["close"].std(),
        "season of the whole window": lambda rows: SeasonalScale.fit(rows).at(pd.DatetimeIndex(rows.index)),
        "scale of the whole window": lambda rows: rows["volume"] / rows["volume"].max(),
    }
    return functions, leaks


def _moments(density: StudentMixture) -> Floats:
    return np.column_stack((density.mean, density.volatility))


def changed_cuts(function: Rowwise, bars: pd.DataFrame, cuts: Sequence[int], tolerance: float) -> set[int]:
    """The cuts at which a row before them changed: halved until each is known."""
    try:
        assert_causal(function, bars, cuts, tolerance=tolerance)
        assert_future_does_not_matter(function, bars, cuts, seed=SEED, tolerance=tolerance)
    except AssertionError:
        if len(cuts) == 1:
            return set(cuts)
        half = len(cuts) // 2
        return changed_cuts(function, bars, cuts[:half], tolerance) | changed_cuts(
            function, bars, cuts[half:], tolerance
        )
    return set()


def main() -> None:
    bars = simulate(ROWS, scales=(0.2, 0.6, 1.8), stay=0.985, df=5.0, seed=11, frequency="1h", minutes=60).bars
    functions, leaks = published(bars)
    cuts = np.random.default_rng(SEED).integers(WARM, ROWS, CUTS).tolist()
    changed: set[int] = set()
    for name, function in functions.items():
        found = changed_cuts(function, bars, cuts, TOLERANCE.get(name, 0.0))
        say(f"{name}: {len(found)} of {CUTS} cuts changed a row")
        changed |= found
    missed = [name for name, leak in leaks.items() if not changed_cuts(leak, bars, (WARM, ROWS - 100), 0.0)]
    survived = sum(cut not in changed for cut in cuts)
    print_report(
        name="lookahead",
        ours=survived,
        peer=CUTS,
        peer_name=f"cuts made (numpy {version('numpy')}, torch {version('torch')})",
        unit="cuts survived",
        ratio=survived / CUTS,
        equal=survived == CUTS and not missed,
        n=2 * CUTS * len(functions),
        note=f"each cut: future removed, then scrambled, for {', '.join(functions)}; exact, the LSTM to 1e-6; planted "
        f"leaks caught: {len(leaks) - len(missed)} of {len(leaks)}{': missed ' + ', '.join(missed) if missed else ''}",
    )


if __name__ == "__main__":
    main()
