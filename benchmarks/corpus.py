"""Write a corpus to measure retrieval on: the contexts of a data set among passages from elsewhere.

    python -m benchmarks.corpus --contexts ../korquad/dev.json --passages ../kowiki.jsonl.gz --out outputs/corpus.jsonl

Every distinct context of the data set's --split comes first, titled as in the data; then the passages.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import numpy as np

from loading.corpus import load_corpus
from loading.examples import load_examples
from runtime.errors import run_command
from runtime.files import write_text


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write a corpus to measure retrieval on.", allow_abbrev=False)
    parser.add_argument("--contexts", required=True, help="data set, as --dataset_path takes it")
    parser.add_argument("--split", default="validation", choices=["train", "validation"], help="whose contexts")
    parser.add_argument("--passages", required=True, help="corpus, as --context_path takes it")
    parser.add_argument("--limit", type=int, help="take so many passages only, the first ones")
    parser.add_argument(
        "--same_lengths",
        action="store_true",
        help="take passages as long as the contexts, so that length tells nothing",
    )
    parser.add_argument("--out", required=True, help="JSON lines to write")
    return parser.parse_args(argv)


def alike(others: list[tuple[str, str, str]], contexts: list[str]) -> list[tuple[str, str, str]]:
    """Return the first of ``others``, in order, as many in every tenth of the contexts' lengths."""
    edges = np.quantile([len(text) for text in contexts], np.linspace(0, 1, 11))  # (11,)
    lengths = np.array([len(row[2]) for row in others])  # (others,)
    tenths = np.where((edges[0] <= lengths) & (lengths <= edges[-1]), np.searchsorted(edges[1:-1], lengths), -1)
    members = [np.flatnonzero(tenths == tenth) for tenth in range(10)]
    most = min(map(len, members))
    return [others[row] for row in np.sort(np.concatenate([of_tenth[:most] for of_tenth in members]))]


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    examples = load_examples(arguments.contexts, [arguments.split])[arguments.split]
    titles = dict(zip(examples["context"], examples["title"], strict=True))
    rows = [(f"{arguments.split}-{row}", title, text) for row, (text, title) in enumerate(titles.items())]
    corpus = load_corpus(arguments.passages)
    others = list(zip(corpus.document_ids, corpus.titles, corpus.texts, strict=True))[: arguments.limit]
    others = [row for row in others if row[2] not in titles]
    rows += alike(others, list(titles)) if arguments.same_lengths else others
    lines = [json.dumps(dict(zip(("id", "title", "text"), row, strict=True)), ensure_ascii=False) for row in rows]
    write_text(arguments.out, "\n".join([*lines, ""]))
    print(f"{arguments.out}: {len(titles)} contexts and {len(rows) - len(titles)} other passages")


if __name__ == "__main__":
    run_command(main)
