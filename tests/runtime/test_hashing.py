"""Hashes of rows, values and files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from runtime.hashing import hash_files, hash_json, hash_rows


def test_rows_are_told_apart_by_content_and_order_and_not_by_the_order_of_keys() -> None:
    rows = [{"id": "1", "text": "한강"}, {"id": "2", "text": "\ud800"}]
    assert hash_rows(rows) == hash_rows(iter([{"text": "한강", "id": "1"}, rows[1]]))
    assert hash_rows(rows) != hash_rows(rows[::-1])
    assert hash_rows([("a", 1), ["b"]]) == hashlib.sha256(b'["a", 1]["b"]').hexdigest()
    assert hash_rows([]) == hashlib.sha256(b"").hexdigest()
    assert hash_json({"b": 1, "a": [2]}) == hashlib.sha256(b'{"a": [2], "b": 1}').hexdigest()


def test_files_are_told_apart_by_name_and_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"12")
    second.write_bytes(b"3")
    both = hash_files([first, second])
    assert both == hashlib.sha256(b"a:2;12b:1;3").hexdigest()
    second.write_bytes(b"4")
    assert hash_files([first, second]) != both
    assert hash_files([first]) != hash_files([first.rename(tmp_path / "c")])
