"""The corpus that retrieval is measured on: contexts first, then other passages, nothing twice."""

from __future__ import annotations

import json

from benchmarks import corpus as benchmark
from loading.corpus import Corpus, load_corpus


def test_contexts_come_first_and_once(tmp_path, dataset_path, examples, capsys):
    titles = dict(zip(examples["context"], examples["title"], strict=True))
    passages = [("a", "다른 글", "처음 보는 글이다."), ("b", "같은 글", next(iter(titles))), ("c", "끝", "끝 글이다.")]
    lines = [json.dumps({"id": row[0], "title": row[1], "text": row[2]}) for row in passages]
    (tmp_path / "passages.jsonl").write_text("\n".join(lines), encoding="utf-8")
    out = str(tmp_path / "corpus.jsonl")
    command = ["--contexts", dataset_path, "--split", "train", "--passages", str(tmp_path / "passages.jsonl")]

    benchmark.main([*command, "--out", out])

    ids = [f"train-{row}" for row in range(len(titles))]
    assert load_corpus(out) == Corpus(
        [*ids, "a", "c"],
        [*titles.values(), "다른 글", "끝"],
        [*titles, "처음 보는 글이다.", "끝 글이다."],
    )
    assert capsys.readouterr().out == f"{out}: {len(titles)} contexts and 2 other passages\n"
    benchmark.main([*command, "--limit", "1", "--out", out])
    assert len(load_corpus(out)) == len(titles) + 1


def test_passages_of_the_same_lengths_are_as_many_in_every_tenth():
    contexts = ["가" * length for length in range(100, 201)]  # a tenth has ten lengths
    lengths = [50, 99, 201, 900, *range(200, 99, -1), *range(150, 201)]  # twice as many of the longer half
    others = [(str(row), "", "나" * length) for row, length in enumerate(lengths)]
    taken = benchmark.alike(others, contexts)
    assert [int(row[0]) for row in taken] == sorted(int(row[0]) for row in taken)
    counts = [sum(100 + 10 * tenth < len(row[2]) <= 110 + 10 * tenth for row in taken) for tenth in range(1, 10)]
    assert counts == [10] * 9 and len(taken) == 100
