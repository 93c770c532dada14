"""Commands over the market data of all four exchanges: getting it, checking it, looking at it."""

import os
from datetime import date
from pathlib import Path

import pytest
import requests

from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.chain import BTC, ONE_DAY, TODAY, Chain, lake_files, small_settings, span, tradecore

PERPETUALS = {
    "binance": "binance:BTC/USDT:USDT",
    "bybit": "bybit:BTC/USDT:USDT",
    "okx": "okx:BTC/USDT:USDT",
    "hyperliquid": "hyperliquid:BTC/USDC:USDC",
}
DAYS = span(TODAY - 2 * ONE_DAY, TODAY - ONE_DAY)


@pytest.fixture
def four(tmp_path: Path, simulator_url: str) -> Settings:
    return small_settings(tmp_path, simulator_url, instruments=tuple(PERPETUALS.values()))


def test_the_same_commands_serve_every_exchange(four: Settings) -> None:
    for name in PERPETUALS.values():
        outcome = tradecore(four, "backfill", name, *DAYS, "--json")
        assert outcome.code == 0, outcome.err
        assert outcome.json["datasets"]["bars_1m"]["rows"] == 2 * 1440
        assert outcome.json["datasets"]["funding_rates"]["rows"] >= 6
    rows = tradecore(four, "sql", "SELECT instrument, count(*) AS n FROM bars_1m GROUP BY ALL", "--json").json["rows"]
    assert {row["instrument"]: row["n"] for row in rows} == dict.fromkeys(PERPETUALS.values(), 2 * 1440)
    close = "SELECT max(close) - min(close) AS apart, avg(close) AS level FROM bars_1m WHERE ts_open = '{}'"
    (row,) = tradecore(four, "sql", close.format(TODAY - ONE_DAY), "--json").json["rows"]
    assert 0 < row["apart"] < 0.02 * row["level"], "one coin, four markets"
    interest = "SELECT instrument, avg(open_interest_base) AS coins FROM open_interest GROUP BY ALL"
    coins = tradecore(four, "sql", interest, "--json").json["rows"]
    assert all(1_000 < one["coins"] < 500_000 for one in coins), "coins, one side, not contracts"
    verified = tradecore(four, "verify", PERPETUALS["bybit"], *DAYS, "--json")
    assert (verified.code, verified.err.count("differ")) == (0, 3)


