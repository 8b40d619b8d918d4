"""A ranking as a TREC run, which trec_eval, pytrec_eval and ir_measures read.

One line a passage: ``question-id Q0 document-id rank score tag``, between single spaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loading.corpus import Corpus
from retrieval.base import SearchResults
from runtime.errors import UserError
from runtime.files import staged_file


def write_trec_run(
    path: str | Path,
    question_ids: Sequence[str],
    corpus: Corpus,
    results: SearchResults,
    tag: str,
    gold_ids: Sequence[str] | None = None,
) -> None:
    """Write ``results`` (n, k) for n ``question_ids``, ranks from 1, whole or not at all.

    A passage with several ids goes by the one that ``gold_ids`` name its question's passage by, if it is among them;
    a chunk by its document's id and where it starts there.
    Raises :class:`UserError` for an id with white space, which would end its field.
    """
    with staged_file(path) as staging, staging.open("w", encoding="utf-8", newline="\n") as file:
        golds: Sequence[str | None] = gold_ids or [None] * len(question_ids)
        for question_id, gold, rows, scores in zip(
            question_ids, golds, results.ids.tolist(), results.scores, strict=True
        ):
            for rank, (name, score) in enumerate(zip(corpus.passage_names(rows, gold), scores, strict=True), start=1):
                fields = [question_id, "Q0", name, str(rank), f"{score:.9g}", tag]
                if faulty := [field for field in fields if field.split() != [field]]:
                    raise UserError(f"a TREC run cannot hold {faulty[0]!r}, white space would end the field: {path}")
                file.write(" ".join(fields) + "\n")
