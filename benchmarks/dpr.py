"""Train a dense retriever with train_dpr.py and with sentence-transformers' cached loss: speed, memory, recall.

    python -m benchmarks.dpr --model saved/e5-small-ko --data ../train.json --dev ../dev.json --corpus ../wiki.json

Both see the questions with their own passages and no others, share one encoder, and compute a large batch in chunks by
cached gradients (Gao et al. 2021), sentence-transformers in chunks of as many rows or of as many tokens. Each row is a
process of its own, in the best precision of the device; pairs per second are of the steps after the first --warmup
ones, recall is of the validation questions over the corpus, with the last weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer import losses

import retrieve
import train_dpr
from benchmarks.dense import peer
from benchmarks.runs import measured_apart, peak_memory, words_of
from benchmarks.timing import machine
from benchmarks.train import Clock
from loading.examples import load_examples
from models.inputs import titled
from runtime.device import default_device, resolve_precision
from runtime.errors import run_command
from runtime.tracking import read_metrics

OURS = "train_dpr.py"
PEERS = {"sentence-transformers": False, "sentence-transformers, chunks of tokens": True}


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the training of dense retrievers.", allow_abbrev=False)
    parser.add_argument("--model", required=True, help="encoder checkpoint")
    parser.add_argument("--data", required=True, help="training data, as --dataset_path takes them")
    parser.add_argument("--dev", required=True, help="validation questions, as --dataset_path takes them")
    parser.add_argument("--corpus", required=True, help="passages to search, as --context_path takes them")
    parser.add_argument("--steps", type=int, default=24, help="optimizer steps of every row")
    parser.add_argument("--warmup", type=int, default=8, help="steps before the clock starts")
    parser.add_argument("--batch_size", type=int, default=128, help="questions per step")
    parser.add_argument("--chunk_size", type=int, default=32, help="questions per forward pass")
    parser.add_argument("--tokens", type=int, default=256, help="longest passage")
    parser.add_argument("--questions", type=int, default=200, help="validation questions that are searched for")
    parser.add_argument("--temperature", type=float, default=0.05, help="divides the cosines in the loss")
    parser.add_argument("--learning_rate", type=float, default=2e-5, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=42, help="seed of every row")
    parser.add_argument("--row", choices=[OURS, *PEERS], help="measure this row alone and print it as JSON")
    return parser.parse_args(argv)


def train_ours(arguments: argparse.Namespace, folder: Path) -> float:
    """Train in ``folder``; return pairs per second."""
    flags = {
        "dpr_model": arguments.model, "dataset_path": arguments.data, "retriever_dir": folder,
        "max_steps": arguments.steps, "dpr_train_batch": arguments.batch_size, "chunk_size": arguments.chunk_size,
        "hard_negatives": 0, "shared_encoder": True, "normalize": True, "pooling": "mean",
        "temperature": arguments.temperature, "passage_max_len": arguments.tokens,
        "dpr_learning_rate": arguments.learning_rate, "seed": arguments.seed, "dpr_eval_steps": arguments.steps,
        "logging_steps": 1,
    }  # fmt: skip
    train_dpr.main(words_of(flags))
    timed = [line for line in read_metrics(folder / "metrics.jsonl") if "loss" in line][arguments.warmup :]
    return len(timed) / sum(1 / line["examples_per_second"] for line in timed)


def train_peer(arguments: argparse.Namespace, folder: Path, by_tokens: bool) -> float:
    """Train with sentence-transformers in ``folder``; return pairs per second."""
    rows = load_examples(arguments.data, ["train"])["train"]
    passages = map(titled, rows["title"], rows["context"])
    pairs = {"question": list(rows["question"]), "passage": list(passages)}
    device = default_device()
    model = peer(arguments.model, arguments.tokens, "mean", True, device)
    loss = losses.CachedMultipleNegativesRankingLoss(
        model,
        scale=1 / arguments.temperature,
        mini_batch_size=arguments.chunk_size,
        mini_batch_num_tokens=arguments.chunk_size * arguments.tokens if by_tokens else None,
    )
    clock = Clock(arguments.warmup)
    precision = resolve_precision("auto", device)
    training = SentenceTransformerTrainingArguments(
        str(folder / "run"), max_steps=arguments.steps, per_device_train_batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate, bf16=precision == "bf16", seed=arguments.seed, save_strategy="no",
        report_to="none", disable_tqdm=True, use_cpu=device.type == "cpu", dataloader_drop_last=True,
    )  # fmt: skip
    SentenceTransformerTrainer(
        model, training, train_dataset=Dataset.from_dict(pairs), loss=loss, callbacks=[clock]
    ).train()
    model.save(str(folder))
    return (arguments.steps - arguments.warmup) * arguments.batch_size / clock.seconds


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Return what one row shows: pairs per second, peak memory in GiB, of the GPU if there is one, and recall@5."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "retriever")
        if arguments.row == OURS:
            speed = train_ours(arguments, folder)
        else:
            speed = train_peer(arguments, folder, PEERS[arguments.row])
        memory = peak_memory()
        flags = {
            "retriever_type": "DenseRetrieval", "retriever_dir": folder, "dataset_path": arguments.dev,
            "context_path": arguments.corpus, "max_eval_samples": arguments.questions, "top_k": 5,
            "index_dir": f"{scratch}/index", "output_dir": f"{scratch}/out", "passage_max_len": arguments.tokens,
        }  # fmt: skip
        (row,) = retrieve.main(words_of(flags))["retrievers"]
    return {"speed": speed, "memory": memory, "recall": row["gold_passage"]["recall@5"]["mean"]}


def main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parse_arguments(words)
    if arguments.row is not None:
        print(json.dumps(measure(arguments)))
        return
    print(f"{torch.cuda.get_device_name() if torch.cuda.is_available() else machine()}; torch {torch.__version__}")
    print(f"{arguments.batch_size} questions a step in chunks of {arguments.chunk_size}, {arguments.steps} steps\n")
    print("| training | pairs/s | ours is so many times as fast | peak GiB | recall@5 |\n|---|---:|---:|---:|---:|")
    ours = 0.0
    for name, row in measured_apart("benchmarks.dpr", words, [OURS, *PEERS]):
        ours = ours or row["speed"]
        cells = f"{row['speed']:.2f} | {ours / row['speed']:.2f} | {row['memory']:.1f} | {row['recall']:.1f}"
        print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    run_command(main)
