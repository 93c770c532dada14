"""A copy of the chain's home with a file of own features beside it."""

from tradecore_pipeline.defs import features
from tradecore_pipeline.defs.fits import Month
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.own_features import OWN_FEATURES
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, HOUR, MARCH, NOW, ONE_DAY, Outcome, set_variables, tradecore

NAME = str(BTC)
FILE = """
import numpy as np
from tradecore_pipeline.features.own import feature

@feature(warm_up_bars=24, unit="log return", meaning="log return over a day")
def momentum_24(market):
    return np.log(market.bars["close"]).diff(24) * 1.0

@feature(warm_up_bars=3, inputs=("bars", "funding_rates"), nullable=True, unit="fraction", meaning="last rate")
def last_rate(market):
    last = market.funding.index.searchsorted(market.bars["ts_close"], side="left") - 1
    rates = market.funding["funding_rate"].to_numpy()
    old = market.bars["ts_close"].to_numpy() - market.funding.index.to_numpy()[np.maximum(last, 0)]
    return np.where((last >= 0) & (old <= np.timedelta64(3, "h")), rates[np.maximum(last, 0)], np.nan)
"""
EDITED = FILE.replace("* 1.0", "* 2.0")
FIRST, LAST = FEBRUARY + 10 * ONE_DAY, FEBRUARY + 14 * ONE_DAY
KEY = features.asset_key(HOUR, OWN_FEATURES)


class Deployment:
    """A copy of the chain's home with a file of own features beside it."""

    def __init__(self, settings: Settings) -> None:
        self.file = settings.home.parent / "my_features.py"
        self.file.write_text(FILE)
        self.settings = settings.model_copy(update={"feature_files": (self.file,)})

    @property
    def adapters(self) -> Adapters:
        return Adapters(self.settings, clock=lambda: NOW)

    def run(self, *arguments: str, **more: str) -> Outcome:
        with set_variables({"TRADECORE_FEATURE_FILES": self.file.name, **more}):
            return tradecore(self.settings, *arguments)

    def features(self, first: object = FIRST, last: object = LAST) -> Outcome:
        return self.run("features", NAME, "--timeframe", "1h", "--from", str(first), "--to", str(last))

    def sql(self, query: str) -> list[list[object]]:
        outcome = self.run("sql", query, "--json")
        assert outcome.code == 0, outcome.err
        return [list(row.values()) for row in outcome.json["rows"]]

    def month(self, month: object = MARCH, **changes: object) -> Month:
        settings = self.settings.model_copy(update=changes)
        return Month(Adapters(settings, clock=lambda: NOW), BTC, HOUR, month)  # pyright: ignore[reportArgumentType]


def said(outcome: Outcome) -> str:
    """The one line of a command that was refused."""
    assert outcome.code == 2, outcome.err
    assert "Traceback" not in outcome.err
    return outcome.err.splitlines()[-1]
