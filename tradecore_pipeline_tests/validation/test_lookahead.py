"""The detector: seven planted leaks named with their column and first bar, and nothing said of what is innocent."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.validation.lookahead import (
    REMOVED,
    SCRAMBLED,
    SHORTENED,
    STAMPED,
    UNCLOSED,
    Claim,
    Finding,
    Frames,
    Source,
    StageResult,
    closed_late,
    draw_cuts,
    examine,
    remove_future,
    scramble_future,
)

HOUR = timedelta(hours=1)
ROWS, SEED = 600, 3

Rowwise = Callable[[pd.DataFrame], pd.Series | np.ndarray]


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    random = np.random.default_rng(SEED)
    calm = np.repeat(random.permutation(np.arange(ROWS // 20) % 2), 20)
    close = 100 * np.exp(np.cumsum(random.normal(size=ROWS) * np.where(calm == 1, 0.004, 0.011)))
    index = pd.date_range("2024-01-01", periods=ROWS, freq="1h", tz="UTC", name="ts_open", unit="ms")
    return pd.DataFrame({"close": close, "volume": random.lognormal(size=ROWS), "minutes": 60}, index=index)


def cuts_of(bars: pd.DataFrame, count: int = 50, early_rows: int = 60) -> tuple[pd.Timestamp, ...]:
    return draw_cuts(pd.DatetimeIndex(bars.index) + HOUR, count=count, early_rows=early_rows, seed=SEED)


def run(
    bars: pd.DataFrame, function: Rowwise, *, reach: timedelta | None = None, tolerance: float = 0.0
) -> StageResult:
    def compute(frames: Frames) -> pd.DataFrame:
        rows = frames["bars"]
        return pd.DataFrame({"honest": rows["close"].diff(), "leak": function(rows)}, index=rows.index)

    claim = Claim("planted", compute, HOUR, cuts_of(bars), tolerance, reach)
    return examine(claim, {"bars": Source(bars, HOUR)}, seed=SEED, done=lambda _: None)


def only(result: StageResult) -> Finding:
    """The finding on the column that leaks; the honest one beside it must not be named."""
    assert [finding.column for finding in result.findings] == ["leak"]
    return result.findings[0]


def returns(rows: pd.DataFrame) -> np.ndarray:
    return np.log(rows["close"]).diff().fillna(0.0).clip(-0.05, 0.05).to_numpy()


def log_likelihood(rows: pd.DataFrame) -> np.ndarray:
    scales = np.array([0.004, 0.011])
    return -0.5 * (returns(rows)[:, None] / scales) ** 2 - np.log(scales)


TRANSITIONS = np.log(np.array([[0.95, 0.05], [0.05, 0.95]]))


def viterbi(rows: pd.DataFrame) -> np.ndarray:
    likelihood = log_likelihood(rows)
    best, back = likelihood[0].copy(), np.zeros((len(rows), 2), dtype=int)
    for t in range(1, len(rows)):
        reached = best[:, None] + TRANSITIONS
        back[t] = reached.argmax(axis=0)
        best = reached.max(axis=0) + likelihood[t]
    path = np.empty(len(rows))
    path[-1] = best.argmax()
    for t in range(len(rows) - 1, 0, -1):
        path[t - 1] = back[t, int(path[t])]
    return path


def forward(rows: pd.DataFrame) -> np.ndarray:
    likelihood = np.exp(log_likelihood(rows))
    alpha = np.empty((len(rows), 2))
    alpha[0] = likelihood[0] / likelihood[0].sum()
    for t in range(1, len(rows)):
        step = alpha[t - 1] @ np.exp(TRANSITIONS) * likelihood[t]
        alpha[t] = step / step.sum()
    return alpha


def smoothed(rows: pd.DataFrame) -> np.ndarray:
    likelihood, beta = np.exp(log_likelihood(rows)), np.ones((len(rows), 2))
    for t in range(len(rows) - 2, -1, -1):
        step = np.exp(TRANSITIONS) @ (likelihood[t + 1] * beta[t + 1])
        beta[t] = step / step.sum()
    both = forward(rows) * beta
    return both[:, 1] / both.sum(axis=1)


def first_by_removal(bars: pd.DataFrame, function: Rowwise) -> pd.Timestamp:
    """The first bar that removal changes at any cut, the slow and simple way."""
    whole = np.asarray(function(bars), dtype=np.float64)
    first = ROWS
    for cut in cuts_of(bars):
        keep = int((bars.index + HOUR <= cut).sum())
        got = np.asarray(function(bars.iloc[:keep]), dtype=np.float64)
        changed = np.flatnonzero(~((got == whole[:keep]) | (np.isnan(got) & np.isnan(whole[:keep]))))
        first = min(first, *changed[:1].tolist(), ROWS)
    return bars.index[first]


def test_a_shift_from_the_next_bar_is_named_with_the_last_bar_before_the_first_cut(bars: pd.DataFrame) -> None:
    found = only(run(bars, lambda rows: rows["close"].shift(-1)))
    assert (found.row, found.cut) == (cuts_of(bars)[0] - HOUR, cuts_of(bars)[0])
    assert found.cuts_caught == 50
    assert found.before == bars["close"].iloc[2]
    assert found.size == abs(found.after - found.before)
    assert found.done == SCRAMBLED, "of two experiments at one bar, the one that has a size"


def test_filling_backward_is_named_with_the_first_bar_and_caught_only_inside_the_warm_up(bars: pd.DataFrame) -> None:
    found = only(run(bars, lambda rows: rows["close"].rolling(24).mean().bfill()))
    assert found.row == bars.index[0]
    assert found.cuts_caught == sum(cut < bars.index[24] for cut in cuts_of(bars)) > 0


def test_scaling_by_the_whole_sample_is_named_with_the_first_bar_and_caught_at_every_cut(bars: pd.DataFrame) -> None:
    found = only(run(bars, lambda rows: (rows["close"] - rows["close"].mean()) / rows["close"].std()))
    assert (found.row, found.cuts_caught) == (bars.index[0], 50)


def test_clipping_by_the_whole_sample_is_named_with_a_bar_that_is_clipped(bars: pd.DataFrame) -> None:
    def clipped(rows: pd.DataFrame) -> pd.Series:
        return rows["volume"].clip(rows["volume"].quantile(0.01), rows["volume"].quantile(0.99))

    found = only(run(bars, clipped))
    assert found.row <= first_by_removal(bars, clipped)
    outside = (clipped(bars) != bars["volume"]).loc[: found.row].any()
    assert outside or found.after != bars["volume"].loc[found.row]


def test_a_viterbi_path_is_named_although_most_single_cuts_do_not_show_it(bars: pd.DataFrame) -> None:
    found = only(run(bars, viterbi))
    assert found.row <= first_by_removal(bars, viterbi)
    assert 0 < found.cuts_caught < 50
    assert {found.before, found.after} == {0.0, 1.0}


def test_a_smoothed_posterior_is_named_with_the_first_bar_and_the_filtered_one_is_not(bars: pd.DataFrame) -> None:
    found = only(run(bars, smoothed))
    assert found.row == first_by_removal(bars, smoothed) == bars.index[0]
    assert not run(bars, lambda rows: forward(rows)[:, 1]).findings


def test_an_unclosed_higher_bar_is_named_with_the_first_hour_of_the_four(bars: pd.DataFrame) -> None:
    def joined_by_opening(rows: pd.DataFrame) -> np.ndarray:
        four = rows["close"].resample("4h").last()
        return four.reindex(pd.DatetimeIndex(rows.index).floor("4h")).to_numpy()

    def joined_once_closed(rows: pd.DataFrame) -> np.ndarray:
        four = rows["close"].resample("4h").last()
        closed = four.index + 4 * HOUR
        place = closed.searchsorted(pd.DatetimeIndex(rows.index) + HOUR, side="right") - 1
        return np.where(place >= 0, four.to_numpy()[np.maximum(place, 0)], np.nan)

    found = only(run(bars, joined_by_opening))
    inside = [cut for cut in cuts_of(bars) if cut != cut.floor("4h")]
    assert found.row == min(cut.floor("4h") for cut in inside)
    assert found.cuts_caught == len(inside)
    assert not run(bars, joined_once_closed).findings


def test_a_fit_that_read_beyond_its_window_is_named_with_its_parameter(bars: pd.DataFrame) -> None:
    known = bars.index[400]

    def fit(frames: Frames) -> pd.DataFrame:
        window = frames["bars"].loc[frames["bars"].index < known]
        values = {"scale": window["close"].std(), "centre": frames["bars"]["close"].mean()}
        cells = {name: pd.Series([np.array([value, 1.0])], dtype=object) for name, value in values.items()}
        return pd.DataFrame(cells).set_axis(window.index[-1:])

    claim = Claim("fits", fit, known, (known, bars.index[500]), 0.0)
    result = examine(claim, {"bars": Source(bars, HOUR)}, seed=SEED, done=lambda _: None)
    assert [(finding.column, finding.row) for finding in result.findings] == [("centre", bars.index[399])]
    assert result.findings[0].cuts_caught == 2


def test_a_row_that_is_there_before_its_bar_has_closed_is_found(bars: pd.DataFrame) -> None:
    def four_hours(frames: Frames) -> pd.DataFrame:
        return frames["bars"][["close"]].resample("4h").last()

    claim = Claim("4h bars", four_hours, 4 * HOUR, cuts_of(bars), 0.0)
    result = examine(claim, {"bars": Source(bars, HOUR)}, seed=SEED, done=lambda _: None)
    assert [(finding.column, finding.done) for finding in result.findings] == [(UNCLOSED, REMOVED)]
    assert (result.findings[0].before, result.findings[0].after) == ("absent", "there")
    assert result.findings[0].size == float("inf")


def test_rows_that_bear_the_moment_they_open_are_found(bars: pd.DataFrame) -> None:
    stamped = bars.assign(ts_close=bars.index)
    claim = Claim("bars", lambda frames: frames["bars"], HOUR, (), 0.0)
    result = examine(claim, {"bars": Source(stamped, HOUR)}, seed=SEED, done=lambda _: None)
    assert [(finding.column, finding.row, finding.done) for finding in result.findings] == [
        ("ts_close", bars.index[0], STAMPED)
    ]


def test_stored_bars_that_have_not_closed_are_found(bars: pd.DataFrame) -> None:
    stored, end = bars.assign(ts_close=bars.index + HOUR), bars.index[-1] + HOUR
    assert closed_late("bars", stored, length=HOUR, now=end) == ()
    (found,) = closed_late("bars", stored, length=HOUR, now=end - 2 * HOUR)
    assert found.row == bars.index[-2]


def test_a_leak_that_only_noise_shows_is_found(bars: pd.DataFrame) -> None:
    highest = bars["close"].max()

    def peeks(rows: pd.DataFrame) -> np.ndarray:
        return (rows["close"].shift(-1, fill_value=0.0) > highest).to_numpy(dtype=np.float64)

    found = only(run(bars, peeks))
    assert found.done == SCRAMBLED
    assert found.row + HOUR == found.cut


def test_more_history_than_declared_is_found_and_is_no_look_ahead(bars: pd.DataFrame) -> None:
    def mean(rows: pd.DataFrame) -> pd.Series:
        return rows["volume"].rolling(30, min_periods=1).mean()

    honest = run(bars, mean, reach=29 * HOUR, tolerance=1e-9)
    assert not honest.findings
    short = run(bars, mean, reach=20 * HOUR, tolerance=1e-9)
    assert only(short).done == SHORTENED
    assert short.looked_ahead == ()


def test_a_word_and_a_list_of_numbers_are_compared_too(bars: pd.DataFrame) -> None:
    def compute(frames: Frames) -> pd.DataFrame:
        rows = frames["bars"]
        later = rows["close"].shift(-1)
        word = np.where(later > rows["close"], "up", "down")
        pair = np.column_stack((rows["close"], later)).tolist()
        lists = pd.Series([np.array(values) for values in pair], index=rows.index, dtype=object)
        return pd.DataFrame({"word": word, "pair": lists}, index=rows.index)

    claim = Claim("words", compute, HOUR, cuts_of(bars), 0.0)
    result = examine(claim, {"bars": Source(bars, HOUR)}, seed=SEED, done=lambda _: None)
    assert {finding.column for finding in result.findings} == {"word", "pair"}


def test_cuts_fall_into_the_warm_up_and_everywhere_and_never_on_the_last_bar(bars: pd.DataFrame) -> None:
    closes = pd.DatetimeIndex(bars.index) + HOUR
    cuts = draw_cuts(closes, count=50, early_rows=60, seed=1)
    assert len(set(cuts)) == 50
    assert list(cuts) == sorted(cuts)
    assert cuts[0] == closes[1]
    assert cuts[-1] < closes[-1]
    assert sum(cut <= closes[59] for cut in cuts) >= 9
    assert draw_cuts(closes[:2], count=50, early_rows=60, seed=1) == ()


@settings(max_examples=40, deadline=None)
@given(keep=st.integers(0, ROWS), seed=st.integers(0, 99), minutes=st.integers(0, 300))
def test_removing_and_scrambling_leave_exactly_what_was_known(keep: int, seed: int, minutes: int) -> None:
    index = pd.date_range("2024-01-01", periods=ROWS, freq="1h", tz="UTC", unit="ms")
    random = np.random.default_rng(seed)
    rows = pd.DataFrame({"x": random.normal(size=ROWS), "n": np.arange(ROWS), "ts_close": index + HOUR}, index=index)
    delay = timedelta(minutes=minutes)
    cut = index[0] + keep * HOUR
    known = int((index + delay <= cut).sum())
    sources = {"rows": Source(rows, delay)}
    pd.testing.assert_frame_equal(remove_future(sources, cut)["rows"], rows.iloc[:known])
    noise = scramble_future(sources, cut, seed=seed)["rows"]
    pd.testing.assert_frame_equal(noise.iloc[:known], rows.iloc[:known])
    assert sorted(noise["n"]) == sorted(rows["n"])
    assert (noise["ts_close"] == rows["ts_close"]).all()


@settings(max_examples=8, deadline=None)
@given(length=st.integers(1, 60), ahead=st.integers(1, 5))
def test_no_rolling_mean_is_named_and_every_shift_is_with_its_own_bar(length: int, ahead: int) -> None:
    random = np.random.default_rng(length)
    index = pd.date_range("2024-01-01", periods=200, freq="1h", tz="UTC", unit="ms")
    rows = pd.DataFrame({"close": random.normal(size=200), "volume": 1.0}, index=index)
    assert not run(rows, lambda frame: frame["close"].rolling(length).mean()).findings
    found = only(run(rows, lambda frame: frame["close"].shift(-ahead)))
    assert found.row == max(cuts_of(rows)[0] - ahead * HOUR, index[0])
