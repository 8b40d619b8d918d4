"""Try several settings of a training command's flags, each in a folder and a process of its own, and compare them.

    python -m tools.sweep --config script/sweep_example.yaml

The same command again keeps the trials that are finished and goes on with the one that was interrupted. Writes to
--output_dir a folder for each trial, and the table of all of them: sweep.csv and, with every figure, sweep.json.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import SweepArguments, check_command_line

    check_command_line(SweepArguments)  # --help and mistakes are answered before the slow ones

import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from arguments import SweepArguments, parse_arguments
from runtime.errors import UserError, run_command
from runtime.files import read_json, write_json
from runtime.interrupts import Interrupted, interrupts_call
from runtime.locks import claimed
from runtime.log import configure_logging, get_logger
from runtime.spreadsheet import write_sheet
from runtime.sweeping import Setting, folder_of, import_optuna, suggested, text_of, value_text, words_of
from runtime.terminal import one_line, terminal_width, wrapped

logger = get_logger("sweep")

_ROOT = Path(__file__).resolve().parent.parent
_LOG, _RECORD = "log.txt", "trial.json"


def parse(argv: Sequence[str] | None = None) -> SweepArguments:
    """Parse the command line."""
    return parse_arguments(SweepArguments, argv)


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run all trials; return the settings with their figures, the best first.

    Raises :class:`UserError` at the end if trials failed, and :class:`Interrupted` after Ctrl-C or SIGTERM; what is
    finished is kept and in the table.
    """
    args = parse(argv)
    configure_logging()
    if args.method == "optuna":
        import_optuna()
    rows: list[dict[str, Any]] = []
    with claimed(args.output_dir):
        try:
            for number, setting in enumerate(settings_of(args, rows)):
                rows.append({"setting": setting, "trials": []})
                for count, seed in enumerate(args.seeds, start=number * len(args.seeds) + 1):
                    rows[-1]["trials"].append(run_trial(args, setting, seed, f"trial {count}"))
                    summarise(args, rows[-1])
                    save(args, ranked(args, rows))
        except KeyboardInterrupt as interrupt:
            done = sum("metrics" in trial for row in rows for trial in row["trials"])
            kept = f"{done} finished trial{' is' if done == 1 else 's are'} kept in {args.output_dir}"
            saved = f"{kept}\nto go on, give the same command again"
            raise Interrupted(getattr(interrupt, "signum", signal.SIGINT), saved) from None
    rows = ranked(args, rows)
    print(table(args, rows))
    failed = [trial for row in rows for trial in row["trials"] if "failure" in trial]
    if failed:
        head = f"{len(failed)} of {len(rows) * len(args.seeds)} trials failed, and the same command tries them again:"
        raise UserError("\n".join([head, *(f"  {trial['folder']}: {trial['failure']}" for trial in failed)]))
    return rows


def settings_of(args: SweepArguments, rows: Sequence[dict[str, Any]]) -> Iterator[Setting]:
    """Yield what to try; where Optuna chooses, by the scores in ``rows`` so far."""
    if args.method != "optuna":
        settings = args.settings()
        logger.info("%d settings, %d trials", len(settings), len(settings) * len(args.seeds))
        yield from settings
        return
    maximize = args.goal == "highest"
    yield from suggested(args.space, args.trials, args.sweep_seed, maximize, lambda setting: rows[-1]["mean"])


def run_trial(args: SweepArguments, setting: Setting, seed: int, name: str) -> dict[str, Any]:
    """Return seed, folder, seconds and metrics of a trial, which is run unless it is finished; or why it failed.

    ``name`` is what messages call it.

    Ctrl-C and SIGTERM go to its process, which saves where it stands, and are then raised as :class:`Interrupted`.
    """
    folder = Path(args.output_dir) / folder_of(setting, {"program": args.program, **args.flags}) / f"seed-{seed}"
    logger.info("%s: %s, seed %d", name, text_of(setting), seed)
    if (folder / _RECORD).exists():
        logger.info("%s: finished before", name)
        return read_json(folder / _RECORD) | {"folder": str(folder)}
    logger.info("%s: its log is %s", name, folder / _LOG)
    folder.mkdir(parents=True, exist_ok=True)
    own = {args.folder_flag: str(folder), "seed": str(seed), "resume_from_checkpoint": "true"}
    words = words_of({**args.flags, **setting, **own})
    start = time.monotonic()
    trial: dict[str, Any] = {"seed": seed, "folder": str(folder)}
    status = run_process([sys.executable, str(_ROOT / args.program), *words], folder / _LOG)
    trial["seconds"] = round(time.monotonic() - start, 1)
    if status != 0 or not (folder / "metrics.json").exists():
        trial["failure"] = f"exit status {status}: {last_line(folder / _LOG).removeprefix('error: ')}"
        logger.warning("%s failed, %s", name, trial["failure"])
        return trial
    trial["metrics"] = read_json(folder / "metrics.json")
    write_json(folder / _RECORD, trial)
    score = trial["metrics"].get(args.sweep_metric)
    logger.info("%s: %s %s, in %.0f s", name, args.sweep_metric, score, trial["seconds"])
    return trial


