"""Files of predictions, ours or of any other program: ``{id: text}``, and our n best answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import DataError, Problem, UserError
from runtime.files import read_users_json

if TYPE_CHECKING:
    from reading.answers import Answer


def read_predictions(path: str) -> dict[str, str]:
    """Read ``{id: text}``; a file that holds anything else raises :class:`UserError`, all bad entries at once."""
    repeated: list[str] = []

    def to_mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # json alone would silently keep the last answer of a repeated id.
        repeated.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return dict(pairs)

    try:
        # utf-8-sig: some editors on Windows put a byte-order mark before the text.
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=to_mapping)
    except OSError as error:
        raise UserError(f"--predictions {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"--predictions {path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise UserError(f"--predictions {path} is not valid JSON: {reason}") from None
    if not isinstance(content, dict):
        raise UserError(f"--predictions {path} must hold one mapping {{id: text}}")

    problems = [Problem(path, f"id {name!r}", "answered more than once") for name in repeated]
    problems += [
        Problem(path, f"id {name!r}", f"the answer must be text, not {json.dumps(answer, ensure_ascii=False)[:40]}")
        for name, answer in content.items()
        if not isinstance(answer, str)
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
    record = file.with_name("arguments.json")
    rules = read_users_json(record).get("postprocess", "none") if record.exists() else "none"
    if rules != "none":
        raise UserError(f"{file} was written with --postprocess {rules}: run inference.py with --postprocess none")
    return answers


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
