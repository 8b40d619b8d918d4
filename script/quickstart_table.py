"""Print what the quickstart reached, how long its stages took, and on what.

python script/quickstart_table.py outputs/quickstart/metrics.json training=230 answering=reused
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_FIGURES = {
    "hit@1": "gold passage found first",
    "hit@5": "... among the first 5",
    "hit@10": "... among the first 10",
    "oracle_exact_match": "exact match, gold passage given",
    "oracle_f1": "F1, gold passage given",
    "exact_match": "exact match, end to end",
    "f1": "F1, end to end",
}
_WIDTH = max(map(len, _FIGURES.values()))


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Print the quickstart's figures and times.", allow_abbrev=False)
    parser.add_argument("metrics", type=Path, help="metrics.json of the scored run")
    parser.add_argument("stages", nargs="*", metavar="STAGE=SECONDS", help="a stage and its seconds, or 'reused'")
    return parser.parse_args(argv)


def table(metrics: Mapping[str, float], stages: Sequence[str], environment: Mapping[str, Any]) -> str:
    """Return one line per figure, in percent, one per stage, and what ``environment`` says they were measured on."""
    lines = [f"{label:{_WIDTH}}{metrics[name]:8.2f} %" for name, label in _FIGURES.items()]
    for stage in stages:
        name, _, seconds = stage.partition("=")
        lines.append(f"{name:{_WIDTH}}" + (f"{int(seconds):8d} s" if seconds.isdigit() else f"{seconds:>8}"))
    lines += [f"{name:{_WIDTH}} {environment[name]}" for name in ("device", "processor", "precision")]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    metrics, environment = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (arguments.metrics, arguments.metrics.with_name("environment.json"))
    )
    print(table(metrics, arguments.stages, environment))


if __name__ == "__main__":
    main()
