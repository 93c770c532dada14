"""What a strategy hands to the engine, and the rules and costs it is carried out under."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradecore_pipeline.backtest.state import PARTS, Floats, Plan
from tradecore_pipeline.domain.errors import InvalidDataError, UsageError
from tradecore_pipeline.strategies.reasons import FIRST_STRATEGY_REASON, Reason


class Sizing(StrEnum):
    """What a target position is counted in."""

    EQUITY = "equity"
    """Multiples of the equity at the open that fills: 1 is all of it, -0.5 half of it short, 2 needs leverage."""
    UNITS = "units"
    """Coins."""


class Distance(StrEnum):
    """What stop, profit, trailing and partial distances are counted in."""

    PRICE = "price"
    """Quote currency."""
    FRACTION = "fraction"
    """Of the entry's fill price; of the best price since then for trailing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Decisions by bar, row i known at bar i's close and carried out at bar i + 1's open; (bars,) or one constant.

    NaN means none in every float column. See the package's docstring for what each one does and when.
    """

    target: Floats
    exit_long: NDArray[np.int8]
    exit_short: NDArray[np.int8]
    stop: Floats
    profit: Floats
    trail: Floats
    trail_activation: Floats
    breakeven: Floats
    breakeven_offset: Floats
    partial_distance: Floats
    """(rows, up to 4), increasing along a row; NaN ends it."""
    partial_fraction: Floats
    """As above, of the position's size after its last order."""
    max_holding_bars: Floats

    @classmethod
    def of(cls, target: ArrayLike, **columns: ArrayLike) -> Self:
        """``target`` and what else there is; columns that are not given mean none.

        Raises:
            UsageError: a column is unknown.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(columns) - known)
        if unknown:
            raise UsageError(f"orders: there is no column {unknown[0]!r}; choose of {', '.join(sorted(known))}")
        filled: dict[str, Any] = dict.fromkeys(known, np.nan)
        filled |= {"exit_long": 0, "exit_short": 0, "breakeven_offset": 0.0}
        filled |= {"partial_distance": np.empty((1, 0)), "partial_fraction": np.empty((1, 0))}
        filled |= {"target": target, **columns}
        made: dict[str, Any] = {name: _column(name, values) for name, values in filled.items()}
        return cls(**made)

    @classmethod
    def blank(cls, bars: int, *, partial_levels: int) -> Self:
        """Columns of no decisions, one row each, for a decision function to write into."""
        columns: dict[str, Any] = {field.name: np.full(bars, np.nan) for field in fields(cls)}
        for name in ("partial_distance", "partial_fraction"):
            columns[name] = np.full((bars, partial_levels), np.nan)
        for name in ("exit_long", "exit_short"):
            columns[name] = np.zeros(bars, np.int8)
        columns["breakeven_offset"] = np.zeros(bars)
        return cls(**columns)

    def check(self, bars: int) -> None:
        """Refuses what cannot be carried out over ``bars`` bars.

        Raises:
            UsageError: lengths that differ, or partial exits that do not fit together.
            InvalidDataError: values that cannot be.
        """
        for field in fields(self):
            column = getattr(self, field.name)
            if len(column) not in {1, bars}:
                raise UsageError(f"orders: {field.name} has {len(column)} rows for {bars} bars; give one each, or one")
        if not self.partial_distance.shape[1] == self.partial_fraction.shape[1] <= PARTS:
            raise UsageError("orders: partial exits need as many fractions as distances, four of each at most")
        if np.isinf(self.target).any():
            raise InvalidDataError("orders: a target position is infinite; NaN means no order, 0 no position")
        for name in ("stop", "profit", "trail", "max_holding_bars", "partial_distance", "partial_fraction"):
            if (getattr(self, name) <= 0).any():
                raise InvalidDataError(f"orders: {name} is not positive somewhere; NaN means none")
        for name in ("trail_activation", "breakeven"):
            if (getattr(self, name) < 0).any():
                raise InvalidDataError(f"orders: {name} is negative somewhere; NaN means none")
        if not np.isfinite(self.breakeven_offset).all():
            raise InvalidDataError("orders: breakeven_offset is NaN or infinite; 0 means none")
        self._check_choices()

    def _check_choices(self) -> None:
        if (np.diff(self.partial_distance, axis=1) <= 0).any():
            raise UsageError("orders: partial distances must increase along a row")
        if (np.isnan(self.partial_fraction) & ~np.isnan(self.partial_distance)).any():
            raise UsageError("orders: a partial exit has a distance and no fraction")
        for name in ("exit_long", "exit_short"):
            codes = getattr(self, name)
            if ((codes != 0) & ((codes < FIRST_STRATEGY_REASON) | (codes > max(Reason)))).any():
                names = ", ".join(reason.name for reason in Reason if reason >= FIRST_STRATEGY_REASON)
                raise UsageError(f"orders: {name} holds a number that is no reason of a strategy; choose of {names}")

    def plan(self) -> Plan:
        """The same for the compiled rules."""
        return Plan(
            self.target, self.stop, self.profit, self.trail, self.trail_activation, self.breakeven,
            self.breakeven_offset, self.partial_distance, self.partial_fraction, self.max_holding_bars,
            self.exit_long, self.exit_short,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Fractions of the traded value: fees of limit (maker) and market orders (taker), and how much worse those fill."""

    maker: float
    taker: float
    slippage: float

    def __post_init__(self) -> None:
        for name in ("maker", "taker", "slippage"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise UsageError(f"costs: {name} is {value}; a cost is a fraction from 0 to below 1, .0005 is 5 bps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How orders are carried out.

    Attributes:
        sizing: unit of target positions.
        distance: unit of distances.
        stop_first: of a stop and a target inside one bar the stop fills; else the target.
        leverage: notional per margin, at least 1; it caps positions.
        maintenance_margin: fraction of the notional below which the exchange liquidates.
        isolated: a position can lose its own margin only; else all the account's equity stands behind it.
        lot: sizes are whole multiples of it, coins; 0 for any size.
        minimum_notional: smaller orders (other than closing ones) are left undone, quote currency.
        resize_step: a held position is resized once its target differs by more from the one last ordered; infinity
            for never.
        trail_by_bar: the trailing distance is read anew at each bar's close; else it stays the entry's.
    """

    sizing: Sizing
    distance: Distance
    stop_first: bool
    leverage: float
    maintenance_margin: float
    isolated: bool
    lot: float
    minimum_notional: float
    resize_step: float
    trail_by_bar: bool

    def __post_init__(self) -> None:
        if not 1 <= self.leverage < np.inf:
            raise UsageError(f"rules: leverage is {self.leverage}; it is 1 or more")
        if not 0 <= self.maintenance_margin < 1 / self.leverage:
            raise UsageError(
                f"rules: maintenance_margin is {self.maintenance_margin}; with leverage {self.leverage} it lies from 0 "
                f"to below {1 / self.leverage:g}, or a position would be liquidated as it opens"
            )
        for name in ("lot", "minimum_notional", "resize_step"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"rules: {name} is {getattr(self, name)}; it is 0 or more")

    def terms(self, costs: Costs) -> Floats:
        """Both for the compiled rules."""
        return np.array([
            costs.maker, costs.taker, costs.slippage, self.leverage, self.maintenance_margin, self.lot,
            self.minimum_notional, self.resize_step, self.sizing is Sizing.UNITS, self.stop_first, self.isolated,
            self.trail_by_bar, self.distance is Distance.FRACTION,
        ], dtype=np.float64)  # fmt: skip

    def check_capital(self, capital: float, price: float) -> None:
        """Refuses capital that cannot carry one least order at ``price``.

        Raises:
            UsageError: it cannot.
        """
        if not 0 < capital < np.inf:
            raise UsageError(f"capital is {capital}; it is a positive amount of the quote currency")
        least = max(self.lot * price, self.minimum_notional)
        if capital * self.leverage < least:
            raise UsageError(
                f"capital {capital:g} at leverage {self.leverage:g} is below the least order: {least:g} at a price of "
                f"{price:g}; raise the capital or choose an instrument with a smaller lot"
            )


def _column(name: str, values: ArrayLike) -> Any:
    kind = np.int8 if name.startswith("exit_") else np.float64
    column = np.ascontiguousarray(values, dtype=kind)
    if name.startswith("partial_"):
        return np.atleast_2d(column)
    return column.reshape(1) if column.ndim == 0 else column
