"""Training that is asked to stop: by Ctrl-C or SIGTERM, at any step, in every command; and how it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from comparing import PROPORTIONAL_STEPS, assert_same_training, close_to
from forgetting import forget_accelerator
from forking import ROOT, start

import train_dpr
import train_mrc
import train_mrc_v2
import train_reranker
from processor import QAProcessor
from runtime.errors import UserError
from runtime.files import write_json
from runtime.interrupts import Interrupted
from runtime.tracking import read_metrics
from trainer_qa import QATrainer


class Command(NamedTuple):
    """A training command of 12 optimizer steps, 3 an epoch; ``step`` is called once a batch."""

    main: Callable[[list[str]], Any]
    flags: str
    folder_flag: str
    step: tuple[Any, str]
    evaluate: tuple[Any, str]
    kept: tuple[str, ...]


_MRC = (
    "--model {encoder} --max_seq_len 128 --stride_len 16 --per_device_train_batch_size 4 --cache_dir {cache} --do_eval"
)
_MRC += " --num_train_epochs 4 --learning_rate 1e-3 --eval_steps 4"
_SEARCH = "--index_dir {cache}/index --analyzer bigram"
_DPR = f"--dpr_model {{encoder}} {_SEARCH} --passage_max_len 64 --dpr_train_batch 4 --dpr_epochs 4 --dpr_eval_steps 4"
_RERANKER = f"--reranker_model {{encoder}} {_SEARCH} --reranker_max_len 100 --per_device_train_batch_size 4 --do_eval"
_RERANKER += " --num_train_epochs 4 --learning_rate 1e-3 --eval_steps 4 --rerank_depth 3 --hard_negatives 1"
_V2 = f"{_MRC} --do_train --logging_steps 1"
_TRAINER = (QATrainer, "compute_loss"), (QATrainer, "evaluate")

COMMANDS = {
    "mrc": Command(
        train_mrc.main, f"{_MRC} --logging_steps 4 --gradient_accumulation_steps 1", "output_dir",
        (train_mrc, "train_step"), (train_mrc, "evaluate"), ("best", "resume/step-00000012"),
    ),
    "dpr": Command(
        train_dpr.main, f"{_DPR} --logging_steps 5", "retriever_dir",
        (train_dpr, "train_step"), (train_dpr, "evaluate"), ("p_encoder", "q_encoder", "resume/step-00000012"),
    ),
    "reranker": Command(
        train_reranker.main, f"{_RERANKER} --logging_steps 5", "output_dir",
        (train_reranker, "train_step"), (train_reranker, "evaluate"), ("best", "resume/step-00000012"),
    ),
    "v2 steps": Command(
        train_mrc_v2.main, f"{_V2} --save_steps 6", "output_dir", *_TRAINER, ("best", "checkpoint-12")
    ),
    "v2 epochs": Command(
        train_mrc_v2.main,
        f"{_V2} --eval_strategy epoch --save_strategy epoch".replace("--eval_steps 4", ""),
        "output_dir", *_TRAINER, ("best", "checkpoint-12"),
    ),
    "v2 best": Command(
        train_mrc_v2.main,
        f"{_V2} --save_strategy best --freeze_type backbone --freeze_epoch 2",
        "output_dir", *_TRAINER, ("best",),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def words(encoder_path: str, dataset_path: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """Return the words of a command that writes to a folder."""
    cache = tmp_path_factory.mktemp("cache")

    def make(command: Command, folder: Path) -> list[str]:
        flags = command.flags.format(encoder=encoder_path, cache=cache).split()
        common = ["--dataset_path", dataset_path, "--precision", "fp32", *PROPORTIONAL_STEPS]
        return [*flags, *common, f"--{command.folder_flag}", str(folder)]

    return make


@pytest.fixture(scope="module")
def reference(words: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a run of a command that nothing disturbed."""
    folders: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("reference") / "run"
            COMMANDS[name].main(words(COMMANDS[name], folders[name]))
            forget_accelerator()
        return folders[name]

    return run


