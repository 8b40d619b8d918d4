"""Compare --backend openvino with torch on a CPU: size, speed, and what int8 costs a reader, an encoder, a reranker.

    python -m benchmarks.int8 --data ../korquad --corpus outputs/corpus.jsonl --reader saved/quickstart/best

The questions are those of validation. The reader reads the passage of each; the encoder searches --corpus, which holds
these passages (benchmarks.corpus writes one); the reranker orders what BM25+ finds there. All ways take turns, block by
block. Quality is exact match or recall, its difference that from torch in fp32, with the 95 % interval of the paired
bootstrap: an interval without zero is more than chance.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from benchmarks.timing import machine, timed
from loading.corpus import Corpus, load_corpus
from loading.examples import load_examples
from models.cross_encoder import CrossEncoder, Pair, load_cross_encoder
from models.encoder import INT8_FOLDER
from pipeline import Reader
from reading.logits import read_features
from reading.metrics import references_of, score_examples
from reading.passages import gold_passages
from reading.predictions import predictions_of
from retrieval.bm25 import BM25Arguments, SparseRetrieval_BM25P
from retrieval.dense import DenseArguments, DenseRetrieval
from retrieval.metrics import GoldPassages, first_ranks, recall_at
from retrieval.vector_search import search_vectors
from runtime.device import keep_freed_memory
from runtime.errors import run_command
from runtime.statistics import paired_bootstrap_interval, percent

_WAYS = {"torch, fp32": ("torch", "fp32"), "torch, bf16": ("torch", "bf16"), "openvino, int8": ("openvino", "auto")}

Measured = tuple[dict[str, float], dict[str, list[Any]]]


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare int8 with torch.", allow_abbrev=False)
    parser.add_argument("--data", required=True, help="data set, as --dataset_path takes it")
    parser.add_argument("--corpus", help="what is searched, as --context_path takes it; for encoder and reranker")
    parser.add_argument("--reader", help="folder of a trained reader")
    parser.add_argument("--encoder", help="folder of one encoder for both sides")
    parser.add_argument("--reranker", help="folder of a trained reranker")
    parser.add_argument("--questions", type=int, default=1000, help="so many, drawn at random")
    parser.add_argument("--passages", type=int, default=2000, help="only the first so many of the corpus")
    parser.add_argument("--k", type=int, default=10, help="of the encoder's recall, and passages to re-order")
    parser.add_argument("--block", type=int, default=100, help="questions or passages between two turns")
    arguments = parser.parse_args(argv)
    if (arguments.encoder or arguments.reranker) and not arguments.corpus:
        parser.error("--encoder and --reranker need --corpus, which is searched")
    return arguments


def taking_turns(ways: Mapping[str, Callable[[Any], Any]], blocks: Sequence[Any]) -> Measured:
    """Return the seconds of every way, and what it made of each block."""
    seconds = dict.fromkeys(ways, 0.0)
    made: dict[str, list[Any]] = {name: [] for name in ways}
    for block in blocks:
        for name, way in ways.items():
            took, result = timed(partial(way, block))
            seconds[name] += took
            made[name].append(result)
    return seconds, made


def rows(what: str, folder: str, unit: str, size: int, seconds: Mapping[str, float], values: Mapping[str, Any]) -> str:
    """Return the rows of a table; ``values`` (questions,) from 0 to 1 are what the quality is the mean of."""
    first, *_ = values.values()
    slowest, lines = seconds["torch, fp32"], []
    for name, took in seconds.items():
        files = Path(folder).glob(f"{INT8_FOLDER}/encoder.*" if "openvino" in name else "*.safetensors")
        quality, difference = f"{percent(values[name]):.1f}", "–"
        if values[name] is not first:
            low, high = paired_bootstrap_interval(100 * values[name], 100 * first, 1000, 0)
            difference = f"{percent(values[name]) - percent(first):+.1f} ({low:+.1f} to {high:+.1f})"
        megabytes = sum(file.stat().st_size for file in files) / 1e6
        speed = f"{size / took:.1f} {unit}/s | {slowest / took:.2f}"
        lines.append(f"| {what} | {name} | {megabytes:.1f} | {speed} | {quality} | {difference} |")
    return "\n".join(lines)


def blocks_of(size: int, length: int) -> list[range]:
    return [range(start, min(start + length, size)) for start in range(0, size, length)]


def compare_readers(folder: str, examples: Dataset, block: int) -> str:
    readers = {name: Reader.load(folder, backend=backend, precision=p) for name, (backend, p) in _WAYS.items()}
    processor = readers["torch, fp32"].qa_processor
    parts = [gold_passages(examples.select(part)) for part in blocks_of(len(examples), block)]
    features = [processor.make_features(part, cached=False) for part in parts]

    def way(reader: Reader) -> Callable[[Dataset], Any]:
        return lambda part: read_features(reader.model, part, reader.collator, reader.batch_size, reader.precision)

    seconds, made = taking_turns({name: way(reader) for name, reader in readers.items()}, features)
    references, values = references_of(examples), {}
    for name, logits in made.items():
        answers: dict[str, str] = {}
        for part, rows_of_part, read in zip(parts, features, logits, strict=True):
            found = processor.find_readings(part, rows_of_part, read.predictions)
            answers |= predictions_of(readers[name].weigh(found, 0.0))
        values[name] = score_examples(answers, references, "korquad").exact_match
    return rows("reader, exact match", folder, "windows", sum(map(len, features)), seconds, values)


def compare_encoders(folder: str, examples: Dataset, corpus: Corpus, k: int, block: int) -> str:
    retrievers = {}
    for name, (backend, precision) in _WAYS.items():
        flags: dict[str, Any] = {"retriever_dir": folder, "backend": backend}
        retrievers[name] = DenseRetrieval(DenseArguments(**flags))
        if precision != "auto":
            retrievers[name].precision = precision
        retrievers[name].encode_questions(["무엇인가?"])  # loads it
    parts = [corpus.part(slice(part.start, part.stop)) for part in blocks_of(len(corpus), block)]
    ways = {name: retriever.encode_passages for name, retriever in retrievers.items()}
    seconds, made = taking_turns(ways, parts)
    gold, values = GoldPassages(examples, corpus), {}
    for name, vectors in made.items():
        asked = retrievers[name].encode_questions(examples["question"])
        found = search_vectors(asked, vectors, k, torch.device("cpu")).ids
        values[name] = recall_at(k, first_ranks(gold.among(found)))
    return rows(f"encoder, recall@{k}", folder, "passages", len(corpus), seconds, values)


def compare_rerankers(folder: str, examples: Dataset, corpus: Corpus, k: int, block: int) -> str:
    encoders = {name: (load_cross_encoder(folder, backend), p) for name, (backend, p) in _WAYS.items()}
    retriever = SparseRetrieval_BM25P.from_arguments(BM25Arguments(analyzer="bigram"), None)
    retriever.build(corpus)
    found = retriever.search(examples["question"], k).ids
    pairs = [
        [Pair(question, corpus.titles[row], corpus.texts[row]) for row in ids]
        for question, ids in zip(examples["question"], found.tolist(), strict=True)
    ]

    def way(encoder: CrossEncoder, precision: str) -> Callable[[range], np.ndarray]:
        return lambda part: encoder.score([pair for row in part for pair in pairs[row]], precision=precision)

    ways = {name: way(*encoder) for name, encoder in encoders.items()}
    seconds, made = taking_turns(ways, blocks_of(len(pairs), max(1, block // k)))
    gold, values = GoldPassages(examples, corpus), {}
    for name, scores in made.items():
        order = np.argsort(-np.concatenate(scores).reshape(found.shape), axis=1, kind="stable")  # (n, k)
        values[name] = recall_at(1, first_ranks(gold.among(np.take_along_axis(found, order, axis=1))))
    return rows("reranker, recall@1", folder, "pairs", found.size, seconds, values)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    keep_freed_memory()
    examples = load_examples(arguments.data, ["validation"])["validation"]
    drawn = np.random.default_rng(0).permutation(len(examples))[: arguments.questions]
    examples = examples.select(sorted(drawn.tolist()))
    print(f"{machine()}; {torch.get_num_threads()} of torch's threads; {len(examples)} questions\n")
    print("| what, quality | engine | MB | speed | times fp32 | quality | difference (95 %) |")
    print("|---|---|---:|---:|---:|---:|---|")
    if arguments.reader:
        print(compare_readers(arguments.reader, examples, arguments.block), flush=True)
    if arguments.corpus:
        corpus = load_corpus(arguments.corpus).part(slice(arguments.passages))
        for compare, folder in ((compare_encoders, arguments.encoder), (compare_rerankers, arguments.reranker)):
            if folder:
                print(compare(folder, examples, corpus, arguments.k, arguments.block), flush=True)
    print(f"\n{machine()}")


if __name__ == "__main__":
    run_command(main)
