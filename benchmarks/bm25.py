"""Time BM25+ against bm25s and rank_bm25, and the analysers, on corpora of growing size.

    python -m benchmarks.bm25 --corpus ../kowiki.jsonl.gz --questions ../korquad/dev.json --sizes 1000 10000 100000

Passages are made of the corpus's sentences, drawn at random, as many to a passage as passages of the corpus have. Their
terms are found once, so that every engine indexes and searches the same ones. Seconds of one thread; what is compared
is timed side by side, and ours is checked to give the scores of the others. rank_bm25 reads all passages for every
question: it is asked few questions, and left out above --rank_bm25_up_to. bm25s' numba backend is timed where numba is
installed, after it has compiled.
"""

from __future__ import annotations

import argparse
import gc
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import bm25s
import numpy as np
from rank_bm25 import BM25Plus

from benchmarks.timing import exponent, machine, timed
from loading.corpus import Corpus, load_corpus
from loading.examples import load_examples
from retrieval.analyzers import ANALYZERS, BigramAnalyzer, create_analyzer
from retrieval.bm25 import SparseRetrieval_BM25P
from runtime.errors import run_command

_WEIGHTS: dict[str, Any] = {"k1": 1.5, "b": 0.75, "delta": 1.0}

Terms = list[list[str]]  # of every text


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time BM25+ and the analysers.", allow_abbrev=False)
    parser.add_argument(
        "--corpus", required=True, help="passages whose sentences are drawn, as --context_path takes it"
    )
    parser.add_argument("--questions", required=True, help="data set, as --dataset_path takes it")
    parser.add_argument("--limit", type=int, default=200, help="questions to search for")
    parser.add_argument("--k", type=int, default=10, help="passages to find")
    parser.add_argument("--sizes", nargs="*", type=int, default=[1000, 10_000, 100_000, 1_000_000], help="passages")
    parser.add_argument("--rank_bm25_up_to", type=int, default=10_000, help="largest corpus of rank_bm25")
    parser.add_argument("--analyzers", nargs="*", default=["kiwi", "bigram", "whitespace"], choices=list(ANALYZERS))
    parser.add_argument("--analyzer_model", help="tokenizer of the analyser wordpiece")
    parser.add_argument("--analyzed", type=int, default=2000, help="passages that every analyser is timed on")
    parser.add_argument("--repeats", type=int, default=3, help="searches timed; the best counts")
    return parser.parse_args(argv)


def sentence_terms(corpus: Corpus) -> tuple[Terms, np.ndarray]:
    """Return the character bigrams of every sentence, equal ones being one object, and the sentences per passage."""
    sentences = [re.split(r"(?<=[.!?])\s+", text) for text in corpus.texts]
    known: dict[str, str] = {}
    terms = BigramAnalyzer().analyze([sentence for of_passage in sentences for sentence in of_passage])
    shared = [[known.setdefault(term, term) for term in of_sentence] for of_sentence in terms]
    return shared, np.array([len(of_passage) for of_passage in sentences])


def recombined(sentences: Terms, lengths: np.ndarray, size: int) -> Terms:
    """Return the terms of ``size`` passages of sentences drawn at random."""
    rng = np.random.default_rng(0)
    return [
        [term for row in rng.integers(len(sentences), size=length) for term in sentences[row]]
        for length in rng.choice(lengths, size)
    ]


class Prepared:
    """An analyser whose terms are known: texts are keys."""

    description = {"name": "prepared"}  # noqa: RUF012

    def __init__(self, terms: dict[str, list[str]]) -> None:
        self.terms = terms

    def analyze(self, texts: Sequence[str]) -> Terms:
        return [self.terms[text] for text in texts]


class Engine:
    """An index, the seconds its build took, and a search that gives scores (n, k)."""

    def __init__(
        self, name: str, build: Callable[[], Any], search: Callable[[Any, Terms], np.ndarray], questions: Terms
    ) -> None:
        self.name, self.search, self.questions = name, search, questions
        self.build_seconds, self.index = timed(build)
        search(self.index, questions[:2])  # what has to be compiled is

    def milliseconds(self) -> tuple[float, np.ndarray]:
        """Return the milliseconds per question, and the scores."""
        seconds, scores = timed(lambda: self.search(self.index, self.questions))
        return 1000 * seconds / len(self.questions), scores


