"""Measure the peak memory of loading a corpus, of retrieve.py as the corpus grows, and of inference.py as questions and
passages do.

    python -m benchmarks.memory --corpus ../kowiki.jsonl.gz --questions ../korquad/dev.json --model saved/quickstart

Passages are made of the corpus's sentences, drawn at random, as many to a passage as passages of the corpus have. Every
command runs in a process of its own, and its figure is the most that this had in memory at once, libraries included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

_LOAD = "import sys; from loading.corpus import load_corpus; load_corpus(sys.argv[1])"


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the peak memory of commands.", allow_abbrev=False)
    parser.add_argument(
        "--corpus", required=True, help="passages whose sentences are drawn, as --context_path takes it"
    )
    parser.add_argument("--questions", required=True, help="data set, as --dataset_path takes it")
    parser.add_argument("--model", help="reader; without one inference.py is left out")
    parser.add_argument("--sizes", nargs="+", type=int, default=[60_000, 1_000_000], help="passages")
    parser.add_argument("--limits", nargs="+", type=int, default=[50, 400], help="questions that inference.py answers")
    parser.add_argument("--ks", nargs="+", type=int, default=[10, 100], help="passages it reads for each")
    parser.add_argument("--analyzer", default="bigram", help="terms of BM25+")
    return parser.parse_args(argv)


def write_corpora(source: str, paths: dict[int, Path]) -> None:
    """Write corpora of so many passages, each of sentences of ``source``, as JSON lines."""
    import re

    import numpy as np

    from loading.corpus import load_corpus

    sentences = [re.split(r"(?<=[.!?])\s+", text) for text in load_corpus(source).texts]
    lengths, every = [len(text) for text in sentences], [sentence for text in sentences for sentence in text]
    for size, path in paths.items():
        rng = np.random.default_rng(0)
        with path.open("w", encoding="utf-8") as file:
            for number, length in enumerate(rng.choice(lengths, size)):
                text = " ".join(every[row] for row in rng.integers(len(every), size=length))
                file.write(json.dumps({"id": number, "title": "", "text": text}, ensure_ascii=False) + "\n")


def peak(*command: str | Path | int) -> str:
    """Return how many GiB ``command``, the words after ``python``, had in memory at most."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([sys.executable, *map(str, command)], stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(output.read().decode(errors="replace"))
    unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, KiB on Linux
    return f"{usage.ru_maxrss * unit / 2**30:.2f}"


def print_table(title: str, columns: Sequence[int], rows: dict[str, list[str]]) -> None:
    print(f"\n| {title} | {' | '.join(f'{column:,}' for column in columns)} |\n|---|{'---:|' * len(columns)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        corpora = {size: folder / f"{size}.jsonl" for size in sorted(set(arguments.sizes))}
        # a process starts with the peak of the one that started it, so this one stays small
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(write_corpora, arguments.corpus, corpora).result()

        found: dict[str, list[str]] = {"its file": [f"{path.stat().st_size / 2**30:.2f}" for path in corpora.values()]}
        for size, corpus in corpora.items():
            common = ["--dataset_path", arguments.questions, "--context_path", corpus, "--index_dir", folder / "index"]
            common += ["--analyzer", arguments.analyzer, "--output_dir", folder / "out"]
            retrieve = ["retrieve.py", *common, "--top_k", 100, "--write", "csv"]
            for name, command in {
                "load the corpus": ["-c", _LOAD, corpus],
                "retrieve.py, index built": retrieve,
                "retrieve.py, index there": retrieve,
            }.items():
                found.setdefault(name, []).append(peak(*command))
                print(f"{size:,} passages: {name}: {found[name][-1]} GiB", flush=True)
        print_table("GiB, passages", list(corpora), found)

        if arguments.model:
            corpus = next(iter(corpora.values()))
            common = [*common, "--context_path", corpus, "--model", arguments.model, "--do_eval"]
            answered = {
                f"{limit:,} questions": [
                    peak("inference.py", *common, "--max_eval_samples", limit, "--top_k_retrieval", k)
                    for k in arguments.ks
                ]
                for limit in arguments.limits
            }
            print_table("GiB, inference.py, passages a question", arguments.ks, answered)


if __name__ == "__main__":
    from runtime.errors import run_command  # not above: what is started begins with the peak of its parent

    run_command(main)
