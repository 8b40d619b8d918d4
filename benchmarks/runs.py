"""Commands run by a measurement: their words, a process of its own for each row, and the memory that it took."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch


def words_of(flags: Mapping[str, Any]) -> list[str]:
    """Return flags with their values as the words of a command line."""
    return [word for name, value in flags.items() for word in (f"--{name}", str(value))]


def measured_apart(module: str, words: Sequence[str], rows: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each of ``rows`` with what ``python -m module words --row ROW`` prints as JSON, one process at a time."""
    for row in rows:
        command = [sys.executable, "-m", module, *words, "--row", row]
        finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        yield row, json.loads(finished.stdout.splitlines()[-1])


def peak_memory() -> float:
    """Return how many GiB this process had in memory at most, of the GPU if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
