"""A run has its folder to itself, and that of its log; in several processes it is still one run."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate import PartialState

from runtime import processes
from runtime.errors import UserError
from runtime.files import read_json, write_text
from runtime.interrupts import Interrupted
from runtime.processes import main_process_does
from training.run_folder import run_folder


def _step(folder: Path) -> int | None:
    return 8 if (folder / "resume").exists() else None


def _folder(path: Path, log: Path | None = None, overwrite: bool = False, resume: bool = False):
    return run_folder(path, log or path, overwrite, resume, _step, "--retriever_dir")


def test_folder_and_log_are_taken_and_given_back(tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    with _folder(run, log) as folder:
        assert folder.path == run
        for other in (lambda: _folder(run, resume=True), lambda: _folder(tmp_path / "other", log)):
            with pytest.raises(UserError, match="is in use by process"):
                other().__enter__()
        folder.open({"arguments": {"seed": 7}})
    assert read_json(run / "arguments.json") == {"seed": 7}
    assert {path.name for path in tmp_path.rglob("*")} == {"run", "arguments.json"}
    with pytest.raises(UserError, match=r"--retriever_dir .*run already holds a run"):
        _folder(run).__enter__()
    with _folder(run, resume=True), pytest.raises(UserError, match=r"--logging_dir .*run is in use"):
        _folder(tmp_path / "other", run).__enter__()
    assert not (tmp_path / "other").exists()


def test_an_interrupt_says_where_the_run_stands(tmp_path: Path) -> None:
    write_text(tmp_path / "resume" / "state", "")
    said = {}
    for overwrite, opens in ((True, False), (True, True), (False, False)):
        with pytest.raises(Interrupted) as stopped, _folder(tmp_path, None, overwrite, not overwrite) as folder:
            if opens:
                folder.open({})
            raise KeyboardInterrupt
        said[overwrite, opens] = str(stopped.value)
        write_text(tmp_path / "resume" / "state", "")
    way = "\nto go on, add --resume_from_checkpoint true to the same command"
    assert said == {
        (True, False): "interrupted: no step was taken or saved yet",  # what is there is another run
        (True, True): f"interrupted: no step is saved in {tmp_path}{way}",
        (False, False): f"interrupted: step 8 is saved in {tmp_path}{way}",
    }


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
