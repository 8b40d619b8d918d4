"""Why a retriever found what it found: the parts of each passage's score, as JSON and as lines for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from datasets import Dataset

from loading.corpus import Corpus
from retrieval.base import Explaining, Part, SearchResults, ranks_by_row
from runtime.errors import UserError
from runtime.terminal import one_line, terminal_width, wrapped

if TYPE_CHECKING:  # it needs what finds passages, which explains them
    from retrieval.comparison import Questions

_EXPLAINED = 5  # passages of a question, the best
_SHOWN = 8  # of a score's parts, the largest


class ExplainedPassage(NamedTuple):
    """A passage and the parts of its score; ``rank`` counts from 1 and is None for one that was not found."""

    rank: int | None
    document_id: str
    title: str
    score: float
    parts: Sequence[Part]


class ExplainedQuestion(NamedTuple):
    """A question, what it was cut into under the name of what cuts it, and why passages were found."""

    question: str
    cuts: dict[str, Sequence[str]]
    passages: list[ExplainedPassage]


def explain_found(
    retriever: Explaining, corpus: Corpus, question: str, found: SearchResults, most: int, also: Sequence[int] = ()
) -> ExplainedQuestion:
    """Explain the ``most`` best passages in ``found``, (1, k), and those in the rows ``also``, found or not."""
    known = ranks_by_row(found)
    rows = list(dict.fromkeys([*list(known)[:most], *also]))
    explanation = retriever.explain(question, rows, len(known))
    passages = []
    for row, parts in zip(rows, explanation.parts, strict=True):
        rank, score = known.get(row, (None, sum(part.score for part in parts)))
        passages.append(ExplainedPassage(rank, corpus.document_ids[row], corpus.titles[row], score, parts))
    return ExplainedQuestion(question, dict(explanation.cuts), passages)


def rows_of(ids: Sequence[str], examples: Dataset) -> list[int]:
    """Return which ``examples`` have these ids; :class:`UserError` for ids that none has."""
    known = {name: row for row, name in enumerate(examples["id"])}
    if missing := [name for name in ids if name not in known]:
        first = next(iter(known))
        raise UserError(f"--explain {' '.join(missing)}: no question has this id; the first one here is {first}")
    return [known[name] for name in ids]


def explain_questions(
    retriever: Any, questions: Questions, asked: Sequence[int], results: SearchResults
) -> list[ExplainedQuestion]:
    """Explain the best passages of the questions in the rows ``asked``, and the right ones; ``results`` are of all."""
    return [
        explain_found(
            retriever,
            questions.corpus,
            questions.examples[row]["question"],
            SearchResults(*(part[row : row + 1] for part in results)),  # (n, k) -> (1, k) each
            _EXPLAINED,
            questions.gold.rows[row],
        )
        for row in asked
    ]


def as_json(explained: ExplainedQuestion) -> dict[str, Any]:
    """Return what JSON can hold."""
    passages = [one._asdict() | {"parts": list(map(_as_json, one.parts))} for one in explained.passages]
    return explained._asdict() | {"passages": passages}


def as_text(explained: ExplainedQuestion) -> str:
    """Return the cut, then each passage with the largest parts of its score, as wide as the terminal."""
    width = terminal_width()
    lines = []
    for name, terms in explained.cuts.items():
        counts = Counter(map(one_line, terms))
        said = " · ".join(term if count == 1 else f"{term} {count}×" for term, count in counts.items())
        lines.append(wrapped(f"{name}: {said}", width))
    for passage in explained.passages:
        place = "not found" if passage.rank is None else f"passage {passage.rank}"
        head = f"{one_line(passage.title) or '(no title)'} ({place}, score {passage.score:.4g})"
        lines += ["", wrapped(head, width), *_lines(passage.parts, width, "  ")]
    return "\n".join([*lines, ""])


def _lines(parts: Sequence[Part], width: int, indent: str) -> Iterator[str]:
    for part in parts[:_SHOWN]:
        said = one_line(f"{part.name} ({part.detail})" if part.detail else part.name)
        yield wrapped(said, width, f"{indent}{part.score:>9.4f}  ", indent + " " * 11)
        yield from _lines(part.parts, width, indent + " " * 4)
    if rest := parts[_SHOWN:]:
        yield f"{indent}{sum(part.score for part in rest):>9.4f}  in {len(rest)} smaller parts"


def _as_json(part: Part) -> dict[str, Any]:
    return part._asdict() | {"parts": list(map(_as_json, part.parts))}
