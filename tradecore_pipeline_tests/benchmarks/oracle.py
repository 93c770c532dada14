"""The regime model on markets whose best filter and forecast are known: what share of the possible it reaches."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from importlib.metadata import version

import numpy as np
from scipy.stats import binom

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline_tests.benchmarks.oracle_nulls import (
    check_future_does_not_matter,
    direction_in_shuffled,
    leak_is_caught,
    skill_in_shuffled,
)
from tradecore_pipeline_tests.benchmarks.oracle_runs import (
    MONTH_BARS,
    WINDOW_BARS,
    Scores,
    fit,
    score_monthly,
    score_once,
)
from tradecore_pipeline_tests.benchmarks.oracle_worlds import (
    World,
    clustering_worlds,
    draw,
    drifting_world,
    mean_worlds,
    scale_worlds,
    shuffled,
    weekly_world,
)
from tradecore_pipeline_tests.benchmarks.report import print_report, say

SEEDS = (1, 2, 3, 4, 5)
TRAIN_BARS, TEST_BARS = 20_000, 20_000
MONTHS = 8
RESTARTS, NULL_RESTARTS = 8, 2
PROCESSES = 2

R2_BAR, RELABELLED_BAR = 0.95, 0.03
NULL_Z = 3.0
"""Of fifteen draws of a standard normal the largest is above this in 2% of cases."""
DIRECTION_LEVEL = 0.025
"""How often direction may be called significant where there is none."""

_MEAN, _SCALE = mean_worlds(), scale_worlds()
ONCE = (*_SCALE, *clustering_worlds(), weekly_world(), *_MEAN)
MONTHLY = (*_MEAN[:3], *_SCALE[:3], drifting_world())
NULLS = (_MEAN[0], _MEAN[3], _SCALE[1])
LEAKS = _SCALE[:3]


@dataclass(frozen=True)
class Outcome:
    """All seeds of one world; a seed that could not be fitted has no scores."""

    world: World
    monthly: bool
    scores: tuple[Scores, ...]
    failures: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.world.name} monthly" if self.monthly else self.world.name

    def mean(self, name: str) -> float:
        return float(np.mean([getattr(score, name) for score in self.scores])) if self.scores else np.nan


@dataclass(frozen=True)
class Null:
    """One seed of a world whose bars are shuffled, so that there is nothing to find."""

    skill_z: float
    """NaN where no model could be fitted, which claims nothing either."""
    direction_tested: int
    direction_found: int


def outcome(world: World, monthly: bool, seed: int) -> Scores | str:
    """The scores of one seed, or why there are none."""
    try:
        if monthly:
            market = draw(world, WINDOW_BARS + MONTHS * MONTH_BARS, seed=seed)
            return score_monthly(market, restarts=RESTARTS, seed=seed)
        market = draw(world, TRAIN_BARS + TEST_BARS, seed=seed)
        return score_once(market, train_bars=TRAIN_BARS, restarts=RESTARTS, seed=seed)
    except ModelFitError as error:
        return str(error)


def null(world: World, seed: int) -> Null:
    market = draw(world, TRAIN_BARS + TEST_BARS, seed=seed)
    bars = shuffled(market, seed=seed)
    windows = [bars.iloc[start : start + WINDOW_BARS] for start in range(0, len(bars) - WINDOW_BARS + 1, WINDOW_BARS)]
    evidence = [direction_in_shuffled(world, window, restarts=NULL_RESTARTS, seed=seed) for window in windows]
    skill = skill_in_shuffled(market, train_bars=TRAIN_BARS, restarts=NULL_RESTARTS, seed=seed)
    return Null(skill, sum(not found.reason for found in evidence), sum(found.significant for found in evidence))


def planted_leak_is_caught(world: World, seed: int) -> bool:
    """Whether hindsight is told from an honest model; and that model's past does not change when bars are appended."""
    market = draw(world, TRAIN_BARS + TEST_BARS, seed=seed)
    model = fit(world, market.bars.iloc[:TRAIN_BARS], restarts=RESTARTS, seed=seed)
    check_future_does_not_matter(model, market, cut=TRAIN_BARS + 17)
    return leak_is_caught(model, market, rows=slice(TRAIN_BARS, len(market.bars)))


