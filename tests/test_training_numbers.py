"""The numbers of a training, in all four commands: where they are none it stops, and every example weighs the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from comparing import PROPORTIONAL_STEPS, assert_equal_weights, weights
from forgetting import forget_accelerator
from launching import in_two_processes, start_two_processes
from safetensors.torch import load_file

import train_dpr
import train_mrc
import train_mrc_v2
import train_reranker
import trainer_qa
from runtime.errors import UserError
from runtime.tracking import read_metrics
from trainer_qa import QATrainer

NAN = float("nan")
IDS = {f"train-{number}" for number in range(12)}
COMMANDS = ("train_mrc", "train_mrc_v2", "train_dpr", "train_reranker")
READERS = COMMANDS[:2]


class Training(NamedTuple):
    """A command that trains on 12 features or questions, without dropout, and writes to ``run``."""

    main: Callable[[list[str]], Any]
    words: list[str]
    run: Path
    flags: dict[str, str]  # what it calls its flags, where that is not what a reader does

    def __call__(self, **values: Any) -> dict[str, float]:
        """Train with these flags; the return value is that of the command."""
        forget_accelerator()
        return self.main([*self.words, *self.named(**values)])

    def named(self, **values: Any) -> list[str]:
        return [word for name, value in values.items() for word in (f"--{self.flags.get(name, name)}", str(value))]


@pytest.fixture
def training(
    request: pytest.FixtureRequest, encoder_path: str, reranker_path: str, dataset_path: str, tmp_path: Path
) -> Training:
    shared = ["--dataset_path", dataset_path, "--precision", "fp32", "--logging_steps", "1", *PROPORTIONAL_STEPS]
    run, folders = tmp_path / "run", ["--index_dir", f"{tmp_path}/index", "--analyzer", "bigram"]
    reader = ["--model", encoder_path, "--cache_dir", f"{tmp_path}/cache", "--max_seq_len", "128", "--stride_len", "16"]
    reader += ["--backbone_dropout", "0", "--output_dir", str(run)]
    dense = ["--dpr_model", encoder_path, "--retriever_dir", str(run), "--passage_max_len", "64", "--dpr_dropout", "0"]
    rerank = ["--reranker_model", reranker_path, "--output_dir", str(run), "--reranker_max_len", "128"]
    rerank += ["--hard_negatives", "2", "--reranker_dropout", "0"]
    dpr_names = {
        "per_device_train_batch_size": "dpr_train_batch",
        "learning_rate": "dpr_learning_rate",
        "eval_steps": "dpr_eval_steps",
        "num_train_epochs": "dpr_epochs",
        "output_dir": "retriever_dir",
    }
    return {
        "train_mrc": Training(train_mrc.main, [*shared, *reader], run, {}),
        "train_mrc_v2": Training(train_mrc_v2.main, [*shared, *reader, "--do_train"], run, {}),
        "train_dpr": Training(train_dpr.main, [*shared, *folders, *dense], run, dpr_names),
        "train_reranker": Training(train_reranker.main, [*shared, *folders, *rerank], run, {}),
    }[request.param]


def evaluating(training: Training) -> list[str]:
    """What lets a command evaluate; the retriever always does."""
    return [] if training.main is train_dpr.main else ["--do_eval"]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_only_numbers(run: Path) -> None:
    """Assert that no JSON file of a run holds nan or infinity, and no weights that were saved."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{path} holds {name}")

    for path in run.rglob("*.json*"):
        for text in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            json.loads(text, parse_constant=refuse)
    for path in run.rglob("*.safetensors"):
        assert all(value.isfinite().all() for value in load_file(path).values() if value.is_floating_point()), path


# ------------------------------------------------------------------------------------------------------ not a number


