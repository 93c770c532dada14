"""The fault plan: which requests are hit by what, decided by a seed and by the requests alone, never by their order.

A rule picks URLs: those whose hash with the seed and the rule falls below its probability. It then hits given attempts
of each, by default the first. So the same seed hits the same URLs however many workers ask and in whatever order.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.simulator.answers import Answer
from tradecore_pipeline.simulator.asked import Asked
from tradecore_pipeline.simulator.fault_case import Case, Fault
from tradecore_pipeline.simulator.fault_table import FAULTS
from tradecore_pipeline.simulator.limits import RateLimits

_PLAN_KEYS = {"seed", "rules", "limits"}
_RULE_KEYS = {"fault", "path", "probability", "nth", "times", "argument"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault, and which requests it hits."""

    name: str
    path: str
    """A regular expression that a path with its query must begin with; so a plain prefix will do."""
    probability: float
    nth: tuple[int, ...]
    """The attempts of one URL that may be hit, from 1; empty for any."""
    times: int
    """How many attempts of one URL are hit at most; 0 for all."""
    argument: float

    @property
    def fault(self) -> Fault:
        """What it does."""
        return FAULTS[self.name]

    @classmethod
    def parse(cls, given: object) -> "Rule":
        """The rule that a JSON object describes.

        Raises:
            UsageError: it is none; the message names what is possible.
        """
        document = _object(given, "a rule", keys=_RULE_KEYS)
        name = document.get("fault")
        if not isinstance(name, str) or name not in FAULTS:
            raise UsageError(f"unknown fault {name!r}: the known ones are {', '.join(FAULTS)}")
        path = document.get("path", "")
        if not isinstance(path, str) or not _compiles(path):
            raise UsageError(f"{name}: path must be a prefix or a regular expression, not {path!r}")
        nth = document.get("nth", [])
        if not isinstance(nth, list) or not all(_is_whole(number) and number >= 1 for number in nth):
            raise UsageError(f"{name}: nth must be a list of attempts counted from 1, not {nth!r}")
        times = document.get("times", len(nth) or 1)
        if not _is_whole(times) or times < 0:
            raise UsageError(f"{name}: times must be a whole number, 0 for ever, not {times!r}")
        probability = _number(document.get("probability", 1), f"{name}: probability", bounds=(0.0, 1.0))
        fault = FAULTS[name]
        argument = _number(document.get("argument", fault.argument), f"{name}: argument", bounds=fault.bounds)
        return cls(name, path, probability=probability, nth=tuple(nth), times=times, argument=argument)

    def draw(self, seed: int, identity: str) -> int:
        """A number below 2**64 that looks random and depends on nothing else."""
        text = "\n".join((str(seed), self.name, self.path, identity))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])

    def picks(self, seed: int, identity: str) -> bool:
        """Whether it ever hits that URL."""
        return re.match(self.path, identity) is not None and self.draw(seed, identity) < self.probability * 2**64

    def strikes(self, attempt: int) -> bool:
        """Whether it hits this attempt of a URL that it picks."""
        if not self.nth:
            return self.times == 0 or attempt <= self.times
        earlier = sum(1 for number in self.nth if number < attempt)
        return attempt in self.nth and (self.times == 0 or earlier < self.times)

    def to_json(self) -> dict[str, Any]:
        """What ``parse`` reads."""
        return {
            "fault": self.name,
            "path": self.path,
            "probability": self.probability,
            "nth": list(self.nth),
            "times": self.times,
            "argument": self.argument,
        }


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that hits one request."""

    rule: Rule
    place: int
    draw: int
    hides: Callable[[str], bool]

    def answer(self, asked: Asked, truth: Answer) -> Answer | None:
        """What is answered instead of the truth; None where the fault does not apply to it."""
        case = Case(asked, truth, argument=self.rule.argument, draw=self.draw, hides=self.hides)
        return self.rule.fault.effect(case)


class FaultPlan:
    """Rules in order, and what has become of them so far. A request suffers the first one that applies."""

    def __init__(self, seed: int, rules: tuple[Rule, ...], *, limits: RateLimits | None) -> None:
        self._seed = seed
        self._rules = rules
        self._attempts: Counter[str] = Counter()
        self._asks: Counter[tuple[int, str]] = Counter()
        self._fired: Counter[int] = Counter()
        self.limits = limits

    @classmethod
    def none(cls) -> "FaultPlan":
        """The plan of a server without faults."""
        return cls(0, (), limits=None)

    @classmethod
    def parse(cls, given: object) -> "FaultPlan":
        """The plan that a JSON object describes: ``seed``, ``rules`` and whether ``limits`` are kept.

        Raises:
            UsageError: it is none; the message names what is possible.
        """
        document = _object(given, "a fault plan", keys=_PLAN_KEYS)
        seed, rules, limits = document.get("seed", 0), document.get("rules", []), document.get("limits", False)
        if not _is_whole(seed):
            raise UsageError(f"seed must be a whole number, not {seed!r}")
        if not isinstance(rules, list):
            raise UsageError("rules must be a list of objects")
        if not isinstance(limits, bool):
            raise UsageError(f"limits must be true or false, not {limits!r}")
        return cls(seed, tuple(map(Rule.parse, rules)), limits=RateLimits() if limits else None)

    @classmethod
    def load(cls, file: Path) -> "FaultPlan":
        """The plan in a JSON file.

        Raises:
            UsageError: it cannot be read, or is no plan.
        """
        try:
            return cls.parse(json.loads(file.read_bytes()))
        except OSError as error:
            raise UsageError(f"cannot read the fault plan {file}: {error.strerror}") from error
        except ValueError as error:
            raise UsageError(f"the fault plan {file} is not JSON: {error}") from error
        except UsageError as error:
            raise UsageError(f"the fault plan {file} is not one: {error}") from error

    @property
    def idle(self) -> bool:
        """Whether it never meddles."""
        return not self._rules and self.limits is None

    def hits(self, asked: Asked) -> list[Hit]:
        """The rules that hit this attempt, in order; the attempt is counted."""
        self._attempts[asked.target] += 1
        attempt = self._attempts[asked.target]
        found: list[Hit] = []
        for place, rule in enumerate(self._rules):
            if asked.kind not in rule.fault.kinds:
                continue
            identity = asked.of_its_file().target if rule.fault.per_file else asked.target
            # What is published late is counted file by file, wherever the file is asked for or listed.
            by_file = rule.name == "late_publication"
            if by_file or (rule.picks(self._seed, identity) and rule.strikes(attempt)):
                found.append(Hit(rule, place, rule.draw(self._seed, identity), self._hides(place, rule)))
        return found

    def note_fired(self, hit: Hit) -> None:
        """Count a hit that came to something."""
        self._fired[hit.place] += 1

    def report(self) -> dict[str, Any]:
        """The plan as it can be posted again, with how often each rule fired."""
        rules = [rule.to_json() | {"fired": self._fired[place]} for place, rule in enumerate(self._rules)]
        refused = 0 if self.limits is None else self.limits.refused
        return {"seed": self._seed, "limits": self.limits is not None, "refused": refused, "rules": rules}

    def _hides(self, place: int, rule: Rule) -> Callable[[str], bool]:
        def hides(path: str) -> bool:
            if not rule.picks(self._seed, path):
                return False
            self._asks[place, path] += 1
            return rule.strikes(self._asks[place, path])

        return hides


def _object(given: object, what: str, *, keys: set[str]) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise UsageError(f"{what} must be a JSON object")
    unknown = [name for name in given if name not in keys]
    if unknown:
        raise UsageError(f"unknown key {unknown[0]!r} in {what}: the known ones are {', '.join(sorted(keys))}")
    return given


def _number(given: object, what: str, *, bounds: tuple[float, float]) -> float:
    low, high = bounds
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise UsageError(f"{what} must be a number, not {given!r}")
    if not low <= given <= high:
        if low == high:
            raise UsageError(f"{what} means nothing to this fault: leave it out")
        raise UsageError(f"{what} must lie between {low:g} and {high:g}, not {given!r}")
    return float(given)


def _is_whole(given: object) -> bool:
    return isinstance(given, int) and not isinstance(given, bool)


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
