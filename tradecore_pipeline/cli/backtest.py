"""The command that runs strategies on published regimes: one, or all variants side by side."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradecore_pipeline.cli.backtest_home import BacktestHome, file_home, stored_home
from tradecore_pipeline.cli.output import JsonFlag, note, print_json, print_table
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.domain.errors import TradecoreError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import parse_day, utc_now
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.layout import Layout

if TYPE_CHECKING:
    from tradecore_pipeline.defs.backtest_runs import Done
    from tradecore_pipeline.serving.backtests import Attempt
    from tradecore_pipeline.serving.own_mixins import Mixins
    from tradecore_pipeline.strategies.schema import StrategyConfig
    from tradecore_pipeline.tuning.strategies import TuningPlan

COMPARE = "compare"
_THREADS = 2
"""That choices of parameters are judged on; no figure depends on it."""

VariantOption = Annotated[
    str, typer.Option("--variant", help="A shipped configuration (`tradecore strategies`), or `compare` for them all.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A configuration of your own: a JSON file.", dir_okay=False)
]
InstrumentsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--instrument", help="exchange:SYMBOL; several share one account. Default: the configuration's, or all."
    ),
]
FirstDay = Annotated[
    str, typer.Option("--from", metavar="YYYY-MM-DD", help="First UTC day; default: the first published.")
]
LastDay = Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last UTC day; default: the last published.")]
TimeframeName = Annotated[str, typer.Option("--timeframe", help="Instead of the configuration's.")]
FilesOption = Annotated[
    list[Path] | None, typer.Option("--file", help="A Python file with mixins of your own; it is run.", dir_okay=False)
]
TuneOption = Annotated[
    str,
    typer.Option("--tune", metavar="60d", help="Choose parameters for each month on so many days before it."),
]  # fmt: skip
TrialsOption = Annotated[
    int, typer.Option("--trials", help="With --tune: choices tried for each month.", min=2, max=10_000)
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", help="A CSV of bars (timestamp, open, high, low, close, volume): models are trained on it first.",
        dir_okay=False,
    ),
]  # fmt: skip
HtmlFlag = Annotated[bool, typer.Option("--html", help="Also write one HTML page with charts.")]
PageOption = Annotated[
    Path | None, typer.Option("--out", help="Page to write; by default in the home's reports.", dir_okay=False)
]


def backtest(  # noqa: PLR0913, PLR0917 (an option each; their order is typer's)
    variant: VariantOption = "",
    config: ConfigOption = None,
    instruments: InstrumentsOption = None,
    timeframe: TimeframeName = "",
    first: FirstDay = "",
    last: LastDay = "",
    files: FilesOption = None,
    data: DataOption = None,
    tune: TuneOption = "",
    trials: TrialsOption = 200,
    out: PageOption = None,
    *,
    html: HtmlFlag = False,
    json: JsonFlag = False,
) -> None:
    """What a strategy would have earned on regimes as they were published, after fees, slippage and funding."""
    settings = Settings.load()
    configs, mixins = _configs(variant, config, timeframe), _mixins(settings, files)
    days, tuned_on = _days(first, last), _tune_days(tune)
    # Before models are trained on a file, which takes minutes.
    _check_mixins(configs, mixins, config)
    several = variant == COMPARE
    place = (
        stored_home(settings)
        if data is None
        else file_home(settings, data, timeframe=configs[0].timeframe, instruments=instruments or [])
    )
    with place as home, Session(home.settings) as session:
        names = home.instruments or instruments or []
        asked = Asked(session, mixins, home, instruments=names, tune=(tuned_on, trials))
        found = asked.run(configs, days, skip=several)
        layout = Layout(settings.home)
        page = asked.write_page(found, layout, out, several=several) if html or out is not None else None
    _show(found, asked, page)
    if json:
        print_json(_document(found, asked, page, several=several))


class Asked:
    """One command's runs over one home, each kept there when it is done."""

    def __init__(
        self,
        session: Session,
        mixins: "Mixins",
        home: BacktestHome,
        *,
        instruments: Sequence[str],
        tune: tuple[int, int],
    ) -> None:
        """``tune`` are the days before each month that its parameters are chosen on, 0 for not at all, and trials."""
        from tradecore_pipeline.defs.backtest_runs import BacktestDesk  # noqa: PLC0415 (Dagster takes a second)

        self._session = session
        self._instruments = instruments
        self._tune = tune
        self._desk = BacktestDesk(session.adapters, mixins, market=home.market, tried=home.tried, notes=home.notes)
        self.market = home.market
        self.refused: dict[str, str] = {}
        """Why variants could not be run, by name."""

    def run(
        self, configs: "Sequence[StrategyConfig]", days: tuple[date | None, date | None], *, skip: bool
    ) -> "list[Done]":
        """The runs; with ``skip`` those that cannot be run are left out as long as one can.

        Raises:
            TradecoreError: the first that cannot be run; nothing of it is stored.
        """
        attempts: list[Attempt] = []
        reasons: list[TradecoreError] = []
        with self._session.progress.stage("backtest", 2 * len(configs)):
            for config in configs:
                try:
                    attempts.append(
                        self._desk.attempt(
                            config, self._chosen(config), first=days[0], last=days[1], tuning=self._tuning(config)
                        )
                    )
                except TradecoreError as error:
                    if not skip:
                        raise
                    reasons.append(error)
                    self.refused[config.name] = str(error)
                self._session.progress.advance(config.name)
            if not attempts:
                raise reasons[0]
            # After all of them: each is judged in the light of everything that was tried, whatever their order.
            found = [self._kept(attempt) for attempt in attempts]
        self._session.adapters.catalog.publish_database()
        return found

    def write_page(self, found: "list[Done]", layout: Layout, out: Path | None, *, several: bool) -> Path:
        """One page of the run, or of all side by side."""
        from tradecore_pipeline.serving.backtest_compare import write_backtest_compare  # noqa: PLC0415 (plotly)
        from tradecore_pipeline.serving.backtest_report import write_backtest_report  # noqa: PLC0415 (plotly)
        from tradecore_pipeline.serving.backtest_results import place_of  # noqa: PLC0415 (pandas)

        told = [one.told for one in found]
        place = place_of(told[0])
        name = COMPARE if several else place.strategy
        path = out or layout.backtest_report(place.timeframe, name, place.instruments)
        if several:
            return write_backtest_compare(told, market=self.market, path=path)
        return write_backtest_report(told[0], market=self.market, path=path)

    def _kept(self, attempt: "Attempt") -> "Done":
        done = self._desk.keep(attempt)
        self._session.progress.advance(done.told.config.name)
        return done

    def _tuning(self, config: "StrategyConfig") -> "TuningPlan | None":
        from tradecore_pipeline.domain.time import Timeframe  # noqa: PLC0415 (only here)
        from tradecore_pipeline.tuning.strategies import TuningPlan  # noqa: PLC0415 (pandas)

        days, trials = self._tune
        if not days:
            return None
        bars = days * Timeframe.parse(config.timeframe).bars_per_day
        return TuningPlan(bars, trials, self._session.settings.random_seed, threads=_THREADS)

    def _chosen(self, config: "StrategyConfig") -> list[Instrument]:
        settings = self._session.settings
        names = self._instruments or config.instruments or settings.instruments
        return list(dict.fromkeys(settings.instrument(name) for name in names))


