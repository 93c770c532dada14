"""The commands, by what a person comes for: get data, look at it, run services."""

import typer

from tradecore_pipeline.cli import (
    backtest,
    bring,
    compare,
    data,
    demo,
    features,
    lookahead,
    market,
    review,
    score,
    services,
    strategies,
    tune_lstm,
    tuning_report,
    work,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Research pipeline for crypto perpetual futures: market data to out-of-sample regimes. Not for live trading.",
)

app.command()(demo.demo)
app.command()(work.backfill)
app.command()(market.update)
app.command()(market.repair)
app.command()(market.verify)
app.command("import")(bring.import_)
app.command()(market.instruments)
app.command()(features.features)
app.command()(work.train)
app.command()(work.predict)
app.command()(work.run)
app.command()(tune_lstm.tune_lstm)
app.command()(data.coverage)
app.command()(data.sql)
app.command()(data.export)
app.command()(data.report)
app.command()(review.review_states)
app.command()(strategies.strategies)
app.command()(score.score)
app.command()(lookahead.lookahead)
app.command()(compare.compare)
app.command()(backtest.backtest)
app.command()(tuning_report.tuning_report)
app.command()(services.up)
app.command()(services.simulator)
app.command()(services.doctor)
