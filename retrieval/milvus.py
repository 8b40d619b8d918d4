"""Retrieval by a Milvus server, for corpora that outgrow one machine; embedded in this process by default.

A collection is named by the SHA-256 of what it was built from, and gets that name only when every passage is in it:
what a killed run had inserted keeps another name and is never searched, from whatever machine.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np

from loading.corpus import Corpus
from retrieval.analysis import Terms, analyze_corpus
from retrieval.analyzers import Analyzer, AnalyzerArguments, analyzer_of
from retrieval.base import (
    FORMAT_VERSION,
    IndexArguments,
    SearchResults,
    UnusableIndex,
    check_manifest,
    new_index_folder,
    refuse_credentials,
)
from retrieval.bm25 import BM25Delta, BM25Weights
from retrieval.dense import DenseRetrieval, EncodingArguments
from retrieval.hybrid import RRF_K, FusionDepthArguments
from retrieval.milvus_server import MilvusServer
from runtime.errors import UserError
from runtime.files import read_json, write_json
from runtime.flags import changed, flag, flag_group, only_if, read_only_if
from runtime.progress import progress_bar
from runtime.text import FOLD_VERSION

MOST_RESULTS = 16384  # of one question, by Milvus
_INSERTED, _SEARCHED = 1000, 128  # rows in one message; servers take 64 MiB
_BEYOND = 100  # results asked for beyond k, so that of equal scores at the cut the lowest rows are kept
# Milvus takes no empty sparse vector: these dimensions stand for a passage and for a question without terms.
_PASSAGE_WITHOUT, _QUESTION_WITHOUT, _FIRST_TERM = 0, 1, 2

_COUNTS_TERMS = only_if(lambda given: given.milvus_vectors != "dense", "--milvus_vectors dense counts no terms")
_ENCODES = only_if(lambda given: given.milvus_vectors != "sparse", "--milvus_vectors sparse encodes nothing")


@flag_group("milvus")
class MilvusArguments(
    IndexArguments,
    read_only_if(AnalyzerArguments, _COUNTS_TERMS),  # type: ignore[misc]
    read_only_if(BM25Weights, _COUNTS_TERMS),  # type: ignore[misc]
    read_only_if(EncodingArguments, _ENCODES),  # type: ignore[misc]
):
    """The flags of a search by Milvus."""

    milvus_uri: str = flag(
        "./outputs/index/milvus.db",
        "Milvus: where its embedded form keeps its data, or a server's URL (token: MILVUS_TOKEN).",
        way_out_of_credentials="set MILVUS_TOKEN (a token, or user:password) in the environment",
    )
    milvus_vectors: str = flag(
        "hybrid",
        "What Milvus searches: encoder vectors, BM25+ weights, or both fused by reciprocal ranks.",
        choices=["dense", "sparse", "hybrid"],
    )
    bm25_delta: float = changed(
        BM25Delta,
        "bm25_delta",
        read_if=only_if(
            lambda arguments: arguments.milvus_vectors == "sparse",
            "only --milvus_vectors sparse gives scores of BM25+",
        ),
    )
    fusion_depth: int = changed(
        FusionDepthArguments,
        "fusion_depth",
        read_if=only_if(lambda arguments: arguments.milvus_vectors == "hybrid", "only --milvus_vectors hybrid fuses"),
    )

    def settle(self) -> None:
        """Refuse credentials in the address."""
        refuse_credentials(self, "milvus_uri")


class MilvusRetrieval:
    """Exact search of a collection: by BM25+ over an analyser's terms, by an encoder's vectors, or by both.

    The inner product of a passage's sparse vector, which holds for each of its terms t
    ln((N + 1) / df_t) * (k1 + 1) * tf / (k1 * (1 - b + b * length / mean length) + tf),
    with the counts of the question's terms is the score of SparseRetrieval_BM25P but for delta * ln((N + 1) / df_t)
    of each, which is added here. Given both, the server fuses the best ``depth`` of each by the sum of
    1 / (60 + rank) (Cormack et al. 2009, Reciprocal Rank Fusion).
    """

    name = "MilvusRetrieval"
    libraries: Sequence[str] = ("pymilvus",)
    flags: type = MilvusArguments
    build_seconds: float

    def __init__(
        self,
        uri: str,
        analyzer: Analyzer | None,
        dense: DenseRetrieval | None,
        index_dir: str | Path,
        k1: float = 0.9,
        b: float = 0.75,
        delta: float = 1.0,
        depth: int = 100,
    ) -> None:
        self.server = MilvusServer(uri)
        self.analyzer, self.dense, self.index_dir = analyzer, dense, index_dir
        self.k1, self.b, self.delta = k1, b, delta
        self.depth = depth

    @classmethod
    def from_arguments(cls, arguments: MilvusArguments, default_tokenizer: str | None) -> MilvusRetrieval:
        analyzer = dense = None
        if arguments.milvus_vectors != "dense":
            analyzer = analyzer_of(arguments, default_tokenizer)
        if arguments.milvus_vectors != "sparse":
            dense = DenseRetrieval.from_arguments(arguments, default_tokenizer)
        bm25 = (arguments.bm25_k1, arguments.bm25_b, arguments.bm25_delta)
        return cls(arguments.milvus_uri, analyzer, dense, arguments.index_dir, *bm25, arguments.fusion_depth)

    def parameters(self) -> dict[str, Any]:
        depth = self.depth if self.analyzer and self.dense else None
        return {**self._stored(), "delta": None if self.dense else self.delta, "depth": depth}

    def build(self, corpus: Corpus) -> None:
        self._open(corpus)
        terms = analyze_corpus(self.analyzer, corpus, self.index_dir) if self.analyzer else None
        self._number_terms(Counter(term for passage in terms or () for term in dict.fromkeys(passage)))
        if not self._is_complete():
            self._insert(terms)

    def search(self, questions: Sequence[str], k: int) -> SearchResults:
        k = min(k, len(self.corpus))
        if k > MOST_RESULTS:
            raise UserError(f"Milvus finds at most {MOST_RESULTS} passages per question: lower --top_k_retrieval {k}")
        ids, scores = np.empty((len(questions), k), np.int64), np.empty((len(questions), k), np.float32)
        terms = self.analyzer.analyze(questions) if self.analyzer else []
        vectors: Sequence[np.ndarray] = list(self.dense.encode_questions(questions)) if self.dense else []
        with progress_bar(total=len(questions), desc="Search", unit="question", delay=1) as progress:
            for start in range(0, len(questions), _SEARCHED):
                block = slice(start, start + _SEARCHED)
                found = self._ask(terms[block], vectors[block], k)
                for row, hits in enumerate(found, start):
                    # Passages that share no term with the question, or that no fused ranking holds, score the same.
                    rest = 0.0 if self.dense else self.delta * sum(self.idf.get(term, 0.0) for term in terms[row])
                    ids[row], scores[row] = _best(hits.ids, np.array(hits.distances) + rest, rest, k)
                progress.update(len(found))
        return SearchResults(ids, scores)

    def save(self, folder: str | Path) -> None:
        with new_index_folder(folder, self, self.corpus) as staging:
            content = {"collection": self.collection, "passages_with_term": self.frequencies}
            write_json(staging / "collection.json", content)

    def load(self, folder: str | Path, corpus: Corpus) -> None:
        check_manifest(folder, self, corpus)
        frequencies = read_json(Path(folder) / "collection.json")["passages_with_term"]
        self._open(corpus)
        self._number_terms(frequencies)
        if not self._is_complete():
            raise UnusableIndex(folder, f"{self.server.uri} holds no complete collection {self.collection}")

    def _stored(self) -> dict[str, Any]:
        """What the vectors depend on beside the corpus, as JSON can hold it."""
        sparse = None
        if self.analyzer:
            sparse = {"analyzer": self.analyzer.description, "fold": FOLD_VERSION, "k1": self.k1, "b": self.b}
        return {"sparse": sparse, "dense": self.dense.parameters() if self.dense else None}

    def _open(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.content = json.dumps([FORMAT_VERSION, corpus.hash, len(corpus), self._stored()], sort_keys=True)
        self.collection = f"odqa_{hashlib.sha256(self.content.encode('ascii')).hexdigest()[:32]}"
        self.server.connect()

    def _number_terms(self, frequencies: dict[str, int]) -> None:
        self.frequencies = dict(frequencies)
        self.dimensions = dict(zip(self.frequencies, count(_FIRST_TERM), strict=False))
        self.idf = {term: math.log((len(self.corpus) + 1) / df) for term, df in self.frequencies.items()}

    def _is_complete(self) -> bool:
        if not self.server("has_collection", self.collection):
            return False
        self.server("load_collection", self.collection, timeout=None)
        (counted,) = self.server("query", self.collection, filter="", output_fields=["count(*)"])
        return counted["count(*)"] == len(self.corpus)

    def _insert(self, terms: Terms | None) -> None:
        """Fill a collection of another name and, when it is whole, give it its own."""
        self.server.clear(f"{self.collection}_")
        staging = f"{self.collection}_{secrets.token_hex(4)}"
        try:
            self._fill(staging, terms)
            if self._is_complete():  # another machine was faster
                self.server("drop_collection", staging)
                return
            if self.server("has_collection", self.collection):
                self.server("drop_collection", self.collection)
            self.server("rename_collection", staging, self.collection)
        except BaseException:
            with suppress(UserError):
                self.server("drop_collection", staging, timeout=10)
            raise
        if not self._is_complete():
            raise UserError(f"{self.server.uri} did not keep all that was inserted into {self.collection}: try again")

    def _fill(self, collection: str, terms: Terms | None) -> None:
        from pymilvus import DataType, MilvusClient

        from retrieval import load_or_build  # which knows this class

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=self.content)
        schema.add_field("row", DataType.INT64, is_primary=True)
        indexes = MilvusClient.prepare_index_params()
        columns: dict[str, Any] = {"row": range(len(self.corpus))}
        if terms is not None:
            columns["sparse"] = self._sparse_vectors(terms)
            schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
            indexes.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
        if self.dense:
            # Ready as DenseRetrieval alone would have them: encoded once, shard by shard.
            vectors = load_or_build(self.dense, self.corpus, self.index_dir).vectors  # shards of (m, H)
            columns["dense"] = chain.from_iterable(vectors)
            schema.add_field("dense", DataType.FLOAT_VECTOR, dim=vectors[0].shape[1])
            indexes.add_index("dense", index_type="FLAT", metric_type="IP")

        self.server("create_collection", collection, schema=schema, consistency_level="Strong")
        rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
        with progress_bar(total=len(self.corpus), desc="Insert", unit="passage", delay=1) as progress:
            while batch := list(islice(rows, _INSERTED)):
                self.server("insert", collection, batch)
                progress.update(len(batch))
        self.server("flush", collection, timeout=None)
        self.server("create_index", collection, indexes, timeout=None)

    def _sparse_vectors(self, terms: Terms) -> Iterator[dict[int, float]]:
        mean_length = len(terms.ids) / len(terms) or 1
        for passage in terms:
            offset = self.k1 * (1 - self.b + self.b * len(passage) / mean_length)
            yield {
                self.dimensions[term]: self.idf[term] * (self.k1 + 1) * tf / (offset + tf)
                for term, tf in Counter(passage).items()
            } or {_PASSAGE_WITHOUT: 1.0}

    def _ask(self, terms: Sequence[list[str]], vectors: Sequence[np.ndarray], k: int) -> list[Any]:
        """Return for every question an object with the lists ``ids`` and ``distances`` (inner products, or sums)."""
        from pymilvus import AnnSearchRequest, RRFRanker

        most = min(len(self.corpus), MOST_RESULTS)
        requests: dict[str, list[Any]] = {}
        if self.analyzer:
            known = [[self.dimensions[term] for term in question if term in self.dimensions] for question in terms]
            counts = [Counter(dimensions or [_QUESTION_WITHOUT]) for dimensions in known]
            requests["sparse"] = [{dimension: float(n) for dimension, n in row.items()} for row in counts]
        if self.dense:
            requests["dense"] = list(vectors)
        limit = min(k + _BEYOND, most)
        if len(requests) == 2:
            depth = min(max(k, self.depth), most)
            routes = [AnnSearchRequest(data, field, {"metric_type": "IP"}, depth) for field, data in requests.items()]
            return self.server("hybrid_search", self.collection, routes, RRFRanker(RRF_K), limit, output_fields=["row"])
        ((field, data),) = requests.items()
        return self.server("search", self.collection, data, anns_field=field, limit=limit, output_fields=["row"])


def _best(ids: Sequence[int], scores: np.ndarray, rest: float, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best of m results, (k,) each, ties by lower row; rows not among them follow with ``rest``."""
    rows, scores = np.array(ids, np.int64), scores.astype(np.float32)  # (m,) each
    others = np.setdiff1d(np.arange(k), rows)[: max(0, k - len(rows))]  # k rows, of which at most m are results
    rows = np.concatenate([rows, others])
    scores = np.concatenate([scores, np.full(len(others), rest, np.float32)])
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]
