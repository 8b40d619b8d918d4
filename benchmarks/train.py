"""Train a reader with train_mrc.py and with a plain Trainer, on the same windows, and compare speed and memory.

    python -m benchmarks.train --model saved/e5-small-ko --data ../korquad/train.json

Each row is a process of its own: the Trainer with its defaults (fp32, every window padded to ``max_seq_len``), with
bf16, with bf16 and batches padded to their longest window; train_mrc.py as it is, and with dropout off and word
embeddings frozen. Windows per second are of the steps after the first ``--warmup`` ones, the loss is the mean of all.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments
from transformers import TrainerCallback as Callback

import train_mrc
from arguments import DatasetArguments
from benchmarks.runs import measured_apart, peak_memory, words_of
from models import load_reader, load_tokenizer
from processor import QAProcessor
from runtime.device import default_device
from runtime.errors import run_command
from runtime.record import processor
from runtime.tracking import read_metrics

OURS: dict[str, list[str]] = {
    "train_mrc.py": [],
    "train_mrc.py, dropout off, embeddings frozen": [
        "--backbone_dropout", "0", "--freeze_embedding_layer_weight", "True"
    ],
}  # fmt: skip
TRAINERS: dict[str, dict[str, Any]] = {
    "Trainer": {"bf16": False, "dynamic": False},
    "Trainer, bf16": {"bf16": True, "dynamic": False},
    "Trainer, bf16, dynamic padding": {"bf16": True, "dynamic": True},
}


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the training of readers.", allow_abbrev=False)
    parser.add_argument("--model", required=True, help="encoder checkpoint")
    parser.add_argument("--data", required=True, help="training data, as --dataset_path takes it")
    parser.add_argument("--steps", type=int, default=24, help="optimizer steps of every row")
    parser.add_argument("--warmup", type=int, default=8, help="steps before the clock starts")
    parser.add_argument("--batch_size", type=int, default=12, help="windows per step")
    parser.add_argument("--max_seq_len", type=int, default=384, help="longest window in tokens")
    parser.add_argument("--stride_len", type=int, default=128, help="tokens that neighbouring windows share")
    parser.add_argument("--learning_rate", type=float, default=3e-5, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=42, help="seed of every row")
    parser.add_argument("--row", choices=[*TRAINERS, *OURS], help="measure this row alone and print it as JSON")
    return parser.parse_args(argv)


class Clock(Callback):
    """Times the optimizer steps after the first ``warmup``."""

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.seconds = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.warmup:
            self._begin = _now()
        self.seconds = _now() - self._begin if state.global_step > self.warmup else 0.0


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def train_with_trainer(arguments: argparse.Namespace, folder: str, bf16: bool, dynamic: bool) -> tuple[float, float]:
    """Return windows per second and the mean loss of the usual Trainer."""
    tokenizer = load_tokenizer(arguments.model)
    settings = DatasetArguments(
        dataset_path=arguments.data, max_seq_len=arguments.max_seq_len, stride_len=arguments.stride_len,
        cache_dir=f"{folder}/cache",
    )  # fmt: skip
    windows = QAProcessor(settings, tokenizer).get_train_features()
    labels = ("start_positions", "end_positions")
    given = [name for name in ("input_ids", "token_type_ids", "attention_mask") if name in windows.column_names]
    full: dict[str, Any] = {"padding": "max_length", "max_length": arguments.max_seq_len}
    collate = DataCollatorWithPadding(tokenizer, **({} if dynamic else full))
    clock = Clock(arguments.warmup)
    trainer = Trainer(
        model=load_reader(arguments.model, attention="sdpa"),
        args=TrainingArguments(
            f"{folder}/run", max_steps=arguments.steps, per_device_train_batch_size=arguments.batch_size, bf16=bf16,
            learning_rate=arguments.learning_rate, seed=arguments.seed, save_strategy="no", report_to="none",
            disable_tqdm=True, use_cpu=default_device().type == "cpu",
        ),
        train_dataset=windows.select_columns([*given, *labels]),
        data_collator=collate,
        callbacks=[clock],
    )  # fmt: skip
    result = trainer.train()
    return (arguments.steps - arguments.warmup) * arguments.batch_size / clock.seconds, result.training_loss


def train_with_ours(arguments: argparse.Namespace, folder: str, flags: Sequence[str]) -> tuple[float, float]:
    """Return windows per second and the mean loss of train_mrc.py."""
    settings = {
        "model": arguments.model, "dataset_path": arguments.data, "output_dir": f"{folder}/run",
        "cache_dir": f"{folder}/cache", "max_steps": arguments.steps, "learning_rate": arguments.learning_rate,
        "per_device_train_batch_size": arguments.batch_size, "max_seq_len": arguments.max_seq_len,
        "stride_len": arguments.stride_len, "seed": arguments.seed, "logging_steps": 1,
        "eval_steps": arguments.steps + 1,
    }  # fmt: skip
    train_mrc.main([*words_of(settings), *flags])
    lines = [line for line in read_metrics(Path(folder, "run", "metrics.jsonl")) if "loss" in line]
    timed = lines[arguments.warmup :]
    seconds = sum(arguments.batch_size / line["examples_per_second"] for line in timed)
    return len(timed) * arguments.batch_size / seconds, sum(line["loss"] for line in lines) / len(lines)


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Return what one row shows: windows per second, mean loss and peak memory in GiB, of the GPU if there is one."""
    with tempfile.TemporaryDirectory() as folder:
        if arguments.row in TRAINERS:
            speed, loss = train_with_trainer(arguments, folder, **TRAINERS[arguments.row])
        else:
            speed, loss = train_with_ours(arguments, folder, OURS[arguments.row])
    return {"speed": speed, "loss": loss, "memory": peak_memory()}


def main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parse_arguments(words)
    if arguments.row is not None:
        print(json.dumps(measure(arguments)))
        return
    device = default_device()
    machine = torch.cuda.get_device_name() if device.type == "cuda" else processor()
    print(f"{machine}; {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{arguments.batch_size} windows of up to {arguments.max_seq_len} tokens a step\n")
    print("| training | windows/s | against the Trainer | peak GiB | mean loss |\n|---|---|---|---|---|")
    first = 0.0
    for name, row in measured_apart("benchmarks.train", words, [*TRAINERS, *OURS]):
        first = first or row["speed"]
        cells = f"{row['speed']:.2f} | {row['speed'] / first:.1f}× | {row['memory']:.1f} | {row['loss']:.2f}"
        print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    run_command(main)
