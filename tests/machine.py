"""What the tests run on, for the report of a test run: a result means little without it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from packaging.requirements import Requirement

from runtime.device import default_device, resolve_precision
from runtime.record import processor

ROOT = Path(__file__).resolve().parent.parent


def report() -> list[str]:
    """Return the lines that name processor, device, threads, precision and versions."""
    device = default_device()
    gpu = f"{torch.cuda.get_device_name()} and " if device.type == "cuda" else ""
    others = unpinned((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    return [
        f"tested on {device.type}: {gpu}{processor()}; {torch.get_num_threads()} of torch's threads; "
        f"--precision auto is {resolve_precision('auto', device)}",
        f"with Python {platform.python_version()}, torch {version('torch')}, transformers {version('transformers')}; "
        + (f"not as in constraints.txt: {', '.join(others)}" if others else "all versions as in constraints.txt"),
    ]


def unpinned(constraints: str) -> list[str]:
    """Return the installed packages, with their versions, that ``constraints`` pins to another version."""
    found = []
    for line in constraints.splitlines():
        if line.startswith("#"):
            continue
        pinned = Requirement(line)
        try:
            installed = version(pinned.name)
        except PackageNotFoundError:
            continue
        if (pinned.marker is None or pinned.marker.evaluate()) and not pinned.specifier.contains(installed, True):
            found.append(f"{pinned.name} {installed}")
    return found
