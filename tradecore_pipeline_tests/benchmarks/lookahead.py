"""A whole configuration with its future removed and scrambled at a thousand moments; and leaks that must be caught."""

from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.metadata import version

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.kernels import expectation
from tradecore_pipeline.models.regimes import RegimeModel
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.serving.lookahead import Experiment, claims, plan_for
from tradecore_pipeline.serving.lookahead_markets import simulated_sources
from tradecore_pipeline.serving.lookahead_models import fit_month
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.validation.lookahead import Claim, Sources, draw_cuts, examine
from tradecore_pipeline_tests.benchmarks.report import print_report, say

HOUR = Timeframe("1h")
INSTRUMENT = Instrument("binance", "BTC/USDT:USDT")
CUTS, LEAK_CUTS, SEED = 1000, 50, 7
SPAN = timedelta(days=110)
WINDOW_BARS = 1200

Leak = Callable[[pd.DataFrame], object]


def leaks(model: RegimeModel) -> dict[str, Leak]:
    """Functions of bars that look ahead."""

    def smoothed(rows: pd.DataFrame) -> object:
        return expectation(model.startprob, model.transmat, model.log_likelihood_of(rows))[1][:, 0]

    def viterbi(rows: pd.DataFrame) -> object:
        return best_path(np.log(model.startprob), np.log(model.transmat), model.log_likelihood_of(rows))

    def unclosed(rows: pd.DataFrame) -> object:
        four = rows["close"].resample("4h").last()
        return four.reindex(pd.DatetimeIndex(rows.index).floor("4h")).to_numpy()

    return {
        "next close": lambda rows: rows["close"].shift(-1),
        "filled backward": lambda rows: rows["close"].rolling(24).mean().bfill(),
        "centred mean": lambda rows: rows["close"].rolling(5, center=True).mean(),
        "standardised by the whole sample": lambda rows: (rows["close"] - rows["close"].mean()) / rows["close"].std(),
        "clipped by the whole sample": lambda rows: rows["volume"].clip(upper=rows["volume"].quantile(0.99)),
        "season of the whole sample": lambda rows: SeasonalScale.fit(rows).at(pd.DatetimeIndex(rows.index)),
        "Viterbi path": viterbi,
        "smoothed posterior": smoothed,
        "unclosed 4h bar": unclosed,
    }


def best_path(start: np.ndarray, transitions: np.ndarray, likelihood: np.ndarray) -> np.ndarray:
    """The most probable path of states of the whole sample."""
    best, back = start + likelihood[0], np.zeros(likelihood.shape, dtype=np.intp)
    for t in range(1, len(likelihood)):
        reached = best[:, None] + transitions
        back[t] = reached.argmax(axis=0)
        best = reached.max(axis=0) + likelihood[t]
    path = np.full(len(likelihood), best.argmax())
    for t in range(len(likelihood) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path.astype(np.float64)


def missed_leaks(model: RegimeModel, sources: Sources) -> list[str]:
    """The leaks that went unnoticed."""
    bars = sources[BARS.name].rows
    closes = pd.DatetimeIndex(bars.index) + HOUR.duration
    cuts = draw_cuts(closes, count=LEAK_CUTS, early_rows=48, seed=SEED)
    missed: list[str] = []
    for name, leak in leaks(model).items():
        claim = Claim(
            name,
            lambda frames, leak=leak: pd.DataFrame({"leak": leak(frames[BARS.name])}, index=frames[BARS.name].index),
            HOUR.duration,
            cuts,
            0.0,
        )
        found = examine(claim, {BARS.name: sources[BARS.name]}, seed=SEED, done=lambda _: None)
        say(f"planted, {name}: {len(found.caught)} of {len(cuts)} cuts caught it")
        missed += [] if found.findings else [name]
    return missed


def main() -> None:
    settings = Settings.load(training_window_bars={"1h": WINDOW_BARS})
    sources = simulated_sources(INSTRUMENT, HOUR, span=SPAN, seed=SEED)
    experiment = Experiment(plan_for(settings, HOUR, sources, own=()), CUTS, SEED)
    changed: set[datetime] = set()
    columns = experiments = 0
    for claim in claims(experiment, sources):
        result = examine(claim, sources, seed=SEED, done=lambda _: None)
        say(f"{result.stage}: {len(result.caught)} of {len(result.cuts)} cuts changed a row")
        changed |= set(result.caught)
        columns, experiments = columns + len(result.columns), experiments + 2 * len(result.cuts)
    model = fit_month({name: source.rows for name, source in sources.items()}, experiment.plan).regimes
    missed = missed_leaks(model, sources)
    planted = len(leaks(model))
    survived = max(CUTS - len(changed), 0)
    print_report(
        name="lookahead",
        ours=survived,
        peer=CUTS,
        peer_name=f"cuts made per stage (numpy {version('numpy')}, torch {version('torch')})",
        unit="cuts survived",
        ratio=survived / CUTS,
        equal=not changed and not missed,
        n=experiments,
        note=f"each cut: future removed, then scrambled; {columns} columns of every stage, all compared bit for bit; "
        f"planted leaks caught: {planted - len(missed)} of {planted}"
        + (f": missed {', '.join(missed)}" if missed else ""),
    )


if __name__ == "__main__":
    main()
