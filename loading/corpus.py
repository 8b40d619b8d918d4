"""The corpus: every passage that can be retrieved, read from one file and checked row by row."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from loading.tables import TABLES, Fault, named_row, read_table, suffix_of
from runtime.errors import DataError, Problem, UserError
from runtime.files import read_users_text
from runtime.hashing import hash_rows
from runtime.identifiers import first_identifier
from runtime.log import get_logger
from runtime.strict_json import RepeatedKeys, parse_json, repeated_keys
from runtime.text import is_blank, is_encodable, strip_blanks

logger = get_logger(__name__)

CORPUS_NAMES = ("wikipedia_documents.json", "corpus.jsonl", "corpus.jsonl.gz")
_ID_NAMES = ("document_id", "id", "_id")  # the last is BEIR's


@dataclass(frozen=True)
class Corpus:
    """Passages in a fixed order; retrievers name a passage by its row number here.

    ``also_known_as`` maps the ids of passages that were left out for having the text of an earlier one to that one's.
    Where documents were cut into chunks (see ``loading/chunking.py``) the chunks of one follow each other under its id,
    and ``starts`` says at which character of its text each begins.
    """

    document_ids: list[str]
    titles: list[str]
    texts: list[str]
    also_known_as: dict[str, str] = field(default_factory=dict, compare=False)
    starts: list[int] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hexadecimal) over every field of every passage, in order."""
        starts = [] if self.starts is None else [self.starts]
        return hash_rows(zip(self.document_ids, self.titles, self.texts, *starts, strict=True))

    def part(self, rows: slice) -> Corpus:
        """Return the passages in ``rows`` as a corpus."""
        starts = None if self.starts is None else self.starts[rows]
        return Corpus(self.document_ids[rows], self.titles[rows], self.texts[rows], self.also_known_as, starts)

    def names(self, rows: Iterable[int], called: str | None = None) -> list[str]:
        """Return the ids of the passages in ``rows``; the one that is also known as ``called`` goes by that."""
        names = [self.document_ids[row] for row in rows]
        if called is None or called not in self.also_known_as:
            return names
        return [called if name == self.also_known_as[called] else name for name in names]

    def passage_names(self, rows: Iterable[int], called: str | None = None) -> list[str]:
        """Return names of the passages in ``rows`` that are all different: those of a document's chunks end in #start.

        ``called`` is that of :meth:`names`.
        """
        rows = list(rows)
        names = self.names(rows, called)
        if self.starts is None:
            return names
        return [f"{name}#{self.starts[row]}" for name, row in zip(names, rows, strict=True)]

    def search_texts(self, rows: slice = slice(None)) -> list[str]:
        """What sparse retrievers index of ``rows``: title, newline, text; the text alone where the title is empty."""
        passages = zip(self.titles[rows], self.texts[rows], strict=True)
        return [f"{title}\n{text}" if title else text for title, text in passages]


def load_corpus(path: str | Path, skip_bad_rows: bool = False, column_names: Mapping[str, str] | None = None) -> Corpus:
    """Read a corpus: ``wikipedia_documents.json``, a list of its objects, or a table (see ``loading/tables.py``).

    The first is ``{"0": {"title", "text", "document_id"}, ...}``, where ``document_id`` falls back to the key; a row of
    the others has ``document_id``, ``id`` or ``_id``, ``title`` and ``text``. ``column_names`` maps our names to the
    file's where they differ. Of passages with identical text the first is
    kept, and the ids of the others stand for it. Raises :class:`DataError` listing every bad row at once;
    ``skip_bad_rows`` leaves bad rows out instead, but a file that cannot be read at all raises either way.
    """
    path = Path(path)
    problems: list[Problem] = []
    passages: dict[str, tuple[str, str]] = {}  # text -> (document id, title), in the order of the file
    owners: dict[str, tuple[str, str]] = {}  # document id -> (text, row that brought it)
    rows = 0
    ours = {theirs: name for name, theirs in (column_names or {}).items()}
    for label, row, default_id in _read_rows(path, ours):
        rows += 1
        try:
            document_id, title, text = _parse_row(row, default_id)
            known_text, known_label = owners.setdefault(document_id, (text, label))
            if known_text != text:
                raise ValueError(f"id {document_id!r} already stands for another text, in {known_label}")
        except ValueError as error:
            problems.append(Problem(str(path), label, str(error)))
        else:
            passages.setdefault(text, (document_id, title))

    if problems and not skip_bad_rows:
        raise DataError(problems, "Correct these rows, or leave them out with --skip_bad_rows.")
    if not passages:
        raise DataError([*problems, Problem(str(path), "", "no passage in it")])
    if problems:
        logger.warning("%s: left out %d bad rows of %d", path, len(problems), rows)
    repeated = rows - len(problems) - len(passages)
    left_out = f", after leaving out {repeated} with the text of an earlier one" if repeated else ""
    logger.info("%s: %d passages%s", path, len(passages), left_out)
    document_ids, titles = zip(*passages.values(), strict=True)
    kept = {document_id: passages[text][0] for document_id, (text, _) in owners.items()}
    others = {document_id: kept_id for document_id, kept_id in kept.items() if document_id != kept_id}
    return Corpus(list(document_ids), list(titles), list(passages), others)


