"""The processes of a command, however many they are: how they find each other, divide work, and part."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs, PartialState
from accelerate.utils import broadcast_object_list, gather_object

from runtime.device import default_device
from runtime.division import divided
from runtime.errors import NotFiniteError, UserError
from runtime.locks import claimed
from runtime.log import configure_logging

_PATIENCE = timedelta(days=1)  # for one process, which may prepare the data


def open_accelerator(precision: str, **options: Any) -> Accelerator:
    """Return the accelerator of a training command that computes in ``precision``, a resolved one.

    Without CUDA it is told so: several processes under ``accelerate launch`` or ``torchrun`` would else each train by
    themselves and write over each other.
    """
    handlers = [InitProcessGroupKwargs(timeout=_PATIENCE), *options.pop("kwargs_handlers", [])]
    accelerator = Accelerator(
        cpu=default_device().type == "cpu",
        mixed_precision={"fp32": "no"}.get(precision, precision),
        kwargs_handlers=handlers,
        **options,
    )
    if accelerator.num_processes > 1:
        atexit.register(_leave)
    return accelerator


@contextmanager
def joint_command(output_dir: str) -> Iterator[bool]:
    """Keep ``output_dir`` to a command that trains nothing and whose processes divide what it reads.

    Yields whether this is the main process, the one that prints and writes. In the block, which all of them enter and
    leave alike, work is divided (see ``runtime/division.py``).
    """
    processes = PartialState(cpu=default_device().type == "cpu", timeout=_PATIENCE)
    configure_logging(processes.is_main_process)
    with ExitStack() as claims:
        main_process_does(lambda: claims.enter_context(claimed(output_dir)))
        with divided(processes.process_index, processes.num_processes):
            yield processes.is_main_process
        wait_for_all()


@contextmanager
def together(accelerator: Accelerator) -> Iterator[None]:
    """Let a :class:`NotFiniteError` of one process end all: the others would else wait for it.

    Whoever enters must be joined by all other processes, and must not talk to them before it leaves.
    """
    error = None
    try:
        yield
    except NotFiniteError as caught:
        error = caught
    if accelerator.num_processes > 1:
        error = next((found for found in gather_object([error]) if found is not None), None)
    if error is not None:
        raise error


def take_step(accelerator: Accelerator, optimizer: Any, scheduler: Any) -> None:
    """Take a step of the optimizer, and one of the schedule unless the first was skipped.

    The loss scaler of fp16 skips a step whose gradients overflowed, and lowers its scale. (A fused optimizer is called
    all the same and skips by itself, so that ``optimizer_step_was_skipped`` does not know.)
    """
    scaler = accelerator.scaler
    scale = scaler.get_scale() if scaler is not None else None
    optimizer.step()
    if scale is None or scaler.get_scale() >= scale:
        scheduler.step()


def main_process_does(action: Callable[[], object]) -> None:
    """Do ``action`` in the main process alone; its :class:`UserError` is raised in all of them."""
    messages: list[str | None] = [None]
    if PartialState().is_main_process:
        try:
            action()
        except UserError as error:
            messages = [str(error)]
    (message,) = broadcast_object_list(messages)
    if message is not None:
        raise UserError(message)


def wait_for_all() -> None:
    """Wait for the other processes at the end: none may leave while another still talks to it.

    Those of a Trainer leave as ours do, not by ``Trainer.end``, which goes while its model is still there.
    """
    processes = PartialState()
    processes.wait_for_everyone()
    if processes.num_processes > 1:
        atexit.register(_leave)


def _leave() -> None:
    """Leave the process group once the command is over and its model gone.

    A model under DistributedDataParallel shares the group's ownership. Were it the last owner, it would end the
    group's thread while it holds the interpreter lock that this thread may need for its last tensor: a deadlock.
    """
    gc.collect()  # the model and what accelerate wraps around it refer to each other
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
