"""The command that lists what a strategy's configuration may name: variants, entries and exits."""

from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradecore_pipeline.cli.output import JsonFlag, note, print_json, print_table
from tradecore_pipeline.settings import Settings

if TYPE_CHECKING:
    from tradecore_pipeline.strategies.listing import Mixin

FilesOption = Annotated[
    list[Path] | None,
    typer.Option("--file", help="A Python file with mixins of your own, beside TRADECORE_STRATEGY_FILES; it is run."),
]


def strategies(files: FilesOption = None, *, json: JsonFlag = False) -> None:
    """Variants, entries and exits that a strategy's configuration may name, with parameters and defaults."""
    from tradecore_pipeline.strategies.listing import listed_mixins, listed_variants  # noqa: PLC0415 (pandas)
    from tradecore_pipeline.strategies.own import load_mixins  # noqa: PLC0415 (likewise)
    from tradecore_pipeline.strategies.registry import Registry  # noqa: PLC0415 (likewise)

    paths = (*Settings.load().strategy_files, *(files or ()))
    entries, exits = listed_mixins(load_mixins(paths, Registry()))
    variants = listed_variants()
    if json:
        print_json(
            {
                "variants": [asdict(each) for each in variants],
                "entries": [asdict(each) for each in entries],
                "exits": [asdict(each) for each in exits],
            }
        )
        return
    print_table(
        ("variant", "entry", "exit", "what it is"), [(one.name, one.entry, one.exit, one.meaning) for one in variants]
    )
    for title, mixins in (("entry", entries), ("exit", exits)):
        print_table((title, "parameter", "default", "values", "what it does"), _rows(mixins))
    note('a configuration names them as "exit_logic": {"name": "ATRExitMixin", "params": {"atr_period": 21}}')


def _rows(mixins: "tuple[Mixin, ...]") -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for mixin in mixins:
        rows.append((mixin.name, "", "", "", mixin.meaning))
        rows += [("", one.name, dumps(one.default), one.kind, one.meaning) for one in mixin.parameters]
    return rows
