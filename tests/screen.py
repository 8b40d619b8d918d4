"""What a terminal shows of a program that runs in it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def in_terminal(
    words: list[str], columns: int = 80, watch: Callable[[list[str]], None] | None = None
) -> tuple[int, list[str]]:
    """Run Python with ``words`` in a terminal of so many columns; return its exit status and the lines on the screen.

    ``watch`` is called with the lines after all that is written at once.
    """
    terminal, program = pty.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=environment, stdin=program, stdout=program, stderr=program
    )
    os.close(program)
    screen = Screen(columns)
    written = b""
    while True:
        try:
            written += os.read(terminal, 1 << 16)
        except OSError:  # the program has ended
            break
        text = written.decode("utf-8", "ignore")
        if len(text.encode("utf-8")) == len(written):
            screen.write(text)
            written = b""
            if watch is not None:
                watch(screen.lines())
    os.close(terminal)
    return process.wait(), screen.lines()


class Screen:
    """Lines of so many columns and a cursor that knows what progress bars need: back, down, and up."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[list[str]] = [[]]
        self.row = self.column = 0

    def write(self, text: str) -> None:
        """Show ``text``."""
        for part in text.replace("\x1b[A", "\0"):
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self._down()
            elif part == "\0":
                self.row = max(self.row - 1, 0)
            else:
                assert part.isprintable(), repr(part)
                if self.column == self.columns:
                    self._down()
                    self.column = 0
                line = self.rows[self.row]
                line += [" "] * (self.column + 1 - len(line))
                line[self.column] = part
                self.column += 1

    def lines(self) -> list[str]:
        """Return what is shown, without blanks at the ends."""
        return ["".join(line).rstrip() for line in self.rows]

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append([])
