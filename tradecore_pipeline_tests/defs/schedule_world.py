"""An instance in which days and months are done by saying so, for schedules to ask what is next."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg

from tradecore_pipeline.defs import feature_days, features, ingestion, regimes, training, tuning
from tradecore_pipeline.defs.automation import hourly_request, rollover_request
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.tables import BARS, BARS_1M, Table
from tradecore_pipeline.domain.time import day_range, month_days
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.ledger import LedgerEntry
from tradecore_pipeline_tests.chain import BTC, HOUR, SPOT

JANUARY, FEBRUARY = date(2025, 1, 1), date(2025, 2, 1)
LAST_OF_JANUARY = date(2025, 1, 31)
DIGEST = features.asset_key(HOUR, feature_days.FEATURE_MONTH)
FEATURES = features.asset_key(HOUR, feature_days.FEATURES.name)
BAR_KEYS = features.asset_key(HOUR, BARS.name)
REGIME_KEY = regimes.asset_key(HOUR)
MODELS = [tuning.asset_key(HOUR), *training.asset_keys(HOUR)]
DAYS = [ingestion.asset_key(name) for name in ("bars_1m", "funding_rates", "open_interest")] + [BAR_KEYS, FEATURES]
ONE_DAY = timedelta(days=1)


class World:
    """An instance and a ledger in which days and months are done by saying so, and a clock that is set by hand."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.now = datetime(2025, 1, 31, 23, 5, tzinfo=UTC)
        self.instance = instance
        self.settings = Settings.load(home=home, instruments=(str(BTC), str(SPOT)))
        self.adapters = Adapters(self.settings, clock=lambda: self.now)

    def ingested(self, first: date, last: date, *, dataset: str = BARS_1M.name, complete: bool = True) -> None:
        for day in day_range(first, last):
            self.adapters.ledger.record(
                LedgerEntry(
                    instrument=BTC, dataset=dataset, day=day, rows=0, missing=0, gaps=(), source="none",
                    host="127.0.0.1", market="simulated:test", files=(), sha256="", complete=complete, reason="",
                    ingested_at=self.now, seconds=0.0, launch="test",
                )
            )  # fmt: skip

    def done(self, assets: Iterable[dg.AssetKey], first: date, last: date | None = None) -> None:
        for asset in assets:
            for day in day_range(first, last or first):
                event = dg.AssetMaterialization(asset_key=asset, partition=f"{day}|{BTC}")
                self.instance.report_runless_asset_event(event)
                if asset == FEATURES:
                    self.file(feature_days.FEATURES, day)
                if asset == DIGEST:
                    self.digest(day, len(month_days(day)))

    def file(self, table: Table, day: date) -> None:
        path = self.adapters.layout.day(table.name, BTC, day, timeframe=HOUR)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def digest(self, month: date, days: int) -> None:
        self.adapters.lake.put_document(feature_days.FEATURE_MONTH, BTC, month, timeframe=HOUR, document={"days": days})

    def rollover(self) -> dg.RunRequest | dg.SkipReason:
        return rollover_request(self.adapters, self.instance, BTC, HOUR, self.now.date())

    def hourly(self) -> dg.RunRequest | dg.SkipReason:
        return hourly_request(self.adapters, self.instance, BTC, self.now.date())


def asked(request: dg.RunRequest | dg.SkipReason) -> tuple[set[dg.AssetKey], str, str]:
    assert isinstance(request, dg.RunRequest), request
    first, last = (request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
    return set(request.asset_selection or ()), first.removesuffix(f"|{BTC}"), last.removesuffix(f"|{BTC}")


def reason(answer: dg.RunRequest | dg.SkipReason) -> str:
    assert isinstance(answer, dg.SkipReason), answer
    return answer.skip_message or ""
