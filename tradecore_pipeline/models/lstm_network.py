"""The networks themselves: LSTMs whose head is a bounded correction, and the ensemble that is their mean."""

from collections.abc import Sequence

import torch

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.lstm_shape import LOG_SCALE_BOUND, SHIFT_BOUND

BLOCK_BARS = 256
"""Bars that the networks are given at once when they forecast."""

RECURRENT_DROPOUT = 0.9
"""Share of the weights from hidden state to hidden state that a step of the training leaves out."""

Memory = tuple[torch.Tensor, torch.Tensor]
"""Hidden and cell state of an LSTM."""


class CorrectionNetwork(torch.nn.Module):
    """An LSTM whose head starts at zero: per bar a shift (in scales) and a change of log scale, both bounded.

    Inputs that say which state the market is in also reach the correction directly: a mean by state is linear in them,
    and a memory that had to learn it would learn noise beside it. It may instead have several heads, one per state:
    what counts is then their mean by ``gates``, the states' probabilities.

    In training, what is left out is left out of a whole sequence: a value that is missing at some steps only can be
    told from its neighbours, and the network learns the noise all the same. So are recurrent weights, of which there
    are more than of all others.
    """

    _bound: torch.Tensor

    def __init__(
        self, inputs: int, *, hidden: int, layers: int, dropout: float, heads: int, states: Sequence[int]
    ) -> None:
        super().__init__()
        self.states = list(states)
        self._dropout = dropout
        between = dropout if layers > 1 else 0.0
        self.lstm = torch.nn.LSTM(inputs, hidden, num_layers=layers, dropout=between)
        self.head = torch.nn.Linear(hidden, 2 * heads)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self.direct = torch.nn.Linear(len(self.states), 2, bias=False) if self.states else None
        if self.direct is not None:
            torch.nn.init.zeros_(self.direct.weight)
        self.register_buffer("_bound", torch.tensor((SHIFT_BOUND, LOG_SCALE_BOUND)), persistent=False)

    def forward(self, x: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
        """Corrections (T, B, 2) from inputs (T, B, n) and gates (T, B, heads); step t sees both up to t only."""
        return self.after(x, gates, burn_in=0)

    def after(self, x: torch.Tensor, gates: torch.Tensor, *, burn_in: int) -> torch.Tensor:
        """The corrections (T - burn_in, B, 2) of ``forward`` but for the first steps, which only fill the memory."""
        hidden, _ = self._hidden(x, None)
        return self._corrections(*(part[burn_in:] for part in (hidden, x, gates)))

    def advance(self, x: torch.Tensor, gates: torch.Tensor, memory: Memory | None) -> tuple[torch.Tensor, Memory]:
        """Corrections (T, B, 2), and the memory after them; ``memory`` is what earlier inputs left."""
        hidden, left = self._hidden(x, memory)
        return self._corrections(hidden, x, gates), left

    def _hidden(self, x: torch.Tensor, memory: Memory | None) -> tuple[torch.Tensor, Memory]:
        if not self.training:
            return self.lstm(x, memory)
        recurrent = {
            name: torch.nn.functional.dropout(weight, RECURRENT_DROPOUT)
            for name, weight in self.lstm.named_parameters()
            if name.startswith("weight_hh")
        }
        return torch.func.functional_call(self.lstm, recurrent, (self._dropped(x), memory))

    def _corrections(self, hidden: torch.Tensor, x: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
        raw = self.head(self._dropped(hidden))
        if gates.shape[-1] > 1:
            raw = (gates[..., None] * raw.unflatten(-1, (-1, 2))).sum(dim=-2)
        if self.direct is not None:
            raw = raw + self.direct(x[..., self.states])
        return self._bound * torch.tanh(raw / self._bound)

    def _dropped(self, sequences: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return sequences
        kept = sequences.new_ones(1, *sequences.shape[1:])
        return sequences * torch.nn.functional.dropout(kept, self._dropout)


class Ensemble(torch.nn.Module):
    """Networks that differ by their seed; their mean correction varies less with it than any one of them."""

    def __init__(self, members: list[CorrectionNetwork]) -> None:
        super().__init__()
        self.members = torch.nn.ModuleList(members)

    def forward(self, x: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
        """Mean corrections (T, B, 2) from inputs (T, B, n) and gates (T, B, heads)."""
        return torch.stack([member(x, gates) for member in self.members]).mean(dim=0)

    def run(self, x: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
        """Mean corrections (T, 2) from rows in time order, block by block: later rows change no bit of earlier ones.

        How a sum is split up, and so its last bits, depends on how many rows a network is given at once.
        """
        more = -len(x) % BLOCK_BARS
        blocks = [torch.nn.functional.pad(part, (0, 0, 0, more)).split(BLOCK_BARS) for part in (x, gates)]
        memories: list[Memory | None] = [None] * len(self.members)
        results: list[torch.Tensor] = []
        for rows, gate in zip(*blocks, strict=True):
            steps = [
                member.advance(rows[:, None], gate[:, None], memory)
                for member, memory in zip(self.networks, memories, strict=True)
            ]
            memories = [memory for _, memory in steps]
            results.append(torch.stack([correction[:, 0] for correction, _ in steps]).mean(dim=0))
        return torch.cat(results)[: len(x)]

    @property
    def networks(self) -> list[CorrectionNetwork]:
        """The members, typed."""
        return [member for member in self.members if isinstance(member, CorrectionNetwork)]


def resolve_device(name: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ModelFitError: cuda was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelFitError("no CUDA device is available here: set lstm_device to auto or cpu")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


class one_thread:  # noqa: N801 (reads as the statement it makes: with one_thread())
    """Runs torch on one thread inside the block: two are many times slower where the machine is busy."""

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)
