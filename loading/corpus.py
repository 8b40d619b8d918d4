"""The corpus: every passage that can be retrieved, read from one file and checked row by row."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from runtime.errors import DataError, Problem, UserError
from runtime.hashing import hash_rows
from runtime.identifiers import first_identifier
from runtime.log import get_logger
from runtime.text import is_blank, strip_blanks

logger = get_logger(__name__)

CORPUS_NAME = "wikipedia_documents.json"


@dataclass(frozen=True)
class Corpus:
    """Passages in a fixed order; retrievers name a passage by its row number here.

    ``also_known_as`` maps the ids of passages that were left out for having the text of an earlier one to that one's.
    """

    document_ids: list[str]
    titles: list[str]
    texts: list[str]
    also_known_as: dict[str, str] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hexadecimal) over every field of every passage, in order."""
        return hash_rows(zip(self.document_ids, self.titles, self.texts, strict=True))

    def names(self, rows: Iterable[int], called: str | None = None) -> list[str]:
        """Return the ids of the passages in ``rows``; the one that is also known as ``called`` goes by that."""
        names = [self.document_ids[row] for row in rows]
        if called is None or called not in self.also_known_as:
            return names
        return [called if name == self.also_known_as[called] else name for name in names]

    def search_texts(self) -> list[str]:
        """What sparse retrievers index: title, newline, text; the text alone where the title is empty."""
        return [f"{title}\n{text}" if title else text for title, text in zip(self.titles, self.texts, strict=True)]


def load_corpus(path: str | Path, skip_bad_rows: bool = False) -> Corpus:
    """Read ``wikipedia_documents.json`` or JSON lines (``.jsonl``), either also gzipped (``.gz``).

    The first is ``{"0": {"title", "text", "document_id"}, ...}``, where ``document_id`` falls back to the key; a
    line of the second is ``{"id" or "document_id", "title", "text"}``. Of passages with identical text the first is
    kept, and the ids of the others stand for it. Raises :class:`DataError` listing every bad row at once;
    ``skip_bad_rows`` leaves bad rows out instead, but a file that cannot be read at all raises either way.
    """
    path = Path(path)
    problems: list[Problem] = []
    passages: dict[str, tuple[str, str]] = {}  # text -> (document id, title), in the order of the file
    owners: dict[str, tuple[str, str]] = {}  # document id -> (text, row that brought it)
    rows = 0
    for label, row, default_id in _read_rows(path):
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
    logger.info("%s: %d passages, after leaving out %d with the text of an earlier one", path, len(passages), repeated)
    document_ids, titles = zip(*passages.values(), strict=True)
    kept = {document_id: passages[text][0] for document_id, (text, _) in owners.items()}
    others = {document_id: kept_id for document_id, kept_id in kept.items() if document_id != kept_id}
    return Corpus(list(document_ids), list(titles), list(passages), others)


def find_corpus(dataset_path: str | Path) -> Path:
    """Return the ``wikipedia_documents.json`` inside ``dataset_path``, else beside it, else beside its parent."""
    path = Path(os.path.abspath(dataset_path))
    folders = [path, path.parent, path.parent.parent] if path.exists() else []
    for folder in folders:
        if (folder / CORPUS_NAME).is_file():
            return folder / CORPUS_NAME
    raise UserError(
        f"no {CORPUS_NAME} in --dataset_path {dataset_path}, beside it or beside its parent: "
        "name the corpus with --context_path"
    )


def _read_rows(path: Path) -> Iterator[tuple[str, Any, Any]]:
    """Yield (label for messages, row, id to fall back to); a row that is not JSON comes as its error."""
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix not in (".json", ".jsonl"):
        raise UserError(f"--context_path {path} must end in .json or .jsonl, with .gz where it is gzipped")
    text = _read_text(path)
    if suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: U+2028 may stand inside a string
            if not is_blank(line):
                yield f"line {number}", _parse_line(line), None
        return
    try:
        # Objects become tuples of pairs, so that a key that appears twice does not silently hide a passage.
        document = json.loads(text, object_pairs_hook=tuple)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError([Problem(str(path), where, f"not valid JSON, or cut short: {error.msg}")]) from None
    if not isinstance(document, tuple):
        raise DataError([Problem(str(path), "", 'must hold one JSON object {"0": {"title": ..., "text": ...}, ...}')])
    for key, row in document:
        yield f"key {json.dumps(key, ensure_ascii=False)}", dict(row) if isinstance(row, tuple) else row, key


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        reason = f"not UTF-8: byte 0x{content[error.start]:02x} at offset {error.start}"
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = f"damaged gzip file: {error}"
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    raise DataError([Problem(str(path), "", reason)])


def _parse_line(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        return error


def _parse_row(row: Any, default_id: Any) -> tuple[str, str, str]:
    """Return (document id, title, text) of a row; raise ``ValueError`` with what is wrong with it."""
    if isinstance(row, json.JSONDecodeError):
        raise ValueError(f"not valid JSON at column {row.colno}, or cut short: {row.msg}")
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    text: Any = row.get("text")
    title = row.get("title")
    document_id = first_identifier(row.get("document_id"), row.get("id"), default_id)
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
    if not reasons and not _is_encodable(f"{document_id}{title}{text}"):
        reasons.append("holds half of a surrogate pair (\\ud800 to \\udfff), which is no character")
    if reasons:
        raise ValueError("; ".join(reasons))
    return document_id, strip_blanks((title or "").replace("_", " ")), text  # as the titles of examples are read


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
