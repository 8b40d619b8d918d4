"""The committed sample is what its builder builds, and its splits and answers are sound."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from loading.examples import load_examples
from script import build_mini_wiki

SAMPLE = Path(__file__).resolve().parents[2] / "data/mini_wiki"
FILES = ["test.json", "test_answers.json", "train.json", "validation.json", "wikipedia_documents.json"]


def test_the_sources_give_the_committed_files_byte_for_byte(tmp_path):
    build_mini_wiki.main(["--out", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes(), name


def test_start_of_counts_appearances_from_0():
    text = "강은 강이고 또 강이다"
    assert [build_mini_wiki.start_of(text, "강", occurrence) for occurrence in range(3)] == [0, 3, 9]
    with pytest.raises(ValueError, match="substring not found"):
        build_mini_wiki.start_of(text, "강", 3)


@pytest.fixture(scope="module")
def examples():
    """Loading checks that every answer stands where it should."""
    splits = dict(load_examples(str(SAMPLE), ["train", "validation", "test"]))
    splits["test_answers"] = load_examples(str(SAMPLE / "test_answers.json"), ["validation"])["validation"]
    return splits


@pytest.mark.parametrize(("split", "passages"), [("train", 120), ("validation", 36), ("test_answers", 36)])
def test_four_questions_a_passage_even_over_the_topics(examples, split, passages):
    asked = Counter(examples[split]["title"])
    assert len(asked) == passages
    assert set(asked.values()) == {4}
    for topic in build_mini_wiki.TOPICS:
        source = SAMPLE / "source" / f"{topic}.jsonl"
        titles = {json.loads(line)["title"] for line in source.read_text(encoding="utf-8").splitlines()}
        assert len(titles & asked.keys()) == passages // 3


def test_no_passage_and_no_id_in_two_splits(examples):
    answered = ("train", "validation", "test_answers")
    contexts = [context for split in answered for context in set(examples[split]["context"])]
    ids = [name for split in answered for name in examples[split]["id"]]
    assert len(set(contexts)) == len(contexts) == 192
    assert len(set(ids)) == len(ids) == 768
    assert (ids[0], ids[-1]) == ("mini-train-0001", "mini-test-0144")


def test_test_questions_hide_passages_and_answers(examples):
    hidden, answered = examples["test"], examples["test_answers"]
    assert hidden["id"][:] == answered["id"][:]
    assert hidden["question"][:] == answered["question"][:]
    assert set(hidden["context"]) == set(hidden["title"]) == set(hidden["document_id"]) == {""}
    assert all(answers == {"text": [], "answer_start": []} for answers in hidden["answers"])


def test_every_context_is_the_passage_that_its_document_id_names(examples):
    corpus = json.loads((SAMPLE / "wikipedia_documents.json").read_text(encoding="utf-8"))
    assert list(corpus) == [str(number) for number in range(240)]
    assert all(passage["document_id"] == int(key) for key, passage in corpus.items())
    for split in ("train", "validation", "test_answers"):
        for row in examples[split]:
            passage = corpus[row["document_id"]]
            assert (passage["title"], passage["text"]) == (row["title"], row["context"])
