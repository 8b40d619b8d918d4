"""average.py: which checkpoints of a run are averaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import save_checkpoints
from transformers import PreTrainedTokenizerFast

import average


@pytest.fixture
def run(bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    save_checkpoints(tmp_path / "run", bert_tokenizer)
    return tmp_path / "run"


@pytest.mark.parametrize(("flag", "steps"), [("--last", [300, 100, 20]), ("--best", [300, 20, 100])])
def test_the_command_chooses_among_the_checkpoints_of_a_run(
    run: Path, tmp_path: Path, flag: str, steps: list[int]
) -> None:
    average.main([str(run), flag, "3", "--output_dir", str(tmp_path / "average")])
    record = json.loads((tmp_path / "average" / "average.json").read_text())
    assert record["averaged"] == [str(run / f"checkpoint-{step}") for step in steps]


def test_the_command_takes_checkpoints_of_several_runs(run: Path, tmp_path: Path) -> None:
    folders = [run / "checkpoint-5", run / "checkpoint-300"]
    average.main([*map(str, folders), "--output_dir", str(tmp_path / "average")])
    found, *sources = (
        load_file(folder / "model.safetensors")["qa_outputs.weight"] for folder in (tmp_path / "average", *folders)
    )
    assert torch.equal(found, sum(sources) / 2)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [("a b --last 2", "name one folder"), ("a --last 2 --best 2", "--last and --best exclude each other")],
)
def test_a_choice_that_is_none_is_refused(words: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        average.parse([*words.split(), "--output_dir", "x"])
    assert complaint in capsys.readouterr().err
