"""DenseRetrieval: scores as in training, and an index that is encoded once and never half."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from comparing import assert_close, assert_same_ranking
from refusing import no_file_above
from safetensors.numpy import load_file, save_file

import retrieval.encoding
from arguments import RetrieverArguments
from loading.corpus import Corpus
from models.encoder import BiEncoder, load_bi_encoder
from retrieval import create_retriever, load_or_build
from retrieval.dense import DenseRetrieval
from runtime.errors import UserError, WriteError
from runtime.files import write_text

QUESTIONS = ["세종대왕은 무엇을 만들었나?", "서울을 지나는 강은?", "달은 무엇인가?"]


@pytest.fixture
def arguments(bag_of_characters, tmp_path) -> RetrieverArguments:
    """Batches of 2 passages."""
    return RetrieverArguments(
        retriever_type="DenseRetrieval",
        retriever_dir=bag_of_characters,
        index_dir=str(tmp_path / "index"),
        pooling="mean",
        passage_max_len=64,
        encode_batch_size=2,
    )


@pytest.fixture
def calls(monkeypatch) -> list[tuple[int, int]]:
    """The shape of every batch of passages that is encoded, in shards of 5."""
    monkeypatch.setattr(retrieval.encoding, "SHARD_SIZE", 5)
    shapes = []
    embed = BiEncoder.embed_passages

    def counting(self, batch):
        shapes.append(tuple(batch["input_ids"].shape))
        return embed(self, batch)

    monkeypatch.setattr(BiEncoder, "embed_passages", counting)
    return shapes


def test_scores_are_the_inner_products_of_what_training_would_encode(arguments, corpus):
    retriever = DenseRetrieval(arguments)
    retriever.build(corpus)
    results = retriever.search(QUESTIONS, 4)
    encoders = load_bi_encoder(arguments.retriever_dir, arguments)
    questions = encoders.pad(encoders.tokenize_questions(QUESTIONS))
    passages = encoders.pad(encoders.tokenize_passages(list(zip(corpus.titles, corpus.texts, strict=True))))
    with torch.no_grad():
        q, p = encoders(questions, passages)
    expected = (q @ p.T).numpy()
    np.testing.assert_allclose(results.scores, np.take_along_axis(expected, results.ids, axis=1), rtol=1e-4)
    np.testing.assert_allclose(results.scores, -np.sort(-expected, axis=1)[:, :4], rtol=1e-4)
    assert results.ids[:, 0].tolist() == [1, 2, 6]


# ------------------------------------------------------------------------------------------------------------ encoding


def test_passages_are_encoded_once_in_batches_of_their_own_length(arguments, corpus, calls):
    retriever = load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    retriever.search(QUESTIONS, 1)
    retriever.search(QUESTIONS, 5)
    again = load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    again.search(QUESTIONS, 3)
    assert len(calls) == sum(math.ceil(shard / 2) for shard in (5, 5, 2)) == 7
    rows = again.bi_encoder.tokenize_passages(list(zip(corpus.titles, corpus.texts, strict=True)))
    longest = max(len(row["input_ids"]) for row in rows)
    assert longest < 64 - 16
    assert max(tokens for _, tokens in calls) == math.ceil(longest / 16) * 16
    assert calls[0][1] >= calls[1][1] >= calls[2][1]


def test_an_index_that_is_described_or_loaded_needs_no_model(arguments, corpus, monkeypatch):
    load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    monkeypatch.setattr("models.encoder.load_bi_encoder", None)
    retriever = load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    assert retriever.parameters()["vectors_dtype"] == "float32"
    with pytest.raises(TypeError):
        retriever.search(QUESTIONS, 1)


def test_a_killed_build_goes_on_where_it_stopped(arguments, corpus, calls, tmp_path, log_lines, monkeypatch):
    expected = load_or_build(create_retriever(arguments), corpus, tmp_path / "other").search(QUESTIONS, 12)
    calls.clear()
    embed = BiEncoder.embed_passages
    with monkeypatch.context() as patch:
        patch.setattr(BiEncoder, "embed_passages", lambda self, batch: embed(self, batch) if len(calls) < 4 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    assert len(calls) == 4  # the first shard's three batches, and one of the second
    (work,) = (tmp_path / "index").iterdir()
    assert sorted(path.name for path in work.iterdir()) == ["000000-vectors.npy", "000000-vectors.npy.xxh3"]

    calls.clear()
    log_lines.clear()
    retriever = load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    assert log_lines[0] == f"INFO resumed: 1 of 3 shards are there, in {work}"
    assert len(calls) == 3 + 1
    (folder,) = (tmp_path / "index").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["checksums.json", "manifest.json", "vectors.npy"]
    for found in (retriever, load_or_build(create_retriever(arguments), corpus, arguments.index_dir)):
        assert_same_ranking(found.search(QUESTIONS, 12), expected)


def test_what_nobody_goes_on_from_is_removed_after_a_week(arguments, corpus, tmp_path):
    index = tmp_path / "index"
    for name, days in ((".DenseRetrieval-a.shards", 8), (".DenseRetrieval-b.shards", 6), ("notes.shards", 8)):
        write_text(index / name / "000000000000.npy", "")
        for path in (index / name / "000000000000.npy", index / name):
            os.utime(path, (0, time.time() - days * 24 * 60 * 60))
    load_or_build(create_retriever(arguments), corpus, index)
    assert {path.name for path in index.glob("*.shards")} == {".DenseRetrieval-b.shards", "notes.shards"}


def test_a_full_disk_leaves_no_index(arguments, corpus, tmp_path):
    retriever = create_retriever(dataclasses.replace(arguments, index_dir=str(tmp_path / "work")))
    retriever.build(corpus)
    with no_file_above(200), pytest.raises(WriteError, match=r"index/a cannot be written: .*; .*name another folder$"):
        retriever.save(tmp_path / "index" / "a")
    assert list((tmp_path / "index").iterdir()) == []


@pytest.mark.parametrize(
    "damage", ["truncated", "of other width", "of other size", "of another type", "text", "flipped"]
)
def test_a_damaged_shard_is_encoded_anew(damage, arguments, corpus, calls, log_lines):
    create_retriever(arguments).build(corpus)  # and not saved
    retriever = create_retriever(arguments)
    (work,) = Path(arguments.index_dir).iterdir()
    shard = work / "000001-vectors.npy"
    vectors = np.load(shard)
    if damage == "truncated":
        shard.write_bytes(shard.read_bytes()[:-4])
    elif damage == "flipped":
        content = bytearray(shard.read_bytes())
        content[-3] ^= 1
        shard.write_bytes(content)
    elif damage == "text":
        shard.write_bytes(b"[]")
    else:
        changed = {
            "of other width": vectors[:, 1:],
            "of other size": vectors[1:],
            "of another type": vectors.astype("f8"),
        }
        np.save(shard, changed[damage])
    calls.clear()
    log_lines.clear()
    retriever.build(corpus)
    assert log_lines[0].startswith("INFO resumed: 2 of 3 shards are there")
    assert len(calls) == 3
    assert_close(np.load(shard), vectors)


def test_shards_of_another_corpus_or_encoder_are_not_taken(arguments, corpus, calls):
    create_retriever(arguments).build(corpus)
    calls.clear()
    create_retriever(dataclasses.replace(arguments, passage_prefix="글")).build(corpus)
    assert len(calls) == 7
    other = Corpus(corpus.document_ids, corpus.titles, [*corpus.texts[:-1], "다른 글"])
    create_retriever(arguments).build(other)
    assert len(calls) == 14


# --------------------------------------------------------------------------------------------------------------- index


def test_other_weights_or_settings_are_refused(arguments, corpus, tmp_path):
    load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    (folder,) = (tmp_path / "index").iterdir()
    for flags, difference in (
        ({"normalize": True}, "parameters normalize is False there and True here"),
        ({"vectors_dtype": "float16"}, "parameters vectors_dtype is 'float32' there and 'float16' here"),
    ):
        with pytest.raises(UserError, match=difference):
            create_retriever(dataclasses.replace(arguments, **flags)).load(folder, corpus)

    shutil.copytree(arguments.retriever_dir, tmp_path / "moved")
    moved = dataclasses.replace(arguments, retriever_dir=str(tmp_path / "moved"))
    create_retriever(moved).load(folder, corpus)
    weights = load_file(tmp_path / "moved/model.safetensors")
    weights["embeddings.LayerNorm.bias"][0] += 1
    save_file(weights, tmp_path / "moved/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="parameters encoders is"):
        create_retriever(moved).load(folder, corpus)
    load_or_build(create_retriever(moved), corpus, arguments.index_dir)
    assert len(list((tmp_path / "index").iterdir())) == 2


def test_float16_halves_the_vectors_and_rounds_them(arguments, corpus, tmp_path):
    sizes, found = [], []
    for dtype in ("float32", "float16"):
        flags = dataclasses.replace(arguments, vectors_dtype=dtype)
        retriever = load_or_build(create_retriever(flags), corpus, tmp_path / dtype)
        (folder,) = (tmp_path / dtype).iterdir()
        vectors = np.load(folder / "vectors.npy")
        assert vectors.dtype == dtype
        sizes.append(vectors.nbytes)
        found.append(retriever.search(QUESTIONS, 3))
    assert sizes[0] == 2 * sizes[1]
    np.testing.assert_array_equal(found[0].ids[:, 0], found[1].ids[:, 0])
    np.testing.assert_allclose(found[0].scores, found[1].scores, rtol=1e-3)
    assert not np.array_equal(found[0].scores, found[1].scores)


def test_vectors_that_cannot_be_kept_are_refused(arguments, corpus, tmp_path):
    shutil.copytree(arguments.retriever_dir, tmp_path / "loud")
    weights = load_file(tmp_path / "loud/model.safetensors")
    weights["embeddings.LayerNorm.bias"] += 1e6
    save_file(weights, tmp_path / "loud/model.safetensors", metadata={"format": "pt"})
    flags = dataclasses.replace(arguments, retriever_dir=str(tmp_path / "loud"))
    DenseRetrieval(flags).build(corpus)
    with pytest.raises(UserError, match="gives vectors that float16 cannot hold"):
        DenseRetrieval(dataclasses.replace(flags, vectors_dtype="float16")).build(corpus)


def test_without_a_folder_for_work_nothing_is_written(arguments, corpus, tmp_path):
    retriever = DenseRetrieval(arguments)
    retriever.build(corpus)
    assert not (tmp_path / "index").exists()
    retriever.save(tmp_path / "saved")
    loaded = DenseRetrieval(arguments)
    loaded.load(tmp_path / "saved", corpus)
    assert isinstance(loaded.vectors[0], np.memmap)
    assert_same_ranking(loaded.search(QUESTIONS, 5), retriever.search(QUESTIONS, 5))
