"""The variants of forecasts that can be compared: short texts, what they may say, and what they stand for in full."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.models.inputs import (
    EMISSIONS,
    LSTM_REGIMES,
    NONE,
    PROBABILITIES,
    RETURN_VARIANCE,
    SCALED_RETURN,
)

POOL, PUBLISHED, LSTM, HMM, SWITCHING_HAR = "pool", "published", "lstm", "hmm", "switching-har"
TUNED_CHOICES = ("no", "default", "yes")
_SHORT_REGIMES = {"yes": PROBABILITIES, "no": NONE}
_SUGGESTIONS = 3
_LIKENESS = 0.5
_MOST_CARRY_BARS = 10_000


@dataclass(frozen=True, slots=True)
class VariantDefaults:
    """What a variant is where its text does not say: the settings' values."""

    states: int
    emission: str
    features: tuple[str, ...]
    carry_bars: tuple[int, ...]
    restarts: int
    hidden: int
    lstm_regimes: str
    epochs: int
    seed: int
    feature_names: tuple[str, ...]
    """Every feature that a regime model may look at."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One forecast to compare."""

    name: str
    """As it was written; what tables and charts show."""
    family: str
    options: Mapping[str, Any]
    """Everything that its fit depends on beside data, defaults included."""
    parts: tuple["Variant", ...]
    """Of a pool."""

    @property
    def config(self) -> dict[str, Any]:
        """The same in plain values, whatever its spelling: equal for equal forecasts."""
        own: dict[str, Any] = {"family": self.family, **self.options}
        return own | ({"parts": [part.config for part in self.parts]} if self.parts else {})

    @property
    def fitted(self) -> tuple["Variant", ...]:
        """What has to be fitted or read for it: itself, or the parts of a pool."""
        return self.parts or (self,)


@dataclass(frozen=True, slots=True)
class _Option:
    meaning: str
    parse: Callable[[str, VariantDefaults], Any]


@dataclass(frozen=True, slots=True)
class _Family:
    meaning: str
    options: Mapping[str, _Option]
    complete: Callable[[dict[str, Any], VariantDefaults], dict[str, Any]]


def parse_variants(text: str, defaults: VariantDefaults) -> list[Variant]:
    """The variants of a comma-separated list; ``key=value`` after a comma belongs to the variant before it.

    Raises:
        UsageError: a name, an option or a value does not exist; the message has the nearest that do.
    """
    joined: list[str] = []
    for piece in (part.strip() for part in text.split(",")):
        if re.match(r"^[a-z_]+=", piece) and joined:
            joined[-1] += f",{piece}"
        elif piece:
            joined.append(piece)
    found: list[Variant] = []
    for variant in (parse_variant(one, defaults) for one in joined):
        twin = next((other for other in found if other.config == variant.config), None)
        if twin is not None:
            raise UsageError(f"{variant.name} and {twin.name} are the same forecast: name it once")
        found.append(variant)
    return found


def parse_variant(text: str, defaults: VariantDefaults) -> Variant:
    """One variant, for example ``hmm:states=2,emission=student_t``; see ``parse_variants``."""
    family, *more = re.split("[:,]", text, maxsplit=1)
    rest = "".join(more)
    if family == POOL:
        return _pool(text, rest, defaults)
    if family not in FAMILIES:
        raise UsageError(f"unknown forecast {family!r}: {_nearest(family, [*FAMILIES, POOL])}")
    known = FAMILIES[family].options
    given: dict[str, Any] = {}
    for piece in [part for part in rest.split(",") if part]:
        key, equals, value = piece.partition("=")
        if key not in known:
            hint = _nearest(key, list(known)) if known else "it takes no options"
            raise UsageError(f"{family} has no option {key!r}: {hint}")
        if not equals or not value or key in given:
            raise UsageError(f"{text}: write {key}=VALUE once ({known[key].meaning})")
        try:
            given[key] = known[key].parse(value, defaults)
        except ValueError as error:
            raise UsageError(f"{family}: {key}={value} is not possible: {error}") from None
    return Variant(text, family, FAMILIES[family].complete(given, defaults), ())


def variant_help() -> list[tuple[str, str]]:
    """Every family with its options, and what they mean, in the order of ``FAMILIES``; the pool comes last."""
    rows: list[tuple[str, str]] = []
    for name, family in FAMILIES.items():
        rows.append((name, family.meaning))
        rows += [(f"  {key}=", option.meaning) for key, option in family.options.items()]
    return [*rows, (f"{POOL}:A+B", "equal-weight pool of two or more of the above")]


def _pool(text: str, rest: str, defaults: VariantDefaults) -> Variant:
    pieces: list[str] = []
    for piece in rest.split("+"):
        # A plus also joins the values of an option, as in carry=1+3.
        if pieces and "=" in pieces[-1] and piece.partition(":")[0] not in FAMILIES:
            pieces[-1] += f"+{piece}"
        else:
            pieces.append(piece.strip())
    if len(pieces) < 2 or not all(pieces):
        raise UsageError(f"{text}: a pool takes two or more forecasts, for example pool:har+switching-har")
    if any(piece.partition(":")[0] == POOL for piece in pieces):
        raise UsageError(f"{text}: a pool cannot hold a pool; name its parts")
    parts = tuple(parse_variant(piece, defaults) for piece in pieces)
    configs = [part.config for part in parts]
    if any(config in configs[:k] for k, config in enumerate(configs)):
        raise UsageError(f"{text}: it holds the same forecast twice")
    return Variant(text, POOL, {}, parts)


