"""Dense retrieval: the exact inner product of encoder vectors (Karpukhin et al. 2020, Dense Passage Retrieval)."""

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
    UnusableIndex,
    check_manifest,
    new_index_folder,
)
from retrieval.encoding import (
    EncodesPassages,
    blamed,
    encoded_in_shards,
    encoding,
    forget_shards,
    mapped,
    write_rows,
)
from runtime.arguments import BackendArguments
from runtime.errors import UserError
from runtime.flags import flag, flag_group

if TYPE_CHECKING:  # what needs torch is imported where it is used: the flags below are read before that
    from models.encoder import BiEncoder


@flag_group("encoder")
class EncodingArguments(EncoderArguments, BackendArguments):
    """Which encoders turn texts into vectors."""

    retriever_dir: str = flag(
        "./models/retriever", "Folder that train_dpr.py wrote, or one encoder (folder or hub name) for both sides."
    )
    encode_batch_size: int | None = flag(
        None,
        "Texts per forward pass of an encoder (default: 128 on a GPU, 16 on a CPU, whose caches hold no more).",
        at_least=1,
        at_most=2**16,
        instead_of=["per_device_eval_batch_size"],
    )


@flag_group("encoder")
class DenseArguments(IndexArguments, EncodingArguments):
    """The flags of dense retrieval."""

    vectors_dtype: str = flag(
        "float32",
        "How passage vectors are kept; float16 halves the index and rounds the scores.",
        choices=["float32", "float16"],
    )


class DenseRetrieval(EncodesPassages):
    """The inner product of question and passage vectors, over all passages."""

    name = "DenseRetrieval"
    libraries: Sequence[str] = ("torch", "transformers")
    flags: type = DenseArguments
    arguments: DenseArguments
    build_seconds: float

    @cached_property
    def bi_encoder(self) -> BiEncoder:
        """The encoders, loaded when something is first encoded."""
        import torch

        from models.encoder import check_encoders, load_bi_encoder

        encoders = load_bi_encoder(self.arguments.retriever_dir, self.arguments, shared=True)
        check_encoders(encoders, self.who)
        if self.arguments.backend == "openvino":
            from models.quantized import quantized_pair

            return quantized_pair(encoders, self.precision)
        # weights and all in between too, which autocast leaves in fp32: a third faster, cosines differ by 4e-5
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        return encoders.to(self.device, dtype)

    def parameters(self) -> dict[str, Any]:
        return {**self._encoders, "vectors_dtype": self.arguments.vectors_dtype, **self.backend_if_changed}

    def build(self, corpus: Corpus) -> None:
        self.corpus = corpus
        shards = encoded_in_shards(self, corpus, self.index_dir, ["vectors"], self._encode_shard)
        self.vectors = [shard["vectors"] for shard in shards]

    def search(self, questions: Sequence[str], k: int) -> SearchResults:
        from retrieval.vector_search import search_vectors

        vectors = self.encode_questions(questions)
        with blamed(self.who):
            return search_vectors(vectors, self.vectors, k, self.device)

    def explain(self, question: str, rows: Sequence[int], k: int) -> Explanation:
        """Return the inner product, which is all that there is to say of two vectors."""
        (asked,) = self.encode_questions([question])  # (H,)
        places = (divmod(row, len(self.vectors[0])) for row in rows)  # all shards but the last are of one size
        scores = (float(asked @ self.vectors[shard][place].astype(np.float32)) for shard, place in places)
        return Explanation({}, [[Part("inner product", score)] for score in scores])

    def save(self, folder: str | Path) -> None:
        with new_index_folder(folder, self, self.corpus) as staging:
            write_rows(staging / "vectors.npy", self.vectors)  # (m, H) each -> (N, H)
        self._open(Path(folder))
        forget_shards(self, self.index_dir)

    def load(self, folder: str | Path, corpus: Corpus) -> None:
        check_manifest(folder, self, corpus)
        self.corpus = corpus
        self._open(Path(folder))

    def encode_questions(self, questions: Sequence[str]) -> np.ndarray:
        """Return float32 (n, H)."""
        return self._encode(self.bi_encoder.embed_questions, self.bi_encoder.tokenize_questions(questions), "questions")

    def encode_passages(self, corpus: Corpus, what: str = "passages") -> np.ndarray:
        """Return float32 (N, H); ``what`` names the progress bar."""
        rows = self.bi_encoder.tokenize_passages(list(zip(corpus.titles, corpus.texts, strict=True)))
        return self._encode(self.bi_encoder.embed_passages, rows, what)

    @cached_property
    def _encoders(self) -> dict[str, Any]:
        from models.encoder import encoder_identity

        return encoder_identity(self.arguments.retriever_dir, self.arguments)

    def _encode(self, embed: Any, rows: list[dict[str, list[int]]], what: str) -> np.ndarray:
        from models.encoder import encode

        with encoding(self.who):
            return encode(embed, rows, self.bi_encoder.pad, self.batch_size, self.precision, self.device, what)

    def _encode_shard(self, part: Corpus, what: str) -> dict[str, np.ndarray]:
        """Return the vectors as they are kept; :class:`UserError` if some are too large for that."""
        with np.errstate(over="ignore"):  # reported below
            vectors = self.encode_passages(part, what).astype(self.arguments.vectors_dtype)
        if not np.isfinite(vectors).all():
            raise UserError(
                f"{self.who} gives vectors that {self.arguments.vectors_dtype} cannot hold: "
                "check the encoder, or keep them as --vectors_dtype float32"
            )
        return {"vectors": vectors}

    def _open(self, folder: Path) -> None:
        """Map the vectors in ``folder`` into memory; :class:`UnusableIndex` if it holds none, or others."""
        size, dtype = len(self.corpus), self.arguments.vectors_dtype
        try:
            vectors = mapped(folder / "vectors.npy")
            if vectors.ndim != 2 or len(vectors) != size or vectors.dtype != dtype:
                raise ValueError
        except (OSError, ValueError, EOFError):
            raise UnusableIndex(folder, f"it holds no vectors of {size} passages") from None
        self.vectors = [vectors]