def run_process(command: Sequence[str], log: Path) -> int:
    """Run a command, what it says added to ``log``; return its exit status.

    It has a session of its own: a terminal sends Ctrl-C to us alone, and we pass it on once, as any signal.
    """
    asked: list[int] = []
    running: list[subprocess.Popen] = []

    def pass_on(signum: int) -> None:
        asked.append(signum)
        for process in running:
            process.send_signal(signum)

    with interrupts_call(pass_on), log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        if asked:  # it came while the process was made
            process.send_signal(asked[0])
        running.append(process)
        status = process.wait()
    if asked and status != 0:
        raise Interrupted(asked[0])
    return status


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return one_line(next((line for line in reversed(lines) if line.strip()), "it said nothing"))


def summarise(args: SweepArguments, row: dict[str, Any]) -> None:
    """Add to a setting the mean and the spread (sample standard deviation) over its finished seeds of all metrics."""
    measured = [trial["metrics"] for trial in row["trials"] if "metrics" in trial]
    for metrics in measured:
        if args.sweep_metric not in metrics:
            known = ", ".join(name for name in metrics if name != "step")
            given = f"--sweep_metric {args.sweep_metric}"
            raise UserError(f"{given} is not measured by {args.program}; choose from: {known}")
    names = [name for name in (measured[0] if measured else {}) if all(name in metrics for metrics in measured)]
    row["metrics"] = {}
    for name in names:
        values = [metrics[name] for metrics in measured]
        spread = statistics.stdev(values) if len(values) > 1 else None
        row["metrics"][name] = {"mean": statistics.fmean(values), "spread": spread}
    own = row["metrics"].get(args.sweep_metric, {"mean": None, "spread": None})
    row |= {"finished": len(measured), **own}


def ranked(args: SweepArguments, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings, each once, the best first; those without a score are last."""
    sign = -1 if args.goal == "highest" else 1
    rows = [row for i, row in enumerate(rows) if row["setting"] not in [other["setting"] for other in rows[:i]]]
    return sorted(rows, key=lambda row: (row["mean"] is None, 0 if row["mean"] is None else sign * row["mean"]))


def save(args: SweepArguments, rows: Sequence[dict[str, Any]]) -> None:
    """Write sweep.json and sweep.csv, one row a setting."""
    folder = Path(args.output_dir)
    facts = {name: getattr(args, name) for name in ("program", "flags", "method", "sweep_metric", "goal", "seeds")}
    write_json(folder / "sweep.json", facts | {"settings": rows})
    metrics = list(dict.fromkeys([args.sweep_metric, *(name for row in rows for name in row["metrics"])]))
    columns = [*args.grid, "finished", *(f"{name}{what}" for name in metrics for what in ("", " spread"))]
    lines = [
        [
            *map(value_text, row["setting"].values()),
            row["finished"],
            *(row["metrics"].get(name, {}).get(what) for name in metrics for what in ("mean", "spread")),
        ]
        for row in rows
    ]
    write_sheet(folder / "sweep.csv", columns, lines)


def table(args: SweepArguments, rows: Sequence[dict[str, Any]]) -> str:
    """Return the settings as lines no wider than the terminal, the best first."""
    metric = str(args.sweep_metric)
    width = max(len(metric), 8)
    lines = [f"{metric:>{width}}  spread  seeds  setting"]
    for row in rows:
        mean, spread = (f"{row[name]:.2f}" if row[name] is not None else "–" for name in ("mean", "spread"))
        seeds = f"{row['finished']}/{len(args.seeds)}"
        first = f"{mean:>{width}}  {spread:>6}  {seeds:>5}  "
        lines.append(wrapped(one_line(text_of(row["setting"])), terminal_width(), first, " " * len(first)))
    if rows[0]["finished"]:
        lines.append(f"best: {Path(rows[0]['trials'][0]['folder']).parent}")
    return "\n".join([*lines, f"all figures: {Path(args.output_dir) / 'sweep.csv'}"])


if __name__ == "__main__":
    run_command(main)
