"""A command in two processes on the CPU, as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = (
    "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no "
    "--dynamo_backend no --main_process_port 0"
)


def in_two_processes(command: str, flags: list[str]) -> None:
    """Run ``command`` with ``flags``; it ends well, and ends."""
    result = start_two_processes(command, flags)
    assert result.returncode == 0, result.stderr


def start_two_processes(command: str, flags: list[str]) -> subprocess.CompletedProcess[str]:
    """Run ``command`` with ``flags``, and return how it ended."""
    # one GPU is no place for two processes
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    words = [sys.executable, *LAUNCH.split(), command, *flags]
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
