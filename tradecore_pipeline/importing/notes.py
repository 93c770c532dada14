"""What a person should know about the files that were read, each thing said once."""

from collections.abc import Iterator


class Notes:
    """Remarks about files; the same remark about many files is one line."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, remark: str, name: str) -> None:
        """Say ``remark`` of the file ``name``; saying it twice is saying it once."""
        names = self._names.setdefault(remark, [])
        if name not in names:
            names.append(name)

    def lines(self) -> Iterator[str]:
        """One line per remark, in the order they were first made."""
        for remark, names in self._names.items():
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            yield f"{names[0]}{others}: {remark}"
