"""Score a predictions file against gold answers.

    python score.py --gold data/mini_wiki --predictions outputs/predictions.json --metric korquad

Prints exact match and overlap (F1 or ROUGE-W, see reading/metrics.py) in percent with 95 % bootstrap intervals.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import ScoreArguments, check_command_line

    check_command_line(ScoreArguments)  # --help and mistakes are answered before the slow ones

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arguments import ScoreArguments, parse_arguments
from loading.examples import load_examples
from reading.metrics import METRICS, references_of, score_examples
from runtime.errors import DataError, Problem, UserError, run_command
from runtime.log import configure_logging, get_logger
from runtime.statistics import bootstrap_interval, percent

logger = get_logger(__name__)


def parse(argv: Sequence[str] | None = None) -> ScoreArguments:
    """Parse the command line."""
    return parse_arguments(ScoreArguments, argv)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Print the figures and return them: ``questions``, and each score in percent with its ``_low`` and ``_high``."""
    args = parse(argv)
    configure_logging()

    predictions = read_predictions(args.predictions)
    references = read_references(args.gold)
    scores = score_examples(predictions, references, args.metric)
    warn_of_mismatch(predictions, references)

    figures: dict[str, float] = {"questions": len(references)}
    print(f"metric       {args.metric:>8}")
    print(f"questions    {len(references):>8}")
    for name, values in zip(("exact_match", METRICS[args.metric].overlap_name), scores, strict=True):
        mean = percent(values)
        low, high = bootstrap_interval(100 * values, args.bootstrap_samples, args.score_seed)
        figures |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        print(f"{name:<13}{mean:>8.2f} %  (95 % interval {low:.2f} to {high:.2f})")
    return figures


def read_predictions(path: str) -> dict[str, str]:
    """Read ``{id: text}``; a file that holds anything else raises :class:`UserError`, all bad entries at once."""
    repeated: list[str] = []

    def to_mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # json alone would silently keep the last answer of a repeated id.
        repeated.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return dict(pairs)

    try:
        # utf-8-sig: some editors on Windows put a byte-order mark before the text.
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=to_mapping)
    except OSError as error:
        raise UserError(f"--predictions {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"--predictions {path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise UserError(f"--predictions {path} is not valid JSON: {reason}") from None
    if not isinstance(content, dict):
        raise UserError(f"--predictions {path} must hold one mapping {{id: text}}")

    problems = [Problem(path, f"id {name!r}", "answered more than once") for name in repeated]
    problems += [
        Problem(path, f"id {name!r}", f"the answer must be text, not {json.dumps(answer, ensure_ascii=False)[:40]}")
        for name, answer in content.items()
        if not isinstance(answer, str)
    ]
    if problems:
        raise DataError(problems, "--predictions takes one text for each id, as in predictions.json.")
    return content


def read_references(path: str) -> dict[str, list[str]]:
    """Read the gold answers, of any layout; bad rows have to be corrected: leaving them out changes the score."""
    try:
        return references_of(load_examples(path, ["validation"])["validation"])
    except DataError as error:
        raise DataError(error.problems, f"Correct --gold {path}: scores are of all its questions.") from None


def warn_of_mismatch(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    """Warn of ids that only one side has, and of gold answers that are all empty."""
    missing = [name for name in references if name not in predictions]
    unknown = [name for name in predictions if name not in references]
    if missing:
        counts = f"{len(missing)} of {len(references)}"
        logger.warning("questions without a prediction, counted as wrong: %s (%s)", counts, _first(missing))
    if unknown:
        logger.warning("predictions for ids that no question has, ignored: %d (%s)", len(unknown), _first(unknown))
    if not any(map(any, references.values())):
        logger.warning("no question has a gold answer, so only empty predictions are right")


def _first(names: Sequence[str], count: int = 5) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


if __name__ == "__main__":
    run_command(main)
