"""Ctrl-C and SIGTERM: one sentence and the usual exit status, whenever they come.

It imports nothing that takes time: a command reads it before all else, so that it holds while torch is imported.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ends the command; ``saved`` says what there is to go on with."""

    def __init__(self, signum: int, saved: str = "") -> None:
        self.signum = signum
        self.saved = saved
        super().__init__(_WORDS[signal.Signals(signum)] + (f": {saved}" if saved else ""))

    @property
    def status(self) -> int:
        """The exit status by which a shell knows the signal."""
        return 128 + self.signum


def leave_when_interrupted() -> None:
    """Let Ctrl-C and SIGTERM end the process at once: for the imports, before anything is read or written."""
    for signum in _WORDS:
        _handle(signum, _leave)


def raise_interrupted(signum: int) -> None:
    """Raise :class:`Interrupted`."""
    raise Interrupted(signum)


@contextmanager
def interrupts_call(action: Callable[[int], None]) -> Iterator[None]:
    """Call ``action`` with the number of the signal at each Ctrl-C or SIGTERM, while the block runs.

    It is for the process that enters it: one that is forked off meanwhile leaves Ctrl-C, which a terminal sends to
    all, to its parent, and dies of SIGTERM as usual. Signals only reach the main thread: in another nothing changes.
    """
    owner = os.getpid()

    def handle(signum: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            action(signum)
        elif signum == signal.SIGTERM:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: _handle(signum, handle) for signum in _WORDS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_DFL if handler is _leave else handler)  # the imports are over


def is_first_process() -> bool:
    """Whether this is the one process of a command that speaks, as ``accelerate launch`` numbers them."""
    return os.environ.get("RANK", "0") == "0"


def _handle(signum: int, handler: Callable[[int, FrameType | None], None]) -> signal._HANDLER:
    """Set ``handler``, unless the signal is ignored, as under nohup, and return the one before."""
    before = signal.getsignal(signum)
    if before is not signal.SIG_IGN:
        signal.signal(signum, handler)
    return before


def _leave(signum: int, frame: FrameType | None) -> None:
    interrupt = Interrupted(signum, "nothing was done yet")
    if is_first_process():
        os.write(2, f"{interrupt}\n".encode())
    os._exit(interrupt.status)  # an exception could be swallowed by a package that is being imported
