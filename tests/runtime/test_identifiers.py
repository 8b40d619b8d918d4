"""Identifiers: what pandas makes of them is undone, what is text stays text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from runtime.identifiers import as_cell, first_identifier, identifier, identifiers_in, without_fractions


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, "3"), (3.0, "3"), (-0.0, "0"), (np.int64(3), "3"), (np.float32(3), "3"), (2**60, str(2**60)),
        ("3.0", "3.0"), ("3.10", "3.10"), ("", ""), (None, None), (float("nan"), None), (np.float64("nan"), None),
        (3.5, 3.5), (True, True), ([3], [3]), (float("inf"), float("inf")),
    ],
)  # fmt: skip
def test_whole_numbers_are_text_and_what_is_no_identifier_stays_to_be_refused(value: Any, expected: Any) -> None:
    assert identifier(value) == expected and type(identifier(value)) is type(expected)


def test_the_first_that_is_not_missing() -> None:
    assert first_identifier(None, float("nan"), 7.0, "x") == "7"
    assert first_identifier("", "x") == ""
    assert first_identifier(None) is None


@pytest.mark.parametrize(
    ("column", "known", "expected"),
    [
        (["3.0", "", "12.0"], (), ["3", "", "12"]),
        (["3.0", "3.10"], (), ["3.0", "3.10"]),
        (["3.0", "a"], (), ["3.0", "a"]),
        (["3.0", "4.0"], {"4.0"}, ["3.0", "4.0"]),
        (["", ""], (), ["", ""]),
    ],
)
def test_a_column_of_floats_is_one_of_whole_numbers(column: list[str], known: Any, expected: list[str]) -> None:
    assert without_fractions(column, known) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("[3, 4]", ["3", "4"]),
        ("['3', 'a b', \"it's\"]", ["3", "a b", "it's"]),
        ("[np.int64(3), np.int64(4)]", ["3", "4"]),
        ("[3 4]", ["3", "4"]),  # how NumPy writes an array
        ("[3.0, nan]", ["3"]),
        ("[]", []),
        ("17", ["17"]),
        ("[미상", ["[미상"]),
        ([3, 4.0, None], ["3", "4"]),
        (np.array([3, 4]), ["3", "4"]),
        (3.0, ["3"]),
        (None, []),
    ],
)
def test_lists_are_lists_however_they_are_written(cell: Any, expected: list[str]) -> None:
    assert identifiers_in(cell) == expected
    assert identifiers_in(as_cell(expected)) == (expected or [""])
    assert as_cell(["3"]) == "3" and json.loads(as_cell(["3", "가"])) == ["3", "가"] and as_cell([]) == ""
