"""Build the embedded sample from its sources: a corpus and the questions of four SQuAD-format files.

    python script/build_mini_wiki.py

Writes wikipedia_documents.json, train.json, validation.json, test.json (questions only) and test_answers.json. The
split is by passage and even over the topics; the same sources always give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from runtime.files import write_json

SAMPLE = Path(__file__).resolve().parent.parent / "data/mini_wiki"
TOPICS = ("korea", "science", "world")
# Sixteen neighbouring passages of a topic in turn: ten train, three validate, three test.
TURNS = ("train", "train", "validation", "train", "test") * 3 + ("train",)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build data/mini_wiki from data/mini_wiki/source.", allow_abbrev=False)
    parser.add_argument("--source", type=Path, default=SAMPLE / "source", help="folder of TOPIC.jsonl")
    parser.add_argument("--out", type=Path, default=SAMPLE, help="folder to write")
    return parser.parse_args(argv)


def read_topic(path: Path) -> list[dict[str, Any]]:
    """Return the passages of one topic; those with questions also know their ``split``."""
    passages = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    asked = [passage for passage in passages if passage["qas"]]
    for index, passage in enumerate(asked):
        passage["split"] = TURNS[index % len(TURNS)]
    return passages


def start_of(text: str, answer: str, occurrence: int) -> int:
    """Return where ``answer`` begins when it appears for the ``occurrence``-th time, counted from 0."""
    start = -1
    for _ in range(occurrence + 1):
        start = text.index(answer, start + 1)
    return start


def squad_article(passage: dict[str, Any], ids: Sequence[str], questions_only: bool) -> dict[str, Any]:
    """Return a passage and its questions as one article of a SQuAD-format file."""
    text = passage["text"]
    qas = []
    for name, qa in zip(ids, passage["qas"], strict=True):
        answer = {"text": qa["answer"], "answer_start": start_of(text, qa["answer"], qa["occurrence"])}
        qas.append({"id": name, "question": qa["question"], "answers": [] if questions_only else [answer]})
    if questions_only:
        return {"title": "", "paragraphs": [{"context": "", "qas": qas}]}
    paragraph = {"context": text, "document_id": passage["document_id"], "qas": qas}
    return {"title": passage["title"], "paragraphs": [paragraph]}


def squad_file(passages: Sequence[dict[str, Any]], split: str, questions_only: bool = False) -> dict[str, Any]:
    """Return the questions of ``split`` in SQuAD 1.1 format; their ids count within the split."""
    articles = []
    count = 0
    for passage in passages:
        if passage.get("split") == split:
            ids = [f"mini-{split}-{count + number:04d}" for number in range(1, len(passage["qas"]) + 1)]
            articles.append(squad_article(passage, ids, questions_only))
            count += len(ids)
    return {"version": "1.1", "data": articles}


def build(source: Path, out: Path) -> None:
    """Write the corpus and the four files of questions to ``out``."""
    topics = [read_topic(source / f"{topic}.jsonl") for topic in TOPICS]
    # Topics take turns, so that the first passages and questions of every file are a sample of all.
    passages = [passage for turn in zip(*topics, strict=True) for passage in turn]
    for number, passage in enumerate(passages):
        passage["document_id"] = number
    corpus = {
        str(passage["document_id"]): {name: passage[name] for name in ("title", "text", "document_id")}
        for passage in passages
    }
    write_json(out / "wikipedia_documents.json", corpus)
    write_json(out / "train.json", squad_file(passages, "train"))
    write_json(out / "validation.json", squad_file(passages, "validation"))
    write_json(out / "test.json", squad_file(passages, "test", questions_only=True))
    write_json(out / "test_answers.json", squad_file(passages, "test"))


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    build(arguments.source, arguments.out)
    print(f"wrote {arguments.out}: wikipedia_documents, train, validation, test and test_answers.json")


if __name__ == "__main__":
    main()
