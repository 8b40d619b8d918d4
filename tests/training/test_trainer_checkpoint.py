"""Which checkpoint of a run of the Trainer is continued."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from forgetting import forget_accelerator
from killing import Killed, kill_at
from transformers import Trainer, TrainerState

import train_mrc_v2
import trainer_qa
from runtime.errors import UserError
from training.trainer_checkpoint import find_checkpoint, remove_surplus


@pytest.fixture
def command(training_command: list[str]) -> list[str]:
    return [*training_command, "--do_train"]


def test_a_damaged_checkpoint_is_passed_over(command: list[str], tmp_path: Path, log_lines: list[str]) -> None:
    run = tmp_path / "run"
    assert find_checkpoint(run, None) is None
    assert find_checkpoint(run, "true") is None
    train_mrc_v2.main([*command, "--save_steps", "4"])
    (run / "checkpoint-12" / "trainer_state.json").unlink()
    assert find_checkpoint(run, "true") == run / "checkpoint-8"
    for half in ("", "[]", "{}", '{"global_step": '):
        (run / "checkpoint-12" / "trainer_state.json").write_text(half)
        log_lines.clear()
        assert find_checkpoint(run, "true") == run / "checkpoint-8"
        assert log_lines == [
            f"WARNING {run}/checkpoint-12 is damaged (trainer_state.json is not as it was written) and is passed over: "
            f"the run goes on from {run}/checkpoint-8"
        ]
    assert find_checkpoint(tmp_path / "elsewhere", str(run)) == run / "checkpoint-8"
    assert find_checkpoint(tmp_path / "elsewhere", str(run / "checkpoint-4")) == run / "checkpoint-4"
    with pytest.raises(UserError, match="holds no checkpoint of the Trainer; name a checkpoint-N"):
        find_checkpoint(run, str(run / "best"))
    for step in (4, 8):
        weights = run / f"checkpoint-{step}" / "model.safetensors"
        content = weights.read_bytes()
        weights.unlink()  # which best/ may share
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for wish in ("true", str(run / "checkpoint-4")):
        with pytest.raises(
            UserError,
            match=r"checkpoint-4 is damaged \(model.safetensors is not as it was written\): go on from another",
        ):
            find_checkpoint(run, wish)


def test_a_checkpoint_of_an_earlier_version_is_taken(tmp_path: Path, log_lines: list[str]) -> None:
    for step, content in ((4, '{"global_step": 4}'), (8, ""), (12, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if content is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(content)
    (tmp_path / "checkpoint-notes").mkdir()
    assert find_checkpoint(tmp_path, "true") == tmp_path / "checkpoint-4"
    assert [line.removeprefix(f"WARNING {tmp_path}/") for line in log_lines] == [
        "checkpoint-4 holds no checksums.json: whether it is damaged cannot be told",
        "checkpoint-12 is damaged (trainer_state.json is missing) and is passed over: "
        f"the run goes on from {tmp_path}/checkpoint-4",
        "checkpoint-8 is damaged (trainer_state.json cannot be read) and is passed over: "
        f"the run goes on from {tmp_path}/checkpoint-4",
    ]


@pytest.mark.parametrize(
    ("owner", "function", "call"),
    [(Trainer, "_save_rng_state", 2), (TrainerState, "save_to_json", 3), (trainer_qa, "write_checksums", 2)],
)
def test_a_checkpoint_that_was_being_written_is_none(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, function: str, call: int
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, owner, function, call)
        train_mrc_v2.main([*command, "--num_train_epochs", "1", "--save_steps", "1"])
    forget_accelerator()
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-1"]
    train_mrc_v2.main([*command, "--num_train_epochs", "1", "--save_steps", "1", "--resume_from_checkpoint", "true"])
    assert {path.name for path in run.iterdir() if path.name.startswith((".", "checkpoint"))} == {
        f"checkpoint-{step}" for step in (1, 2, 3)
    }
    assert find_checkpoint(run, "true") == run / "checkpoint-3"


def test_the_oldest_checkpoints_are_surplus_whatever_their_steps(tmp_path: Path) -> None:
    for age, step in enumerate((4, 30, 2, 12, 100)):  # 2 was trained after a return to an earlier state
        (tmp_path / f"checkpoint-{step}").mkdir()
        os.utime(tmp_path / f"checkpoint-{step}", (age, age))
    held = lambda: {int(path.name.split("-")[1]) for path in tmp_path.iterdir()}
    for limit in (None, 0, 5):
        remove_surplus(tmp_path, limit, set())
        assert held() == {4, 30, 2, 12, 100}
    remove_surplus(tmp_path, 3, {tmp_path / "checkpoint-4"})
    assert held() == {4, 12, 100}
    remove_surplus(tmp_path, 1, {tmp_path / "checkpoint-4", tmp_path / "checkpoint-100"})
    assert held() == {4, 100}
