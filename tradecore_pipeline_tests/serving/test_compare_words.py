import numpy as np
import pandas as pd

from tradecore_pipeline.serving.compare import Evaluated
from tradecore_pipeline.serving.compare_words import caveats, conclusions, measures

ROWS = 2_000


def told(gains: dict[str, float], variance: float) -> tuple[list[str], list[str], list[str]]:
    """Conclusions and caveats on planted gains in log score, and the keys of what was measured."""
    random = np.random.default_rng(1)
    index = pd.date_range("2022-01-01", periods=ROWS, freq="h", tz="UTC", name="ts_open")
    base = random.normal(size=ROWS)
    noise = {name: random.normal(scale=0.1, size=ROWS) if gain else 0.0 for name, gain in gains.items()}
    columns = {"base": base} | {name: base + gain + noise[name] for name, gain in gains.items()}
    scores = pd.DataFrame(columns, index=index)
    variances = pd.DataFrame(
        {name: np.exp(random.normal(size=ROWS)) * (1.0 if name == "base" else variance) for name in columns},
        index=index,
    )
    realized = pd.DataFrame({"bar": np.ones(ROWS), "day": np.ones(ROWS)}, index=index)
    found = Evaluated(scores, variances, variances * np.nan, realized, (), fitted=0, recalled=0)
    every = measures(found, baseline="base", lags=48, level=0.1, repetitions=300, seed=1)
    compared = every[0].comparison
    return conclusions(compared), caveats(compared, 3), [measure.key for measure in every]


def test_a_clear_winner_is_named_as_one() -> None:
    said, _, _ = told({"better": 0.05, "worse": -0.05}, variance=1.0)
    assert said[0].startswith("base is beaten: better, +0.04")
    assert said[1] == "With 90% confidence better is the best of them."
    assert said[2:] == [
        "Better than base by more than two HAC standard errors: better.",
        "Worse than base by more than two HAC standard errors: worse.",
    ]


def test_luck_is_called_luck_and_a_double_a_double() -> None:
    said, caution, _ = told({"close": 1e-4, "double": 0.0}, variance=1.0)
    assert said[0].startswith(("Nothing is shown to beat base", "Nothing did better than base"))
    assert "all remain" in said[1]
    assert said[-1] == "The same forecasts as base, bar for bar: double."
    assert caution[0].startswith("2 differences are looked at together")
    assert "over 3 months" in caution[1]


def test_a_measure_that_nobody_forecasts_is_left_out() -> None:
    _, _, keys = told({"close": 1e-4}, variance=2.0)
    assert keys == ["log_score", "next_bar_qlike"]
