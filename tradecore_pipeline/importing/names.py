"""What a file's name and folder say of its content: Binance's archive and freqtrade name their files strictly."""

import re
from pathlib import Path

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table

_BINANCE = re.compile(r"(?P<symbol>[A-Z0-9_]+)-(?P<label>[A-Za-z0-9]+)-\d{4}-\d\d(-\d\d)?\.(zip|csv|csv\.gz)")
_FREQTRADE = re.compile(
    r"(?P<pair>[A-Z0-9]+(_[A-Z0-9]+)+)-(?P<label>\d+[a-zA-Z]+)(-(?P<kind>[A-Za-z_]+))?"
    r"\.(feather|parquet|json|json\.gz)"
)
_INTERVAL = re.compile(r"\d+(s|m|h|d|w|mo|M)")
_NO_TRADES = {
    "markPriceKlines": "mark prices",
    "indexPriceKlines": "index prices",
    "premiumIndexKlines": "the premium index",
    "mark": "mark prices",
    "index": "index prices",
    "premiumIndex": "the premium index",
}
_BINANCE_KINDS = {"metrics": OPEN_INTEREST.name, "fundingRate": FUNDING_RATES.name}
_FREQTRADE_FUNDING = "funding_rate"


def why_not(path: Path, table: Table, instrument: Instrument) -> str | None:
    """Why, by its name and folders, ``path`` holds no ``table`` of ``instrument``; None where they do not say so."""
    if (match := _BINANCE.fullmatch(path.name)) is not None:
        return _binance(path, match["symbol"], match["label"], table, instrument)
    if (match := _FREQTRADE.fullmatch(path.name)) is not None:
        return _freqtrade(match["pair"], match["label"], match["kind"] or "", table, instrument)
    return None


def is_binance_archive(path: Path) -> bool:
    """Whether the file is named like one of Binance's archive."""
    return _BINANCE.fullmatch(path.name) is not None


def is_freqtrade_funding(path: Path) -> bool:
    """Whether the file is freqtrade's funding history, which keeps the rate in its ``open`` column."""
    match = _FREQTRADE.fullmatch(path.name)
    return match is not None and match["kind"] == _FREQTRADE_FUNDING


def _binance(path: Path, symbol: str, label: str, table: Table, instrument: Instrument) -> str | None:
    if instrument.exchange != "binance":
        return "is named as a file of Binance's archive"
    if symbol != instrument.base + instrument.quote:
        return f"is of {symbol}"
    folders = path.resolve().parts[:-1]
    market = _archive_market(folders)
    if market is not None and market != ("um" if instrument.is_perpetual else "spot"):
        return f"lies in the archive's folder of another market ({market})"
    for folder in folders:
        if folder in _NO_TRADES:
            return f"holds {_NO_TRADES[folder]}, which are no trades"
    return _other_content(_BINANCE_KINDS.get(label), label, table)


def _archive_market(folders: tuple[str, ...]) -> str | None:
    """The market that the archive's own layout (``data/spot/...``, ``data/futures/um/...``) names."""
    for index, folder in enumerate(folders[:-1]):
        if folder in {"spot", "um", "cm", "option"} and folders[index + 1] in {"daily", "monthly"}:
            return folder
    return None


def _freqtrade(pair: str, label: str, kind: str, table: Table, instrument: Instrument) -> str | None:
    if pair != instrument.path_symbol:
        return f"is of {pair}"
    if kind in _NO_TRADES:
        return f"holds {_NO_TRADES[kind]}, which are no trades"
    return _other_content(FUNDING_RATES.name if kind == _FREQTRADE_FUNDING else None, label, table)


def _other_content(dataset: str | None, label: str, table: Table) -> str | None:
    """``label`` is an interval (bars) where ``dataset`` is not known."""
    if dataset is None and _INTERVAL.fullmatch(label) is None:
        return f"holds {label}, which is not imported"
    held = dataset or BARS_1M.name
    if dataset is None and label != "1m":
        return f"holds {label} bars, and only 1-minute bars are imported"
    return None if held == table.name else f"holds {held} (import it with --dataset {held})"