def send(patch: pytest.MonkeyPatch, owner: Any, function: str, call: int, signum: int, times: int = 1) -> None:
    """Send the signal to this process at the ``call``-th call of ``owner.function``."""
    calls, original = count(1), getattr(owner, function)

    def sending(*args: Any, **options: Any) -> Any:
        if next(calls) == call:
            for _ in range(times):
                os.kill(os.getpid(), signum)
        return original(*args, **options)

    patch.setattr(owner, function, sending)


def stop(main: Callable[[list[str]], Any], words: list[str], *sending: Any, **times: int) -> Interrupted:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted) as stopped:
        send(patch, *sending, **times)
        main(words)
    forget_accelerator()
    torch.manual_seed(999)  # a new process begins with other random numbers
    return stopped.value


def assert_same_run(run: Path, reference: Path, command: Command) -> None:
    """Assert that what is kept of two runs and what they logged is the same, but for the time it took."""
    for name in command.kept:
        assert_same_training(run / name, reference / name)
    logged = []
    for folder in (run, reference):
        lines = read_metrics(folder / "metrics.jsonl")
        logged.append([{name: value for name, value in line.items() if not _timed(name)} for line in lines])
    assert len(logged[0]) == len(logged[1])
    for line, expected in zip(*logged, strict=True):
        assert line == close_to(expected)


def _timed(name: str) -> bool:
    return name.endswith(("_per_second", "_runtime")) or name == "time"


@pytest.mark.parametrize(
    ("name", "at", "call", "step"),
    [
        ("mrc", "step", 2, 2), ("mrc", "step", 6, 6), ("mrc", "step", 8, 8), ("mrc", "evaluate", 1, 4),
        ("dpr", "step", 2, 2), ("dpr", "step", 3, 3), ("dpr", "evaluate", 2, 8),
        ("reranker", "step", 5, 5), ("reranker", "step", 8, 8),
        ("v2 steps", "step", 2, 2), ("v2 steps", "step", 3, 3), ("v2 steps", "step", 4, 4), ("v2 steps", "step", 6, 6),
        ("v2 steps", "evaluate", 1, 4),
        ("v2 epochs", "step", 1, 1), ("v2 epochs", "step", 6, 6), ("v2 epochs", "step", 8, 8),
        ("v2 best", "step", 4, 4), ("v2 best", "step", 7, 7), ("v2 best", "step", 9, 9),
    ],
)  # fmt: skip
def test_stopped_after_a_whole_step_and_resumed_it_is_the_same_run(
    words: Callable[..., list[str]],
    reference: Callable[[str], Path],
    tmp_path: Path,
    name: str,
    at: str,
    call: int,
    step: int,
) -> None:
    command, run = COMMANDS[name], tmp_path / "run"
    stopped = stop(command.main, words(command, run), *getattr(command, at), call, signal.SIGTERM)
    assert (stopped.status, str(stopped)) == (
        143,
        f"terminated: step {step} is saved in {run}\nto go on, add --resume_from_checkpoint true to the same command",
    )
    assert not list(run.rglob("*.staging-*")) and not (run / ".lock").exists()
    command.main([*words(command, run), "--resume_from_checkpoint", "true"])
    assert_same_run(run, reference(name), command)


