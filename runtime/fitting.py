"""How much a GPU's memory holds at once, and what to do where that is too little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from accelerate.utils.memory import should_reduce_batch_size

from runtime.device import free_memory
from runtime.errors import UserError


def largest_that_fits(attempt: Callable[[int], object], most: int) -> int:
    """Return the first of ``most``, half of it, a quarter, ..., 1 with which ``attempt(size)`` has memory enough.

    1 where none has: what runs out of memory then says so (see :func:`memory_for`).
    """
    size = most
    while size > 1:
        try:
            attempt(size)
            break
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
            size //= 2
        finally:
            free_memory()
    return size


@contextmanager
def memory_for(flag: str) -> Iterator[None]:
    """Raise :class:`UserError` naming ``flag``, which bounds it, where the block runs out of memory."""
    try:
        yield
    except RuntimeError as error:
        if not should_reduce_batch_size(error):
            raise
        reason = str(error).split(". ")[0]
        raise UserError(f"there is not enough memory ({reason}): lower {flag}") from None
