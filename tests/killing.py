"""A training command that is killed at a chosen moment, and goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime.tracking import Tracker


class Killed(BaseException):
    """Stands in for a signal that nothing can catch."""


def kill_at(patch: pytest.MonkeyPatch, owner: Any, function: str, call: int) -> None:
    """Raise :class:`Killed` at the ``call``-th call of ``owner.function``, instead of it."""
    calls, original = 0, getattr(owner, function)

    def killed_at_call(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return original(*args, **options)

    patch.setattr(owner, function, killed_at_call)


def kill_and_resume(
    main: Callable[[list[str]], Any],
    command: list[str],
    patch: pytest.MonkeyPatch,
    owner: Any,
    function: str,
    call: int,
    saved: int | None,
) -> Any:
    """Start ``command``, kill it at that call, and let another process, as it were, go on from step ``saved``."""
    with patch.context() as patched:
        kill_at(patched, owner, function, call)
        with pytest.raises(Killed):
            main(command)
    return resume(main, command, patch, saved)


def resume(main: Callable[[list[str]], Any], command: list[str], patch: pytest.MonkeyPatch, saved: int | None) -> Any:
    """Let a killed ``command`` go on, and return what it returns.

    The state of step ``saved`` must be there, None for no state, and only later steps be logged from now on.
    """
    assert saved_step(_folder_of(command)) == saved
    torch.manual_seed(999)  # a new process starts with other random numbers
    steps: list[int] = []
    log = Tracker.log

    def noting(tracker: Tracker, step: int, values: dict[str, float]) -> None:
        steps.append(step)
        log(tracker, step, values)

    with patch.context() as patched:
        patched.setattr(Tracker, "log", noting)
        result = main([*command, "--resume_from_checkpoint", "true"])
    assert all(step > (saved or 0) for step in steps)
    return result


def saved_step(run: Path) -> int | None:
    """Return the step of the newest state in the folder of a run, ours or the Trainer's; None where there is none."""
    folders = (*run.glob("resume/step-*"), *(path.parent for path in run.glob("checkpoint-*/trainer_state.json")))
    return max((int(folder.name.split("-")[-1]) for folder in folders), default=None)


def _folder_of(command: list[str]) -> Path:
    flags = ("--output_dir", "--retriever_dir")
    return Path(command[max(number for number, word in enumerate(command) if word in flags) + 1])


def leave_half_written(code: str) -> None:
    """Run ``code``, of which the last lines enter contexts of ``runtime.files``, in a process that is killed then."""
    words = [sys.executable, "-c", f"import os\nfrom runtime.files import *\n{code}\nos.kill(os.getpid(), 9)"]
    assert subprocess.run(words, cwd=Path(__file__).parent.parent).returncode == -9
