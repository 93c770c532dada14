"""Runs one benchmark by name, or all of them with a table at the end; each in a process of its own."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tradecore_pipeline_tests.benchmarks.report import SKIPPED

_FOLDER = Path(__file__).parent
_COLUMNS = ("name", "ours", "peer", "unit", "ratio", "equal", "peer_name")


def names() -> list[str]:
    """The benchmarks: the modules of this folder that define ``main``."""
    return [path.stem for path in sorted(_FOLDER.glob("*.py")) if path.stem != "__main__" and _defines_main(path)]


def _defines_main(path: Path) -> bool:
    body = ast.parse(path.read_text()).body
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in body)


def run(name: str) -> tuple[int, dict[str, Any] | None]:
    """The benchmark's exit status and, if that is 0, its JSON object; its output is passed through as it comes."""
    command = [sys.executable, "-m", f"tradecore_pipeline_tests.benchmarks.{name}"]
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            last = line
    return process.returncode, json.loads(last) if process.returncode == 0 else None


def main(arguments: list[str]) -> int:
    known = names()
    if len(arguments) > 1 or not set(arguments) <= set(known):
        sys.stderr.write(f"unknown benchmark {' '.join(arguments)}: choose one of {', '.join(known)}\n")
        return 2
    if arguments:
        return run(arguments[0])[0]
    found: list[dict[str, Any]] = []
    others: dict[str, list[str]] = {"skipped": [], "failed": []}
    for name in known:
        sys.stdout.write(f"--- {name}\n")
        sys.stdout.flush()
        status, result = run(name)
        if result is not None:
            found.append(result)
        else:
            others["skipped" if status == SKIPPED else "failed"].append(name)
    _print_table(found)
    for what, whose in others.items():
        if whose:
            sys.stdout.write(f"{what}: {', '.join(whose)}\n")
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if others["failed"] else 0


def _print_table(results: list[dict[str, Any]]) -> None:
    rows = [_COLUMNS, *(tuple(_shown(result[name]) for name in _COLUMNS) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