def find_corpus(dataset_path: str | Path) -> Path:
    """Return the corpus (``CORPUS_NAMES``) inside ``dataset_path``, else beside it, else beside its parent."""
    path = Path(os.path.abspath(dataset_path))
    folders = [path, path.parent, path.parent.parent] if path.exists() else []
    for folder in folders:
        for name in CORPUS_NAMES:
            if (folder / name).is_file():
                return folder / name
    if not folders:
        raise UserError(
            f"no corpus is found beside --dataset_path {dataset_path}, which is no file or folder here: "
            "correct it, or name the corpus with --context_path"
        )
    raise UserError(
        f"no {CORPUS_NAMES[0]} or {CORPUS_NAMES[1]} in --dataset_path {dataset_path}, beside it or beside its parent: "
        "name the corpus with --context_path"
    )


def _read_rows(path: Path, ours: Mapping[str, str]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (label for messages, row, id to fall back to); a row that cannot be read comes as its fault."""
    suffix = suffix_of(path)
    if suffix in TABLES:
        table = read_table(path, ours)
        if table.columns is not None and not ("text" in table.columns and set(_ID_NAMES) & set(table.columns)):
            reason = f"needs the columns id, title and text (found {', '.join(table.columns)})"
            raise DataError([Problem(str(path), "", reason)], "Say which they are with --corpus_column text=ITS_NAME.")
        yield from ((place, row, None) for place, row in table.rows)
        return
    if suffix != ".json":
        raise UserError(f"a corpus must end in .json, {', '.join(TABLES[:-1])} (also with .gz) or .parquet, not {path}")
    text = read_users_text(path)
    try:
        # Objects become tuples of pairs, so that a key that appears twice does not silently hide a passage.
        document = parse_json(text, read_object=tuple)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError([Problem(str(path), where, f"not valid JSON, or cut short: {error.msg}")]) from None
    except ValueError as error:
        raise DataError([Problem(str(path), "", f"cannot be read: {error}")]) from None
    if isinstance(document, list):
        pairs: Iterable[tuple[str, Any, Any]] = ((f"[{index}]", row, str(index)) for index, row in enumerate(document))
    elif isinstance(document, tuple):
        pairs = ((f"key {json.dumps(key, ensure_ascii=False)}", row, key) for key, row in document)
    else:
        reason = 'must hold one JSON object {"0": {"title": ..., "text": ...}, ...}, or a list of such passages'
        raise DataError([Problem(str(path), "", reason)])
    for label, row, key in pairs:
        if isinstance(row, tuple):
            repeated = RepeatedKeys(repeated_keys(row))
            row = Fault(str(repeated)) if repeated.keys else dict(row)
        yield label, named_row(row, ours), key


def _parse_row(row: Any, default_id: Any) -> tuple[str, str, str]:
    """Return (document id, title, text) of a row; raise ``ValueError`` with what is wrong with it."""
    if isinstance(row, Fault):
        raise ValueError(str(row))
    text: Any = row.get("text")
    title = row.get("title")
    document_id = first_identifier(*map(row.get, _ID_NAMES), default_id)
    reasons = []
    if text is None:
        reasons.append("no text")
    elif not isinstance(text, str):
        reasons.append("text is not a string")
    elif is_blank(text):
        reasons.append("text is empty")
    if not isinstance(title, str | None):
        reasons.append("title is not a string")
    if not isinstance(document_id, str) or is_blank(document_id):
        reasons.append("no id: document_id or id must be a string or a whole number")
    if not reasons and not is_encodable(f"{document_id}{title}{text}"):
        reasons.append("holds half of a surrogate pair (\\ud800 to \\udfff), which is no character")
    if reasons:
        raise ValueError("; ".join(reasons))
    return document_id, strip_blanks((title or "").replace("_", " ")), text  # as the titles of examples are read
