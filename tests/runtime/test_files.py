"""Files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from killing import Killed, kill_at, leave_half_written
from refusing import no_file_above

from runtime import files
from runtime.errors import DataError, UserError, WriteError
from runtime.files import (
    finish_moves,
    json_in_parts,
    link_or_copy,
    newest,
    read_json,
    read_users_json,
    remove,
    remove_leftovers,
    remove_old,
    share_weights,
    staged_file,
    staged_folder,
    staged_together,
    write_json,
    write_text,
    writing,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=[0o022, 0o027])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def _everything(folder: Path) -> dict[str, str | None]:
    """Every path below ``folder`` with the text of the files."""
    inside = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else None for path in inside}


def test_a_file_appears_with_its_last_line(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with staged_file(target) as staging:
        staging.write_text("half")
        assert not target.exists() and staging.parent == target.parent
        staging.write_text("whole")
    assert _everything(tmp_path) == {"new": None, "new/a.txt": "whole"}


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt, Killed])
def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path, failure: type[BaseException]) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(failure), staged_file(tmp_path / "a.txt") as staging:
        staging.write_text("half")
        raise failure
    assert _everything(tmp_path) == {"a.txt": "old"}


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "best"
    with staged_folder(target) as staging:
        (staging / "sub").mkdir()
        (staging / "sub" / "a").write_text("1")
        (staging / "gone").write_text("2")
        assert not target.exists()
    with staged_folder(target) as staging:
        (staging / "a").write_text("3")
        assert _everything(target) == {"gone": "2", "sub": None, "sub/a": "1"}
    assert _everything(tmp_path) == {"best": None, "best/a": "3"}


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt, Killed])
def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path, failure: type[BaseException]) -> None:
    with staged_folder(tmp_path / "best") as staging:
        (staging / "a").write_text("old")
    with pytest.raises(failure), staged_folder(tmp_path / "best") as staging:
        (staging / "a").write_text("half")
        raise failure
    assert _everything(tmp_path) == {"best": None, "best/a": "old"}


def test_modes_are_the_usual_ones_and_not_private(tmp_path: Path, umask: int) -> None:
    write_text(tmp_path / "a.txt", "")
    with staged_folder(tmp_path / "folder") as staging:
        (staging / "sub").mkdir(mode=0o700)
        (staging / "sub" / "b").touch(mode=0o600)
    modes = {path: (tmp_path / path).stat().st_mode & 0o777 for path in ("a.txt", "folder", "folder/sub/b")}
    assert modes == {"a.txt": 0o666 & ~umask, "folder": 0o777 & ~umask, "folder/sub/b": 0o666 & ~umask}
    assert os.umask(umask) == umask  # it was only looked at


def test_what_a_killed_process_had_begun_is_removed_and_nothing_else(tmp_path: Path) -> None:
    run = tmp_path / "run"
    staged = [f'staged_file("{run}/a.json")', f'staged_folder("{run}/checkpoint-1")', f'staged_file("{run}/deep/a")']
    leave_half_written("\n".join(f"c{n} = {call}; c{n}.__enter__()" for n, call in enumerate(staged)))
    write_text(run / ".hidden", "mine")
    write_text(run / "a.staging-notes", "mine")
    assert len(_everything(run)) == 6
    remove_leftovers(run)
    assert {path.name for path in run.iterdir()} == {".hidden", "a.staging-notes", "deep"}
    assert len(list((run / "deep").iterdir())) == 1
    remove_leftovers(tmp_path / "nowhere")


def test_what_another_process_is_writing_is_no_leftover(tmp_path: Path) -> None:
    """Indexes and mined negatives are shared by commands that run at the same time."""
    with staged_file(tmp_path / "a.json") as file, staged_folder(tmp_path / "index") as folder:
        code = f"from runtime.files import remove_leftovers; remove_leftovers('{tmp_path}')"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
        assert file.exists() and folder.exists()
    assert _everything(tmp_path) == {"a.json": "", "index": None}


def test_a_folder_that_was_about_to_be_replaced_comes_back(tmp_path: Path) -> None:
    write_text(tmp_path / "best" / "a", "old")
    first_rename = f"""
import pathlib
rename = pathlib.Path.rename
def once(path, to):
    rename(path, to)
    os.kill(os.getpid(), 9)
pathlib.Path.rename = once
with staged_folder("{tmp_path}/best") as staging:
    (staging / "a").write_text("new")
