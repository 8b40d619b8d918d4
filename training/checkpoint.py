"""Resumable training state, and the rule that keeps the best checkpoints.

State is saved as safetensors and JSON, so that loading somebody's run cannot run code, and with checksums, so that a
damaged one is never gone on from.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from runtime.checksums import CHECKSUMS_NAME, fault_of_folder, sealed_folder
from runtime.errors import UserError
from runtime.files import read_json, remove, share_weights, write_json
from runtime.log import get_logger

logger = get_logger(__name__)

_STATES, _RECORD = "resume", "state.json"


@dataclass
class Progress:
    """Where a run stands: optimizer steps taken, the epoch, the batches of it already used, and what is to be logged.

    ``window`` is the state of the ``LossWindow``.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    window: list[float] = field(default_factory=list)


@dataclass
class BestCheckpoints:
    """The save rule: keep a checkpoint when eval loss fell, or when it did not fall but exact match rose.

    Of equal exact matches the higher ``f1`` is better, then the lower ``tied_loss``: both belong to the best one.
    Both bests are tracked, each over all evaluations; ``stale`` counts the evaluations since either got better, and
    ``kept`` lists the steps of the checkpoints on disk, oldest first.
    """

    loss: float | None = None
    loss_step: int | None = None
    exact_match: float | None = None
    exact_match_step: int | None = None
    f1: float | None = None
    tied_loss: float | None = None
    stale: int = 0
    kept: list[int] = field(default_factory=list)

    def update(self, step: int, loss: float, exact_match: float, f1: float = 0.0) -> bool:
        """Take in an evaluation; return whether its checkpoint is to be saved."""
        loss_fell = self.loss is None or loss < self.loss
        exact_match_rose = self._is_better(exact_match, f1, loss)
        if loss_fell:
            self.loss, self.loss_step = loss, step
        if exact_match_rose:
            self.exact_match, self.exact_match_step = exact_match, step
            self.f1, self.tied_loss = f1, loss
        self.stale += 1
        if loss_fell or exact_match_rose:
            self.stale = 0
            self.kept.append(step)
        return loss_fell or exact_match_rose

    def _is_better(self, exact_match: float, f1: float, loss: float) -> bool:
        if self.exact_match is None:
            return True
        if self.f1 is None or self.tied_loss is None:  # a state of an earlier version: of equal ones the first stays
            return exact_match > self.exact_match
        return (exact_match, f1, -loss) > (self.exact_match, self.f1, -self.tied_loss)

    def surplus(self, limit: int) -> list[int]:
        """Return, and forget, the oldest steps above ``limit`` (0: none); the two bests are never among them."""
        if limit == 0:
            return []
        removable = [step for step in self.kept if step not in (self.loss_step, self.exact_match_step)]
        surplus = removable[: max(0, len(self.kept) - limit)]
        self.kept = [step for step in self.kept if step not in surplus]
        return surplus


@dataclass
class BestScores:
    """The save rule of one model that is kept: its scores, the first that differs deciding, rose.

    ``stale`` counts the evaluations since they did.
    """

    scores: list[float] = field(default_factory=list)
    step: int | None = None
    stale: int = 0

    def update(self, step: int, *scores: float) -> bool:
        """Take in an evaluation; return whether its model is to be kept."""
        better = self.step is None or list(scores) > self.scores
        if better:
            self.scores, self.step = list(scores), step
        self.stale = 0 if better else self.stale + 1
        return better


_Best = TypeVar("_Best", BestCheckpoints, BestScores)


def save_state(
    output_dir: str | Path,
    progress: Progress,
    best: BestCheckpoints | BestScores,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    scaler: Any = None,
) -> None:
    """Write ``<output_dir>/resume/step-N``, whole or not at all, then remove older states.

    There is no moment without a complete state once the first one was written. Its weights take no room where a
    reader in ``output_dir`` has the same.
    """
    states = Path(output_dir) / _STATES
    folder = states / f"step-{progress.step:08d}"
    with sealed_folder(folder) as staging:
        # clones: safetensors refuses tensors that share memory; the metadata is that of save_pretrained
        weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        save_file(weights, staging / "model.safetensors", metadata={"format": "pt"})
        for reader in (f"checkpoint-{progress.step}", "best"):
            share_weights(staging, Path(output_dir) / reader)
        tensors, groups = _flatten_optimizer(optimizer)
        save_file(tensors, staging / "optimizer.safetensors")
        rng_tensors, rng_values = _rng_state()
        save_file(rng_tensors, staging / "rng.safetensors")
        write_json(
            staging / _RECORD,
            {
                "progress": asdict(progress),
                "best": asdict(best),
                "optimizer": groups,
                "scheduler": {k: v for k, v in scheduler.state_dict().items() if k != "lr_lambdas"},
                "scaler": scaler.state_dict() if scaler is not None else None,
                "rng": rng_values,
            },
        )
    for older in _complete_states(states):
        if older != folder:
            remove(older)


def remove_older_states(state: Path) -> None:
    """Remove the states before ``state`` that a run left which was killed while it removed them."""
    for other in _complete_states(state.parent):
        if other.name < state.name:
            remove(other)


