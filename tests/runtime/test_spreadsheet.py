"""CSV for spreadsheets: nothing in it runs, and pandas and csv read what was written."""

from __future__ import annotations

import csv

import pandas as pd
import pytest

from runtime.errors import UserError
from runtime.spreadsheet import safe_cell, write_sheet


@pytest.mark.parametrize("text", ["=1+1", "+82", "-3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\x1b", "\x85"])
def test_what_might_be_a_formula_gets_an_apostrophe(text):
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["", "세종", "1=1", " =1", "'=1", -3, 0.5, None])
def test_everything_else_stays(value):
    assert safe_cell(value) is value or safe_cell(value) == value


def test_pandas_and_csv_read_what_was_written(tmp_path):
    texts = ['가, "나"', "두\n줄", "\r\n=1", "훈민정음", "=cmd|' /C calc'!A0", "a\tb", ""]
    path = tmp_path / "new" / "sheet.csv"
    write_sheet(path, ["=n", "글"], enumerate(texts))
    expected = [[str(n), safe_cell(text)] for n, text in enumerate(texts)]
    assert path.read_bytes().startswith(b"\xef\xbb\xbf'=n,")
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [["'=n", "글"], *expected]
    df = pd.read_csv(path, dtype=str, na_filter=False)
    assert (list(df.columns), df.to_numpy().tolist()) == (["'=n", "글"], expected)


def test_what_a_file_cannot_hold_is_replaced(tmp_path):
    write_sheet(tmp_path / "sheet.csv", ["글"], [["a\0b"], ["\0"], ["a\ud800b"]])
    assert pd.read_csv(tmp_path / "sheet.csv")["글"].tolist() == ["a\ufffdb", "'\ufffd", "a?b"]


def test_a_path_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"sheet\.csv cannot be written: (Not a directory|File exists); name another folder$"
    ):
        write_sheet(tmp_path / "file" / "sheet.csv", ["a"], [])
