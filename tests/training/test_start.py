"""The start of a run: what is refused before anything is touched, and what stands in its folder once it is open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from forgetting import forget_accelerator

from arguments import TrainDPRArguments, record_of
from runtime.arguments import TrainingRunArguments
from runtime.errors import UserError
from training.start import start_run


@pytest.fixture(autouse=True)
def one_process() -> Iterator[None]:
    yield
    forget_accelerator()


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
