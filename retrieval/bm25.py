"""BM25+: sparse retrieval by weighted term overlap (Lv & Zhai 2011, Lower-Bounding Term Frequency Normalization)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from loading.corpus import Corpus
from retrieval.analysis import Terms, analyze_corpus
from retrieval.analyzers import Analyzer, AnalyzerArguments, analyzer_of
from retrieval.base import (
    Explanation,
    IndexArguments,
    Part,
    SearchResults,
    check_manifest,
    import_optional,
    largest_first,
    new_index_folder,
    search_in_blocks,
)
from runtime.files import read_json, write_json
from runtime.flags import flag, flag_group
from runtime.progress import progress_bar
from runtime.text import FOLD_VERSION

_CACHED_SUMS = 2**17  # passages whose sums (1 MiB) stay in a processor's cache while they are added up


@flag_group("terms")
class BM25Weights:
    """What weighs terms."""

    bm25_k1: float = flag(0.9, "BM25+ term frequency saturation, above 0.", above=0)
    bm25_b: float = flag(0.75, "BM25+ length normalisation, 0 to 1.", at_least=0, at_most=1)


@flag_group("terms")
class BM25Delta(BM25Weights):
    """What weighs terms in BM25+."""

    bm25_delta: float = flag(1.0, "BM25+ lower bound of a matching term, 0 or more.", at_least=0)


@flag_group("terms")
class BM25Arguments(IndexArguments, AnalyzerArguments, BM25Delta):
    """The flags of BM25+."""

    bm25_backend: str = flag(
        "bm25s",
        "Engine of BM25+; both give the same scores, bm25s is two orders of magnitude faster.",
        choices=["bm25s", "rank_bm25"],
    )


class SparseRetrieval_BM25P:
    """BM25+ over the terms of an analyser.

    score(question, passage) = sum over the question's terms t, repetitions included, of
    ln((N + 1) / df_t) * (delta + (k1 + 1) * tf / (k1 * (1 - b + b * length / mean length) + tf)),
    where terms that no passage holds add nothing.
    """

    name = "SparseRetrieval_BM25P"
    flags: type = BM25Arguments
    build_seconds: float

    def __init__(
        self,
        analyzer: Analyzer,
        k1: float = 0.9,
        b: float = 0.75,
        delta: float = 1.0,
        backend: str = "bm25s",
        index_dir: str | Path | None = None,
    ) -> None:
        self.analyzer = analyzer
        self.index_dir = index_dir
        self.k1, self.b, self.delta = k1, b, delta
        self.backend = backend
        self.libraries: Sequence[str] = [backend]

    @classmethod
    def from_arguments(cls, arguments: BM25Arguments, default_tokenizer: str | None) -> SparseRetrieval_BM25P:
        weights = (arguments.bm25_k1, arguments.bm25_b, arguments.bm25_delta)
        return cls(analyzer_of(arguments, default_tokenizer), *weights, arguments.bm25_backend, arguments.index_dir)

    def parameters(self) -> dict[str, Any]:
        terms = {"analyzer": self.analyzer.description, "fold": FOLD_VERSION}
        return {**terms, "backend": self.backend, "k1": self.k1, "b": self.b, "delta": self.delta}

    def build(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.engine = self._new_engine()
        self.engine.build(analyze_corpus(self.analyzer, corpus, self.index_dir))

    def search(self, questions: Sequence[str], k: int) -> SearchResults:
        return search_in_blocks(self.engine.scores, self.analyzer.analyze(questions), len(self.corpus), k)

    def explain(self, question: str, rows: Sequence[int], k: int) -> Explanation:
        """Return the terms, each with what it adds: delta * idf to every passage, and more where it occurs."""
        (terms,) = self.analyzer.analyze([question])
        texts = [text for row in rows for text in self.corpus.search_texts(slice(row, row + 1))]
        held = [Counter(terms) for terms in self.analyzer.analyze(texts)]
        parts: list[list[Part]] = [[] for _ in rows]
        for term, asked in Counter(terms).items():
            gains = asked * self.engine.scores([[term]])[0]  # (N,)
            known = gains.any()
            for of_passage, row, counts in zip(parts, rows, held, strict=True):
                detail = f"{counts[term]}×" if counts[term] else "not in it" if known else "in no passage"
                of_passage.append(Part(term, float(gains[row]), detail))
        return Explanation({self.analyzer.description["name"]: terms}, list(map(largest_first, parts)))

    def save(self, folder: str | Path) -> None:
        with new_index_folder(folder, self, self.corpus) as staging:
            self.engine.save(staging)

    def load(self, folder: str | Path, corpus: Corpus) -> None:
        check_manifest(folder, self, corpus)
        self.corpus = corpus
        self.engine = self._new_engine()
        self.engine.load(Path(folder))

    def _new_engine(self) -> _Engine:
        return ENGINES[self.backend](self.k1, self.b, self.delta)


class _Engine(Protocol):
    """Scores all N passages for the terms of questions."""

    def build(self, passages: Terms) -> None: ...

    def scores(self, questions: Sequence[list[str]]) -> np.ndarray:
        """Return (n, N), added up in float64."""

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...


class _BM25S:
    """Every term's scores computed once, then added up by sparse columns; float64, as rank_bm25 computes.

    A column holds what a term adds where it occurs, beyond what BM25+ gives it in every passage.
    """

    def __init__(self, k1: float, b: float, delta: float) -> None:
        self.library = import_optional("bm25s", "bm25s")
        self.engine = self.library.BM25(k1=k1, b=b, delta=delta, method="bm25+", dtype="float64")

    def build(self, passages: Terms) -> None:
        from scipy.sparse import csr_matrix

        vocabulary, lengths = passages.vocabulary, np.diff(passages.offsets)  # (N,)
        ones = np.ones(len(passages.ids), np.int32)  # (terms of all passages,)
        counts = csr_matrix((ones, passages.ids, passages.offsets), (len(passages), len(vocabulary)))  # (N, V)
        counts = counts.tocsc()
        counts.sum_duplicates()
        held_by = np.diff(counts.indptr)  # (V,), passages per term
        idf = np.log((len(passages) + 1) / held_by)  # (V,)
        engine = self.engine
        saturation = engine.k1 * (1 - engine.b + engine.b * lengths / (lengths.mean() or 1))  # (N,)
        values = saturation[counts.indices]  # (terms of all passages, each once,); from here on in place
        values += counts.data
        np.divide((engine.k1 + 1) * counts.data, values, out=values)
        values *= np.repeat(idf, held_by)
        # what engine.index() sets, in less than half its time and memory
        engine.scores = {"data": values, "indices": counts.indices, "indptr": counts.indptr, "num_docs": len(passages)}
        engine.nonoccurrence_array = engine.delta * idf
        engine.vocab_dict = {term: number for number, term in enumerate(vocabulary)}

    def scores(self, questions: Sequence[list[str]]) -> np.ndarray:
        rows, values, starts = (self.engine.scores[name] for name in ("indices", "data", "indptr"))
        size = self.engine.scores["num_docs"]
        sums = np.empty(size)  # (N,), one for all questions: new memory costs more than sums
        scores = np.empty((len(questions), size), np.float32)
        borders = np.array([*range(0, size, _CACHED_SUMS), size], rows.dtype)  # (blocks + 1,)
        for question, of_question in zip(questions, scores, strict=True):
            ids = np.array(self.engine.get_tokens_ids(question), np.int64)  # (terms,)
            everywhere = self.engine.nonoccurrence_array[ids].sum()
            columns = zip(starts[ids], starts[ids + 1], strict=True)
            cuts = [start + np.searchsorted(rows[start:end], borders) for start, end in columns]  # each (blocks + 1,)
            for number, block in enumerate(pairwise(borders.tolist())):
                sums[slice(*block)] = 0
                for cut in cuts:
                    of_block = slice(cut[number], cut[number + 1])
                    np.add.at(sums, rows[of_block], values[of_block])
                np.add(sums[slice(*block)], everywhere, out=of_question[slice(*block)])
        return scores

    def save(self, folder: Path) -> None:
        self.engine.save(folder, show_progress=False)

    def load(self, folder: Path) -> None:
        self.engine = self.library.BM25.load(folder, show_progress=False)


class _RankBM25:
    """The reference: scores recomputed from the passages' terms for every question."""

    def __init__(self, k1: float, b: float, delta: float) -> None:
        self.library = import_optional("rank_bm25", "rank_bm25")
        self.parameters = {"k1": k1, "b": b, "delta": delta}

    def build(self, passages: Terms | list[list[str]]) -> None:
        self.passages = passages = list(passages)
        self.engine = self.library.BM25Plus(progress_bar(passages, "BM25+", unit="passage", delay=1), **self.parameters)
        # A passage without terms divides 0 by 0 when b is 1; no frequency of it depends on its length.
        self.engine.doc_len = [max(length, 1) for length in self.engine.doc_len]

    def scores(self, questions: Sequence[list[str]]) -> np.ndarray:
        known = ([term for term in terms if term in self.engine.idf] for terms in questions)
        return np.stack([self.engine.get_scores(terms) for terms in known])

    def save(self, folder: Path) -> None:
        write_json(folder / "terms.json", self.passages)

    def load(self, folder: Path) -> None:
        self.build(read_json(folder / "terms.json"))


ENGINES: dict[str, Callable[[float, float, float], _Engine]] = {"bm25s": _BM25S, "rank_bm25": _RankBM25}
