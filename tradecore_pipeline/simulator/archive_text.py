"""The text inside the archive's files: klines, premium index, funding rates and metrics, as Binance writes them."""

from collections.abc import Sequence

import numpy as np

from tradecore_pipeline.simulator.parameters import Listing
from tradecore_pipeline.simulator.rows import MINUTE_MS, Bars, Floats, FundingRates, OpenInterest

KLINES_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
FUNDING_HEADER = "calc_time,funding_interval_hours,last_funding_rate"
METRICS_HEADER = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)


def kline_lines(bars: Bars, listing: Listing, *, microseconds: bool) -> list[str]:
    """One line a minute; futures files begin with a header."""
    factor = 1000 if microseconds else 1
    opened = bars.time_ms * factor
    closed = opened + MINUTE_MS * factor - 1
    prices, volumes, quotes = listing.written_decimals
    price, volume, quote = f"%.{prices}f", f"%.{volumes}f", f"%.{quotes}f"
    line = f"%d,{price},{price},{price},{price},{volume},%d,{quote},%d,{volume},{quote},0"
    columns = (
        *(opened, bars.open, bars.high, bars.low, bars.close, bars.volume),
        *(closed, bars.quote_volume, bars.trades, bars.taker_buy_volume, bars.taker_buy_quote_volume),
    )
    lines = [line % row for row in zip(*(column.tolist() for column in columns), strict=True)]
    return lines if listing.venue == "spot" else [KLINES_HEADER, *lines]


def premium_lines(bars: Bars) -> list[str]:
    """One line a minute of the premium index: nothing is traded in it, what is counted are its samples."""
    columns = (bars.time_ms, bars.open, bars.high, bars.low, bars.close, bars.time_ms + MINUTE_MS - 1, bars.trades)
    line = "%d,%.8f,%.8f,%.8f,%.8f,0,%d,0,%d,0,0,0"
    return [KLINES_HEADER, *(line % row for row in zip(*(column.tolist() for column in columns), strict=True))]


def funding_lines(rates: FundingRates, interval_minutes: Sequence[int]) -> list[str]:
    """One line a settlement, with the interval that was in force."""
    rows = zip(rates.time_ms.tolist(), interval_minutes, rates.rate.tolist(), strict=True)
    return [FUNDING_HEADER, *(f"{time},{minutes // 60},{rate:.8f}" for time, minutes, rate in rows)]


def metrics_lines(snapshots: OpenInterest, minutes: Bars, *, symbol: str) -> list[str]:
    """One line a snapshot; ``minutes`` are those of the same time, which the takers' ratio comes from."""
    taker = _taker_ratio(minutes, snapshots)
    # The account ratios are invented; they only have to look like some.
    accounts = 1 + 0.2 * np.sin(np.arange(len(snapshots)) / 40)
    times = np.datetime_as_string(snapshots.time_ms.astype("datetime64[ms]"), unit="s")
    return [
        METRICS_HEADER,
        *(
            f"{str(time).replace('T', ' ')},{symbol},{base:.16f},{usd:.16f},"
            f"{ratio:.8f},{ratio:.8f},{ratio:.8f},{bought:.8f}"
            for time, base, usd, ratio, bought in zip(
                times, snapshots.base, snapshots.usd, accounts, taker, strict=True
            )
        ),
    ]


def _taker_ratio(minutes: Bars, snapshots: OpenInterest) -> Floats:
    """Bought over sold by takers in the five minutes before each snapshot; 1 where nothing was published."""
    edges = np.searchsorted(minutes.time_ms, snapshots.time_ms)
    bought = np.append(0.0, np.cumsum(minutes.taker_buy_volume))[edges]
    traded = np.append(0.0, np.cumsum(minutes.volume))[edges]
    buys, sells = np.diff(bought, prepend=0.0), np.diff(traded - bought, prepend=0.0)
    return np.where(sells > 0, buys / np.maximum(sells, 1e-9), 1.0)
