"""Seconds per stage of a run."""

from __future__ import annotations

import time


class Stopwatch:
    """Collects the wall-clock seconds between calls of :meth:`lap`, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, name: str) -> None:
        """Book the time since the last lap under ``name``."""
        now = time.perf_counter()
        self.laps[name] = round(self.laps.get(name, 0.0) + now - self._since, 2)
        self._since = now