@pytest.mark.parametrize("name", ["mrc", "reranker", "v2 steps"])
def test_the_second_signal_is_not_waited_for(
    words: Callable[..., list[str]], reference: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    command, run = COMMANDS[name], tmp_path / "run"
    saved = 6 if name == "v2 steps" else 4
    stopped = stop(command.main, words(command, run), *command.evaluate, 2, signal.SIGINT, times=2)
    assert (stopped.status, str(stopped).splitlines()[0]) == (130, f"interrupted: step {saved} is saved in {run}")
    command.main([*words(command, run), "--resume_from_checkpoint", "true"])
    assert_same_run(run, reference(name), command)


def test_before_anything_is_saved(
    words: Callable[..., list[str]], reference: Callable[[str], Path], tmp_path: Path
) -> None:
    command, run = COMMANDS["mrc"], tmp_path / "run"
    stopped = stop(command.main, words(command, run), *command.step, 1, signal.SIGINT, times=2)
    assert str(stopped) == (
        f"interrupted: no step is saved in {run}\nto go on, add --resume_from_checkpoint true to the same command"
    )
    command.main([*words(command, run), "--resume_from_checkpoint", "true"])
    assert_same_run(run, reference("mrc"), command)


def test_while_the_data_are_read_nothing_is_left_and_an_earlier_run_stays(
    words: Callable[..., list[str]], tmp_path: Path
) -> None:
    command = COMMANDS["mrc"]
    reading = QAProcessor, "get_eval_features", 1, signal.SIGINT
    stopped = stop(command.main, words(command, tmp_path / "run"), *reading)
    assert str(stopped) == "interrupted: no step was taken or saved yet"
    assert not (tmp_path / "run").exists()
    write_json(tmp_path / "run" / "resume" / "step-00000008" / "state.json", {"progress": {"step": 8}})
    stopped = stop(command.main, [*words(command, tmp_path / "run"), "--overwrite_output_dir"], *reading)
    assert str(stopped) == "interrupted: no step was taken or saved yet"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["resume"]
    stopped = stop(command.main, [*words(command, tmp_path / "run"), "--resume_from_checkpoint", "true"], *reading)
    assert str(stopped).startswith(f"interrupted: step 8 is saved in {tmp_path / 'run'}")


@pytest.mark.parametrize("name", ["mrc", "dpr", "v2 steps", "v2 epochs"])
def test_at_the_last_step_the_run_ends_as_if_nothing_was_asked(
    words: Callable[..., list[str]], reference: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    command, run = COMMANDS[name], tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        send(patch, *command.step, 12, signal.SIGTERM)
        command.main(words(command, run))
    assert_same_run(run, reference(name), command)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_in_a_process_of_its_own(words: Callable[..., list[str]], tmp_path: Path, signum: int, status: int) -> None:
    run = tmp_path / "run"
    command = ["train_mrc.py", *words(COMMANDS["mrc"], run), "--num_train_epochs", "4000"]
    process = start(*command, stderr=tmp_path / "stderr")
    wait_for(lambda: (run / "resume").exists(), process.is_alive)
    os.kill(process.pid, signum)
    process.join(60)
    assert process.exitcode == status
    errors = (tmp_path / "stderr").read_text()
    assert "Traceback" not in errors and "stopping after this step" in errors
    (saved,) = (run / "resume").iterdir()
    word = "interrupted" if signum == signal.SIGINT else "terminated"
    assert f"{word}: step {int(saved.name.removeprefix('step-'))} is saved in {run}\n" in errors
    assert not (run / ".lock").exists() and not list(run.rglob("*.staging-*"))


LAUNCH = (
    "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no "
    "--dynamo_backend no --main_process_port 0"
)


def test_two_processes_stop_after_the_same_step_and_are_one_run(
    words: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Launched as a user launches them: what is asked to stop is the launcher."""
    run, flags = tmp_path / "run", ["--num_train_epochs", "4000", "--per_device_train_batch_size", "2"]
    command = [sys.executable, *LAUNCH.split(), "train_mrc.py", *words(COMMANDS["mrc"], run), *flags]
    # one GPU is no place for two processes
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as launcher:
        wait_for(lambda: (run / "resume").exists(), lambda: launcher.poll() is None)
        with pytest.raises(UserError, match=f"--output_dir {run} is in use by process"):
            train_mrc.main([*words(COMMANDS["mrc"], run), "--resume_from_checkpoint", "true"])
        launcher.send_signal(signal.SIGTERM)
        _, errors = launcher.communicate(timeout=120)
    (saved,) = (run / "resume").iterdir()
    assert errors.count(f"terminated: step {int(saved.name.removeprefix('step-'))} is saved in {run}\n") == 1
    assert "in use by process" not in errors


def wait_for(condition: Callable[[], bool], is_running: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert is_running() and time.monotonic() < deadline
        time.sleep(0.02)
