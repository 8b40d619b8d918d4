"""Compare the forms of an index of token vectors: bytes a passage, what is found, and how long it takes.

    python -m benchmarks.token_vectors --encoder models/retriever --data ../korquad --corpus ../kowiki.jsonl.gz

The passages of the questions are among the first --passages of the corpus, or are added to them. All are encoded once;
poolings and forms are made of these vectors. The bytes that are read through for a question are those of the bits where
there are bits, which are in memory, and of the index elsewhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from itertools import product

import numpy as np
import torch

from benchmarks.timing import machine, timed
from loading.corpus import load_corpus
from loading.questions import load_retrieval_examples
from retrieval.multi_vector import MultiVectorArguments, MultiVectorRetrieval
from retrieval.token_vectors import FORMS
from retrieval.training import with_gold_passages
from runtime.errors import run_command

_KS = (1, 5, 20, 100)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare forms of token vectors.", allow_abbrev=False)
    parser.add_argument("--encoder", required=True, help="what train_dpr.py --interaction multi wrote")
    parser.add_argument(
        "--data", required=True, help="whose validation questions are asked, as --dataset_path takes it"
    )
    parser.add_argument("--corpus", required=True, help="passages, as --context_path takes them")
    parser.add_argument("--passages", type=int, default=20_000, help="so many of them")
    parser.add_argument("--questions", type=int, default=500, help="questions, at equal distances in the data")
    parser.add_argument("--poolings", nargs="+", type=int, default=[1, 2, 3], help="values of --token_pooling")
    return parser.parse_args(argv)


def pooled(vectors: Sequence[np.ndarray], pooling: int) -> list[np.ndarray]:
    """Return fewer vectors (tokens, D) of every passage, as --token_pooling makes them."""
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    if pooling == 1:
        return list(vectors)
    return [one.numpy() for one in HierarchicalTokenPooling(pooling).pool([torch.from_numpy(one) for one in vectors])]


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    examples = load_retrieval_examples(arguments.data, ["validation"])["validation"]
    examples = examples[:: max(1, len(examples) // arguments.questions)][: arguments.questions]
    some = load_corpus(arguments.corpus).part(slice(arguments.passages))
    corpus, golds = with_gold_passages(some, [example.positive for example in examples])
    questions, right = [example.question for example in examples], np.array(golds)[:, None]  # (n, 1)

    first = MultiVectorRetrieval(MultiVectorArguments(retriever_dir=arguments.encoder))
    vectors = first.encode_passages(corpus)
    print(f"{machine()}; {len(questions)} questions, {len(corpus):,} passages\n")
    recalls = " | ".join(f"recall@{k}" for k in _KS)
    print(f"| --token_vectors | --token_pooling | bytes a passage | read through | {recalls} | ms a question |")
    print(f"|---|{'---:|' * (len(_KS) + 4)}")
    for pooling, form in product(arguments.poolings, FORMS):
        retriever = MultiVectorRetrieval(MultiVectorArguments(retriever_dir=arguments.encoder, token_vectors=form))
        retriever.encoder, retriever.corpus = first.encoder, corpus
        retriever.shards = [retriever.packed(pooled(vectors, pooling))]
        read = retriever.bits if form == "binary" else retriever.shards
        kept = retriever.shards + (retriever.bits if form == "binary" else [])
        sizes = [sum(tokens.kept.nbytes for tokens in some) / len(corpus) for some in (kept, read)]
        seconds, results = timed(partial(retriever.search, questions, max(_KS)))
        found = [f"{(results.ids[:, :k] == right).any(axis=1).mean():.1%}" for k in _KS]  # (n, k) against (n, 1)
        figures = [*(f"{size:,.0f}" for size in sizes), *found, f"{1000 * seconds / len(questions):.1f}"]
        print(f"| {form} | {pooling} | {' | '.join(figures)} |", flush=True)
    print(f"\n{machine()}")


if __name__ == "__main__":
    run_command(main)