@pytest.mark.parametrize("evaluates", [False, True])
@pytest.mark.parametrize(("steps", "logging"), [(1, 1), (1, 50), (4, 50)])
@pytest.mark.parametrize("training", COMMANDS, indirect=True)
def test_a_learning_rate_without_measure_ends_in_one_sentence(
    training: Training, evaluates: bool, steps: int, logging: int
) -> None:
    """The first loss is a number, the weights after it are numbers, and still nothing can be read with them."""
    words = [*training.words, *(evaluating(training) if evaluates else []), "--logging_steps", str(logging)]
    saving = {"save_steps": steps} if training.main is train_mrc_v2.main else {}
    if evaluates or training.main is not train_mrc_v2.main:
        saving["eval_steps"] = steps
    with pytest.raises(UserError) as error:
        training._replace(words=words)(
            learning_rate=1e30,
            per_device_train_batch_size=4,
            num_train_epochs=2,
            lr_scheduler_type="constant",
            **saving,
        )
    told = str(error.value)
    place = re.match(r"training stops (at|after) step (\d), batch 1 \(([^)]*)\), learning rate 1e\+30: ", told)
    assert place and "\n" not in told, told
    assert int(place[2]) == (1 if steps == 1 else 2)
    assert 0 < len(place[3].split(", ")) <= 4 and set(place[3].split(", ")) <= IDS
    assert "what was saved before stays" in told
    assert_only_numbers(training.run)
    written = {path.name for path in training.run.iterdir() if path.name != "metrics.jsonl"}
    assert written == {"arguments.json", "environment.json"}  # nothing was fit to be saved


def spoil(patch: pytest.MonkeyPatch, training: Training, call: int, value: float) -> None:
    """Let the loss of the ``call``-th batch that is trained on, and its gradient, be ``value``."""
    owner, function = {
        train_mrc.main: (train_mrc, "reader_loss"),
        train_mrc_v2.main: (trainer_qa, "reader_loss"),
        train_dpr.main: (train_dpr, "in_batch_loss"),
        train_reranker.main: (train_reranker, "listwise_loss"),
    }[training.main]
    original, calls = getattr(owner, function), count(1)

    def spoilt(*args: Any, **options: Any) -> Any:
        result = original(*args, **options)
        if not torch.is_grad_enabled() or next(calls) != call:
            return result
        return (result[0] * value, *result[1:]) if isinstance(result, tuple) else result * value

    patch.setattr(owner, function, spoilt)


@pytest.mark.parametrize("value", [NAN, float("inf")])
@pytest.mark.parametrize("training", COMMANDS, indirect=True)
def test_what_was_saved_before_stays_and_can_be_resumed(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    evaluates = evaluating(training)
    flags = {"per_device_train_batch_size": 4, "num_train_epochs": 2, "learning_rate": 1e-3, "eval_steps": 2}
    if training.main is train_mrc_v2.main:
        flags["save_steps"] = 2
    words = [*training.words, *evaluates, "--gradient_accumulation_steps", "2", "--logging_steps", "50"]
    training = training._replace(words=words)
    training(**flags, output_dir=tmp_path / "undisturbed")
    with monkeypatch.context() as patch:
        spoil(patch, training, 5, value)  # 3 batches an epoch: of steps of 2, 1, 2 and 1
        with pytest.raises(UserError, match=r"^training stops at step 3, batch 2 .* learning rate .*: the loss is"):
            training(**flags)
    assert_only_numbers(training.run)
    if training.main is train_mrc_v2.main:
        kept = {path.name for path in training.run.glob("checkpoint-*")}
        assert kept == {"checkpoint-2"}
    else:
        assert [path.name for path in (training.run / "resume").iterdir()] == ["step-00000002"]
    training(**flags, resume_from_checkpoint="true")
    best = "p_encoder" if training.main is train_dpr.main else "best"
    assert_equal_weights(training.run / best, tmp_path / "undisturbed" / best, atol=1e-5)


@pytest.mark.parametrize("training", ["train_mrc", "train_reranker"], indirect=True)
def test_both_of_two_processes_stop(training: Training) -> None:
    flags = training.named(learning_rate=1e30, warmup_ratio=0, per_device_train_batch_size=2, max_steps=6, eval_steps=2)
    command = f"{training.main.__module__}.py"
    result = start_two_processes(command, [*training.words, *flags, *evaluating(training)])
    assert result.returncode != 0
    told = re.findall(r"^error: (training stops .*)$", result.stderr, flags=re.MULTILINE)
    assert told and len(set(told)) == 1 and told[0].startswith("training stops at step 2, batch 1 (train-")
    assert "Traceback" not in result.stderr.split("error: training stops")[0]
    assert_only_numbers(training.run)
    assert not (training.run / "resume").exists() and not (training.run / "best").exists()


# ------------------------------------------------------------------------------------- every example weighs the same


@pytest.mark.parametrize("training", ["train_mrc", "train_mrc_v2", "train_reranker"], indirect=True)
def test_accumulated_batches_of_unequal_size_are_one_large_batch(training: Training, tmp_path: Path) -> None:
    """5 + 5 + 2 examples, whichever of them comes first, are 12."""
    for name, size, accumulation in (("whole", 12, 1), ("parts", 5, 3)):
        training(
            per_device_train_batch_size=size, gradient_accumulation_steps=accumulation, max_steps=2,
            learning_rate=1e-2, lr_scheduler_type="constant", output_dir=tmp_path / name,
        )  # fmt: skip
    whole, parts = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "parts"))
    losses = [[line["loss"] for line in lines if "loss" in line] for lines in (whole, parts)]
    assert len(losses[0]) == 2 and losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert_equal_weights(tmp_path / "whole" / "best", tmp_path / "parts" / "best", atol=2e-6)


