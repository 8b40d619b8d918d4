"""Data sets written out row by row, and what is said when they are read."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest

from loading.examples import load_examples
from runtime.errors import DataError

CONTEXT = "한강은 서울을 지나 서해로 흐르며, 길이는 약 494km이다."
GOLD = {"text": "서해", "answer_start": 11}


def question(name="q1", **changes):
    row = {"id": name, "question": "한강은 어디로 흐르는가?", "answers": [GOLD]} | changes
    return {key: value for key, value in row.items() if value is not ...}


def squad(*questions, context=CONTEXT):
    paragraph = {"qas": list(questions)} if context is ... else {"context": context, "qas": list(questions)}
    return {"version": "1.1", "data": [{"title": "한강", "paragraphs": [paragraph]}]}


def write(path, content):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return str(path)


def table(*names, **columns):
    count = len(names)
    answers = {"text": [GOLD["text"]], "answer_start": [GOLD["answer_start"]]}
    content = {
        "id": list(names),
        "question": ["한강은 어디로 흐르는가?"] * count,
        "context": [CONTEXT] * count,
        "answers": [answers] * count,
    } | columns
    return datasets.Dataset.from_dict({name: values for name, values in content.items() if values is not ...})


ROW = "train.json, data[0].paragraphs[0].qas[0]"
WAY_OUT = "Correct these rows, or leave them out with --skip_bad_rows."


def answer(text, start):
    return {"answers": [{"text": text, "answer_start": start}]}


def error_text(path, splits, skip_bad_rows=False):
    with pytest.raises(DataError) as raised:
        load_examples(path, splits, skip_bad_rows)
    return str(raised.value)
