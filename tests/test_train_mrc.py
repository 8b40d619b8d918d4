"""train_mrc.py end to end on a tiny model: what it writes, what it learns, and that a killed run goes on unchanged."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from comparing import (
    PROPORTIONAL_STEPS,
    assert_equal_weights,
    assert_same_training,
    close_to,
    share_weights,
    weights,
)
from forking import run as run_in_process
from forking import start
from killing import kill_and_resume, saved_step
from launching import in_two_processes
from overflowing import overflow_once

import train_mrc
from models import load_reader
from runtime.errors import DataError, UserError
from runtime.tracking import read_metrics
from training.loop import TrainingLoop


@pytest.fixture
def command(training_command: list[str]) -> list[str]:
    return [*training_command, "--eval_steps", "4"]


def test_writes_exactly_these_files(command: list[str], tmp_path: Path) -> None:
    metrics = train_mrc.main([*command, "--do_eval", "--run_name", "tiny", "--description", "a test"])
    run = tmp_path / "run" / "tiny"
    checkpoints = {path.name for path in run.glob("checkpoint-*")}
    assert {path.name for path in run.iterdir()} == checkpoints | {
        "arguments.json", "environment.json", "metrics.json", "metrics.jsonl", "best", "resume"
    }  # fmt: skip
    assert [path.name for path in (run / "resume").iterdir()] == ["step-00000012"]
    assert {path.name for path in (run / "best").iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "arguments.json", "environment.json", "metrics.json", "README.md", "checksums.json",
    }  # fmt: skip
    assert json.loads((run / "metrics.json").read_text()) == metrics
    assert f"checkpoint-{metrics['step']}" in checkpoints
    arguments = json.loads((run / "arguments.json").read_text())
    assert arguments["description"] == "a test" and arguments["learning_rate"] == 1e-3
    environment = json.loads((run / "environment.json").read_text())
    assert environment["packages"]["torch"] and environment["seed"] == 42
    assert len(environment["data"]["train"]) == len(environment["data"]["evaluation"]) == 64


def test_every_optimizer_step_is_logged_and_the_schedule_follows_them(command: list[str], tmp_path: Path) -> None:
    train_mrc.main([*command, "--warmup_ratio", "0.25"])
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 13))
    rates = [line["learning_rate"] for line in lines]
    assert rates == pytest.approx(
        [1e-3 * step / 3 for step in range(3)] + [1e-3 * (12 - step) / 9 for step in range(3, 12)]
    )
    assert [line["epoch"] for line in lines] == pytest.approx([step / 3 for step in range(1, 13)])


def test_gradient_accumulation_counts_optimizer_steps(command: list[str], tmp_path: Path) -> None:
    train_mrc.main([*command, "--gradient_accumulation_steps", "2", "--warmup_ratio", "0"])
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 9))  # 3 batches an epoch: 2 steps, the second of one batch
    assert all(line["learning_rate"] > 0 for line in lines)


def test_learns_the_training_examples(command: list[str], tmp_path: Path) -> None:
    flags = ["--num_train_epochs", "60", "--learning_rate", "3e-3", "--backbone_dropout", "0", "--do_eval"]
    metrics = train_mrc.main([*command, *flags])
    losses = [line["loss"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
    assert losses[-1] < losses[0] / 10
    assert metrics["eval_exact_match"] >= 80  # the validation questions are among the training questions


def test_same_seed_same_weights_other_seed_other_weights(command: list[str], tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        short = [*_without(command, "num_train_epochs"), "--max_steps", "3", "--output_dir", str(tmp_path / name)]
        train_mrc.main([*short, "--seed", seed, *PROPORTIONAL_STEPS])
    assert_same_training(tmp_path / "a" / "best", tmp_path / "b" / "best")
    assert not torch.equal(*(next(iter(weights(tmp_path / name / "best").values())) for name in ("a", "c")))


def test_a_step_that_overflowed_is_skipped_and_the_schedule_waits_for_it(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder_path: str
) -> None:
    overflow_once(monkeypatch)
    command = [*_without(command, "num_train_epochs"), "--warmup_ratio", "0"]
    train_mrc.main([*command, "--max_steps", "1", "--output_dir", str(tmp_path / "one")])
    after, name = weights(tmp_path / "one" / "best"), "embeddings.word_embeddings.weight"
    assert torch.equal(after[f"bert.{name}"], weights(Path(encoder_path))[name])
    train_mrc.main([*command, "--max_steps", "4"])
    rates = [line["learning_rate"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert rates == pytest.approx([1e-3, 1e-3, 0.75e-3, 0.5e-3])
    after = weights(tmp_path / "run" / "best")
    assert all(value.isfinite().all() for value in after.values())
    assert not torch.equal(after[f"bert.{name}"], weights(Path(encoder_path))[name])


def _without(command: list[str], flag: str) -> list[str]:
    index = command.index(f"--{flag}")
    return command[:index] + command[index + 2 :]


@pytest.mark.parametrize(
    ("accumulation", "function", "call", "saved"),
    [
        (1, "train_step", 2, None), (1, "train_step", 5, 4), (1, "train_step", 9, 8),
        (1, "evaluate", 2, 4), (1, "save_state", 2, 4), (1, "save", 1, 12),
        (2, "train_step", 2, None), (2, "train_step", 5, None), (2, "train_step", 9, 4),
        (2, "evaluate", 2, 4), (2, "save_state", 2, 4), (2, "save", 1, 8),
    ],
)  # fmt: skip
def test_killed_anywhere_and_resumed_gives_the_same_weights(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    accumulation: int,
    function: str,
    call: int,
    saved: int | None,
) -> None:
    command = [*command, "--do_eval", "--gradient_accumulation_steps", str(accumulation), *PROPORTIONAL_STEPS]
    undisturbed = [*command, "--output_dir", str(tmp_path / "undisturbed")]
    train_mrc.main(undisturbed)

    owner = TrainingLoop if function == "save_state" else train_mrc
    kill_and_resume(train_mrc.main, command, monkeypatch, owner, function, call, saved)

    run, reference = tmp_path / "run", tmp_path / "undisturbed"
    assert {path.name for path in run.iterdir()} == {path.name for path in reference.iterdir()}
    assert_same_training(run / "best", reference / "best")
    assert_same_training(*(next((folder / "resume").iterdir()) for folder in (run, reference)))
    logged = [read_metrics(folder / "metrics.jsonl") for folder in (run, reference)]
    for name in ("step", "loss", "eval_loss"):
        resumed, undisturbed = ([line[name] for line in lines if name in line] for lines in logged)
        assert resumed == close_to(undisturbed), name


def test_sigkill_and_resume_in_new_processes(command: list[str], tmp_path: Path) -> None:
    """The undisturbed run is here, where Python's hash seed is another one."""
    words = [*command, "--num_train_epochs", "40", *PROPORTIONAL_STEPS]
    train_mrc.main([*words, "--output_dir", str(tmp_path / "undisturbed")])
    run, reference = tmp_path / "run", tmp_path / "undisturbed"
    process = start("train_mrc.py", *words)
    deadline = time.monotonic() + 120
    while saved_step(run) is None:
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    saved = saved_step(run)
    assert saved is not None and saved < 120 and not (run / "best").exists()

    def logged_before() -> list[dict[str, float]]:
        return [line for line in read_metrics(run / "metrics.jsonl") if line["step"] <= saved]

    before = logged_before()
    resumed = run_in_process("train_mrc.py", *words, "--resume_from_checkpoint", "true")
    assert resumed.returncode == 0, resumed.stderr
    assert len(before) == saved and logged_before() == before  # how fast they were, too: they were not taken again
    assert_same_training(run / "best", reference / "best")
    for name in ("step", "loss"):
        resumed, undisturbed = (
            [line[name] for line in read_metrics(folder / "metrics.jsonl")] for folder in (run, reference)
        )
        assert resumed == close_to(undisturbed), name


