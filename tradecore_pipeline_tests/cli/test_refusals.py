"""What cannot be done is said in one line, with exit code 2 (the request) or 1 (the world); nothing stays behind."""

import errno
import os
import socket
from datetime import date, timedelta
from pathlib import Path

import pytest

from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.cli.work import ingest
from tradecore_pipeline.domain.errors import MixedHomeError
from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.chain import (
    BTC,
    FEBRUARY,
    FIRST,
    MARCH,
    ONE_DAY,
    START,
    Chain,
    Outcome,
    copy_home,
    lake_files,
    small_settings,
    span,
    tradecore,
)
from tradecore_pipeline_tests.exchanges.fake import Answer, FakeBinance, klines_csv, minutes, zipped

NAME = str(BTC)
A_DAY = span(date(2025, 1, 2), date(2025, 1, 2))
REAL_DAY = date(2024, 6, 10)
KEY = f"data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{REAL_DAY}.zip"


def refused(outcome: Outcome, code: int, *, message: str) -> None:
    """One line of complaint, the last one of stderr, and nothing of what went on inside."""
    assert outcome.code == code, outcome.err
    complaints = [line for line in outcome.err.splitlines() if line.startswith("tradecore: ")]
    assert len(complaints) == 1
    assert outcome.err.splitlines()[-1] == complaints[0]
    assert message in complaints[0]
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("backfill", "binance:ETH/USDT:USDT", *A_DAY), "binance:ETH/USDT:USDT is not configured"),
        (("backfill", "BTCUSDT", *A_DAY), "'BTCUSDT' is not an instrument"),
        (("backfill", "kraken:BTC/USDT", *A_DAY), "unknown exchange 'kraken'"),
        (("predict", NAME, *A_DAY, "--timeframe", "7m"), "unknown timeframe '7m'"),
        (("predict", NAME, *A_DAY, "--timeframe", "4h"), "timeframe 4h is not configured"),
        (("backfill", NAME, *A_DAY, "--datasets", "trades"), "unknown dataset 'trades'"),
        (("backfill", NAME, *span(START, date(2999, 1, 1))), "--to 2999-01-01 is in the future"),
        (("backfill", NAME, *span(MARCH, START)), "--from 2025-03-01 is after --to 2024-12-20: swap them"),
        (("backfill", NAME, "--from", "2025-1-2", "--to", "2025-01-03"), "'2025-1-2' is not a day"),
        (("backfill", NAME, "--from", "2025-02-30", "--to", "2025-03-03"), "'2025-02-30' is not a day"),
        (("backfill", NAME, *span(date(2019, 9, 7), START)), "is before 2019-09-08"),
        (("train", NAME, "--from", "2025-02-01", "--to", "2025-03", "--timeframe", "1h"), "is not a month"),
        (("train", NAME, "--from", "2025-03", "--to", "2025-02", "--timeframe", "1h"), "is after --to 2025-02"),
        (("train", NAME, "--from", "2025-03", "--to", "2999-01", "--timeframe", "1h"), "is in the future"),
        (("train", NAME, "--from", "2019-08", "--to", "2020-01", "--timeframe", "1h"), "is before 2019-09"),
        (("sql", "DROP TABLE bars_1m"), "only one SELECT statement"),
        (("sql", "COPY bars_1m TO 'x.csv'"), "only one SELECT statement"),
        (("sql", "SELECT 1; SELECT 2"), "only one SELECT statement"),
        (("sql", "SELEC 1"), "syntax error"),
        (("sql", "SELECT * FROM nowhere"), "nowhere"),
        (("sql", "SELECT * FROM read_csv('/etc/passwd')"), "/etc/passwd"),
        (("sql", "SELECT 1", "--json", "--csv"), "choose --json or --csv"),
        (("sql", "SELECT 1 AS a, 2 AS a", "--json"), "2 columns are called 'a'"),
        (("export", "bars_1m", "--instrument", NAME, *span(START, date.max)), "--to 9999-12-31 is in the future"),
        (("export", "bars_1m", "--instrument", NAME, *A_DAY, "--timeframe", "1h"), "bars_1m has no timeframes"),
        (("export", "candles", "--instrument", NAME, *A_DAY), "there is no view 'candles'"),
        (("export", "bars_1m", "--instrument", NAME, *A_DAY, "--format", "xlsx"), "unknown format 'xlsx'"),
        (("export", "bars_1m", "--instrument", NAME, *A_DAY, "--out", "no/such/x.csv"), "is not a directory"),
        (("demo", "--days", "12"), "--days 12 is out of range"),
        (("simulator", "--start", "2025-02-01", "--end", "2025-01-01"), "is not before"),
        (("simulator", "--now", "2025-01-01"), "has no time zone"),
        (("simulator", "--now", "soon"), "'soon' is not a moment"),
        (("simulator", "--now", "0001-01-01T00:00:00+14:00"), "'0001-01-01T00:00:00+14:00' is not a moment"),
        (("simulator", "--archive-dir", "nowhere"), "nowhere holds no data folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_request_is_refused_in_one_line(
    chain: Chain, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = lake_files(chain.settings.home)
    refused(tradecore(chain.settings, *arguments, cwd=tmp_path), 2, message=message)
    assert lake_files(chain.settings.home) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("backfill",),
        ("nonsense",),
        ("coverage", "--nonsense"),
        ("backfill", NAME),
        ("simulator", "--port", "99999999"),
        ("simulator", "--port", "0"),
    ],
)
def test_a_command_line_that_is_none_exits_with_2(chain: Chain, arguments: tuple[str, ...]) -> None:
    outcome = tradecore(chain.settings, *arguments)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


