"""A training command that is killed at a chosen moment, and goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch


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
) -> None:
    """Start ``command``, kill it at that call, and let another process, as it were, go on."""
    with patch.context() as patched:
        kill_at(patched, owner, function, call)
        with pytest.raises(Killed):
            main(command)
    torch.manual_seed(999)  # a new process begins with other random numbers
    main([*command, "--resume_from_checkpoint", "true"])


def leave_half_written(code: str) -> None:
    """Run ``code``, of which the last lines enter contexts of ``runtime.files``, in a process that is killed then."""
    words = [sys.executable, "-c", f"import os\nfrom runtime.files import *\n{code}\nos.kill(os.getpid(), 9)"]
    assert subprocess.run(words, cwd=Path(__file__).parent.parent).returncode == -9
