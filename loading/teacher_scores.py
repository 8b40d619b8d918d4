"""What a teacher thinks of passages: a file of scores, which ``retrieve.py --write scores`` writes, to learn from.

JSON lines, a question each: {"id": …, "question": …, "passages": [{"id": …, "title": …, "text": …, "score": …}, …]}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from loading.retrieval_examples import Passage
from loading.tables import Fault, read_table
from runtime.errors import DataError, Problem
from runtime.files import staged_file
from runtime.identifiers import identifier
from runtime.text import comparable, is_blank, strip_blanks

_WAY_OUT = "Write the file with retrieve.py --write scores."


class TeacherScores(NamedTuple):
    """The passages that a teacher scored for a question, as the file has them, and the score of each: any number."""

    question: str
    passages: list[Passage]
    scores: list[float]

    @property
    def by_text(self) -> dict[str, float]:
        """The scores by :func:`runtime.text.comparable` of the passages' texts; of equal ones the first counts."""
        pairs = zip(map(comparable, (passage.text for passage in self.passages)), self.scores, strict=True)
        return dict(reversed(list(pairs)))


def read_teacher_scores(path: str | Path) -> dict[str, TeacherScores]:
    """Return what a file (.jsonl, also .gz) says of every question, by the question's id.

    Raises :class:`DataError` listing every bad row at once.
    """
    problems: list[Problem] = []
    read: dict[str, TeacherScores] = {}
    for place, row in read_table(path).rows:
        try:
            if isinstance(row, Fault):
                raise ValueError(str(row))
            name, scores = _scores(row)
            if name in read:
                raise ValueError(f"the question {name} stands in it twice")
            read[name] = scores
        except ValueError as error:
            problems.append(Problem(str(path), place, str(error)))
    if not read and not problems:
        problems.append(Problem(str(path), "", "no question in it"))
    if problems:
        raise DataError(problems, _WAY_OUT)
    return read


def write_teacher_scores(path: str | Path, scored: Iterable[tuple[str, TeacherScores]]) -> None:
    """Write the scores of questions with these ids, whole or not at all."""
    with staged_file(path) as staging, staging.open("w", encoding="utf-8", newline="\n") as file:
        for name, (question, passages, scores) in scored:
            items = [
                {"id": passage.passage_id, "title": passage.title, "text": passage.text, "score": score}
                for passage, score in zip(passages, scores, strict=True)
            ]
            row = {"id": name, "question": question, "passages": items}
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def _scores(row: Mapping[str, Any]) -> tuple[str, TeacherScores]:
    """Return the question's id and scores in ``row``; ValueError with all that is wrong with it."""
    faults = []
    name, question, items = identifier(row.get("id")), row.get("question"), row.get("passages")
    if not isinstance(name, str):
        faults.append("id is neither text nor a whole number")
    if not isinstance(question, str) or is_blank(question):
        faults.append("question is not a text, or is empty")
    if not isinstance(items, list) or not items:
        faults.append("passages is not a list, or is empty")
    passages: list[Passage] = []
    scores: list[float] = []
    for number, item in enumerate(items if isinstance(items, list) else []):
        found = item if isinstance(item, dict) else {}
        passage, score = _passage(found), found.get("score")
        if passage is None:
            faults.append(f"passages[{number}] has no id, no text, or a title that is no text")
        elif isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            faults.append(f"passages[{number}] has no score, or one that is no finite number")
        else:
            passages.append(passage)
            scores.append(float(score))
    if faults:
        raise ValueError("; ".join(faults))
    return str(name), TeacherScores(str(question), passages, scores)


def _passage(item: Mapping[str, Any]) -> Passage | None:
    name, title, text = identifier(item.get("id")), item.get("title") or "", item.get("text")
    if not isinstance(name, str) or not isinstance(title, str) or not isinstance(text, str) or is_blank(text):
        return None
    return Passage(strip_blanks(title), text, name)
