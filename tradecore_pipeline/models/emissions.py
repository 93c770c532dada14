"""What a state says about a bar: the small interface behind which the families of regime models stand."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats


class Emission(Protocol):
    """The states of a fitted model, K of them; everything it needs to know comes from the training window."""

    @property
    def kind(self) -> str:
        """One of ``inputs.EMISSIONS``."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """The features it looks at; those that are not in ``inputs.FEATURES`` must be given as columns."""
        ...

    @property
    def equal_scales(self) -> bool:
        """Whether states differ by their mean returns alone, so that none is calmer than another."""
        ...

    def log_likelihood(self, bars: pd.DataFrame, columns: pd.DataFrame | None, *, timeframe: Timeframe) -> Floats:
        """Log density (T, K) of what each bar showed, known at its ts_close; zeros where nothing was observed."""
        ...

    def next_return(self, bars: pd.DataFrame, *, timeframe: Timeframe) -> tuple[Floats, Floats, Floats]:
        """Locations, scales (percent) and degrees of freedom (T, K) of the next bar's return in each state.

        Raises:
            ValueError: the model does not look at returns.
        """
        ...

    def reordered(self, order: NDArray[np.intp]) -> Self:
        """The same states in another order."""
        ...

    def to_arrays(self) -> dict[str, Floats]:
        """Everything numeric, for an npz file."""
        ...

    def config(self) -> dict[str, Any]:
        """Everything that is not numeric, for a JSON file."""
        ...


EmissionT = TypeVar("EmissionT", bound=Emission)


@dataclass(frozen=True, slots=True)
class Fitted(Generic[EmissionT]):
    """What a family's fit of a training window returns."""

    emission: EmissionT
    transmat: Floats
    cold_gain: float
    """By how many nats fresh starts are more likely than the fit from the anchor; NaN without an anchor."""
    anchored: bool
    """Whether it is the fit from an anchor."""

    def reordered(self, order: NDArray[np.intp]) -> Self:
        """The same fit with its states in another order."""
        transmat = np.ascontiguousarray(self.transmat[np.ix_(order, order)])
        return replace(self, emission=self.emission.reordered(order), transmat=transmat)


@dataclass(frozen=True, slots=True)
class Start:
    """Where EM begins on the window of another month: the model of the anchor's."""

    emission: Emission
    transmat: Floats


def emission_from_parts(config: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Emission:
    """The emission that its ``config`` and ``to_arrays`` described; one from before there were families names none."""
    from tradecore_pipeline.models.feature_emissions import (  # noqa: PLC0415 (families import this module)
        GaussianEmission,
        StudentTEmission,
    )
    from tradecore_pipeline.models.return_variance import ReturnVarianceEmission  # noqa: PLC0415 (as above)

    families: dict[str, type[Any]] = {
        "return_variance": ReturnVarianceEmission,
        "student_t": StudentTEmission,
        "gaussian": GaussianEmission,
    }
    return families[config.get("emission", "student_t")].from_parts(config, arrays)
