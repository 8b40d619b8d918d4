"""What was written is told from what was damaged since."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import xxhash

from runtime.checksums import (
    checksum,
    fault_of_file,
    fault_of_folder,
    seal_file,
    sealed_file,
    write_checksums,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vectors.npy").write_bytes(random.Random(0).randbytes(1000))
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "terms.json").write_text("[]", encoding="utf-8")
    write_checksums(tmp_path)
    return tmp_path


def test_a_checksum_is_that_of_the_whole_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.checksums._READ_AT_ONCE", 7)
    (tmp_path / "file").write_bytes(content := bytes(range(256)))
    assert checksum(tmp_path / "file") == xxhash.xxh3_128_hexdigest(content)


def test_every_bit_counts(folder: Path) -> None:
    content, rng = (folder / "vectors.npy").read_bytes(), random.Random(1)
    for place in rng.sample(range(len(content)), 50):
        flipped = bytes([content[place] ^ 1 << rng.randrange(8)])
        (folder / "vectors.npy").write_bytes(content[:place] + flipped + content[place + 1 :])
        assert fault_of_folder(folder) == "vectors.npy is not as it was written"
    (folder / "vectors.npy").write_bytes(content)
    assert fault_of_folder(folder) is None


def test_what_is_missing_is_named_and_what_came_later_is_let_be(folder: Path) -> None:
    (folder / ".DS_Store").write_text("x")
    assert fault_of_folder(folder) is None
    (folder / "part" / "terms.json").unlink()
    assert fault_of_folder(folder) == "part/terms.json is missing"
    (folder / "part").rmdir()
    (folder / "part").write_text("a file")
    assert fault_of_folder(folder) == "part/terms.json is missing"
    (folder / "checksums.json").unlink()
    assert fault_of_folder(folder) == "checksums.json is missing"
    assert fault_of_folder(folder / "nowhere") == "checksums.json is missing"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"vectors.npy'])
def test_damaged_checksums_are_said(folder: Path, content: bytes) -> None:
    (folder / "checksums.json").write_bytes(content)
    assert fault_of_folder(folder) == "checksums.json is damaged"


def test_a_sealed_file_and_one_of_another_library(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.arrow"
    with sealed_file(ours) as staging:
        staging.write_text("[1, 2]")
    theirs.write_bytes(b"rows")
    assert fault_of_file(theirs) == "it has no checksum"
    seal_file(theirs)
    for path in (ours, theirs):
        assert fault_of_file(path) is None
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        assert fault_of_file(path) == "it is not as it was written"
        path.write_bytes(content)
        path.with_name(f"{path.name}.xxh3").write_bytes(b"\xff")
        assert fault_of_file(path) == "it is not as it was written"
        path.unlink()
        assert fault_of_file(path) == "it is missing"


def test_one_killed_before_its_rename_is_damaged_and_never_whole(tmp_path: Path) -> None:
    path = tmp_path / "negatives.json"
    with sealed_file(path) as staging:
        staging.write_text("[1]")
    with pytest.raises(ZeroDivisionError), sealed_file(path) as staging:
        staging.write_text("[2]")
        raise ZeroDivisionError
    assert path.read_text() == "[1]" and fault_of_file(path) is None
