"""Retrieval by token vectors: MaxSim over an index of them (Khattab and Zaharia 2020, ColBERT)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from loading.corpus import Corpus
from retrieval.base import (
    CREDENTIALS_ARE_VARIABLES,
    Explanation,
    IndexArguments,
    OfParts,
    Part,
    Retriever,
    SearchResults,
    UnusableIndex,
    check_manifest,
    largest_first,
    new_index_folder,
    ranks_by_row,
)
from retrieval.dense import EncodingArguments
from retrieval.encoding import (
    EncodesPassages,
    blamed,
    encoded_in_shards,
    encoding,
    forget_shards,
    mapped,
    write_rows,
)
from retrieval.rerank import reordered
from retrieval.token_vectors import FORMS, score_tokens, search_tokens
from runtime.arguments import BackendArguments
from runtime.errors import UserError
from runtime.flags import changed, flag, flag_group, only_if
from runtime.one_word import name_of
from runtime.progress import progress_bar

if TYPE_CHECKING:  # what needs torch is imported where it is used: the flags below are read before that
    from models.token_encoder import TokenEncoder

_BLOCK = 1024  # passages whose vectors are in memory while searching
_RESCORED = 4  # times k, and at least:
_LEAST_RESCORED = 200  # passages that 1-bit vectors find, to be scored exactly


@flag_group("token vectors")
class MultiVectorArguments(IndexArguments, BackendArguments):
    """The flags of retrieval by token vectors."""

    retriever_dir: str = changed(EncodingArguments, "retriever_dir")
    encode_batch_size: int | None = changed(EncodingArguments, "encode_batch_size")
    token_vectors: str = flag(
        "float16",
        "How token vectors are kept: float16, int8 in half of it, or binary, 1 bit a number to find passages by beside "
        "float16 to score them.",
        choices=["float16", "int8", "binary"],
    )
    token_pooling: int = flag(
        1, "Merge similar tokens of a passage: one vector for every this many of them.", at_least=1, at_most=16
    )
    candidates: str | None = flag(
        None,
        "Retriever whose best passages are scored, instead of all; NAME,flag=value,... gives it flags of its own.",
        has_own_flags=True,
        way_out_of_credentials=CREDENTIALS_ARE_VARIABLES,
    )
    candidate_depth: int = flag(
        200,
        "Passages of --candidates that are scored.",
        at_least=1,
        at_most=10_000,
        read_if=only_if(lambda arguments: arguments.candidates is not None, "add --candidates"),
    )


class Tokens(NamedTuple):
    """The token vectors of passages, one after the other, as they are kept, and how many each has."""

    kept: np.ndarray  # (T, columns)
    lengths: np.ndarray  # (N,) int64


class MultiVectorRetrieval(EncodesPassages):
    """The MaxSim of question and passage, over all passages."""

    name = "MultiVectorRetrieval"
    libraries: Sequence[str] = ("torch", "transformers", "sentence-transformers")
    flags: type = MultiVectorArguments
    arguments: MultiVectorArguments
    build_seconds: float

    @classmethod
    def from_arguments(cls, arguments: Any, default_tokenizer: str | None) -> Any:
        """Return what ``arguments`` describe: :class:`MultiVectorArguments`, among all flags for the candidates."""
        index = super().from_arguments(arguments, default_tokenizer)
        candidates = index.arguments.candidates
        if candidates is None:
            return index
        from retrieval import create_retriever  # the registry, which holds this class itself

        if not cls.parts_named_in(arguments):
            raise UserError(f"--candidates {candidates}: it cannot find candidates for itself")
        first = dataclasses.replace(arguments, retriever_type=candidates, candidates=None, reranker=None)
        return CandidatesByTokens(create_retriever(first, default_tokenizer), index, index.arguments.candidate_depth)

    @staticmethod
    def parts_named_in(arguments: MultiVectorArguments) -> list[str]:
        """Return the retriever of candidates, if there is one."""
        named = arguments.candidates
        return [named] if named is not None and name_of(named) != MultiVectorRetrieval.name else []

    @cached_property
    def encoder(self) -> TokenEncoder:
        """The encoder, loaded when something is first encoded."""
        import torch

        from models.token_encoder import load_token_encoder

        encoder = load_token_encoder(self.arguments.retriever_dir)
        if self.arguments.backend == "openvino":
            from models.quantized import quantize_modules

            quantize_modules(encoder.model, self.precision)
            return encoder
        return encoder.to(self.device, torch.bfloat16 if self.precision == "bf16" else torch.float32)

    def parameters(self) -> dict[str, Any]:
        kept = {name: getattr(self.arguments, name) for name in ("token_vectors", "token_pooling")}
        return {"encoder": self._encoder_hash, **kept, **self.backend_if_changed}

    def build(self, corpus: Corpus) -> None:
        self.corpus = corpus
        shards = encoded_in_shards(self, corpus, self.index_dir, Tokens._fields, self._encode_shard)
        self.shards = [Tokens(**shard) for shard in shards]

    def search(self, questions: Sequence[str], k: int) -> SearchResults:
        k = min(k, len(self.corpus))
        asked = self._encode_questions(questions)
        if self.arguments.token_vectors != "binary":
            with blamed(self.who):
                return search_tokens(asked, self._blocks(self.shards, self._form), k, self.device)
        depth = min(max(_LEAST_RESCORED, _RESCORED * k), len(self.corpus))
        found = search_tokens(asked, self._blocks(self.bits, "binary"), depth, self.device)
        return reordered(found, self._score(asked, found.ids), k)

    def explain(self, question: str, rows: Sequence[int], k: int) -> Explanation:
        """Return for each of the question's tokens its product with the nearest one of the passage."""
        (asked,) = self._encode_questions([question])  # (tokens, D)
        tokens, vectors_of = self.encoder.question_tokens(question), self._vectors_by_row()
        parts = []
        for row in rows:
            products = asked @ vectors_of(row).T  # (tokens, D) @ (D, passage's tokens)
            nearest, scores = products.argmax(axis=1).tolist(), products.max(axis=1).tolist()  # (tokens,) each
            names = self._token_names(row, products.shape[1])
            matches = (f"nearest: {names[index]}" if names else "" for index in nearest)
            parts.append(largest_first(map(Part, tokens, scores, matches)))
        return Explanation({self.name: tokens}, parts)

    def score(self, questions: Sequence[str], ids: np.ndarray) -> np.ndarray:
        """Return the MaxSim (n, depth) of every question with the passages ``ids`` (n, depth), float32."""
        return self._score(self._encode_questions(questions), ids)

    def save(self, folder: str | Path) -> None:
        with new_index_folder(folder, self, self.corpus) as staging:
            write_rows(staging / "tokens.npy", [shard.kept for shard in self.shards])
            write_rows(staging / "lengths.npy", [shard.lengths for shard in self.shards])
            if self.arguments.token_vectors == "binary":
                write_rows(staging / "bits.npy", [bits.kept for bits in self.bits])
        self._open(Path(folder))
        forget_shards(self, self.index_dir)

    def load(self, folder: str | Path, corpus: Corpus) -> None:
        check_manifest(folder, self, corpus)
        self.corpus = corpus
        self._open(Path(folder))

    def encode_passages(self, corpus: Corpus, what: str = "passages") -> list[np.ndarray]:
        """Return float32 (tokens, D) of every passage; ``what`` names the progress bar."""
        pairs, pooling = list(zip(corpus.titles, corpus.texts, strict=True)), self.arguments.token_pooling
        with encoding(self.who):
            return self.encoder.encode_passages(pairs, self.batch_size, self.precision, what, pooling)

    def packed(self, vectors: Sequence[np.ndarray]) -> Tokens:
        """Return the vectors (tokens, D) of passages as they are kept."""
        return Tokens(FORMS[self._form].pack(np.concatenate(vectors)), np.array([len(one) for one in vectors]))

    @cached_property
    def bits(self) -> list[Tokens]:
        """The signs of all numbers of ``shards``, in memory."""
        return [shard._replace(kept=FORMS["binary"].pack(shard.kept)) for shard in self.shards]

    @cached_property
    def _encoder_hash(self) -> str:
        from models.token_encoder import hash_token_encoder

        return hash_token_encoder(self.arguments.retriever_dir)

    @property
    def _form(self) -> str:
        """The form that passages are scored in."""
        return "int8" if self.arguments.token_vectors == "int8" else "float16"

    def _encode_shard(self, part: Corpus, what: str) -> dict[str, np.ndarray]:
        return self.packed(self.encode_passages(part, what))._asdict()

    def _encode_questions(self, questions: Sequence[str]) -> list[np.ndarray]:
        with encoding(self.who):
            return self.encoder.encode_questions(questions, self.batch_size, self.precision)

    def _blocks(self, shards: Iterable[Tokens], form: str) -> Iterator[list[np.ndarray]]:
        """Yield the vectors (tokens, D) of ``_BLOCK`` passages at a time."""
        with progress_bar(total=len(self.corpus), desc="Search", unit="passage", delay=1) as progress:
            for shard in shards:
                ends = np.concatenate([[0], shard.lengths.cumsum()])  # (N + 1,)
                for start in range(0, len(shard.lengths), _BLOCK):
                    bounds = ends[start : start + _BLOCK + 1]
                    vectors = self._unpacked(shard.kept[bounds[0] : bounds[-1]], form)  # (T of the block, D)
                    yield np.split(vectors, bounds[1:-1] - bounds[0])
                    progress.update(len(bounds) - 1)

    def _score(self, asked: Sequence[np.ndarray], ids: np.ndarray) -> np.ndarray:
        vectors_of = self._vectors_by_row()
        scores = np.empty(ids.shape, np.float32)
        with progress_bar(total=len(ids), desc="Score", unit="question", delay=1) as progress:
            for row, question in enumerate(asked):
                passages = [vectors_of(one) for one in ids[row].tolist()]
                with blamed(self.who):
                    scores[row] = score_tokens([question], passages, self.device)[0]  # (1, depth) -> (depth,)
                progress.update()
        return scores

    def _vectors_by_row(self) -> Callable[[int], np.ndarray]:
        """Return what gives the vectors (tokens, D) of the passage in a row, as they are kept."""
        sizes = np.array([len(shard.lengths) for shard in self.shards])
        first = sizes.cumsum() - sizes  # (shards,), the first row of each
        ends = [np.concatenate([[0], shard.lengths.cumsum()]) for shard in self.shards]

        def vectors_of(row: int) -> np.ndarray:
            number = int(np.searchsorted(first, row, side="right")) - 1
            start, end = ends[number][row - first[number] : row - first[number] + 2]
            return self._unpacked(self.shards[number].kept[start:end], self._form)

        return vectors_of

    def _token_names(self, row: int, count: int) -> list[str]:
        """Return the tokens of a passage's ``count`` vectors; none where several share one."""
        if self.arguments.token_pooling > 1:
            return []
        names = self.encoder.passage_tokens(self.corpus.titles[row], self.corpus.texts[row])
        return names if len(names) == count else []

    def _unpacked(self, kept: np.ndarray, form: str) -> np.ndarray:
        return FORMS[form].unpack(np.asarray(kept), self.shards[0].kept.shape[1])

    def _open(self, folder: Path) -> None:
        """Map the index in ``folder`` into memory, its bits read whole; :class:`UnusableIndex` if it is no such one."""
        try:
            tokens = Tokens(mapped(folder / "tokens.npy"), mapped(folder / "lengths.npy"))
            if len(tokens.lengths) != len(self.corpus) or tokens.lengths.sum() != len(tokens.kept):
                raise ValueError
            if self.arguments.token_vectors == "binary":
                self.bits = [tokens._replace(kept=np.load(folder / "bits.npy", allow_pickle=False))]
        except (OSError, ValueError, EOFError):
            raise UnusableIndex(folder, f"it holds no token vectors of {len(self.corpus)} passages") from None
        self.shards = [tokens]


