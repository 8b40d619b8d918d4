"""What is changed in a model of Transformers when it is loaded, and that a damaged one is not."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BigBirdConfig, BigBirdModel, PreTrainedModel

from models import load_reader, load_tokenizer, save_reader
from models.arguments import EncoderArguments
from models.average import average_readers
from models.cross_encoder import load_cross_encoder, save_cross_encoder
from models.encoder import hash_model, load_bi_encoder, save_bi_encoder
from models.loading import load_pretrained
from runtime.errors import UserError


def _big_bird(folder: Any) -> PreTrainedModel:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    blocks = {"block_size": 4, "num_random_blocks": 1, "max_position_embeddings": 128}
    config = BigBirdConfig(**sizes, **blocks, pad_token_id=1, vocab_size=32)
    torch.manual_seed(0)
    BigBirdModel(config, add_pooling_layer=False).save_pretrained(folder)
    return load_pretrained(BigBirdModel, str(folder), config, "eager", add_pooling_layer=False)[0]


@torch.no_grad()
def test_big_bird_reads_a_batch_alike_whatever_it_read_before(tmp_path: Any) -> None:
    model = _big_bird(tmp_path).eval()
    generator = torch.Generator().manual_seed(0)
    long, short = (torch.randint(5, 32, (2, tokens), generator=generator) for tokens in (64, 28))  # 28 is too short
    before, numbers = model(input_ids=long).last_hidden_state, torch.get_rng_state()
    short_states = model(input_ids=short).last_hidden_state
    after = model(long).last_hidden_state
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(model(input_ids=short).last_hidden_state, short_states)
    assert torch.equal(torch.get_rng_state(), numbers)
    assert {id(weight) for weight in model.parameters()} == {id(weight) for _, weight in model.named_parameters()}
    assert not any(weight.is_meta for weight in model.parameters())
    model.set_attention_type("original_full")
    full = BigBirdModel.from_pretrained(tmp_path, attention_type="original_full", add_pooling_layer=False).eval()
    assert (full(input_ids=long).last_hidden_state - before).abs().max() > 1e-3  # blocks do differ


# ------------------------------------------------------------------------------------------- whole as it was written


def _reader(source: str, folder: Path) -> None:
    save_reader(folder, load_reader(source), load_tokenizer(source), {"metrics": {"eval_f1": 1.0}})


def _average(source: str, folder: Path) -> None:
    average_readers([source, source], folder)


def _encoders(source: str, folder: Path) -> None:
    save_bi_encoder(load_bi_encoder(source, EncoderArguments(passage_max_len=64)), folder)


def _reranker(source: str, folder: Path) -> None:
    save_cross_encoder(folder, load_cross_encoder(source))


def _load_reader(folder: Path) -> Any:
    return load_reader(str(folder), trained=True), load_tokenizer(str(folder))


MODELS: dict[str, tuple[str, Callable[[str, Path], None], Callable[[Path], Any], str]] = {
    "reader": ("reader_path", _reader, _load_reader, "."),
    "average": ("reader_path", _average, _load_reader, "."),
    "encoders": ("encoder_path", _encoders, lambda folder: load_bi_encoder(folder, EncoderArguments()), "p_encoder"),
    "reranker": ("reranker_path", _reranker, lambda folder: load_cross_encoder(str(folder)), "."),
}


@pytest.fixture(params=MODELS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Callable[[], Any], Path]:
    """A model that was saved here: what loads it, and the folder of its files."""
    fixture, save, load, inside = MODELS[request.param]
    save(request.getfixturevalue(fixture), tmp_path / "model")
    return lambda: load(tmp_path / "model"), tmp_path / "model" / inside


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_one_bit_of_weights_or_vocabulary_is_enough(saved: tuple[Callable[[], Any], Path], name: str) -> None:
    load, folder = saved
    load()
    content, rng = (folder / name).read_bytes(), random.Random(0)
    for place in rng.sample(range(len(content)), 2):
        damaged = bytes([content[place] ^ 1 << rng.randrange(8)])
        (folder / name).write_bytes(content[:place] + damaged + content[place + 1 :])
        with pytest.raises(UserError) as error:
            load()
        told, expected = str(error.value), f"the model {folder} is damaged ({name} is not as it was written): copy it"
        assert told.startswith(expected) and told.endswith(f"on purpose, delete {folder / 'checksums.json'}")
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        load()


def test_settings_that_were_edited_are_used_and_said(
    saved: tuple[Callable[[], Any], Path], log_lines: list[str]
) -> None:
    load, folder = saved
    settings = [name for name in ("encoder.json", "reranker.json") if (folder / name).exists()]
    for name in ("config.json", "tokenizer_config.json", *settings):
        content = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(json.dumps(json.loads(content)), encoding="utf-8")  # the same in other words
        log_lines.clear()
        load()
        warning = f"WARNING the model {folder} is used as it is, but {name} is not as it was written: copy it again, "
        (line,) = (line for line in log_lines if line.startswith("WARNING"))
        assert line == f"{warning}unless you edited it; deleting {folder / 'checksums.json'} ends this warning"
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=f"could be loaded from the folder {folder}: "):
        load()


def test_records_are_free_and_so_are_models_without_checksums(
    saved: tuple[Callable[[], Any], Path], log_lines: list[str]
) -> None:
    load, folder = saved
    for name in ("README.md", "metrics.json"):
        (folder / name).write_text("0", encoding="utf-8")
    load()
    (folder / "metrics.json").unlink()
    (folder / "checksums.json").write_text("{", encoding="utf-8")
    identity = hash_model(str(folder))
    with pytest.raises(UserError, match=r"checksums\.json is damaged"):
        load()
    (folder / "checksums.json").unlink()
    assert hash_model(str(folder)) == identity  # indexes stay
    (folder / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text())), encoding="utf-8")
    load()
    assert not [line for line in log_lines if line.startswith("WARNING")]


def test_a_copy_is_as_whole_as_its_original(saved: tuple[Callable[[], Any], Path], tmp_path: Path) -> None:
    load, folder = saved
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    content = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(content[:-1])
    load()
    with pytest.raises(UserError, match=f"the model {copied} is damaged"):
        load_pretrained(PreTrainedModel, str(copied), None, None)  # type: ignore[arg-type]  # refused before
