"""Readers whose weights are the means of several, and the checkpoints of a run to take them from.

(Izmailov et al. 2018, Averaging Weights Leads to Wider Optima.)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from models.loading import load_tokenizer
from models.reader import load_reader, save_reader
from runtime.errors import UserError
from runtime.finite import check_weights
from runtime.log import get_logger
from runtime.output import find_model, read_record

logger = get_logger(__name__)


def average_readers(folders: Sequence[str | Path], out: str | Path) -> None:
    """Write to ``out`` the reader whose weights are the means, in float32, of those in ``folders``.

    What is no floating point number, the configuration, the tokenizer and the arguments are the first's;
    ``average.json`` names all of them. The folder of a run means its ``best/``. Raises :class:`UserError` for readers
    with other heads, settings or shapes, and when ``out`` holds something already.
    """
    if len(folders) < 2:
        raise UserError(f"an average takes two checkpoints or more, not {len(folders)}")
    if Path(out).exists() and any(not path.name.startswith(".") for path in Path(out).iterdir()):
        raise UserError(f"--output_dir {out} is there already: name a new folder")
    first, *others = averaged = [find_model(str(folder)) for folder in folders]
    reader = load_reader(first, trained=True)
    total = {name: weight.clone() for name, weight in reader.state_dict().items()}
    for folder in others:
        other = load_reader(folder, trained=True)
        _check_alike(first, reader, folder, other)
        for name, weight in other.state_dict().items():
            if weight.is_floating_point():
                total[name] += weight
    for weight in total.values():
        if weight.is_floating_point():
            weight /= len(folders)
    reader.load_state_dict(total)
    check_weights(reader.named_parameters(), "the average")  # sums can overflow
    paths = [Path(first) / name for name in ("arguments.json", "environment.json")]
    records = {path.stem: read_record(path) for path in paths if path.exists()}
    save_reader(out, reader, load_tokenizer(first), records | {"average": {"averaged": averaged}})
    logger.info("%s: the average of %s", out, ", ".join(averaged))


def _check_alike(first: str, reader: PreTrainedModel, folder: str, other: PreTrainedModel) -> None:
    ours, theirs = (_traits(model) for model in (reader, other))
    settings = [getattr(model.config, "reader_settings", {}) for model in (reader, other)]
    for name in settings[0].keys() & settings[1].keys():  # one of another make has none
        ours[name], theirs[name] = (saved[name] for saved in settings)
    for name in ours | theirs:
        if ours.get(name) != theirs.get(name):
            raise UserError(
                f"{first} and {folder} have no average: {name} is {ours.get(name)} there and {theirs.get(name)} here"
            )


def _traits(reader: PreTrainedModel) -> dict[str, Any]:
    """Return what readers must share to be averaged: head, what is read, shapes. Dropout only matters in training."""
    head = {f"the {name} of the head": value for name, value in reader.config.reader_head.items() if name != "dropout"}
    prefix = {"title_prefix": getattr(reader.config, "title_prefix", False)}
    return head | prefix | {name: tuple(weight.shape) for name, weight in reader.state_dict().items()}


def checkpoints_of(run: str | Path) -> list[Path]:
    """Return the ``checkpoint-N`` folders of a run, oldest first."""
    return sorted(Path(run).glob("checkpoint-[0-9]*"), key=lambda folder: int(folder.name.removeprefix("checkpoint-")))


def last_checkpoints(run: str | Path, count: int) -> list[Path]:
    """Return the ``count`` newest checkpoints of a run, newest first."""
    return _exactly(count, checkpoints_of(run)[::-1], run)


def best_checkpoints(run: str | Path, count: int) -> list[Path]:
    """Return the ``count`` checkpoints of a run with the highest exact match, best first; of equals the newer one."""
    scores = {}
    for folder in checkpoints_of(run):
        try:
            scores[folder] = float(read_record(folder / "metrics.json")["eval_exact_match"])
        except (UserError, KeyError, TypeError, ValueError):
            raise UserError(f"--best needs the exact match of {folder}, and no metrics.json there holds it") from None
    return _exactly(count, sorted(reversed(scores), key=lambda folder: -scores[folder]), run)


def _exactly(count: int, folders: list[Path], run: str | Path) -> list[Path]:
    if len(folders) < count:
        raise UserError(f"{run} has {len(folders)} checkpoints, not {count}; --save_total_limit says how many it keeps")
    return folders[:count]
