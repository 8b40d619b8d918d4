"""Dense retrieval: the exact inner product of encoder vectors (Karpukhin et al. 2020, Dense Passage Retrieval)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arguments import RetrieverArguments
from loading.corpus import Corpus
from models.encoder import BiEncoder, check_encoders, encode, encoder_identity, load_bi_encoder
from retrieval.base import SearchResults, check_manifest, index_folder, new_index_folder
from runtime.device import default_device, resolve_precision
from runtime.errors import NotFiniteError, UserError
from runtime.files import staged_file
from runtime.log import get_logger
from runtime.progress import progress_bar

logger = get_logger(__name__)

SHARD_SIZE = 4096  # passages that are encoded and kept together: what a killed build may lose
_BLOCK_PASSAGES = 2**14  # passages and questions whose scores are held at once: 16 MiB of float32
_BLOCK_QUESTIONS = 2**8


class DenseRetrieval:
    """The inner product of question and passage vectors, over all passages.

    A build keeps what it has encoded in ``index_dir``, shard by shard, until the index is saved, so that one that was
    killed goes on where it stopped; without ``index_dir`` in memory.
    """

    name = "DenseRetrieval"
    libraries = ("torch", "transformers")

    def __init__(self, arguments: RetrieverArguments, index_dir: str | Path | None = None) -> None:
        self.arguments = arguments
        self.index_dir = index_dir
        self.device = default_device()

    @classmethod
    def from_arguments(cls, arguments: RetrieverArguments, default_tokenizer: str | None) -> DenseRetrieval:
        return cls(arguments, arguments.index_dir)

    @cached_property
    def bi_encoder(self) -> BiEncoder:
        """The encoders, loaded when something is first encoded."""
        encoders = load_bi_encoder(self.arguments.retriever_dir, self.arguments, shared=True)
        check_encoders(encoders, self._who)
        # weights and all in between too, which autocast leaves in fp32: a third faster, cosines differ by 4e-5
        dtype = torch.bfloat16 if resolve_precision("auto", self.device) == "bf16" else torch.float32
        return encoders.to(self.device, dtype)

    def parameters(self) -> dict[str, Any]:
        return {**self._encoders, "vectors_dtype": self.arguments.vectors_dtype}

    def build(self, corpus: Corpus) -> None:
        self.corpus = corpus
        starts = range(0, len(corpus), SHARD_SIZE)
        parts = [_slice(corpus, start) for start in starts]
        if self.index_dir is None:
            self.vectors = [self._encode_shard(part, "passages") for part in parts]
            return
        folder = self._shards_folder()
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{start:012d}.npy" for start in starts]
        width = self.bi_encoder.p_encoder.config.hidden_size
        self.vectors = [self._read(path, len(part), width) for path, part in zip(paths, parts, strict=True)]
        if there := sum(shard is not None for shard in self.vectors):
            logger.info("resumed: %d of %d shards are there, in %s", there, len(parts), folder)
        for number, (path, part) in enumerate(zip(paths, parts, strict=True)):
            if self.vectors[number] is None:
                shard = self._encode_shard(part, f"passages, shard {number + 1} of {len(parts)}")
                with staged_file(path) as staging, staging.open("wb") as file:
                    np.save(file, shard, allow_pickle=False)
                self.vectors[number] = self._read(path, len(part), width)

    def search(self, questions: Sequence[str], k: int) -> SearchResults:
        vectors = self.encode_questions(questions)
        with self._blamed():
            return search_vectors(vectors, self.vectors, k, self.device)

    def save(self, folder: str | Path) -> None:
        shape = (len(self.corpus), self.vectors[0].shape[1])
        with new_index_folder(folder, self, self.corpus) as staging:
            vectors = np.lib.format.open_memmap(staging / "vectors.npy", "w+", self.arguments.vectors_dtype, shape)
            np.concatenate(self.vectors, out=vectors)  # shards of (m, H) -> (N, H)
            vectors.flush()
        self.vectors = [self._read(Path(folder) / "vectors.npy", len(self.corpus))]
        if self.index_dir is not None:
            shutil.rmtree(self._shards_folder(), ignore_errors=True)

    def load(self, folder: str | Path, corpus: Corpus) -> None:
        check_manifest(folder, self, corpus)
        vectors = self._read(Path(folder) / "vectors.npy", len(corpus))
        if vectors is None:
            raise UserError(f"{folder} holds no vectors of {len(corpus)} passages: delete it to build it anew")
        self.corpus, self.vectors = corpus, [vectors]

    def encode_questions(self, questions: Sequence[str]) -> np.ndarray:
        """Return float32 (n, H)."""
        return self._encode(self.bi_encoder.embed_questions, self.bi_encoder.tokenize_questions(questions), "questions")

    def encode_passages(self, corpus: Corpus, what: str = "passages") -> np.ndarray:
        """Return float32 (N, H); ``what`` names the progress bar."""
        rows = self.bi_encoder.tokenize_passages(list(zip(corpus.titles, corpus.texts, strict=True)))
        return self._encode(self.bi_encoder.embed_passages, rows, what)

    @cached_property
    def _encoders(self) -> dict[str, Any]:
        return encoder_identity(self.arguments.retriever_dir, self.arguments)

    @property
    def _who(self) -> str:
        return f"--retriever_dir {self.arguments.retriever_dir}"

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Name the encoders, and the way out, where they give no numbers."""
        try:
            yield
        except NotFiniteError as error:
            raise NotFiniteError(self._who, error.finding, "copy or train the encoder anew") from None

    def _encode(self, embed: Any, rows: list[dict[str, list[int]]], what: str) -> np.ndarray:
        precision = resolve_precision("auto", self.device)
        batch_size = self.arguments.encode_batch_size or (16 if self.device.type == "cpu" else 128)
        with self._blamed():
            return encode(embed, rows, self.bi_encoder.pad, batch_size, precision, self.device, what)

    def _encode_shard(self, part: Corpus, what: str) -> np.ndarray:
        """Return the vectors as they are kept; :class:`UserError` if some are too large for that."""
        with np.errstate(over="ignore"):  # told below
            vectors = self.encode_passages(part, what).astype(self.arguments.vectors_dtype)
        if not np.isfinite(vectors).all():
            raise UserError(
                f"{self._who} gives vectors that {self.arguments.vectors_dtype} cannot hold: "
                "check the encoder, or keep them as --vectors_dtype float32"
            )
        return vectors

    def _shards_folder(self) -> Path:
        folder = index_folder(self, self.corpus, self.index_dir)
        return folder.with_name(f".{folder.name}.shards")

    def _read(self, path: Path, size: int, width: int | None = None) -> np.ndarray | None:
        """Return the vectors (size, width) in ``path``, mapped into memory; None if it holds anything else."""
        try:
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        is_right = vectors.ndim == 2 and vectors.shape == (size, width or vectors.shape[1])
        return vectors if is_right and vectors.dtype == self.arguments.vectors_dtype else None


