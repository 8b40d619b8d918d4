"""Errors that the user can fix: one clear sentence, no traceback."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

from runtime.interrupts import Interrupted, interrupts_call, is_first_process, raise_interrupted
from runtime.terminal import shown
from runtime.text import escaped


class UserError(Exception):
    """Something the user can fix; its text names the file, row or flag and the way out."""


class Problem(NamedTuple):
    """One thing that is wrong with the data: in which file, at which row, and why."""

    file: str
    row: str
    reason: str

    def __str__(self) -> str:
        return escaped(", ".join(part for part in (self.file, self.row) if part) + f": {self.reason}")


class DataError(UserError):
    """Every problem found in the data, listed at once."""

    def __init__(self, problems: Iterable[Problem], way_out: str = "") -> None:
        self.problems = list(problems)
        self.way_out = way_out
        noun = "problem" if len(self.problems) == 1 else "problems"
        lines = [f"{len(self.problems)} {noun} in the data:"]
        lines += [f"  {problem}" for problem in self.problems]
        if way_out:
            lines.append(way_out)
        super().__init__("\n".join(lines))


class NotFiniteError(UserError):
    """A model holds, or gives, nan or infinity: ``who`` (a flag and its value) and the ``finding`` about it."""

    def __init__(self, who: str, finding: str, way_out: str = "") -> None:
        super().__init__(who, finding, way_out)
        self.who, self.finding, self.way_out = who, finding, way_out

    def __str__(self) -> str:
        return f"{self.who} {self.finding}" + (f": {self.way_out}" if self.way_out else "")


def run_command(main: Callable[[], object]) -> None:
    """Run a command's ``main``: a :class:`UserError` becomes one message and exit status 2.

    Ctrl-C and SIGTERM become one message, of what is saved if anything is, and exit status 130 and 143.
    """
    try:
        with interrupts_call(raise_interrupted):
            main()
    except UserError as error:
        print(f"error: {shown(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as error:
        interrupt = error if isinstance(error, Interrupted) else Interrupted(signal.SIGINT)
        if is_first_process():
            print(interrupt, file=sys.stderr)
        raise SystemExit(interrupt.status) from None
