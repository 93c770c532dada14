"""The one door to Backtrader."""

import importlib
import warnings
from typing import Any

from tradecore_pipeline.domain.errors import UsageError


def _imported() -> Any:
    with warnings.catch_warnings():
        # Invalid escapes in its sources, which Python tells of when it compiles them.
        warnings.filterwarnings("ignore", message="invalid escape sequence")
        try:
            return importlib.import_module("backtrader")
        except ModuleNotFoundError as error:
            if error.name != "backtrader":
                raise
            raise UsageError(
                "backtrader is not installed: pip install 'tradecore-pipeline[backtrader]' (it is GPLv3)"
            ) from None


bt: Any = _imported()
