"""The five base features over a year of minutes, against pandas-ta-classic's own Python for the same indicators."""

import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.registry import FEATURES, WILDER_SETTLED
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report

ROWS = 525_600
BASE = FEATURES[:5]
TOLERANCE = 1e-6


def seeded_bars() -> pd.DataFrame:
    random = np.random.default_rng(7)
    close = 30_000 * np.exp(np.cumsum(random.standard_t(5, ROWS) * 4e-4))
    wide = np.exp(np.abs(random.normal(0, 2e-4, (2, ROWS))))
    index = pd.date_range("2022-01-01", periods=ROWS, freq="min", tz="UTC", name="ts_open", unit="ms")
    columns = {"high": close * wide[0], "low": close / wide[1], "close": close, "volume": random.gamma(2.0, 5.0, ROWS)}
    return pd.DataFrame(columns, index=index)


def main() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peer warns at import
        import pandas_ta_classic as ta  # noqa: PLC0415 (inside the filter)
    bars = seeded_bars()
    sources = Sources(bars, None, None, Timeframe.parse("5m"))

    def ours() -> pd.DataFrame:
        return pd.DataFrame({feature.name: feature.compute(sources) for feature in BASE}, index=bars.index)

    def peer() -> pd.DataFrame:
        returns = ta.log_return(bars["close"])
        columns = {
            "log_return": returns,
            "volatility_14": ta.stdev(returns, length=14, ddof=1, talib=False),
            "volume_zscore_20": ta.zscore(bars["volume"], length=20, ddof=1, talib=False),
            "adx_14": ta.adx(bars["high"], bars["low"], bars["close"], length=14, talib=False)["ADX_14"],
            "rsi_14": ta.rsi(bars["close"], length=14, talib=False),
        }
        return pd.DataFrame(columns, index=bars.index)

    settled = slice(14 * WILDER_SETTLED, None)
    mine, theirs = ours()[settled], peer()[settled]
    apart = {name: float(np.nanmax(np.abs(mine[name] - theirs[name]))) for name in mine}
    our_seconds, peer_seconds = interleaved(ours, peer, repeats=3)
    print_report(
        name="features",
        ours=our_seconds,
        peer=peer_seconds,
        peer_name=f"pandas-ta-classic {version('pandas-ta-classic')} with talib=False",
        unit="s",
        ratio=peer_seconds / our_seconds,
        equal=max(apart.values()) < TOLERANCE,
        n=ROWS,
        note="seeded bars; largest differences once settled: "
        + ", ".join(f"{name} {value:.0e}" for name, value in apart.items()),
    )


if __name__ == "__main__":
    main()
