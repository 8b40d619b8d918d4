"""The flags of every command: which groups it reads, and what of them is its own.

A group stands beside what reads it, in the ``arguments.py`` of its folder; a retriever, a head and an augmentation
declare theirs beside their own code. ``docs/flags.md`` lists all of them, ``python COMMAND --help`` a command's.
Nothing here imports torch: a command answers before that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from loading.arguments import DataArguments, TrainingDataArguments
from models.arguments import EncoderArguments, ModelArguments, ReaderArguments
from reading.arguments import (
    AnswerArguments,
    AsTrainedArguments,
    AugmentationArguments,
    DatasetArguments,
    PassageArguments,
    ScoringArguments,
    WorkerArguments,
)
from reading.metrics import mean_scores
from retrieval.arguments import (
    ComparisonArguments,
    CorpusArguments,
    DepthArguments,
    DPRArguments,
    IndexedRetrieverArguments,
    MiningArguments,
    RerankerArguments,
    RetrieverArguments,
)
from retrieval.base import IndexArguments
from retrieval.bm25 import BM25Arguments
from retrieval.dense import EncodingArguments
from retrieval.rerank import RerankArguments
from runtime.arguments import (
    ComputeArguments,
    EvalBatchArguments,
    OutputArguments,
    RunArguments,
    SeedArguments,
    TrainingRunArguments,
)
from runtime.command_line import (
    changed,
    check_command_line,
    command,
    flag,
    only_if,
    parse_arguments,
    part_of,
    read_only_if,
    record_of,
)
from training.arguments import (
    IF_EVALUATED,
    CheckpointArguments,
    EvaluationArguments,
    FreezeArguments,
    FreezeScheduleArguments,
    OptimizationArguments,
    ScheduleArguments,
    SmoothingArguments,
)
from training.trainer_flags import trainer_flags

__all__ = [
    "AugmentationArguments", "AverageArguments", "DatasetArguments", "FreezeArguments", "FreezeScheduleArguments",
    "InferenceArguments", "ModelArguments", "OptimizationArguments", "RetrieveArguments", "RetrieverArguments",
    "RunArguments", "ScoreArguments", "TrainDPRArguments", "TrainMRCArguments", "TrainMRCV2Arguments",
    "TrainRerankerArguments", "check_command_line", "parse_arguments", "part_of", "record_of",
]  # fmt: skip

_OF_THE_TRAINER = {
    "do_train": "this command always trains",
    "fp16": "use --precision fp16",
    "bf16": "use --precision bf16",
    "per_gpu_train_batch_size": "use --per_device_train_batch_size",
    "save_steps": "state is saved at every evaluation: use --eval_steps",
    "load_best_model_at_end": "the best checkpoint is always kept in best/",
    "adafactor": "this command optimises with AdamW",
}


@command("train_mrc.py", "Train a reader.")
class TrainMRCArguments(
    TrainingRunArguments,
    EvalBatchArguments,
    ModelArguments,
    FreezeScheduleArguments,
    AsTrainedArguments,
    DatasetArguments,
    AugmentationArguments,
    OptimizationArguments,
    SmoothingArguments,
    EvaluationArguments,
    CheckpointArguments,
):
    """A reader, trained with the loop of this project."""

    not_flags: ClassVar = _OF_THE_TRAINER

    layerwise_lr_decay: float = changed(
        OptimizationArguments,
        "layerwise_lr_decay",
        read_if=only_if(
            lambda args: args.freeze_pretrained_weight != "all",
            "--freeze_pretrained_weight all leaves no layer to train",
        ),
    )
    max_eval_samples: int | None = changed(DataArguments, "max_eval_samples", read_if=IF_EVALUATED)
    test_eval_dataset_path: str | None = changed(TrainingDataArguments, "test_eval_dataset_path", read_if=IF_EVALUATED)
    per_device_eval_batch_size: int = changed(EvalBatchArguments, "per_device_eval_batch_size", read_if=IF_EVALUATED)
    n_best_size: int = changed(AnswerArguments, "n_best_size", read_if=IF_EVALUATED)


_READS = "evaluation reads as inference.py does: whole windows, logits kept on the CPU, in the precision of the run"
_NOT_OF_V2 = {
    "do_predict": "inference.py answers the test questions",
    "enable_jit_checkpoint": "SIGTERM and Ctrl-C save a checkpoint anyway",
    "dataloader_drop_last": "every feature is trained on",
    "remove_unused_columns": "what the reader does not take stays behind anyway",
    "length_column_name": "the lengths of features are known",
    "logging_nan_inf_filter": "a loss that is no number ends the run",
    **dict.fromkeys(("fsdp", "fsdp_config", "deepspeed"), "evaluation needs the whole reader in every process"),
    **dict.fromkeys(("label_names", "include_for_metrics", "batch_eval_metrics", "eval_accumulation_steps"), _READS),
    **dict.fromkeys(("eval_do_concat_batches", "eval_use_gather_object", "bf16_full_eval", "fp16_full_eval"), _READS),
}
_COUNTED = only_if(lambda args: args.save_strategy != "no", "--save_strategy no keeps no checkpoints")
_EVALUATING = only_if(
    lambda args: args.do_eval and args.eval_strategy != "no", "nothing is evaluated while training: see --do_eval"
)


@command("train_mrc_v2.py", "Train a reader with the Hugging Face Trainer.")
class TrainMRCV2Arguments(
    TrainingRunArguments,
    EvalBatchArguments,
    ModelArguments,
    FreezeArguments,
    AsTrainedArguments,
    DatasetArguments,
    AugmentationArguments,
    OptimizationArguments,
    SmoothingArguments,
    EvaluationArguments,
    CheckpointArguments,
    trainer_flags(frozenset(_NOT_OF_V2)),  # type: ignore[misc]
):
    """A reader, trained with the Trainer: its every flag beside ours, with our meaning and default where both have one.

    These are the values as given; :func:`training.trainer_arguments.training_arguments` makes of them what a Trainer
    takes. Flags that transformers 5 dropped are understood.
    """

    not_flags: ClassVar = _NOT_OF_V2

    logging_steps: float = changed(
        RunArguments,
        "logging_steps",
        help="Optimizer steps between two lines of metrics.jsonl; below 1 a share of all.",
        read_if=only_if(lambda args: args.logging_strategy == "steps", "only --logging_strategy steps counts them"),
    )
    report_to: str = changed(
        RunArguments,
        "report_to",
        help="Tracker beside metrics.jsonl: auto, none, wandb, or an integration of the Trainer.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = changed(
        ComputeArguments,
        "precision",
        read_if=only_if(lambda args: not (args.bf16 or args.fp16), "--bf16 or --fp16 is given"),
    )
    per_device_eval_batch_size: int = changed(
        EvalBatchArguments,
        "per_device_eval_batch_size",
        help="Features per evaluation forward pass.",
        aliases=["per_gpu_eval_batch_size"],
        read_if=IF_EVALUATED,
    )
    per_device_train_batch_size: int = changed(
        OptimizationArguments, "per_device_train_batch_size", aliases=["per_gpu_train_batch_size"]
    )
    lr_scheduler_type: str = changed(ScheduleArguments, "lr_scheduler_type")
    warmup_steps: float = changed(
        ScheduleArguments, "warmup_steps", help="Optimizer steps of linear warm-up; below 1 a share of all."
    )
    warmup_cycles: int = changed(
        ScheduleArguments,
        "warmup_cycles",
        read_if=[
            only_if(
                lambda args: args.lr_scheduler_type == "cosine_with_restarts",
                "only --lr_scheduler_type cosine_with_restarts restarts",
            ),
            only_if(lambda args: args.lr_scheduler_kwargs is None, "--lr_scheduler_kwargs is given"),
        ],
    )
    eval_strategy: Literal["no", "steps", "epoch"] | None = changed(
        EvaluationArguments,
        "eval_strategy",
        None,
        help="Evaluate every eval_steps, after every epoch, or, with --do_eval and no, at the end "
        "(default: steps with --do_eval).",
    )
    eval_steps: float = changed(
        EvaluationArguments,
        "eval_steps",
        help="Optimizer steps between evaluations; below 1 a share of all.",
        read_if=[
            only_if(lambda args: args.eval_strategy != "epoch", "--eval_strategy epoch evaluates once an epoch"),
            only_if(lambda args: args.eval_strategy != "no", "nothing is evaluated while training: see --do_eval"),
        ],
    )
    eval_delay: float = flag(
        0.0,
        "Epochs or steps, as --eval_strategy counts, before the first evaluation.",
        group="evaluation",
        at_least=0,
        read_if=_EVALUATING,
    )
    eval_on_start: bool = flag(False, "Evaluate before the first step too.", group="evaluation", read_if=_EVALUATING)
    early_stopping_patience: int | None = changed(EvaluationArguments, "early_stopping_patience", read_if=_EVALUATING)
    metric_for_best_model: str | None = flag(
        None,
        "What best/ is the best by: exact_match, f1, loss, … (default: exact_match).",
        group="checkpoints",
        read_if=IF_EVALUATED,
    )
    greater_is_better: bool | None = flag(
        None,
        "Whether a higher metric is better (default: as the metric is).",
        group="checkpoints",
        read_if=IF_EVALUATED,
    )
    save_steps: float = flag(
        500,
        "Optimizer steps between checkpoints; below 1 a share of all.",
        group="checkpoints",
        above=0,
        read_if=only_if(lambda args: args.save_strategy == "steps", "only --save_strategy steps counts them"),
    )
    save_only_model: bool = flag(
        False, "Save weights without what resuming needs.", group="checkpoints", read_if=_COUNTED
    )
    save_total_limit: int = changed(
        CheckpointArguments,
        "save_total_limit",
        read_if=[
            only_if(
                lambda args: args.do_eval or args.save_strategy != "best",
                "checkpoints are chosen by evaluation: add --do_eval",
            ),
            _COUNTED,
        ],
    )
    max_eval_samples: int | None = changed(DataArguments, "max_eval_samples", read_if=IF_EVALUATED)
    test_eval_dataset_path: str | None = changed(TrainingDataArguments, "test_eval_dataset_path", read_if=IF_EVALUATED)
    n_best_size: int = changed(AnswerArguments, "n_best_size", read_if=IF_EVALUATED)
    fp16: bool = flag(
        False, "Train in fp16, the same as --precision fp16.", group="run",
        read_if=only_if(lambda args: not args.bf16, "--bf16 is given"),
    )  # fmt: skip
    bf16: bool = flag(False, "Train in bf16, the same as --precision bf16.", group="run")
    use_cpu: bool = flag(False, "Train on the CPU even where there is a GPU.", group="run", aliases=["no_cuda"])
    adafactor: bool = flag(False, "Former flag: the same as --optim adafactor.", group="former")
    group_by_length: bool = flag(
        True,
        "Former flag: batches hold features of similar length anyway.",
        group="former",
        read_if=only_if(
            lambda args: args.group_by_length,
            "batches hold features of similar length; --train_sampling_strategy sequential keeps the order of the data",
        ),
    )
    save_safetensors: bool = flag(
        True,
        "Former flag: weights are saved as safetensors anyway.",
        group="former",
        read_if=only_if(lambda args: args.save_safetensors, "weights are saved as safetensors"),
    )

    def contradictions(self) -> Iterator[str]:
        """Yield what this command does not do."""
        if not self.do_train:
            yield "add --do_train: this command trains a reader, inference.py evaluates one and answers with it"
        metric, known = self.metric_for_best_model, ["loss", *mean_scores({}, {"": []})]
        if metric is not None and metric.removeprefix("eval_") not in known:
            yield f"--metric_for_best_model {metric} is not measured; choose from: {', '.join(known)}"

    def settle(self) -> None:
        """Let --do_eval and --eval_strategy say the same."""
        if self.eval_strategy is None:
            self.eval_strategy = "steps" if self.do_eval else "no"
        self.do_eval = self.do_eval or self.eval_strategy != "no"


_MINES = only_if(lambda args: args.hard_negatives > 0, "--hard_negatives 0 mines nothing")
_MINES_WITH_BM25 = only_if(lambda args: args.mine_from == "bm25", "--mine_from dense counts no terms")
_LEAVES_QUESTIONS = only_if(
    lambda args: not args.concat_eval or args.test_eval_dataset_path is not None,
    "--concat_eval leaves nothing to evaluate on: add --test_eval_dataset_path",
)


@command("train_dpr.py", "Train a dense passage retriever.")
class TrainDPRArguments(
    TrainingRunArguments,
    TrainingDataArguments,
    CorpusArguments,
    DPRArguments,
    EncoderArguments,
    MiningArguments,
    read_only_if(BM25Arguments, _MINES, _MINES_WITH_BM25),  # type: ignore[misc]
    ScheduleArguments,
):  # fmt: skip
    """A dense retriever: in-batch negatives and mined ones."""

    not_flags: ClassVar = _OF_THE_TRAINER

    output_dir: str = changed(
        EncodingArguments, "retriever_dir", help="Folder for both encoders and everything else the run writes.",
        spelling="retriever_dir", group="run",
    )  # fmt: skip
    index_dir: str = changed(IndexArguments, "index_dir", read_if=_MINES)
    mine_from: Literal["bm25", "dense"] = flag(
        "bm25",
        "Mine with BM25+, or with the encoder that training starts from (a second round).",
        group="negatives",
        read_if=_MINES,
    )
    mining_depth: int = changed(MiningArguments, "mining_depth", read_if=_MINES)
    num_train_epochs: float = changed(
        ScheduleArguments, "num_train_epochs", spelling="dpr_epochs",
        help="Passes over the training questions; fractions allowed.",
    )  # fmt: skip
    learning_rate: float = changed(ScheduleArguments, "learning_rate", 2e-5, spelling="dpr_learning_rate")
    weight_decay: float = changed(ScheduleArguments, "weight_decay", spelling="dpr_weight_decay")
    warmup_steps: int = changed(ScheduleArguments, "warmup_steps", spelling="dpr_warmup_steps")
    warmup_ratio: float = changed(
        ScheduleArguments,
        "warmup_ratio",
        read_if=[
            only_if(lambda args: args.warmup_steps == 0, "--dpr_warmup_steps is given"),
            only_if(
                lambda args: args.lr_scheduler_type != "constant",
                "constant has no warm-up: constant_with_warmup has",
            ),
        ],
    )
    eval_steps: int = changed(EvaluationArguments, "eval_steps", spelling="dpr_eval_steps", read_if=())
    early_stopping_patience: int | None = changed(
        EvaluationArguments,
        "early_stopping_patience",
        help="Stop after so many evaluations in a row in which retrieval did not get better.",
        read_if=_LEAVES_QUESTIONS,
    )
    max_eval_samples: int | None = changed(DataArguments, "max_eval_samples", read_if=_LEAVES_QUESTIONS)


@command("train_reranker.py", "Train a reranker.")
class TrainRerankerArguments(
    TrainingRunArguments,
    EvalBatchArguments,
    TrainingDataArguments,
    RerankerArguments,
    IndexedRetrieverArguments,
    MiningArguments,
    OptimizationArguments,
    EvaluationArguments,
):
    """A cross-encoder: what a retriever finds is what it learns to tell apart."""

    not_flags: ClassVar = _OF_THE_TRAINER

    output_dir: str = changed(OutputArguments, "output_dir", "./saved/reranker")
    hard_negatives: int = changed(
        MiningArguments,
        "hard_negatives",
        4,
        help="Hard negatives per question, drawn for each epoch.",
        fault=lambda count: None if count else "leaves no passage to tell the right one from: give 1 or more",
    )
    per_device_train_batch_size: int = changed(
        OptimizationArguments,
        "per_device_train_batch_size",
        8,
        help="Questions per batch, each with its passages.",
    )
    per_device_eval_batch_size: int = changed(
        EvalBatchArguments, "per_device_eval_batch_size", help="Pairs per forward pass when nothing is trained.",
        read_if=IF_EVALUATED,
    )  # fmt: skip
    max_eval_samples: int | None = changed(DataArguments, "max_eval_samples", read_if=IF_EVALUATED)
    test_eval_dataset_path: str | None = changed(TrainingDataArguments, "test_eval_dataset_path", read_if=IF_EVALUATED)
    rerank_depth: int = changed(
        RerankArguments,
        "rerank_depth",
        help="Best passages per evaluation question that are re-ordered.",
        read_if=only_if(lambda args: args.do_eval, "nothing is re-ordered without an evaluation: add --do_eval"),
    )


@command("inference.py", "Answer questions.")
class InferenceArguments(
    OutputArguments,
    ComputeArguments,
    EvalBatchArguments,
    ReaderArguments,
    DataArguments,
    AsTrainedArguments,
    WorkerArguments,
    RetrieverArguments,
    PassageArguments,
):
    """Which questions are answered, from which passages, by which reader."""

    output_dir: str = changed(OutputArguments, "output_dir", "./outputs")
    do_predict: bool = flag(False, "Answer the test questions and write predictions.json.", group="data")
    do_eval: bool = flag(False, "Answer the validation questions and score retrieval and answers.", group="data")

    def contradictions(self) -> Iterator[str]:
        """Yield what is missing or too much."""
        if self.do_eval == self.do_predict:
            yield "say what to answer: --do_predict for the test questions, or --do_eval for the validation ones"


@command("retrieve.py", "Measure retrievers.")
class RetrieveArguments(
    OutputArguments, SeedArguments, DataArguments, IndexedRetrieverArguments, RerankArguments, DepthArguments,
    ComparisonArguments,
):  # fmt: skip
    """Which retrievers are compared, over which questions."""

    output_dir: str = changed(OutputArguments, "output_dir", "./outputs/retrieval")
    retriever_type: list[str] = changed(
        IndexedRetrieverArguments,
        "retriever_type",
        ["SparseRetrieval_BM25P"],
        help="Retrievers to measure side by side; NAME,flag=value,... gives one flags of its own.",
    )
    top_k_retrieval: int = changed(
        DepthArguments, "top_k_retrieval", 100, help="Passages retrieved per question, and the deepest recall."
    )


@command("average.py", "Average the weights of several checkpoints of one reader.")
class AverageArguments:
    """Which checkpoints become one."""

    folders: list[str] = flag(
        help="One run, with --last or --best, or the checkpoints themselves.", group="run", positional=True
    )
    output_dir: str = flag(help="Folder for the averaged reader.", group="run")
    last: int | None = flag(None, "The so many newest checkpoint-* of the run.", group="run", at_least=1)
    best: int | None = flag(None, "The so many of them with the highest exact match.", group="run", at_least=1)

    def contradictions(self) -> Iterator[str]:
        """Yield what does not go together."""
        if self.last is not None and self.best is not None:
            yield "--last and --best exclude each other"
        elif (self.last, self.best) != (None, None) and len(self.folders) > 1:
            yield "--last and --best choose among the checkpoints of one run: name one folder"


@command("score.py", "Score predictions against gold answers.")
class ScoreArguments(ScoringArguments):
    """What is scored against what."""