def engines(passages: Terms, questions: Terms, k: int, with_rank_bm25: bool) -> Iterator[Engine]:
    """Yield the engines that index ``passages``, ours first."""

    def ours() -> SparseRetrieval_BM25P:
        names = [str(row) for row in range(len(passages))]
        known = dict(zip(names, passages, strict=True)) | {f"q{row}": terms for row, terms in enumerate(questions)}
        retriever = SparseRetrieval_BM25P(Prepared(known), **_WEIGHTS)
        retriever.build(Corpus(names, [""] * len(names), names))
        return retriever

    def search_ours(index: SparseRetrieval_BM25P, questions: Terms) -> np.ndarray:
        return index.search([f"q{row}" for row in range(len(questions))], k).scores

    yield Engine("ours", ours, search_ours, questions)

    def search_bm25s(index: bm25s.BM25, questions: Terms) -> np.ndarray:
        return index.retrieve(questions, k=k, show_progress=False).scores

    for backend in ("numpy", "numba") if find_spec("numba") else ("numpy",):

        def peer(backend: str = backend) -> bm25s.BM25:
            index = bm25s.BM25(**_WEIGHTS, method="bm25+", backend=backend)
            index.index(passages, show_progress=False)
            return index

        yield Engine(f"bm25s, {backend}", peer, search_bm25s, questions)

    if with_rank_bm25:

        def search_rank_bm25(index: BM25Plus, questions: Terms) -> np.ndarray:
            known = ([term for term in terms if term in index.idf] for terms in questions)
            return np.stack([np.sort(index.get_scores(terms))[::-1][:k] for terms in known])

        yield Engine("rank_bm25", lambda: BM25Plus(passages, **_WEIGHTS), search_rank_bm25, questions[:10])


def compare(passages: Terms, questions: Terms, arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return the seconds of the build and the milliseconds per question of every engine.

    One index at a time besides ours is in memory; ours is timed again beside each, and the ratio is that of the pair.
    """
    others = engines(passages, questions, arguments.k, len(passages) <= arguments.rank_bm25_up_to)
    ours, figures = next(others), {}
    best = np.inf
    for other in others:
        pairs = [(ours.milliseconds(), other.milliseconds()) for _ in range(arguments.repeats)]
        (_, expected), (_, scores) = pairs[0]
        np.testing.assert_allclose(expected[: len(scores)], scores, rtol=1e-4)  # bm25s adds up in float32
        mine, theirs = (min(times) for times in zip(*((one[0], two[0]) for one, two in pairs), strict=True))
        best = min(best, mine)
        figures[other.name] = (other.build_seconds, theirs)
        print(f"{len(passages)} passages, beside {other.name}: ours {mine:.2f} ms, {theirs / mine:.2f}x", flush=True)
        del other, pairs
        gc.collect()
    return {"ours": (ours.build_seconds, best), **figures}


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    corpus = load_corpus(arguments.corpus)
    questions = load_examples(arguments.questions, ["validation"])["validation"]["question"][: arguments.limit]
    print(machine())

    if arguments.analyzers:
        texts = corpus.search_texts()[: arguments.analyzed]
        characters = sum(map(len, texts))
        print(f"\n| analyser | characters/s, {characters} characters |\n|---|---:|")
    for name in arguments.analyzers:
        analyzer = create_analyzer(name, arguments.analyzer_model)
        analyzer.analyze(texts[:1])  # dictionaries are loaded
        seconds, _ = timed(lambda: analyzer.analyze(texts))  # noqa: B023
        print(f"| {name} | {characters / seconds:,.0f} |", flush=True)

    print()
    sentences, lengths = sentence_terms(corpus)
    asked = BigramAnalyzer().analyze(questions)
    found = {
        size: compare(recombined(sentences, lengths, size), asked, arguments) for size in sorted(set(arguments.sizes))
    }
    names = list(dict.fromkeys(name for figures in found.values() for name in figures))
    for column, title in enumerate(("build, seconds", "search, milliseconds per question")):
        print(f"\n| {title} | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
        for size, figures in found.items():
            cells = [f"{figures[name][column]:.2f}" if name in figures else "–" for name in names]
            print(f"| {size:,} | {' | '.join(cells)} |")
        cells = []
        for name in names:
            sizes = [size for size in found if name in found[size]]
            cells.append(f"{exponent(sizes, [found[size][name][column] for size in sizes]):.2f}")
        print(f"| exponent of the size | {' | '.join(cells)} |")
    print(f"\n{machine()}")


if __name__ == "__main__":
    run_command(main)
