"""Let several readers vote on every answer.

    python -m tools.ensemble --members outputs/roberta outputs/electra other.json --output_dir outputs/voted

Members are folders that inference.py wrote, or predictions {id: text} of any program. --tune chooses the weights on
validation questions; its last line gives them for the test questions.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import EnsembleArguments, check_command_line

    check_command_line(EnsembleArguments)  # --help and mistakes are answered before the slow ones

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arguments import EnsembleArguments, parse_arguments
from loading.arguments import column_names
from loading.examples import load_gold
from reading.metrics import mean_scores, references_of
from reading.predictions import predictions_of
from reading.voting import (
    Choice,
    Member,
    check_spans,
    error_correlations,
    read_members,
    select,
    vote,
    weights_of,
)
from retrieval.base import MissingPackage, import_optional
from retrieval.report import table
from runtime.errors import UserError, run_command
from runtime.files import staged_file, write_json
from runtime.locks import claimed
from runtime.log import configure_logging, get_logger

logger = get_logger("ensemble")

_PLOT = "error_correlation.png"


def parse(argv: Sequence[str] | None = None) -> EnsembleArguments:
    """Parse the command line."""
    return parse_arguments(EnsembleArguments, argv)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Vote and write the answers; return the scores (empty without --gold)."""
    args = parse(argv)
    configure_logging()
    members = read_members(args.members)
    if args.method == "logits":
        check_spans(members)
    references = read_gold(args.gold, column_names(args.column), members[0]) if args.gold is not None else None

    weights = list(args.weights or [1.0] * len(members))
    record: dict[str, Any] = {"method": args.method, "members": args.members, "tuned": args.tune}
    if references is not None and args.tune:
        steps = select(members, args.method, references)
        weights = [float(count) for count in weights_of(steps, len(members))]
        record["steps"] = [
            {"added": [args.members[index] for index in step.added], "exact_match": step.exact_match} for step in steps
        ]
    choices = vote(members, weights, args.method)
    record["weights"] = weights

    scores: dict[str, float] = {}
    if references is not None:
        scores = mean_scores(predictions_of(choices), references)
        record["scores"] = scores
        record["member_scores"] = [mean_scores(predictions_of(member.candidates), references) for member in members]
        record["error_correlations"] = error_correlations(members, references)
        print_scores(record)
    with claimed(args.output_dir):
        save(Path(args.output_dir), choices, record)
    return scores


def read_gold(path: str, names: Mapping[str, str], first: Member) -> dict[str, list[str]]:
    """Return the gold answers by id; :class:`UserError` if they are bad or of other questions than the members'."""
    references = references_of(load_gold(path, names))
    missing = [question for question in references if question not in first.candidates]
    if len(missing) == len(references):
        raise UserError(f"--gold {path} has none of the questions that {first.name} answers: name their gold answers")
    if missing:
        logger.warning("questions of --gold that no member answers, counted as wrong: %d", len(missing))
    return references


def print_scores(record: dict[str, Any]) -> None:
    """Print the score of each member and of their vote, how their errors correlate, and what tuning chose."""
    names = [f"{number} {name}" for number, name in enumerate(record["members"], start=1)]
    rows = [
        [name, f"{weight:g}", f"{scores['exact_match']:.2f}", f"{scores['f1']:.2f}"]
        for name, weight, scores in zip(
            [*names, f"vote ({record['method']})"],
            [*record["weights"], sum(record["weights"])],
            [*record["member_scores"], record["scores"]],
            strict=True,
        )
    ]
    print(table(["member", "weight", "exact match", "F1"], rows) + "\n")
    cells = [[_cell(value) for value in row] for row in record["error_correlations"]]
    header = ["correlation of errors", *map(str, range(1, len(names) + 1))]
    print(table(header, [[name, *row] for name, row in zip(names, cells, strict=True)]))
    if record["tuned"]:
        lines = [[" and ".join(step["added"]), f"{step['exact_match']:.2f}"] for step in record["steps"]]
        print("\n" + table(["added", "exact match"], lines))
        print("\nThe weights were chosen on these questions: measure them on others.")
        print(f"--method {record['method']} --weights {' '.join(f'{weight:g}' for weight in record['weights'])}")


def _cell(correlation: float | None) -> str:
    return "–" if correlation is None else f"{round(correlation, 2) + 0.0:.2f}"  # + 0.0: no minus before a zero


def save(output_dir: Path, choices: dict[str, list[Choice]], record: dict[str, Any]) -> None:
    """Write the answers, who voted with which weights and, with gold answers and matplotlib, the plot."""
    write_json(output_dir / "predictions.json", predictions_of(choices))
    nbest = {question: [choice._asdict() for choice in found] for question, found in choices.items()}
    write_json(output_dir / "nbest_predictions.json", nbest)
    write_json(output_dir / "ensemble.json", record)
    (output_dir / _PLOT).unlink(missing_ok=True)  # of an earlier vote
    if "error_correlations" in record:
        try:
            plot(record["error_correlations"], output_dir / _PLOT)
        except MissingPackage as error:
            logger.warning("%s is left out: %s", _PLOT, error)
    logger.info("%d answers in %s", len(choices), output_dir / "predictions.json")


def plot(correlations: Sequence[Sequence[float | None]], path: Path) -> None:
    """Draw the correlations as coloured cells with their figures; :class:`MissingPackage` without matplotlib."""
    import_optional("matplotlib", "matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = len(correlations)
    figure = Figure(figsize=(2.5 + 0.7 * size, 2 + 0.7 * size), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(np.array(correlations, dtype=float), vmin=-1, vmax=1, cmap="RdBu_r")  # of None it makes NaN
    for row, column in np.ndindex(size, size):
        value = correlations[row][column]
        colour = "white" if value is not None and abs(value) > 0.6 else "black"
        axes.text(column, row, _cell(value), ha="center", va="center", color=colour)
    numbers = range(1, size + 1)
    axes.set_xticks(range(size), map(str, numbers))
    axes.set_yticks(range(size), map(str, numbers))
    axes.set(title="correlation of errors", xlabel="member", ylabel="member")
    figure.colorbar(image)
    with staged_file(path) as staging:
        figure.savefig(staging, format="png", dpi=150)


if __name__ == "__main__":
    run_command(main)
