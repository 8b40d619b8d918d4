"""A run's folder: earlier results are neither lost nor mixed with new ones unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
from killing import leave_half_written

from runtime.errors import UserError
from runtime.files import read_json, write_json, write_text
from runtime.output import (
    check_output_dir,
    fault_of_run_name,
    find_model,
    open_output_dir,
    warn_of_changes,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with a run in it, and things that are the user's own."""
    folder = tmp_path / "run"
    for name in ("checkpoint-4/config.json", "best/config.json", "resume/step-00000004/state.json"):
        write_text(folder / name, "{}")
    for name in ("arguments.json", "environment.json", "metrics.json", "metrics.jsonl"):
        write_text(folder / name, "{}")
    write_text(folder / "notes.txt", "mine")
    write_text(folder / "predictions.json", "mine")
    return folder


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_new_or_empty_folder_is_free(tmp_path: Path) -> None:
    check_output_dir(tmp_path / "new" / "deep", overwrite=False, resume=False)
    check_output_dir(tmp_path, overwrite=False, resume=False)
    write_text(tmp_path / "notes.txt", "mine")
    check_output_dir(tmp_path, overwrite=False, resume=False)
    assert _names(tmp_path) == {"notes.txt"}


def test_a_folder_with_a_run_is_refused_with_the_ways_out(run: Path) -> None:
    with pytest.raises(UserError) as refusal:
        check_output_dir(run, overwrite=False, resume=False)
    assert str(refusal.value) == (
        f"--output_dir {run} already holds a run: continue it with --resume_from_checkpoint true, "
        "replace it with --overwrite_output_dir, or name another folder (found arguments.json)"
    )
    check_output_dir(run, overwrite=True, resume=False)
    check_output_dir(run, overwrite=False, resume=True)


@pytest.mark.parametrize("name", ["checkpoint-500", "best", "metrics.json"])
def test_whatever_would_be_removed_is_enough_to_refuse(tmp_path: Path, name: str) -> None:
    """Checkpoints of the Hugging Face Trainer come without our arguments.json."""
    write_text(tmp_path / name / "model.safetensors" if "." not in name else tmp_path / name, "")
    with pytest.raises(UserError, match=f"already holds a run.*found {name}"):
        check_output_dir(tmp_path, overwrite=False, resume=False)


def test_a_new_run_removes_the_earlier_one_and_nothing_else(run: Path) -> None:
    open_output_dir(run, resume=False, records={})
    assert _names(run) == {"notes.txt", "predictions.json"}


def test_what_only_looks_like_a_run_stays(run: Path) -> None:
    mine = (
        "checkpoint-notes/a",
        "checkpoint-4b/a",
        "metrics.json.mine",
        "metrics.jsonl.gz",
        "arguments.json~",
        "best2/a",
    )
    for name in (*mine, "p_encoder"):  # a file, where a run has a folder
        write_text(run / name, "mine")
    (run / "checkpoint-8").symlink_to("checkpoint-notes")
    (run / "q_encoder").symlink_to("../elsewhere")
    write_text(run.parent / "elsewhere" / "a", "mine")
    open_output_dir(run, resume=False, records={})
    assert _names(run) == {"notes.txt", "predictions.json", "p_encoder", *(name.split("/")[0] for name in mine)}
    assert {(run / name).read_text() for name in mine} == {(run / "../elsewhere/a").read_text()} == {"mine"}
    check_output_dir(run, overwrite=False, resume=False)


def test_a_resumed_run_keeps_everything_but_what_was_cut_off(run: Path) -> None:
    before = _names(run)
    leave_half_written(f'killed = staged_folder("{run}/checkpoint-8"); killed.__enter__()')
    assert len(_names(run)) == len(before) + 1
    open_output_dir(run, resume=True, records={})
    assert _names(run) == before


def test_the_folder_is_made(tmp_path: Path) -> None:
    open_output_dir(tmp_path / "a" / "b", resume=False, records={"arguments": {"seed": 7}})
    assert read_json(tmp_path / "a" / "b" / "arguments.json") == {"seed": 7}
    assert _names(tmp_path / "a" / "b") == {"arguments.json"}


def test_changed_arguments_of_a_resumed_run_are_said(tmp_path: Path, log_lines: list[str]) -> None:
    before = {"learning_rate": 1e-3, "seed": 1, "resume_from_checkpoint": None, "dropped": 1}
    write_json(tmp_path / "arguments.json", before)
    now = {"learning_rate": 1e-4, "seed": 1, "resume_from_checkpoint": "true", "added": 2}
    warn_of_changes(tmp_path, now)
    assert log_lines == ["WARNING --learning_rate was 0.001 when the run began and is 0.0001 now"]
    log_lines.clear()
    warn_of_changes(tmp_path / "nowhere", now)
    warn_of_changes(tmp_path, before)
    assert log_lines == []


# ------------------------------------------------------------------------------------------------ the model of a run


def test_the_folder_of_a_run_means_its_best_model(run: Path, log_lines: list[str]) -> None:
    assert find_model(str(run)) == str(run / "best")
    assert log_lines == [f"INFO {run} is a training run: its best/ is taken"]
    log_lines.clear()
    for model in (run / "best", run / "checkpoint-4", "klue/bert-base", run / "nowhere", run / "resume"):
        assert find_model(str(model)) == str(model)
    write_text(run / "config.json", "{}")  # a model that was trained in its own folder
    assert find_model(str(run)) == str(run)
    assert log_lines == []


def test_a_run_without_a_best_model_yet_says_so(run: Path) -> None:
    (run / "best" / "config.json").unlink()
    (run / "best").rmdir()
    with pytest.raises(UserError) as refusal:
        find_model(str(run))
    assert str(refusal.value) == (
        f"{run} is a training run that has no best/ yet: let it end, or name a checkpoint of it, such as "
        f"{run}/checkpoint-4"
    )
    (run / "checkpoint-4" / "config.json").unlink()
    with pytest.raises(UserError, match=rf"^{run} is a training run that has no best/ yet: let it end$"):
        find_model(str(run))


@pytest.mark.parametrize("encoder", ["p_encoder", "token_encoder"])
def test_encoders_of_a_dense_retriever_lie_in_the_folder_of_their_run(run: Path, encoder: str) -> None:
    write_text(run / encoder / "config.json", "{}")
    assert find_model(str(run)) == str(run)


@pytest.mark.parametrize("name", ["a", "roberta-large", "2021-11-07", "첫 번째", "lr=3e-5,seed=1", "best2", "a.b"])
def test_a_name_of_a_run(name: str) -> None:
    assert fault_of_run_name(name) is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "one folder inside another"),
        (".", "one folder inside another"),
        ("..", "one folder inside another"),
        ("../x", "one folder inside another"),
        ("/tmp/x", "one folder inside another"),
        ("a/b", "one folder inside another"),
        ("a\\b", "one folder inside another"),
        (".hidden", "one folder inside another"),
        (" x", "one folder inside another"),
        ("a\nb", "one folder inside another"),
        ("a\0", "one folder inside another"),
        ("\udcff", "one folder inside another"),  # a byte that is not UTF-8
        ("가" * 67, "at most 200 bytes"),
        ("best", "what a run names its own files"),
        ("resume", "what a run names its own files"),
        ("checkpoint-12", "what a run names its own files"),
        ("q_encoder", "what a run names its own files"),
        ("metrics.jsonl", "what a run names its own files"),
    ],
)
def test_a_name_that_leaves_the_folder_or_looks_like_a_file_of_a_run(name: str, fault: str) -> None:
    assert fault in fault_of_run_name(name)
