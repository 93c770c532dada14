"""The filter of one month's regime model after its last bar: it moves on with each bar, and is kept as JSON."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.domain.errors import FilterStateError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Clock, Timeframe
from tradecore_pipeline.serving.next_bars import BAR_COLUMNS, kind_of, require_next_bars
from tradecore_pipeline.storage.atomic import write_bytes

if TYPE_CHECKING:
    from tradecore_pipeline.models.online import OnlineFilter
    from tradecore_pipeline.models.regimes import RegimeModel

STATE_ADVICE = "leave state out to go on from the last published row"


@dataclass
class OnlineRegimes:
    """The filter of one month's model after its last bar; ``open_filter`` makes one.

    Attributes:
        instrument: whose bars.
        month: the first day of the month that the model is in force.
        model: the month's regime model, which knows only bars that ended before the month.
        hmm_run_id: the MLflow run it was read from.
        direction_significant: whether its states' means differed out-of-sample before the month.
        label_threshold: the filtered probability above which another state is held.
        clock: the present: a bar that has not closed is refused.
        filtering: the filtered probabilities after the last bar.
        recent: the last bars, as many as the next one's observation reaches back to.
        held_index: the state held at the last bar.
    """

    instrument: Instrument
    month: date
    model: "RegimeModel"
    hmm_run_id: str
    direction_significant: bool
    label_threshold: float
    clock: Clock
    filtering: "OnlineFilter"
    recent: pd.DataFrame
    held_index: int

    @property
    def timeframe(self) -> Timeframe:
        """The length of the bars."""
        return self.model.timeframe

    @property
    def next_open(self) -> pd.Timestamp:
        """Where the next bar opens (UTC) if none is missing."""
        return self.recent.index[-1] + pd.Timedelta(self.timeframe.duration)

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that ``update`` reads beside ``close``, ``realized_variance`` and ``minutes``."""
        from tradecore_pipeline.models.inputs import FEATURES  # noqa: PLC0415 (with its package, numba)

        return tuple(name for name in self.model.emission.features if name not in FEATURES)

    def update(self, bars: pd.DataFrame, *, after_gap: bool = False) -> pd.DataFrame:
        """The rows of the next closed bars, indexed by ts_open and known at their ts_close.

        Their columns are those of the regimes table that the filter alone knows, with the values that are published:
        ``ts_close``, ``regime_index``, ``volatility_regime``, ``regime``, ``direction_significant``, ``confidence``,
        ``filtered_probability`` and ``held_index``. Trend, forecasts, scores and run ids are not among them.

        Either all of ``bars`` are taken or, where one is refused, none.

        Args:
            bars: any number of bars as ``load_bars`` gives them, from ``next_open`` on, with ``features`` beside them.
            after_gap: whether bars may be missing before or between them, because the exchange published none.

        Raises:
            UsageError: they are no bars, not the next ones, not in order, or not closed.
            InvalidDataError: a value is no number, NaN, infinite or impossible; the message names bar and column.
            MissingInputError: a column is missing, or a bar belongs to another month than the model.
        """
        rows = require_next_bars(
            bars, self.next_open, which=f"{self.instrument} {self.timeframe}", timeframe=self.timeframe,
            features=self.features, month=self.month, now=self.clock(), after_gap=after_gap,
        )  # fmt: skip
        seen = pd.concat([self.recent, rows])
        columns = seen.loc[:, list(self.features)] if self.features else None
        likelihood = self.model.log_likelihood_of(seen, columns)[len(self.recent) :]
        probabilities = np.array([self.filtering.update_from(row) for row in likelihood])
        probabilities = probabilities.reshape(len(rows), self.model.states)
        held = self._held(probabilities)
        self.recent = seen.iloc[-len(self.recent) :]
        self.held_index = int(held[-1]) if len(held) else self.held_index
        return self._published(pd.DatetimeIndex(rows.index), probabilities, held)

    def save(self, path: Path | str) -> None:
        """Keep the state as JSON, from which ``open_filter(..., state=path)`` goes on, bit for bit.

        Raises:
            UsageError: ``path`` is no path of a file.
        """
        document = {
            "instrument": str(self.instrument),
            "timeframe": self.timeframe.name,
            "month": f"{self.month:%Y-%m}",
            "last_ts_open": self.recent.index[-1].isoformat(),
            "held_index": self.held_index,
            "filter": self.filtering.to_json(),
            "recent": {
                "ts_open": [moment.isoformat() for moment in self.recent.index],
                **{name: self._plain(name) for name in (*BAR_COLUMNS, *self.features)},
            },
        }
        whole = document | {"sha256": content_sha256(document)}
        target = path_of(path, "path")
        if target.is_dir():
            raise UsageError(f"{target} is a folder: give the path of a file to save the state to")
        write_bytes(target, f"{json.dumps(whole, allow_nan=False)}\n".encode())

    def restored(self, document: Mapping[str, Any]) -> "OnlineRegimes":
        """This month's filter in the state that ``save`` wrote.

        Raises:
            FilterStateError: it is damaged, or of another model; the message names both.
        """
        self.filtering.restore(str(document.get("filter")))
        try:
            values = {name: document["recent"][name] for name in (*BAR_COLUMNS, *self.features)}
            index = pd.DatetimeIndex(pd.to_datetime(document["recent"]["ts_open"], utc=True), name="ts_open").as_unit(
                "us"
            )
            recent = pd.DataFrame(values, index=index, dtype=np.float64)
            held = int(document["held_index"])
            whole = recent.index[-1] == pd.Timestamp(document["last_ts_open"]) and 0 <= held < self.model.states
        except (LookupError, TypeError, ValueError) as error:
            raise _damaged(self.instrument) from error
        if not whole or len(recent) != reach_bars(self.model):
            raise _damaged(self.instrument)
        return replace(self, recent=recent, held_index=held)

    def _plain(self, name: str) -> list[float | None]:
        values = self.recent[name].tolist()
        return [value if np.isfinite(value) else None for value in values]

    def _held(self, probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
        from tradecore_pipeline.models.flicker import held_states  # noqa: PLC0415 (with its package, numba)

        before = np.eye(self.model.states)[self.held_index]
        return held_states(np.vstack((before, probabilities)), self.label_threshold)[1:]

    def _published(
        self, ts_open: pd.DatetimeIndex, probabilities: NDArray[np.float64], held: NDArray[np.intp]
    ) -> pd.DataFrame:
        from tradecore_pipeline.models.direction import state_names  # noqa: PLC0415 (as above)

        names = state_names(self.model)
        index = probabilities.argmax(axis=1)
        return pd.DataFrame(
            {
                "ts_close": ts_open + pd.Timedelta(self.timeframe.duration),
                "regime_index": index.astype(np.int32),
                "volatility_regime": [names[k][0] for k in index],
                "regime": [names[k][1] for k in index],
                "direction_significant": self.direction_significant,
                "confidence": probabilities.max(axis=1),
                "filtered_probability": list(probabilities),
                "held_index": held.astype(np.int32),
            },
            index=ts_open,
        )


def reach_bars(model: "RegimeModel") -> int:
    """How many bars before a bar its observation needs."""
    return max([1, *model.emission.config().get("carry_bars", [])])


def path_of(given: Path | str, name: str) -> Path:
    """``given`` as a path.

    Raises:
        UsageError: it is neither text nor a path, or no file can have that name.
    """
    if not isinstance(given, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance] (notebooks are not checked)
        raise UsageError(f"{name} is {kind_of(given)}: give a path")
    if "\0" in (text := str(given)) or not text:
        raise UsageError(f"{name} is {kind_of(text)}, which names no file: give a path")
    return Path(given)


def _damaged(instrument: Instrument) -> FilterStateError:
    return FilterStateError(f"the saved filter state of {instrument} is damaged: {STATE_ADVICE}")


def content_sha256(document: Mapping[str, Any]) -> str:
    """Of a saved state without its own digest: probabilities that somebody edited are no filter's."""
    content = {name: value for name, value in document.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
