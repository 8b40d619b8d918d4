"""Every flag of the commands, documented once and owned by one dataclass.

A command names the groups it reads and gets them back filled::

    run_args, model_args = parse_arguments("train_mrc.py", [RunArguments, ModelArguments], argv)

A flag that the command would ignore is refused with the reason, an unknown one names the nearest, and
``--config FILE`` (YAML or JSON) gives values that flags on the command line override.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import functools
import json
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

from transformers import HfArgumentParser

from runtime.errors import UserError
from runtime.masking import is_secret, masked
from runtime.output import fault_of_run_name


def _flag(default: Any, help: str, aliases: Sequence[str] = (), **options: Any) -> Any:
    """A dataclass field with its one line of help and the older names that users may type."""
    metadata = {"help": help, "aliases": [f"--{alias}" for alias in aliases], **options}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def _takes_older_names(group: type) -> type:
    """Let the constructor of ``group`` understand the older names of its flags, as the command line does."""
    newer = {alias.removeprefix("--"): f.name for f in dataclasses.fields(group) for alias in f.metadata["aliases"]}
    construct = group.__init__

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **values: Any) -> None:
        if both := [f"{name} and {newer[name]}" for name in values if newer.get(name) in values]:
            raise TypeError(f"{group.__name__} takes only one of {both[0]}: they mean the same")
        construct(self, *args, **{newer.get(name, name): value for name, value in values.items()})

    group.__init__ = __init__
    return group


@dataclass
class RunArguments:
    """The run: where it writes, how it is named and followed, seed and device."""

    _argument_group_name = "the run"

    output_dir: str = _flag("./saved", "Folder for everything the run writes.")
    overwrite_output_dir: bool = _flag(False, "Start anew in a folder that already holds a run.")
    run_name: str | None = _flag(
        None,
        "Name of the run: of its own folder in output_dir (and logging_dir), and in wandb (default: no such folder).",
    )
    description: str | None = _flag(None, "Free text kept with the run's arguments and shown in wandb.")
    logging_dir: str | None = _flag(None, "Folder for metrics.jsonl and wandb files (default: output_dir).")
    logging_steps: int = _flag(10, "Optimizer steps between two lines of metrics.jsonl.")
    report_to: Literal["auto", "none", "wandb"] = _flag(
        "auto", "Tracker beside metrics.jsonl; auto is wandb when --wandb_project or --wandb_entity is given."
    )
    wandb_project: str | None = _flag(None, "wandb project; online when logged in, else offline, never asks.")
    wandb_entity: str | None = _flag(None, "wandb team or user that owns the project.")
    seed: int = _flag(42, "Seed of initialisation, dropout and data order.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = _flag(
        "auto", "Arithmetic of the model; auto is bf16 where the device computes it natively, else fp32."
    )
    per_device_eval_batch_size: int = _flag(32, "Features per forward pass when nothing is trained.")

    @property
    def run_dir(self) -> str:
        """The run's own folder: ``run_name`` in ``output_dir``, or ``output_dir`` itself."""
        return self.output_dir if self.run_name is None else os.path.join(self.output_dir, self.run_name)

    @property
    def log_dir(self) -> str:
        """The folder of metrics.jsonl: ``run_name`` in ``logging_dir``, ``logging_dir`` itself, or the run's own."""
        if self.logging_dir is None:
            return self.run_dir
        return self.logging_dir if self.run_name is None else os.path.join(self.logging_dir, self.run_name)


@_takes_older_names
@dataclass
class ModelArguments:
    """The reader: checkpoint, head, dropout, and what of it stays frozen."""

    _argument_group_name = "the reader"

    model: str = _flag("klue/bert-base", "Encoder or reader checkpoint: a folder or a hub name.")
    config_name: str | None = _flag(None, "Configuration to use instead of the model's own (folder or hub name).")
    tokenizer: str | None = _flag(None, "Tokenizer to use instead of the model's own (folder or hub name).")
    head: str | None = _flag(
        None,
        "Reader head, a name in models/heads: linear, cnn_sds, cnn, lstm, … (default: the checkpoint's, else linear).",
        aliases=["custom_model"],
    )
    head_dropout_ratio: float = _flag(0.0, "Dropout before the head, 0 to 1; 0 as in the usual linear reader.")
    head_shared: bool | None = _flag(
        None, "cnn_sds: one block's weights for all turns (default: the checkpoint's own, else True)."
    )
    head_channels: int | None = _flag(
        None, "cnn_sds: channels inside a block (default: the checkpoint's own, else 128)."
    )
    head_kernel_size: int | None = _flag(
        None, "cnn_sds: tokens that a block's first convolution sees (default: the checkpoint's own, else 3)."
    )
    head_repeats: int | None = _flag(None, "cnn_sds: turns of the block (default: the checkpoint's own, else 5).")
    backbone_dropout: float | None = _flag(
        None, "Hidden and attention dropout of the backbone, 0 to 1 (default: the checkpoint's own)."
    )
    freeze_pretrained_weight: Literal["none", "all", "first", "last"] = _flag(
        "none", "Freeze the backbone: never, all epochs, or the first or last --freeze_pretrained_weight_epoch epochs."
    )
    freeze_pretrained_weight_epoch: float = _flag(1.0, "Epochs (fractions allowed) that first and last freeze.")
    freeze_embedding_layer_weight: bool = _flag(
        False, "Freeze the word embeddings for the whole run; large vocabularies train much faster."
    )


