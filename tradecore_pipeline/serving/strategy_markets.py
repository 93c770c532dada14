"""What a strategy is run on, read from a home's lake: bars, what was published for each, settlements, finer bars."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradecore_pipeline.backtest.bars import BarArrays, Funding
from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, BARS_1M, FUNDING_RATES, REGIMES
from tradecore_pipeline.domain.time import Timeframe, day_range, day_start
from tradecore_pipeline.serving.model_origins import FindOrigin, OriginCheck
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.strategies.ensembles import Opinion, averaged_over_models, averaged_over_timeframes
from tradecore_pipeline.strategies.higher import beside
from tradecore_pipeline.strategies.market import NO_STATE, Floats, Market
from tradecore_pipeline.strategies.schema import StrategyConfig

Texts = npt.NDArray[np.str_]
Names = Callable[[str, Instrument, Timeframe, date], Sequence[str] | None]
"""The direction names of the states of a month's regime model, if it is the one of that run; else None."""
Recall = Callable[[Instrument, Timeframe, pd.DatetimeIndex, int], Sequence[Opinion]]
"""What the models of so many months before each bar's own say of the bars."""


@dataclass(frozen=True, slots=True)
class Home:
    """The doors that a backtest's inputs come through."""

    lake: Lake
    find_origin: FindOrigin
    names: Names
    recall: Recall
    label_threshold: float
    """For rows that were published without a held state."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """One instrument as a strategy and the engine read it."""

    instrument: Instrument
    market: Market
    bars: BarArrays
    runs: Mapping[str, Sequence[str]]
    """MLflow runs behind the rows of its timeframe, by model, in order of time."""
    notes: tuple[str, ...]
    """What a reader must know, a sentence each."""


def gather(
    home: Home, instrument: Instrument, config: StrategyConfig, *, first: date | None, last: date | None
) -> Gathered:
    """Everything from the day ``first`` to ``last`` (by default what is published), each row known at its ts_close.

    Raises:
        MissingInputError: nothing is published there, or bars, settlements or minutes of some days are not stored.
        InvalidDataError: a model is not older than a row it published, or a stored row is impossible.
        UsageError: a model is older than the configuration allows, or the number of states changes.
    """
    timeframe = Timeframe.parse(config.timeframe)
    start, end = published_span(home.lake, instrument, timeframe, first=first, last=last)
    reading = _Reading(home, instrument, config, start, end)
    market = reading.with_others(reading.market(timeframe))
    bars = BarArrays.of(market.bars, funding=reading.funding(), inner=reading.inner(market.bars))
    return Gathered(instrument, market, bars, reading.runs[timeframe], tuple(reading.notes))


def what_is_read(config: StrategyConfig) -> str:
    """A text that is the same for configurations which ``gather`` reads the same for."""
    parts = (config.model_requirements, config.ensemble, config.timeframe_analysis)
    return " ".join((
        config.timeframe, config.backtesting_parameters.intrabar, *(part.model_dump_json() for part in parts),
    ))  # fmt: skip


def published_span(
    lake: Lake, instrument: Instrument, timeframe: Timeframe, *, first: date | None, last: date | None
) -> tuple[datetime, datetime]:
    """The first moment and the one after the last of the days asked for, of which at least one must be published."""
    days = lake.days(REGIMES, instrument, timeframe=timeframe)
    if not days:
        raise MissingInputError(
            f"nothing is published for {instrument} at {timeframe}: run `tradecore run {instrument} --timeframe "
            f"{timeframe}` first"
        )
    begin, stop = first or days[0], last or days[-1]
    if begin > stop:
        raise UsageError(f"--from {begin} is after --to {stop}: published are {days[0]} to {days[-1]}")
    if not any(begin <= day <= stop for day in days):
        raise MissingInputError(
            f"nothing is published for {instrument} at {timeframe} from {begin} to {stop} (only {days[0]} to "
            f"{days[-1]}): run `tradecore predict {instrument} --timeframe {timeframe}` for those days"
        )
    return day_start(begin), day_start(stop) + timedelta(days=1)


class _Reading:
    """Reads one instrument's tables over one span, and notes what a person must know."""

    def __init__(
        self, home: Home, instrument: Instrument, config: StrategyConfig, start: datetime, end: datetime
    ) -> None:
        self._home = home
        self._instrument = instrument
        self._config = config
        self._start = start
        self._end = end
        self.notes: list[str] = []
        self.runs: dict[Timeframe, dict[str, list[str]]] = {}

    def market(self, timeframe: Timeframe) -> Market:
        """The bars of ``timeframe`` with what was published for each."""
        bars = self._bars(timeframe)
        rows = self._home.lake.read(REGIMES, self._instrument, self._start, self._end, timeframe=timeframe)
        rows = rows.loc[rows.index.isin(bars.index)]
        if rows.empty:
            raise MissingInputError(
                f"nothing is published for {self._instrument} at {timeframe}, whose regimes the strategy reads: run "
                f"`tradecore run {self._instrument} --timeframe {timeframe}` first"
            )
        check = OriginCheck(self._instrument, timeframe, self._config.model_requirements)
        check.require(rows, self._home.find_origin)
        if absent := len(bars) - len(rows):
            self.notes.append(
                f"{self._instrument} {timeframe}: no regimes are published for {absent:,} of {len(bars):,} bars: "
                "nothing is opened on those"
            )
        self.runs[timeframe] = {name: list(dict.fromkeys(rows[name])) for name in ("hmm_run_id", "forecast_run_id")}
        held = self._held(rows)
        return _market(
            self._instrument, timeframe, bars, rows, held=held, regime=self._direction(timeframe, rows, held),
            funding_rate=self._newest_rates(bars),
        )  # fmt: skip

    def with_others(self, market: Market) -> Market:
        """The market with the other timeframes that the configuration asks, and with its ensembles."""
        config = self._config
        asked = {*config.timeframe_analysis.weights, *config.ensemble.timeframes} - {market.timeframe.name}
        lengths = [Timeframe.parse(name) for name in sorted(asked)]
        market = self._recalled(market)
        others = {length: beside(self._recalled(self.market(length)), market.bars) for length in lengths}
        weights = {str(name): weight for name, weight in config.ensemble.timeframes.items()}
        return averaged_over_timeframes(replace(market, higher=others), weights)

    def _recalled(self, market: Market) -> Market:
        months = self._config.ensemble.months
        if months == 1:
            return market
        index = pd.DatetimeIndex(market.bars.index)
        older = self._home.recall(self._instrument, market.timeframe, index, months - 1)
        told = sum(int(np.isfinite(opinion.forecast).sum()) for opinion in older)
        self.notes.append(
            f"{self._instrument} {market.timeframe}: averaged over the models of {months} months; of those before the "
            f"bar's own, {told / max(1, (months - 1) * len(market)):.0%} were there"
        )
        return averaged_over_models(market, older)

    def funding(self) -> Funding:
        """A perpetual's settlements, at the moments they were made."""
        if not self._instrument.is_perpetual:
            self.notes.append(f"{self._instrument} is spot: no funding is paid")
            return Funding.none()
        stored = set(self._home.lake.days(FUNDING_RATES, self._instrument))
        absent = [day for day in day_range(self._start.date(), self._last_day) if day not in stored]
        if absent:
            raise MissingInputError(
                f"{self._instrument} has no funding_rates for {len(absent)} days from {absent[0]}, which longs or "
                f"shorts paid: run `tradecore backfill {self._instrument} --from {absent[0]} --to {absent[-1]} "
                "--datasets funding_rates`"
            )
        rows = self._rates(self._start)
        return Funding.of(rows.index, rows["funding_rate"].to_numpy(dtype=np.float64), None)

    def inner(self, bars: pd.DataFrame) -> BarArrays | None:
        """The minutes inside ``bars``, where the configuration follows stops through them."""
        if self._config.backtesting_parameters.intrabar != "minutes":
            return None
        minutes = self._home.lake.read(BARS_1M, self._instrument, self._start, self._end)
        bar = np.asarray(pd.DatetimeIndex(bars.index).searchsorted(minutes.index, side="right")) - 1
        closes = pd.DatetimeIndex(bars["ts_close"])
        minutes = minutes.loc[(bar >= 0) & np.asarray(minutes["ts_close"] <= closes[np.maximum(bar, 0)])]
        if minutes.empty:
            raise MissingInputError(
                f"{self._instrument} has no bars_1m from {self._start:%Y-%m-%d}: backfill them, or set "
                'backtesting_parameters.intrabar to "bars"'
            )
        return BarArrays.of(minutes, funding=Funding.none(), inner=None)

    @property
    def _last_day(self) -> date:
        return (self._end - timedelta(days=1)).date()

    def _bars(self, timeframe: Timeframe) -> pd.DataFrame:
        bars = self._home.lake.read(BARS, self._instrument, self._start, self._end, timeframe=timeframe)
        if bars.empty:
            raise MissingInputError(
                f"{self._instrument} has no {timeframe} bars from {self._start:%Y-%m-%d} to {self._last_day}: run "
                f"`tradecore run {self._instrument} --timeframe {timeframe}` for those days"
            )
        wanted = (bars.index[-1] - bars.index[0]) // pd.Timedelta(timeframe.duration) + 1
        if gaps := int(wanted) - len(bars):
            self.notes.append(
                f"{self._instrument} {timeframe}: {gaps:,} bars between the first and the last are missing"
            )
        return bars

    def _rates(self, start: datetime) -> pd.DataFrame:
        return self._home.lake.read(FUNDING_RATES, self._instrument, start, self._end, columns=["funding_rate"])

    def _newest_rates(self, bars: pd.DataFrame) -> Floats:
        """The newest rate settled before each close: what is settled at a close is known after it."""
        if not self._instrument.is_perpetual:
            return np.full(len(bars), np.nan)
        rows = self._rates(self._start - timedelta(days=1))
        at = np.asarray(rows.index.searchsorted(pd.DatetimeIndex(bars["ts_close"]), side="left")) - 1
        values = np.append(rows["funding_rate"].to_numpy(dtype=np.float64), np.nan)
        return values[at]

    def _held(self, rows: pd.DataFrame) -> npt.NDArray[np.int64]:
        """The published held states; those of rows that were published without, by the label threshold."""
        published = rows["held_index"].to_numpy(dtype=np.float64, na_value=np.nan)
        absent = np.isnan(published)
        if not absent.any():
            return published.astype(np.int64)
        from tradecore_pipeline.models.flicker import held_states  # noqa: PLC0415 (only rows of old need it)

        own = held_states(_probabilities(rows, self._instrument), self._home.label_threshold)
        return np.where(absent, own, published).astype(np.int64)

    def _direction(self, timeframe: Timeframe, rows: pd.DataFrame, held: npt.NDArray[np.int64]) -> Texts:
        """The held states' names by mean return: rows name the most probable state, which may be another one."""
        names = np.full(len(rows), "", dtype="<U16")
        runs = rows["hmm_run_id"].to_numpy()
        for run_id in dict.fromkeys(runs):
            own = runs == run_id
            told = dict(zip(rows["regime_index"][own], rows["regime"][own], strict=True))
            if not set(held[own]) <= set(told):
                month = rows.index[own][0].date().replace(day=1)
                told |= dict(enumerate(self._home.names(str(run_id), self._instrument, timeframe, month) or ()))
            names[own] = [told.get(state, "") for state in held[own]]
        return names


