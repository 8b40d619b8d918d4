"""Read the passages of many questions as inference.py does, and question by question, and compare speed and answers.

    python -m benchmarks.read --reader saved/quickstart --dataset ../korquad/dev.json --corpus ../korquad/wiki.json

Question by question is what one writes first: the tokenizer gets a question with each of its passages, every window is
padded to the longest length, and one question's windows are one batch; once in fp32, once in the precision that
inference.py takes. For every k the same passages are read, --passages of them, so of fewer questions the deeper.
Timed are tokens, model and logits; the answers of both are found in these logits in the same way, and compared.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from datasets import Dataset

from arguments import InferenceArguments
from benchmarks.timing import machine, timed
from pipeline import Reader, processor_of
from reading.decoding import FORBIDDEN
from reading.passages import separate_passages
from reading.predictions import predictions_of
from reading.reader_settings import as_trained
from retrieval.finding import find_passages
from retrieval.table import Retrieved, table_blocks
from runtime.device import autocast
from runtime.errors import run_command

Logits = list[tuple[np.ndarray, np.ndarray]]  # of every question, (windows, tokens) each


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare ways of reading retrieved passages.", allow_abbrev=False)
    parser.add_argument("--reader", required=True, help="trained reader")
    parser.add_argument("--dataset", required=True, help="questions, as --dataset_path takes them")
    parser.add_argument("--corpus", required=True, help="passages, as --context_path takes them")
    parser.add_argument("--ks", nargs="+", type=int, default=[1, 10, 50], help="passages per question")
    parser.add_argument("--passages", type=int, default=200, help="passages to read for every k")
    parser.add_argument("--batch_size", type=int, help="windows per batch of inference.py (default: its own)")
    parser.add_argument("--analyzer", default="bigram", help="of BM25+, which finds the passages")
    parser.add_argument("--index_dir", default="outputs/index", help="folder of its index")
    return parser.parse_args(argv)


class Task(NamedTuple):
    """A reader, and for each question the k passages that it reads."""

    reader: Reader
    of_questions: list[Dataset]
    table: pd.DataFrame

    def read_together(self) -> list[Any]:
        """Return what inference.py finds in the passages, block by block."""
        retrieved = Retrieved(partial(table_blocks, self.table), int(self.table["rank"].max()))
        return list(self.reader.retrieved_readings(retrieved, "separate"))

    @torch.no_grad()
    def read_one_by_one(self, precision: str) -> Logits:
        """Return the logits of every question's windows, each question read by itself."""
        model, qa_processor = self.reader.model, self.reader.qa_processor
        settings, tokenizer = qa_processor.dataset_args, qa_processor.tokenizer
        found = []
        for examples in self.of_questions:
            encoded = tokenizer(
                list(examples["question"]), list(examples["context"]), truncation="only_second", padding="max_length",
                max_length=settings.max_seq_len, stride=settings.stride_len, return_overflowing_tokens=True,
                return_offsets_mapping=True, return_tensors="pt",
            )  # fmt: skip
            inputs = {name: encoded[name].to(model.device) for name in self.reader.collator.inputs.names}
            with autocast(precision, model.device):
                outputs = model(**inputs)
            logits = (outputs.start_logits, outputs.end_logits)
            found.append(tuple(values.float().cpu().numpy() for values in logits))
        return found

    def answers_in(self, logits: Logits) -> dict[str, str]:
        """Return the best answer of every question, found as inference.py does."""
        answers: dict[str, str] = {}
        for examples, values in zip(self.of_questions, logits, strict=True):
            features = self.reader.qa_processor.make_features(examples, cached=False)
            longest = max(features["length"])
            padding = np.arange(longest) >= np.array(features["length"])[:, None]  # (windows, tokens)
            start, end = (np.where(padding, FORBIDDEN, rows[:, :longest]) for rows in values)  # (windows, tokens) each
            readings = self.reader.qa_processor.find_readings(examples, features, (start, end))
            answers |= predictions_of(self.reader.weigh(readings))
        return answers


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    ks = sorted(set(arguments.ks))
    flags: dict[str, Any] = {"analyzer": arguments.analyzer, "index_dir": arguments.index_dir}
    if arguments.batch_size is not None:
        flags["per_device_eval_batch_size"] = arguments.batch_size
    args = as_trained(
        InferenceArguments(
            do_eval=True, model=arguments.reader, dataset_path=arguments.dataset, context_path=arguments.corpus,
            max_eval_samples=max(1, arguments.passages // ks[0]), top_k_retrieval=ks[-1],
            **flags,
        )
    )  # fmt: skip
    qa_processor = processor_of(args)
    reader = Reader.from_arguments(args, qa_processor)
    retrieved = find_passages(qa_processor.get_eval_examples(), args, args.dataset_path, False, args.model)
    assert retrieved is not None  # a retriever is named
    table = pd.concat(retrieved.blocks(), ignore_index=True)
    precision = reader.precision
    print(f"{machine()}; {torch.get_num_threads()} threads, {args.per_device_eval_batch_size} windows per batch\n")
    print(
        f"| k | questions | windows/s, one by one, fp32 | one by one, {precision} | ours, {precision} "
        f"| questions/s | against fp32 | against {precision} | same answers |\n|---|{'---:|' * 8}"
    )
    for k in ks:
        ids = table["id"].unique()[: max(1, arguments.passages // k)]
        part = table[table["id"].isin(ids) & (table["rank"] <= k)]
        task = Task(reader, [separate_passages(rows) for _, rows in part.groupby("id", sort=False)], part)
        task._replace(of_questions=task.of_questions[:1]).read_one_by_one("fp32")  # takes memory, chooses kernels
        plain, _ = timed(partial(task.read_one_by_one, "fp32"))
        usual, logits = timed(partial(task.read_one_by_one, precision))
        ours, blocks = timed(task.read_together)
        answers = {name: text for block in blocks for name, text in predictions_of(reader.weigh(block)).items()}
        expected = task.answers_in(logits)
        windows = sum(len(start) for start, _ in logits)
        same = sum(answers[name] == text for name, text in expected.items())
        speeds = " | ".join(f"{windows / seconds:.2f}" for seconds in (plain, usual, ours))
        ratios = " | ".join(f"{seconds / ours:.1f}×" for seconds in (plain, usual))
        print(f"| {k} | {len(ids)} | {speeds} | {len(ids) / ours:.3g} | {ratios} | {same} |", flush=True)


if __name__ == "__main__":
    run_command(main)
