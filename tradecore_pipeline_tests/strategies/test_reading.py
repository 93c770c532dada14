"""Configurations from files: what cannot be is refused in one line that names the file, the key and the nearest one."""

import json
from pathlib import Path
from typing import Any

import pytest

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.strategies.reading import parse, read_config, read_strategy, variant, variants
from tradecore_pipeline.strategies.registry import Registry

REFUSED = [
    ('{"name": "x", "entry_critera": {}}', "entry_critera: there is no such key; did you mean entry_criteria?"),
    (
        '{"name": "x", "risk_management": {"stop_los": 0.1}}',
        "risk_management.stop_los: there is no such key; did you mean",
    ),
    (
        '{"name": "x", "risk_management": {"stop_loss": 5}}',
        "risk_management.stop_loss: input should be less than 1, not 5",
    ),
    (
        '{"name": "x", "risk_management": {"stop_losses": {"regim_0": 0.1}}}',
        "risk_management.stop_losses: there is no key 'regim_0'; did you mean regime_0?",
    ),
    (
        '{"name": "x", "risk_management": {"max_holding_periods": {"1h": 3}}}',
        "max_holding_periods: there is no key '1h'; choose one of regime_0, regime_1",
    ),
    (
        '{"name": "x", "entry_criteria": {"prediction_thresholds": {"2h": 0.1}}}',
        "there is no key '2h'; choose one of 5m, 15m, 30m, 1h, 4h, 1d, or an instrument, for example binance",
    ),
    (
        '{"name": "x", "symbol_specific_rules": {"BTC": {"weight": 0.2}}}',
        "symbol_specific_rules: there is no key 'BTC'; a key is an instrument, for example binance:BTC/USDT:USDT",
    ),
    ('{"name": "x", "regime_specific_rules": {"Bul": {}}}', "there is no key 'Bul'; did you mean Bull?"),
    (
        '{"name": "x", "instruments": ["binance:BTC"]}',
        "instruments: 'binance:BTC' is no instrument: write exchange:SYMBOL",
    ),
    ('{"name": "x", "instruments": ["binance:BTC/USDT", "binance:BTC/USDT"]}', "'binance:BTC/USDT' stands there twice"),
    ('{"name": "x", "risk_management": {"stop_loss": NaN}}', "stop_loss: input should be a finite number, not nan"),
    ('{"name": "x", "risk_management": {"stop_loss": "1%"}}', "stop_loss: input should be a valid number, not '1%'"),
    ('{"name": "x", "backtesting_parameters": {"warmup": 1.5}}', "warmup: input should be a valid integer"),
    (
        '{"name": "x", "backtesting_parameters": {"leverage": 100, "maintenance_margin": 0.02}}',
        "backtesting_parameters: maintenance_margin < 1 / leverage must hold, but maintenance_margin is 0.02 and",
    ),
    (
        '{"name": "x", "entry_criteria": {"require_timeframe_confirmation": true}}',
        "require_timeframe_confirmation needs weights of other timeframes",
    ),
    (
        '{"name": "x", "position_sizing": {"max_position_size": 2.0}}',
        "position_sizing.max_position_size is 2 times the equity and backtesting_parameters.leverage allows 1",
    ),
    ('{"name": "X Y"}', "name: string should match pattern"),
    ("{}", "name: must be given"),
    ('{"name": "x", "name": "y"}', "is no JSON: the key 'name' stands twice"),
    ("[]", "a configuration is one JSON object"),
    ("{", "is no JSON"),
    ("[" * 100_000, "is no JSON"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_what_cannot_be_is_refused_in_one_line_with_the_file(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_config(path)
    message = str(error.value)
    assert message.startswith("mine.json: ")
    assert words in message
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("logic", "words"),
    [
        (
            {"entry_logic": {"name": "HMMLSTMEntry"}},
            "entry_logic.name: there is no 'HMMLSTMEntry'; did you mean HMMLSTM",
        ),
        (
            {"exit_logic": {"name": "TrailingStopExitMixin", "params": {"trail_percent": 3.0}}},
            "exit_logic.params.trail_percent: there is no such key; did you mean trail_pct?",
        ),
    ],
)
def test_a_mixin_that_cannot_be_is_refused_with_the_file(logic: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"name": "x"} | logic))
    with pytest.raises(UsageError, match=r"^mine\.json: ") as error:
        read_strategy(path, Registry())
    assert words in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read as text"):
        read_config(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"binary\.json: cannot be read as text"):
        read_config(tmp_path / "binary.json")
    (tmp_path / "long.json").write_text(" " * 1_000_001)
    with pytest.raises(UsageError, match="a few kilobytes"):
        read_config(tmp_path / "long.json")
    with pytest.raises(UsageError, match="a few kilobytes"):
        read_config(Path("/dev/zero"))


def test_a_file_may_begin_as_windows_editors_save_it(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"name": "own"}', encoding="utf-8-sig")
    assert read_config(tmp_path / "own.json").name == "own"


def test_variants_are_found_by_name() -> None:
    assert {
        "pipeline",
        "simple",
        "mixin",
        "conservative",
        "balanced",
        "aggressive",
        "multi_symbol",
        "multi_timeframe",
    } < set(variants())
    assert variant("multi-symbol") == variant("multi_symbol")
    assert all(variant(name).name == name and variant(name).description for name in variants())
    with pytest.raises(UsageError, match=r"no variant 'balance'; did you mean balanced\?"):
        variant("balance")


@pytest.mark.parametrize("name", variants())
def test_a_configuration_read_back_is_the_same(name: str) -> None:
    assert parse(variant(name).model_dump_json(), where="written") == variant(name)