class CandidatesByTokens(OfParts):
    """The ``depth`` best passages of a retriever in the order of MaxSim, the others below them.

    It keeps no index of its own: its parts, the retriever and the token vectors, do.
    """

    name = MultiVectorRetrieval.name
    flags: type = MultiVectorArguments

    def __init__(self, retriever: Retriever, tokens: MultiVectorRetrieval, depth: int) -> None:
        self.retriever, self.tokens, self.depth = retriever, tokens, depth
        self.parts = [retriever, tokens]

    def parameters(self) -> dict[str, Any]:
        candidates = {"retriever": self.retriever.name, "parameters": self.retriever.parameters()}
        return {**self.tokens.parameters(), "candidates": candidates, "candidate_depth": self.depth}

    def search(self, questions: Sequence[str], k: int) -> SearchResults:
        found = self.retriever.search(questions, max(k, self.depth))
        return reordered(found, self.tokens.score(questions, found.ids[:, : self.depth]), k)

    def explain(self, question: str, rows: Sequence[int], k: int) -> Explanation:
        """Return what the token vectors do, of the passages whose order they decide."""
        before, after = (ranks_by_row(one.search([question], max(k, self.depth))) for one in (self.retriever, self))
        matched = self.tokens.explain(question, rows, k)
        parts = []
        for row, of_tokens in zip(rows, matched.parts, strict=True):
            rank, _ = before.get(row, (None, 0.0))
            if rank is not None and rank <= self.depth:
                parts.append(of_tokens)
            else:
                detail = f"not among the {self.depth} best of {self.retriever.name}"
                parts.append([Part("below those re-ordered", after[row][1] if rank else 0.0, detail, of_tokens)])
        return Explanation(matched.cuts, parts)