def _market(
    instrument: Instrument,
    timeframe: Timeframe,
    bars: pd.DataFrame,
    rows: pd.DataFrame,
    *,
    held: npt.NDArray[np.int64],
    regime: Texts,
    funding_rate: Floats,
) -> Market:
    """Bars with the rows that are there, and nothing known where there are none."""
    from tradecore_pipeline.models.direction import equal_rows  # noqa: PLC0415 (hmmlearn takes a second)

    place, count = bars.index.get_indexer(rows.index), len(bars)
    probabilities = _probabilities(rows, instrument)

    def spread(values: npt.ArrayLike, nothing: object) -> np.ndarray:
        return _spread(np.asarray(values), place, count, nothing)

    return Market(
        str(instrument),
        timeframe,
        bars,
        spread(probabilities, np.nan),
        held=spread(held, NO_STATE),
        regime=spread(regime, ""),
        direction_significant=spread(rows["direction_significant"].to_numpy(dtype=np.bool_), False),  # noqa: FBT003
        trend=spread(rows["trend"].to_numpy(dtype=np.float64, na_value=0.0).astype(np.int64), 0),
        forecast=spread(rows["forecast_log_return"].to_numpy(dtype=np.float64), np.nan),
        volatility=spread(rows["forecast_volatility"].to_numpy(dtype=np.float64), np.nan),
        funding_rate=funding_rate,
        equal_scales=spread(equal_rows(rows["volatility_regime"].to_numpy()), False),  # noqa: FBT003 (the value of no row)
    )


def _spread(values: np.ndarray, place: np.ndarray, count: int, nothing: object) -> np.ndarray:
    """``values`` at their places among ``count`` rows."""
    whole = np.full((count, *values.shape[1:]), nothing, dtype=values.dtype)
    whole[place] = values
    return whole


def _probabilities(rows: pd.DataFrame, instrument: Instrument) -> Floats:
    states = rows["filtered_probability"].map(len)
    if (other := np.flatnonzero(states.to_numpy() != states.iloc[0])).size:
        moment = rows.index[other[0]]
        raise UsageError(
            f"{instrument}: there are {states.iloc[0]} regimes before {moment:%Y-%m-%d} and {states[moment]} from then "
            "on (hmm_states was changed): backtest the time before and after apart"
        )
    return np.vstack(rows["filtered_probability"].to_list())
