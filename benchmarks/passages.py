"""Read more and more passages of every question, in four ways, and compare the answers.

    python -m benchmarks.passages --reader saved/usual --shared_reader saved/shared --dataset ../data --corpus wiki.json

BM25+ finds the passages once. One reader reads them joined to one text, for each k, and by themselves, without and with
the retriever's scores; the other, trained with --shared_normalization, by themselves, with these scores. What is read
by itself is read once, for the deepest k. The first table gives exact match with 95 % bootstrap intervals over the
questions, the second the differences from the first cell, with those of the paired bootstrap. Answers are kept in
--output_dir, and the same command does not read again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from arguments import InferenceArguments
from pipeline import Reader, processor_of
from reading.comparison import Estimate, Resampling, difference, estimate
from reading.metrics import references_of, score_examples
from reading.predictions import predictions_of
from reading.reader_settings import as_trained
from retrieval.finding import find_passages
from retrieval.table import Retrieved
from runtime.errors import run_command
from runtime.files import read_json, write_json
from runtime.hashing import hash_json
from runtime.log import configure_logging

_RESAMPLING = Resampling(1000, 0)

Texts = dict[str, dict[str, str]]  # of every k, as JSON has it, the answer of every question


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare ways of reading many passages.", allow_abbrev=False)
    parser.add_argument("--reader", required=True, help="reader that was trained with the usual loss")
    parser.add_argument("--shared_reader", help="reader that was trained with --shared_normalization")
    parser.add_argument("--dataset", required=True, help="development data, as --dataset_path takes it")
    parser.add_argument("--corpus", required=True, help="passages, as --context_path takes them")
    parser.add_argument("--questions", type=int, help="only the first so many questions")
    parser.add_argument("--ks", nargs="+", type=int, default=[1, 5, 10, 20, 50], help="passages per question")
    parser.add_argument("--retrieval_weight", type=float, default=2.0, help="of the ways that have one")
    parser.add_argument("--analyzer", default="kiwi_characters", help="of BM25+")
    parser.add_argument("--backend", default="torch", choices=["torch", "openvino"], help="what computes the encoders")
    parser.add_argument("--output_dir", default="outputs/passages", help="folder of answers and index")
    return parser.parse_args(argv)


def reading(arguments: argparse.Namespace, model: str) -> InferenceArguments:
    """Return how ``model`` reads."""
    flags: dict[str, Any] = {
        "model": model,
        "dataset_path": arguments.dataset,
        "context_path": arguments.corpus,
        "max_eval_samples": arguments.questions,
        "top_k_retrieval": max(arguments.ks),
        "analyzer": arguments.analyzer,
        "backend": arguments.backend,
        "index_dir": f"{arguments.output_dir}/index",
    }
    return as_trained(InferenceArguments(do_eval=True, **flags))


def read_joined(reader: Reader, retrieved: Retrieved, ks: Sequence[int]) -> Texts:
    """Return what ``reader`` answers from the ``k`` best passages as one text, for every k."""
    texts = {}
    for k in ks:
        blocks = reader.retrieved_readings(Retrieved(partial(_first, retrieved, k), k), "joined")
        texts[str(k)] = {
            name: text for block in blocks for name, text in predictions_of(reader.weigh(block, 0)).items()
        }
    return texts


def _first(retrieved: Retrieved, k: int) -> Iterator[pd.DataFrame]:
    return (block[block["rank"] <= k] for block in retrieved.blocks())


def read_separately(reader: Reader, retrieved: Retrieved, ks: Sequence[int], weights: Sequence[float]) -> list[Texts]:
    """Return what ``reader`` answers from the ``k`` best passages by themselves, for every weight and k."""
    answered: list[Texts] = [{str(k): {} for k in ks} for _ in weights]
    for block in reader.retrieved_readings(retrieved, "separate"):
        for texts, weight in zip(answered, weights, strict=True):
            for k in ks:
                best = {name: [one for one in found if one.rank <= k] for name, found in block.items()}
                texts[str(k)] |= predictions_of(reader.weigh(best, weight))
    return answered


def table(title: str, ks: Sequence[int], ways: Mapping[str, Sequence[Estimate]]) -> str:
    """Return a Markdown table, a row for each k."""
    lines = [f"| {title} | {' | '.join(ways)} |", f"|---|{'---|' * len(ways)}"]
    for row, k in enumerate(ks):
        cells = [
            f"{mean:.1f} ({low:.1f} to {high:.1f})" for mean, low, high in (values[row] for values in ways.values())
        ]
        lines.append(f"| {k} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    configure_logging()
    ks, weight = sorted(set(arguments.ks)), arguments.retrieval_weight
    args = reading(arguments, arguments.reader)
    examples = processor_of(args).get_eval_examples()
    retrieved = find_passages(examples, args, args.dataset_path, args.skip_bad_rows, args.model)
    assert retrieved is not None  # a retriever is named

    def kept(name: str, read: Callable[[], list[Texts]]) -> list[Texts]:
        file = Path(arguments.output_dir) / f"{name}-{hash_json(vars(arguments))[:8]}.json"
        if not file.exists():
            write_json(file, read())
        return read_json(file)

    def reader_of(settings: InferenceArguments) -> Reader:
        return Reader.from_arguments(settings, processor_of(settings))

    ways: dict[str, Texts] = {}
    (ways["joined"],) = kept("joined", lambda: [read_joined(reader_of(args), retrieved, ks)])
    ways["separate"], ways["+ retrieval weight"] = kept(
        "separate", lambda: read_separately(reader_of(args), retrieved, ks, [0.0, weight])
    )
    if arguments.shared_reader is not None:
        shared = reading(arguments, arguments.shared_reader)
        (ways["+ shared normalization"],) = kept(
            "shared", lambda: read_separately(reader_of(shared), retrieved, ks, [weight])
        )

    references = references_of(examples)
    scores = {way: [score_examples(texts[str(k)], references, "korquad") for k in ks] for way, texts in ways.items()}
    first = scores["joined"][0]
    print(f"{len(references)} questions, exact match (95 % interval)\n")
    print(
        table("k", ks, {way: [estimate(one.exact_match, _RESAMPLING) for one in row] for way, row in scores.items()})
        + f"\n\nDifference from joined, k = {ks[0]}\n"
    )
    print(table("k", ks, {way: [difference(one, first, _RESAMPLING)[0] for one in row] for way, row in scores.items()}))


if __name__ == "__main__":
    run_command(main)