"""
    leave_half_written(first_rename)
    assert not (tmp_path / "best").exists()
    remove_leftovers(tmp_path)
    assert _everything(tmp_path) == {"best": None, "best/a": "old"}


def test_an_interrupt_between_the_two_renames_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "best" / "a", "old")
    rename, calls = Path.rename, count(1)

    def interrupted(path: Path, to: Path) -> Path:
        moved = rename(path, to)
        if next(calls) == 1:
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "best") as staging:
        (staging / "a").write_text("new")
    assert _everything(tmp_path) == {"best": None, "best/a": "old"}


def test_what_is_written_again_clears_what_was_half_written_of_it(tmp_path: Path) -> None:
    """Also where no command would look for left-overs."""
    staged = [f'staged_file("{tmp_path}/a*.csv")', f'staged_folder("{tmp_path}/b")', f'staged_file("{tmp_path}/a.csv")']
    leave_half_written("\n".join(f"c{n} = {call}; c{n}.__enter__()" for n, call in enumerate(staged)))
    assert len(_everything(tmp_path)) == 3
    write_text(tmp_path / "a*.csv", "whole")
    with staged_folder(tmp_path / "b"):
        pass
    (left,) = set(_everything(tmp_path)) - {"a*.csv", "b"}
    assert left.startswith(".a.csv.staging-")


def test_what_is_taken_for_a_leftover_before_it_is_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = tempfile.mkdtemp, []

    def make_and_lose(**options: object) -> str:
        made.append(make(**options))
        if len(made) == 1:
            remove_leftovers(tmp_path)
        return made[-1]

    monkeypatch.setattr("runtime.files.tempfile.mkdtemp", make_and_lose)
    with staged_folder(tmp_path / "a") as staging:
        (staging / "b").write_text("whole")
    assert len(made) == 2 and _everything(tmp_path) == {"a": None, "a/b": "whole"}


def test_what_goes_before_it_is_held_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def hold(handle: int, wait: bool = False) -> bool:
        made.extend(tmp_path.glob(".a.staging-*"))
        if len(made) == 1:
            made[0].rmdir()
        return True

    monkeypatch.setattr("runtime.files._hold", hold)
    with staged_folder(tmp_path / "a") as staging:
        (staging / "b").write_text("whole")
    assert len(made) == 2 and _everything(tmp_path) == {"a": None, "a/b": "whole"}


def test_old_files_and_folders_are_removed_and_new_ones_stay(tmp_path: Path) -> None:
    for name in ("old", "old_folder/old", "used_folder/new", "used_folder/old", "new"):
        write_text(tmp_path / name, "")
    for name in ("old", "old_folder/old", "old_folder", "used_folder/old", "used_folder"):
        os.utime(tmp_path / name, (0, time.time() - 2 * 24 * 60 * 60))
    remove_old(tmp_path.iterdir(), days=3)
    assert len(_everything(tmp_path)) == 7
    remove_old(tmp_path.iterdir(), days=1)
    assert set(_everything(tmp_path)) == {"new", "used_folder", "used_folder/new", "used_folder/old"}


def test_a_folder_that_is_being_removed_has_no_name_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "run" / "best" / "config.json", "{}")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_at(patched, shutil, "rmtree", 2)
        remove(tmp_path / "run" / "best")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".best.staging-removed"]
    write_text(tmp_path / "run" / "best" / "config.json", "{}")
    remove(tmp_path / "run" / "best")
    assert not list((tmp_path / "run").iterdir())


def test_links_are_replaced_or_removed_and_not_followed(tmp_path: Path) -> None:
    write_text(tmp_path / "precious" / "a", "mine")
    for name, target in (("folder", "precious"), ("file", "precious/a"), ("nowhere", "gone"), ("removed", "precious")):
        (tmp_path / name).symlink_to(target)
    remove(tmp_path / "removed")
    for name in ("folder", "nowhere"):
        with staged_folder(tmp_path / name) as staging:
            (staging / "a").write_text("new")
    write_text(tmp_path / "file", "new")
    new = {"file": "new", "folder": None, "folder/a": "new", "nowhere": None, "nowhere/a": "new"}
    assert _everything(tmp_path) == new | {"precious": None, "precious/a": "mine"}
    assert not any(path.is_symlink() for path in tmp_path.iterdir())


# ------------------------------------------------------------------------------------------- what the system refuses


def test_a_full_disk_leaves_the_old_and_is_said_of_what_was_to_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "old")
    write_text(tmp_path / "best" / "a", "old")
    before, refusal = _everything(tmp_path), "cannot be written: File too large; name another folder"
    with no_file_above(1000):
        with pytest.raises(WriteError, match=f"^{tmp_path}/a.json {refusal}$"):
            write_text(tmp_path / "a.json", "new" * 1000)
        with pytest.raises(WriteError, match=f"^{tmp_path}/best {refusal}$"), staged_folder(tmp_path / "best") as best:
            write_json(best / "deep" / "b.json", "new" * 1000)
    assert _everything(tmp_path) == before


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "a", tmp_path / "file" / "deep" / "a"):
        with pytest.raises(WriteError, match=f"^{path} cannot be written: .*; name another folder$"):
            write_text(path, "")
    with pytest.raises(WriteError, match=r"^.*xxx cannot be written: File name too long; give it a shorter name$"):
        write_text(tmp_path / ("x" * 250), "")
    assert _everything(tmp_path) == {"file": ""}


def test_what_is_refused_about_other_files_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staged_folder(tmp_path / "best") as staging:
        shutil.copy2(tmp_path / "gone", staging / "a")
    with pytest.raises(ValueError, match="no"), writing(tmp_path / "best"):
        raise ValueError("no")
    with (
        pytest.raises(WriteError, match=f"^{tmp_path}/log cannot"),
        writing(tmp_path / "run"),
        writing(tmp_path / "log"),
    ):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(FileNotFoundError), writing(tmp_path / "run"):
        shutil.copy2(tmp_path / "run2" / "gone", tmp_path)  # its name only begins alike
    with pytest.raises(FileNotFoundError), writing(tmp_path / "run2"):
        shutil.copy2(tmp_path / "run", tmp_path)


def test_json_is_readable_utf8(tmp_path: Path) -> None:
    content = {"답": "훈민정음", "none": None, "score": 0.1}
    write_json(tmp_path / "a.json", content)
    assert (tmp_path / "a.json").read_bytes().decode("utf-8") == (
        '{\n  "답": "훈민정음",\n  "none": null,\n  "score": 0.1\n}\n'
    )
    assert read_json(tmp_path / "a.json") == content


# ------------------------------------------------------------------------------------------------------ shared weights


def _no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.fixture(params=[True, False], ids=["links", "no links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the file system has hard links."""
    if not request.param:
        monkeypatch.setattr(os, "link", _no_links)
    return request.param


