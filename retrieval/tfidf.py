"""TF-IDF: sparse retrieval by the cosine of weighted terms and characters, on scikit-learn's vectorizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from loading.corpus import Corpus
from retrieval.analysis import analyze_corpus
from retrieval.analyzers import Analyzer, AnalyzerArguments, analyzer_of, normalize
from retrieval.base import (
    Explanation,
    IndexArguments,
    Part,
    SearchResults,
    check_manifest,
    largest_first,
    new_index_folder,
    search_in_blocks,
)
from runtime.errors import UserError
from runtime.files import read_json, write_json
from runtime.flags import flag, flag_group
from runtime.progress import progress_bar
from runtime.text import FOLD_VERSION

_DETAILS = {"word": "terms", "char": "characters"}
FEATURES = {"word": ["word"], "char": ["char"], "word_char": ["word", "char"]}


@flag_group("terms")
class TFIDFArguments(IndexArguments, AnalyzerArguments):
    """The flags of TF-IDF."""

    tfidf_features: str = flag(
        "word_char",
        "TF-IDF over 1-2-grams of the analyser's terms, 2-3-grams of characters, or both.",
        choices=list(FEATURES),
    )


class SparseRetrieval_TFIDF:
    """Mean of the cosines over 1-2-grams of an analyser's terms and over 2-3-grams of characters, or one of the two."""

    name = "SparseRetrieval_TFIDF"
    libraries: Sequence[str] = ("scikit-learn",)
    flags: type = TFIDFArguments
    build_seconds: float

    def __init__(self, analyzer: Analyzer, features: str = "word_char", index_dir: str | Path | None = None) -> None:
        self.analyzer = analyzer
        self.index_dir = index_dir
        self.features = features
        self.kinds = FEATURES[features]

    @classmethod
    def from_arguments(cls, arguments: TFIDFArguments, default_tokenizer: str | None) -> SparseRetrieval_TFIDF:
        return cls(analyzer_of(arguments, default_tokenizer, "kiwi"), arguments.tfidf_features, arguments.index_dir)

    def parameters(self) -> dict[str, Any]:
        analyzer = self.analyzer.description if "word" in self.kinds else None
        return {"analyzer": analyzer, "fold": FOLD_VERSION, "features": self.features}

    def build(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.vectorizers, self.weights = {}, {}
        for kind in self.kinds:
            self.vectorizers[kind] = _new_vectorizer(kind)
            if kind == "word":
                documents: Any = analyze_corpus(self.analyzer, corpus, self.index_dir)
                if not len(documents.ids):
                    raise UserError(
                        f"no passage holds a term of --analyzer {self.analyzer.description['name']}: choose another "
                        "analyzer or other --analyzer_tags, or --tfidf_features char"
                    )
            else:
                documents = self._documents(kind, corpus.search_texts())
            documents = progress_bar(documents, f"TF-IDF {kind}", unit="passage", delay=1)
            self.weights[kind] = self.vectorizers[kind].fit_transform(documents).T.tocsr()  # (N, V) -> (V, N)

    def search(self, questions: Sequence[str], k: int) -> SearchResults:
        documents = {kind: self._documents(kind, questions) for kind in self.kinds}

        def score(block: Sequence[int]) -> np.ndarray:
            cosines = [
                self.vectorizers[kind].transform([documents[kind][row] for row in block]) @ self.weights[kind]
                for kind in self.kinds
            ]  # each (block, V) @ (V, N) -> (block, N), sparse
            return (sum(cosines) / len(cosines)).toarray()

        return search_in_blocks(score, range(len(questions)), len(self.corpus), k)

    def explain(self, question: str, rows: Sequence[int], k: int) -> Explanation:
        """Return the n-grams that question and passage share, each with what it adds to the mean of the cosines."""
        parts: list[list[Part]] = [[] for _ in rows]
        for kind in self.kinds:
            asked = self.vectorizers[kind].transform(self._documents(kind, [question]))  # (1, V)
            names = self.vectorizers[kind].get_feature_names_out()[asked.indices].tolist()
            gains = self.weights[kind][asked.indices][:, list(rows)].toarray()  # (V, N) -> (n-grams, rows)
            gains *= asked.data[:, None] / len(self.kinds)
            for of_passage, of_row in zip(parts, gains.T.tolist(), strict=True):
                found = zip(names, of_row, strict=True)
                of_passage += [Part(name.replace(" ", "␣"), gain, _DETAILS[kind]) for name, gain in found if gain]
        cuts = {self.analyzer.description["name"]: self.analyzer.analyze([question])[0]} if "word" in self.kinds else {}
        return Explanation(cuts, list(map(largest_first, parts)))

    def save(self, folder: str | Path) -> None:
        from scipy.sparse import save_npz

        with new_index_folder(folder, self, self.corpus) as staging:
            for kind in self.kinds:
                write_json(staging / f"{kind}_vocabulary.json", self.vectorizers[kind].get_feature_names_out().tolist())
                np.save(staging / f"{kind}_idf.npy", self.vectorizers[kind].idf_, allow_pickle=False)
                save_npz(staging / f"{kind}_weights.npz", self.weights[kind], compressed=False)

    def load(self, folder: str | Path, corpus: Corpus) -> None:
        from scipy.sparse import load_npz

        check_manifest(folder, self, corpus)
        folder, self.corpus = Path(folder), corpus
        self.vectorizers, self.weights = {}, {}
        for kind in self.kinds:
            terms = read_json(folder / f"{kind}_vocabulary.json")
            self.vectorizers[kind] = _new_vectorizer(kind, vocabulary=terms)
            self.vectorizers[kind].idf_ = np.load(folder / f"{kind}_idf.npy", allow_pickle=False)
            self.weights[kind] = load_npz(folder / f"{kind}_weights.npz")

    def _documents(self, kind: str, texts: Sequence[str]) -> list[Any]:
        return self.analyzer.analyze(texts) if kind == "word" else [normalize(text) for text in texts]


def _new_vectorizer(kind: str, vocabulary: list[str] | None = None) -> Any:
    """Return scikit-learn's (ln(tf) + 1) * (ln((1 + N) / (1 + df)) + 1), with every vector scaled to length 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    def unchanged(terms: list[str]) -> list[str]:
        return terms

    if kind == "word":
        options = {"ngram_range": (1, 2), "tokenizer": unchanged, "preprocessor": unchanged, "token_pattern": None}
    else:
        options = {"ngram_range": (2, 3), "analyzer": "char_wb", "lowercase": False}
    return TfidfVectorizer(vocabulary=vocabulary, sublinear_tf=True, dtype=np.float32, **options)
