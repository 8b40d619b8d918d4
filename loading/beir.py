"""A BEIR folder: ``corpus.jsonl``, ``queries.jsonl`` and, in ``qrels/``, which passages are relevant to which question.

Its questions have no contexts and no answers; ``document_id`` names the relevant passage, or lists several as JSON.
Thakur et al. 2021, https://github.com/beir-cellar/beir.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from loading.tables import Fault, PlacedRow, read_table
from runtime.errors import DataError, Problem
from runtime.identifiers import as_cell, first_identifier

_QUERIES = ("queries.jsonl", "queries.jsonl.gz")
_SPLIT_OF_FILE = {"train": "train", "dev": "validation", "validation": "validation", "test": "test"}


def queries_of(folder: Path) -> Path | None:
    """Return the file of questions of a data set as BEIR has them; None in other layouts."""
    found = [folder / name for name in _QUERIES if (folder / name).is_file()]
    return found[0] if found and (folder / "qrels").is_dir() else None


def qrels_of(folder: Path) -> dict[str, Path]:
    """Return the file of judgements of each split that there is."""
    files = {path.name.partition(".")[0]: path for path in sorted(folder.glob("qrels/*.tsv*"))}
    return {_SPLIT_OF_FILE[name]: path for name, path in files.items() if name in _SPLIT_OF_FILE}


def beir_rows(queries: Path, qrels: Path, ours: Mapping[str, str]) -> Iterator[PlacedRow]:
    """Yield the questions that ``qrels`` judges, in its order, each with its relevant passages.

    Raises :class:`DataError` with every judgement that cannot be read and every question that is not there.
    """
    problems: list[Problem] = []
    asked = {}
    for place, row in read_table(queries, ours).rows:
        if isinstance(row, Fault):
            problems.append(Problem(str(queries), place, str(row)))
        else:
            name = first_identifier(row.get("_id"), row.get("id"))
            asked[name] = (place, {"id": name, "question": row.get("question", row.get("text"))})
    relevant: dict[str, list[str]] = {}
    for place, row in read_table(qrels).rows:
        judged = {} if isinstance(row, Fault) else row
        query, passage, score = (judged.get(name) or "" for name in ("query-id", "corpus-id", "score"))
        if not query or not passage or not re.fullmatch(r"-?\d+", score):
            problems.append(Problem(str(qrels), place, "is not query-id, corpus-id and a whole score"))
        elif query not in asked:
            problems.append(Problem(str(qrels), place, f"judges the question {query!r}, which {queries.name} lacks"))
        elif int(score) > 0:
            relevant.setdefault(query, []).append(passage)
    if problems:
        raise DataError(problems)
    for query, passages in relevant.items():
        place, row = asked[query]
        yield place, row | {"document_id": as_cell(passages)}
