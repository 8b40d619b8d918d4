"""Average the weights of several checkpoints of one reader.

    python average.py saved/roberta --best 3 --output_dir saved/roberta_average

The mean of the last or best checkpoints of a run often reads better than any of them (Izmailov et al. 2018, Averaging
Weights Leads to Wider Optima), at the price of none: it is one reader. Folders of checkpoints, from several runs too,
can be named themselves.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while the imports below take their seconds

import argparse
from collections.abc import Sequence

from models.average import average_readers, best_checkpoints, last_checkpoints
from runtime.errors import run_command
from runtime.log import configure_logging


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="average.py", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", help="One run, with --last or --best, or the checkpoints themselves.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--last", type=int, metavar="N", help="The N newest checkpoint-* of the run.")
    choice.add_argument("--best", type=int, metavar="N", help="The N of them with the highest exact match.")
    parser.add_argument("--output_dir", required=True, help="Folder for the averaged reader.")
    args = parser.parse_args(argv)
    if (args.last, args.best) != (None, None) and len(args.folders) > 1:
        parser.error("--last and --best choose among the checkpoints of one run: name one folder")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Average the readers that the command line names."""
    args = parse(argv)
    configure_logging()
    folders = args.folders
    if args.last is not None:
        folders = last_checkpoints(folders[0], args.last)
    elif args.best is not None:
        folders = best_checkpoints(folders[0], args.best)
    average_readers(folders, args.output_dir)


if __name__ == "__main__":
    run_command(main)
