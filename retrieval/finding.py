"""From questions to retrieved passages, whichever way the flags name."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset

from loading.arguments import column_names
from loading.chunking import Chunking, chunk_corpus
from loading.cleaning import clean_corpus
from loading.corpus import Corpus, find_corpus, load_corpus
from models.loading import load_tokenizer
from retrieval import create_retriever, divided_search, load_or_build
from retrieval.arguments import NO_TABLE, CorpusArguments, IndexedRetrieverArguments, RetrieverArguments
from retrieval.base import Retriever
from retrieval.explanation import ExplainedQuestion, explain_found
from retrieval.table import Retrieved, get_retrieved_df, retrieved_blocks, table_blocks
from runtime.errors import UserError
from runtime.log import get_logger

logger = get_logger(__name__)


class PassageFinder(NamedTuple):
    """A retriever that is ready to search, and the corpus it searches."""

    retriever: Retriever
    corpus: Corpus

    def find(self, examples: Dataset, k: int) -> Retrieved:
        """Return the ``k`` best passages of every example (``id, question``)."""
        results = divided_search(self.retriever, examples["question"], k)
        return Retrieved(partial(retrieved_blocks, examples, self.corpus, results), results.ids.shape[1])

    def explain(self, question: str, k: int) -> ExplainedQuestion:
        """Say why the ``k`` best passages of ``question`` are found, by a retriever that is ``Explaining``."""
        found = self.retriever.search([question], k)
        return explain_found(self.retriever, self.corpus, question, found, k)  # type: ignore[arg-type]


def corpus_path(arguments: CorpusArguments, dataset_path: str) -> Path:
    """Return where the corpus is: ``context_path``, else the file in or beside ``dataset_path``."""
    return find_corpus(dataset_path) if arguments.context_path is None else Path(arguments.context_path)


def load_passages(
    arguments: CorpusArguments, path: str | Path, skip_bad_rows: bool, default_tokenizer: str | None = None
) -> Corpus:
    """Return the corpus in ``path`` as the flags have it: its columns, cleaned, in chunks.

    ``default_tokenizer`` serves ``--chunk tokens``.
    """
    corpus = load_corpus(path, skip_bad_rows, column_names(arguments.corpus_column))
    return as_passages(corpus, arguments, default_tokenizer)


def as_passages(corpus: Corpus, arguments: CorpusArguments, default_tokenizer: str | None = None) -> Corpus:
    """Return ``corpus`` cleaned and in chunks as the flags say; ``default_tokenizer`` serves ``--chunk tokens``."""
    if arguments.clean:
        corpus = clean_corpus(corpus)
    if arguments.chunk == "none":
        return corpus
    tokenizer = None
    if arguments.chunk == "tokens":
        name = arguments.chunk_tokenizer or default_tokenizer
        if name is None:
            raise UserError("--chunk tokens needs --chunk_tokenizer, the tokenizer that counts them")
        tokenizer = load_tokenizer(name, "name one with --chunk_tokenizer")
        if not tokenizer.is_fast:
            raise UserError(f"the tokenizer in {name} does not say where tokens are: name a fast --chunk_tokenizer")
    if arguments.chunk_size is None:
        raise UserError(f"--chunk {arguments.chunk} needs the size of a chunk: give chunk_size")
    documents = len(corpus)
    corpus = chunk_corpus(corpus, Chunking(arguments.chunk, arguments.chunk_size, arguments.chunk_overlap, tokenizer))
    logger.info("%d documents were cut into %d passages", documents, len(corpus))
    return corpus


def load_finder(
    arguments: IndexedRetrieverArguments, dataset_path: str, skip_bad_rows: bool, default_tokenizer: str
) -> PassageFinder:
    """Return the retriever of the flags, its index loaded or built, with its corpus.

    That is the one of ``context_path``, else the one in or beside ``dataset_path``; ``default_tokenizer`` serves
    ``--analyzer wordpiece`` and ``--chunk tokens``.
    """
    retriever = create_retriever(arguments, default_tokenizer)
    corpus = load_passages(arguments, corpus_path(arguments, dataset_path), skip_bad_rows, default_tokenizer)
    return PassageFinder(load_or_build(retriever, corpus, arguments.index_dir), corpus)


def find_passages(
    examples: Dataset, arguments: RetrieverArguments, dataset_path: str, skip_bad_rows: bool, default_tokenizer: str
) -> Retrieved | None:
    """Return the passages of every question (see ``retrieval/table.py``); None without a retriever.

    ``default_tokenizer`` serves ``--analyzer wordpiece``.
    """
    if arguments.retriever_type == "none":
        return None
    if arguments.retriever_type == "get_retrieved_df":
        if arguments.retrieved_df_path is None:
            raise UserError(NO_TABLE)
        df = get_retrieved_df(arguments.retrieved_df_path, examples, arguments.top_k_retrieval)
        return Retrieved(partial(table_blocks, df), int(df["rank"].max()))
    finder = load_finder(arguments, dataset_path, skip_bad_rows, default_tokenizer)
    return finder.find(examples, arguments.top_k_retrieval)
