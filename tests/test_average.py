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
from runtime.errors import UserError
from runtime.locks import claimed


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


def test_one_command_at_a_time_writes_the_average(run: Path, tmp_path: Path) -> None:
    (tmp_path / "average").mkdir()
    words = [str(run), "--last", "2", "--output_dir", str(tmp_path / "average")]
    with claimed(tmp_path / "average"), pytest.raises(UserError, match=r"--output_dir .*average is in use by process"):
        average.main(words)
    average.main(words)  # an empty folder is as good as none
    assert (tmp_path / "average" / "config.json").exists() and not (tmp_path / "average" / ".lock").exists()
    with pytest.raises(UserError, match="is there already"):
        average.main(words)
    for flaw in ("--last 9", f"--output_dir {tmp_path}/new --last 9"):
        with pytest.raises(UserError, match="has 4 checkpoints, not 9"):
            average.main([*words, *flaw.split()])
    assert not (tmp_path / "new").exists()
