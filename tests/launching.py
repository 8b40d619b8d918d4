"""A command in two processes on the CPU: those that ``accelerate launch`` or ``torchrun`` would start."""

from __future__ import annotations

import socket
import subprocess
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory

from forking import start


def in_two_processes(command: str, flags: list[str]) -> None:
    """Run ``command`` with ``flags``; it ends well, and ends."""
    result = start_two_processes(command, flags)
    assert result.returncode == 0, result.stderr


def start_two_processes(command: str, flags: list[str]) -> subprocess.CompletedProcess[str]:
    """Run ``command`` with ``flags``, and return how it ended; where one process fails, the other is ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    place["CUDA_VISIBLE_DEVICES"] = ""  # one GPU is no place for two processes
    with TemporaryDirectory() as folder:
        stdout, stderr = Path(folder) / "stdout", Path(folder) / "stderr"
        processes = [
            start(command, *flags, stdout=stdout, stderr=stderr, environment={**place, "RANK": n, "LOCAL_RANK": n})
            for n in "01"
        ]
        while running := [process for process in processes if process.exitcode is None]:
            hang = not wait([process.sentinel for process in running], timeout=600)
            for process in running:
                if hang:
                    process.kill()
                elif any(process.exitcode for process in processes):
                    process.terminate()
        status = next((process.exitcode for process in processes if process.exitcode), 0)
        return subprocess.CompletedProcess([command, *flags], status, stdout.read_text(), stderr.read_text())
