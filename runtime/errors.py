"""Errors that the user can fix: one clear sentence, no traceback."""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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


class WriteError(UserError):
    """The system refuses to write ``filename``, for the reason and with the way out that ``refusal`` names."""

    def __init__(self, filename: str | os.PathLike[str], refusal: str) -> None:
        super().__init__(f"{filename} cannot be written: {refusal}")
        self.filename, self.refusal = filename, refusal


_MAKE_ROOM, _ELSEWHERE = "make room there, or name another folder", "name another folder"
_WAYS_OUT = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR), _ELSEWHERE),
    **dict.fromkeys((errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.EBUSY, errno.EFBIG), _ELSEWHERE),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENODEV), "check the disk, or name a folder on another one"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit with ulimit -n"),
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ENOENT: "was it moved or removed meanwhile?",
}
_CODE = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")  # as Rust and shutil write it
_CUT_OFF = re.compile(
    r"\d+ requested and \d+ written|PytorchStreamWriter failed|unexpected pos \d+|iostream error"
)  # numpy, torch


def refusal_of(error: BaseException) -> str | None:
    """Return what the system refused and the way out, "No space left on device; make room ..."; None for another error.

    It is found in an ``OSError`` and in what safetensors, tokenizers, shutil, numpy and torch raise in its place.
    """
    if isinstance(error, UserError):  # whatever another one quotes, it says what is wrong
        return error.refusal if isinstance(error, WriteError) else None
    code = error.errno if isinstance(error, OSError) else None
    if code is None and (found := _CODE.search(str(error))):
        code = int(found[1] or found[2])
    if code is None and isinstance(error, OSError | RuntimeError) and _CUT_OFF.search(str(error)):
        return f"not all of it could be written; {_MAKE_ROOM}"
    return f"{os.strerror(code)}; {_WAYS_OUT[code]}" if code in _WAYS_OUT else None


@contextmanager
def printing() -> Iterator[None]:
    """Let the process end quietly where what the block prints is no longer read, as in ``score.py ... | head``.

    The exit status is that of other programs, which SIGPIPE ends then.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_unread():  # another pipe, as to a process of ours
            raise
        _drop_output()
        raise SystemExit(_UNREAD) from None


_UNREAD = 128 + 13  # SIGPIPE


def _is_unread() -> bool:
    """Whether whoever read standard output has gone."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def _drop_output() -> None:
    """Let what standard output did not take go nowhere, lest Python try again at the end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _can_print() -> bool:
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
        return False
    return True


def run_command(main: Callable[[], object]) -> None:
    """Run a command's ``main``: a :class:`UserError` becomes one message and exit status 2, as does what the system
    refuses, wherever that is noticed.

    Ctrl-C and SIGTERM become one message, of what is saved if anything is, and exit status 130 and 143.
    """
    try:
        with interrupts_call(raise_interrupted), printing():
            main()
    except UserError as error:
        print(f"error: {shown(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as error:
        interrupt = error if isinstance(error, Interrupted) else Interrupted(signal.SIGINT)
        if is_first_process():
            print(interrupt, file=sys.stderr)
        raise SystemExit(interrupt.status) from None
    except Exception as error:
        if (refusal := refusal_of(error)) is None:
            raise
        path = getattr(error, "filename", None) or ("" if _can_print() else "standard output")
        print(f"error: {path}{': ' if path else ''}{refusal}", file=sys.stderr)
        raise SystemExit(2) from None