def _reader(folder: Path, text: str) -> Path:
    write_text(folder / "model.safetensors", text)
    write_text(folder / "config.json", "{}")
    return folder


def _shared(folder: Path, other: Path) -> set[str]:
    return {path.name for path in folder.glob("[!.]*") if path.samefile(other / path.name)}


def test_a_copied_folder_shares_its_weights_and_nothing_else(tmp_path: Path, links: bool) -> None:
    source = _reader(tmp_path / "checkpoint-3", "weights")
    with staged_folder(tmp_path / "best") as staging:
        shutil.copytree(source, staging, dirs_exist_ok=True, copy_function=link_or_copy)
    assert _everything(tmp_path / "best") == _everything(source)
    assert _shared(tmp_path / "best", source) == ({"model.safetensors"} if links else set())
    with staged_folder(source) as staging:
        _reader(staging, "later weights")
    assert _everything(tmp_path / "best") == {"config.json": "{}", "model.safetensors": "weights"}
    shutil.rmtree(source)
    assert _everything(tmp_path / "best") == {"config.json": "{}", "model.safetensors": "weights"}


@pytest.mark.parametrize("text", ["weights", "WEIGHTS", "other weights"])
def test_equal_weights_of_two_folders_become_one_file(tmp_path: Path, links: bool, text: str) -> None:
    best, checkpoint = _reader(tmp_path / "best", "weights"), _reader(tmp_path / "checkpoint-3", text)
    (checkpoint / ".model.safetensors.staging-link").touch()  # what a killed process may have left
    for _ in range(2):
        share_weights(checkpoint, best)
        assert _shared(checkpoint, best) == ({"model.safetensors"} if links and text == "weights" else set())
        assert (checkpoint / "model.safetensors").read_text() == text
    share_weights(checkpoint, tmp_path / "nowhere")
    share_weights(tmp_path / "nowhere", best)


# ------------------------------------------------------------------------------------------------------ several at once

IN_FOLDERS = (("p", "w"), ("q", "w"))
WHOLE = {"a.json": "{0}", "p": None, "p/w": "{0}", "q": None, "q/w": "{0}"}


def _put(run: Path, text: str) -> None:
    with staged_together(run) as staging:
        for name in ("p", "q"):
            with staged_folder(staging / name) as inner:
                (inner / "w").write_text(text)
        write_text(staging / "a.json", text)


def _whole(text: str) -> dict[str, str | None]:
    return {path: content and content.format(text) for path, content in WHOLE.items()}


