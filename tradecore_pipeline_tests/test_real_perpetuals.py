"""Real months of perpetuals: monthly futures files through the simulator and the command line, against the files.

The recording holds bars alone, one month of each instrument: no funding, no open interest, and too little for a model.
"""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, BARS_1M, FUNDING_RATES, OPEN_INTEREST, REGIMES, features_table
from tradecore_pipeline.domain.time import Timeframe, add_months, day_start, month_days
from tradecore_pipeline.features.registry import FEATURE_NAMES
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.simulator.server import build_recorded, running
from tradecore_pipeline_tests.chain import Outcome, small_settings, span, tradecore
from tradecore_pipeline_tests.recorded import ARCHIVE, NO_FILES, read_klines

KLINES = ARCHIVE / "data" / "futures" / "um" / "monthly" / "klines"
ALGO, AVAX, FIL, NEAR = (Instrument.parse(f"binance:{base}/USDT:USDT") for base in ("ALGO", "AVAX", "FIL", "NEAR"))
MONTHS = {ALGO: date(2026, 2, 1), AVAX: date(2026, 2, 1), FIL: date(2023, 4, 1), NEAR: date(2026, 4, 1)}
MINUTES = {ALGO: 40_320, AVAX: 40_320, FIL: 43_200, NEAR: 43_200}
HOUR = Timeframe("1h")
FEATURES = features_table(FEATURE_NAMES)
PRICES = ["open", "high", "low", "close", "trades"]
SUMS = ["volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not KLINES.is_dir(), reason=NO_FILES),
]
each_instrument = pytest.mark.parametrize("instrument", MONTHS, ids=str)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A home after each instrument's month was backfilled: all datasets, as the README shows it."""
    with running(build_recorded(ARCHIVE, now=None)) as url:
        home = tmp_path_factory.mktemp("perpetuals") / "home"
        chosen = small_settings(home, url, instruments=tuple(map(str, MONTHS)))
        for instrument, month in MONTHS.items():
            days = month_days(month)
            outcome = tradecore(chosen, "backfill", str(instrument), *span(days[0], days[-1]))
            assert outcome.code == 0, outcome.err
        yield chosen


@pytest.fixture(scope="module")
def refused_may(settings: Settings) -> Outcome:
    """What training the month after FIL's said; bars and features of its window are computed before that."""
    return train(settings, add_months(MONTHS[FIL], 1))


def train(settings: Settings, month: date) -> Outcome:
    name = f"{month:%Y-%m}"
    return tradecore(settings, "train", str(FIL), "--timeframe", "1h", "--from", name, "--to", name)


def files_of(instrument: Instrument) -> pd.DataFrame:
    return read_klines(KLINES / f"{instrument.base}{instrument.quote}" / "1m")


def hours_of(minutes: pd.DataFrame) -> pd.DataFrame:
    """Hours by pandas' own resampling, with the squared returns of their minutes."""
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", **dict.fromkeys(["trades", *SUMS], "sum")}
    hours = minutes.resample("1h").agg(rules)
    squared = np.log(minutes["close"]).diff().fillna(0.0) ** 2
    return hours.assign(realized_variance=squared.resample("1h").sum())


@each_instrument
def test_every_stored_minute_equals_the_month_file(settings: Settings, instrument: Instrument) -> None:
    start = day_start(MONTHS[instrument])
    minutes = Adapters(settings).lake.read(BARS_1M, instrument, start, day_start(add_months(start.date(), 1)))
    files = files_of(instrument)
    assert len(minutes) == MINUTES[instrument]
    assert set(files.columns) == set(minutes.columns) - {"ts_close"}
    assert np.array_equal(minutes.index.as_unit("ms"), files.index.as_unit("ms"))
    assert np.array_equal(minutes[files.columns].to_numpy(dtype=np.float64), files.to_numpy())


@each_instrument
def test_every_day_came_from_the_monthly_file(settings: Settings, instrument: Instrument) -> None:
    entries = Adapters(settings).ledger.entries(BARS_1M.name, instrument)
    month = MONTHS[instrument]
    name = f"{instrument.base}{instrument.quote}-1m-{month:%Y-%m}.zip"
    assert [entry.day for entry in entries] == list(month_days(month))
    assert {entry.source for entry in entries} == {"archive-monthly"}
    assert {file.url.rpartition("/")[2] for entry in entries for file in entry.files} == {name}
    assert all(entry.complete and entry.rows == 1440 and not entry.gaps for entry in entries)