@_takes_older_names
@dataclass
class DatasetArguments:
    """The data: where examples come from, how features are cut, how answers are read off."""

    _argument_group_name = "the data"

    dataset_path: str = _flag(
        "../data",
        "Competition folder, saved DatasetDict, SQuAD-format JSON (file or folder), or a hub name.",
        aliases=["data_dir"],
    )
    max_seq_len: int = _flag(
        384, "Longest feature in tokens: question, context, special tokens; a trained reader brings its own."
    )
    stride_len: int = _flag(128, "Tokens that neighbouring windows share; a trained reader brings its own.")
    use_max_padding: bool = _flag(False, "Pad every feature to max_seq_len instead of its batch's longest.")
    max_ans_len: int = _flag(30, "Longest answer in tokens; a trained reader brings its own.")
    n_best_size: int = _flag(20, "Candidates kept per question in nbest_predictions.json.")
    version_2_with_negative: bool = _flag(
        False, "Questions may have no answer: a prediction may be empty; a trained reader brings its own."
    )
    null_score_diff_threshold: float = _flag(
        0.0, "Predict no answer when its score exceeds the best answer's by more than this (logits)."
    )
    concat_eval: bool = _flag(False, "Train on train and validation together, for a final fit.")
    test_eval_dataset_path: str | None = _flag(
        None,
        "Data set to evaluate on instead of dataset_path's validation: a path, or a name in or beside dataset_path.",
    )
    max_train_samples: int | None = _flag(None, "Train on only the first so many examples.")
    max_eval_samples: int | None = _flag(None, "Evaluate or answer only the first so many examples.")
    skip_bad_rows: bool = _flag(False, "Leave out rows with errors and say how many, instead of stopping.")
    cache_dir: str = _flag("./outputs/cache", "Folder for features; keyed by data, tokenizer and arguments.")
    preprocessing_num_workers: int = _flag(1, "Processes that build features; the tokenizer is threaded already.")

    @property
    def evaluation_places(self) -> list[str]:
        """Where ``test_eval_dataset_path`` may be: at that path, in the folder ``dataset_path``, or beside that."""
        name, data = str(self.test_eval_dataset_path), Path(self.dataset_path)
        inside = [data / name] if data.is_dir() else []
        beside = [data / ".." / name] if data.exists() else []
        return list(dict.fromkeys(os.path.normpath(place) for place in (name, *inside, *beside)))


@dataclass
class AugmentationArguments:
    """The augmentation: how training examples change from epoch to epoch."""

    _argument_group_name = "the augmentation"

    augment: str | None = _flag(
        None,
        "Comma-joined: random_flip, mask_word, mask_entity, mask_context, multiple_answers, negative_passage, "
        "title_prefix.",
    )
    augment_probability: float = _flag(
        0.5, "Chance that the flip or one of the masks changes an example in an epoch; else it stays as it is."
    )
    negative_passages: int = _flag(
        1, "Passages without the answer drawn for each question in each epoch, from its --top_k_retrieval."
    )


@_takes_older_names
@dataclass
class OptimizationArguments:
    """The optimisation: length, batches, AdamW, schedule, evaluation and checkpoints."""

    _argument_group_name = "the optimisation"

    num_train_epochs: float = _flag(3.0, "Passes over the training features; fractions allowed.")
    max_steps: int = _flag(-1, "Optimizer steps in all; replaces num_train_epochs when above 0.")
    per_device_train_batch_size: int = _flag(16, "Features per forward and backward pass.")
    gradient_accumulation_steps: int = _flag(1, "Batches of one optimizer step, in which all examples weigh the same.")
    learning_rate: float = _flag(3e-5, "Peak learning rate of AdamW.")
    head_learning_rate: float | None = _flag(None, "Peak learning rate of the head (default: --learning_rate).")
    layerwise_lr_decay: float = _flag(
        1.0, "Each layer of the encoder learns this times as fast as the one above it; the embeddings slowest."
    )
    weight_decay: float = _flag(0.01, "Decoupled weight decay; biases and layer norms are exempt.")
    adam_epsilon: float = _flag(1e-8, "Epsilon of AdamW.")
    max_grad_norm: float = _flag(1.0, "Gradients are scaled down to this norm; 0 switches clipping off.")
    label_smoothing_factor: float = _flag(0.0, "Share of the target spread over all positions that can be answers.")
    lr_scheduler_type: Literal[
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
    ] = _flag("linear", "Shape of the learning rate over the optimizer steps.")
    warmup_steps: int = _flag(0, "Optimizer steps of linear warm-up.")
    warmup_ratio: float = _flag(0.0, "Warm-up as a share of all optimizer steps, 0 to 1.")
    warmup_cycles: int = _flag(1, "Restarts of cosine_with_restarts.")
    do_eval: bool = _flag(False, "Evaluate while training and keep the best checkpoints.")
    eval_strategy: Literal["steps", "epoch"] = _flag(
        "steps", "Evaluate and save state every eval_steps, or after every epoch.", aliases=["evaluation_strategy"]
    )
    eval_steps: int = _flag(100, "Optimizer steps between evaluations, and between resumable states.")
    early_stopping_patience: int | None = _flag(
        None, "Stop after so many evaluations in a row in which neither loss nor exact match got better."
    )
    save_total_limit: int = _flag(
        3, "Checkpoints kept at most, 0 for all; the best by loss and the best by exact match always stay."
    )
    resume_from_checkpoint: str | None = _flag(
        None, "Continue the run in output_dir: 'true' for its newest state, or the folder of one state."
    )

    def __post_init__(self) -> None:
        if (self.resume_from_checkpoint or "").lower() in ("false", "no"):
            self.resume_from_checkpoint = None


@dataclass
class FreezeArguments:
    """The freezing: which weights stand still at first, and for how long."""

    _argument_group_name = "the freezing"

    freeze_type: str | None = _flag(
        None, "What stays frozen at first: embeddings, backbone, or all weights under a name, such as roberta.encoder."
    )
    freeze_epoch: float = _flag(1.0, "Epochs (fractions allowed) until it thaws.")


