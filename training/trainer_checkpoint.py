"""The checkpoints of the Hugging Face Trainer, and which of them a run goes on from."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from runtime.errors import UserError
from runtime.files import remove
from training.checkpoint import is_newest, newest_whole

_STEP = re.compile(r"checkpoint-(\d+)")
_RECORD = "trainer_state.json"


def find_checkpoint(output_dir: Path, resume_from: str | None, flag: str = "--output_dir") -> Path | None:
    """Return the checkpoint-N to resume from; None to start from scratch.

    ``resume_from`` is ``true`` for the newest one in ``output_dir`` that is whole (none yet: start from scratch, said
    so), or such a folder, or a run. Raises :class:`UserError` for a folder that holds none, and where none is whole;
    ``flag`` is what named ``output_dir``.
    """
    if resume_from is None:
        return None
    newest = is_newest(resume_from)
    folder = output_dir if newest else Path(resume_from)
    checkpoints = _checkpoints(folder)
    states = [checkpoints[step] for step in sorted(checkpoints, reverse=True)]
    if (folder / _RECORD).exists() or (not newest and _STEP.fullmatch(folder.name) and folder.is_dir()):
        states.append(folder)
    if not states and not newest:
        raise UserError(
            f"--resume_from_checkpoint {resume_from} holds no checkpoint of the Trainer; name a checkpoint-N that this "
            f"command wrote, or pass true for the newest one in {flag}"
        )
    return newest_whole(states, _RECORD, output_dir)


def newest_checkpoint(folder: Path) -> int | None:
    """Return the step of the newest checkpoint in ``folder``; None where there is none."""
    return max(_checkpoints(folder), default=None)


def remove_surplus(folder: Path, limit: int | None, kept: Collection[Path]) -> None:
    """Remove the oldest checkpoints above ``limit`` (0 or None: none) from ``folder``, but for those in ``kept``."""
    checkpoints = sorted(_checkpoints(folder).values(), key=lambda path: path.stat().st_mtime_ns)
    removable = [path for path in checkpoints if path not in kept]
    for old in removable[: max(0, len(checkpoints) - limit)] if limit else []:
        remove(old)


def _checkpoints(folder: Path) -> dict[int, Path]:
    """Return by step the folders in ``folder`` that are named as checkpoints."""
    named = ((_STEP.fullmatch(path.name), path) for path in folder.glob("checkpoint-*") if path.is_dir())
    return {int(step[1]): path for step, path in named if step}