def test_a_batch_that_does_not_fit_is_accumulated_and_a_resumed_run_keeps_to_it(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*_without(_without(command, "num_train_epochs"), "per_device_train_batch_size"), "--max_steps", "2"]
    command.append("--per_device_train_batch_size")
    monkeypatch.setattr(train_mrc, "try_training", lambda *_: pytest.fail("tried on a CPU"))
    train_mrc.main([*command, "auto"])
    run = tmp_path / "run"
    usual = json.loads((run / "arguments.json").read_text())
    assert (usual["per_device_train_batch_size"], usual["gradient_accumulation_steps"]) == (16, 1)

    def fits(model, collator, tokens: int, precision: str, rows: int) -> None:
        if rows > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")

    monkeypatch.setattr("training.start.default_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(train_mrc, "try_training", fits)
    train_mrc.main([*command, "auto", "--overwrite_output_dir"])
    found = json.loads((run / "arguments.json").read_text())
    assert (found["per_device_train_batch_size"], found["gradient_accumulation_steps"]) == (4, 4)
    by_hand = [*command, "4", "--gradient_accumulation_steps", "4", "--output_dir", str(tmp_path / "by_hand")]
    train_mrc.main(by_hand)
    assert_equal_weights(run / "best", tmp_path / "by_hand" / "best")

    monkeypatch.setattr(train_mrc, "try_training", lambda *_: pytest.fail("tried again"))
    train_mrc.main([*command, "auto", "--resume_from_checkpoint", "true"])
    assert json.loads((run / "arguments.json").read_text()) | {"resume_from_checkpoint": None} == found | {
        "overwrite_output_dir": False
    }


def test_two_processes_are_one_run(command: list[str], tmp_path: Path) -> None:
    flags = [*_without(command, "num_train_epochs"), "--do_eval", "--max_steps", "2"]
    in_two_processes("train_mrc.py", [*flags, "--per_device_train_batch_size", "2"])
    run = tmp_path / "run"
    assert json.loads((run / "environment.json").read_text())["processes"] == 2
    assert {path.name for path in run.iterdir()} == {
        "arguments.json", "environment.json", "metrics.json", "metrics.jsonl", "best", "checkpoint-2", "resume"
    }  # fmt: skip
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 2]
    assert lines[1]["epoch"] == pytest.approx(2 / 3)  # a step reads two features in each process, of 12


