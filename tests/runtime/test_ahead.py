"""What is made ahead, and what is fetched behind, comes in order and stays a step away."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from runtime.ahead import ahead, one_behind


def test_the_next_item_is_made_in_a_thread_while_one_is_in_use() -> None:
    made: list[int] = []
    second_is_made = threading.Event()

    def items() -> Iterator[int]:
        for number in range(4):
            assert threading.current_thread() is not threading.main_thread()
            made.append(number)
            if number == 1:
                second_is_made.set()
            yield number

    found = ahead(items())
    assert next(found) == 0
    assert second_is_made.wait(10) and 3 not in made  # one ahead, not all
    assert list(found) == [1, 2, 3] and made == [0, 1, 2, 3]
    assert list(ahead([])) == []


def test_what_making_raises_comes_where_the_item_would() -> None:
    found = ahead(10 // number for number in (5, 2, 0, 1))
    assert [next(found), next(found)] == [2, 5]
    with pytest.raises(ZeroDivisionError):
        next(found)
    before = threading.active_count()
    found = ahead(iter(range(100)))
    next(found)
    found.close()  # as a reader does that raises
    assert threading.active_count() == before


def test_an_item_comes_once_the_next_one_is_made() -> None:
    made: list[int] = []
    found = one_behind(made.append(number) or number for number in range(3))
    assert [(item, len(made)) for item in found] == [(0, 2), (1, 3), (2, 3)]
    assert list(one_behind([])) == []
