"""Dense retrieval: the exact inner product of encoder vectors (Karpukhin et al. 2020, Dense Passage Retrieval)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    index_folder,
    new_index_folder,
)
from runtime.arguments import BackendArguments
from runtime.checksums import fault_of_file, sealed_file
from runtime.division import gathered, place, places
from runtime.errors import NotFiniteError, UserError
from runtime.flags import flag, flag_group, part_of
from runtime.log import get_logger

if TYPE_CHECKING:  # what needs torch is imported where it is used: the flags below are read before that
    import torch

    from models.encoder import BiEncoder

logger = get_logger(__name__)

SHARDS = ".shards"  # ends the name of the folder of an index that is being encoded
SHARD_SIZE = 4096  # passages that are encoded and kept together: what a killed build may lose


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


class DenseRetrieval:
    """The inner product of question and passage vectors, over all passages.

    A build keeps what it has encoded in ``index_dir``, shard by shard, until the index is saved, so that one that was
    killed goes on where it stopped; without ``index_dir`` in memory. Processes that divide the work encode their shards
    each.
    """

    name = "DenseRetrieval"
    libraries: Sequence[str] = ("torch", "transformers")
    flags: type = DenseArguments
    divides_build = True
    build_seconds: float

    def __init__(self, arguments: DenseArguments, index_dir: str | Path | None = None) -> None:
        self.arguments = arguments
        self.index_dir = index_dir

    @classmethod
    def from_arguments(cls, arguments: EncodingArguments, default_tokenizer: str | None) -> DenseRetrieval:
        arguments = part_of(arguments, DenseArguments)
        return cls(arguments, arguments.index_dir)

    @cached_property
    def device(self) -> torch.device:
        """Where vectors are computed."""
        from runtime.device import default_device

        return default_device()

    @cached_property
    def precision(self) -> str:
        """The best precision of the device."""
        from runtime.device import resolve_precision

        return resolve_precision("auto", self.device)

    @cached_property
    def bi_encoder(self) -> BiEncoder:
        """The encoders, loaded when something is first encoded."""
        import torch

        from models.encoder import check_encoders, load_bi_encoder

        encoders = load_bi_encoder(self.arguments.retriever_dir, self.arguments, shared=True)
        check_encoders(encoders, self._who)
        if self.arguments.backend == "openvino":
            from models.quantized import quantized_pair

            return quantized_pair(encoders, self.precision)
        # weights and all in between too, which autocast leaves in fp32: a third faster, cosines differ by 4e-5
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        return encoders.to(self.device, dtype)

    def parameters(self) -> dict[str, Any]:
        backend = {} if self.arguments.backend == "torch" else {"backend": self.arguments.backend}
        return {**self._encoders, "vectors_dtype": self.arguments.vectors_dtype, **backend}

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
        width = self.bi_encoder.width
        kept = [self._is_kept(path, len(part), width) for path, part in zip(paths, parts, strict=True)]
        if sum(kept):
            logger.info("resumed: %d of %d shards are there, in %s", sum(kept), len(parts), folder)
        for number in range(place(), len(parts), places()):
            if not kept[number]:
                encoded = self._encode_shard(parts[number], f"passages, shard {number + 1} of {len(parts)}")
                with sealed_file(paths[number]) as staging, staging.open("wb") as file:
                    np.save(file, encoded, allow_pickle=False)
        gathered(None)  # all shards are written
        self.vectors = [self._read_whole(path, len(part)) for path, part in zip(paths, parts, strict=True)]

    def search(self, questions: Sequence[str], k: int) -> SearchResults:
        from retrieval.vector_search import search_vectors

        vectors = self.encode_questions(questions)
        with self._blamed():
            return search_vectors(vectors, self.vectors, k, self.device)

    def explain(self, question: str, rows: Sequence[int], k: int) -> Explanation:
        """Return the inner product, which is all that there is to say of two vectors."""
        (asked,) = self.encode_questions([question])  # (H,)
        places = (divmod(row, len(self.vectors[0])) for row in rows)  # all shards but the last are of one size
        scores = (float(asked @ self.vectors[shard][place].astype(np.float32)) for shard, place in places)
        return Explanation({}, [[Part("inner product", score)] for score in scores])

    def save(self, folder: str | Path) -> None:
        shape = (len(self.corpus), self.vectors[0].shape[1])
        header = {"descr": np.dtype(self.arguments.vectors_dtype).str, "fortran_order": False, "shape": shape}
        with new_index_folder(folder, self, self.corpus) as staging, (staging / "vectors.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for shard in self.vectors:  # (m, H) each -> (N, H); through a memory map, a full disk would be a SIGBUS
                file.write(np.ascontiguousarray(shard).data)
        self.vectors = [self._read_whole(Path(folder) / "vectors.npy", len(self.corpus))]
        if self.index_dir is not None:
            shutil.rmtree(self._shards_folder(), ignore_errors=True)

    def load(self, folder: str | Path, corpus: Corpus) -> None:
        check_manifest(folder, self, corpus)
        self.corpus, self.vectors = corpus, [self._read_whole(Path(folder) / "vectors.npy", len(corpus))]

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

    @property
    def _who(self) -> str:
        return f"--retriever_dir {self.arguments.retriever_dir}"

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Name the encoders, and the way out, where they give no numbers."""
        try:
            yield
        except NotFiniteError as error:
            raise NotFiniteError(self._who, error.finding, "copy or train the encoder again") from None

    def _encode(self, embed: Any, rows: list[dict[str, list[int]]], what: str) -> np.ndarray:
        from models.encoder import encode
        from runtime.fitting import memory_for

        batch_size = self.arguments.encode_batch_size or (16 if self.device.type == "cpu" else 128)
        with self._blamed(), memory_for("--encode_batch_size"):
            return encode(embed, rows, self.bi_encoder.pad, batch_size, self.precision, self.device, what)

    def _encode_shard(self, part: Corpus, what: str) -> np.ndarray:
        """Return the vectors as they are kept; :class:`UserError` if some are too large for that."""
        with np.errstate(over="ignore"):  # reported below
            vectors = self.encode_passages(part, what).astype(self.arguments.vectors_dtype)
        if not np.isfinite(vectors).all():
            raise UserError(
                f"{self._who} gives vectors that {self.arguments.vectors_dtype} cannot hold: "
                "check the encoder, or keep them as --vectors_dtype float32"
            )
        return vectors

    def _shards_folder(self) -> Path:
        folder = index_folder(self, self.corpus, self.index_dir or "")
        return folder.with_name(f".{folder.name}{SHARDS}")

    def _read_whole(self, path: Path, size: int) -> np.ndarray:
        """Return what :meth:`_read` does; :class:`UnusableIndex` if that is None."""
        vectors = self._read(path, size)
        if vectors is None:
            raise UnusableIndex(path.parent, f"it holds no vectors of {size} passages")
        return vectors

    def _is_kept(self, path: Path, size: int, width: int) -> bool:
        """Whether a killed build left the shard, as it was written."""
        return path.exists() and fault_of_file(path) is None and self._read(path, size, width) is not None

    def _read(self, path: Path, size: int, width: int | None = None) -> np.ndarray | None:
        """Return the vectors (size, width) in ``path``, mapped into memory; None if it holds anything else."""
        try:
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        is_right = vectors.ndim == 2 and vectors.shape == (size, width or vectors.shape[1])
        return vectors if is_right and vectors.dtype == self.arguments.vectors_dtype else None


def _slice(corpus: Corpus, start: int) -> Corpus:
    rows = slice(start, start + SHARD_SIZE)
    return Corpus(corpus.document_ids[rows], corpus.titles[rows], corpus.texts[rows])
