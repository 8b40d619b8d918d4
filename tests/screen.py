"""What a terminal shows of a program that runs in it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Callable
from multiprocessing.connection import wait

from forking import start


def in_terminal(
    words: list[str], columns: int = 80, watch: Callable[[list[str]], None] | None = None
) -> tuple[int | None, list[str]]:
    """Run a script with flags in a terminal of so many columns; return its exit status and the lines on the screen.

    ``watch`` is called with the lines after all that is written at once.
    """
    terminal, program = pty.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = start(*words, stdin=os.ttyname(program), stdout=os.ttyname(program), stderr=os.ttyname(program))
    screen = Screen(columns)
    written = b""
    while terminal in wait([terminal, process.sentinel]):
        written += os.read(terminal, 1 << 16)
        text = written.decode("utf-8", "ignore")
        if len(text.encode("utf-8")) == len(written):
            screen.write(text)
            written = b""
            if watch is not None:
                watch(screen.lines())
    os.close(program)
    os.close(terminal)
    process.join()
    return process.exitcode, screen.lines()


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
