"""Rows as they were read become canonical rows; whatever is wrong with one is said with its place and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from runtime.errors import DataError, Problem
from runtime.identifiers import first_identifier, identifier
from runtime.text import is_blank, strip_blanks

Columns = dict[str, list[Any]]


class Fault(NamedTuple):
    """One thing wrong with one row: its kind, which can be counted, and what stands there."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


class CheckedRows(NamedTuple):
    """The good rows of one split as columns, every problem of the bad ones, and a line about what is left out."""

    columns: Columns
    problems: list[Problem]
    left_out: str


def check_rows(
    file: str,
    rows: Iterable[tuple[str, Mapping[str, Any] | Fault]],
    questions_only: bool,
    question_types: bool = False,
) -> CheckedRows:
    """Check every row of one split and sort the good from the bad.

    ``rows`` are pairs of a place (``data[3].paragraphs[0].qas[2]`` or ``row 17``, counted from 0) and the row as it
    was read, or the fault that kept it from being read. With ``questions_only`` a row needs just id and question;
    with ``question_types`` there is a column of these, empty where a row has none.
    Raises :class:`DataError` when there are no rows.
    """
    columns: Columns = {name: [] for name in ("id", "title", "question", "context", "answers", "document_id")}
    if question_types:
        columns["question_type"] = []
    problems: list[Problem] = []
    first_place: dict[str, str] = {}
    bad_rows: Counter[str] = Counter()
    total = 0
    for place, raw in rows:
        total += 1
        row, faults = ({}, [raw]) if isinstance(raw, Fault) else check_row(raw, questions_only)
        if not is_blank(row_id := row.get("id", "")):
            first = first_place.setdefault(row_id, place)
            if first is not place:
                faults.append(Fault("id is used twice", f"first at {first}"))
            place = f"{place} (id {row_id})"
        if faults:
            bad_rows[faults[0].kind] += 1
            problems += [Problem(file, place, str(fault)) for fault in faults]
            continue
        for name, values in columns.items():
            values.append(row[name])
    if not total:
        raise DataError([Problem(file, "", "holds no questions")])
    kinds = ", ".join(f"{kind} ({count})" for kind, count in bad_rows.most_common())
    return CheckedRows(columns, problems, f"{bad_rows.total()} of {total} rows: {kinds}")


def check_row(raw: Mapping[str, Any], questions_only: bool) -> tuple[dict[str, Any], list[Fault]]:
    """Return the canonical row and what is wrong with it."""
    faults: list[Fault] = []

    def text(name: str, value: Any, required: bool = False) -> str:
        if value is None:
            if required:
                faults.append(Fault(f"{name} is missing"))
            return ""
        if fault := _fault_of_text(name, value):
            faults.append(fault)
            return ""
        if required and is_blank(value):
            faults.append(Fault(f"{name} is empty"))
        return value

    row: dict[str, Any] = {
        "id": text("id", first_identifier(raw.get("id"), raw.get("guid")), required=True),
        # titles of SQuAD-format files are page addresses, with underscores for spaces
        "title": strip_blanks(text("title", raw.get("title")).replace("_", " ")),
        "question": text("question", raw.get("question"), required=True),
        "document_id": text("document_id", identifier(raw.get("document_id"))),
    }
    if is_blank(row["document_id"]):
        row["document_id"] = ""
    row["context"] = text("context", raw.get("context"), required=not questions_only)
    row["answers"] = _check_answers(raw, row["context"], questions_only, faults)
    label = identifier(raw.get("question_type"))  # a mere label: what is no text is no fault
    row["question_type"] = "" if _fault_of_text("question_type", label) else label
    return row, faults


def _check_answers(
    raw: Mapping[str, Any], context: str, questions_only: bool, faults: list[Fault]
) -> dict[str, list[Any]]:
    """Return the gold answers of a row; what is wrong with them goes to ``faults``."""
    impossible, answers = raw.get("is_impossible"), raw.get("answers")
    if impossible not in (None, True, False):
        faults.append(Fault("is_impossible is not true or false", f"it is {_shown(impossible)}"))
    elif impossible:  # the hub's KLUE-MRC has plausible wrong answers here
        answers = []
    if answers is None or answers == {"text": None, "answer_start": None}:
        if not questions_only:
            faults.append(Fault("answers is missing"))
        answers = []
    pairs = _answer_pairs(answers)
    if pairs is None:
        faults.append(Fault("answers is not a list of text and answer_start", f"it is {_shown(answers)}"))
        pairs = []
    context_at_fault = is_blank(context) and not questions_only  # said once already
    for answer_text, start in pairs:
        if fault := _fault_of_answer(answer_text, start, None if context_at_fault else context):
            faults.append(fault)
    return {"text": [answer_text for answer_text, _ in pairs], "answer_start": [start for _, start in pairs]}


def _answer_pairs(answers: Any) -> list[tuple[Any, Any]] | None:
    """Return (text, answer_start) pairs from a list of objects or an object of two lists; None if it is neither."""
    if isinstance(answers, list) and all(isinstance(answer, Mapping) for answer in answers):
        texts: Any = [answer.get("text") for answer in answers]
        starts: Any = [answer.get("answer_start") for answer in answers]
    elif isinstance(answers, Mapping):
        texts, starts = answers.get("text"), answers.get("answer_start")
    else:
        return None
    if not (isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts)):
        return None
    # pandas makes floats of whole numbers where one is missing
    whole = [int(start) if isinstance(start, float) and start.is_integer() else start for start in starts]
    return list(zip(texts, whole, strict=True))


def _fault_of_answer(text: Any, start: Any, context: str | None) -> Fault | None:
    if text is None:
        return Fault("answer text is missing")
    if fault := _fault_of_text("answer text", text):
        return fault
    if is_blank(text):
        return Fault("answer text is empty")
    if start is None:
        return Fault("answer_start is missing", f"of the answer {_shown(text)}")
    if not isinstance(start, int) or isinstance(start, bool):
        return Fault("answer_start is not a whole number", f"it is {_shown(start)}")
    if context is None:
        return None
    there = context[start : start + len(text)] if start >= 0 else ""
    if there == text:
        return None
    found = context.find(text)
    hint = "is nowhere in the context" if found < 0 else f"first occurs at {found}"
    what = _shown(there) if there else "nothing"
    return Fault("answer is not at answer_start", f"at {start} stands {what}; {_shown(text)} {hint}")


def _fault_of_text(name: str, value: Any) -> Fault | None:
    if not isinstance(value, str):
        return Fault(f"{name} is not text", f"it is {_shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair
        return Fault(f"{name} is not valid Unicode", f"a lone surrogate at character {error.start}")
    return None


def _shown(value: Any) -> str:
    """The value as Python writes it, cut to a length that fits in a line."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
