"""Bi-encoders: what text becomes a vector, how, and what comes back from disk."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from comparing import assert_close, is_close
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertModel, DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

from arguments import RetrieverArguments
from models.encoder import (
    BiEncoder,
    EncoderSpec,
    encode,
    encoder_identity,
    load_bi_encoder,
    load_settings,
    pool,
    save_bi_encoder,
)
from runtime.errors import UserError

SETTINGS = {
    "pooling": "mean",
    "normalize": True,
    "question_prefix": "왕 ",
    "passage_prefix": "서울 ",
    "passage_max_len": 128,
}
PAIRS = [
    ("세종", "세종은 조선의 왕이다."),
    ("", "한강이 서울의 가운데를 흐른다."),
    ("금성", "행성"),
    ("부산", "부산항 " * 40),
]


def arguments(**flags: object) -> RetrieverArguments:
    return RetrieverArguments(**{"passage_max_len": 128} | flags)


@pytest.fixture
def bi_encoder(encoder_path: str, device: torch.device) -> BiEncoder:
    """Two encoders that differ."""
    loaded = load_bi_encoder(encoder_path, arguments(**SETTINGS)).to(device)
    with torch.no_grad():
        loaded.q_encoder.embeddings.word_embeddings.weight.mul_(2)
    return loaded


def write(path: Path, content: object) -> None:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


# ------------------------------------------------------------------------------------------------------------- vectors


@pytest.mark.parametrize("dimensions", [None, 3])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_pooling_against_loops(pooling: str, normalize: bool, dimensions: int | None) -> None:
    hidden_states, mask = torch.randn(3, 4, 5), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]])
    is_cls = torch.tensor([[True, False, False, False], [False, True, False, False], [False, False, False, False]])
    found = pool(hidden_states.to(torch.bfloat16), mask, is_cls, pooling, normalize, dimensions)
    assert found.dtype == torch.float32
    for text in range(3):
        tokens = hidden_states[text].to(torch.bfloat16).float().numpy()[mask[text].bool().numpy()]
        expected = {"cls": tokens[[0, 1, 0][text]], "mean": sum(tokens) / len(tokens), "last": tokens[-1]}[pooling]
        expected = expected[:dimensions]
        expected = expected / np.sqrt((expected**2).sum()) if normalize else expected
        assert_close(found[text], expected)


def test_the_vectors_are_those_of_the_backbone(encoder_path: str) -> None:
    loaded = load_bi_encoder(encoder_path, arguments())
    backbone = BertModel.from_pretrained(encoder_path, add_pooling_layer=False)
    batch = loaded.pad(loaded.tokenize_questions(["세종은 누구인가?", "수성"]))
    q, p = loaded(batch, batch)
    with torch.no_grad():
        expected = backbone(**batch).last_hidden_state[:, 0]
    assert_close(q, expected)
    assert_close(p, expected)


def test_batches_and_padding_change_nothing(bi_encoder: BiEncoder, device: torch.device) -> None:
    rows = bi_encoder.tokenize_passages(PAIRS)
    alone = np.stack(
        [encode(bi_encoder.embed_passages, [row], bi_encoder.pad, 1, "fp32", device, "x")[0] for row in rows]
    )
    assert alone.dtype == np.float32
    assert_close(np.linalg.norm(alone, axis=1), np.ones(len(alone)))
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    for batch_size in (1, 2, 3, 4, 9):
        vectors = encode(bi_encoder.embed_passages, rows, bi_encoder.pad, batch_size, "fp32", device, "x")
        assert_close(vectors, alone)


def test_encoding_reads_like_lengths_together_the_longest_first(bi_encoder: BiEncoder, device: torch.device) -> None:
    lengths = [3, 90, 5, 17, 128, 40]
    shapes = []

    def embed(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        shapes.append(tuple(batch["input_ids"].shape))
        assert torch.is_inference_mode_enabled()
        return batch["attention_mask"].sum(dim=1, keepdim=True).to(torch.bfloat16)

    rows = [{"input_ids": [7] * length} for length in lengths]
    vectors = encode(embed, rows, bi_encoder.pad, 2, "bf16", device, "x")
    assert vectors.tolist() == [[length] for length in lengths]
    assert shapes == [(2, 128), (2, 48), (2, 16)]
    assert encode(embed, [], bi_encoder.pad, 2, "fp32", device, "x").shape == (0, 0)


def test_padding_never_exceeds_the_positions(bert_tokenizer: PreTrainedTokenizerFast, bi_encoder: BiEncoder) -> None:
    bi_encoder.inputs.limit = 20
    batch = bi_encoder.pad([{"input_ids": [2, 5, 3]}, {"input_ids": [2, *[5] * 16, 3]}])
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (2, 20)
    assert batch["input_ids"][0].tolist() == [2, 5, 3, *[bert_tokenizer.pad_token_id] * 17]
    assert batch["attention_mask"].sum(dim=1).tolist() == [3, 18]


# ---------------------------------------------------------------------------------------------------------------- text


def test_prefix_and_title_come_once(bi_encoder: BiEncoder) -> None:
    tokenizer = bi_encoder.tokenizer

    def expected(text: str) -> dict[str, list[int]]:
        row = tokenizer(text)
        return {name: row[name] for name in ("input_ids", "token_type_ids")}

    assert bi_encoder.tokenize_questions(["누구인가?"]) == [expected("왕 누구인가?")]
    titled, untitled = bi_encoder.tokenize_passages(PAIRS[:2])
    assert titled == expected("서울 세종: 세종은 조선의 왕이다.")
    assert untitled == expected("서울 한강이 서울의 가운데를 흐른다.")
    assert bi_encoder.tokenize_passages([("\u200b", PAIRS[1][1])]) == [untitled]  # a title that cannot be seen
    bi_encoder.settings = dataclasses.replace(bi_encoder.settings, title_prefix=False)
    assert bi_encoder.tokenize_passages(PAIRS[:1]) == [expected("서울 세종은 조선의 왕이다.")]
    assert bi_encoder.tokenize_passages([]) == []


def test_text_is_composed_and_keeps_its_case(bi_encoder: BiEncoder) -> None:
    question, (title, text) = "수성의 하루는?", PAIRS[0]
    apart = unicodedata.normalize("NFD", question)
    assert apart != question
    assert bi_encoder.tokenize_questions([apart]) == bi_encoder.tokenize_questions([question])
    decomposed = [(unicodedata.normalize("NFD", title), unicodedata.normalize("NFD", text))]
    assert bi_encoder.tokenize_passages(decomposed) == bi_encoder.tokenize_passages(PAIRS[:1])


def test_questions_and_passages_have_lengths_of_their_own(bi_encoder: BiEncoder) -> None:
    bi_encoder.settings = dataclasses.replace(bi_encoder.settings, question_max_len=5, passage_max_len=9)
    long = "조선 " * 50
    (question,), (passage,) = bi_encoder.tokenize_questions([long]), bi_encoder.tokenize_passages([("", long)])
    assert (len(question["input_ids"]), len(passage["input_ids"])) == (5, 9)
    assert question["input_ids"][-1] == passage["input_ids"][-1] == bi_encoder.tokenizer.sep_token_id


# ------------------------------------------------------------------------------------------------------------ settings


def test_flags_win_over_the_file_and_the_file_over_the_defaults(encoder_path: str, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_path, folder)
    assert load_settings(folder, RetrieverArguments()) == EncoderSpec("cls", False, "", "", True, 64, 256)
    write(folder / "encoder.json", {"pooling": "mean", "normalize": True, "passage_max_len": 99, "title_prefix": True})
    assert load_settings(folder, RetrieverArguments()) == EncoderSpec("mean", True, "", "", True, 64, 99)
    flags = RetrieverArguments(normalize=False, title_prefix=False, question_prefix="질문: ", passage_max_len=100)
    assert load_settings(folder, flags) == EncoderSpec("mean", False, "질문: ", "", False, 64, 100)
    assert load_bi_encoder(folder, flags).settings == load_settings(folder, flags)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting property name"),
        ("[1]", "cannot convert"),
        ({"pooling": "max"}, "pooling cannot be 'max'"),
        ({"normalize": "yes"}, "normalize cannot be 'yes'"),
        ({"question_max_len": True}, "question_max_len cannot be True"),
        ({"question_max_len": 0}, "question_max_len cannot be 0"),
        ({"passage_max_len": -1}, "passage_max_len cannot be -1"),
        ({"colour": 1}, "colour is unknown"),
    ],
)
def test_damaged_settings_are_refused(content: object, reason: str, encoder_path: str, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_path, folder)
    write(folder / "encoder.json", content)
    with pytest.raises(UserError, match=rf"encoder\.json is damaged \({reason}.*: copy or train the encoder again"):
        load_bi_encoder(folder, arguments())


# -------------------------------------------------------------------------------------------------- loading and saving


def test_one_encoder_serves_both_sides_as_one_or_as_two(encoder_path: str) -> None:
    shared = load_bi_encoder(encoder_path, arguments(), shared=True)
    assert shared.q_encoder is shared.p_encoder
    apart = load_bi_encoder(encoder_path, arguments())
    with torch.no_grad():
        apart.q_encoder.embeddings.word_embeddings.weight.zero_()
    assert apart.p_encoder.embeddings.word_embeddings.weight.abs().sum() > 0
    assert not apart.training
    assert len(list(apart.parameters())) == 2 * len(list(shared.parameters()))


def test_a_saved_pair_comes_back_equal(bi_encoder: BiEncoder, device: torch.device, tmp_path: Path) -> None:
    save_bi_encoder(bi_encoder, tmp_path / "saved")
    shutil.move(tmp_path / "saved", tmp_path / "moved")
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]
    assert sorted(path.name for path in (tmp_path / "moved").iterdir()) == ["README.md", "p_encoder", "q_encoder"]
    loaded = load_bi_encoder(tmp_path / "moved", RetrieverArguments(), shared=True)  # they are two all the same
    assert loaded.to(device).settings == bi_encoder.settings
    for embedding, tokens in (("embed_questions", ["수성은?"]), ("embed_passages", ["세종은 왕이다."])):
        batch = bi_encoder.pad(bi_encoder.tokenize_questions(tokens))
        assert loaded.pad(loaded.tokenize_questions(tokens))["input_ids"].tolist() == batch["input_ids"].tolist()
        batch = {name: values.to(device) for name, values in batch.items()}
        assert_close(getattr(loaded, embedding)(batch), getattr(bi_encoder, embedding)(batch))
    assert not is_close(loaded.embed_questions(batch), loaded.embed_passages(batch))
    assert type(AutoModel.from_pretrained(tmp_path / "moved/q_encoder")) is BertModel


def test_a_pair_that_was_shared_stays_so(encoder_path: str, tmp_path: Path) -> None:
    save_bi_encoder(load_bi_encoder(encoder_path, arguments(), shared=True), tmp_path)
    for side in ("p_encoder", "q_encoder"):
        content = json.loads((tmp_path / side / "encoder.json").read_text(encoding="utf-8"))
        assert content["shared"] is True
        assert content | {"pair": ""} == {
            **dataclasses.asdict(EncoderSpec(passage_max_len=128)),
            "shared": True,
            "pair": "",
        }
    loaded = load_bi_encoder(tmp_path, arguments())
    assert loaded.q_encoder is loaded.p_encoder


def test_saving_leaves_what_else_is_in_the_folder(bi_encoder: BiEncoder, tmp_path: Path) -> None:
    write(tmp_path / "metrics.jsonl", "{}")
    save_bi_encoder(bi_encoder, tmp_path)
    save_bi_encoder(bi_encoder, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "metrics.jsonl", "p_encoder", "q_encoder"]


def test_two_halves_of_different_pairs_are_refused(bi_encoder: BiEncoder, tmp_path: Path) -> None:
    save_bi_encoder(bi_encoder, tmp_path / "one")
    with torch.no_grad():
        bi_encoder.p_encoder.embeddings.word_embeddings.weight.add_(1)
    save_bi_encoder(bi_encoder, tmp_path / "two")
    shutil.rmtree(tmp_path / "one/p_encoder")
    with pytest.raises(UserError, match="one holds q_encoder but no p_encoder: copy or train the pair again"):
        load_settings(tmp_path / "one", arguments())
    shutil.move(tmp_path / "two/p_encoder", tmp_path / "one/p_encoder")
    with pytest.raises(UserError, match=r"p_encoder and q_encoder in .*one do not belong together"):
        load_settings(tmp_path / "one", arguments())


@pytest.mark.parametrize("path", ["./models/retriever", "a/b/c"])
def test_a_folder_that_is_not_there_is_named(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        load_bi_encoder(path, arguments())
    assert str(caught.value) == (
        f"there is no folder {path}: train one with train_dpr.py, or name an encoder's folder or hub name"
    )


def test_what_cannot_be_an_encoder_is_refused(encoder_path: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no configuration could be loaded from the hub name .* no/such: "):
        load_bi_encoder("no/such", arguments())
    with pytest.raises(
        UserError, match=re.escape(f"--passage_max_len 129 is more than {encoder_path} can read (128 tokens)")
    ):
        load_bi_encoder(encoder_path, arguments(passage_max_len=129))
    with pytest.raises(UserError, match=r"--question_max_len 200 is more than"):
        load_bi_encoder(encoder_path, arguments(question_max_len=200))

    shutil.copytree(encoder_path, tmp_path / "mute")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "mute" / name).unlink()
    with pytest.raises(UserError, match=r"tokenizer .*mute"):
        load_bi_encoder(tmp_path / "mute", arguments())

    shutil.copytree(encoder_path, tmp_path / "partial")
    weights = load_file(tmp_path / "partial/model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, tmp_path / "partial/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"partial lacks 1 weights of a bert of this size: encoder\.layer\.1\.output"):
        load_bi_encoder(tmp_path / "partial", arguments())


def test_the_pooler_is_not_trained(encoder_path: str) -> None:
    loaded = load_bi_encoder(encoder_path, arguments())
    frozen = {name for name, weight in loaded.named_parameters() if not weight.requires_grad}
    assert frozen == {
        f"{side}.pooler.dense.{kind}" for side in ("q_encoder", "p_encoder") for kind in ("weight", "bias")
    }
    batch = loaded.pad(loaded.tokenize_questions(["세종"]))
    q, p = loaded(batch, batch)
    (q.sum() + 2 * p.sum()).backward()
    assert {name for name, weight in loaded.named_parameters() if weight.grad is None} == frozen


def test_dropout_is_overridden(encoder_path: str) -> None:
    own, none = load_bi_encoder(encoder_path, arguments()), load_bi_encoder(encoder_path, arguments(), dropout=0.0)
    batch = own.pad(own.tokenize_questions(["세종은 왕이다."]))
    for loaded, same in ((own, False), (none, True)):
        loaded.train()
        assert is_close(loaded.embed_questions(batch), loaded.embed_questions(batch)) is same
        loaded.eval()
    assert_close(none.embed_questions(batch), own.embed_questions(batch))


def test_other_families_encode_too(bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    config = DistilBertConfig(
        vocab_size=len(bert_tokenizer), max_position_embeddings=64, n_layers=1, n_heads=2, dim=16, hidden_dim=32
    )
    DistilBertModel(config).save_pretrained(tmp_path)
    bert_tokenizer.save_pretrained(tmp_path)
    loaded = load_bi_encoder(tmp_path, arguments(passage_max_len=64), shared=True)
    batch = loaded.pad(loaded.tokenize_passages(PAIRS))
    assert loaded.embed_passages(batch).shape == (4, 16)


def test_the_identity_tells_weights_tokenizer_and_settings_apart(bi_encoder: BiEncoder, tmp_path: Path) -> None:
    save_bi_encoder(bi_encoder, tmp_path / "one")
    first = encoder_identity(tmp_path / "one", arguments())
    assert json.loads(json.dumps(first)) == first
    assert len(set(first["encoders"])) == 2
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert encoder_identity(tmp_path / "two", arguments()) == first
    assert encoder_identity(tmp_path / "two", arguments(question_prefix="질문")) == first | {"question_prefix": "질문"}
    for name in ("q_encoder/model.safetensors", "p_encoder/tokenizer.json", "p_encoder/config.json"):
        path = tmp_path / "two" / name
        content = path.read_bytes()
        path.write_bytes(content.replace(b"0", b"1", 1) if name.endswith("json") else content[:-1] + b"\x01")
        assert encoder_identity(tmp_path / "two", arguments())["encoders"] != first["encoders"]
        path.write_bytes(content)
