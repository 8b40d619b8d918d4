"""Shares are all of the work, and what is done once divides nothing."""

from __future__ import annotations

import accelerate.utils
import pytest

from runtime import processes
from runtime.division import divided, done_once, gathered, own_share, place, places
from runtime.errors import UserError


@pytest.mark.parametrize(("count", "processes"), [(7, 3), (2, 4), (0, 2), (12, 1)])
def test_the_shares_of_all_processes_are_all_rows_in_order(count: int, processes: int) -> None:
    shares = []
    for process in range(processes):
        with divided(process, processes):
            assert (place(), places()) == (process, processes)
            shares.append(own_share(count))
    assert [row for share in shares for row in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert (place(), places(), own_share(count)) == (0, 1, range(count))


def test_parts_come_from_all_processes_or_from_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gathered("mine") == ["mine"]
    monkeypatch.setattr(accelerate.utils, "gather_object", lambda parts: ["first", *parts])
    with divided(1, 2):
        assert gathered("mine") == ["first", "mine"]


def test_what_is_done_once_divides_nothing_and_fails_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    done_once(lambda: seen.append(places()))
    monkeypatch.setattr(processes, "main_process_does", lambda action: action())  # this is the main one
    with divided(0, 2):
        done_once(lambda: seen.append(places()))
        assert places() == 2

    def refuse(action: object) -> None:
        raise UserError("the main process says no")

    monkeypatch.setattr(processes, "main_process_does", refuse)
    with divided(1, 2):
        with pytest.raises(UserError, match="says no"):
            done_once(lambda: seen.append(99))
        assert places() == 2
    assert seen == [1, 1]
