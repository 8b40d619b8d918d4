"""How far something is: a bar in a terminal, a log line a minute where there is none."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tqdm.auto
import tqdm.std

from runtime.log import get_logger

logger = get_logger(__name__)

_SECONDS_BETWEEN_LINES = 60
_SPARE_COLUMNS = 3  # the cursor stands behind the bar, and a terminal writes ^C there
_NARROWEST_BAR = 5
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{figures}"
_LINE = "{desc}: {n_fmt} of {total_fmt} ({percentage:.0f} %), {remaining} left{figures}"
_IN_NOTEBOOK = tqdm.auto.tqdm.__module__ == "tqdm.auto"  # a class of its own only there


def progress_bar(*args: Any, **options: Any) -> tqdm.std.tqdm:
    """Return a :class:`ProgressBar`, in a notebook the widget that it has; arguments are those of ``tqdm``."""
    return (tqdm.auto.tqdm if _IN_NOTEBOOK else ProgressBar)(*args, **options)


def show_figures(bar: tqdm.std.tqdm, values: Mapping[str, float]) -> None:
    """Show what training logs of a step beside its ``bar``: loss, learning rate, epoch and speed."""
    forms = {
        "loss": ("loss", ".3g"),
        "learning_rate": ("lr", ".2g"),
        "epoch": ("epoch", ".2f"),
        "examples_per_second": ("ex/s", ".3g"),
    }
    bar.set_postfix({short: f"{values[name]:{form}}" for name, (short, form) in forms.items() if name in values})


@contextmanager
def map_bar(total: int, desc: str) -> Iterator[tqdm.std.tqdm]:
    """Show a bar that the function of a ``Dataset.map`` updates, in place of its own, which stays behind in a terminal
    and gets in the way of a bar above it."""
    import datasets  # a heavy import, and not every command needs it

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with progress_bar(total=total, desc=desc, unit="example", leave=False, delay=1) as bar:
            yield bar
    finally:
        if shown:
            datasets.enable_progress_bars()


class ProgressBar(tqdm.std.tqdm):
    """A bar that has room for itself however narrow the terminal is: it shows as many figures as leave it some.

    Where standard error is no terminal but a file, it is a line in the log each minute, and nothing if it is over
    within the first.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.lines = not sys.stderr.isatty()
        self.figures: list[str] = []
        if self.lines:
            options |= dict.fromkeys(("delay", "mininterval", "maxinterval"), _SECONDS_BETWEEN_LINES)
            options |= {"file": io.StringIO(), "leave": False}
        super().__init__(*args, dynamic_ncols=not self.lines, **options)

    def set_postfix(self, ordered_dict: Mapping[str, str] | None = None, refresh: bool = True, **figures: Any) -> None:
        """Show these figures behind the bar, the first ones where there is no room for all."""
        self.figures = [f"{name} {value}" for name, value in {**(ordered_dict or {}), **figures}.items()]
        if refresh and not self.lines:
            self.refresh()

    @property
    def format_dict(self) -> dict[str, Any]:
        """What is shown, as ``tqdm`` asks for it."""
        values = super().format_dict
        if self.lines:
            return values | {"bar_format": _LINE, "figures": "".join(f", {figure}" for figure in self.figures)}
        values["ncols"] = max(values["ncols"] - _SPARE_COLUMNS, 1) if values["ncols"] else None
        if self.figures:
            values["bar_format"] = _BAR
            for shown in range(len(self.figures), -1, -1):
                values["figures"] = "".join(f" {figure}" for figure in self.figures[:shown])
                text = self.format_meter(**(values | {"ncols": None}))  # with a bar of 10
                if values["ncols"] is None or len(text) - 10 + _NARROWEST_BAR <= values["ncols"]:
                    break
        return values

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Draw the bar, or log it."""
        if not self.lines:
            return super().display(msg, pos)
        if msg is None:
            logger.info("%s", self)
        return False
