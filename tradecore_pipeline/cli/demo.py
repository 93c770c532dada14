"""The demo: the main job over a simulated exchange, in a home of its own, scored against the known optimum."""

import os
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from tradecore_pipeline.cli.output import JsonFlag, note, print_json, print_table
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M, REGIMES
from tradecore_pipeline.domain.time import Timeframe, day_range, day_start
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.validation.scores import mean_log_score, oracle_r2

INSTRUMENT = Instrument("binance", "BTC/USDT:USDT")
TIMEFRAME = Timeframe("1h")
LAST_MONTHS = 3

_FIRST, _END = date(2025, 1, 1), date(2025, 10, 28)
_LEAST_DAYS = 230

DEMO_MARKET: dict[str, Any] = {
    "seed": 7,
    "start": _FIRST,
    "end": _END,
    "now": datetime(_END.year, _END.month, _END.day, tzinfo=UTC),
}
"""The demo's market: always the same one, so that everybody sees the same figures."""

DaysOption = Annotated[int, typer.Option(help="How many of the market's days to ingest, counted from its end.")]


def demo_home(settings: Settings) -> Path:
    """The demo's home, inside the configured one."""
    return settings.home / "demo"


def demo_environment(settings: Settings, url: str) -> dict[str, str]:
    """The variables under which everything runs on the demo's home and exchange."""
    return {
        "TRADECORE_HOME": str(demo_home(settings)),
        "TRADECORE_INSTRUMENTS": str(INSTRUMENT),
        "TRADECORE_TIMEFRAMES": TIMEFRAME.name,
        **{f"TRADECORE_{name.upper()}": url for name in settings.urls},
    }


def demo(days: DaysOption = 300, *, json: JsonFlag = False) -> None:
    """The whole pipeline over a simulated exchange, and a report to look at."""
    whole = (_END - _FIRST).days
    if not _LEAST_DAYS <= days <= whole:
        raise UsageError(
            f"--days {days} is out of range: the demo's market has {whole} days and needs {_LEAST_DAYS} of them"
        )
    from tradecore_pipeline.cli.services import any_free_port, simulator_process, stop  # noqa: PLC0415 (a cycle otherwise)

    started = time.monotonic()
    port = any_free_port()
    os.environ.update(demo_environment(Settings.load(), f"http://127.0.0.1:{port}"))
    exchange = simulator_process(port=port, **DEMO_MARKET)
    try:
        result = run_demo(Settings.load(), days)
    finally:
        stop(exchange)
    result["seconds"]["all"] = round(time.monotonic() - started, 2)
    _show(result)
    if json:
        print_json(result)


def run_demo(settings: Settings, days: int) -> dict[str, Any]:
    """The chain over the last ``days`` days, then its scores against the truth that only the simulator knows."""
    from tradecore_pipeline.cli.work import run_chain  # noqa: PLC0415 (imported with the app; here for its speed)
    from tradecore_pipeline.serving.regime_report import write_report  # noqa: PLC0415 (plotly takes a while)

    wanted = list(day_range(_END - days * timedelta(days=1), _END - timedelta(days=1)))
    with Session(settings) as session:
        run_chain(session, INSTRUMENT, TIMEFRAME, wanted, last_months=LAST_MONTHS)
        started = time.monotonic()
        entries = session.adapters.ledger.entries(BARS_1M.name, INSTRUMENT)
        regimes = session.adapters.lake.read(
            REGIMES, INSTRUMENT, day_start(wanted[0]), day_start(_END), timeframe=TIMEFRAME
        )
        report = write_report(
            session.adapters.layout, INSTRUMENT, TIMEFRAME, start=day_start(wanted[0]), end=day_start(_END),
            label_threshold=settings.label_threshold, path=None,
        )  # fmt: skip
        scores = score_against_truth(regimes)
        session.seconds["report"] = round(time.monotonic() - started, 2)
        return {
            "rows": sum(e.rows for e in entries),
            "days": len(wanted),
            "gaps": sum(len(e.gaps) for e in entries),
            "seconds": session.seconds,
            **scores,
            "log_score": mean_log_score(regimes["log_score"]),
            "har_log_score": mean_log_score(regimes["har_log_score"]),
            "report": str(report),
            "home": str(settings.home),
        }


def score_against_truth(regimes: pd.DataFrame) -> dict[str, float]:
    """How near the published rows come to the best that anyone could know, on the same bars.

    ``forecast_oracle_r2`` is that of the forecasts of log variance (``validation.scores``).
    """
    from tradecore_pipeline.simulator.market import SimulatedMarket  # noqa: PLC0415 (only the demo may look at the truth)
    from tradecore_pipeline.simulator.oracle import oracle_filter, oracle_forecast, state_accuracy  # noqa: PLC0415
    from tradecore_pipeline.simulator.parameters import demo_parameters  # noqa: PLC0415

    market = SimulatedMarket(demo_parameters(), DEMO_MARKET["seed"], start=_FIRST, end=_END)
    states = market.states(INSTRUMENT).loc[regimes.index]
    best = oracle_forecast(market, INSTRUMENT).loc[regimes.index, "log_variance"].to_numpy()
    own = 2 * np.log(regimes["forecast_volatility"].to_numpy())
    return {
        "state_accuracy": float((regimes["regime_index"].to_numpy() == states["state"].to_numpy()).mean()),
        "oracle_state_accuracy": state_accuracy(oracle_filter(market, INSTRUMENT).loc[regimes.index], states),
        "forecast_oracle_r2": oracle_r2(own, best),
    }


def _show(result: dict[str, Any]) -> None:
    seconds = result["seconds"]
    rows = [
        ("1-minute bars (SIMULATED)", f"{result['rows']:,} over {result['days']} days, {result['gaps']} gaps recorded"),
        (
            "regimes, states right",
            f"{result['state_accuracy']:.1%}; the best possible filter: {result['oracle_state_accuracy']:.1%}",
        ),
        ("forecast of log variance", f"R2 against the best possible forecast {result['forecast_oracle_r2']:.3f}"),
        ("log score per bar", f"{result['log_score']:.4f}; t-HAR alone: {result['har_log_score']:.4f}"),
        ("seconds", ", ".join(f"{stage} {value:.0f}" for stage, value in seconds.items())),
        ("report", result["report"]),
    ]
    print_table(("", ""), rows)
    note("look at the runs: make up DEMO=1")
