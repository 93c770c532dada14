from pathlib import Path

import pytest
from pydantic import ValidationError

from tradecore_pipeline.domain.errors import SettingsError, UsageError
from tradecore_pipeline.domain.instruments import EXCHANGES, Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.inputs import LEAST_LSTM_BARS
from tradecore_pipeline.settings import Settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_are_one_perpetual_at_one_hour_over_the_live_exchange(tmp_path: Path) -> None:
    settings = Settings.load()
    assert settings.home == tmp_path / ".tradecore"
    assert settings.parsed_instruments == (Instrument("binance", "BTC/USDT:USDT"),)
    assert settings.parsed_timeframes == (Timeframe("1h"),)
    assert settings.archive_listing_url == "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"
    assert settings.mlflow_uri == f"sqlite:///{tmp_path}/.tradecore/mlflow.db"
    assert list(tmp_path.iterdir()) == []


def test_arguments_win_over_variables_and_variables_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tradecore.toml").write_text('hmm_states = 2\nlstm_epochs = 5\ntimeframes = ["4h", "1h"]\n')
    assert (Settings.load().hmm_states, Settings.load().timeframes) == (2, ("4h", "1h"))
    monkeypatch.setenv("TRADECORE_HMM_STATES", "4")
    settings = Settings.load()
    assert (settings.hmm_states, settings.lstm_epochs) == (4, 5)
    assert Settings.load(hmm_states=5).hmm_states == 5


def test_lists_in_variables_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADECORE_INSTRUMENTS", " binance:BTC/USDT:USDT, binance:ETH/USDT,binance:ETH/USDT ")
    assert Settings.load().instruments == ("binance:BTC/USDT:USDT", "binance:ETH/USDT")


def test_a_window_given_for_one_timeframe_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADECORE_TRAINING_WINDOW_BARS", '{"1h": 480}')
    settings = Settings.load()
    assert settings.window_bars(Timeframe("1h")) == 480
    assert settings.minimum_bars(Timeframe("1h")) == 432
    assert settings.window_bars(Timeframe("1d")) == 730


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings.load().hmm_states = 4  # pyright: ignore[reportAttributeAccessIssue] (the point)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HMM_STATES", "7"),
        ("HMM_STATES", "three"),
        ("INSTRUMENTS", ""),
        ("INSTRUMENTS", "BTCUSDT"),
        ("TIMEFRAMES", "1h,2h"),
        ("BINANCE_REST_URL", "ftp://example"),
        ("DAGSTER_PORT", "80"),
        ("TRAINING_WINDOW_BARS", '{"2h": 10}'),
        ("MINIMUM_HISTORY_FRACTION", "0"),
        ("LSTM_DEVICE", "tpu"),
        ("TRAINING_WINDOW_BARS", "480"),
        ("TRAINING_WINDOW_BARS", "abc"),
        ("HOME", ""),
        ("HOME", "~nobody-of-that-name/x"),
    ],
)
def test_an_impossible_value_names_its_variable_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"TRADECORE_{name}", value)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert f"TRADECORE_{name}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("exchange", sorted(set(EXCHANGES) - {"binance"}))
def test_every_exchange_serves_perpetuals_and_spot_only_where_it_is_offered(exchange: str) -> None:
    assert Settings.load(instruments=(f"{exchange}:BTC/USDT:USDT",)).parsed_instruments[0].exchange == exchange
    with pytest.raises(SettingsError, match=f"{exchange}:BTC/USDT: of {exchange} there is only perpetual"):
        Settings.load(instruments=("binance:BTC/USDT", f"{exchange}:BTC/USDT"))


def test_regimes_are_told_apart_by_features_that_exist() -> None:
    features = ("scaled_return", "log_realized_variance", "rsi_14", "rsi_14")
    assert Settings.load(hmm_features=features).hmm_features == features[:3]
    with pytest.raises(SettingsError, match=r"unknown feature 'rsi': choose from scaled_return, .*, rsi_14"):
        Settings.load(hmm_features=("scaled_return", "rsi"))


def test_files_of_own_features_are_found_from_the_current_directory_and_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADECORE_FEATURE_FILES", "mine.py, sub/other.py,./mine.py")
    settings = Settings.load()
    assert settings.feature_files == (tmp_path / "mine.py", tmp_path / "sub/other.py")
    assert Settings.load(hmm_features=("scaled_return", "mine")).hmm_features == ("scaled_return", "mine")
    with pytest.raises(SettingsError, match="unknown feature 'not a name'"):
        Settings.load(lstm_features=("not a name",))
    with pytest.raises(SettingsError, match="TRADECORE_LSTM_FEATURES"):
        Settings.load(feature_files=(), lstm_features=("mine",))
    assert settings.own_model_features == ()
    reading = Settings.load(hmm_emission="gaussian", hmm_features=("rsi_14", "mine"), lstm_features=("other", "mine"))
    assert reading.own_model_features == ("mine", "other")


def test_a_training_window_is_one_that_the_lstm_can_be_fitted_on() -> None:
    assert Settings.load(training_window_bars={"4h": LEAST_LSTM_BARS}).training_window_bars["4h"] == LEAST_LSTM_BARS
    with pytest.raises(SettingsError, match=f"479 bars at 4h are too few: the LSTM needs at least {LEAST_LSTM_BARS}"):
        Settings.load(training_window_bars={"4h": LEAST_LSTM_BARS - 1})


def test_unknown_keys_are_refused_in_variables_and_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADECORE_HMM_STATE", "3")
    with pytest.raises(SettingsError, match="unknown setting TRADECORE_HMM_STATE"):
        Settings.load()
    monkeypatch.delenv("TRADECORE_HMM_STATE")
    (tmp_path / "tradecore.toml").write_text("hmm_state = 3\n")
    with pytest.raises(SettingsError, match=r"unknown setting 'hmm_state' in tradecore\.toml"):
        Settings.load()
    (tmp_path / "tradecore.toml").write_text("hmm_states = [\n")
    with pytest.raises(SettingsError, match=r"tradecore\.toml is not valid TOML"):
        Settings.load()
    (tmp_path / "tradecore.toml").write_bytes(b'home = "\xff"\n')
    with pytest.raises(SettingsError, match=r"tradecore\.toml is not valid TOML"):
        Settings.load()
    (tmp_path / "tradecore.toml").write_text('home = ""\n')
    with pytest.raises(SettingsError, match=r"TRADECORE_HOME or tradecore\.toml.*is empty"):
        Settings.load()


def test_an_archive_elsewhere_lists_itself() -> None:
    settings = Settings.load(binance_archive_url="http://127.0.0.1:8790/")
    assert settings.archive_listing_url == "http://127.0.0.1:8790"
    assert Settings.load(binance_archive_listing_url="http://x.test").archive_listing_url == "http://x.test"


def test_what_is_not_configured_is_refused_with_the_way_to_configure_it() -> None:
    settings = Settings.load()
    with pytest.raises(UsageError, match=r"add it to TRADECORE_INSTRUMENTS or to instruments in tradecore\.toml"):
        settings.instrument("binance:ETH/USDT")
    with pytest.raises(UsageError, match="add it to TRADECORE_TIMEFRAMES"):
        settings.timeframe("4h")
    assert settings.timeframe("1h") == Timeframe("1h")


@pytest.mark.parametrize("name", ["w?x", "p%20x", "st*r", "a[1]"])
def test_a_home_that_databases_would_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="which databases misread: choose another folder"):
        Settings.load(home=tmp_path / name)
    assert Settings.load(home=tmp_path / "a b;$HOME#é").home.name == "a b;$HOME#é"
