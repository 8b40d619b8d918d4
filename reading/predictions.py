"""Files of predictions, ours or of any other program: ``{id: text}``, and our n best answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from runtime.errors import DataError, Problem, UserError
from runtime.files import read_users_json
from runtime.strict_json import Pairs, repeated_keys
from runtime.text import is_encodable

if TYPE_CHECKING:
    from reading.answers import Answer

_NAMES = {str: "a text", int: "a whole number", float: "a number"}
_LARGEST = 1e30  # of a score


def predictions_of(answers: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Return ``{id: text}`` of each question's first, that is best answer; an empty text where there is none."""
    return {question: found[0].text if found else "" for question, found in answers.items()}


def read_predictions(path: str) -> dict[str, str]:
    """Read ``{id: text}``; a file that holds anything else raises :class:`UserError`, all bad entries at once."""
    repeated: list[str] = []

    def to_mapping(pairs: Pairs) -> dict[str, Any]:
        repeated.extend(repeated_keys(pairs))
        return dict(pairs)

    try:
        content = read_users_json(path, read_object=to_mapping)
    except DataError as error:
        raise UserError(f"--predictions {path} {error.problems[0].reason}") from None
    if not isinstance(content, dict):
        raise UserError(f"--predictions {path} must hold one mapping {{id: text}}")

    problems = [Problem(path, f"id {name!r}", "answered more than once") for name in repeated]
    problems += [
        Problem(path, f"id {name!r}", f"the answer must be text, not {json.dumps(answer, ensure_ascii=False)[:40]}")
        for name, answer in content.items()
        if not isinstance(answer, str)
    ]
    problems += [
        Problem(path, f"id {name!r}", "holds half of a surrogate pair, which is no character")
        for name, answer in content.items()
        if isinstance(answer, str) and not is_encodable(name + answer)
    ]
    if problems:
        raise DataError(problems, "--predictions takes one text for each id, as in predictions.json.")
    return content


def read_nbest(path: str) -> dict[str, list[Answer]]:
    """Read the n best answers that ``inference.py`` wrote with ``--postprocess none``, from their folder or file.

    Raises :class:`DataError` for a file of another form, and :class:`UserError` if rules have changed the answers.
    """
    from reading.answers import Answer  # with all that a data set needs

    file = Path(path, "nbest_predictions.json") if Path(path).is_dir() else Path(path)
    content = read_users_json(file)
    try:
        answers = {question: [Answer(**found) for found in answers] for question, answers in content.items()}
    except (AttributeError, TypeError):
        names = ", ".join(one.name for one in fields(Answer))
        reason = f"must map every id to a list of answers, each with {names}"
        raise DataError([Problem(str(file), "", reason)], "Name what inference.py wrote.") from None
    kinds = get_type_hints(Answer)
    problems = [
        Problem(str(file), f"id {question!r}, answer {number}", fault)
        for question, found in answers.items()
        for number, answer in enumerate(found, start=1)
        if (fault := _fault_of(answer, kinds))
    ]
    if problems:
        raise DataError(problems, "Name what inference.py wrote.")
    record = file.with_name("arguments.json")
    saved = read_users_json(record) if record.exists() else {}
    rules = saved.get("postprocess", "none") if isinstance(saved, dict) else "none"
    if rules != "none":
        raise UserError(f"{file} was written with --postprocess {rules}: run inference.py with --postprocess none")
    return answers


def _fault_of(answer: Answer, kinds: Mapping[str, type]) -> str | None:
    """Return what is wrong with the type or the size of a value of an answer that was read from a file."""
    for name, value in asdict(answer).items():
        kind = kinds[name]
        if isinstance(value, bool) or not isinstance(value, kind if kind is not float else int | float):
            return f"{name} is {str(value)[:40]!r}, and must be {_NAMES[kind]}"
        if isinstance(value, str) and not is_encodable(value):
            return f"{name} holds half of a surrogate pair, which is no character"
        if isinstance(value, int | float) and not abs(value) <= _LARGEST:
            return f"{name} is {str(value)[:40]}, which is no score and no place"
    return None


def check_same_questions(
    files: Mapping[str, str], predictions: Mapping[str, Mapping[str, str]], references: Mapping[str, Sequence[str]]
) -> None:
    """Raise :class:`DataError` if one file lacks questions that another answers: their difference would mean little."""
    answered = [name for name in references if any(name in answers for answers in predictions.values())]
    problems = []
    for letter, answers in predictions.items():
        if missing := [name for name in answered if name not in answers]:
            reason = f"lacks {len(missing)} of the questions that another file answers ({first_of(missing)})"
            problems.append(Problem(files[letter], "", reason))
    if problems:
        raise DataError(problems, "Compare files of the same questions; an empty text says that there is no answer.")


def first_of(names: Sequence[str], count: int = 5) -> str:
    """Return the first so many of ``names``, for a message."""
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
