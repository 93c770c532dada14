"""A backtest of rows whose models are not older than they is refused, in one line that says why."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError, UsageError
from tradecore_pipeline.model_registry.origins import Origin
from tradecore_pipeline.serving.model_origins import OriginCheck
from tradecore_pipeline.strategies.schema import ModelRequirements
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, HOUR, MARCH

LAST = datetime(2025, 1, 31, 23, tzinfo=UTC)
HMM = Origin("a", "hmm", str(BTC), "1h", FEBRUARY, LAST, 1000)
LSTM = replace(HMM, run_id="b", kind="lstm")
INDEX = pd.date_range("2025-02-01", "2025-02-28 23:00", freq="h", tz="UTC", name="ts_open")
ROWS = pd.DataFrame({"hmm_run_id": "a", "forecast_run_id": "b"}, index=INDEX)


def check(hmm: Origin | None = HMM, lstm: Origin | None = LSTM, rows: pd.DataFrame = ROWS, **requirements: int) -> None:
    known = {"a": hmm, "b": lstm}
    OriginCheck(BTC, HOUR, ModelRequirements(**requirements)).require(rows, known.get)


def test_rows_of_models_that_ended_before_them_pass() -> None:
    check()


def test_a_model_trained_on_a_bar_that_it_published_is_refused() -> None:
    with pytest.raises(InvalidDataError, match=r"2025-02-01 00:00.*would mix training and test"):
        check(hmm=replace(HMM, last_ts_open=LAST.replace(day=1, month=2, hour=0)))
    with pytest.raises(InvalidDataError, match="would mix training and test"):
        check(lstm=replace(LSTM, last_ts_open=LAST.replace(hour=23, minute=30)))


def test_a_model_of_a_later_month_is_refused() -> None:
    with pytest.raises(InvalidDataError, match=r"in force from 2025-03.*would mix"):
        check(hmm=replace(HMM, month=MARCH))


def test_a_run_that_nobody_knows_is_refused_since_nobody_can_tell() -> None:
    with pytest.raises(MissingInputError, match="the run b of the forecast is not in MLflow"):
        check(lstm=None)


@pytest.mark.parametrize("other", [{"instrument": "binance:ETH/USDT:USDT"}, {"timeframe": "4h"}, {"kind": "lstm"}])
def test_rows_of_another_instruments_or_timeframes_model_are_refused(other: dict[str, str]) -> None:
    with pytest.raises(InvalidDataError, match=r"is the .* model of"):
        check(hmm=replace(HMM, **other))  # type: ignore[arg-type]


def test_models_too_old_for_the_configuration_are_refused_and_the_line_says_until_when_they_are_not() -> None:
    with pytest.raises(UsageError, match=r"regime model of 2025-02 is 27 days old, and model_requirements.max_hmm_age"):
        check(max_hmm_age_days=14)
    check(max_hmm_age_days=28)
    with pytest.raises(UsageError, match=r"max_lstm_age_days is 7.*end the backtest on 2025-02-07"):
        check(max_lstm_age_days=7)
    check(rows=ROWS.loc[:"2025-02-07"], max_lstm_age_days=7, max_hmm_age_days=7, max_indicator_age_days=7)
    with pytest.raises(UsageError, match="max_indicator_age_days is 7"):
        check(max_indicator_age_days=7)


def test_models_of_too_few_bars_are_refused() -> None:
    with pytest.raises(UsageError, match=r"trained on 1000 bars, and model_requirements\.min_training_samples is 1001"):
        check(min_training_samples=1001)


def test_a_model_of_an_older_month_passes_while_it_is_young_enough() -> None:
    january = {"month": date(2025, 1, 1), "last_ts_open": datetime(2024, 12, 31, 23, tzinfo=UTC)}
    older = replace(HMM, **january), replace(LSTM, **january)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is 58 days old"):
        check(*older)
    check(*older, max_hmm_age_days=59, max_lstm_age_days=59, max_indicator_age_days=59)


def test_an_origin_needs_every_tag_of_a_fit() -> None:
    tags = {
        "tradecore.kind": "hmm", "tradecore.instrument": str(BTC), "tradecore.timeframe": "1h",
        "tradecore.month": "month-2025-02", "data_last_ts_open": "2025-01-31 23:00:00+00:00", "data_bars": "1000",
    }  # fmt: skip
    assert Origin.of("a", tags) == HMM
    for name in tags:
        assert Origin.of("a", {key: value for key, value in tags.items() if key != name}) is None
