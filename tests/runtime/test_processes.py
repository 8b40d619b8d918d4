"""Several processes do as one."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate import PartialState

from runtime import processes
from runtime.errors import UserError
from runtime.processes import main_process_does


def test_what_the_main_process_refuses_is_refused_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PartialState()
    done: list[int] = []

    def refuse() -> None:
        done.append(1)
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        main_process_does(refuse)
    monkeypatch.setattr(PartialState, "is_main_process", property(lambda self: False))
    monkeypatch.setattr(processes, "broadcast_object_list", lambda messages: ["no"])  # what the main process sends
    with pytest.raises(UserError, match="no"):
        main_process_does(refuse)
    assert done == [1]
