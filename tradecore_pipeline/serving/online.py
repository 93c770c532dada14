"""Published regimes carried on bar by bar, as `tradecore predict` will publish them: where the filter begins."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import FilterStateError, MissingInputError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, REGIMES
from tradecore_pipeline.domain.time import Clock, Timeframe, day_start, month_of, parse_month, utc_now
from tradecore_pipeline.model_registry import HMM, ModelRegistry, StoredModel
from tradecore_pipeline.serving.next_bars import BAR_COLUMNS, kind_of
from tradecore_pipeline.serving.online_regimes import (
    STATE_ADVICE,
    OnlineRegimes,
    content_sha256,
    path_of,
    reach_bars,
)
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.validation.walk_forward import training_window


def open_filter(
    instrument: str,
    timeframe: str = "1h",
    *,
    home: Path | str | None = None,
    state: Path | str | None = None,
    clock: Clock = utc_now,
) -> OnlineRegimes:
    """The filter where the last published row left it, or where ``OnlineRegimes.save`` did: feed it the next bars.

    A published row's filtered probabilities are the filter's whole state, so nothing is filtered again. Each month has
    a model, and so a filter, of its own: when a month is over, train the next, predict its first day, and open anew.

    Args:
        instrument: e.g. ``binance:BTC/USDT:USDT``.
        timeframe: the length of the bars.
        home: the home to read; by default that of the settings.
        state: a file that ``save`` wrote, to go on from there instead.
        clock: the present, for simulated markets; a bar that has not closed by then is refused.

    Raises:
        UsageError: an argument is of another type, the instrument or timeframe does not exist, or nothing is published
            for it.
        MissingInputError: the month's model is not in the registry.
        FilterStateError: the published rows or the saved state are damaged, or of another model than the month's.
    """
    for name, text in (("instrument", instrument), ("timeframe", timeframe)):
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] (notebooks are not checked)
            raise UsageError(
                f"the {name} is {kind_of(text)}: give it as text, for example binance:BTC/USDT:USDT and 1h"
            )
    if not callable(clock):  # pyright: ignore[reportUnnecessaryComparison] (as above)
        raise UsageError(f"the clock is {kind_of(clock)}: give a function that returns the present in UTC")
    settings = Settings.load() if home is None else Settings.load(home=path_of(home, "home"))
    which, length = Instrument.parse(instrument), Timeframe.parse(timeframe)
    source = _Source(settings, which, length, clock)
    if state is None:
        return source.at_last_row()
    document = _read_state(path_of(state, "state"), which, length)
    return source.opened(parse_month(document["month"])).restored(document)


@dataclass(frozen=True)
class _Source:
    """Where the published rows, bars and models of one instrument and timeframe lie."""

    settings: Settings
    instrument: Instrument
    timeframe: Timeframe
    clock: Clock

    @property
    def lake(self) -> Lake:
        return Lake(Layout(self.settings.home))

    def at_last_row(self) -> OnlineRegimes:
        """The filter after the newest published row."""
        row = self._last_row()
        ts_open = row.index[0]
        month = month_of(ts_open.date())
        stored = self._stored(month)
        opened = self._opened(month, stored)
        run_id = str(row["hmm_run_id"].iloc[0])
        if run_id != opened.hmm_run_id:
            raise FilterStateError(
                f"{self._where(opened.month)}: the published rows come from model run {run_id}, the month's model is "
                f"of run {opened.hmm_run_id}: publish the month again with `tradecore predict`"
            )
        trained_on = int(stored.config.get("window_bars", self.settings.window_bars(self.timeframe)))
        bars = self._bars(month, ts_open, window_bars=trained_on)
        probabilities = np.asarray(row["filtered_probability"].iloc[0], dtype=np.float64)
        text = json.dumps({
            "model_id": opened.filtering.model_id, "bars": len(bars), "probabilities": probabilities.tolist(),
        })  # fmt: skip
        opened.filtering.restore(text)
        held = row["held_index"].iloc[0]
        if pd.isna(held):
            raise FilterStateError(
                f"{self._where(opened.month)}: the last published row says no held_index: publish the month again with "
                "`tradecore predict`"
            )
        recent = bars.iloc[-reach_bars(opened.model) :].reindex(columns=[*BAR_COLUMNS, *opened.features])
        return replace(opened, recent=recent.astype(np.float64), held_index=int(held))

    def opened(self, month: date) -> OnlineRegimes:
        """The month's filter before any bar."""
        return self._opened(month, self._stored(month))

    def _opened(self, month: date, stored: StoredModel) -> OnlineRegimes:
        from tradecore_pipeline.models.online import OnlineFilter, parameters_id  # noqa: PLC0415 (numba)
        from tradecore_pipeline.models.regimes import RegimeModel  # noqa: PLC0415 (as above)

        model = RegimeModel.from_parts(stored.config, stored.arrays)
        return OnlineRegimes(
            instrument=self.instrument,
            month=month,
            model=model,
            hmm_run_id=stored.run_id,
            direction_significant=bool(stored.config["direction"]["significant"]),
            label_threshold=self.settings.label_threshold,
            clock=self.clock,
            filtering=OnlineFilter(model.startprob, model.transmat, parameters_id(model.to_arrays())),
            recent=pd.DataFrame(),
            held_index=int(model.startprob.argmax()),
        )

    def _stored(self, month: date) -> StoredModel:
        root = Layout(self.settings.home).mlflow_artifacts
        registry = ModelRegistry(self.settings.mlflow_uri, artifact_root=root)
        stored = registry.load(HMM, self.instrument, timeframe=self.timeframe, month=month)
        if stored is None:
            raise MissingInputError(
                f"{self._where(month)}: the registry has no regime model: run `tradecore train {self.instrument} "
                f"--timeframe {self.timeframe} --from {month:%Y-%m} --to {month:%Y-%m}`"
            )
        return stored

    def _last_row(self) -> pd.DataFrame:
        for day in reversed(self.lake.days(REGIMES, self.instrument, timeframe=self.timeframe)):
            start = day_start(day)
            rows = self.lake.read(
                REGIMES, self.instrument, start, start + timedelta(days=1), timeframe=self.timeframe,
                columns=["filtered_probability", "held_index", "hmm_run_id"],
            )  # fmt: skip
            if len(rows):
                return rows.iloc[-1:]
        raise UsageError(
            f"no {self.timeframe} regimes of {self.instrument} are published in {self.settings.home}: run "
            "`tradecore predict` first"
        )

    def _bars(self, month: date, last: pd.Timestamp, *, window_bars: int) -> pd.DataFrame:
        """The window that the month is filtered from, up to the bar at ``last``."""
        start, _ = training_window(month, bars=window_bars, timeframe=self.timeframe)
        end = last.to_pydatetime() + self.timeframe.duration
        bars = self.lake.read(
            BARS, self.instrument, start, end, timeframe=self.timeframe, columns=list(BAR_COLUMNS)
        )  # fmt: skip
        if len(bars) == 0 or bars.index[-1] != last:
            raise MissingInputError(
                f"{self._where(month)}: the bar at {last:%Y-%m-%d %H:%M} has a published row but is not stored: "
                "materialize bars of that day again"
            )
        return bars

    def _where(self, month: date) -> str:
        return f"{self.instrument} {self.timeframe} {month:%Y-%m}"


def _read_state(path: Path, instrument: Instrument, timeframe: Timeframe) -> Mapping[str, Any]:
    """A document of ``save`` that is of this instrument and timeframe."""
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        found = f"{document['instrument']} {document['timeframe']}"
        parse_month(str(document["month"]))
        if document["sha256"] != content_sha256(document):
            raise FilterStateError(f"{path} was changed since it was saved: {STATE_ADVICE}")
    except FileNotFoundError:
        raise FilterStateError(f"{path} does not exist: leave state out to go on from the last published row") from None
    except (ValueError, LookupError, TypeError, UsageError, OSError, RecursionError) as error:
        raise FilterStateError(f"{path} is no saved filter state: {STATE_ADVICE}") from error
    if found != f"{instrument} {timeframe}":
        raise FilterStateError(f"{path} is a state of {found}, not of {instrument} {timeframe}: {STATE_ADVICE}")
    return document
