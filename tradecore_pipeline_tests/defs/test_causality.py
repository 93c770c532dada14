"""What is published for a moment does not change with anything that happened after it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.defs import regimes
from tradecore_pipeline.defs.regimes import compute_regimes
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.tables import BARS, BARS_1M, REGIMES, Table
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.models.filtered_regimes import FilteredRegimes
from tradecore_pipeline.models.regimes import RegimeModel
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline_tests.chain import (
    BTC,
    CUT,
    FEBRUARY,
    HOUR,
    NOW,
    ONE_DAY,
    TODAY,
    Chain,
    copy_home,
    lake_files,
)

CUTS = 40
Future = Callable[[pd.DataFrame], pd.DataFrame]


class TamperedLake(Lake):
    """A lake whose bars from one moment on are what ``future`` makes of them."""

    def __init__(self, lake: Lake, moment: datetime, future: Future) -> None:
        super().__init__(lake.layout)
        self._moment = moment
        self._future = future

    def read(self, table: Table, *arguments: Any, **options: Any) -> pd.DataFrame:
        rows = super().read(table, *arguments, **options)
        if table is not BARS:
            return rows
        known = rows.index + HOUR.duration <= self._moment
        return pd.concat([rows[known], self._future(rows[~known])])


class Reads:
    """A registry that reads each model once: forty cuts use the same three."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry
        self._stored: dict[tuple[object, ...], Any] = {}

    def load(self, kind: str, instrument: object, **which: object) -> Any:
        key = (kind, instrument, *which.values())
        if key not in self._stored:
            self._stored[key] = self._registry.load(kind, instrument, **which)
        return self._stored[key]


@dataclass
class Past:
    """The chain, looked at from moments in its past."""

    chain: Chain

    @cached_property
    def reads(self) -> Reads:
        return Reads(self.chain.adapters.registry)

    @cached_property
    def published(self) -> pd.DataFrame:
        return self.chain.adapters.lake.read(REGIMES, BTC, day_start(FEBRUARY), NOW, timeframe=HOUR)

    def rows(self, moment: datetime, future: Future) -> pd.DataFrame:
        """The month's rows known by ``moment``, computed from bars that ``future`` tampered with from then on."""
        adapters = self.chain.adapters
        adapters.__dict__["registry"] = self.reads
        adapters.__dict__["lake"] = TamperedLake(adapters.lake, moment, future)
        last = min(TODAY, moment.date() + 2 * ONE_DAY)
        last = last if last.month == moment.month else moment.date()
        rows = compute_regimes(adapters, BTC, moment.date().replace(day=1), last, timeframe=HOUR)
        return rows[rows["ts_close"] <= moment]

    def differences(self, moments: list[datetime], future: Future) -> list[datetime]:
        """Those of ``moments`` by which something else was published than what ``rows`` says."""
        return [moment for moment in moments if not self.agrees(moment, future)]

    def agrees(self, moment: datetime, future: Future) -> bool:
        begin = pd.Timestamp(moment.date().replace(day=1), tz="UTC")
        expected = self.published.loc[begin:]
        expected = expected[expected["ts_close"] <= moment]
        found = self.rows(moment, future)
        assert len(expected) == len(found)
        probabilities = [np.array(frame["filtered_probability"].to_list()) for frame in (expected, found)]
        plain = [frame.drop(columns="filtered_probability") for frame in (expected, found[expected.columns])]
        return bool(plain[0].equals(plain[1])) and np.array_equal(*probabilities)


def removed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[:0]


def scrambled(rows: pd.DataFrame) -> pd.DataFrame:
    random = np.random.default_rng(5)
    factors = np.exp(random.normal(0, 0.2, len(rows)))
    prices = {name: rows[name] * factors for name in ("open", "high", "low", "close")}
    return rows.assign(**prices, realized_variance=rows["realized_variance"].to_numpy() * random.uniform(1, 90))


@pytest.fixture(scope="module")
def past(chain: Chain) -> Past:
    return Past(chain)


