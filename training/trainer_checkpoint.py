"""The checkpoints of the Hugging Face Trainer, and which of them a run goes on from."""

from __future__ import annotations

from pathlib import Path

from runtime.errors import UserError
from runtime.files import read_json
from runtime.log import get_logger

logger = get_logger(__name__)


def find_checkpoint(output_dir: Path, resume_from: str | None, flag: str = "--output_dir") -> Path | None:
    """Return the checkpoint-N to resume from; None to start from scratch.

    ``resume_from`` is ``true`` for the newest one in ``output_dir`` (none yet: start from scratch, said so), or such a
    folder, or a run. Raises :class:`UserError` for a folder that holds none; ``flag`` is what named ``output_dir``.
    """
    if resume_from is None:
        return None
    newest = resume_from.lower() in ("true", "yes", "auto")
    checkpoints = _complete_checkpoints(output_dir if newest else Path(resume_from))
    if checkpoints:
        return checkpoints[max(checkpoints)]
    if not newest:
        raise UserError(
            f"--resume_from_checkpoint {resume_from} holds no checkpoint of the Trainer; name a checkpoint-N that this "
            f"command wrote, or pass true for the newest one in {flag}"
        )
    logger.info("nothing to resume in %s: the run starts from scratch", output_dir)
    return None


def newest_checkpoint(folder: Path) -> int | None:
    """Return the step of the newest checkpoint in ``folder``; None where there is none."""
    return max(_complete_checkpoints(folder), default=None)


def _complete_checkpoints(folder: Path) -> dict[int, Path]:
    """Return by step the checkpoints in ``folder``, and itself if it is one."""
    found = {}
    for state in (*folder.glob("trainer_state.json"), *folder.glob("checkpoint-*/trainer_state.json")):
        try:  # the Trainer writes its state last: a checkpoint without a whole one is not complete
            found[int(read_json(state)["global_step"])] = state.parent
        except (OSError, ValueError, TypeError, KeyError):
            logger.warning("%s is not complete and is passed over: its %s is damaged", state.parent, state.name)
    return found
