import pytest

from tradecore_pipeline_tests.models.markets import SimulatedMarket, simulate


@pytest.fixture(scope="session")
def market() -> SimulatedMarket:
    return simulate(3000, scales=(0.2, 0.6, 1.8), stay=0.985, df=5.0, seed=11, frequency="1h", minutes=60)
