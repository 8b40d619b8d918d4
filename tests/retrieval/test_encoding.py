"""Shards of what is encoded: each once, whoever encodes it, and none that is not as it was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from arguments import RetrieverArguments
from retrieval import create_retriever
from retrieval.encoding import encoded_in_shards, forget_shards, write_rows
from runtime.division import divided


@pytest.mark.parametrize("processes", [1, 2])
def test_shards_are_divided_kept_mapped_and_forgotten(processes, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("retrieval.encoding.SHARD_SIZE", 5)
    monkeypatch.setattr("retrieval.encoding.gathered", lambda part: [part])
    retriever, encoded = create_retriever(RetrieverArguments(analyzer="bigram")), []
    retriever.corpus = corpus

    def encode(part, what):
        encoded.append(what)
        return {"lengths": np.array([len(text) for text in part.texts]), "rows": np.array(part.titles)}

    def build(process, index_dir=tmp_path):
        with divided(process, processes):
            return encoded_in_shards(retriever, corpus, index_dir, ["lengths", "rows"], encode)

    if processes == 2:
        with pytest.raises(FileNotFoundError):  # what the other has to encode is not there
            build(1)
    shards = build(0)
    assert sorted(encoded) == [f"passages, shard {number} of 3" for number in (1, 2, 3)]
    for shard, alone in zip(shards, build(0, None), strict=True):
        assert isinstance(shard["lengths"], np.memmap)
        assert all((shard[name] == alone[name]).all() for name in ("lengths", "rows"))
    forget_shards(retriever, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_rows_of_several_arrays_are_one_file(tmp_path: Path):
    arrays = [np.arange(6, dtype="f2").reshape(2, 3), np.ones((1, 3), "f2")]
    write_rows(tmp_path / "rows.npy", arrays)
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), np.concatenate(arrays))