@_takes_older_names
@dataclass
class RetrieverArguments:
    """The retriever: which one, over which corpus, with which parameters."""

    _argument_group_name = "the retriever"

    retriever_type: str = _flag(
        "SparseRetrieval_BM25P",
        "Name of a retriever, get_retrieved_df for a table written earlier, or none to read the examples' contexts.",
    )
    top_k_retrieval: int = _flag(
        10, "Passages retrieved per question: to read, or in training to draw negatives from.", aliases=["top_k"]
    )
    context_path: str | None = _flag(
        None, "Corpus: wikipedia_documents.json or JSON lines (.gz) (default: the one in or beside dataset_path)."
    )
    retrieved_df_path: str | None = _flag(None, "Table of retrieved passages (.csv or .parquet) for get_retrieved_df.")
    index_dir: str = _flag("./outputs/index", "Folder for indexes; each is keyed by corpus and parameters.")
    analyzer: Literal["kiwi", "mecab", "wordpiece", "whitespace", "bigram"] = _flag(
        "kiwi", "How text becomes terms: Kiwi or mecab content words, a model's word pieces, words, character bigrams."
    )
    analyzer_model: str | None = _flag(None, "Tokenizer of --analyzer wordpiece (default: the reader's).")
    analyzer_tags: list[str] | None = _flag(  # noqa: RUF009
        None, "Parts of speech that --analyzer kiwi or mecab keeps, such as NNG NNP (default: its content words)."
    )
    bm25_backend: Literal["bm25s", "rank_bm25"] = _flag(
        "bm25s", "Engine of BM25+; both give the same scores, bm25s is two orders of magnitude faster."
    )
    bm25_k1: float = _flag(1.5, "BM25+ term frequency saturation, above 0.")
    bm25_b: float = _flag(0.75, "BM25+ length normalisation, 0 to 1.")
    bm25_delta: float = _flag(1.0, "BM25+ lower bound of a matching term, 0 or more.")
    tfidf_features: Literal["word", "char", "word_char"] = _flag(
        "word_char", "TF-IDF over 1-2-grams of the analyser's terms, 2-3-grams of characters, or both."
    )
    retriever_dir: str = _flag(
        "./models/retriever", "Folder that train_dpr.py wrote, or one encoder (folder or hub name) for both sides."
    )
    pooling: Literal["cls", "mean"] | None = _flag(
        None, "One vector of a text: its first token's, or the mean of all (default: the encoder's own, else cls)."
    )
    question_prefix: str | None = _flag(None, "Text before every question (default: the encoder's own, else none).")
    passage_prefix: str | None = _flag(None, "Text before every passage (default: the encoder's own, else none).")
    title_prefix: bool | None = _flag(
        None, "Encode 'title: text', or the text alone (default: the encoder's own, else with title)."
    )
    normalize: bool | None = _flag(
        None, "Scale vectors to length 1, so that scores are cosines (default: the encoder's own, else false)."
    )
    question_max_len: int | None = _flag(None, "Longest question in tokens (default: the encoder's own, else 64).")
    passage_max_len: int | None = _flag(None, "Longest passage in tokens (default: the encoder's own, else 256).")
    encode_batch_size: int | None = _flag(
        None, "Texts per forward pass of an encoder (default: 128 on a GPU, 16 on a CPU, whose caches hold no more)."
    )
    vectors_dtype: Literal["float32", "float16"] = _flag(
        "float32", "How passage vectors are kept; float16 halves the index and rounds the scores."
    )
    hybrid_retrievers: list[str] = _flag(  # noqa: RUF009
        ["SparseRetrieval_BM25P", "DenseRetrieval"],
        "Retrievers that HybridRetrieval fuses, two or more; NAME,flag=value,... gives one flags of its own.",
    )
    fusion: Literal["rrf", "weighted"] = _flag(
        "weighted", "Fuse reciprocal ranks, or scores that are normalised per question."
    )
    fusion_weights: list[float] | None = _flag(  # noqa: RUF009
        None, "Weight of each fused retriever, in order (default: equal)."
    )
    fusion_depth: int = _flag(100, "Passages that each fused retriever finds per question.")
    reranker: str | None = _flag(
        None, "Cross-encoder (folder that train_reranker.py wrote, or hub name) that re-orders what was retrieved."
    )
    rerank_depth: int = _flag(20, "Best passages per question that --reranker re-orders.")
    elastic_url: str = _flag(
        "http://localhost:9200",
        "Elasticsearch server; credentials only from ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD.",
    )
    elastic_index: str | None = _flag(None, "Name of the Elasticsearch index (default: from corpus and parameters).")
    elastic_user_dictionary: str | None = _flag(None, "File of nori user dictionary rules, one a line.")
    milvus_uri: str = _flag(
        "./outputs/index/milvus.db",
        "Milvus: where its embedded form keeps its data, or a server's URL (token: MILVUS_TOKEN).",
    )
    milvus_vectors: Literal["dense", "sparse", "hybrid"] = _flag(
        "hybrid", "What Milvus searches: encoder vectors, BM25+ weights, or both fused by reciprocal ranks."
    )

    def __post_init__(self) -> None:
        for flag in ("elastic_url", "milvus_uri"):
            if _NOT_AN_ADDRESS_ALONE.match(getattr(self, flag)):  # and would be logged and saved with the other flags
                raise FlagError([_no_credentials(flag)])


@dataclass
class MiningArguments:
    """Hard negatives: passages that a retriever ranks high for a question and that do not hold its answer."""

    _argument_group_name = "hard negatives"

    hard_negatives: int = _flag(1, "Hard negatives per question, drawn anew each epoch; 0 for none.")
    mine_from: Literal["bm25", "dense"] = _flag(
        "bm25", "Mine with BM25+, or with the encoder that training starts from (a second round)."
    )
    mining_depth: int = _flag(50, "Best passages per question that negatives are drawn from.")


@dataclass
class DPRArguments:
    """The dense passage retriever: what it starts from and how it is trained."""

    _argument_group_name = "the dense retriever"

    dpr_model: str = _flag(
        "klue/bert-base", "Encoder to start from (folder or hub name), or a folder that train_dpr.py wrote."
    )
    dpr_epochs: float = _flag(3.0, "Passes over the training questions; fractions allowed.")
    dpr_train_batch: int = _flag(16, "Questions per batch; their passages are each other's negatives.")
    dpr_learning_rate: float = _flag(2e-5, "Peak learning rate of AdamW.")
    dpr_warmup_steps: int = _flag(0, "Optimizer steps of linear warm-up.")
    dpr_weight_decay: float = _flag(0.01, "Decoupled weight decay; biases and layer norms are exempt.")
    dpr_eval_batch: int = _flag(64, "Texts per forward pass when nothing is trained.")
    dpr_eval_steps: int = _flag(100, "Optimizer steps between evaluations, and between resumable states.")
    dpr_dropout: float | None = _flag(None, "Dropout of the encoders while training (default: their own).")
    dpr_freeze_embeddings: bool = _flag(False, "Keep the word embeddings as they are.")
    shared_encoder: bool = _flag(False, "Train one encoder for questions and passages.")
    temperature: float = _flag(1.0, "Divides the scores in the loss; 0.02 to 0.05 with --normalize true.")
    chunk_size: int | None = _flag(
        None, "Questions per forward pass: large batches in little memory by cached gradients (default: the batch)."
    )
    write_dpr_json: str | None = _flag(
        None, "Also write the training questions with their mined negatives as DPR JSON to this file."
    )


