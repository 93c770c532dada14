"""The LSTM where returns can be forecast: how near its mean is to the best possible one, reading a fitted HMM."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.har import fit_har
from tradecore_pipeline.models.inputs import PROBABILITIES
from tradecore_pipeline.models.lstm_corrector import corrected
from tradecore_pipeline.models.lstm_members import MEMBERS
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE
from tradecore_pipeline.models.lstm_training import Recipe
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.validation.oracle_scores import assert_not_better
from tradecore_pipeline.validation.scores import oracle_r2
from tradecore_pipeline_tests.benchmarks.oracle_runs import BLOCK_BARS, HOUR, fit
from tradecore_pipeline_tests.benchmarks.oracle_worlds import World, draw, mean_worlds
from tradecore_pipeline_tests.benchmarks.report import print_report, say

SEEDS = (1, 2, 3, 4, 5)
TRAIN_BARS, TEST_BARS = 20_000, 20_000
RESTARTS = 8
PROCESSES = 2
R2_BAR = 0.94
WORLDS = tuple(world for world in mean_worlds() if world.easier)


@dataclass(frozen=True)
class Found:
    """Oracle-R2 of forecast means on the bars after those trained on."""

    hmm: float
    lstm: float


def found(world: World, seed: int) -> Found | str:
    """One draw of a world, or why nothing could be fitted."""
    market, settings = draw(world, TRAIN_BARS + TEST_BARS, seed=seed), Settings()
    bars, later = market.bars.iloc[:TRAIN_BARS], slice(TRAIN_BARS, TRAIN_BARS + TEST_BARS - 1)
    try:
        model = fit(world, bars, restarts=RESTARTS, seed=seed)
    except ModelFitError as error:
        return str(error)
    states = model.filter(market.bars)
    har = fit_har(bars, timeframe=HOUR, seasonal=SeasonalScale.fit(bars))
    best = market.forecast.rows(later).mean
    recipe = Recipe(
        filtered=states.frame,
        features=None,
        regimes=PROBABILITIES,
        shape=DEFAULT_SHAPE,
        epochs=settings.lstm_epochs,
        seed=seed,
        device="cpu",
        history=None,
    )
    corrector, _ = recipe.fit(bars, har, members=range(MEMBERS))
    density = corrected(har.forecast(market.bars), corrector.corrections(recipe.inputs(market.bars, har)))
    own = density.log_density(market.next_returns)[later]
    assert_not_better(own, market.log_density[later], what=f"log density in {world.name}", block_bars=BLOCK_BARS)
    regimes = model.forecast(market.bars, states).rows(later).mean
    return Found(oracle_r2(regimes, best), oracle_r2(density.rows(later).mean, best))


def _printed(world: World, results: Sequence[Found | str]) -> float:
    """The LSTM's mean over seeds; a seed without a fit counts as one where nothing is forecast."""
    scored = [result for result in results if isinstance(result, Found)]
    hmm, own = (sum(values) / len(results) for values in ([one.hmm for one in scored], [one.lstm for one in scored]))
    listed = " ".join(f"{one.lstm:.3f}" for one in scored)
    say(f"{world.name:18}{hmm:8.3f}{own:8.3f}{len(results) - len(scored):12d}   {listed}")
    return own


def main() -> None:
    say(f"{'world':18}{'HMM':>8}{'LSTM':>8}{'not fitted':>12}   LSTM by seed")
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = [[pool.submit(found, world, seed) for seed in SEEDS] for world in WORLDS]
        reached = {
            world.name: _printed(world, [one.result() for one in futures])
            for world, futures in zip(WORLDS, running, strict=True)
        }
    missed = [f"{name} {r2:.3f}" for name, r2 in reached.items() if r2 < R2_BAR]
    print_report(
        name="oracle_lstm",
        ours=min(reached.values()),
        peer=R2_BAR,
        peer_name=f"the bar; 1 is the exact filter's mean (numpy {version('numpy')})",
        unit="oracle-R2 of the mean, lowest world",
        ratio=min(reached.values()) / R2_BAR,
        equal=True,
        n=len(SEEDS) * len(WORLDS),
        note=f"{len(reached) - len(missed)} of {len(reached)} worlds reach {R2_BAR}; missed: "
        f"{', '.join(missed) or 'none'}; each a mean of {len(SEEDS)} seeds; equal: no density better than the oracle's",
    )


if __name__ == "__main__":
    main()