def test_update_goes_on_where_the_days_end(four: Settings) -> None:
    name = PERPETUALS["bybit"]
    refused = tradecore(four, "update", name)
    assert refused.code == 1
    assert f"{name} has no days yet: say since when" in refused.err
    assert "there is nothing to update" in refused.err
    tradecore(four, "backfill", name, *DAYS)
    outcome = tradecore(four, "update", name, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["instruments"][name]["from"] == str(TODAY)
    assert outcome.json["instruments"][name]["datasets"]["bars_1m"]["rows"] == 630, "the closed minutes of today"


def test_premium_and_ratios_are_fetched_by_name(four: Settings) -> None:
    name, days = PERPETUALS["binance"], span(TODAY - 9 * ONE_DAY, TODAY - 8 * ONE_DAY)
    outcome = tradecore(four, "backfill", name, *days, "--datasets", "premium_index,long_short_ratios", "--json")
    assert outcome.code == 0, outcome.err
    counts = {dataset: row["rows"] for dataset, row in outcome.json["datasets"].items()}
    assert counts == {"premium_index": 2 * 1440, "long_short_ratios": 2 * 288}
    query = "SELECT max(abs(p.close)) AS largest FROM premium_index p"
    assert 0 < tradecore(four, "sql", query, "--json").json["rows"][0]["largest"] < 0.1
    refused = tradecore(four, "backfill", PERPETUALS["okx"], *days, "--datasets", "premium_index")
    assert refused.code == 2
    assert (
        "okx:BTC/USDT:USDT is perpetual and has no premium_index: choose from bars_1m, funding_rates, open_interest"
        in refused.err
    )


def test_archives_alone_serve_what_they_hold_and_say_what_they_do_not(tmp_path: Path, simulator_url: str) -> None:
    settings = small_settings(tmp_path, simulator_url, binance_rest_url="http://127.0.0.1:9")
    old = span(date(2025, 1, 2), date(2025, 1, 4))
    outcome = tradecore(settings, "backfill", str(BTC), *old, "--archive-only", "--json")
    assert outcome.code == 0, outcome.err
    assert {row["rows"] for row in outcome.json["datasets"].values()} == {3 * 1440, 9, 3 * 288}
    recent = tradecore(settings, "backfill", str(BTC), *span(TODAY - ONE_DAY, TODAY), "--archive-only", "--json")
    assert recent.code == 0, recent.err
    (row, *_) = tradecore(settings, "coverage", "--json").json["coverage"]
    assert (row["done_days"], row["incomplete_days"], row["not_published_days"]) == (3, 2, 0), "REST may have those"
    assert row["rows"] == 3 * 1440


def test_an_instrument_listed_later_has_empty_days_before_and_a_note(tmp_path: Path, simulator_url: str) -> None:
    name = "binance:AVAX/USDT:USDT"
    settings = small_settings(tmp_path, simulator_url, instruments=(name,))
    outcome = tradecore(settings, "backfill", name, *span(date(2024, 12, 28), date(2025, 1, 3)), "--json")
    assert outcome.code == 0, outcome.err
    assert "bars_1m: the exchange has none before 2025-01-01" in outcome.err
    assert outcome.json["datasets"]["bars_1m"]["rows"] > 0
    (row, *_) = tradecore(settings, "coverage", "--json").json["coverage"]
    assert row["before_listing_days"] == 4


def test_a_symbol_the_exchange_does_not_list_is_answered_with_the_nearest(tmp_path: Path, simulator_url: str) -> None:
    for exchange, near in PERPETUALS.items():
        wrong = near.replace("BTC", "BTTC")
        settings = small_settings(tmp_path / exchange, simulator_url, instruments=(wrong,))
        refused = tradecore(settings, "backfill", wrong, *DAYS)
        assert refused.code == 2, refused.err
        assert near.partition(":")[2] in refused.err, f"the nearest symbol: {refused.err}"
        assert not (settings.home / "lake").exists()


def test_instruments_tell_who_existed_when(four: Settings) -> None:
    listed = tradecore(four, "instruments", "--exchange", "binance", "--json").json["instruments"]
    status = {row["instrument"]: row["status"] for row in listed}
    assert status[str(BTC)] == "trading"
    assert status["binance:LUNA/USDT:USDT"] == "delisted"
    early = tradecore(four, "instruments", "--exchange", "binance", "--on", "2024-12-25", "--json").json["instruments"]
    names = {row["instrument"] for row in early}
    assert "binance:LUNA/USDT:USDT" in names
    assert "binance:AVAX/USDT:USDT" not in names
    table = tradecore(four, "instruments", "--exchange", "hyperliquid")
    assert "hyperliquid:BTC/USDC:USDC" in table.out


def test_damaged_listings_are_put_aside_and_the_note_says_where(four: Settings) -> None:
    tradecore(four, "instruments", "--exchange", "binance", "--json")
    path = four.home / "lake" / "listings" / "exchange=binance.parquet"
    path.write_bytes(b"PAR1")
    assert "puts it aside" in tradecore(four, "instruments", "--exchange", "binance").err
    refreshed = tradecore(four, "instruments", "--exchange", "binance", "--refresh", "--json")
    assert refreshed.code == 0, refreshed.err
    assert f"put aside as {path}.damaged-1: what only they knew of delisted instruments" in refreshed.err
    again = tradecore(four, "instruments", "--exchange", "binance", "--refresh", "--json")
    assert "put aside" not in again.err
    assert again.json == refreshed.json


def test_coverage_is_drawn_as_one_page(chain: Chain, tmp_path: Path) -> None:
    page = tmp_path / "coverage.html"
    outcome = tradecore(chain.settings, "coverage", "--out", str(page), "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["report"] == str(page)
    text = page.read_text(encoding="utf-8")
    assert "SIMULATED" in text
    assert str(BTC) in text


def test_a_proxys_page_is_called_one_on_every_exchange(four: Settings, simulator_url: str) -> None:
    rules = {"seed": 1, "rules": [{"fault": "html_200", "times": 0}]}
    requests.post(f"{simulator_url}/_ctl", json=rules, timeout=5).raise_for_status()
    try:
        for name in PERPETUALS.values():
            refused = tradecore(four, "backfill", name, *DAYS, "--datasets", "funding_rates")
            assert refused.code == 1
            assert "a web page instead of data (a proxy or a login page?)" in refused.err.splitlines()[-1]
        assert lake_files(four.home) == {}
    finally:
        requests.delete(f"{simulator_url}/_ctl", timeout=5).raise_for_status()


def test_what_is_no_file_is_not_read(four: Settings, tmp_path: Path) -> None:
    pipe = tmp_path / "bars.csv"
    os.mkfifo(pipe)
    refused = tradecore(four, "import", str(pipe), "--instrument", PERPETUALS["binance"])
    assert refused.code == 2
    assert "is neither a file nor a folder" in refused.err


def test_a_complaint_is_one_printable_line_whatever_a_file_says(four: Settings, tmp_path: Path) -> None:
    garbage = tmp_path / "we\x1b[31mird.csv"
    garbage.write_bytes(b"\0" * 100_000)
    refused = tradecore(four, "import", str(garbage), "--instrument", PERPETUALS["binance"])
    assert refused.code != 0
    (line,) = [line for line in refused.err.splitlines() if line.startswith("tradecore: ")]
    assert line.isprintable()
    assert len(line) < 1_100


def test_verifying_what_was_never_stored_is_said(four: Settings) -> None:
    refused = tradecore(four, "verify", PERPETUALS["bybit"], *DAYS)
    assert refused.code == 1
    assert "nothing of bybit:BTC/USDT:USDT is stored" in refused.err
