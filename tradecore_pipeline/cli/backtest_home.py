"""Where a command's backtests read from: the configured home, or one made of a person's own file."""

import hashlib
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.layout import Layout

FILE_INSTRUMENT = "binance:BTC/USDT"
"""What a file's bars are called unless the command says it."""


@dataclass(frozen=True, slots=True)
class BacktestHome:
    """A home with published regimes."""

    settings: Settings
    market: str
    """Whose days it holds."""
    tried: Path | None
    """The ledger of what was tried on it; None for that of the timeframe."""
    instruments: tuple[str, ...]
    """Those of its file; empty for what the command, or the configuration, names."""
    notes: tuple[str, ...]
    """What has to be said of every run on it."""


@contextmanager
def stored_home(settings: Settings) -> Generator[BacktestHome]:
    """The configured home."""
    from tradecore_pipeline.defs.backtest_runs import market_of  # noqa: PLC0415 (Dagster takes a second to import)
    from tradecore_pipeline.defs.resources import Adapters  # noqa: PLC0415 (likewise)

    yield BacktestHome(settings, market_of(Adapters(settings)), tried=None, instruments=(), notes=())


@contextmanager
def file_home(settings: Settings, path: Path, *, timeframe: str, instruments: Sequence[str]) -> Generator[BacktestHome]:
    """A home of the file's bars, trained and published month by month; it is gone afterwards.

    What was tried on the file is kept in the configured home.

    Raises:
        UsageError: the file, or the instrument that it is called, cannot be used.
        InvalidDataError: a line of it is wrong.
        NotEnoughHistoryError: it is too short to train on.
    """
    from tradecore_pipeline.defs.file_runs import MINUTE, months_of, publish_months, store_bars  # noqa: PLC0415 (Dagster)
    from tradecore_pipeline.importing.ohlcv import read_ohlcv  # noqa: PLC0415 (pyarrow's CSV reader)

    which, length = _instrument(instruments), Timeframe.parse(timeframe)
    with tempfile.TemporaryDirectory(prefix="tradecore-file-") as folder:
        own = Settings.load(
            home=Path(folder), instruments=(str(which),), timeframes=(length.name,), mlflow_tracking_uri=None
        )
        with Session(own) as session:
            bars, step = read_ohlcv(path, now=session.adapters.clock())
            store_bars(session.adapters, which, length, bars, step)
            with session.progress.stage("months trained on the file", months_of(bars)):
                months = publish_months(session.adapters, which, length, done=session.progress.advance)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        tried = Layout(settings.home).tried_on_file(digest)
        told = [f"bars of {path.name}, {step} long; models of {months[0]:%Y-%m} to {months[-1]:%Y-%m} trained on them"]
        if step != MINUTE:
            told.append("the variance of the bars' minutes is what their ranges say of it (Garman and Klass)")
        # Files are taken for the real market, as those are that `tradecore import` adopts.
        yield BacktestHome(own, REAL_MARKET, tried=tried, instruments=(str(which),), notes=tuple(told))


def _instrument(names: Sequence[str]) -> Instrument:
    if len(names) > 1:
        raise UsageError("--data holds one instrument's bars: give one --instrument, or none")
    which = Instrument.parse(names[0] if names else FILE_INSTRUMENT)
    if which.is_perpetual:
        raise UsageError(
            f"--data holds no settlements, which {which} pays: call it by a spot instrument such as {FILE_INSTRUMENT}"
        )
    return which
