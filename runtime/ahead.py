"""Work that overlaps: what comes next is made in a thread, and what a GPU computes is fetched one step later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
_END: Any = object()


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield ``items``, each of which is made in a thread while the one before it is in use."""
    coming = iter(items)
    with ThreadPoolExecutor(1, "ahead") as thread:
        future = thread.submit(next, coming, _END)
        while (item := future.result()) is not _END:
            future = thread.submit(next, coming, _END)
            yield item


def one_behind(items: Iterable[Item]) -> Iterator[Item]:
    """Yield ``items``, each once the one after it is made: a GPU computes that while this one is waited for."""
    waiting: list[Item] = []
    for item in items:
        yield from waiting
        waiting = [item]
    yield from waiting
