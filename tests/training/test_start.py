"""A run has its folder to itself, and that of its log; in several processes it is still one run."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from forgetting import forget_accelerator

from arguments import TrainDPRArguments, record_of
from runtime.arguments import TrainingRunArguments
from runtime.errors import UserError, WriteError
from runtime.files import read_json, write_text
from runtime.interrupts import Interrupted
from training.start import Start, enter_run, start_run


@pytest.fixture(autouse=True)
def one_process() -> Iterator[None]:
    yield
    forget_accelerator()


def _step(folder: Path) -> int | None:
    return 8 if (folder / "resume").exists() else None


def _enter(
    path: Path, log: Path | None = None, overwrite: bool = False, resume: bool = False
) -> AbstractContextManager[Start]:
    arguments = TrainDPRArguments(
        output_dir=str(path),
        logging_dir=log and str(log),
        overwrite_output_dir=overwrite,
        resume_from_checkpoint="true" if resume else None,
    )
    return enter_run(arguments, "fp32", lambda *_: None, _step)


def test_folder_and_log_are_taken_and_given_back(tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    with _enter(run, log) as start:
        assert start.folder == run
        for other in (lambda: _enter(run, resume=True), lambda: _enter(tmp_path / "other", log)):
            with pytest.raises(UserError, match="is in use by process"):
                other().__enter__()
        start.open(TrainDPRArguments(seed=7), {})
    assert read_json(run / "arguments.json") == record_of(TrainDPRArguments(seed=7))
    assert {path.name for path in tmp_path.rglob("*")} == {"run", "arguments.json", "environment.json"}
    with pytest.raises(UserError, match=r"--retriever_dir .*run already holds a run"):
        _enter(run).__enter__()
    with _enter(run, resume=True), pytest.raises(UserError, match=r"--logging_dir .*run is in use"):
        _enter(tmp_path / "other", run).__enter__()
    assert not (tmp_path / "other").exists()


def test_an_interrupt_says_where_the_run_stands(tmp_path: Path) -> None:
    write_text(tmp_path / "resume" / "state", "")
    said = {}
    for overwrite, opens in ((True, False), (True, True), (False, False)):
        with pytest.raises(Interrupted) as stopped, _enter(tmp_path, None, overwrite, not overwrite) as start:
            if opens:
                start.open(TrainDPRArguments(), {})
            raise KeyboardInterrupt
        said[overwrite, opens] = str(stopped.value)
        write_text(tmp_path / "resume" / "state", "")
    way = "\nto go on, add --resume_from_checkpoint true to the same command"
    assert said == {
        (True, False): "interrupted: no step was taken or saved yet",  # what is there is another run
        (True, True): f"interrupted: no step is saved in {tmp_path}{way}",
        (False, False): f"interrupted: step 8 is saved in {tmp_path}{way}",
    }


def test_a_full_disk_says_where_the_run_stands(tmp_path: Path) -> None:
    """Whoever writes: what is staged is named, torch and numpy name nothing."""
    write_text(tmp_path / "run" / "resume" / "state", "")
    elsewhere = tmp_path / "elsewhere"
    for error, named in (
        (WriteError(elsewhere, "the disk is full"), f"{elsewhere} cannot be written: the disk is full"),
        (OSError(errno.ENOSPC, ""), f"{tmp_path}/run cannot be written: No space left on device; make room there, or"),
    ):
        with pytest.raises(UserError) as stopped, _enter(tmp_path / "run", resume=True):
            raise error
        assert str(stopped.value).startswith(named)
        assert str(stopped.value).endswith(
            f"\nstep 8 is saved in {tmp_path}/run\nto go on, add --resume_from_checkpoint true to the same command"
        )
    with pytest.raises(FileNotFoundError), _enter(tmp_path / "run", resume=True):
        elsewhere.read_text()


def test_the_seed_decides_what_is_drawn(tmp_path: Path) -> None:
    drawn = []
    for seed in (7, 7, 8):
        with start_run(TrainingRunArguments(output_dir=str(tmp_path / "run"), seed=seed)) as start:
            drawn.append(torch.rand(3))
        assert start.precision in ("fp32", "bf16") and start.state is None
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_the_records_of_a_run_are_those_of_its_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = TrainingRunArguments(output_dir=str(run), precision="fp32", seed=7)
    with start_run(arguments) as start:
        start.open(arguments, {"train": "abc"}, resume=lambda state: pytest.fail("there is nothing to resume"))
    assert json.loads((run / "arguments.json").read_text()) == start.records["arguments"] == record_of(arguments)
    assert start.records["arguments"]["seed"] == 7
    environment = json.loads((run / "environment.json").read_text())
    assert environment == start.records["environment"]
    assert {name: environment[name] for name in ("seed", "precision", "processes")} == {
        "seed": 7, "precision": "fp32", "processes": 1,
    }  # fmt: skip
    assert environment["data"] == {"train": "abc"}


def test_a_run_that_cannot_go_on_stays_as_it_is(tmp_path: Path, log_lines: list[str]) -> None:
    state = tmp_path / "run" / "resume" / "step-00000004"
    state.mkdir(parents=True)
    (state / "state.json").write_text('{"progress": {}}')
    (tmp_path / "run" / "arguments.json").write_text('{"seed": 7}')

    def refuse(found: Path) -> None:
        assert found == state
        raise UserError("of another model")

    resuming = TrainingRunArguments(output_dir=str(tmp_path / "run"), seed=8, resume_from_checkpoint="true")
    with start_run(resuming) as start, pytest.raises(UserError, match="of another model"):
        start.open(resuming, {}, refuse)
    assert json.loads((tmp_path / "run" / "arguments.json").read_text()) == {"seed": 7}
    assert "WARNING --seed was 7 when the run began and is 8 now" in log_lines
    with pytest.raises(UserError, match=r"--retriever_dir .* already holds a run"):
        start_run(TrainDPRArguments(output_dir=str(tmp_path / "run"))).__enter__()