@pytest.mark.parametrize("training", ["train_dpr"], indirect=True)
def test_accumulated_questions_of_a_retriever_weigh_the_same(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch of 5, 5 and 2 compares other passages, so that one large batch is no oracle: shares are."""
    seen = []
    original = train_dpr.joint_backward

    def spy(accelerator: Any, model: Any, chunks: Any, counts: Any, loss_of: Any, scale: float, *rest: Any) -> Any:
        loss = original(accelerator, model, chunks, counts, loss_of, scale, *rest)
        seen.append((counts[0][0], scale, loss.item()))
        return loss

    monkeypatch.setattr(train_dpr, "joint_backward", spy)
    training(per_device_train_batch_size=5, gradient_accumulation_steps=3, num_train_epochs=1, eval_steps=9)
    assert sorted(size for size, *_ in seen) == [2, 5, 5]
    assert all(scale == pytest.approx(size / 12) for size, scale, _ in seen)
    (line,) = [line for line in read_metrics(training.run / "metrics.jsonl") if "loss" in line]
    assert line["loss"] == pytest.approx(sum(size * loss for size, _, loss in seen) / 12, rel=1e-5)


@pytest.mark.parametrize("accumulation", [2, 3])
@pytest.mark.parametrize("training", ["train_mrc"], indirect=True)
def test_both_reader_commands_log_the_mean_over_examples(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulation: int
) -> None:
    """Windows of 2 steps, and steps, of unequal sizes: 12 features in batches of 5."""
    seen = []
    original = train_mrc.reader_loss

    def spy(model: Any, batch: Any, *rest: Any) -> Any:
        loss, outputs = original(model, batch, *rest)
        if torch.is_grad_enabled():
            seen.append((len(batch["input_ids"]), loss.item()))
        return loss, outputs

    flags = {
        "per_device_train_batch_size": 5, "gradient_accumulation_steps": accumulation, "num_train_epochs": 4,
        "learning_rate": 1e-3, "logging_steps": 2,
    }  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(train_mrc, "reader_loss", spy)
        training(**flags, output_dir=tmp_path / "0")
    training._replace(main=train_mrc_v2.main, words=[*training.words, "--do_train"])(**flags, output_dir=tmp_path / "1")
    logged = [
        [line["loss"] for line in read_metrics(tmp_path / name / "metrics.jsonl") if "loss" in line] for name in "01"
    ]
    batches = {2: 3, 3: 6}[accumulation]  # of a window: 2 + 1, or 3 + 3
    windows = [seen[start : start + batches] for start in range(0, len(seen), batches)]
    expected = [sum(size * loss for size, loss in window) / sum(size for size, _ in window) for window in windows]
    assert len(expected) >= 2 and logged[0] == pytest.approx(expected, rel=1e-5)
    assert logged[1] == pytest.approx(logged[0], rel=1e-5)
    assert_equal_weights(tmp_path / "0" / "best", tmp_path / "1" / "best", atol=1e-5)


@pytest.mark.parametrize("training", READERS, indirect=True)
def test_two_processes_are_one_with_batches_twice_as_large(training: Training, tmp_path: Path) -> None:
    """11 features: joint batches of 6 and 5, of which the second is 2 + 3, accumulated."""
    flags = {"max_train_samples": 11, "gradient_accumulation_steps": 2, "max_steps": 2, "learning_rate": 1e-2}
    flags["lr_scheduler_type"] = "constant"
    training(**flags, per_device_train_batch_size=6, output_dir=tmp_path / "one")
    words = [*training.words, *training.named(**flags, per_device_train_batch_size=3, output_dir=tmp_path / "two")]
    in_two_processes(f"{training.main.__module__}.py", words)
    one, two = (
        [line["loss"] for line in read_metrics(tmp_path / name / "metrics.jsonl") if "loss" in line]
        for name in ("one", "two")
    )
    assert len(one) == 2 and one == pytest.approx(two, rel=1e-5)
    assert_equal_weights(tmp_path / "one" / "best", tmp_path / "two" / "best", atol=2e-6)


# ----------------------------------------------------------------------------------------------------- fewer steps


@pytest.mark.parametrize("training", COMMANDS, indirect=True)
def test_a_run_that_has_more_steps_than_are_asked_for_is_left_alone(training: Training) -> None:
    training = training._replace(words=[*training.words, *evaluating(training)])
    flags = {"per_device_train_batch_size": 4, "learning_rate": 1e-3, "eval_steps": 2}
    training(**flags, num_train_epochs=2)
    before = snapshot(training.run)
    for fewer, steps in (({"num_train_epochs": 1}, 3), ({"max_steps": 5}, 5)):
        with pytest.raises(UserError) as error:
            training(**flags, **fewer, resume_from_checkpoint="true")
        told = re.sub(r"\([^)]*\)", "(…)", str(error.value))
        assert told == (
            f"the run is at step 6 (…), more than the {steps} steps asked for: ask for more epochs or steps, or start "
            "another run"
        )
        assert snapshot(training.run) == before
    training(**flags, num_train_epochs=2, resume_from_checkpoint="true")  # as many as it has: it is over
    changed = {"arguments.json", "environment.json", "metrics.jsonl"}
    after = snapshot(training.run)
    assert after.keys() == before.keys()
    assert {name for name in before if after[name] != before[name]} <= changed


@pytest.mark.parametrize("training", READERS, indirect=True)
def test_of_equal_exact_matches_f1_then_loss_decide(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    # step:         1              2              3              4             5              6
    scores = [(1.0, 10, 9.0), (2.0, 50, 30.0), (3.0, 50, 40.0), (2.5, 50, 40), (2.9, 50, 40), (0.5, 20, 90)]

    def metrics(step: int) -> dict[str, float]:
        loss, exact_match, f1 = map(float, scores[step - 1])
        return {"eval_loss": loss, "eval_exact_match": exact_match, "eval_f1": f1}

    original = QATrainer._read
    monkeypatch.setattr(
        QATrainer, "_read", lambda self, *args: original(self, *args)._replace(metrics=metrics(self.state.global_step))
    )
    monkeypatch.setattr(train_mrc, "evaluate", lambda run: metrics(run.loop.progress.step))
    training = training._replace(words=[*training.words, "--do_eval"])
    kept = training(per_device_train_batch_size=4, num_train_epochs=2, eval_steps=1, learning_rate=1e-3)
    assert kept["step"] == 4
    assert json.loads((training.run / "best" / "metrics.json").read_text())["eval_loss"] == 2.5
    if training.main is train_mrc.main:
        assert torch.equal(*(next(iter(weights(training.run / name).values())) for name in ("best", "checkpoint-4")))
