"""Averaged readers: the mean of every weight, from the checkpoints that were asked for, in a folder that loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import save_checkpoints, tiny_reader
from transformers import PreTrainedTokenizerFast

from models import load_reader, load_tokenizer, save_reader
from models.average import average_readers, best_checkpoints, last_checkpoints
from runtime.errors import UserError
from runtime.files import read_json, write_json


@pytest.fixture
def run(bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    save_checkpoints(tmp_path / "run", bert_tokenizer)
    return tmp_path / "run"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_every_weight_is_the_mean(run: Path, tmp_path: Path, bert_tokenizer: PreTrainedTokenizerFast) -> None:
    folders = [run / f"checkpoint-{step}" for step in (20, 5, 300)]
    average_readers(folders, tmp_path / "average")
    found, sources = weights(tmp_path / "average"), [weights(folder) for folder in folders]
    assert found.keys() == sources[0].keys()
    for name, value in found.items():
        torch.testing.assert_close(value, sum(source[name] for source in sources) / 3, msg=name)
        assert value.dtype == torch.float32

    reader = load_reader(str(tmp_path / "average"), trained=True)
    assert reader.config.reader_head == {"name": "linear", "dropout": 0.1}  # the first's
    assert load_tokenizer(str(tmp_path / "average")).get_vocab() == bert_tokenizer.get_vocab()
    records = {
        name: json.loads((tmp_path / "average" / f"{name}.json").read_text()) for name in ("average", "arguments")
    }
    assert records == {"average": {"averaged": [str(folder) for folder in folders]}, "arguments": {"seed": 1}}
    assert not (tmp_path / "average" / "metrics.json").exists()  # nothing was measured


def test_what_is_no_floating_point_number_is_the_first_s(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str, **options) -> torch.nn.Module:
        reader = load_reader(name, **options)
        reader.register_buffer("steps", torch.tensor(int(name.rpartition("-")[2])))
        return reader

    monkeypatch.setattr("models.average.load_reader", load)
    average_readers([run / "checkpoint-20", run / "checkpoint-5"], tmp_path / "average")
    assert weights(tmp_path / "average")["steps"] == 20


def test_settings_of_the_first_are_kept_and_the_folder_of_a_run_means_its_best(
    run: Path, tmp_path: Path, bert_tokenizer: PreTrainedTokenizerFast
) -> None:
    reader = tiny_reader(bert_tokenizer, 7)
    reader.config.reader_settings = {"max_seq_len": 64}
    (run / "best").rmdir()
    with pytest.raises(UserError, match=f"{run} is a training run that has no best/ yet"):
        average_readers([run, run / "checkpoint-5"], tmp_path / "average")
    save_reader(run / "best", reader, bert_tokenizer)
    write_json(run / "arguments.json", {})
    average_readers([run, run / "checkpoint-5"], tmp_path / "average")  # the second is of another make
    assert load_reader(str(tmp_path / "average")).config.reader_settings == {"max_seq_len": 64}
    assert read_json(tmp_path / "average" / "average.json")["averaged"][0] == str(run / "best")


def test_what_has_no_average_is_refused(
    run: Path, tmp_path: Path, bert_tokenizer: PreTrainedTokenizerFast, encoder_path: str
) -> None:
    first, wide, titled = run / "checkpoint-5", tmp_path / "wide", tmp_path / "titled"
    save_reader(wide, tiny_reader(bert_tokenizer, 0, hidden=16), bert_tokenizer)
    with pytest.raises(UserError, match=r"no average: bert\.\S+ is \(\d+, 32\) there and \(\d+, 16\) here"):
        average_readers([first, wide], tmp_path / "average")
    reader = tiny_reader(bert_tokenizer, 0)
    reader.config.title_prefix = True
    save_reader(titled, reader, bert_tokenizer)
    with pytest.raises(UserError, match="no average: title_prefix is False there and True here"):
        average_readers([first, titled], tmp_path / "average")
    reader = tiny_reader(bert_tokenizer, 0)
    for folder, length in ((tmp_path / "short", 64), (tmp_path / "long", 96)):
        reader.config.reader_settings = {"max_seq_len": length, "stride_len": 16}
        save_reader(folder, reader, bert_tokenizer)
    with pytest.raises(UserError, match="no average: max_seq_len is 64 there and 96 here"):
        average_readers([tmp_path / "short", tmp_path / "long"], tmp_path / "average")
    with pytest.raises(UserError, match="encoder but no trained reader"):
        average_readers([first, encoder_path], tmp_path / "average")
    with pytest.raises(UserError, match="two checkpoints or more, not 1"):
        average_readers([first], tmp_path / "average")
    with pytest.raises(UserError, match="is there already"):
        average_readers([first, run / "checkpoint-20"], run)
    assert not (tmp_path / "average").exists() and len(list(run.iterdir())) == 5


def test_too_few_checkpoints_or_none_with_metrics(run: Path) -> None:
    with pytest.raises(UserError, match="has 4 checkpoints, not 5"):
        last_checkpoints(run, 5)
    (run / "checkpoint-20" / "metrics.json").unlink()
    with pytest.raises(UserError, match=r"--best needs the exact match of .*checkpoint-20"):
        best_checkpoints(run, 2)