def _kill_at(patch: pytest.MonkeyPatch, call: int) -> None:
    """Raise ``Killed`` instead of the ``call``-th change of the file system; nothing is cleaned up after it."""
    calls = count(1)

    def watch(original: Callable) -> Callable:
        def watched(*args, **options):
            now = next(calls)
            if now == call:
                raise Killed
            return original(*args, **options) if now < call else None

        return watched

    for name in ("rename", "replace", "rmdir", "unlink"):
        patch.setattr(Path, name, watch(getattr(Path, name)))
    patch.setattr("runtime.files.shutil.rmtree", watch(shutil.rmtree))


def test_what_is_put_together_replaces_what_was_there(tmp_path: Path) -> None:
    write_text(tmp_path / "other", "stays")
    for text in ("old", "new"):
        _put(tmp_path, text)
        assert _everything(tmp_path) == _whole(text) | {"other": "stays"}


def test_killed_at_any_moment_all_is_old_or_all_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for call in count(1):
        run = tmp_path / str(call)
        _put(run, "old")
        with monkeypatch.context() as patch:
            _kill_at(patch, call)
            try:
                _put(run, "new")
            except Killed:
                pass
            else:
                break
        (text,) = {newest(run, name).joinpath(inner).read_text() for name, inner in (("a.json", ""), *IN_FOLDERS)}
        seen.append(text)
        remove_leftovers(run)
        finish_moves(run)
        assert _everything(run) == _whole(text)
    assert seen == sorted(seen, reverse=True) and seen.count("old") >= 4 and seen.count("new") >= 10


def test_a_failure_leaves_the_old(tmp_path: Path) -> None:
    _put(tmp_path, "old")
    with pytest.raises(OSError), staged_together(tmp_path) as staging:
        write_text(staging / "a.json", "new")
        raise OSError
    assert _everything(tmp_path) == _whole("old")


# --------------------------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_holds_only_numbers_and_the_error_says_where_there_is_none(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": [1.5, None]})
    with pytest.raises(UserError) as error:
        write_json(path, {"b": 1, "c": [{"d": 2.0}, {"한글": (0.0, value)}]})
    assert str(error.value) == f"{path} is not written: c.1.한글.1 is {value}, and JSON has no such number"
    assert read_json(path) == {"a": [1.5, None]}


def test_nonsense_in_a_users_json_is_said_with_all_keys_that_stand_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text, reason in {
        '{"a": 1, "b": [{"c": 1, "c": 2}, {"c": 3}], "a": 2}': (
            f"2 problems in the data:\n  {path}, key 'c': stands twice in one object, of which only the last would be "
            f"read\n  {path}, key 'a': stands twice in one object, of which only the last would be read"
        ),
        "[" * 100_000: f"1 problem in the data:\n  {path}: cannot be read: it nests too deeply",
        "[" + "1" * 5000 + "]": (
            f"1 problem in the data:\n  {path}: cannot be read: it holds a number of more than 4300 digits"
        ),
    }.items():
        path.write_text(text)
        with pytest.raises(DataError) as error:
            read_users_json(path)
        assert str(error.value) == reason
        with pytest.raises(ValueError):
            read_json(path)


def test_a_small_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SMALL", 1 << 20)
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"\n" * (1 << 20) + b"{}"))
    with pytest.raises(DataError, match=r"a\.json\.gz: cannot be read: it unpacks to more than 100 times its size"):
        read_users_json(path)
    path.write_bytes(gzip.compress(b"\n" * ((1 << 20) - 2) + b"{}"))
    assert read_users_json(path) == {}
    noise = random.Random(0).randbytes(1 << 20).hex()
    path.write_bytes(gzip.compress(json.dumps([noise] * 3).encode()))  # large, and text
    assert read_users_json(path) == [noise] * 3


def test_nan_that_an_earlier_version_wrote_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"loss": NaN, "best": -Infinity, "f1": 2.0}')
    assert read_json(tmp_path / "a.json") == {"loss": None, "best": None, "f1": 2.0}


@pytest.mark.parametrize("parts", [[], [{}], [{"가": [1, {"b": "나"}]}], [{"a": 1}, {}, {"b": {}, "c": []}]])
def test_an_object_written_in_parts_is_that_written_at_once(tmp_path: Path, parts: list[dict]) -> None:
    with json_in_parts(tmp_path / "parts.json") as write:
        for part in parts:
            write(part)
            assert not (tmp_path / "parts.json").exists()
    write_json(tmp_path / "whole.json", {name: value for part in parts for name, value in part.items()})
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_an_object_of_which_a_part_fails_leaves_the_one_before(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(UserError, match=r"a\.json"), json_in_parts(tmp_path / "a.json") as write:
        write({"new": 1})
        write({"worse": float("nan")})
    assert read_json(tmp_path / "a.json") == {"old": 1} and len(list(tmp_path.iterdir())) == 1
