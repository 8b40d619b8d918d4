"""What retrievers that encode passages have in common: their settings, shards that a killed build leaves, and blame."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loading.corpus import Corpus
from retrieval.base import Retriever, index_folder
from runtime.checksums import fault_of_file, sealed_file
from runtime.division import gathered, place, places
from runtime.errors import NotFiniteError
from runtime.flags import part_of
from runtime.log import get_logger

if TYPE_CHECKING:  # what needs torch is imported where it is used: flags are read before that
    import torch
    from typing_extensions import Self

logger = get_logger(__name__)

SHARDS = ".shards"  # ends the name of the folder of an index that is being encoded
SHARD_SIZE = 4096  # passages that are encoded and kept together: what a killed build may lose

Arrays = Mapping[str, np.ndarray]


class EncodesPassages:
    """A retriever that encodes as its ``flags`` say; processes that divide the work encode their share each.

    A build keeps what it has encoded in ``index_dir``, shard by shard, until the index is saved, so that one that was
    killed goes on where it stopped; without ``index_dir`` in memory.
    """

    divides_build = True
    flags: type

    def __init__(self, arguments: Any, index_dir: str | Path | None = None) -> None:
        self.arguments, self.index_dir = arguments, index_dir

    @classmethod
    def from_arguments(cls, arguments: Any, default_tokenizer: str | None) -> Self:
        own: Any = part_of(arguments, cls.flags)
        return cls(own, own.index_dir)

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

    @property
    def batch_size(self) -> int:
        """How many texts are encoded at once: as the flags say, else as suits the device."""
        return self.arguments.encode_batch_size or (16 if self.device.type == "cpu" else 128)

    @property
    def backend_if_changed(self) -> dict[str, str]:
        """What parameters say of ``--backend``: nothing of torch, so that indexes of before are found."""
        return {} if self.arguments.backend == "torch" else {"backend": self.arguments.backend}

    @property
    def who(self) -> str:
        """The flag that names the encoder, with its value, for errors."""
        return f"--retriever_dir {self.arguments.retriever_dir}"


def encoded_in_shards(
    retriever: Retriever,
    corpus: Corpus,
    index_dir: str | Path | None,
    names: Sequence[str],
    encode: Callable[[Corpus, str], Arrays],
) -> list[Arrays]:
    """Return what ``encode(part, what)`` makes of a shard of ``corpus`` after the other, arrays of these ``names``.

    They are kept in ``index_dir`` until :func:`forget_shards`, so that a killed build goes on where it stopped, and
    mapped into memory; without ``index_dir`` they are in memory. Processes that divide the work encode their shards
    each. ``what`` names a progress bar.
    """
    parts = [corpus.part(slice(start, start + SHARD_SIZE)) for start in range(0, len(corpus), SHARD_SIZE)]
    if index_dir is None:
        return [encode(part, "passages") for part in parts]
    folder = _folder(retriever, corpus, index_dir)
    folder.mkdir(parents=True, exist_ok=True)
    files = [{name: folder / f"{number:06d}-{name}.npy" for name in names} for number in range(len(parts))]
    kept = [all(fault_of_file(path) is None for path in of_one.values()) for of_one in files]
    if any(kept):
        logger.info("resumed: %d of %d shards are there, in %s", sum(kept), len(parts), folder)
    for number in range(place(), len(parts), places()):
        if not kept[number]:
            encoded = encode(parts[number], f"passages, shard {number + 1} of {len(parts)}")
            for name, path in files[number].items():
                with sealed_file(path) as staging, staging.open("wb") as file:
                    np.save(file, encoded[name], allow_pickle=False)
    gathered(None)  # all shards are written
    return [{name: mapped(path) for name, path in of_one.items()} for of_one in files]


def forget_shards(retriever: Retriever, index_dir: str | Path | None) -> None:
    """Remove what :func:`encoded_in_shards` kept for ``retriever``, whose index is saved."""
    if index_dir is not None:
        shutil.rmtree(_folder(retriever, retriever.corpus, index_dir), ignore_errors=True)


def mapped(path: Path) -> np.ndarray:
    """Return the array in ``path``, mapped into memory; OSError, ValueError or EOFError if it holds none."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def write_rows(path: Path, arrays: Sequence[np.ndarray]) -> None:
    """Write ``arrays`` as one, row after row; through a memory map, a full disk would be a SIGBUS."""
    shape = (sum(map(len, arrays)), *arrays[0].shape[1:])
    header = {"descr": arrays[0].dtype.str, "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for array in arrays:
            file.write(np.ascontiguousarray(array).data)


@contextmanager
def blamed(who: str) -> Iterator[None]:
    """Name the encoder, and the way out, where it gives no numbers."""
    try:
        yield
    except NotFiniteError as error:
        raise NotFiniteError(who, error.finding, "copy or train the encoder again") from None


@contextmanager
def encoding(who: str) -> Iterator[None]:
    """Do what :func:`blamed` does, and name the flag that bounds it where memory is too small for a batch."""
    from runtime.fitting import memory_for

    with blamed(who), memory_for("--encode_batch_size"):
        yield


def _folder(retriever: Retriever, corpus: Corpus, index_dir: str | Path) -> Path:
    folder = index_folder(retriever, corpus, index_dir)
    return folder.with_name(f".{folder.name}{SHARDS}")
