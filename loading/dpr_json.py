"""The JSON format of the DPR repository (Karpukhin et al. 2020): questions with positive and hard negative passages.

[{"question": …, "answers": […], "positive_ctxs": [{"title": …, "text": …, "passage_id": …}],
  "hard_negative_ctxs": […], "negative_ctxs": […]}, …]
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from loading.retrieval_examples import Passage, RetrievalExample, given_negatives
from runtime.errors import DataError, Problem
from runtime.files import read_users_json, write_json
from runtime.identifiers import first_identifier
from runtime.log import get_logger
from runtime.text import is_blank, strip_blanks

logger = get_logger(__name__)

_NAMES = {"train": ("train.json",), "validation": ("validation.json", "dev.json")}


def find_dpr_json(dataset_path: str | Path, split: str) -> Path | None:
    """Return the DPR JSON file that holds ``split`` (train, validation) in a data set; None in other layouts."""
    path = Path(dataset_path)
    candidates = [path] if path.is_file() else [path / name for name in _NAMES[split]]
    return next((file for file in candidates if file.suffix == ".json" and _holds_a_list(file)), None)


def read_dpr_json(path: str | Path, skip_bad_rows: bool = False) -> list[RetrievalExample]:
    """Return the questions of a DPR JSON file; keys that are not in the format are passed over.

    Of several positive passages the first is ``positive``. Negatives are ``hard_negative_ctxs``, or ``negative_ctxs``
    where a question has no hard ones; a positive passage among them is none. Raises
    :class:`DataError` listing every bad row at once; ``skip_bad_rows`` leaves them out instead.
    """
    problems: list[Problem] = []
    examples: list[RetrievalExample] = []
    content = read_users_json(path)
    if not isinstance(content, list):
        reason = f"is not DPR JSON: expected a list, not a {type(content).__name__}"
        raise DataError([Problem(str(path), "", reason)])
    for index, row in enumerate(content):
        try:
            examples.append(_example(row, index))
        except ValueError as error:
            problems.append(Problem(str(path), f"[{index}]", str(error)))
    if problems and not skip_bad_rows:
        raise DataError(problems, "Correct these rows, or leave them out with --skip_bad_rows.")
    if not examples:
        raise DataError([*problems, Problem(str(path), "", "no question in it")])
    if problems:
        logger.warning("%s: left out %d bad rows of %d", path, len(problems), len(problems) + len(examples))
    return examples


def write_dpr_json(path: str | Path, examples: Iterable[RetrievalExample]) -> None:
    """Write ``examples`` as DPR JSON, whole or not at all."""
    rows = [
        {
            "id": example.id,
            "question": example.question,
            "answers": example.answers,
            "positive_ctxs": [passage._asdict() for passage in example.positives],
            "negative_ctxs": [],
            "hard_negative_ctxs": [passage._asdict() for passage in example.negatives],
        }
        for example in examples
    ]
    write_json(path, rows)


def _holds_a_list(path: Path) -> bool:
    """Whether a JSON file holds a list, where one in SQuAD format holds an object."""
    try:
        with path.open("rb") as file:
            return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    except OSError:
        return False


def _example(row: Any, index: int) -> RetrievalExample:
    """Return the question in ``row``; ValueError with all that is wrong with it."""
    if not isinstance(row, dict):
        raise ValueError("is not an object")
    faults = []
    question: Any = row.get("question")
    answers: Any = row.get("answers")
    if not isinstance(question, str) or is_blank(question):
        faults.append("question is not a text, or is empty")
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        faults.append("answers is not a list of texts")
    passages: dict[str, list[Passage]] = {}
    for name in ("positive_ctxs", "hard_negative_ctxs", "negative_ctxs"):
        try:
            passages[name] = _passages(row.get(name), name)
        except ValueError as error:
            faults.append(str(error))
    if not faults and not passages["positive_ctxs"]:
        faults.append("positive_ctxs holds no passage")
    identifier = first_identifier(row.get("id"), index)
    if not isinstance(identifier, str):
        faults.append("id is neither text nor a whole number")
    if faults:
        raise ValueError("; ".join(faults))
    positive, *others = passages["positive_ctxs"]
    example = RetrievalExample(identifier, question, answers, positive, [], tuple(others))
    given = (given_negatives(example, passages[name]) for name in ("hard_negative_ctxs", "negative_ctxs"))
    return example._replace(negatives=next(filter(None, given), []))


def _passages(items: Any, name: str) -> list[Passage]:
    """Return the passages in a list; a missing one is empty, but for the positives."""
    if items is None and name != "positive_ctxs":
        return []
    if not isinstance(items, list):
        raise ValueError(f"{name} is not a list")
    passages = []
    for index, item in enumerate(items):
        found = item if isinstance(item, dict) else {}
        text, title = found.get("text"), found.get("title") or ""
        if not isinstance(text, str) or is_blank(text) or not isinstance(title, str):
            raise ValueError(f"{name}[{index}] has no text, or a title that is no text")
        identifier = first_identifier(found.get("passage_id"), found.get("psg_id"), "")
        if not isinstance(identifier, str):
            raise ValueError(f"{name}[{index}] has a passage_id that is neither text nor a whole number")
        passages.append(Passage(strip_blanks(title), text, identifier))
    return passages
