"""Work that the processes of a command divide; all of it is this process's, except inside :func:`divided`.

Of a training command each process does what its loop gives it, at a time of its own: nothing is divided there. Torch is
imported only where there are several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Part = TypeVar("Part")
_place, _places = 0, 1


@contextmanager
def divided(process: int, processes: int) -> Iterator[None]:
    """Divide the work in the block, which all ``processes`` enter and go through alike."""
    global _place, _places
    before = _place, _places
    _place, _places = process, processes
    try:
        yield
    finally:
        _place, _places = before


def place() -> int:
    """Return the number of this process among those that divide the work; 0 is the main one."""
    return _place


def places() -> int:
    """Return how many processes divide the work."""
    return _places


def own_share(count: int) -> range:
    """Return which of ``count`` rows are this process's; in the order of the processes, the shares are all rows."""
    return range(count * _place // _places, count * (_place + 1) // _places)


def gathered(part: Part) -> list[Part]:
    """Return the ``part`` of every process, in their order, once all have called it."""
    if _places == 1:
        return [part]
    from accelerate.utils import gather_object

    return gather_object([part])


def done_once(action: Callable[[], object]) -> None:
    """Do ``action``, which divides nothing, in the main process alone; its :class:`UserError` is raised in all."""
    if _places == 1:
        action()
        return
    from runtime.processes import main_process_does

    with divided(0, 1):
        main_process_does(action)
