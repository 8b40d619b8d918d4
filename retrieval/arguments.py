"""Flags of retrieval: which retriever, with the flags declared beside its code, and how models are trained."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Literal

from loading.arguments import DataArguments, fault_of_columns
from loading.chunking import UNITS
from retrieval import RETRIEVERS, not_a_retriever
from retrieval.base import CREDENTIALS_ARE_VARIABLES, Explaining, IndexArguments
from retrieval.rerank import RerankArguments
from retrieval.spec import own_flags
from runtime.arguments import SeedArguments
from runtime.flags import (
    changed,
    changes,
    fields_by_name,
    flag,
    flag_group,
    flag_of,
    only_if,
    spelling_of,
    with_parameters,
)
from runtime.one_word import name_of

NO_TABLE = "--retriever_type get_retrieved_df needs --retrieved_df_path, the table to read"
WITHOUT_INDEX = ("get_retrieved_df", "none")
_INDEXED = only_if(
    lambda arguments: arguments.retriever_type not in WITHOUT_INDEX, "nothing is indexed with this --retriever_type"
)
_CHUNKED = only_if(lambda arguments: arguments.chunk != "none", "add --chunk sentences, words or tokens")


@flag_group("retriever")
class CorpusArguments:
    """What is searched."""

    context_path: str | None = flag(
        None,
        "Corpus: wikipedia_documents.json, or a table of id, title and text (.csv, .tsv, .jsonl, .json, .parquet; also "
        ".gz) (default: the one in or beside dataset_path).",
    )
    corpus_column: list[str] = flag(
        [],
        "What the corpus calls one of our columns, as text=body; may be given several times.",
        group="corpus",
        repeatable=True,
        fault=fault_of_columns(("id", "title", "text")),
    )
    clean: bool = flag(False, "Take wiki markup (links, templates, tags, footnotes) out of the corpus.", group="corpus")
    chunk: str = flag(
        "none",
        "Cut the documents of the corpus into passages of chunk_size of these.",
        group="corpus",
        choices=list(UNITS),
    )
    chunk_size: int | None = flag(
        None,
        "Sentences, words or tokens of a passage at most.",
        group="corpus",
        at_least=1,
        at_most=10_000,
        read_if=_CHUNKED,
    )
    chunk_overlap: int = flag(
        0, "Sentences, words or tokens that neighbouring passages share.", group="corpus", at_least=0, read_if=_CHUNKED
    )
    chunk_tokenizer: str | None = flag(
        None,
        "Tokenizer (folder or hub name) of --chunk tokens (default: the one of the model that is trained or reads).",
        group="corpus",
        read_if=only_if(lambda arguments: arguments.chunk == "tokens", "only --chunk tokens counts tokens"),
    )

    def contradictions(self) -> Iterator[str]:
        """Yield what is missing or does not go together."""
        size, overlap = (f"--{spelling_of(fields_by_name(self)[name])}" for name in ("chunk_size", "chunk_overlap"))
        if self.chunk != "none" and self.chunk_size is None:
            usual = {"sentences": "5", "words": "100", "tokens": "256"}[self.chunk]
            yield f"--chunk {self.chunk} needs {size}, how many of them make a passage: {usual} is usual"
        if self.chunk_size is not None and self.chunk_overlap >= self.chunk_size:
            yield f"{overlap} {self.chunk_overlap} must be below {size} {self.chunk_size}"


@with_parameters(
    {name: retriever.flags for name, retriever in RETRIEVERS.items()},
    "retriever_type",
    lambda arguments: [name_of(arguments.retriever_type)],
)
@flag_group("retriever")
@changes("context_path", "corpus_column", "clean", "chunk", "chunk_size", "chunk_overlap", also_if=_INDEXED)
@changes("chunk_tokenizer", "index_dir", also_if=_INDEXED)
class IndexedRetrieverArguments(CorpusArguments, IndexArguments):
    """Which retriever, over which corpus, with which flags."""

    no_retriever: ClassVar[Sequence[str]] = ()  # what may be named instead of one

    retriever_type: str = flag(
        "SparseRetrieval_BM25P",
        f"A retriever, with flags of its own as NAME,flag=value,...: {', '.join(RETRIEVERS)}.",
        has_own_flags=True,
        way_out_of_credentials=CREDENTIALS_ARE_VARIABLES,
    )

    def readings(self) -> list[IndexedRetrieverArguments]:
        """Return the arguments as each retriever that they name reads them, with the flags of its own.

        The parts of one that is made of others read them too.
        """
        named = self.retriever_type
        seen = []
        for spec in [named] if isinstance(named, str) else named:
            reading = copy.copy(self)
            reading.__dict__ |= own_flags(spec, type(self)) | {"retriever_type": name_of(spec)}
            seen.append(reading)
            parts_named_in = getattr(RETRIEVERS.get(reading.retriever_type), "parts_named_in", None)
            if parts_named_in is not None:
                parts = copy.copy(reading)
                parts.__dict__["retriever_type"] = parts_named_in(reading)
                seen += parts.readings()
        return seen

    def contradictions(self) -> Iterator[str]:
        """Yield what is not a retriever, and what one lacks, as its class says."""
        for one in self.readings():
            retriever = RETRIEVERS.get(one.retriever_type)
            if retriever is None and one.retriever_type not in self.no_retriever:
                yield not_a_retriever(one.retriever_type, self.no_retriever)
            lacks = getattr(retriever, "lacks", None)
            if lacks is not None and (fault := lacks(one)):
                yield fault


def unexplained(specs: Iterable[str]) -> Iterator[str]:
    """Yield what --explain cannot be given with: each of these retrievers that does not say why it finds a passage."""
    explaining = [name for name, retriever in RETRIEVERS.items() if issubclass(retriever, Explaining)]
    for spec in specs:
        if name_of(spec) in RETRIEVERS.keys() - set(explaining):
            yield f"--explain: {name_of(spec)} does not say why it finds a passage; {', '.join(explaining)} do"


@flag_group("retriever")
class DepthArguments:
    """How much is retrieved."""

    top_k_retrieval: int = flag(
        10,
        "Passages retrieved per question.",
        aliases=["top_k"],
        at_least=1,
        at_most=10_000,
        read_if=only_if(
            lambda arguments: arguments.retriever_type != "none", "--retriever_type none reads one context a question"
        ),
    )


(_ENCODES,) = flag_of(fields_by_name(IndexedRetrieverArguments)["backend"]).read_if
ENCODES_OR_RERANKS = only_if(
    lambda args: args.reranker is not None or _ENCODES(args) is None,
    "nothing is encoded: name a retriever with encoders, or add --reranker",
)


@flag_group("retriever")
@changes("backend", read_if=ENCODES_OR_RERANKS)
class RetrieverArguments(IndexedRetrieverArguments, RerankArguments, DepthArguments):
    """What finds the passages that are read: a retriever, a table written earlier, or nothing."""

    no_retriever: ClassVar = WITHOUT_INDEX

    retriever_type: str = changed(
        IndexedRetrieverArguments,
        "retriever_type",
        help=f"NAME or NAME,flag=value,... of {', '.join(RETRIEVERS)}; get_retrieved_df for a table, none for the "
        "examples' contexts.",
    )
    retrieved_df_path: str | None = flag(
        None,
        "Table of retrieved passages (.csv or .parquet) for get_retrieved_df.",
        read_if=only_if(
            lambda arguments: arguments.retriever_type == "get_retrieved_df",
            "only --retriever_type get_retrieved_df reads a table",
        ),
    )
    reranker: str | None = changed(RerankArguments, "reranker", read_if=_INDEXED)
    rerank_depth: int = changed(
        RerankArguments,
        "rerank_depth",
        read_if=[_INDEXED, only_if(lambda arguments: arguments.reranker is not None, "add --reranker")],
    )

    def contradictions(self) -> Iterator[str]:
        """Yield that there is no table."""
        if self.retriever_type == "get_retrieved_df" and self.retrieved_df_path is None:
            yield NO_TABLE


@flag_group("comparison")
class QuestionsArguments(SeedArguments, DataArguments, CorpusArguments):
    """What retrievers are measured on."""

    split: str = flag(
        "validation",
        "Questions to search for; those of test are only searched, unless they name their passages.",
        choices=["train", "validation", "test"],
    )


@flag_group("comparison")
class ComparisonArguments(QuestionsArguments):
    """What retrievers are compared on, and what is written beside the figures."""

    write: list[str] = flag(
        [],
        "Forms to write the passages in: a table as csv or parquet, a trec run, dpr_json with hard negatives, scores "
        "for a student to learn.",
        choices=["csv", "parquet", "trec", "dpr_json", "scores"],
    )
    explain: list[str] = flag(
        [],
        "Ids of questions: print and write to explained.json why each retriever finds their five best passages, and "
        "what it gives the right ones.",
    )
    tune_fusion: bool = flag(
        False,
        "Choose each HybridRetrieval's fusion_weights on half of the passages, measure them on the other half.",
        read_if=[
            only_if(
                lambda arguments: arguments.retriever_type == "HybridRetrieval", "add --retriever_type HybridRetrieval"
            ),
            only_if(lambda arguments: arguments.split != "test", "the test questions have no gold answers to tune on"),
        ],
    )


@flag_group("negatives")
class MiningArguments:
    """Hard negatives: passages that a retriever ranks high for a question and that do not hold its answer."""

    hard_negatives: int = flag(
        1, "Hard negatives per question, drawn again for each epoch; 0 for none.", at_least=0, at_most=1_000
    )
    mining_depth: int = flag(
        50, "Best passages per question that negatives are drawn from.", at_least=1, at_most=10_000
    )
    negatives_judge: str | None = flag(
        None,
        "Cross-encoder (folder or hub name) that reads what is mined: a passage that it scores about as high as the "
        "right one may be right too, and is no negative.",
    )
    negatives_margin: float = flag(
        1.0,
        "A negative's score is at least this much below the right passage's.",
        at_least=0,
        read_if=only_if(lambda arguments: arguments.negatives_judge is not None, "add --negatives_judge"),
    )


@flag_group("teacher")
class TeacherArguments:
    """Whose scores a student learns."""

    teacher_scores: str | None = flag(
        None,
        "Learn the scores that a teacher gave passages: a file that retrieve.py --write scores wrote over the training "
        "questions (.jsonl), whose passages are the hard negatives.",
    )
    teacher: str | None = flag(
        None,
        "Learn the scores of this cross-encoder (folder or hub name), which reads every batch first.",
        read_if=only_if(lambda arguments: arguments.teacher_scores is None, "those of --teacher_scores are learnt"),
    )


@flag_group("dense")
class DPRArguments:
    """What a dense retriever starts from and how its batches are made."""

    dpr_model: str = flag(
        "klue/bert-base", "Encoder to start from (folder or hub name), or a folder that train_dpr.py wrote."
    )
    dpr_train_batch: int = flag(
        16,
        "Questions per batch; their passages are each other's negatives.",
        at_least=1,
        at_most=2**16,
        instead_of=["per_device_train_batch_size"],
    )
    dpr_eval_batch: int = flag(
        64,
        "Texts per forward pass when nothing is trained.",
        at_least=1,
        at_most=2**16,
        instead_of=["per_device_eval_batch_size", "encode_batch_size"],
    )
    dpr_dropout: float | None = flag(
        None, "Dropout of the encoders while training (default: their own).", at_least=0, at_most=1
    )
    dpr_freeze_embeddings: bool = flag(False, "Keep the word embeddings as they are.")
    shared_encoder: bool = flag(False, "Train one encoder for questions and passages.")
    temperature: float = flag(1.0, "Divides the scores in the loss; 0.02 to 0.05 with --normalize true.", above=0)
    gradient_chunk_size: int | None = flag(
        None,
        "Questions per forward pass: large batches in little memory by cached gradients (default: the batch).",
        at_least=1,
        at_most=2**16,
        spelling="chunk_size",
    )
    interaction: Literal["single", "multi"] = flag(
        "single",
        "Train one vector a text, met by inner product, or one a token, met by MaxSim (for MultiVectorRetrieval).",
    )
    token_width: int | None = flag(
        None,
        "Numbers in a token's vector (default: the encoder's own, else 128).",
        at_least=8,
        at_most=4096,
        read_if=only_if(lambda arguments: arguments.interaction == "multi", "add --interaction multi"),
    )
    distil_from: str | None = flag(
        None,
        "Also learn a teacher's order of passages: a file that retrieve.py --write scores wrote over the training "
        "questions (.jsonl), whose passages are the hard negatives.",
        read_if=only_if(lambda arguments: arguments.hard_negatives > 0, "--hard_negatives 0 leaves nothing to order"),
    )
    write_dpr_json: str | None = flag(
        None, "Also write the training questions with their mined negatives as DPR JSON to this file.", writes="file"
    )


@flag_group("reranker")
class RerankerArguments:
    """What a cross-encoder starts from and what it reads."""

    reranker_model: str = flag("klue/bert-base", "Encoder or cross-encoder to start from (folder or hub name).")
    reranker_max_len: int = flag(
        320, "Longest pair of question and passage in tokens.", at_least=16, at_most=2**16, instead_of=["max_seq_len"]
    )
    reranker_title_prefix: bool = flag(True, "Read the passage as 'title: text', or its text alone.")
    reranker_dropout: float | None = flag(
        None, "Dropout while training (default: the model's own).", at_least=0, at_most=1
    )
    reranker_freeze_embeddings: bool = flag(False, "Keep the word embeddings as they are.")
