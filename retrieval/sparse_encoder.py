"""Retrieval by learned sparse vectors: weights of terms that an encoder gives, in an inverted index."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loading.corpus import Corpus
from models.arguments import EncoderArguments
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
from retrieval.dense import EncodingArguments
from retrieval.encoding import EncodesPassages, encoded_in_shards, encoding, forget_shards
from runtime.arguments import BackendArguments
from runtime.errors import UserError
from runtime.flags import changed, flag, flag_group
from runtime.output import find_model

if TYPE_CHECKING:  # what needs torch is imported where it is used: the flags below are read before that
    from scipy.sparse import csr_matrix

    from models.sparse_encoder import SparseEncoder

_KEPT = ("data", "indices", "indptr", "shape")  # of a matrix by rows


@flag_group("encoder")
class SparseEncoderArguments(IndexArguments, BackendArguments):
    """The flags of retrieval by learned sparse vectors."""

    sparse_encoder: str | None = flag(
        None, "SparseEncoder of sentence-transformers (folder or hub name), such as a SPLADE, that weighs terms."
    )
    question_max_len: int | None = changed(EncoderArguments, "question_max_len")
    passage_max_len: int | None = changed(EncoderArguments, "passage_max_len")
    encode_batch_size: int | None = changed(EncodingArguments, "encode_batch_size")


class SparseEncoderRetrieval(EncodesPassages):
    """The inner product of the weights that an encoder gives the tokens of its vocabulary, over all passages."""

    name = "SparseEncoderRetrieval"
    libraries: Sequence[str] = ("torch", "transformers", "sentence-transformers", "scipy")
    flags: type = SparseEncoderArguments
    build_seconds: float

    def __init__(self, arguments: SparseEncoderArguments, index_dir: str | Path | None = None) -> None:
        if fault := self.lacks(arguments):
            raise UserError(fault)
        assert arguments.sparse_encoder is not None
        super().__init__(arguments, index_dir)
        self.model_name = find_model(arguments.sparse_encoder)
        self.lengths = (arguments.question_max_len or 64, arguments.passage_max_len or 256)

    @staticmethod
    def lacks(arguments: Any) -> str | None:
        """Return what is missing in the flags for this retriever; None where nothing is."""
        if getattr(arguments, "sparse_encoder", None) is None:
            return "SparseEncoderRetrieval needs an encoder that weighs terms: add --sparse_encoder"
        return None

    @cached_property
    def encoder(self) -> SparseEncoder:
        """The encoder, loaded when something is first encoded."""
        from models.sparse_encoder import load_sparse_encoder

        encoder = load_sparse_encoder(self.model_name, *self.lengths, self.device)
        if self.arguments.backend == "openvino":
            from models.quantized import quantize_modules

            quantize_modules(encoder.model, self.precision)
        return encoder

    def parameters(self) -> dict[str, Any]:
        question_max_len, passage_max_len = self.lengths
        lengths = {"question_max_len": question_max_len, "passage_max_len": passage_max_len}
        return {"encoder": self._encoder_hash, **lengths, **self.backend_if_changed}

    def build(self, corpus: Corpus) -> None:
        from scipy.sparse import csr_matrix, vstack

        self.corpus = corpus
        shards = encoded_in_shards(self, corpus, self.index_dir, _KEPT, self._encode_shard)
        rows = [csr_matrix(tuple(shard[name] for name in _KEPT[:3]), shard["shape"]) for shard in shards]
        self.weights = vstack(rows).T.tocsr()  # (N, V) -> (V, N)

    def search(self, questions: Sequence[str], k: int) -> SearchResults:
        asked = self._encode("encode_questions", questions)  # (n, V)

        def score(block: Sequence[int]) -> np.ndarray:
            return (asked[block] @ self.weights).toarray()  # (block, V) @ (V, N) -> (block, N)

        return search_in_blocks(score, range(len(questions)), len(self.corpus), k)

    def explain(self, question: str, rows: Sequence[int], k: int) -> Explanation:
        """Return the tokens that question and passage share, each with the product of their weights."""
        asked = self._encode("encode_questions", [question])  # (1, V)
        names = self._names(asked.indices)
        weights = self.weights[asked.indices][:, list(rows)].toarray()  # (V, N) -> (tokens, rows)
        parts = [
            largest_first(
                Part(name, own * weight, f"{own:.2f} × {weight:.2f}")
                for name, own, weight in zip(names, asked.data.tolist(), column, strict=True)
                if weight
            )
            for column in weights.T.tolist()
        ]
        heaviest = np.argsort(-asked.data, kind="stable").tolist()  # (tokens,)
        return Explanation({self.name: [names[index] for index in heaviest]}, parts)

    def passage_terms(self, row: int) -> list[tuple[str, float]]:
        """Return the tokens that the passage in ``row`` has weights for, the heaviest first."""
        column = self.weights[:, [row]].tocoo()  # (V, N) -> (V, 1)
        order = np.argsort(-column.data, kind="stable")
        return list(zip(self._names(column.row[order]), column.data[order].tolist(), strict=True))

    def save(self, folder: str | Path) -> None:
        from scipy.sparse import save_npz

        with new_index_folder(folder, self, self.corpus) as staging:
            save_npz(staging / "weights.npz", self.weights, compressed=False)
        forget_shards(self, self.index_dir)

    def load(self, folder: str | Path, corpus: Corpus) -> None:
        from scipy.sparse import load_npz

        check_manifest(folder, self, corpus)
        self.corpus, self.weights = corpus, load_npz(Path(folder) / "weights.npz")

    @cached_property
    def _encoder_hash(self) -> str:
        from models.encoder import hash_model

        return hash_model(self.model_name, modules=True)

    @property
    def who(self) -> str:
        return f"--sparse_encoder {self.model_name}"

    def _names(self, tokens: np.ndarray) -> list[str]:
        return self.encoder.tokenizer.convert_ids_to_tokens(tokens.tolist())

    def _encode_shard(self, part: Corpus, what: str) -> dict[str, np.ndarray]:
        rows = self._encode("encode_passages", list(zip(part.titles, part.texts, strict=True)), what)  # (n, V)
        return {name: np.asarray(getattr(rows, name)) for name in _KEPT}

    def _encode(self, method: str, texts: Sequence[Any], *what: str) -> csr_matrix:
        with encoding(self.who):
            return getattr(self.encoder, method)(texts, self.batch_size, self.precision, *what)