def _configs(variant: str, config: Path | None, timeframe: str) -> "list[StrategyConfig]":
    from tradecore_pipeline.strategies.reading import read_config, variants  # noqa: PLC0415 (pydantic's models)
    from tradecore_pipeline.strategies.reading import variant as shipped  # noqa: PLC0415 (likewise)

    if bool(variant) == (config is not None):
        raise UsageError("choose one of --variant NAME, --variant compare and --config FILE")
    if config is not None:
        found = [read_config(config)]
        if found[0].name == COMPARE:
            raise UsageError(
                f"{config.name}: name: {COMPARE} is what the page of all variants is called: choose another"
            )
    else:
        found = [shipped(name) for name in (variants() if variant == COMPARE else (variant,))]
    if not timeframe:
        return found
    from tradecore_pipeline.domain.time import Timeframe  # noqa: PLC0415 (only where it is asked for)
    from tradecore_pipeline.serving.backtests import of_timeframe  # noqa: PLC0415 (likewise)

    return [of_timeframe(one, Timeframe.parse(timeframe)) for one in found]


def _mixins(settings: Settings, files: list[Path] | None) -> "Mixins":
    """Ours, those of the settings' files, and those of the command's."""
    from tradecore_pipeline.serving.own_mixins import own_mixins  # noqa: PLC0415 (pandas)

    named = settings.strategy_files
    return own_mixins([*named, *(path for path in files or () if path.resolve() not in named)])