def test_the_best_checkpoints_survive_the_limit(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # step:        2         4         6         8        10        12
    evaluations = [(1.0, 10), (2.0, 90), (3.0, 20), (4.0, 95), (5.0, 30), (0.9, 40)]
    results = iter(evaluations)

    def evaluate(run: train_mrc.Run) -> dict[str, float]:
        loss, exact_match = next(results)
        return {"eval_loss": loss, "eval_exact_match": float(exact_match), "eval_f1": float(exact_match)}

    monkeypatch.setattr(train_mrc, "evaluate", evaluate)
    flags = ["--do_eval", "--eval_steps", "2", "--save_total_limit", "1"]
    metrics = train_mrc.main([*command, *flags])
    run = tmp_path / "run"
    # 2: loss fell; 4 and 8: exact match rose; 12: loss fell. The bests are 12 by loss and 8 by exact match.
    assert {path.name for path in run.glob("checkpoint-*")} == {"checkpoint-8", "checkpoint-12"}
    assert metrics["step"] == 8
    assert_equal_weights(run / "best", run / "checkpoint-8")


def test_weights_that_are_equal_take_the_room_of_one(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(run: train_mrc.Run) -> dict[str, float]:
        step = run.loop.progress.step
        return {"eval_loss": 1.0 / step, "eval_exact_match": float(step), "eval_f1": 0.0}

    monkeypatch.setattr(train_mrc, "evaluate", evaluate)
    train_mrc.main([*command, "--do_eval"])
    run, (state,) = tmp_path / "run", (tmp_path / "run" / "resume").iterdir()
    assert {path.name for path in run.glob("checkpoint-*")} == {"checkpoint-4", "checkpoint-8", "checkpoint-12"}
    assert share_weights(run / "best", run / "checkpoint-12") and share_weights(state, run / "checkpoint-12")
    shutil.rmtree(run / "checkpoint-12")
    assert_equal_weights(run / "best", state)
    assert load_reader(str(run / "best"), trained=True).config.reader_head["name"] == "linear"


# the best by exact match, which is the first, stays beside the newest of the others
@pytest.mark.parametrize(("limit", "kept"), [([], [2, 10, 12]), (["--save_total_limit", "0"], [2, 4, 6, 8, 10, 12])])
def test_a_disk_is_not_filled_unasked(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: list[str], kept: list[int]
) -> None:
    scores = iter([(6.0, 9.0), (5.0, 0.0), (4.0, 0.0), (3.0, 0.0), (2.0, 0.0), (1.0, 0.0)])

    def evaluate(run: train_mrc.Run) -> dict[str, float]:
        return dict(zip(("eval_loss", "eval_exact_match", "eval_f1"), (*next(scores), 0.0), strict=True))

    monkeypatch.setattr(train_mrc, "evaluate", evaluate)
    train_mrc.main([*command, "--do_eval", "--eval_steps", "2", *limit])
    steps = sorted(int(path.name.split("-")[1]) for path in (tmp_path / "run").glob("checkpoint-*"))
    assert steps == kept


@pytest.mark.parametrize(("epochs", "thaw_step"), [("1", 3), ("1.4", 4)])
def test_first_freezes_the_backbone_until_the_exact_step(
    command: list[str], tmp_path: Path, encoder_path: str, epochs: str, thaw_step: int
) -> None:
    flags = ["--freeze_pretrained_weight", "first", "--freeze_pretrained_weight_epoch", epochs]
    backbone_before = weights(Path(encoder_path))
    for steps, changed in ((thaw_step, False), (thaw_step + 1, True)):
        folder = tmp_path / f"steps-{steps}"
        short = [*_without(command, "num_train_epochs"), "--max_steps", str(steps), "--output_dir", str(folder)]
        train_mrc.main([*short, *flags, "--lr_scheduler_type", "constant"])
        after = weights(folder / "best")
        for name, value in backbone_before.items():
            assert torch.equal(after[f"bert.{name}"], value) != changed, name


def test_frozen_embeddings_stay_and_the_rest_is_trained(command: list[str], tmp_path: Path, encoder_path: str) -> None:
    train_mrc.main([*command, "--freeze_embedding_layer_weight", "True"])
    before, after = weights(Path(encoder_path)), weights(tmp_path / "run" / "best")
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(after[f"bert.{name}"], before.pop(name))
    assert not any(torch.equal(after[f"bert.{name}"], value) for name, value in before.items())


def test_concat_eval_trains_on_both_and_evaluates_on_the_named_data(
    command: list[str], tmp_path: Path, dataset_path: str
) -> None:
    with pytest.raises(UserError, match="--test_eval_dataset_path"):
        train_mrc.main([*command, "--concat_eval", "True", "--do_eval"])
    elsewhere = ["--test_eval_dataset_path", f"{dataset_path}/test_answers.json"]
    train_mrc.main([*command, "--concat_eval", "True", "--do_eval", *elsewhere])
    last = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert last["step"] == 20  # 12 + 6 examples: 5 steps an epoch


def test_label_smoothing_changes_the_training_loss_only(command: list[str], tmp_path: Path) -> None:
    one_step = [*_without(command, "num_train_epochs"), "--max_steps", "1", "--do_eval", "--learning_rate", "1e-12"]
    lines = []
    for name, smoothing in (("plain", "0"), ("smooth", "0.3")):
        folder = tmp_path / name
        train_mrc.main([*one_step, "--output_dir", str(folder), "--label_smoothing_factor", smoothing])
        lines.append(read_metrics(folder / "metrics.jsonl"))
    assert lines[0][0]["loss"] != lines[1][0]["loss"]
    assert lines[0][1]["eval_loss"] == close_to(lines[1][1]["eval_loss"])


def test_a_run_is_neither_overwritten_nor_mixed_up_unasked(command: list[str], tmp_path: Path) -> None:
    train_mrc.main([*command, "--max_train_samples", "4"])
    with pytest.raises(UserError, match="already holds a run: continue it with --resume_from_checkpoint true"):
        train_mrc.main(command)
    (tmp_path / "run" / "notes.txt").write_text("mine")
    train_mrc.main([*command, "--max_train_samples", "8", "--overwrite_output_dir"])
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == 8


def test_bad_data_leaves_nothing_behind(command: list[str], tmp_path: Path, dataset_path: str) -> None:
    broken = json.loads((Path(dataset_path) / "train.json").read_text(encoding="utf-8"))
    broken["data"][3]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] += 1
    path = tmp_path / "train.json"
    path.write_text(json.dumps(broken, ensure_ascii=False), encoding="utf-8")
    with pytest.raises(DataError, match=r"train\.json.*data\[3\]"):
        train_mrc.main([*command, "--dataset_path", str(path)])
    assert not (tmp_path / "run").exists()


def test_unanswerable_questions_are_learnt_and_predicted_empty(
    command: list[str], tmp_path: Path, dataset_path: str
) -> None:
    content = json.loads((Path(dataset_path) / "train.json").read_text(encoding="utf-8"))
    unanswerable = {"question": "바다는 왜 파란가?", "answers": [], "is_impossible": True}
    for number, article in enumerate(content["data"]):
        article["paragraphs"][0]["qas"].append({"id": f"none-{number}", **unanswerable})
    path = tmp_path / "squad2.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    flags = ["--dataset_path", str(path), "--num_train_epochs", "30", "--learning_rate", "3e-3", "--do_eval"]
    flags += ["--test_eval_dataset_path", str(path), "--backbone_dropout", "0", "--eval_steps", "90"]
    metrics = train_mrc.main([*command, *flags, "--version_2_with_negative"])
    assert metrics["eval_exact_match"] >= 80  # half of the questions are right only if their prediction is empty


def test_a_second_stage_goes_on_as_the_first_was_trained_and_keeps_what_it_is_told(
    command: list[str], tmp_path: Path, log_lines: list[str]
) -> None:
    short = [*_without(command, "num_train_epochs"), "--max_steps", "1"]
    train_mrc.main([*short, "--max_ans_len", "7", "--version_2_with_negative", "--postprocess", "edges"])
    first = tmp_path / "run"
    kept = {
        "max_seq_len": 128, "stride_len": 16, "max_ans_len": 7, "version_2_with_negative": True, "postprocess": "edges",
        "shared_normalization": False,
    }  # fmt: skip
    assert load_reader(str(first / "best")).config.reader_settings == kept
    for flag in ("max_seq_len", "stride_len", "model", "output_dir"):
        short = _without(short, flag)
    train_mrc.main([*short, "--model", str(first), "--output_dir", str(tmp_path / "second"), "--stride_len", "8"])
    assert f"INFO {first} is a training run: its best/ is taken" in log_lines
    taken = "--max_seq_len 128, --max_ans_len 7, --version_2_with_negative True, --postprocess edges"
    taken += ", --shared_normalization False"
    assert f"INFO as {first}/best was trained: {taken}" in log_lines
    recorded = json.loads((tmp_path / "second" / "arguments.json").read_text())
    assert {name: recorded[name] for name in kept} == kept | {"stride_len": 8}
    assert load_reader(str(tmp_path / "second" / "best")).config.reader_settings == kept | {"stride_len": 8}


def test_the_trained_reader_comes_back_from_its_folder_alone(command: list[str], tmp_path: Path) -> None:
    train_mrc.main([*command, "--head_dropout_ratio", "0.2"])
    moved = (tmp_path / "run" / "best").rename(tmp_path / "moved")
    model = load_reader(str(moved), trained=True)
    assert model.config.reader_head == {"name": "linear", "dropout": 0.2}
    assert_equal_weights(moved, next((tmp_path / "run" / "resume").iterdir()))
