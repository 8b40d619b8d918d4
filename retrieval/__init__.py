"""Passage retrieval: the corpus, the retrievers behind one protocol, and what travels between them and a reader."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from arguments import RetrieverArguments
from retrieval.base import Retriever, identity
from retrieval.bm25 import SparseRetrieval_BM25P
from retrieval.corpus import Corpus
from retrieval.tfidf import SparseRetrieval_TFIDF
from runtime.errors import UserError
from runtime.log import get_logger

logger = get_logger(__name__)

RETRIEVERS: dict[str, type[Retriever]] = {
    retriever.name: retriever for retriever in (SparseRetrieval_BM25P, SparseRetrieval_TFIDF)
}


def create_retriever(arguments: RetrieverArguments, default_tokenizer: str | None = None) -> Retriever:
    """Return the retriever that ``arguments`` names; ``default_tokenizer`` serves ``--analyzer wordpiece``."""
    if arguments.retriever_type not in RETRIEVERS:
        choices = ", ".join([*RETRIEVERS, "get_retrieved_df", "none"])
        raise UserError(f"--retriever_type {arguments.retriever_type} cannot be built: choose from {choices}")
    return RETRIEVERS[arguments.retriever_type].from_arguments(arguments, default_tokenizer)


def load_or_build(retriever: Retriever, corpus: Corpus, index_dir: str | Path) -> Retriever:
    """Make ``retriever`` ready over ``corpus``: from its folder in ``index_dir`` if that is complete, else built and
    saved there. The folder's name holds a hash of everything that the results depend on."""
    key = hashlib.sha256(json.dumps(identity(retriever, corpus), sort_keys=True).encode("ascii")).hexdigest()[:16]
    folder = Path(index_dir) / f"{retriever.name}-{key}"
    if folder.exists():
        try:
            retriever.load(folder, corpus)
        except Exception as error:  # a damaged file can raise anything
            logger.warning("index %s is damaged and is built anew: %s", folder, error)
        else:
            logger.info("index %s: loaded", folder)
            return retriever
    retriever.build(corpus)
    retriever.save(folder)
    logger.info("index %s: built over %d passages and saved", folder, len(corpus))
    return retriever
