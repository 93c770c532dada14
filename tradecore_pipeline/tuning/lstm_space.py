"""Which shapes of the LSTM a study may choose from: every range in one place."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradecore_pipeline.models.lstm_shape import LstmShape

if TYPE_CHECKING:
    from optuna import Trial

CHUNK_BARS = (60, 480)
CHUNK_STEP = 30
HIDDEN = (8, 96)
LAYERS = (1, 2)
DROPOUT = (0.0, 0.6)
LEARNING_RATE = (3e-4, 3e-2)
WINDOWS = (1, 2, 4)
MOST_WINDOWS_TRIED = max(WINDOWS)


@dataclass(frozen=True, slots=True)
class ShapeSpace:
    """The ranges above, as far as a history can tell their ends apart."""

    default: LstmShape
    """The first trial. Its width, which is a setting, is among the widths whatever it is."""
    most_chunk_bars: int
    windows: tuple[int, ...]

    @classmethod
    def within(cls, default: LstmShape, *, least_bars: int, most_bars: int, window_bars: int) -> "ShapeSpace":
        """The space of a study whose folds are trained on ``least_bars`` to ``most_bars`` bars.

        A network needs two chunks; and more windows than there are bars for are the same training by another name.
        """
        room = min(CHUNK_BARS[1], least_bars // 2) - CHUNK_BARS[0]
        longest = CHUNK_BARS[0] + max(0, room) // CHUNK_STEP * CHUNK_STEP
        windows = tuple(count for count in WINDOWS if count == 1 or (count - 1) * window_bars < most_bars)
        return cls(default, max(longest, default.chunk_bars), windows)

    def facts(self) -> dict[str, Any]:
        """What belongs to a study's identity."""
        return {
            "chunk_bars": (CHUNK_BARS[0], self.most_chunk_bars, CHUNK_STEP),
            "hidden": self._hidden,
            "layers": LAYERS,
            "dropout": DROPOUT,
            "learning_rate": LEARNING_RATE,
            "windows": self.windows,
            "default": self.default.config(),
        }

    def suggest(self, trial: "Trial") -> LstmShape:
        """The trial's shape."""
        return LstmShape(
            chunk_bars=trial.suggest_int("chunk_bars", CHUNK_BARS[0], self.most_chunk_bars, step=CHUNK_STEP),
            hidden=trial.suggest_int("hidden", *self._hidden, log=True),
            layers=trial.suggest_int("layers", *LAYERS),
            dropout=trial.suggest_float("dropout", *DROPOUT),
            learning_rate=trial.suggest_float("learning_rate", *LEARNING_RATE, log=True),
            windows=trial.suggest_categorical("windows", self.windows),
        )

    @property
    def _hidden(self) -> tuple[int, int]:
        return min(HIDDEN[0], self.default.hidden), max(HIDDEN[1], self.default.hidden)