def find_state(output_dir: str | Path, resume_from: str | None, flag: str = "--output_dir") -> Path | None:
    """Return the folder of the state to resume from; None to start from scratch.

    ``resume_from`` is ``true`` for the newest state in ``output_dir`` that is whole (none yet: start from scratch, said
    so), or the folder of one of its states. Raises :class:`UserError` for any other folder, and where no state is
    whole; ``flag`` is what named ``output_dir``.
    """
    if resume_from is None:
        return None
    states = _complete_states(Path(output_dir) / _STATES)
    if is_newest(resume_from):
        return newest_whole(states[::-1], _RECORD, output_dir)
    for state in states:
        if state.resolve() == Path(resume_from).resolve():
            return newest_whole([state], _RECORD, output_dir)
    held = f"it holds {', '.join(str(state) for state in states)}" if states else "it holds none"
    raise UserError(
        f"--resume_from_checkpoint {resume_from} is not a training state of {flag} {output_dir} ({held}): "
        "a run goes on in its own folder; pass true for its newest state"
    )


def is_newest(resume_from: str) -> bool:
    """Whether ``--resume_from_checkpoint`` asks for the newest state there is."""
    return resume_from.lower() in ("true", "yes", "auto")


def newest_whole(states: Sequence[Path], record: str, output_dir: str | Path) -> Path | None:
    """Return the first of ``states``, newest first, whose files are as they were written; None if there are none.

    Those that are passed over are warned of. ``record`` is a JSON file that each state has: of one without checksums,
    which an earlier version wrote, nothing else is checked. Raises :class:`UserError` where all are damaged.
    """
    faults: list[str] = []
    for state in states:
        if (fault := _fault_of(state, record)) is None:
            for passed_over in faults:
                logger.warning("%s and is passed over: the run goes on from %s", passed_over, state)
            return state
        faults.append(f"{state} is damaged ({fault})")
    if faults:
        raise UserError(
            f"{'; '.join(faults)}: go on from another state, or start the run again with --overwrite_output_dir in the "
            "place of --resume_from_checkpoint"
        )
    logger.info("nothing to resume in %s: the run starts from scratch", output_dir)
    return None


def _fault_of(state: Path, record: str) -> str | None:
    if (state / CHECKSUMS_NAME).exists():
        return fault_of_folder(state)
    try:
        sound = isinstance(content := read_json(state / record), dict) and content
    except FileNotFoundError:
        return f"{record} is missing"
    except (OSError, ValueError, RecursionError):
        sound = False
    if not sound:
        return f"{record} cannot be read"
    logger.warning("%s holds no %s: whether it is damaged cannot be told", state, CHECKSUMS_NAME)
    return None


def load_state(
    folder: str | Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    scaler: Any = None,
    best: type[_Best] = BestCheckpoints,  # type: ignore[assignment]  # the default of a generic parameter
) -> tuple[Progress, _Best]:
    """Restore model, optimizer, scheduler, loss scaler and random number generators; return where the run stood.

    ``best`` is the save rule that the run follows. Raises :class:`UserError` for the state of another run, or none.
    """
    folder = Path(folder)
    try:
        state = read_json(folder / _RECORD)
        weights, moments, rng = (load_file(folder / f"{name}.safetensors") for name in ("model", "optimizer", "rng"))
        progress, saved_best = Progress(**state["progress"]), best(**state["best"])
        groups, schedule, scale, rng_values = (state[name] for name in ("optimizer", "scheduler", "scaler", "rng"))
    except Exception as error:  # without checksums a damaged file can raise anything
        raise UserError(
            f"the state in {folder} is damaged ({error!r}): start the run again with --overwrite_output_dir in the "
            "place of --resume_from_checkpoint"
        ) from None
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the state in {folder} is of another model than this run's: {reason}") from None
    try:
        _restore_optimizer(optimizer, moments, groups)
    except ValueError:
        raise UserError(f"the state in {folder} trained other weights: resume with the freeze flags it had") from None
    scheduler.load_state_dict(schedule | {"lr_lambdas": [None] * len(optimizer.param_groups)})
    if scaler is not None and scale:
        scaler.load_state_dict(scale)
    _restore_rng(rng, rng_values)
    return progress, saved_best


def check_steps(step: int, total_steps: int, folder: str | Path) -> None:
    """Raise :class:`UserError` if the state in ``folder`` is of a later ``step`` than the last that is asked for."""
    if step > total_steps:
        raise UserError(
            f"the run is at step {step} ({folder}), more than the {total_steps} steps asked for: ask for more epochs "
            "or steps, or start another run"
        )


def newest_step(output_dir: str | Path) -> int | None:
    """Return the optimizer step of the newest state in ``output_dir``; None where there is none."""
    states = _complete_states(Path(output_dir) / _STATES)
    return int(states[-1].name.removeprefix("step-")) if states else None


def _complete_states(folder: Path) -> list[Path]:
    """Return the state folders, oldest first; a name is only ever given to a complete one."""
    return sorted(folder.glob("step-*"))


def _flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": value.detach().clone()
        for index, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor], groups: list[dict[str, Any]]
) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _rng_state() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    state: Any = np.random.get_state()
    name, keys, *rest = state
    tensors["numpy"] = torch.from_numpy(keys.astype(np.int64))
    version, words, gauss = random.getstate()
    return tensors, {"numpy": [name, *rest], "python": [version, list(words), gauss]}


def _restore_rng(tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
    name, *rest = values["numpy"]
    np.random.set_state((name, tensors["numpy"].numpy().astype(np.uint32), *rest))
    version, words, gauss = values["python"]
    random.setstate((version, tuple(words), gauss))