@dataclass
class RerankerArguments:
    """The cross-encoder: what it starts from and what it reads."""

    _argument_group_name = "the reranker"

    reranker_model: str = _flag("klue/bert-base", "Encoder or cross-encoder to start from (folder or hub name).")
    reranker_max_len: int = _flag(320, "Longest pair of question and passage in tokens.")
    reranker_title_prefix: bool = _flag(True, "Read the passage as 'title: text', or its text alone.")
    reranker_dropout: float | None = _flag(None, "Dropout while training (default: the model's own).")
    reranker_freeze_embeddings: bool = _flag(False, "Keep the word embeddings as they are.")


@dataclass
class InferenceArguments:
    """The answers: which questions, how passages are read, how scores are mixed."""

    _argument_group_name = "the answers"

    do_predict: bool = _flag(False, "Answer the test questions and write predictions.json.")
    do_eval: bool = _flag(False, "Answer the validation questions and score retrieval and answers.")
    passage_reading: Literal["separate", "joined"] = _flag(
        "separate", "Read each passage by itself, or all of a question's passages as one text."
    )
    retrieval_weight: float = _flag(
        2.0, "Logits that one standard deviation of the retriever's scores is worth; 0 leaves all to the reader."
    )


@dataclass
class ScoreArguments:
    """What is scored against what."""

    _argument_group_name = "the score"

    gold: str = field(metadata={"help": "Gold answers: any layout that --dataset_path takes."})
    predictions: str = field(metadata={"help": "predictions.json: {id: text}."})
    metric: Literal["korquad", "squad", "klue"] = _flag("korquad", "Whose definition of normalisation and overlap.")
    bootstrap_samples: int = _flag(1000, "Resamples behind the 95 %% intervals.")
    score_seed: int = _flag(42, "Seed of the resampling.")


@_takes_older_names
@dataclass
class RetrieveArguments(RetrieverArguments):
    """The retrievers: which ones, over which corpus, with which parameters that they share."""

    retriever_type: list[str] = _flag(  # noqa: RUF009
        ["SparseRetrieval_BM25P"],
        "Retrievers to measure side by side; NAME,flag=value,... gives one flags of its own.",
    )
    top_k_retrieval: int = _flag(100, "Passages retrieved per question, and the deepest recall.", aliases=["top_k"])


@dataclass
class ComparisonArguments:
    """The comparison: over which questions, and what it writes beside the figures."""

    _argument_group_name = "the comparison"

    split: Literal["train", "validation", "test"] = _flag(
        "validation", "Questions to search for; those of test have no gold answers and are only searched."
    )
    write: list[str] = _flag(  # noqa: RUF009
        [],
        "Forms to write the passages in: a table as csv or parquet, a trec run, dpr_json with hard negatives.",
        choices=["csv", "parquet", "trec", "dpr_json"],
    )
    tune_fusion: bool = _flag(
        False, "Choose each HybridRetrieval's fusion_weights on half of the passages, measure them on the other half."
    )


class Ignored(NamedTuple):
    """A rule: with these values ``flag`` has no effect, so setting it is refused.

    Of several retrievers each is asked by itself, with its name as ``retriever_type``: what one of them reads is right.
    """

    flag: str
    when: Callable[[argparse.Namespace], bool]
    reason: str

    def applies(self, values: argparse.Namespace) -> bool:
        """Whether the rule holds; never in a command without the flags that ``when`` looks at."""
        try:
            return self.when(values)
        except AttributeError:
            return False


def _augments(values: argparse.Namespace, *names: str) -> bool:
    """Whether ``--augment`` names one of these."""
    return any(name.strip() in names for name in (values.augment or "").split(","))


_READ_BY = {
    ("SparseRetrieval_BM25P", "SparseRetrieval_TFIDF", "MilvusRetrieval"): (
        "analyzer", "analyzer_model", "analyzer_tags",
    ),
    ("SparseRetrieval_BM25P",): ("bm25_backend",),
    ("SparseRetrieval_BM25P", "ElasticRetrieval", "MilvusRetrieval"): ("bm25_k1", "bm25_b"),
    ("SparseRetrieval_BM25P", "MilvusRetrieval"): ("bm25_delta",),
    ("SparseRetrieval_TFIDF",): ("tfidf_features",),
    ("DenseRetrieval", "MilvusRetrieval"): (
        "retriever_dir", "pooling", "question_prefix", "passage_prefix", "title_prefix", "normalize",
        "question_max_len", "passage_max_len", "encode_batch_size",
    ),
    ("DenseRetrieval",): ("vectors_dtype",),
    ("HybridRetrieval",): ("hybrid_retrievers", "fusion", "fusion_weights"),
    ("HybridRetrieval", "MilvusRetrieval"): ("fusion_depth",),
    ("ElasticRetrieval",): ("elastic_url", "elastic_index", "elastic_user_dictionary"),
    ("MilvusRetrieval",): ("milvus_uri", "milvus_vectors"),
}  # fmt: skip

_TERMS = tuple(flag for names, flags in _READ_BY.items() if "SparseRetrieval_BM25P" in names for flag in flags)


def _only(names: Sequence[str]) -> str:
    return f"only {', '.join(names)} {'reads' if len(names) == 1 else 'read'} it"


def fuses_itself(part: str) -> bool:
    """Whether ``part`` of a hybrid is a hybrid without parts of its own, which would be fused without end."""
    return part.split(",")[0] == "HybridRetrieval" and "hybrid_retrievers=" not in part


