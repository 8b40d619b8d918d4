"""A training run that is asked to stop does so after a whole optimizer step, all its processes after the same one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NoReturn

import torch
import torch.distributed
from accelerate import PartialState

from runtime.interrupts import Interrupted, interrupts_call
from runtime.log import get_logger

logger = get_logger(__name__)


class StopRequest:
    """What Ctrl-C or SIGTERM asks of a run. The second signal is not waited for: it ends the run at once."""

    def __init__(self) -> None:
        self._signum = 0
        self._group = None
        if PartialState().num_processes > 1:
            # on the CPU: asking a GPU would make the next step wait for the last
            self._group = torch.distributed.new_group(backend="gloo", timeout=timedelta(days=1))

    def make(self, signum: int) -> None:
        """Take in a signal."""
        if self._signum:
            raise Interrupted(signum)
        self._signum = signum
        # not from here, which may be the middle of another line
        text = "stopping after this step; the same signal again leaves at once"
        threading.Thread(target=logger.info, args=(text,), daemon=True).start()

    def is_made(self) -> bool:
        """Whether any process was asked to stop: to be called by all of them after every optimizer step."""
        signum = torch.tensor(self._signum)
        if self._group is not None:
            torch.distributed.all_reduce(signum, torch.distributed.ReduceOp.MAX, group=self._group)
        self._agreed = int(signum)
        return self._agreed > 0

    def leave(self) -> NoReturn:
        """Raise :class:`Interrupted` once all processes have saved what they had to."""
        PartialState().wait_for_everyone()
        raise Interrupted(self._agreed)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Let Ctrl-C and SIGTERM only ask the run to stop while the block runs."""
    request = StopRequest()
    with interrupts_call(request.make):
        yield request
