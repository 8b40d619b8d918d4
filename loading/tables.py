"""The door for tables: CSV, TSV, JSON lines and Parquet become rows by column name, each with its place in the file."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.errors import DataError, Problem
from runtime.files import check_unpacked, read_users_text
from runtime.identifiers import without_fractions
from runtime.strict_json import parse_json
from runtime.text import is_blank

if TYPE_CHECKING:
    import pyarrow

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
_LONGEST_CELL = 2**31 - 1
_BYTES_OF_A_ROW = 16  # at least: a row without a text of its own is no passage and no question
_IDENTIFIER = re.compile(r"_?(\w+_)?g?u?id")  # of columns: id, guid, _id, document_id, question_id


class Fault(NamedTuple):
    """One thing wrong with one row: its kind, which can be counted, and what stands there."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


PlacedRow = tuple[str, Mapping[str, Any] | Fault]


class Table(NamedTuple):
    """The columns of a table, None where every row names its own, and its rows with their places.

    A row that could not be read comes as its fault; a cell of nothing is None.
    """

    columns: list[str] | None
    rows: Iterator[PlacedRow]


def suffix_of(path: str | Path) -> str:
    """Return how the name of a file ends, but for ``.gz``: ``.csv`` for ``corpus.csv.gz``."""
    path = Path(path)
    return (Path(path.stem) if path.suffix.lower() == ".gz" else path).suffix.lower()


def read_table(path: str | Path, ours: Mapping[str, str] | None = None) -> Table:
    """Return the table in a file of one of the forms in :data:`TABLES`; all but Parquet may be gzipped (``.gz``).

    ``ours`` maps names of columns to what they are called here. Places are lines, in Parquet rows from 0. Raises
    :class:`DataError` for a file that cannot be read as a whole.
    """
    path, suffix = Path(path), suffix_of(path)
    if suffix == ".parquet":
        table = read_parquet(path, ours)
        return Table(table.column_names, _parquet_rows(table))
    text = read_users_text(path)
    if suffix == ".jsonl":
        return Table(None, _json_lines(text, ours or {}))
    return _separated(path, text, "\t" if suffix == ".tsv" else ",", ours or {})


def read_parquet(path: str | Path, ours: Mapping[str, str] | None = None) -> pyarrow.Table:
    """Return the table in a Parquet file, its columns named as :func:`read_table` does; :class:`DataError` if none."""
    import pyarrow
    import pyarrow.parquet

    try:
        held = pyarrow.parquet.read_metadata(path)
        groups = [held.row_group(number).total_byte_size for number in range(held.num_row_groups)]
        check_unpacked(path, max(sum(groups), held.num_rows * _BYTES_OF_A_ROW))
        table = pyarrow.parquet.read_table(path, partitioning=None)
        table.validate(full=True)
    except (OSError, pyarrow.ArrowException) as error:
        if isinstance(error, OSError) and error.errno:
            raise DataError([Problem(str(path), "", f"cannot be read: {os.strerror(error.errno)}")]) from None
        reason = f"cannot be read as Parquet: {' '.join(str(error).split())}"
        raise DataError([Problem(str(path), "", reason)]) from None
    columns = _renamed(Path(path), table.column_names, ours or {})
    kept = [index for index, name in enumerate(columns) if name]
    return table.select(kept).rename_columns([columns[index] for index in kept])


def written_list(text: str) -> Any:
    """Return the list or mapping that a cell holds as text, as JSON or as Python and pandas write it; None for others.

    ``{'text': array(['서해'], dtype=object), 'answer_start': array([11])}`` is one. Nothing of it is run.
    """
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        return parse_json(text)
    except ValueError:
        pass
    try:
        found = ast.parse(text.strip(), mode="eval")
        return ast.literal_eval(_WithoutArrays().visit(found))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


class _WithoutArrays(ast.NodeTransformer):
    """Puts the list in the place of ``array([...], dtype=...)``, and the number in that of ``np.int64(3)``."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = ast.unparse(node.func).rpartition(".")[2]
        return node.args[0] if len(node.args) == 1 and re.fullmatch(r"array|u?int\d+|float\d+|str_", name) else node


def _json_lines(text: str, ours: Mapping[str, str]) -> Iterator[PlacedRow]:
    for number, line in enumerate(_lines(text), start=1):
        if is_blank(line):
            continue
        row: Any
        try:
            row = parse_json(line)
        except json.JSONDecodeError as error:
            row = Fault(f"not valid JSON at column {error.colno}, or cut short", error.msg)
        except ValueError as error:
            row = Fault("not valid JSON", str(error))
        yield f"line {number}", named_row(row, ours)


def _lines(text: str) -> Iterator[str]:
    """Yield what stands between line feeds, one at a time: not splitlines, as U+2028 may stand inside a string."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def named_row(row: Any, ours: Mapping[str, str]) -> Mapping[str, Any] | Fault:
    """Return a JSON object with its names changed as ``ours`` says; a fault stays, anything else is one."""
    if isinstance(row, Fault):
        return row
    if not isinstance(row, dict):
        return Fault("not a JSON object")
    hidden = set(ours.values()) - set(ours)
    return {ours.get(name, name): value for name, value in row.items() if name not in hidden}


def _separated(path: Path, text: str, separator: str, ours: Mapping[str, str]) -> Table:
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[tuple[int, list[str]]] = []
    before = 0
    try:
        for cells in reader:
            if cells:
                lines.append((before + 1, cells))
            before = reader.line_num
    except csv.Error as error:
        raise DataError([Problem(str(path), f"line {before + 1}", f"cannot be read: {error}")]) from None
    if not lines:
        raise DataError([Problem(str(path), "", "is empty: its first line must name the columns")])
    (_, header), *lines = lines
    columns = _renamed(path, header, ours)
    width = len(columns)
    whole = [cells for _, cells in lines if len(cells) == width]
    for index, name in enumerate(columns):
        if _IDENTIFIER.fullmatch(name):
            for cells, value in zip(whole, without_fractions([cells[index] for cells in whole]), strict=True):
                cells[index] = value

    def rows() -> Iterator[PlacedRow]:
        for line, cells in lines:
            if len(cells) == width:
                yield f"line {line}", {name: cell or None for name, cell in zip(columns, cells, strict=True) if name}
            else:
                yield f"line {line}", Fault(f"has {len(cells)} cells where the first line names {width} columns")

    return Table([name for name in columns if name], rows())


def _renamed(path: Path, names: Sequence[str], ours: Mapping[str, str]) -> list[str]:
    """Return the names of columns here; columns that another one stands for, and indexes, have none."""
    names = [name.strip() for name in names]
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise DataError([Problem(str(path), "", f"has two columns of the name {', '.join(twice)}")])
    if absent := [name for name in ours if name not in names]:
        wanted = ", ".join(f"{name} to read {ours[name]} from" for name in absent)
        reason = f"has no column {wanted} (found {', '.join(filter(None, names))})"
        raise DataError([Problem(str(path), "", reason)])
    hidden = set(ours.values()) - set(ours)
    return [ours.get(name, "" if name in hidden else name) for name in names]


def _parquet_rows(table: pyarrow.Table) -> Iterator[PlacedRow]:
    number = 0
    for batch in table.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            yield f"row {number}", {name: None if value != value else value for name, value in row.items()}
            number += 1
