"""Request parameters of the venues beside Binance, and what refuses them."""

from collections.abc import Callable, Mapping


class RefusedError(Exception):
    """A request that a venue refuses, with the code and the words it puts into its envelope."""

    def __init__(self, code: str, message: str, *, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class Given:
    """A request's parameters; ``malformed`` makes the venue's refusal of the one it names."""

    def __init__(self, values: Mapping[str, str], malformed: Callable[[str], RefusedError]) -> None:
        self._values = values
        self._malformed = malformed

    def text(self, name: str) -> str | None:
        """An optional text; an empty one counts as absent."""
        return self._values.get(name) or None

    def required(self, name: str) -> str:
        """A mandatory text."""
        value = self.text(name)
        if value is None:
            raise self._malformed(name)
        return value

    def integer(self, name: str) -> int | None:
        """An optional whole number that is not negative."""
        value = self.text(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit()):
            raise self._malformed(name)
        return int(value)

    def limit(self, *, default: int, most: int) -> int:
        """How many rows may be answered; more than ``most`` are cut to it."""
        value = self.integer("limit")
        if value == 0:
            raise self._malformed("limit")
        return min(default if value is None else value, most)

    def choice(self, name: str, choices: Mapping[str, int]) -> int:
        """What a mandatory name out of ``choices`` stands for."""
        value = self.required(name)
        if value not in choices:
            raise self._malformed(name)
        return choices[value]
