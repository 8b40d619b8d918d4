"""Commands in forked processes that have imported everything, watched, and disturbed at a chosen file operation."""

from __future__ import annotations

import faulthandler
import os
import random
import re
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from runtime.errors import run_command

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = {"open"} | {
    f"os.{name}" for name in ("rename", "remove", "mkdir", "rmdir", "link", "symlink", "truncate", "chmod")
}
_NUMBERS = count()  # of the files that processes say something in


class Job(NamedTuple):
    """A command that is run in a folder of its own, with the materials in ``..``; ``resume`` lets it go on."""

    name: str
    main: Callable[[Sequence[str]], Any]
    words: str
    resume: str = ""


class Ending(NamedTuple):
    """How a process ended: its exit status, that of a signal negative, None where it had to be ended; what it said."""

    status: int | None
    said: str

    @property
    def outcome(self) -> str:
        """``ended``, ``killed``, ``sentence``, ``traceback`` or ``hang``."""
        if self.status is None:
            return "hang"
        if "Traceback (most recent call last)" in self.said or self.status in (1, -signal.SIGSEGV, -signal.SIGABRT):
            return "traceback"
        if self.status == 0:
            return "ended"
        if self.status == 2:
            return "sentence" if re.search(r"^error: .*\S", self.said, re.MULTILINE) else "traceback"
        return "killed"


class Operations:
    """Counts what changes files in the working folder; at the ``at``-th operation, or from it on, ``act(path)``.

    An audit hook: it is called before the operation, and what it raises is raised in the operation's place.
    """

    def __init__(self, at: int = 0, act: Callable[[str], None] = lambda path: None, lasting: bool = False) -> None:
        self.at, self.act, self.lasting = at, act, lasting
        self.count = 0
        self.folder = os.getcwd()

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event not in _CHANGES or isinstance(args[0], int):
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & _WRITING):
            return
        path = os.fsdecode(args[0])
        if os.path.isabs(path) and not path.startswith(self.folder):
            return
        self.count += 1
        if self.count == self.at or (self.lasting and 0 < self.at < self.count):
            self.act(path)


class Running:
    """A command in a process and process group of its own, forked off from this one."""

    def __init__(self, job: Job, folder: Path, words: str = "", hook: Callable[[], Operations] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.said, self.counted = (
            folder.with_name(f"{folder.name}-{kind}-{next(_NUMBERS)}") for kind in ("said", "operations")
        )
        self.process = os.fork()
        if self.process == 0:
            self._run(job, folder, words, hook)
        self.handle = os.pidfd_open(self.process)

    def _run(self, job: Job, folder: Path, words: str, hook: Callable[[], Operations] | None) -> None:
        status = 1
        try:
            faulthandler.disable()  # pytest's
            os.setpgid(0, 0)
            os.chdir(folder)
            said = os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for number, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(said, number)
                setattr(sys, name, os.fdopen(os.dup(number), "w", buffering=1, encoding="utf-8"))
            for signum in (signal.SIGINT, signal.SIGTERM):
                signal.signal(signum, signal.SIG_DFL if signum == signal.SIGTERM else signal.default_int_handler)
            for seed in (random.seed, np.random.seed, torch.manual_seed):  # another process begins with other numbers
                seed(os.getpid())
            tempfile.tempdir = str(folder.parent)
            operations = hook() if hook else Operations()
            sys.addaudithook(operations)
            try:
                run_command(lambda: job.main([*job.words.split(), *words.split()]))
                status = 0
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
            operations.at = 0
            self.counted.write_text(str(operations.count))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def send(self, signum: int) -> None:
        """Send a signal to the command and what it has started."""
        try:
            os.killpg(self.process, signum)
        except ProcessLookupError:  # it has ended, or has no group yet
            signal.pidfd_send_signal(self.handle, signum) if self.is_running() else None

    def is_running(self, seconds: float = 0) -> bool:
        """Whether the command still runs after so many seconds."""
        return not select.select([self.handle], [], [], seconds)[0]

    def wait(self, seconds: float) -> Ending:
        """Return how it ended; what does not end in time is killed."""
        hangs = self.is_running(seconds)
        if hangs:
            self.send(signal.SIGKILL)
        _, status = os.waitpid(self.process, 0)
        os.close(self.handle)
        said = self.said.read_text(encoding="utf-8", errors="replace") if self.said.exists() else ""
        self.said.unlink(missing_ok=True)
        return Ending(None if hangs else os.waitstatus_to_exitcode(status), said)

    @property
    def operations(self) -> int:
        """How many file operations it made."""
        return int(self.counted.read_text())