@pytest.fixture(scope="module")
def moments() -> list[datetime]:
    """Closes of bars in both months, the first and the newest among them."""
    hours = int((NOW - day_start(FEBRUARY)).total_seconds() // 3600)
    chosen = np.random.default_rng(3).choice(np.arange(2, hours), CUTS - 2, replace=False)
    return [day_start(FEBRUARY) + int(h) * HOUR.duration for h in (1, *sorted(chosen), hours)]


@pytest.mark.parametrize("future", [removed, scrambled])
def test_published_rows_do_not_change_when_the_bars_after_them_do(
    past: Past, moments: list[datetime], future: Future
) -> None:
    assert len(set(moments)) == CUTS
    assert past.differences(moments, future) == []


def test_smoothed_probabilities_in_place_of_filtered_ones_are_caught(
    past: Past, moments: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted leak: what hmmlearn's predict_proba would give, published and recomputed alike."""
    monkeypatch.setattr(regimes, "load_regime_model", lambda month: _smoothing(*LOAD(month)))
    leaky = Past(past.chain)
    newest = datetime(2025, 2, 28, 23, 0, tzinfo=UTC)
    leaky.__dict__["published"] = leaky.rows(newest, lambda rows: rows)
    inside = [moment for moment in moments if moment < newest - 5 * ONE_DAY]
    assert len(inside) > 10
    assert leaky.differences(inside, removed) == inside


LOAD = regimes.load_regime_model


def _smoothing(model: RegimeModel, stored: Any) -> tuple[Any, Any]:
    class Smoothing:
        def __getattr__(self, name: str) -> Any:
            return getattr(model, name)

        def filter(self, bars: pd.DataFrame, columns: pd.DataFrame | None = None) -> FilteredRegimes:
            honest = model.filter(bars, columns)
            smoothed = honest.probabilities.copy()
            for t in range(len(smoothed) - 2, -1, -1):
                predicted = honest.probabilities[t] @ model.transmat
                smoothed[t] = honest.probabilities[t] * (model.transmat @ (smoothed[t + 1] / predicted))
            return FilteredRegimes(honest.ts_open, smoothed, honest.log_density, honest.observed)

    return Smoothing(), stored


@pytest.fixture
def cut_home(chain: Chain, tmp_path: Path) -> Adapters:
    return Adapters(copy_home(chain, tmp_path / "home"), clock=lambda: day_start(CUT))


def _days_after_cut(adapters: Adapters) -> Iterator[Path]:
    for day in day_range(CUT, TODAY):
        yield from adapters.layout.lake.rglob(f"date={day}.parquet")
        yield from adapters.layout.ledger.rglob(f"date={day}.json")


def _republish(adapters: Adapters) -> dict[str, bytes]:
    shutil.rmtree(adapters.layout.series(REGIMES.name, BTC, timeframe=HOUR))
    last = CUT - ONE_DAY
    frame = compute_regimes(adapters, BTC, FEBRUARY, last, timeframe=HOUR)
    for day in day_range(FEBRUARY, last):
        rows = frame.loc[day_start(day) : day_start(day + ONE_DAY) - HOUR.duration]
        adapters.lake.publish(REGIMES, BTC, day, rows, timeframe=HOUR)
    return lake_files(adapters.settings.home, REGIMES.name)


def _published_until_cut(chain: Chain) -> dict[str, bytes]:
    files = lake_files(chain.settings.home, REGIMES.name)
    return {name: content for name, content in files.items() if name[-18:-8] < CUT.isoformat()}


def test_regimes_are_the_same_bytes_when_all_later_data_is_deleted(chain: Chain, cut_home: Adapters) -> None:
    later = list(_days_after_cut(cut_home))
    assert len(later) > 100
    for path in later:
        path.unlink()
    expected = _published_until_cut(chain)
    assert len(expected) == (CUT - FEBRUARY).days
    assert _republish(cut_home) == expected


def test_regimes_are_the_same_bytes_when_all_later_data_is_scrambled(chain: Chain, cut_home: Adapters) -> None:
    for day in day_range(CUT, TODAY):
        rows = scrambled(cut_home.lake.read(BARS, BTC, day_start(day), day_start(day + ONE_DAY), timeframe=HOUR))
        prices = rows[["open", "high", "low", "close"]].round(2)
        cut_home.lake.publish(BARS, BTC, day, rows.assign(**prices), timeframe=HOUR)
    assert _republish(cut_home) == _published_until_cut(chain)


def test_the_whole_chain_says_the_same_on_an_exchange_that_has_not_seen_the_future(
    chain: Chain, past_chain: Chain
) -> None:
    """Models included: ingested, tuned, fitted and published as if today were the middle of February."""
    for table in (BARS_1M.name, BARS.name, "features", "funding_rates", "open_interest"):
        before = lake_files(past_chain.settings.home, table)
        after = lake_files(chain.settings.home, table)
        assert before == {name: after[name] for name in before}, table
    span = day_start(FEBRUARY), day_start(CUT)
    ours, theirs = (
        c.adapters.lake.read(REGIMES, BTC, *span, timeframe=HOUR).drop(columns=["hmm_run_id", "forecast_run_id"])
        for c in (chain, past_chain)
    )
    assert len(ours) == 24 * (CUT - FEBRUARY).days
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
