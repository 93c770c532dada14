"""How commands speak: progress and notes on stderr, the report on stdout, JSON as its last line."""

import json
import math
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
TimeframeOption = Annotated[str, typer.Option("--timeframe", help="5m, 15m, 30m, 1h, 4h or 1d, as configured.")]
FromDay = Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First UTC day.")]
ToDay = Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last UTC day, included.")]
InstrumentArgument = Annotated[
    str, typer.Argument(metavar="INSTRUMENT", help="exchange:SYMBOL, e.g. binance:BTC/USDT:USDT")
]


def note(text: str) -> None:
    """Say something to the person, not to the program that reads stdout."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)


def _plain(value: object) -> object:
    """The value as JSON has it; NaN and infinities, which it has not, are null."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON object (strictly RFC 8259: no NaN) on one line of stdout."""
    sys.stdout.write(json.dumps(_plain(document), allow_nan=False) + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on stdout; cut to the terminal's width only where there is a terminal."""
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        # As text: a value in brackets is no markup.
        table.add_row(*[Text("" if value is None else str(value)) for value in row])
    console = Console()
    if not console.is_terminal:
        console = Console(width=10_000)
    console.print(table)


class StageProgress:
    """A bar on stderr for the stage at work; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: Any = None
        self._seen: Callable[[str], object] | None = None

    @contextmanager
    def stage(self, title: str, total: int) -> Generator[None]:
        """Show a bar for ``total`` partitions while the body works."""
        console = Console(stderr=True)
        if not console.is_terminal:
            console.print(f"{title}: {total}", markup=False, highlight=False)
            yield
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            self._progress, self._task = progress, progress.add_task(title, total=total)
            try:
                yield
            finally:
                self._progress = None

    @contextmanager
    def watching(self, seen: Callable[[str], object]) -> Generator[None]:
        """Hand each partition key that is done to ``seen`` while the body works."""
        self._seen = seen
        try:
            yield
        finally:
            self._seen = None

    def advance(self, key: str) -> None:
        """One more partition is done."""
        if self._seen is not None:
            self._seen(key)
        if self._progress is not None:
            self._progress.update(self._task, advance=1, refresh=False)
