"""Average the weights of several checkpoints of one reader.

    python average.py saved/roberta --best 3 --output_dir saved/roberta_average

The mean of the last or best checkpoints of a run often reads better than any of them (Izmailov et al. 2018, Averaging
Weights Leads to Wider Optima), at the price of none: it is one reader. Folders of checkpoints, from several runs too,
can be named themselves.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import AverageArguments, check_command_line

    check_command_line(AverageArguments)  # --help and mistakes are answered before the slow ones

from collections.abc import Sequence
from pathlib import Path

from arguments import AverageArguments, parse_arguments
from models.average import average_readers, best_checkpoints, last_checkpoints
from runtime.errors import run_command
from runtime.locks import claimed
from runtime.log import configure_logging


def parse(argv: Sequence[str] | None = None) -> AverageArguments:
    """Parse the command line."""
    return parse_arguments(AverageArguments, argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Average the readers that the command line names."""
    args = parse(argv)
    configure_logging()
    folders: Sequence[str | Path] = args.folders
    if args.last is not None:
        folders = last_checkpoints(folders[0], args.last)
    elif args.best is not None:
        folders = best_checkpoints(folders[0], args.best)
    with claimed(args.output_dir):
        average_readers(folders, args.output_dir)


if __name__ == "__main__":
    run_command(main)
