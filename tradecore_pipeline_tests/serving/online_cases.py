"""A home in which regimes end on the day before the last, and its filter."""

from pathlib import Path

import pandas as pd

from tradecore_pipeline import load_bars, open_filter
from tradecore_pipeline.serving.online_regimes import OnlineRegimes
from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.chain import BTC, NOW, TODAY

NAME = str(BTC)


def opened(home: Settings, state: Path | None = None) -> OnlineRegimes:
    return open_filter(NAME, "1h", home=home.home, state=state, clock=lambda: NOW)


def todays_bars(home: Settings) -> pd.DataFrame:
    return load_bars(NAME, "1h", start=str(TODAY), home=home.home)
