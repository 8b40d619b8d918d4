"""What every table of times needs: the best of several runs, a fitted exponent, and the machine by name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from runtime.record import processor

Result = TypeVar("Result")


def timed(function: Callable[[], Result], repeats: int = 1) -> tuple[float, Result]:
    """Return the seconds of the fastest of ``repeats`` calls, and what the last one returned."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds), result


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the x of ``seconds = c * sizes ** x`` that fits best; nan for fewer than two sizes."""
    if len(sizes) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def machine() -> str:
    """Return the processor and how busy it is: a time means little without both."""
    return f"{processor()}; load {os.getloadavg()[0]:.1f}"
