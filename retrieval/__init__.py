"""Passage retrieval: the corpus, the retrievers behind one protocol, and what travels between them and a reader."""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from loading.corpus import Corpus
from retrieval.base import NamedRetriever, Retriever, SearchResults, UnusableIndex, index_folder, parts_of
from retrieval.bm25 import SparseRetrieval_BM25P
from retrieval.dense import DenseRetrieval
from retrieval.elastic import ElasticRetrieval
from retrieval.encoding import SHARDS
from retrieval.hybrid import HybridRetrieval
from retrieval.milvus import MilvusRetrieval
from retrieval.multi_vector import MultiVectorRetrieval
from retrieval.rerank import RerankedRetrieval
from retrieval.sparse_encoder import SparseEncoderRetrieval
from retrieval.tfidf import SparseRetrieval_TFIDF
from runtime.division import done_once, gathered, own_share, place
from runtime.errors import UserError
from runtime.files import remove_leftovers, remove_old
from runtime.locks import check_writable, turn_at
from runtime.log import get_logger
from runtime.one_word import name_of

if TYPE_CHECKING:
    from retrieval.arguments import IndexedRetrieverArguments

logger = get_logger(__name__)

_RESUMED_WITHIN = 7  # days, after which what a killed encoding kept to go on from is a left-over
_Retriever = TypeVar("_Retriever", bound=Retriever)

RETRIEVERS: dict[str, type[NamedRetriever]] = {
    retriever.name: retriever
    for retriever in (
        SparseRetrieval_BM25P,
        SparseRetrieval_TFIDF,
        DenseRetrieval,
        MultiVectorRetrieval,
        SparseEncoderRetrieval,
        HybridRetrieval,
        ElasticRetrieval,
        MilvusRetrieval,
    )
}


def create_retriever(arguments: IndexedRetrieverArguments, default_tokenizer: str | None = None) -> Retriever:
    """Return the retriever that ``arguments`` names, perhaps with flags of its own (see ``retrieval/spec.py``);
    ``default_tokenizer`` serves ``--analyzer wordpiece``."""
    from retrieval.arguments import RetrieverArguments  # which is made of the registry
    from retrieval.spec import arguments_of

    name = name_of(arguments.retriever_type)
    if name not in RETRIEVERS:
        raise UserError(not_a_retriever(name))
    own = arguments_of(arguments.retriever_type, arguments, RetrieverArguments)
    retriever = RETRIEVERS[name].from_arguments(own, default_tokenizer)
    return retriever if own.reranker is None else RerankedRetrieval.around(retriever, own)


def not_a_retriever(name: str, others: Sequence[str] = ()) -> str:
    """Return that ``name`` names neither a retriever nor one of ``others``, and what is meant or there is."""
    known = [*RETRIEVERS, *others]
    near = [one for one in known if name.lower() in one.lower()] or difflib.get_close_matches(name, known, n=1)
    way_out = f"did you mean {' or '.join(near)}?" if 0 < len(near) <= 2 else f"choose from: {', '.join(known)}"
    return f"no retriever is named {name}; {way_out}"


def load_or_build(retriever: _Retriever, corpus: Corpus, index_dir: str | Path) -> _Retriever:
    """Make ``retriever`` ready over ``corpus``: from its folder in ``index_dir`` if that is whole, else built and saved
    there. One that is made of others has no folder: its ``parts`` are made ready, each as if it stood alone.

    Of several processes that divide the work the main one builds, or all do where the retriever ``divides_build``;
    the others load what it saved, for which ``index_dir`` must be one folder for all.

    A server that does not answer, or refuses, is no damage: its :class:`UserError` is raised.
    """
    if parts := parts_of(retriever):
        for part in parts:
            load_or_build(part, corpus, index_dir)
        retriever.corpus = corpus
        return retriever
    if place() == 0:
        remove_leftovers(index_dir)
        remove_old(Path(index_dir).glob(f".*{SHARDS}"), days=_RESUMED_WITHIN)
    folder = index_folder(retriever, corpus, index_dir)
    lock, was_there = folder.with_name(f".{folder.name}.lock"), folder.exists()
    if all(gathered(was_there and _is_loaded(retriever, folder, corpus))):
        with suppress(OSError):  # of a process that was killed
            lock.unlink()
        logger.info("index %s: loaded", folder)
        return retriever
    check_writable(index_dir, "--index_dir")
    Path(index_dir).mkdir(parents=True, exist_ok=True)
    with turn_at(lock) if place() == 0 else nullcontext():
        gathered(None)  # the main process has its turn
        if all(gathered(not was_there and folder.exists() and _is_loaded(retriever, folder, corpus))):
            logger.info("index %s: loaded, as another process has built it", folder)
        else:
            _build(retriever, corpus, folder)
    return retriever


def _build(retriever: Retriever, corpus: Corpus, folder: Path) -> None:
    began = time.perf_counter()
    divides = getattr(retriever, "divides_build", False)
    if divides:
        retriever.build(corpus)

    def finish() -> None:
        if not divides:
            retriever.build(corpus)
        retriever.build_seconds = time.perf_counter() - began
        retriever.save(folder)

    done_once(finish)
    if place() > 0:
        retriever.load(folder, corpus)
    logger.info("index %s: built over %d passages and saved", folder, len(corpus))


def _is_loaded(retriever: Retriever, folder: Path, corpus: Corpus) -> bool:
    try:
        retriever.load(folder, corpus)
    except UnusableIndex as error:
        logger.warning("index %s cannot be used and is rebuilt: %s", folder, error.reason)
        return False
    return True


def divided_search(retriever: Retriever, questions: Sequence[str], k: int) -> SearchResults:
    """Return what ``retriever.search`` does, each process searching for its share of the questions."""
    own = own_share(len(questions))
    parts = gathered(retriever.search(questions[own.start : own.stop], k))
    return SearchResults(*(np.concatenate(part) for part in zip(*parts, strict=True)))  # (n, k) each