def main() -> None:
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        outcomes = _printed([*((world, False) for world in ONCE), *((world, True) for world in MONTHLY)], pool)
        nulls = list(pool.map(null, *_product(NULLS)))
        caught = list(pool.map(planted_leak_is_caught, *_product(LEAKS)))
    empty = _print_nulls(nulls, caught)
    verdicts = {name: ratio for found in outcomes for name, ratio in _verdicts(found).items()}
    missed = [f"{name}, {ratio:.3f} of its bar" for name, ratio in verdicts.items() if not ratio >= 1]
    say(f"bars held: {len(verdicts) - len(missed)} of {len(verdicts)}; missed: {'; '.join(missed) or 'none'}")
    print_report(
        name="oracle",
        ours=min(found.mean("accuracy_share") for found in outcomes if found.scores),
        peer=1.0,
        peer_name=f"the exact filter (numpy {version('numpy')})",
        unit="share of the best possible state accuracy, lowest world",
        ratio=min(np.nan_to_num(ratio, nan=0.0) for ratio in verdicts.values()),
        equal=empty and not any(found.failures for found in outcomes),
        n=len(SEEDS) * len(outcomes),
        note=f"ratio: lowest of {len(verdicts)} scores over their bars, each a mean of {len(SEEDS)} seeds; "
        f"{len(missed)} missed; none better than the oracle; equal: shuffled bars hold nothing, leaks caught, the past "
        "does not change, every fit made",
    )


def _product(worlds: Sequence[World]) -> tuple[list[World], list[int]]:
    return [world for world in worlds for _ in SEEDS], [seed for _ in worlds for seed in SEEDS]


def _printed(tasks: Sequence[tuple[World, bool]], pool: ProcessPoolExecutor) -> list[Outcome]:
    """Every world's outcome, in a table that grows as they come."""
    names = [field.name for field in fields(Scores)]
    say("world".ljust(27) + " ".join(name.rjust(16) for name in ("accuracy_share", "lowest", *names)))
    running = [[pool.submit(outcome, world, monthly, seed) for seed in SEEDS] for world, monthly in tasks]
    outcomes: list[Outcome] = []
    for (world, monthly), futures in zip(tasks, running, strict=True):
        results = [future.result() for future in futures]
        scores = tuple(result for result in results if isinstance(result, Scores))
        failures = tuple(result for result in results if isinstance(result, str))
        outcomes.append(Outcome(world, monthly, scores, failures))
        _print_row(outcomes[-1], names)
    return outcomes


def _verdicts(found: Outcome) -> dict[str, float]:
    """Each score that has a bar, as a share of the bar: above 1 is good, NaN where nothing could be fitted."""
    world, share = found.world, found.mean("accuracy_share")
    ratios = {f"{found.label} accuracy {share:.3f} of the oracle's": share / world.accuracy_bar}
    if found.monthly:
        changed = found.mean("relabelled")
        return ratios | {f"{found.label} relabelled {changed:.3f}": RELABELLED_BAR / max(changed, 1e-9)}
    if world.easier:
        name = "mean_r2" if world.by == "mean" else "log_variance_r2"
        ratios[f"{found.label} {name} {found.mean(name):.3f}"] = found.mean(name) / R2_BAR
    return ratios


def _print_row(found: Outcome, names: Sequence[str]) -> None:
    lowest = min((score.accuracy_share for score in found.scores), default=np.nan)
    values = (found.mean("accuracy_share"), lowest, *(found.mean(name) for name in names))
    failed = f"  {len(found.failures)} not fitted: {found.failures[0]}" if found.failures else ""
    say(found.label.ljust(27) + " ".join(f"{value:16.4f}" for value in values) + failed)


def _print_nulls(nulls: Sequence[Null], caught: Sequence[bool]) -> bool:
    """Whether all of them came out as they must."""
    skills = [null.skill_z for null in nulls if not np.isnan(null.skill_z)]
    best = max(skills, default=np.nan)
    tested, found = (sum(getattr(null, name) for null in nulls) for name in ("direction_tested", "direction_found"))
    allowed = int(binom.ppf(0.99, tested, DIRECTION_LEVEL))
    say(f"shuffled bars: best of {len(skills)} z against a constant density {best:.2f} (noise: under {NULL_Z:g})")
    say(f"shuffled bars: direction significant in {found} of {tested} windows (the level allows {allowed})")
    say(f"appended future: no bit changed; planted leaks caught: {sum(caught)} of {len(caught)}")
    return not best >= NULL_Z and found <= allowed and all(caught)


if __name__ == "__main__":
    main()
