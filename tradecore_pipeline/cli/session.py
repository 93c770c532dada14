"""One command's hold on a home: its settings, instance and definitions, with progress wired through."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from tradecore_pipeline.cli.output import StageProgress
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from tradecore_pipeline.defs.resources import Adapters


class Session(AbstractContextManager["Session"]):
    """Runs stages of the pipeline in this process; every run shows in the UI of the same home."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.progress = StageProgress()
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "instance" in self.__dict__:
            self.instance.dispose()

    @cached_property
    def adapters(self) -> "Adapters":
        from tradecore_pipeline.defs.resources import Adapters  # noqa: PLC0415 (Dagster takes a second to import)

        return Adapters(self.settings, progress=self.progress.advance)

    @cached_property
    def instance(self) -> "dg.DagsterInstance":
        from tradecore_pipeline.defs.instance import fail_abandoned_runs, open_instance  # noqa: PLC0415 (as above)

        instance = open_instance(self.settings)
        fail_abandoned_runs(instance, unmarked=False)
        return instance

    @cached_property
    def definitions(self) -> "dg.Definitions":
        from tradecore_pipeline.defs.build import build_definitions  # noqa: PLC0415 (as above)

        return build_definitions(self.settings, self.adapters)

    def check_own_features(self) -> None:
        """Run the files of ``feature_files``, so that what is wrong with one is said before anything else is done.

        Raises:
            UsageError: a file is wrong, or a setting names a feature that none of them holds.
        """
        if self.settings.feature_files:
            _ = self.adapters.own_features

    def unmarked(self, asset: "dg.AssetKey", instrument: Instrument, dates: Iterable[date]) -> set[date]:
        """Those of ``dates`` that Dagster does not show as materialized."""
        marked = self.instance.get_materialized_partitions(asset)
        return {day for day in dates if f"{day}|{instrument}" not in marked}

    def stage(
        self,
        title: str,
        assets: Sequence["dg.AssetKey"],
        instrument: Instrument,
        dates: Sequence[date],
        *,
        monthly: bool = False,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Materialize ``assets`` for ``dates`` (sorted; none is fine), with a progress bar.

        Raises:
            TradecoreError: a run failed; what was finished before stays.
        """
        if not dates:
            return
        from tradecore_pipeline.defs.launch import materialize  # noqa: PLC0415 (as above)

        started = time.monotonic()
        instance, definitions = self.instance, self.definitions
        with self.progress.stage(title, len(dates) * len(assets)):
            materialize(
                definitions, instance, assets=assets, instrument=instrument, dates=dates, monthly=monthly, config=config
            )
        name = assets[0].path[0]
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 2)