def _check_mixins(configs: "Sequence[StrategyConfig]", mixins: "Mixins", file: Path | None) -> None:
    """Refuses mixins and parameters of theirs that do not exist, by the file that names them."""
    from tradecore_pipeline.strategies.decision import Strategy  # noqa: PLC0415 (pandas)

    for config in configs:
        try:
            Strategy.of(config, mixins.registry)
        except UsageError as error:
            raise UsageError(f"{config.name if file is None else file.name}: {error}") from None


def _tune_days(text: str) -> int:
    """How many days; 0 for no tuning."""
    if not text:
        return 0
    number = text.removesuffix("d")
    if not (text.endswith("d") and number.isdecimal() and int(number)):
        raise UsageError(f"--tune {text!r} is no number of days: write 60d")
    return int(number)


def _days(first: str, last: str) -> tuple[date | None, date | None]:
    start, end = (parse_day(text) if text else None for text in (first, last))
    if start and end and start > end:
        raise UsageError(f"--from {start} is after --to {end}: swap them")
    if end and end > utc_now().date() + timedelta(days=1):
        raise UsageError(f"--to {end} is in the future: today is {utc_now().date()} (UTC)")
    return start, end


_ROWS: Sequence[tuple[str, str, str]] = (
    ("total return", "total_return", "+.2%"),
    ("annual return", "annual_return", "+.2%"),
    ("annual volatility", "annual_volatility", ".2%"),
    ("Sharpe ratio", "sharpe", "+.2f"),
    ("Sortino ratio", "sortino", "+.2f"),
    ("deepest drawdown", "max_drawdown", ".2%"),
    ("exposure", "exposure", ".1%"),
    ("turnover a year", "turnover", ".1f"),
    ("fees", "fees", ",.2f"),
    ("slippage", "slippage", ",.2f"),
    ("funding paid", "funding", ",.2f"),
)


def _show(found: "list[Done]", asked: Asked, page: Path | None) -> None:
    """Figures as rows, strategies as columns; buy and hold beside them."""
    from tradecore_pipeline.backtest.benchmarks import BUY_AND_HOLD  # noqa: PLC0415 (numba's neighbours)

    told = [one.told for one in found]
    columns = [one.performance.figures for one in told] + [told[0].performance.benchmarks[BUY_AND_HOLD]]
    rows = [(title, *(_figure(getattr(one, name), form) for one in columns)) for title, name, form in _ROWS]
    trades = [one.performance.trades for one in told]
    rows.append(("closed trades", *(str(one.closed) for one in trades), ""))
    rows.append(("win rate", *(_figure(one.win_rate, ".1%") for one in trades), ""))
    judged = [one.performance.significance for one in told]
    chance = [one.permutation.p_value if one and one.permutation else float("nan") for one in judged]
    deflated = [one.deflated.probability if one and one.deflated else float("nan") for one in judged]
    rows.append(("p-value, regimes moved in time", *(_figure(value, ".3f") for value in chance), ""))
    rows.append(("deflated Sharpe, probability", *(_figure(value, ".3f") for value in deflated), ""))
    print_table(("", *(one.config.name for one in told), "buy & hold"), rows)
    note(f"{told[0].instruments} at {told[0].config.timeframe}, {asked.market}; figures are after all costs")
    for text in _notes(found):
        note(text)
    for name, reason in asked.refused.items():
        note(f"{name} was not run: {reason}")
    if page is not None:
        note(f"report: {page}")


def _notes(found: "list[Done]") -> list[str]:
    """What has to be said; what is not true of every run names its own."""
    everywhere = [text for text in found[0].document["notes"] if all(text in one.document["notes"] for one in found)]
    own = [
        f"{one.told.config.name}: {text}" for one in found for text in one.document["notes"] if text not in everywhere
    ]
    return [*everywhere, *own]


def _figure(value: float, form: str) -> str:
    """The figure as text; nothing where there is none."""
    return "" if value != value else format(value, form)  # noqa: PLR0124 (NaN is what differs from itself)


def _document(found: "list[Done]", asked: Asked, page: Path | None, *, several: bool) -> dict[str, Any]:
    told = [dict(one.document) for one in found]
    report = {} if page is None else {"report": str(page)}
    return {"variants": told, "not_run": asked.refused, **report} if several else told[0] | report
