"""Publishing a day of regimes."""

import pandas as pd
import pytest

from tradecore_pipeline.defs.fits import Month
from tradecore_pipeline.defs.regimes import predict
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.regimes import RegimeModel
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, HOUR, ONE_DAY, Chain


def test_the_likelihood_of_the_window_is_computed_once(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    computed, honest = [], RegimeModel.log_likelihood_of

    def counted(model: RegimeModel, bars: pd.DataFrame, columns: pd.DataFrame | None = None) -> Floats:
        computed.append(len(bars))
        return honest(model, bars, columns)

    monkeypatch.setattr(RegimeModel, "log_likelihood_of", counted)
    found = predict(Month(chain.adapters, BTC, HOUR, FEBRUARY), FEBRUARY, FEBRUARY + ONE_DAY)
    assert len(found.rows) == 48
    assert len(computed) == 1
    assert len(found.unobserved) == 0