def _each_retriever(values: argparse.Namespace) -> list[argparse.Namespace]:
    """Return ``values`` as each retriever that they name sees them, with the flags of its own; parts of hybrids too."""
    named = getattr(values, "retriever_type", None)
    if named is None:
        return [values]
    seen = []
    for name, *pairs in (spec.split(",") for spec in (named if isinstance(named, list) else [named])):
        own: dict[str, Any] = dict(pair.partition("=")[::2] for pair in pairs)
        if "hybrid_retrievers" in own:
            own["hybrid_retrievers"] = own["hybrid_retrievers"].split("+")
        view = argparse.Namespace(**vars(values) | own | {"retriever_type": name})
        seen.append(view)
        if name == "HybridRetrieval":
            parts = [part for part in view.hybrid_retrievers if not fuses_itself(part)]
            seen += _each_retriever(argparse.Namespace(**vars(view) | {"retriever_type": parts}))
    return seen


_IGNORED = [
    Ignored(
        "augment_probability",
        lambda a: not _augments(a, "random_flip", "mask_word", "mask_entity", "mask_context"),
        "--augment names none that is drawn: random_flip, mask_word, mask_entity or mask_context",
    ),
    *(
        Ignored(flag, lambda a: not _augments(a, "negative_passage"), "add --augment negative_passage")
        for flag in ("negative_passages", *(f.name for f in dataclasses.fields(RetrieverArguments)))
    ),
    *(
        Ignored(flag, lambda a: a.max_steps > 0, "--max_steps replaces it")
        for flag in ("num_train_epochs", "dpr_epochs")
    ),
    Ignored("warmup_ratio", lambda a: a.warmup_steps > 0, "--warmup_steps is given"),
    Ignored("warmup_ratio", lambda a: a.dpr_warmup_steps > 0, "--dpr_warmup_steps is given"),
    Ignored(
        "warmup_cycles",
        lambda a: a.lr_scheduler_type != "cosine_with_restarts",
        "only --lr_scheduler_type cosine_with_restarts restarts",
    ),
    *(
        Ignored(flag, lambda a: a.lr_scheduler_type == "constant", "constant has no warm-up: constant_with_warmup has")
        for flag in ("warmup_steps", "dpr_warmup_steps", "warmup_ratio")
    ),
    Ignored("eval_steps", lambda a: a.eval_strategy == "epoch", "--eval_strategy epoch evaluates once an epoch"),
    *(
        Ignored(flag, lambda a: a.eval_strategy == "no", "nothing is evaluated while training: see --do_eval")
        for flag in ("eval_steps", "eval_delay", "eval_on_start")
    ),
    Ignored(
        "early_stopping_patience",
        lambda a: not a.do_eval or a.eval_strategy == "no",
        "nothing is evaluated while training: see --do_eval",
    ),
    *(
        Ignored(flag, lambda a: not a.do_eval, "nothing is evaluated: add --do_eval")
        for flag in ("metric_for_best_model", "greater_is_better")
    ),
    Ignored(
        "save_total_limit",
        lambda a: not a.do_eval and getattr(a, "save_strategy", "best") == "best",
        "checkpoints are chosen by evaluation: add --do_eval",
    ),
    *(
        Ignored(flag, lambda a: a.save_strategy == "no", "--save_strategy no keeps no checkpoints")
        for flag in ("save_total_limit", "save_only_model")
    ),
    Ignored("save_steps", lambda a: a.save_strategy != "steps", "only --save_strategy steps counts them"),
    Ignored("logging_steps", lambda a: a.logging_strategy != "steps", "only --logging_strategy steps counts them"),
    Ignored("precision", lambda a: a.bf16 or a.fp16, "--bf16 or --fp16 is given"),
    Ignored("fp16", lambda a: a.bf16 and a.fp16, "--bf16 is given"),
    Ignored("warmup_cycles", lambda a: a.lr_scheduler_kwargs is not None, "--lr_scheduler_kwargs is given"),
    Ignored(
        "group_by_length",
        lambda a: not a.group_by_length,
        "batches hold features of similar length; --train_sampling_strategy sequential keeps the order of the data",
    ),
    Ignored("save_safetensors", lambda a: not a.save_safetensors, "weights are saved as safetensors"),
    Ignored("freeze_epoch", lambda a: a.freeze_type is None, "add --freeze_type"),
    Ignored("test_eval_dataset_path", lambda a: not a.do_eval, "nothing is evaluated: add --do_eval"),
    *(
        Ignored(
            flag,
            lambda a: not (a.do_eval or getattr(a, "do_predict", False)),
            "nothing is evaluated: add --do_eval",
        )
        for flag in (
            "max_eval_samples",
            "per_device_eval_batch_size",
            "n_best_size",
        )
    ),
    Ignored(
        "freeze_pretrained_weight_epoch",
        lambda a: a.freeze_pretrained_weight not in ("first", "last"),
        "only --freeze_pretrained_weight first or last counts epochs",
    ),
    *(
        Ignored(flag, lambda a: a.head not in (None, "cnn_sds", "Bert_CNN_Answering"), "only --head cnn_sds reads it")
        for flag in ("head_shared", "head_channels", "head_kernel_size", "head_repeats")
    ),
    Ignored(
        "layerwise_lr_decay",
        lambda a: a.freeze_pretrained_weight == "all",
        "--freeze_pretrained_weight all leaves no layer to train",
    ),
    Ignored(
        "null_score_diff_threshold",
        lambda a: a.version_2_with_negative is False,  # None: the reader decides
        "add --version_2_with_negative",
    ),
    *(
        Ignored(flag, lambda a: a.report_to not in ("auto", "wandb"), "this --report_to does not report to wandb")
        for flag in ("wandb_project", "wandb_entity")
    ),
    Ignored(
        "overwrite_output_dir",
        lambda a: a.resume_from_checkpoint is not None,
        "--resume_from_checkpoint continues the run",
    ),
    Ignored(
        "retrieved_df_path",
        lambda a: a.retriever_type != "get_retrieved_df",
        "only --retriever_type get_retrieved_df reads a table",
    ),
    *(
        Ignored(
            flag,
            lambda a: a.retriever_type in ("none", "get_retrieved_df"),
            "nothing is indexed with this --retriever_type",
        )
        for flag in ("context_path", "index_dir", "reranker", "rerank_depth")
    ),
    *(
        Ignored(flag, lambda a, names=names: a.retriever_type not in names, _only(names))
        for names, flags in _READ_BY.items()
        for flag in flags
    ),
    *(
        Ignored(
            flag,
            lambda a, vectors=vectors: a.retriever_type == "MilvusRetrieval" and a.milvus_vectors in vectors,
            reason,
        )
        for vectors, reason, flags in (
            (
                ("sparse",),
                "--milvus_vectors sparse encodes nothing",
                _READ_BY["DenseRetrieval", "MilvusRetrieval"],
            ),
            (
                ("dense",),
                "--milvus_vectors dense counts no terms",
                ("analyzer", "analyzer_model", "analyzer_tags", "bm25_k1", "bm25_b"),
            ),
            (("dense", "hybrid"), "only --milvus_vectors sparse gives scores of BM25+", ("bm25_delta",)),
            (("dense", "sparse"), "only --milvus_vectors hybrid fuses", ("fusion_depth",)),
        )
        for flag in flags
    ),
    Ignored("rerank_depth", lambda a: a.reranker is None and not hasattr(a, "reranker_model"), "add --reranker"),
    Ignored(
        "rerank_depth",
        lambda a: a.reranker_model and not a.do_eval,
        "nothing is re-ordered without an evaluation: add --do_eval",
    ),
    *(
        Ignored(flag, lambda a: a.dpr_model and a.hard_negatives == 0, "--hard_negatives 0 mines nothing")
        for flag in ("mine_from", "mining_depth", "index_dir", *_TERMS)
    ),
    *(
        Ignored(
            flag,
            lambda a: a.dpr_model and a.hard_negatives > 0 and a.mine_from == "dense",
            "--mine_from dense counts no terms",
        )
        for flag in _TERMS
    ),
    *(
        Ignored(
            flag,
            lambda a: a.dpr_model and a.concat_eval and a.test_eval_dataset_path is None,
            "--concat_eval leaves nothing to evaluate on: add --test_eval_dataset_path",
        )
        for flag in ("early_stopping_patience", "max_eval_samples")
    ),
    Ignored("tune_fusion", lambda a: a.retriever_type != "HybridRetrieval", "add --retriever_type HybridRetrieval"),
    Ignored("tune_fusion", lambda a: a.split == "test", "the test questions have no gold answers to tune on"),
    Ignored("analyzer_model", lambda a: a.analyzer != "wordpiece", "only --analyzer wordpiece has a model"),
    Ignored(
        "analyzer_tags",
        lambda a: a.analyzer not in ("kiwi", "mecab"),
        "only --analyzer kiwi and mecab know parts of speech",
    ),
    Ignored(
        "top_k_retrieval", lambda a: a.retriever_type == "none", "--retriever_type none reads one context a question"
    ),
    Ignored("retrieval_weight", lambda a: a.retriever_type == "none", "--retriever_type none has no retriever score"),
    Ignored("passage_reading", lambda a: a.retriever_type == "none", "there is one passage a question"),
]


