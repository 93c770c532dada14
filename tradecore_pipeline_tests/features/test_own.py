"""A user's file of features: read, checked, computed; whatever is wrong with it is one line that says so."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.own import compute_own, load_features

HOUR = Timeframe("1h")
HEAD = "import numpy as np\nimport pandas as pd\nfrom tradecore_pipeline.features.own import feature\n"
MARK = '@feature(warm_up_bars=3, unit="x", meaning="y")\n'


@pytest.fixture
def bars() -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=50, freq="1h", tz="UTC", name="ts_open", unit="ms")
    close = 100 + np.random.default_rng(1).normal(size=50).cumsum()
    return pd.DataFrame({"close": close, "volume": 1.0}, index=index)


def written(folder: Path, body: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(HEAD + body)
    return path


def computed(folder: Path, body: str, bars: pd.DataFrame, funding: pd.DataFrame | None = None) -> pd.DataFrame:
    own = load_features([written(folder, body)], taken=()).features
    return compute_own(own, bars, funding, None, timeframe=HOUR)


def complaint(folder: Path, body: str, bars: pd.DataFrame) -> str:
    with pytest.raises(UsageError) as error:
        computed(folder, body, bars)
    text = str(error.value)
    assert "\n" not in text
    assert "mine.py" in text
    return text


def test_a_marked_function_is_a_column_known_at_each_close(tmp_path: Path, bars: pd.DataFrame) -> None:
    rows = computed(tmp_path, MARK + 'def moved(market):\n    return market.bars["close"].diff(3)\n', bars)
    assert list(rows) == ["ts_close", "moved"]
    assert (rows["ts_close"] == bars.index + HOUR.duration).all()
    expected = bars["close"].diff(3)
    pd.testing.assert_series_equal(rows["moved"], expected, check_names=False, check_freq=False)


def test_what_it_declares_is_kept(tmp_path: Path) -> None:
    path = written(tmp_path, MARK + "def moved(market):\n    return market.bars['close']\n")
    (own,) = load_features([path], taken=()).features
    assert (own.name, own.warm_up_bars, own.needed_bars, own.inputs, own.unit, own.meaning) == (
        "moved", 3, 3, ("bars",), "x", "y",
    )  # fmt: skip


def test_an_array_whole_numbers_and_flags_are_numbers_and_the_warm_up_has_none(
    tmp_path: Path, bars: pd.DataFrame
) -> None:
    body = MARK + 'def up(market):\n    return (market.bars["close"].diff() > 0).to_numpy()\n'
    body += MARK + "def one(market):\n    return np.ones(len(market.bars), dtype=int)\n"
    body += MARK + 'def nullable(market):\n    return market.bars["close"].astype("Float64").where(lambda x: x > 0)\n'
    rows = computed(tmp_path, body, bars)
    assert rows[["up", "one", "nullable"]].isna().sum().tolist() == [3, 3, 3]
    assert {str(dtype) for dtype in rows.drop(columns="ts_close").dtypes} == {"float64"}


def test_it_sees_only_the_tables_it_declares_and_its_changes_to_them_are_its_own(
    tmp_path: Path, bars: pd.DataFrame
) -> None:
    body = MARK + "def first(market):\n    market.bars['close'] = 0.0\n    assert market.funding is None\n"
    body += "    return market.bars['close']\n"
    body += "@feature(warm_up_bars=0, inputs=('bars', 'funding_rates'), unit='x', meaning='y')\n"
    body += "def second(market):\n    assert market.funding is not None\n    return market.bars['close']\n"
    funding = pd.DataFrame({"funding_rate": [0.1]}, index=bars.index[:1])
    rows = computed(tmp_path, body, bars, funding)
    assert (rows["first"].dropna() == 0).all()
    assert rows["second"].tolist() == bars["close"].tolist()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("def f(market):\n    return 1 / 0\n", r"feature f failed on 50 bars: ZeroDivisionError \(.*\) in line 6"),
        ("def f(market):\n    return market.bars['close'].iloc[1:]\n", "another index"),
        ("def f(market):\n    return market.bars['close'].to_numpy()[1:]\n", "returned 49 for 50 bars"),
        ("def f(market):\n    return 1.0\n", "returned one value for 50 bars"),
        ("def f(market):\n    return market.bars[['close', 'volume']].to_numpy()\n", "returned 50 x 2 for 50 bars"),
        ("def f(market):\n    return market.bars['close'].astype(str)\n", "instead of numbers"),
        ("def f(market):\n    return market.bars.index\n", "instead of numbers"),
        ("def f(market):\n    return None\n", "returned one value"),
        ("def f(market):\n    return market.bars['close'] * np.inf\n", "infinite in row 0 of 50"),
        ("def f(market):\n    return market.bars['no_such']\n", "KeyError"),
        ("def f(market):\n    return [[1.0], [1.0, 2.0]]\n", "no row of numbers"),
        ("def f(market):\n    return np.full(50, np.longdouble('1e4000'))\n", "infinite in row 0 of 50"),
        ("def f(market):\n    raise GeneratorExit\n", "GeneratorExit"),
    ],
)
def test_a_feature_that_fails_or_is_no_number_per_bar_is_one_line(
    tmp_path: Path, bars: pd.DataFrame, body: str, says: str
) -> None:
    text = complaint(tmp_path, MARK + body, bars)
    assert "feature f " in text
    assert pd.Series([text]).str.contains(says).all(), text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("x = 1 +\n", "SyntaxError"),
        ("import no_such_module\n", "ModuleNotFoundError"),
        ("raise RuntimeError('first line\\nsecond')\n", "RuntimeError"),
        ("x = 1\n", "has no features"),
        (MARK.replace("3", "-1") + "def f(market): return 1\n", "whole number from 0"),
        (MARK.replace("3", "True") + "def f(market): return 1\n", "whole number from 0"),
        (MARK + "def Upper(market): return 1\n", "small letters"),
        (MARK + "def close(market): return 1\n", "name of the pipeline's own"),
        (MARK + "def rsi_14(market): return 1\n", "name of the pipeline's own"),
        (
            MARK.replace("unit", "inputs=('bars', 'secrets'), unit") + "def f(market): return 1\n",
            "cannot read 'secrets'",
        ),
        (MARK.replace("unit", "inputs='funding_rates', unit") + "def f(market): return 1\n", "inputs lack 'bars'"),
        ("import sys\nsys.exit(3)\n", "SystemExit"),
        ("import asyncio\nraise asyncio.CancelledError\n", "CancelledError"),
        (MARK + f"def {'x' * 64}(market): return 1\n", "at most 63"),
        (MARK.replace(', meaning="y"', "") + "def f(market): return 1\n", "TypeError"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, bars: pd.DataFrame, body: str, says: str) -> None:
    assert says in complaint(tmp_path, body, bars)


def test_a_file_may_hold_dataclasses_and_begin_with_the_mark_of_its_encoding(
    tmp_path: Path, bars: pd.DataFrame
) -> None:
    path = tmp_path / "mine.py"
    body = "from dataclasses import dataclass\n@dataclass\nclass Lengths:\n    long: 'int' = 3\n"
    body += MARK + 'def moved(market):\n    return market.bars["close"].diff(Lengths().long)\n'
    path.write_text(HEAD + body, encoding="utf-8-sig")
    before = set(sys.modules)
    rows = compute_own(load_features([path], taken=()).features, bars, None, None, timeframe=HOUR)
    assert rows["moved"].notna().sum() == 47
    assert not any("own_features_in" in name for name in set(sys.modules) - before)


def test_names_that_others_have_are_refused(tmp_path: Path) -> None:
    body = MARK + "def mine(market): return 1\n"
    first, second = written(tmp_path, body), written(tmp_path, body, "second.py")
    with pytest.raises(UsageError, match=r"second.py: mine is already a feature of .*mine.py"):
        load_features([first, second], taken=())
    with pytest.raises(UsageError, match="name of the pipeline's own"):
        load_features([first], taken=("mine",))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_is_not_there_or_no_text_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"mine.py cannot be read"):
        load_features([path], taken=())


def test_a_changed_file_is_read_anew_and_nothing_is_written_beside_it(tmp_path: Path, bars: pd.DataFrame) -> None:
    for value in (1, 2):
        rows = computed(tmp_path, MARK + f"def f(market):\n    return np.full(len(market.bars), {value}.0)\n", bars)
        assert rows["f"].iloc[-1] == value
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_importing_the_loader_runs_nobodys_file() -> None:
    assert load_features([], taken=()).features == ()