def test_spot_has_no_funding_rates(simulator_url: str, tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "home", simulator_url, instruments=("binance:BTC/USDT",))
    outcome = tradecore(settings, "backfill", "binance:BTC/USDT", *A_DAY, "--datasets", "funding_rates")
    refused(outcome, 2, message="is spot and has no funding_rates")
    assert not settings.home.exists()


def test_unknown_settings_are_refused_with_their_name(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tradecore.toml").write_text("hmm_stats = 4\n")
    refused(tradecore(chain.settings, "coverage", cwd=tmp_path), 2, message="unknown setting 'hmm_stats'")
    (tmp_path / "tradecore.toml").write_text("hmm_states = \n")
    refused(tradecore(chain.settings, "coverage", cwd=tmp_path), 2, message="tradecore.toml is not valid TOML")
    (tmp_path / "tradecore.toml").unlink()
    monkeypatch.setenv("TRADECORE_HMM_STATS", "4")
    refused(tradecore(chain.settings, "coverage"), 2, message="unknown setting TRADECORE_HMM_STATS")
    monkeypatch.delenv("TRADECORE_HMM_STATS")
    monkeypatch.setenv("TRADECORE_HMM_STATES", "9")
    refused(tradecore(chain.settings, "coverage"), 2, message="TRADECORE_HMM_STATES")


def test_a_month_without_enough_history_is_not_trained(chain: Chain, tmp_path: Path) -> None:
    copy = copy_home(chain, tmp_path / "home")
    outcome = tradecore(copy, "train", NAME, "--from", "2025-01", "--to", "2025-01", "--timeframe", "1h")
    refused(outcome, 1, message="287 1h bars in the window before 2025-01 and 432 are needed")
    outcome = tradecore(copy, "run", NAME, *span(FIRST, START), "--timeframe", "1h")
    refused(outcome, 1, message="no month from 2024-12 to 2024-12 can be trained")


def test_regimes_that_were_never_published_cannot_be_reported(chain: Chain, tmp_path: Path) -> None:
    arguments = ("report", NAME, *span(FIRST, START), "--timeframe", "1h", "--out", "page.html")
    outcome = tradecore(chain.settings, *arguments, cwd=tmp_path)
    refused(outcome, 1, message="run `tradecore predict` first")
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_not_there_are_not_exported(chain: Chain, tmp_path: Path) -> None:
    arguments = ("export", "bars_1m", "--instrument", NAME, *span(date(2020, 1, 1), date(2020, 1, 2)))
    outcome = tradecore(chain.settings, *arguments, cwd=tmp_path)
    refused(outcome, 1, message=f"bars_1m has no rows of {NAME} from 2020-01-01 to 2020-01-02")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named_in_one_line(chain: Chain, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = ("report", NAME, *span(FEBRUARY, MARCH), "--timeframe", "1h", "--out", "file/page.html")
    refused(tradecore(chain.settings, *arguments, cwd=tmp_path), 1, message="'file'")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_home_that_cannot_be_written_to_is_named_with_what_to_do(
    simulator_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    settings = small_settings(tmp_path / "disk" / "home", simulator_url)
    (tmp_path / "disk").mkdir()

    def mkdir(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(os, "makedirs", mkdir)
    outcome = tradecore(settings, "backfill", NAME, *A_DAY, "--datasets", "bars_1m")
    refused(outcome, 1, message=f"{tmp_path / 'disk'} cannot be written to ({os.strerror(number)}): make it writable")
    assert "TRADECORE_HOME" in outcome.err


def test_a_file_of_ones_own_that_cannot_be_read_is_named(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("x")
    monkeypatch.setattr(os, "access", lambda *_: False)

    def load(**_: object) -> Settings:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Settings, "load", load)
    refused(tradecore(chain.settings, "coverage"), 1, message=f"{path} cannot be read (Permission denied): give this")


def test_a_busy_port_is_named_with_its_setting(chain: Chain) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        outcome = tradecore(chain.settings, "simulator", "--port", str(port))
    refused(outcome, 2, message=f"port {port} is busy")


FAULTS = {
    "checksum mismatch": (f"{KEY}.CHECKSUM", Answer(200, b"0" * 64 + b"  x.zip\n"), "does not match its checksum"),
    "web page": (KEY, Answer(200, b"<!DOCTYPE html><html>login</html>"), "web page instead of data"),
    "404": (KEY, Answer(404, b""), "but does not serve"),
    "500": (KEY, Answer(500, b""), "HTTP 500"),
    "geo-block": (KEY, Answer(451, b"{}"), "geo-block"),
    "short body": (KEY, Answer(200, b"x" * 500, cut=100), "cut short"),
}
CSV = f"BTCUSDT-1m-{REAL_DAY}.csv"
BODIES = {
    "not a zip": (b"PK nonsense", "not a readable zip"),
    "another day's": (
        zipped(klines_csv(minutes(REAL_DAY), header=True), "BTCUSDT-1m-2024-06-09.csv"),
        "another file's",
    ),
    "two days in one": (zipped(klines_csv(minutes(REAL_DAY - ONE_DAY), header=True), CSV), "outside its daily window"),
    "text for a number": (
        zipped(klines_csv(minutes(REAL_DAY), header=True).replace(b",1.5,", b",many,", 1), CSV),
        "line 2",
    ),
    "cut line": (zipped(klines_csv(minutes(REAL_DAY, 0, 3), header=False)[:-20] + b"\n", CSV), "line 3"),
    "empty": (zipped(b"", CSV), "is empty"),
}


def real_home(fake: FakeBinance, home: Path) -> Settings:
    for offset in range(-2, 1):
        day = REAL_DAY + timedelta(days=offset)
        fake.put_day(day, minutes(day))
    return small_settings(home, fake.url, http_retries=1)


def backfill_real(settings: Settings) -> Outcome:
    days = span(REAL_DAY - 2 * ONE_DAY, REAL_DAY)
    return tradecore(settings, "backfill", NAME, *days, "--datasets", "bars_1m")


def stored_days(home: Path) -> set[str]:
    return {path.stem.removeprefix("date=") for top in ("lake", "ledger") for path in (home / top).rglob("date=*")}


@pytest.mark.parametrize("fault", [*FAULTS, *BODIES])
def test_a_broken_source_fails_its_day_and_keeps_the_days_before(fake: FakeBinance, tmp_path: Path, fault: str) -> None:
    settings = real_home(fake, tmp_path / "home")
    good = fake.files[KEY]
    if fault in FAULTS:
        part, answer, message = FAULTS[fault]
        fake.faults.append((part, 99, answer))
    else:
        fake.files[KEY], message = BODIES[fault]
    refused(backfill_real(settings), 1, message=message)
    assert stored_days(settings.home) == {"2024-06-08", "2024-06-09"}

    fake.faults.clear()
    fake.files[KEY] = good
    assert backfill_real(settings).code == 0
    assert stored_days(settings.home) == {"2024-06-08", "2024-06-09", "2024-06-10"}


def test_a_home_of_simulated_days_takes_no_real_ones(chain: Chain, fake: FakeBinance, tmp_path: Path) -> None:
    copy = copy_home(chain, tmp_path / "home")
    real_home(fake, tmp_path / "home")
    before = lake_files(copy.home)
    mixed = small_settings(copy.home, fake.url)
    refused(backfill_real(mixed), 1, message="holds days of simulated:seed11-2024-12-20")
    assert lake_files(copy.home) == before
    assert "2024-06-10" not in stored_days(copy.home)


def test_a_home_of_simulated_days_does_not_even_ask_the_live_exchange(chain: Chain) -> None:
    live = Settings.load(home=chain.settings.home)
    with (
        Session(live) as session,
        pytest.raises(MixedHomeError, match=r"live binance \(https://data.binance.vision\) would be asked"),
    ):
        ingest(session, BTC, "bars_1m", [START])


def test_a_home_of_real_days_takes_no_simulated_ones(fake: FakeBinance, simulator_url: str, tmp_path: Path) -> None:
    settings = real_home(fake, tmp_path / "home")
    assert backfill_real(settings).code == 0
    before = lake_files(settings.home)
    mixed = small_settings(settings.home, simulator_url)
    outcome = tradecore(mixed, "backfill", NAME, *A_DAY, "--datasets", "bars_1m")
    refused(outcome, 1, message="holds days of the real market")
    assert lake_files(settings.home) == before
    assert "2025-01-02" not in stored_days(settings.home)
