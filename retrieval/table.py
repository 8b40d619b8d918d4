"""Retrieved passages as a long table: one row per question id and rank, in a file that any retriever can fill.

Columns: ``id, question, rank`` (from 1)``, document_id, title, context, score`` and, where the examples have them,
``answers`` as JSON text; where documents were cut into chunks ``passage_start``, the character of the document at
which ``context`` starts.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from datasets import Dataset

from loading.corpus import Corpus
from loading.tables import read_parquet
from retrieval.base import SearchResults
from runtime.errors import DataError, Problem, UserError
from runtime.files import staged_file
from runtime.identifiers import as_cell, identifiers_in, without_fractions
from runtime.log import get_logger

logger = get_logger(__name__)

PASSAGES_AT_ONCE = 2560  # rows of a table that is made block by block
COLUMNS = ["id", "question", "rank", "document_id", "title", "context", "score"]
_NUMBERS = {"rank", "score", "passage_start"}
_OPTIONAL = ["passage_start", "answers"]
_IDENTIFIERS = {"id", "document_id", "context_id"}


def retrieved_df(examples: Dataset, corpus: Corpus, results: SearchResults) -> pd.DataFrame:
    """Return the long table of ``results`` (n, k) for n ``examples`` (``id, question[, answers]``): n * k rows.

    A passage with several ids goes by the one that its question's ``document_id`` names it by.
    """
    n, k = results.ids.shape
    rows = results.ids.ravel()  # (n, k) -> (n * k,)
    of_question = np.repeat(np.arange(n), k)  # (n,) -> (n * k,)
    golds = examples["document_id"] if "document_id" in examples.column_names else [None] * n
    document_ids = [corpus.names(*question) for question in zip(results.ids.tolist(), golds, strict=True)]  # (n, k)
    df = pd.DataFrame(
        {
            "id": _take(examples["id"], of_question),
            "question": _take(examples["question"], of_question),
            "rank": np.tile(np.arange(1, k + 1), n),  # (k,) -> (n * k,)
            "document_id": list(chain.from_iterable(document_ids)),
            "title": _take(corpus.titles, rows),
            "context": _take(corpus.texts, rows),
            "score": results.scores.ravel(),  # (n, k) -> (n * k,)
        }
    )
    if corpus.starts is not None:
        df["passage_start"] = np.take(corpus.starts, rows)
    if "answers" in examples.column_names:
        df["answers"] = _take([json.dumps(answers, ensure_ascii=False) for answers in examples["answers"]], of_question)
    return df


class Retrieved(NamedTuple):
    """The passages of every question: ``blocks()`` gives the long table some questions at a time, again and again.

    So that a deep one never is in memory as a whole; ``k`` is its deepest rank.
    """

    blocks: Callable[[], Iterator[pd.DataFrame]]
    k: int


def retrieved_blocks(examples: Dataset, corpus: Corpus, results: SearchResults) -> Iterator[pd.DataFrame]:
    """Yield the long table of ``results`` some questions at a time, never one question in two blocks."""
    at_once = max(1, PASSAGES_AT_ONCE // max(1, results.ids.shape[1]))
    for start in range(0, len(examples), at_once):
        block = slice(start, start + at_once)
        questions = examples.select(range(*block.indices(len(examples))))
        yield retrieved_df(questions, corpus, SearchResults(results.ids[block], results.scores[block]))


def table_blocks(df: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield a table whose questions follow each other some questions at a time, never one question in two blocks."""
    at_once = max(1, PASSAGES_AT_ONCE // int(df["rank"].max()))
    starts = np.flatnonzero(df["id"] != df["id"].shift())[::at_once]  # (blocks,)
    for start, end in zip(starts, [*starts[1:], len(df)], strict=True):
        yield df.iloc[start:end]


def write_retrieved_df(df: pd.DataFrame | Iterable[pd.DataFrame], path: str | Path) -> None:
    """Write the table, given whole or in blocks, as ``.csv`` (UTF-8) or ``.parquet``, whole or not at all."""
    write = _write_parquet if _check_suffix(path) == ".parquet" else _write_csv
    with staged_file(path) as staging:
        write([df] if isinstance(df, pd.DataFrame) else df, staging)


def _write_csv(blocks: Iterable[pd.DataFrame], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, block in enumerate(blocks):
            # every text in quotes, so that a lone carriage return does not end its row
            quoted = {"lineterminator": "\n", "quoting": csv.QUOTE_NONNUMERIC}
            try:
                block.to_csv(file, index=False, header=number == 0, **quoted)
            except csv.Error:
                raise UserError(
                    "a text holds the character U+0000, which only Python 3.11 and later can write as CSV: take it out"
                ) from None


def _write_parquet(blocks: Iterable[pd.DataFrame], path: Path) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    with ExitStack() as stack:
        writer = None
        for block in blocks:
            table = pyarrow.Table.from_pandas(block, preserve_index=False)
            writer = writer or stack.enter_context(ParquetWriter(path, table.schema))
            writer.write_table(table)


def get_retrieved_df(
    path: str | Path, examples: Dataset, top_k: int | None = None, partly: bool = False
) -> pd.DataFrame:
    """Return the first ``top_k`` ranks, by default all, of every example from a table, in the order of ``examples``.

    With ``partly`` it need not hold passages of all examples, but of one at least.
    Also reads the old CSV of one row per question (``question, id, context_id, context``), whose joined context
    becomes rank 1; of a list of ids the ``document_id`` holds all, as JSON. Raises :class:`DataError` listing
    everything that is wrong with the table at once.
    """
    df = _read(Path(path))
    if "context_id" in df.columns and "rank" not in df.columns:
        logger.info("%s: the old form, one row of joined passages per question; each is read as rank 1", path)
        ids = [as_cell(identifiers_in(cell)) for cell in df["context_id"]]
        df = df.drop(columns="context_id").assign(document_id=ids, rank=1, title="", score=0.0)
        df = df.drop(columns="answers", errors="ignore")  # not JSON in that form
    for name in _IDENTIFIERS & set(df.columns):
        known = set(examples[name]) if name in examples.column_names else set()
        df[name] = without_fractions(list(df[name]), known)
    missing = [name for name in COLUMNS if name not in df.columns]
    if missing:
        reason = f"no column {', '.join(missing)}; found {', '.join(map(str, df.columns))}"
        raise DataError([Problem(str(path), "", reason)], f"A table of passages has the columns {', '.join(COLUMNS)}.")

    for name in _NUMBERS & set(df.columns):
        df[name] = pd.to_numeric(df[name], errors="coerce").astype("float64")
    position = {example_id: row for row, example_id in enumerate(examples["id"])}
    if problems := [Problem(str(path), row, reason) for row, reason in _find_problems(df, position, partly)]:
        raise DataError(problems, "Write a table for this data set; inference.py writes one beside its answers.")

    df = df[df["id"].isin(position) & (df["rank"] <= (top_k or np.inf))].astype({"rank": "int64", "score": "float32"})
    df = df.assign(position=df["id"].map(position)).sort_values(["position", "rank"], ignore_index=True)
    _warn_of_strangers(path, df, list(examples["question"]), top_k)
    if "passage_start" in df.columns:
        df["passage_start"] = df["passage_start"].astype("int64")
    return df[[*COLUMNS, *(name for name in _OPTIONAL if name in df.columns)]]


def _take(values: Sequence[str], rows: np.ndarray) -> list[str]:
    values = list(values)  # a column of a dataset is read from disk at every access
    return [values[row] for row in rows]


def _check_suffix(path: str | Path) -> str:
    suffix = Path(path).suffix
    if suffix not in (".csv", ".parquet"):
        raise UserError(f"a table of retrieved passages must end in .csv or .parquet, not {path}")
    return suffix


def _read(path: Path) -> pd.DataFrame:
    """Return the table as it stands, every text a string and none taken for a missing value."""
    suffix = _check_suffix(path)
    try:
        if suffix == ".parquet":
            # whole numbers beside missing ones as they are: as floats, ids of 17 digits would be others
            df = read_parquet(path).to_pandas(integer_object_nulls=True)
        else:
            df = pd.read_csv(path, dtype=str, na_filter=False, encoding="utf-8-sig")
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    except ValueError as error:  # not UTF-8, not CSV, not parquet
        reason = f"not a table: {error}"
    else:
        return df.assign(**{name: _as_texts(df[name]) for name in df.columns if name not in _NUMBERS})
    raise DataError([Problem(str(path), "", reason)])


def _as_texts(column: pd.Series) -> list[str]:
    """Return a column as texts, what is missing as empty ones, and identifiers as they are read everywhere."""
    values = column.astype(object).where(column.notna(), "")
    if column.name in _IDENTIFIERS:
        values = [value if isinstance(value, str) else as_cell(identifiers_in(value)) for value in values]
    return list(map(str, values))


def _find_problems(df: pd.DataFrame, position: dict[str, int], partly: bool) -> Iterator[tuple[str, str]]:
    """Yield (row, reason); a rank or score that is no number stands as NaN in ``df``."""
    for row in np.flatnonzero(~((df["rank"] >= 1) & (df["rank"] % 1 == 0))):
        yield f"row {row + 1}", "rank is not a whole number from 1"
    if "passage_start" in df.columns:
        for row in np.flatnonzero(~((df["passage_start"] >= 0) & (df["passage_start"] % 1 == 0))):
            yield f"row {row + 1}", "passage_start is not a whole number from 0"
    for row in np.flatnonzero(~np.isfinite(df["score"])):
        yield f"row {row + 1}", "score is not a number"
    with np.errstate(over="ignore"):
        kept = df["score"].astype(np.float32)
    for row in np.flatnonzero(np.isfinite(df["score"]) & np.isinf(kept)):
        yield f"row {row + 1}", "score is too large for 32 bits"
    counts = df.groupby(["id", "rank"]).size()
    for (example_id, rank), count in counts[counts > 1].items():
        yield f"id {example_id}, rank {rank:g}", f"{count} rows"
    if partly:
        if not df["id"].isin(position).any():
            yield "", "no question of the data set is in it"
        return
    for example_id in sorted(set(position) - set(df["id"][df["rank"] == 1]), key=position.__getitem__):
        yield f"id {example_id}", "a question of the data set that has no row of rank 1"


def _warn_of_strangers(path: str | Path, df: pd.DataFrame, questions: list[str], top_k: int | None) -> None:
    """Warn of a table that was made for other questions, or with fewer passages than are asked for."""
    first = df.drop_duplicates("position")
    differing = int((first["question"] != [questions[row] for row in first["position"]]).sum())
    if differing:
        logger.warning("%s: %d of its questions read otherwise in the data set; is it for other data?", path, differing)
    if top_k is not None and df["rank"].max() < top_k:
        logger.warning("%s: holds at most %d passages a question, fewer than %d", path, df["rank"].max(), top_k)
