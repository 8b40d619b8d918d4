"""From questions to retrieved passages, whichever way the flags name."""

from __future__ import annotations

from functools import partial

from datasets import Dataset

from loading.corpus import find_corpus, load_corpus
from retrieval import create_retriever, load_or_build
from retrieval.arguments import RetrieverArguments
from retrieval.table import Retrieved, get_retrieved_df, retrieved_blocks, table_blocks
from runtime.errors import UserError


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
    retriever = create_retriever(arguments, default_tokenizer)
    corpus = load_corpus(arguments.context_path or find_corpus(dataset_path), skip_bad_rows=skip_bad_rows)
    retriever = load_or_build(retriever, corpus, arguments.index_dir)
    results = retriever.search(examples["question"], arguments.top_k_retrieval)
    return Retrieved(partial(retrieved_blocks, examples, corpus, results), results.ids.shape[1])
