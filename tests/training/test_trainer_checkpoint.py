"""Which checkpoint of a run of the Trainer is continued."""

from __future__ import annotations

from pathlib import Path

import pytest

import train_mrc_v2
from runtime.errors import UserError
from training.trainer_checkpoint import find_checkpoint


@pytest.fixture
def command(training_command: list[str]) -> list[str]:
    return [*training_command, "--do_train"]


def test_an_incomplete_checkpoint_is_passed_over(command: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert find_checkpoint(run, None) is None
    assert find_checkpoint(run, "true") is None
    train_mrc_v2.main([*command, "--save_steps", "4"])
    (run / "checkpoint-12" / "trainer_state.json").unlink()
    assert find_checkpoint(run, "true") == run / "checkpoint-8"
    for half in ("", "[]", "{}", '{"global_step": '):
        (run / "checkpoint-12" / "trainer_state.json").write_text(half)
        assert find_checkpoint(run, "true") == run / "checkpoint-8"
    assert find_checkpoint(tmp_path / "elsewhere", str(run)) == run / "checkpoint-8"
    assert find_checkpoint(tmp_path / "elsewhere", str(run / "checkpoint-4")) == run / "checkpoint-4"
    with pytest.raises(UserError, match="holds no checkpoint of the Trainer; name a checkpoint-N"):
        find_checkpoint(run, str(run / "best"))
