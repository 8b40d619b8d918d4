"""Train the reader heads on equal budgets and compare their answers.

    python -m benchmarks.heads --model saved/e5-small-ko --train ../korquad/train.json --dev ../korquad/dev.json

Every head is trained with every seed by train_mrc.py and reads the contexts of the development questions by
inference.py. The table gives exact match and F1, the mean over the seeds with a 95 % bootstrap interval over the
questions, the exact match of each seed, and the seconds of a training run. Finished runs are kept in --output_dir and
not repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import inference
import train_mrc
from benchmarks.runs import words_of
from benchmarks.timing import timed
from loading.examples import load_examples
from models.heads import HEADS
from reading.metrics import references_of, score_examples
from runtime.errors import run_command
from runtime.files import read_json, write_json
from runtime.statistics import bootstrap_interval, percent


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare reader heads on equal budgets.", allow_abbrev=False)
    parser.add_argument("--model", required=True, help="encoder checkpoint")
    parser.add_argument("--train", required=True, help="training data, as --dataset_path takes it")
    parser.add_argument("--dev", required=True, help="development data, as --dataset_path takes it")
    parser.add_argument("--heads", nargs="+", default=["linear", "cnn_sds", "lstm_ln", "cnn"], choices=list(HEADS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2], help="seeds of every head")
    parser.add_argument("--questions", type=int, default=1000, help="training questions")
    parser.add_argument("--epochs", type=float, default=2.0, help="training epochs")
    parser.add_argument("--max_seq_len", type=int, default=384, help="longest feature in tokens")
    parser.add_argument("--stride_len", type=int, default=128, help="tokens that neighbouring windows share")
    parser.add_argument("--output_dir", default="outputs/heads", help="folder of the runs")
    return parser.parse_args(argv)


def answer_with(arguments: argparse.Namespace, head: str, seed: int) -> tuple[dict[str, str], float]:
    """Return the answers of a reader with ``head`` trained with ``seed``, and the seconds that training took."""
    run = Path(arguments.output_dir) / f"{head}-{seed}"
    windows = {"max_seq_len": arguments.max_seq_len, "stride_len": arguments.stride_len}
    training = {
        "model": arguments.model,
        "dataset_path": arguments.train,
        "output_dir": run,
        "overwrite_output_dir": True,
        "cache_dir": f"{arguments.output_dir}/cache",
        "head": head,
        "seed": seed,
        "max_train_samples": arguments.questions,
        "num_train_epochs": arguments.epochs,
        "learning_rate": 3e-4,
        "warmup_ratio": 0.05,
        "layerwise_lr_decay": 1.0,
        "postprocess": "none",
        "per_device_train_batch_size": 12,
        "backbone_dropout": 0,
        "freeze_embedding_layer_weight": True,
    }
    reading = {"model": run / "best", "dataset_path": arguments.dev, "output_dir": run / "answers"}
    if not (run / "seconds.json").exists():
        seconds, _ = timed(lambda: train_mrc.main(words_of(training | windows)))
        inference.main(words_of({"do_eval": True, "retriever_type": "none", **reading, **windows}))
        write_json(run / "seconds.json", seconds)
    return read_json(run / "answers" / "predictions.json"), read_json(run / "seconds.json")


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    references = references_of(load_examples(arguments.dev, ["validation"])["validation"])
    lines = [
        "| head | exact match | 95 % interval | by seed | F1 | 95 % interval | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for head in arguments.heads:
        answered = [answer_with(arguments, head, seed) for seed in arguments.seeds]
        scores = [score_examples(predictions, references, "korquad") for predictions, _ in answered]
        cells = []
        for values in zip(*scores, strict=True):  # exact match, then F1, of every seed
            per_question = 100 * np.mean(values, axis=0)  # (seeds, questions) -> (questions,)
            low, high = bootstrap_interval(per_question, 1000, seed=0)
            cells += [f"{per_question.mean():.1f}", f"{low:.1f} to {high:.1f}"]
        cells.insert(2, ", ".join(f"{percent(exact_match):.1f}" for exact_match, _ in scores))
        seconds = np.mean([seconds for _, seconds in answered])
        lines.append(f"| `{head}` | {' | '.join(cells)} | {seconds:.0f} |")
    print("\n".join(lines))


if __name__ == "__main__":
    run_command(main)