def _nearest(word: str, known: list[str]) -> str:
    near = get_close_matches(word, known, n=_SUGGESTIONS, cutoff=_LIKENESS)
    return f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(known)}"


def _whole(least: int, most: int) -> Callable[[str, VariantDefaults], int]:
    def parse(text: str, _: VariantDefaults) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"give a whole number from {least} to {most}")
        return int(text)

    return parse


def _choice(*words: str) -> Callable[[str, VariantDefaults], str]:
    def parse(text: str, _: VariantDefaults) -> str:
        if text not in words:
            raise ValueError(_nearest(text, list(words)))
        return text

    return parse


def _regimes(text: str, _: VariantDefaults) -> str:
    word = _SHORT_REGIMES.get(text, text)
    if word not in LSTM_REGIMES:
        raise ValueError(_nearest(text, [*LSTM_REGIMES, *_SHORT_REGIMES]))
    return word


def _carry(text: str, _: VariantDefaults) -> list[int]:
    parts = text.split("+")
    if any(not part.isdecimal() or not 1 <= int(part) <= _MOST_CARRY_BARS for part in parts):
        raise ValueError("give numbers of bars with plus between them, for example 1+3")
    return [int(part) for part in parts]


def _features(text: str, defaults: VariantDefaults) -> list[str]:
    names = text.split("+")
    for name in names:
        if name not in defaults.feature_names:
            raise ValueError(f"unknown feature {name!r}: {_nearest(name, list(defaults.feature_names))}")
    if SCALED_RETURN not in names:
        raise ValueError(f"without {SCALED_RETURN} a state says nothing about the size of returns")
    return list(dict.fromkeys(names))


def _nothing(given: dict[str, Any], _: VariantDefaults) -> dict[str, Any]:
    return given


def _complete_switching(given: dict[str, Any], defaults: VariantDefaults) -> dict[str, Any]:
    return {"states": 2, "restarts": defaults.restarts, "seed": defaults.seed} | given


def _complete_hmm(given: dict[str, Any], defaults: VariantDefaults) -> dict[str, Any]:
    """All that the fit depends on: what an emission does not read is refused, and left out."""
    emission = given.get("emission", defaults.emission)
    read, unread = ("carry", "features") if emission == RETURN_VARIANCE else ("features", "carry")
    if unread in given:
        raise UsageError(f"hmm with emission={emission} does not read {unread}: leave it out, or choose another one")
    own: dict[str, Any] = {"emission": emission, "states": defaults.states}
    own |= {"carry": list(defaults.carry_bars)} if read == "carry" else {"features": list(defaults.features)}
    if read == "features" and "features" not in given and SCALED_RETURN not in defaults.features:
        raise UsageError(f"the configured hmm_features lack {SCALED_RETURN}: write hmm:features={SCALED_RETURN}+...")
    return own | {"restarts": defaults.restarts, "seed": defaults.seed} | given


def _complete_lstm(given: dict[str, Any], defaults: VariantDefaults) -> dict[str, Any]:
    plain = {"hidden": defaults.hidden, "regimes": defaults.lstm_regimes, "tuned": "default", "epochs": defaults.epochs}
    own: dict[str, Any] = plain | {"seed": defaults.seed} | given
    return own | ({} if own["regimes"] == NONE else {"hmm": _complete_hmm({}, defaults)})


_PLAIN: Mapping[str, _Option] = {}

FAMILIES: Mapping[str, _Family] = {
    "constant-t": _Family("the same Student-t for every bar", _PLAIN, _nothing),
    "ewma-t": _Family("Student-t on exponentially weighted squared returns (decay .94)", _PLAIN, _nothing),
    "garch-t": _Family("GARCH(1,1) with Student-t shocks, on returns freed of their season", _PLAIN, _nothing),
    "egarch-t": _Family("EGARCH(1,1) with asymmetry, likewise", _PLAIN, _nothing),
    "har": _Family(
        "t-HAR: Student-t, log scale linear in log realized variance over several horizons", _PLAIN, _nothing
    ),
    SWITCHING_HAR: _Family(
        "realized variance carried over HAR's horizons, with states for shocks",
        {"states": _Option("number of states, 2 to 5; 2 unless said", _whole(2, 5))},
        _complete_switching,
    ),
    HMM: _Family(
        "the regime model alone: states one step ahead, without the anchor that keeps their names",
        {
            "states": _Option("number of regimes, 2 to 5; hmm_states unless said", _whole(2, 5)),
            "emission": _Option(f"{', '.join(EMISSIONS)}; hmm_emission unless said", _choice(*EMISSIONS)),
            "carry": _Option("bars whose variance carries over, as 1+3; with return_variance only", _carry),
            "features": _Option("features of docs/features.md, as a+b; with the other emissions", _features),
        },
        _complete_hmm,
    ),
    LSTM: _Family(
        "the pool with the LSTM as it is published, fitted here on the CPU",
        {
            "hidden": _Option("width, 1 to 512; lstm_hidden unless said", _whole(1, 512)),
            "regimes": _Option(f"what it makes of the regimes of `hmm`: {', '.join(LSTM_REGIMES)} (or no), or yes for "
                               "the first; lstm_regimes unless said", _regimes),
            "tuned": _Option("no, default (usual lengths) or yes (the month's tuned ones); default unless said",
                             _choice(*TUNED_CHOICES)),
        },
        _complete_lstm,
    ),
    PUBLISHED: _Family("what was published for those bars, from the regimes table", _PLAIN, _nothing),
}  # fmt: skip
"""By the word that a text begins with."""