def search_vectors(
    questions: np.ndarray, shards: Sequence[np.ndarray], k: int, device: torch.device, block: int = _BLOCK_PASSAGES
) -> SearchResults:
    """Return the ``min(k, N)`` passages of the highest inner product with each of ``questions`` (n, H).

    ``shards`` (m, H) hold the N passages in order, in memory or mapped. They are read once, ``block`` at a time, and
    every block's best are merged into the best so far, so that memory grows with n * k alone. Score descending, ties
    by lower row number; the product is in float32. Raises :class:`NotFiniteError` for scores that are no numbers.
    """
    k = min(k, sum(map(len, shards)))
    if len(questions) == 0:
        return SearchResults(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
    question_blocks = torch.from_numpy(questions).to(device).split(_BLOCK_QUESTIONS)  # each (q, H)
    best = [
        (block.new_empty(len(block), 0), block.new_empty(len(block), 0, dtype=torch.long)) for block in question_blocks
    ]
    first = 0
    with progress_bar(total=sum(map(len, shards)), desc="Search", unit="passage", delay=1) as progress:
        for shard in shards:
            for start in range(0, len(shard), block):
                passages = torch.from_numpy(shard[start : start + block].astype(np.float32)).to(device)  # (p, H)
                for number, rows in enumerate(question_blocks):
                    scores, columns = _highest(rows @ passages.T, k)  # (q, H) @ (H, p), then (q, min(k, p)) each
                    best[number] = _merge(best[number], (scores, columns + first), k)
                first += len(passages)
                progress.update(len(passages))
    scores, ids = (torch.cat(parts).cpu().numpy() for parts in zip(*best, strict=True))  # (n, k) each
    # nan and infinity come first wherever there is one
    if not (finite := np.isfinite(scores).all(axis=1)).all():
        raise NotFiniteError("the encoder", f"gives question {finite.argmin()} scores that are not finite numbers")
    return SearchResults(ids, scores)


def _highest(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``min(k, p)`` highest of ``scores`` (q, p) and their columns, ties by lower column."""
    k = min(k, scores.shape[1])
    highest, columns = scores.topk(k, dim=1)  # (q, k) each; of equal scores topk takes any, in any order
    tied = (scores >= highest[:, -1:]).sum(dim=1) > k  # (q,), whether the cut goes through equal scores
    columns[tied] = scores[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    columns = columns.sort(dim=1).values  # (q, k)
    return _stable(scores.gather(1, columns), columns, k)


def _merge(
    before: tuple[torch.Tensor, torch.Tensor], found: tuple[torch.Tensor, torch.Tensor], k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best ``k`` of two (scores, rows), where all rows of the second come after those of the first."""
    scores, rows = (torch.cat(parts, dim=1) for parts in zip(before, found, strict=True))  # (q, k) -> (q, at most 2k)
    return _stable(scores, rows, k)


def _stable(scores: torch.Tensor, rows: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first ``k`` of (q, c) scores and rows by score descending, equal ones in the order they stand in."""
    scores, order = scores.sort(dim=1, descending=True, stable=True)  # (q, c) each
    return scores[:, :k], rows.gather(1, order[:, :k])  # (q, k) each


def _slice(corpus: Corpus, start: int) -> Corpus:
    rows = slice(start, start + SHARD_SIZE)
    return Corpus(corpus.document_ids[rows], corpus.titles[rows], corpus.texts[rows])
