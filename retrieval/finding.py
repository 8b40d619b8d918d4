"""From questions to retrieved passages, whichever way the flags name."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from datasets import Dataset

from loading.corpus import Corpus, find_corpus, load_corpus
from retrieval import create_retriever, load_or_build
from retrieval.arguments import IndexedRetrieverArguments, RetrieverArguments
from retrieval.base import Retriever
from retrieval.table import Retrieved, get_retrieved_df, retrieved_blocks, table_blocks
from runtime.errors import UserError


class PassageFinder(NamedTuple):
    """A retriever that is ready to search, and the corpus it searches."""

    retriever: Retriever
    corpus: Corpus

    def find(self, examples: Dataset, k: int) -> Retrieved:
        """Return the ``k`` best passages of every example (``id, question``)."""
        results = self.retriever.search(examples["question"], k)
        return Retrieved(partial(retrieved_blocks, examples, self.corpus, results), results.ids.shape[1])


def load_finder(
    arguments: IndexedRetrieverArguments, dataset_path: str, skip_bad_rows: bool, default_tokenizer: str
) -> PassageFinder:
    """Return the retriever of the flags, its index loaded or built, with its corpus.

    That is the one of ``context_path``, else the one in or beside ``dataset_path``; ``default_tokenizer`` serves
    ``--analyzer wordpiece``.
    """
    retriever = create_retriever(arguments, default_tokenizer)
    corpus = load_corpus(arguments.context_path or find_corpus(dataset_path), skip_bad_rows=skip_bad_rows)
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
            raise UserError("--retriever_type get_retrieved_df needs --retrieved_df_path, the table to read")
        df = get_retrieved_df(arguments.retrieved_df_path, examples, arguments.top_k_retrieval)
        return Retrieved(partial(table_blocks, df), int(df["rank"].max()))
    finder = load_finder(arguments, dataset_path, skip_bad_rows, default_tokenizer)
    return finder.find(examples, arguments.top_k_retrieval)
