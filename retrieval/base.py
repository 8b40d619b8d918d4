"""What every retriever shares: the protocol, the choice of the k best, and indexes that describe themselves."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from loading.corpus import Corpus
from runtime.checksums import fault_of_folder, sealed_folder
from runtime.command_line import FlagError
from runtime.errors import NotFiniteError, UserError
from runtime.files import read_json, write_json
from runtime.flags import fields_by_name, flag, flag_group, flag_of
from runtime.hashing import hash_files, hash_json
from runtime.progress import progress_bar

MANIFEST_NAME = "manifest.json"
FORMAT_VERSION = 1  # of saved indexes: raise it when older ones must not be read any more
CREDENTIALS_ARE_VARIABLES = (
    "set ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD, or MILVUS_TOKEN, in the environment"
)
_NOT_AN_ADDRESS_ALONE = re.compile(r"\w+://.*[@?#]|[^/]*:[^/]*@")
_BLOCK_SCORES = 2**22  # scores held at once while searching: 16 MiB of float32
_STRETCHES = 16  # per passage that is looked for: the more, the closer the bound on its score


class UnusableIndex(UserError):
    """A folder that is damaged, or whose index on a server is gone: ``reason`` says how. It can be built again."""

    def __init__(self, folder: str | Path, reason: str) -> None:
        super().__init__(f"the index {folder} cannot be used, {reason}: delete the folder to rebuild it")
        self.reason = reason


class MissingPackage(UserError):
    """A package that an installation may lack is needed."""


class SearchResults(NamedTuple):
    """The k best passages of n questions, best first."""

    ids: np.ndarray  # (n, k) int64, row numbers in the corpus
    scores: np.ndarray  # (n, k) float32


@flag_group("retriever")
class IndexArguments:
    """Where indexes are kept."""

    index_dir: str = flag(
        "./outputs/index", "Folder for indexes; each is keyed by corpus and parameters.", writes="store"
    )


class Part(NamedTuple):
    """What adds ``score`` to a passage's: a term, a token with the one that it matches, one of several retrievers.

    ``detail`` says where the score comes from; ``parts`` make up a retriever's own score.
    """

    name: str
    score: float
    detail: str = ""
    parts: Sequence[Part] = ()


class Explanation(NamedTuple):
    """Why passages have their scores.

    ``cuts`` are what the question became, in order, under the name of what cut it; empty where nothing does. ``parts``
    are those of each passage, the largest first: their scores add up to the passage's.
    """

    cuts: Mapping[str, Sequence[str]]
    parts: Sequence[Sequence[Part]]


class Retriever(Protocol):
    """Finds passages.

    ``name`` is what users type, ``libraries`` are the packages whose versions a manifest keeps. ``corpus`` is there
    once it is built or loaded, ``build_seconds`` where :func:`retrieval.load_or_build` built it.
    """

    name: str
    libraries: Sequence[str]
    corpus: Corpus
    build_seconds: float

    def parameters(self) -> dict[str, Any]:
        """Everything beside the corpus that changes the results, as JSON can hold it."""

    def build(self, corpus: Corpus) -> None:
        """Index ``corpus``."""

    def search(self, questions: Sequence[str], k: int) -> SearchResults:
        """Return the ``min(k, len(corpus))`` best passages of every question."""

    def save(self, folder: str | Path) -> None:
        """Write the index as ``folder``, whole or not at all."""

    def load(self, folder: str | Path, corpus: Corpus) -> None:
        """Read the index of ``corpus``; raise :class:`UserError` when ``folder`` holds another one, and
        :class:`UnusableIndex` when it is damaged or gone."""


@runtime_checkable
class Explaining(Protocol):
    """What a retriever may do beside: say why. One that leaves it out is refused where reasons are asked for."""

    def explain(self, question: str, rows: Sequence[int], k: int) -> Explanation:
        """Say why the passages in ``rows``, found or not, have the scores that ``search([question], k)`` gives."""


class NamedRetriever(Retriever, Protocol):
    """A retriever that users can name; ``flags`` is the dataclass of the flags that it reads."""

    flags: type

    @classmethod
    def from_arguments(cls, arguments: Any, default_tokenizer: str | None) -> NamedRetriever:
        """Return the retriever that ``arguments``, an instance of ``flags``, describe.

        ``default_tokenizer`` serves ``--analyzer wordpiece``.
        """


def refuse_credentials(arguments: Any, name: str) -> None:
    """Raise :class:`FlagError` if the address in field ``name`` holds more than an address.

    It would be logged and saved with the other flags. Unlike elsewhere, credentials with strange characters and
    parameters are recognised too.
    """
    if _NOT_AN_ADDRESS_ALONE.match(getattr(arguments, name)):
        described = flag_of(fields_by_name(arguments)[name])
        raise FlagError([f"--{name} must not hold credentials: {described.way_out_of_credentials}"])


def parts_of(retriever: Retriever) -> Sequence[Retriever]:
    """Return the retrievers that ``retriever`` is made of; none for one that has an index of its own."""
    return getattr(retriever, "parts", ())


def ranks_by_row(results: SearchResults) -> dict[int, tuple[int, float]]:
    """Return rank, from 1, and score of every passage that was found for the first question, by its row."""
    ids, scores = (part[0].tolist() for part in results)  # (n, k) -> (k,) each
    return {row: (rank, score) for rank, (row, score) in enumerate(zip(ids, scores, strict=True), start=1)}


def largest_first(parts: Iterable[Part]) -> list[Part]:
    """Return ``parts`` by their scores, equal ones as they stand."""
    return sorted(parts, key=lambda part: -part.score)


def top_k(scores: np.ndarray, k: int) -> SearchResults:
    """Return the ``min(k, N)`` highest of ``scores`` (n, N): score descending, ties by lower row number.

    The same as the first k of a stable full sort, at the price of two readings: the k-th highest of the maxima of
    stretches is a bound below which none of the k best lies, and above it lie few. Raises :class:`NotFiniteError` for
    nan and infinity, which would come first.
    """
    size = scores.shape[1]
    k = min(k, size)
    ids = np.empty((len(scores), k), dtype=np.int64)
    width = max(1, size // (_STRETCHES * k))
    count, rest = divmod(size, width)  # of stretches, at least k, and of scores after the last
    for row, row_scores in enumerate(scores):
        maxima = row_scores[: size - rest].reshape(count, width).max(axis=1)  # (N,) -> (count,)
        if not (maxima.max() < np.inf and row_scores[size - rest :].max(initial=-np.inf) < np.inf):
            raise NotFiniteError("the retriever", f"gives question {row} scores that are not finite numbers")
        bound = np.partition(maxima, count - k)[count - k]
        candidates = np.flatnonzero(row_scores >= bound)  # (m,), k <= m, rows ascending
        values = row_scores[candidates]  # (m,)
        cut = np.partition(values, len(values) - k)[len(values) - k]
        above = candidates[values > cut]  # (fewer than k,); tied at the cut may be all that share no term
        ordered = above[np.argsort(-row_scores[above], kind="stable")]
        ids[row] = np.concatenate([ordered, candidates[values == cut][: k - len(above)]])  # (k,)
    return SearchResults(ids, np.take_along_axis(scores, ids, axis=1).astype(np.float32))


def search_in_blocks(
    score: Callable[[Sequence[Any]], np.ndarray], questions: Sequence[Any], corpus_size: int, k: int
) -> SearchResults:
    """Return the best of ``score(block of questions) -> (block, N)``, never holding more than one block's scores.

    Scores are rounded to float32 before they are ranked, so that passages whose scores are mathematically equal
    stay in the order of the corpus whatever the engine's rounding.
    """
    block_size = max(1, _BLOCK_SCORES // corpus_size)
    blocks = [top_k(np.empty((0, corpus_size), np.float32), k)]  # so that no questions give (0, k)
    with progress_bar(total=len(questions), desc="Search", unit="question", delay=1) as progress:
        for start in range(0, len(questions), block_size):
            block = questions[start : start + block_size]
            blocks.append(top_k(score(block).astype(np.float32, copy=False), k))
            progress.update(len(block))
    return SearchResults(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))  # (n, k) each


def identity(retriever: Retriever, corpus: Corpus) -> dict[str, Any]:
    """Return what an index stands for; two with equal identities give equal results."""
    content = {
        "format_version": FORMAT_VERSION,
        "retriever": retriever.name,
        "parameters": retriever.parameters(),
        "corpus_size": len(corpus),
        "corpus_hash": corpus.hash,
    }
    return json.loads(json.dumps(content))  # as it will be read back: tuples become lists


def index_folder(retriever: Retriever, corpus: Corpus, index_dir: str | Path) -> Path:
    """Return the folder of an index, whose name holds a hash of everything that the results depend on."""
    return Path(index_dir) / f"{retriever.name}-{hash_json(identity(retriever, corpus))[:16]}"


@contextmanager
def new_index_folder(folder: str | Path, retriever: Retriever, corpus: Corpus) -> Iterator[Path]:
    """Yield a folder to write the index into; with its manifest and the checksums of its files it becomes ``folder``,
    or vanishes on failure."""
    with sealed_folder(folder) as staging:
        yield staging
        versions = {library: version(library) for library in retriever.libraries}
        content = {**identity(retriever, corpus), "code_version": _code_version(), "library_versions": versions}
        content["build_seconds"] = getattr(retriever, "build_seconds", None)  # known where load_or_build built it
        write_json(staging / MANIFEST_NAME, content)


def check_manifest(folder: str | Path, retriever: Retriever, corpus: Corpus) -> None:
    """Raise :class:`UserError` unless ``folder`` is an index of this retriever over this corpus, :class:`UnusableIndex`
    unless all of its files are as they were written."""
    if (fault := fault_of_folder(folder)) is not None:
        raise UnusableIndex(folder, fault)
    found, expected = read_json(Path(folder) / MANIFEST_NAME), identity(retriever, corpus)
    if differences := list(_differences({key: found.get(key) for key in expected}, expected)):
        raise UserError(
            f"the index {folder} was built for something else: {'; '.join(differences)}. "
            "Use the corpus and flags it was built with, or another --index_dir."
        )


def _differences(found: Any, expected: Any, name: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in {**expected, **found}:
            yield from _differences(found.get(key), expected.get(key), f"{name} {key}".strip())
    elif found != expected:
        yield f"{name} is {found!r} there and {expected!r} here"


class OfParts(Retriever):
    """A retriever that is made of others, its ``parts``: built, saved and loaded as they are."""

    libraries: Sequence[str] = ()
    build_seconds: float
    parts: list[Retriever]

    def build(self, corpus: Corpus) -> None:
        self.corpus = corpus
        for part in self.parts:
            part.build(corpus)

    def save(self, folder: str | Path) -> None:
        with new_index_folder(folder, self, self.corpus) as staging:
            for number, part in enumerate(self.parts):
                part.save(staging / str(number))

    def load(self, folder: str | Path, corpus: Corpus) -> None:
        check_manifest(folder, self, corpus)
        self.corpus = corpus
        for number, part in enumerate(self.parts):
            part.load(Path(folder) / str(number), corpus)


def import_optional(module: str, package: str) -> ModuleType:
    """Import ``module``; raise :class:`MissingPackage` naming the pip command when it cannot."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        reason = f"{package} is needed here and cannot be imported ({error})"
        raise MissingPackage(f"{reason}: pip install {package}") from None


def _code_version() -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 of this folder's source files."""
    return hash_files(sorted(Path(__file__).parent.glob("*.py")))[:12]