@each_instrument
@pytest.mark.parametrize("dataset", [FUNDING_RATES.name, OPEN_INTEREST.name])
def test_what_was_not_recorded_is_said_to_be_not_published(
    settings: Settings, instrument: Instrument, dataset: str
) -> None:
    entries = Adapters(settings).ledger.entries(dataset, instrument)
    assert [entry.day for entry in entries] == list(month_days(MONTHS[instrument]))
    assert all(entry.reason.startswith("not published: ") for entry in entries)
    assert all(entry.complete and entry.rows == 0 and entry.source == "none" for entry in entries)


def test_coverage_counts_every_minute_and_misses_none(settings: Settings) -> None:
    outcome = tradecore(settings, "coverage", "--json")
    shown = {(row.pop("instrument"), row.pop("dataset")): row for row in outcome.json["coverage"]}
    assert len(shown) == 3 * len(MONTHS)
    for instrument, month in MONTHS.items():
        days = month_days(month)
        states = (
            "done",
            "gap",
            "restated",
            "before_listing",
            "incomplete",
            "failed",
            "missing",
            "damaged",
            "not_published",
        )
        nothing = {"first": None, "last": None, "days": len(days), "rows": 0, "missing_minutes": 0, "gaps": 0}
        nothing |= {f"{state}_days": 0 for state in states} | {"not_published_days": len(days)}
        bars = {"first": str(days[0]), "last": str(days[-1]), "rows": MINUTES[instrument]}
        bars |= {"done_days": len(days), "not_published_days": 0}
        assert shown[str(instrument), BARS_1M.name] == nothing | bars
        assert shown[str(instrument), FUNDING_RATES.name] == nothing
        assert shown[str(instrument), OPEN_INTEREST.name] == nothing


@pytest.mark.usefixtures("refused_may")
def test_hours_aggregated_from_minutes_equal_the_files_hours(settings: Settings) -> None:
    files = hours_of(files_of(FIL))
    hours = Adapters(settings).lake.read(
        BARS, FIL, day_start(MONTHS[FIL]), day_start(add_months(MONTHS[FIL], 1)), timeframe=HOUR
    )
    assert len(hours) == 720
    assert np.array_equal(hours.index.as_unit("ms"), files.index.as_unit("ms"))
    assert np.array_equal(hours[PRICES].to_numpy(dtype=np.float64), files[PRICES].to_numpy())
    for name in (*SUMS, "realized_variance"):
        np.testing.assert_allclose(hours[name], files[name], rtol=1e-9)
    assert (hours["minutes"] == 60).all()


@pytest.mark.usefixtures("refused_may")
def test_features_exist_for_the_days_with_a_warm_up_and_follow_from_the_files(settings: Settings) -> None:
    adapters, end = Adapters(settings), day_start(add_months(MONTHS[FIL], 1))
    assert adapters.lake.days(FEATURES, FIL, timeframe=HOUR) == [date(2023, 4, day) for day in (28, 29, 30)]
    features = adapters.lake.read(FEATURES, FIL, day_start(MONTHS[FIL]), end, timeframe=HOUR)
    hours = hours_of(files_of(FIL))
    returns = np.log(hours["close"]).diff()
    expected = {
        "log_return": returns,
        "volatility_14": returns.rolling(14).std(),
        "har_rv_24h": np.log(hours["realized_variance"].rolling(24).mean()),
    }
    for name, series in expected.items():
        np.testing.assert_allclose(features[name], series.iloc[-72:], rtol=1e-7, err_msg=name)
    absent = [name for name in features.columns if name.startswith(("funding_rate", "open_interest"))]
    assert len(absent) == 4
    assert features[absent].isna().all(axis=None)
    assert features.drop(columns=absent).notna().all(axis=None)


def test_months_without_enough_history_are_refused_in_one_line(settings: Settings, refused_may: Outcome) -> None:
    whole = settings.model_copy(update={"training_window_bars": {"1h": 4320}})
    april, may = MONTHS[FIL], add_months(MONTHS[FIL], 1)
    days = span(april, may - timedelta(days=1))
    told = {
        "has 0 1h bars in the window before 2023-04 and 432 are needed: backfill from 2023-03-11": train(
            settings, april
        ),
        "has 719 1h bars in the window before 2023-05 and 3888 are needed: backfill from 2022-11-01": train(whole, may),
        "with a full warm-up of 630 bars in its window": refused_may,
        "no 1h hmm model for 2023-04": tradecore(settings, "predict", str(FIL), *days, "--timeframe", "1h"),
    }
    for message, outcome in told.items():
        assert outcome.code == 1
        (complaint,) = [line for line in outcome.err.splitlines() if line.startswith("tradecore: ")]
        assert message in complaint
        assert outcome.err.splitlines()[-1] == complaint
        assert "Traceback" not in outcome.err
    assert Adapters(settings).lake.days(REGIMES, FIL, timeframe=HOUR) == []
