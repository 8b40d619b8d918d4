"""A ranking as a TREC run, which trec_eval, pytrec_eval and ir_measures read.

One line a passage: ``question-id Q0 document-id rank score tag``, between single spaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from retrieval.base import SearchResults
from retrieval.corpus import Corpus
from runtime.errors import UserError
from runtime.files import staged_file


def write_trec_run(
    path: str | Path, question_ids: Sequence[str], corpus: Corpus, results: SearchResults, tag: str
) -> None:
    """Write ``results`` (n, k) for n ``question_ids``, ranks from 1, whole or not at all.

    Raises :class:`UserError` for an id with white space, which would end its field.
    """
    with staged_file(path) as staging, staging.open("w", encoding="utf-8", newline="\n") as file:
        for question_id, rows, scores in zip(question_ids, results.ids.tolist(), results.scores, strict=True):
            for rank, (row, score) in enumerate(zip(rows, scores, strict=True), start=1):
                fields = [question_id, "Q0", corpus.document_ids[row], str(rank), f"{score:.9g}", tag]
                if faulty := [field for field in fields if field.split() != [field]]:
                    raise UserError(f"a TREC run cannot hold {faulty[0]!r}, white space would end the field: {path}")
                file.write(" ".join(fields) + "\n")
