"""The door for tables: rows with places, what a file cannot be read for, and texts of lists."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet
import pytest

from loading.tables import Fault, named_row, read_parquet, read_table, suffix_of, written_list
from runtime.errors import DataError

pytestmark = pytest.mark.usefixtures("_work_in")


def rows(name, content, ours=None):
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_table(name, ours).rows)


def problem(name, content, ours=None):
    with pytest.raises(DataError) as raised:
        rows(name, content, ours)
    (only,) = raised.value.problems
    return str(only)


def test_lines_count_through_quoted_line_breaks_and_blank_lines():
    text = 'id,text\r\n1,"a\nb"\r\n\r\n2,"c ""d"", e"\r\n'
    assert rows("a.csv", text) == [("line 2", {"id": "1", "text": "a\nb"}), ("line 5", {"id": "2", "text": 'c "d", e'})]


def test_nothing_is_taken_for_a_missing_value_but_an_empty_cell():
    assert rows("a.tsv", "id\ttext\nNA\tnull\nnan\t\n") == [
        ("line 2", {"id": "NA", "text": "null"}), ("line 3", {"id": "nan", "text": None}),
    ]  # fmt: skip


def test_ids_that_became_floats_are_whole_again_in_columns_of_ids_alone():
    assert rows("a.csv", "id,rank,document_id\n1.0,1.0,\n2.0,2.0,3.0\n") == [
        ("line 2", {"id": "1", "rank": "1.0", "document_id": None}),
        ("line 3", {"id": "2", "rank": "2.0", "document_id": "3"}),
    ]
    assert rows("a.csv", "id\n1.0\na\n") == [("line 2", {"id": "1.0"}), ("line 3", {"id": "a"})]


def test_a_column_that_another_stands_for_and_an_index_are_left_out():
    assert rows("a.csv", ",id,no,text\n0,x,1,강\n", {"no": "id"}) == [("line 2", {"id": "1", "text": "강"})]
    assert named_row({"id": "x", "no": 1}, {"no": "id"}) == {"id": 1}


def test_long_cells_are_read():
    assert rows("a.csv", f"text\n{'가' * 200_000}\n")[0][1]["text"] == "가" * 200_000


def test_lines_of_json_that_are_none_come_as_faults():
    found = rows("a.jsonl", '{"a": 1}\n\n[1]\n{"a"\n' + "[" * 100_000 + "\n")
    assert found[0] == ("line 1", {"a": 1})
    assert [(place, row.kind) for place, row in found[1:] if isinstance(row, Fault)] == [
        ("line 3", "not a JSON object"),
        ("line 4", "not valid JSON at column 5, or cut short"),
        ("line 5", "not valid JSON"),
    ]


def test_rows_of_parquet_are_counted_and_have_no_nan():
    pd.DataFrame({"id": [1.0, None], "text": ["강", None]}).to_parquet("a.parquet")
    assert list(read_table("a.parquet").rows) == [
        ("row 0", {"id": 1.0, "text": "강"}), ("row 1", {"id": None, "text": None}),
    ]  # fmt: skip
    assert read_parquet("a.parquet", {"text": "context"}).column_names == ["id", "context"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", "a.csv: is empty: its first line must name the columns"),
        ("a.csv", "id,text,id\n", "a.csv: has two columns of the name id"),
        ("a.csv", 'id,text\n1,"a" b\n', "a.csv, line 2: cannot be read: ',' expected after '\"'"),
        ("a.csv", 'id,text\n1,"a\n', "a.csv, line 2: cannot be read: unexpected end of data"),
        (
            "a.csv",
            "id,text\n1,가나".encode("cp949"),
            "a.csv: is not UTF-8: byte 0xb0 at offset 10; it reads as CP949, ",
        ),
        ("a.csv", "id,text".encode("utf-16"), "a.csv: is not UTF-8: byte 0xff at offset 0; it reads as UTF-16, which"),
        ("a.csv", b"id,\xff\xff", "a.csv: is not UTF-8: byte 0xff at offset 3"),
        ("a.csv.gz", b"id", "a.csv.gz: is a damaged gzip file: "),
        ("a.parquet", b"PAR1", "a.parquet: cannot be read as Parquet: "),
    ],
)
def test_a_file_that_cannot_be_read(name, content, said):
    assert problem(name, content).startswith(said)


def test_text_in_parquet_that_is_none_is_said(tmp_path):
    pyarrow.parquet.write_table(
        pyarrow.table({"text": ["가나"]}), "a.parquet", compression="none", use_dictionary=False
    )
    damaged = Path("a.parquet").read_bytes().replace("가나".encode(), b"\xff" * 6)
    assert problem("a.parquet", damaged).startswith("a.parquet: cannot be read as Parquet: ")


def test_what_a_line_would_drop_or_python_dies_of_is_a_fault():
    lines = ['{"id": "1", "id": "2", "text": ""}', "[" * 100_000, '{"id": ' + "1" * 5000 + "}", '{"id": 1}']
    assert [
        (place, str(row) if isinstance(row, Fault) else row) for place, row in rows("a.jsonl", "\n".join(lines))
    ] == [
        ("line 1", "not valid JSON: id stands twice in it"),
        ("line 2", "not valid JSON: it nests too deeply"),
        ("line 3", "not valid JSON: it holds a number of more than 4300 digits"),
        ("line 4", {"id": 1}),
    ]


def test_a_small_parquet_file_of_endless_rows_is_refused():
    table = pyarrow.table({"text": pyarrow.nulls(20_000_000)})
    pyarrow.parquet.write_table(table, "a.parquet")
    assert Path("a.parquet").stat().st_size < 100_000
    with pytest.raises(DataError, match=r"a\.parquet: holds more than 100 times its size, which no text does"):
        read_table("a.parquet")


def test_a_file_that_is_not_there():
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(DataError, match="cannot be read"):
            read_table(name)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('["서해", 3]', ["서해", 3]),
        ("{'text': ['서해'], 'answer_start': [11]}", {"text": ["서해"], "answer_start": [11]}),
        (
            "{'answer_start': array([11], dtype=int32), 'text': array(['서\\'해'],\n      dtype=object)}",
            {"text": ["서'해"], "answer_start": [11]},
        ),
        ("[np.int64(3), numpy.float64(1.5)]", [3, 1.5]),
        ("서해", None),
        ("[서해]", None),
        ("['a'].pop()", None),
        ("[__import__('os').getcwd()]", None),
        ("[" * 100_000, None),
    ],
)
def test_lists_that_are_written_as_text(text, found):
    assert written_list(text) == found


def test_the_ending_of_a_gzipped_file_is_the_one_before():
    assert [suffix_of(name) for name in ("a/b.CSV", "b.tsv.gz", "b", "b.gz")] == [".csv", ".tsv", "", ""]
