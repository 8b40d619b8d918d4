"""Rows as they were read become canonical rows; whatever is wrong with one is said with its place and reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from loading.tables import Fault, PlacedRow, written_list
from runtime.errors import DataError, Problem
from runtime.identifiers import first_identifier, identifier
from runtime.text import is_blank, strip_blanks

Columns = dict[str, list[Any]]

# What published data sets call our fields: KLUE, AIHub and BEIR have names of their own.
ID_NAMES = ("id", "guid", "question_id", "_id")
_TITLE_NAMES = ("title", "doc_title")
_DOCUMENT_ID_NAMES = ("document_id", "doc_id")
ANSWER_NAMES = ("answers", "answer", "answer_text")
UNKNOWN_START = -1  # of an answer to a question that comes without the context which holds it
_TRUTH = {"true": True, "false": False, "1": True, "0": False}


class CheckedRows(NamedTuple):
    """The good rows of one split as columns, every problem of the bad ones, and a line about what is left out."""

    columns: Columns
    problems: list[Problem]
    left_out: str


def check_rows(
    file: str,
    rows: Iterable[PlacedRow],
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
        "id": text("id", _first_identifier(raw, ID_NAMES), required=True),
        # titles of SQuAD-format files are page addresses, with underscores for spaces
        "title": strip_blanks(text("title", _first(raw, _TITLE_NAMES)).replace("_", " ")),
        "question": text("question", raw.get("question"), required=True),
        "document_id": text("document_id", _first_identifier(raw, _DOCUMENT_ID_NAMES)),
    }
    if is_blank(row["document_id"]):
        row["document_id"] = ""
    row["context"] = text("context", raw.get("context"), required=not questions_only)
    row["answers"] = _check_answers(raw, row["context"], questions_only, faults)
    label = identifier(raw.get("question_type"))  # a mere label: what is no text is no fault
    row["question_type"] = "" if _fault_of_text("question_type", label) else label
    return row, faults


def _first(raw: Mapping[str, Any], names: Iterable[str]) -> Any:
    """Return the first of the fields that is there; None if none is, or only NaN, as pandas fills a column."""
    values = (raw.get(name) for name in names)
    return next((value for value in values if value is not None and value == value), None)


def _first_identifier(raw: Mapping[str, Any], names: Iterable[str]) -> Any:
    return first_identifier(*map(raw.get, names))


def _check_answers(
    raw: Mapping[str, Any], context: str, questions_only: bool, faults: list[Fault]
) -> dict[str, list[Any]]:
    """Return the gold answers of a row; what is wrong with them goes to ``faults``.

    They may come without their starts, which are then found in the context where they are unique there.
    """
    impossible, answers = raw.get("is_impossible"), _first(raw, ANSWER_NAMES)
    if isinstance(impossible, str):
        impossible = _TRUTH.get(impossible.strip().lower(), impossible)
    if impossible not in (None, True, False):
        faults.append(Fault("is_impossible is not true or false", f"it is {_shown(impossible)}"))
    elif impossible:  # the hub's KLUE-MRC has plausible wrong answers here
        answers = []
    if isinstance(answers, str):
        written = written_list(answers)
        answers = answers if written is None else written
    if answers is None or answers == {"text": None, "answer_start": None}:
        if not questions_only:
            faults.append(Fault("answers is missing"))
        answers = []
    pairs = _answer_pairs(answers, raw.get("answer_start"))
    if pairs is None:
        faults.append(Fault("answers is not a list of text and answer_start", f"it is {_shown(answers)}"))
        pairs = []
    context_at_fault = is_blank(context) and not questions_only  # said once already
    found: dict[str, list[Any]] = {"text": [], "answer_start": []}
    for text, start in pairs:
        if start is None and isinstance(text, str) and not is_blank(text) and not context_at_fault:
            start = UNKNOWN_START if is_blank(context) else _find(text, context)
        if fault := _fault_of_answer(text, start, None if context_at_fault else context):
            faults.append(fault)
        found["text"].append(text)
        found["answer_start"].append(start)
    return found


def _answer_pairs(answers: Any, flat_start: Any) -> list[tuple[Any, Any]] | None:
    """Return (text, answer_start) pairs; None if ``answers`` is nothing that these can be read from.

    It may be a list of objects, an object of two lists or of two values, a text, or a list of texts, of which the
    starts are in ``flat_start`` or nowhere.
    """
    texts_alone = isinstance(answers, list) and bool(answers) and all(isinstance(answer, str) for answer in answers)
    if isinstance(answers, str) or texts_alone:
        answers = {"text": answers, "answer_start": flat_start}
    if isinstance(answers, list) and all(isinstance(answer, Mapping) for answer in answers):
        texts: Any = [answer.get("text") for answer in answers]
        starts: Any = [answer.get("answer_start") for answer in answers]
    elif isinstance(answers, Mapping):
        texts, starts = answers.get("text"), answers.get("answer_start")
        if isinstance(starts, str) and (written := written_list(starts)) is not None:
            starts = written
        if isinstance(texts, str):
            texts, starts = [texts], starts if isinstance(starts, list) else [starts]
        if isinstance(texts, list) and ("answer_start" not in answers or starts is None or starts == [None]):
            starts = [None] * len(texts)
    else:
        return None
    if not (isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts)):
        return None
    return list(zip(texts, map(_whole, starts), strict=True))


def _whole(start: Any) -> Any:
    """Return a whole number as such: pandas makes floats of them where one is missing, files without types have text.

    NaN, a missing one, is None.
    """
    if isinstance(start, str) and re.fullmatch(r"\s*\d{1,18}(\.0)?\s*", start):
        return int(start.strip().removesuffix(".0"))
    if isinstance(start, float):
        return int(start) if start.is_integer() else None if start != start else start
    return start


def _find(text: str, context: str) -> int | None:
    """Return where ``text`` begins in ``context`` if it occurs there once; None if it occurs not at all or again."""
    start = context.find(text)
    return None if start < 0 or context.find(text, start + 1) >= 0 else start


def _fault_of_answer(text: Any, start: Any, context: str | None) -> Fault | None:
    if text is None:
        return Fault("answer text is missing")
    if fault := _fault_of_text("answer text", text):
        return fault
    if is_blank(text):
        return Fault("answer text is empty")
    if start is None and context is None:
        return None
    if start is None:
        count = len(re.findall(f"(?={re.escape(text)})", context or ""))
        where = f"occurs {count} times in the context" if count else "is nowhere in the context"
        return Fault("answer_start is missing", f"{_shown(text)} {where}")
    if not isinstance(start, int) or isinstance(start, bool):
        return Fault("answer_start is not a whole number", f"it is {_shown(start)}")
    if context is None or (start == UNKNOWN_START and is_blank(context)):
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