class _TrainerFlag(NamedTuple):
    """A flag of the Hugging Face Trainer, for commands that have ``instead``."""

    instead: str
    hint: str


_TRAINER_FLAGS = {
    "fp16": _TrainerFlag("precision", "use --precision fp16"),
    "bf16": _TrainerFlag("precision", "use --precision bf16"),
    "do_train": _TrainerFlag("num_train_epochs", "this command always trains"),
    "per_gpu_train_batch_size": _TrainerFlag("per_device_train_batch_size", "use --per_device_train_batch_size"),
    "save_steps": _TrainerFlag("eval_steps", "state is saved at every evaluation: use --eval_steps"),
    "load_best_model_at_end": _TrainerFlag("save_total_limit", "the best checkpoint is always kept in best/"),
    "adafactor": _TrainerFlag("adam_epsilon", "this command optimises with AdamW"),
}


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Name each flag's spellings once, with one value, and its default where it has one."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


class FlagError(UserError):
    """Everything that is wrong with some flags."""

    def __init__(self, complaints: Sequence[str]) -> None:
        self.complaints = list(complaints)
        super().__init__("; ".join(self.complaints))


class _Parser(HfArgumentParser):
    """Says what is wrong, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        raise FlagError([message])


def build_parser(
    command: str, groups: Sequence[type], unused: Mapping[str, str] | None = None, description: str | None = None
) -> _Parser:
    """Return the parser of a command: its groups' flags and ``--config``; flags in ``unused`` are hidden."""
    parser = _Parser(
        list(groups),
        prog=command,
        usage=f"python {command} [--flag VALUE ...]",
        description=description,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    _add_config_flag(parser)
    parser._negative_number_matcher = _NEGATIVE_NUMBER  # argparse's own takes -1e-5 for a flag
    for action in parser._actions:
        # Spellings with dashes for underscores are understood, but neither help nor errors need repeat them.
        action.option_strings = [option for option in action.option_strings if "-" not in option.lstrip("-")]
        if action.dest in (unused or {}):
            action.help = argparse.SUPPRESS
    return parser


# Credentials in a URL; those with strange characters, too, and parameters, where nothing but an address is expected.
_CREDENTIALS = re.compile(r"\w+://[^/\s]*@")
_NOT_AN_ADDRESS_ALONE = re.compile(r"\w+://.*[@?#]|[^/]*:[^/]*@")
_NEGATIVE_NUMBER = re.compile(r"-\.?\d")
_NOT_GIVEN = object()


def parse_arguments(
    command: str,
    groups: Sequence[type],
    argv: Sequence[str] | None = None,
    unused: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    description: str | None = None,
) -> tuple[Any, ...]:
    """Parse ``argv`` into one filled dataclass per group.

    ``unused`` maps flags of these groups that this command does not read to the reason; ``defaults`` holds the
    command's own where they are not the groups'; None is what later decides. Raises ``SystemExit``
    (status 2, message on standard error) listing every unknown, ignored or out-of-range flag at once.
    """
    argv = sys.argv[1:] if argv is None else argv
    sys.argv[1:] = masked(sys.argv[1:])  # trackers read it too
    try:
        return read_arguments(command, groups, argv, unused, defaults, description)
    except FlagError as error:
        lines = [f"{command}: error: {complaint}" for complaint in error.complaints]
        sys.stderr.write("\n".join([*lines, f"see python {command} --help", ""]))
        raise SystemExit(2) from None


def read_arguments(
    command: str,
    groups: Sequence[type],
    argv: Sequence[str],
    unused: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    description: str | None = None,
) -> tuple[Any, ...]:
    """Do what :func:`parse_arguments` does, but raise :class:`FlagError` for flags that cannot be taken."""
    unused = unused or {}
    parser = build_parser(command, groups, unused, description)
    parser.set_defaults(**{name: value for name, value in (defaults or {}).items() if value is not None})
    usual = {f.name: _default(f) for group in groups for f in dataclasses.fields(group)} | dict(defaults or {})
    names = [f.name for group in groups for f in dataclasses.fields(group)]
    try:
        argv = _without_lone_dashes(argv, parser)
        words = _config_words(argv, parser, usual) + argv
    except UserError as error:
        raise FlagError([str(error)]) from None
    namespace, unknown = parser.parse_known_args(words, argparse.Namespace(**dict.fromkeys(names, _NOT_GIVEN)))
    given = {name: value for name in names if (value := getattr(namespace, name)) is not _NOT_GIVEN}
    chosen = {**(defaults or {}), **given}
    filled = tuple(
        group(**{f.name: chosen[f.name] for f in dataclasses.fields(group) if f.name in chosen}) for group in groups
    )
    values = argparse.Namespace(**resolved_arguments(*filled))

    flags = [word for word in unknown if word.startswith("-") and not _NEGATIVE_NUMBER.match(word)]
    complaints = [_complain_unknown(word, parser, names) for word in flags]
    if unknown and not complaints:
        complaints.append(f"do not know what to do with {' '.join(masked(unknown))}: every value needs its flag")
    complaints += [f"--{name} has no effect in {command}: {unused[name]}" for name in given if name in unused]
    complaints += _complain_ignored([name for name in given if name not in unused], values)
    complaints += [_no_credentials(name) for name in given if _holds_credentials(getattr(values, name))]
    complaints += _out_of_range(values)
    if "run_name" in given and "run_name" not in unused and (fault := fault_of_run_name(given["run_name"])):
        complaints.append(f"--run_name {given['run_name']!r} {fault}")
    if complaints:
        raise FlagError(complaints)
    return filled


def _default(flag: dataclasses.Field) -> Any:
    return flag.default if flag.default_factory is dataclasses.MISSING else flag.default_factory()


def _without_lone_dashes(argv: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Return ``argv`` without the words ``--``, which stand before words without a flag: there are none here."""
    for dashes, word in pairwise(argv):
        if dashes == "--" and not word.startswith("-"):
            known = f"--{word}" in parser._option_string_actions
            raise UserError(f"-- {word}: write --{word}, without the blank" if known else "what follows -- is no flag")
    return [word for word in argv if word != "--"]


def _complain_ignored(names: Sequence[str], values: argparse.Namespace) -> list[str]:
    """Say of those flags that no retriever, or nothing else, would read why that is."""
    views = _each_retriever(values)
    ignored = [
        name
        for name in names
        if all(any(rule.flag == name and rule.applies(view) for rule in _IGNORED) for view in views)
    ]
    return [
        f"--{rule.flag} would be ignored: {rule.reason}"
        for rule in _IGNORED
        if rule.flag in ignored and any(map(rule.applies, views))
    ]


def _holds_credentials(value: Any) -> bool:
    return any(
        isinstance(text, str) and _CREDENTIALS.search(text) for text in (value if isinstance(value, list) else [value])
    )


def resolved_arguments(*groups: Any) -> dict[str, Any]:
    """Return the values of filled groups as one dictionary, for ``arguments.json``; None in the place of secrets."""
    values = {name: value for group in groups for name, value in dataclasses.asdict(group).items()}
    return {name: None if is_secret(name) else value for name, value in values.items()}


_INSTEAD_OF_CREDENTIALS = {
    "elastic_url": "set ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD, in the environment",
    "milvus_uri": "set MILVUS_TOKEN (a token, or user:password) in the environment",
    **dict.fromkeys(
        ("retriever_type", "hybrid_retrievers"),
        "set ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD, or MILVUS_TOKEN, in the environment",
    ),
}


def _no_credentials(flag: str) -> str:
    instead = _INSTEAD_OF_CREDENTIALS.get(flag, "flags are logged and saved")
    return f"--{flag} must not hold credentials: {instead}"


def _add_config_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", help="YAML or JSON file of flags and values; the command line wins.")


def _config_words(argv: Sequence[str], parser: argparse.ArgumentParser, usual: Mapping[str, Any]) -> list[str]:
    """Return the words that the command line of ``parser`` would hold for the file after ``--config``, if any.

    What is ``usual`` needs none, so the ``arguments.json`` of a run serves, which holds every flag, also those that
    were not read.
    """
    finder = _Parser((), prog=parser.prog, add_help=False, allow_abbrev=False)
    _add_config_flag(finder)
    path = finder.parse_known_args(argv)[0].config
    if path is None:
        return []
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
        content = json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:  # whose text would repeat the line, which may hold a secret
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        raise UserError(f"--config {path} cannot be read: {error.problem or error.context}{place}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"--config {path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"--config {path} must hold a mapping of flags to values")
    words: list[str] = []
    for name, value in content.items():
        if isinstance(value, dict) or name == "config":
            raise UserError(f"--config {path}: {name} must be a flag with a value; files do not nest")
        flag = parser._option_string_actions.get(f"--{name}")
        if flag is not None and flag.nargs != 0 and value == usual.get(flag.dest, _NOT_GIVEN):
            continue
        if isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        elif value is not None:
            words.append(f"--{name}={value}")  # joined, so that a value may begin with a dash
    return words


def _complain_unknown(word: str, parser: argparse.ArgumentParser, names: Sequence[str]) -> str:
    """Say what is wrong with an unknown flag: a Trainer flag, another command's, or a misspelling."""
    flag = word.split("=")[0]
    name, command = flag.lstrip("-").replace("-", "_"), parser.prog
    if name in _TRAINER_FLAGS and _TRAINER_FLAGS[name].instead in names:
        return f"{flag} is not a flag of {command}: {_TRAINER_FLAGS[name].hint}"
    if any(name in {f.name for f in dataclasses.fields(group)} for group in GROUPS):
        return f"{flag} has no effect in {command}; it belongs to another command"
    from transformers import TrainingArguments

    if name in {f.name for f in dataclasses.fields(TrainingArguments)}:
        return f"{flag} is a flag of the Hugging Face Trainer, and {command} does not read it"
    spellings = [option.removeprefix("--") for action in parser._actions for option in action.option_strings]
    nearest = difflib.get_close_matches(name, spellings, n=1)
    return f"{flag} is not a flag of {command}" + (f"; did you mean --{nearest[0]}?" if nearest else "")


class _Bound(NamedTuple):
    low: float
    high: float = math.inf
    low_allowed: bool = True


_BOUNDS = {
    "logging_steps": _Bound(0, low_allowed=False),
    "seed": _Bound(0, 2**32 - 1),
    "per_device_eval_batch_size": _Bound(1),
    "per_device_train_batch_size": _Bound(1),
    "gradient_accumulation_steps": _Bound(1),
    "head_dropout_ratio": _Bound(0, 1),
    "head_channels": _Bound(1),
    "head_kernel_size": _Bound(1),
    "head_repeats": _Bound(1),
    "backbone_dropout": _Bound(0, 1),
    "freeze_pretrained_weight_epoch": _Bound(0, low_allowed=False),
    "max_seq_len": _Bound(8),
    "stride_len": _Bound(0),
    "max_ans_len": _Bound(1),
    "n_best_size": _Bound(1),
    "max_train_samples": _Bound(1),
    "max_eval_samples": _Bound(1),
    "preprocessing_num_workers": _Bound(1),
    "augment_probability": _Bound(0, 0.9, low_allowed=False),
    "negative_passages": _Bound(1),
    "num_train_epochs": _Bound(0, low_allowed=False),
    "learning_rate": _Bound(0, low_allowed=False),
    "head_learning_rate": _Bound(0, low_allowed=False),
    "layerwise_lr_decay": _Bound(0, 1, low_allowed=False),
    "weight_decay": _Bound(0),
    "adam_epsilon": _Bound(0, low_allowed=False),
    "max_grad_norm": _Bound(0),
    "label_smoothing_factor": _Bound(0, 1),
    "warmup_steps": _Bound(0),
    "warmup_ratio": _Bound(0, 1),
    "warmup_cycles": _Bound(1),
    "eval_steps": _Bound(0, low_allowed=False),
    "save_steps": _Bound(0, low_allowed=False),
    "early_stopping_patience": _Bound(1),
    "freeze_epoch": _Bound(0, low_allowed=False),
    "save_total_limit": _Bound(0),
    "top_k_retrieval": _Bound(1),
    "bm25_k1": _Bound(0, low_allowed=False),
    "bm25_b": _Bound(0, 1),
    "bm25_delta": _Bound(0),
    "question_max_len": _Bound(4),
    "passage_max_len": _Bound(8),
    "encode_batch_size": _Bound(1),
    "fusion_depth": _Bound(1),
    "rerank_depth": _Bound(1),
    "hard_negatives": _Bound(0),
    "mining_depth": _Bound(1),
    "dpr_epochs": _Bound(0, low_allowed=False),
    "dpr_train_batch": _Bound(1),
    "dpr_learning_rate": _Bound(0, low_allowed=False),
    "dpr_warmup_steps": _Bound(0),
    "dpr_weight_decay": _Bound(0),
    "dpr_eval_batch": _Bound(1),
    "dpr_eval_steps": _Bound(1),
    "dpr_dropout": _Bound(0, 1),
    "temperature": _Bound(0, low_allowed=False),
    "chunk_size": _Bound(1),
    "reranker_max_len": _Bound(16),
    "reranker_dropout": _Bound(0, 1),
    "retrieval_weight": _Bound(0),
    "bootstrap_samples": _Bound(1),
    "score_seed": _Bound(0),
}


_LARGEST_INT, _LARGEST_FLOAT = 2**31 - 1, 3.4e38  # of 32 bits, which counts and models are computed in


def _out_of_range(values: argparse.Namespace) -> list[str]:
    complaints = []
    for name, value in vars(values).items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and (fault := _fault_of(number, _BOUNDS.get(name, _Bound(-math.inf)))):
                complaints.append(f"--{name} {number:.10g} must be {fault}")
    lengths = [getattr(values, name, None) for name in ("stride_len", "max_seq_len")]
    if None not in lengths and values.stride_len >= values.max_seq_len:
        complaints.append(f"--stride_len {values.stride_len} must be below --max_seq_len {values.max_seq_len}")
    return complaints


def _fault_of(number: float, bound: _Bound) -> str | None:
    """Return what ``number`` must be and is not."""
    if isinstance(number, float) and not abs(number) <= _LARGEST_FLOAT:
        return "a finite number of 32 bits"
    if not (bound.low <= number <= bound.high) or (number == bound.low and not bound.low_allowed):
        high = "" if bound.high == math.inf else f" and at most {bound.high:.10g}"
        return f"{'at least' if bound.low_allowed else 'above'} {bound.low:g}{high}"
    if isinstance(number, int) and bound.high == math.inf and number > _LARGEST_INT:
        return f"at most {_LARGEST_INT}"
    return None


GROUPS = (
    RunArguments,
    ModelArguments,
    DatasetArguments,
    AugmentationArguments,
    OptimizationArguments,
    FreezeArguments,
    RetrieverArguments,
    MiningArguments,
    DPRArguments,
    RerankerArguments,
    InferenceArguments,
    ScoreArguments,
    ComparisonArguments,
)
