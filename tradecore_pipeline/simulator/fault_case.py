"""What every fault is made of: the case it is given, the effect it has, and where it may strike."""

from collections.abc import Callable
from dataclasses import dataclass

from tradecore_pipeline.simulator.answers import Answer
from tradecore_pipeline.simulator.asked import Asked, Kind


@dataclass(frozen=True, slots=True)
class Case:
    """One request that a rule hits."""

    asked: Asked
    answer: Answer
    """The truth."""
    argument: float
    draw: int
    """A number that is always the same for this seed, rule and request."""
    hides: Callable[[str], bool]
    """Whether the rule still keeps the archive file at a path out of sight; each question counts as an ask."""


Effect = Callable[[Case], Answer | None]
"""What is answered instead; None where the fault does not apply to this answer."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that can go wrong."""

    effect: Effect
    kinds: frozenset[Kind]
    argument: float
    """What the argument is where a rule gives none."""
    bounds: tuple[float, float]
    redirect: Callable[[Asked], Asked] | None = None
    """What the server answers instead of the request itself; None for the request."""
    per_file: bool = False
    """Whether an archive file and its checksum are hit together."""
