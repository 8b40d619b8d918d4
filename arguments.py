"""The flags of every command: which groups it reads, and what of them is its own.

A group stands beside what reads it, in the ``arguments.py`` of its folder; a retriever, a head and an augmentation
declare theirs beside their own code. ``docs/flags.md`` lists all of them, ``python COMMAND --help`` a command's.
Nothing here imports torch: a command answers before that.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from loading.arguments import DataArguments, OtherEvaluationArguments, SourceArguments, TrainingDataArguments
from loading.perturbations import PERTURBATIONS
from models.arguments import EncoderArguments, ModelArguments, ReaderArguments
from reading.arguments import (
    AnswerArguments,
    AsTrainedArguments,
    AugmentationArguments,
    CacheArguments,
    DatasetArguments,
    PassageArguments,
    ReadingBatchArguments,
    ScoringArguments,
    WindowArguments,
    WorkerArguments,
)
from reading.augmentation import names_in
from reading.metrics import mean_scores
from reading.voting import METHODS, VOTED_FILES
from retrieval.arguments import (
    ENCODES_OR_RERANKS,
    ComparisonArguments,
    CorpusArguments,
    DepthArguments,
    DPRArguments,
    IndexedRetrieverArguments,
    MiningArguments,
    QuestionsArguments,
    RerankerArguments,
    RetrieverArguments,
    TeacherArguments,
    unexplained,
)
from retrieval.bm25 import BM25Arguments
from retrieval.rerank import RerankArguments
from runtime.arguments import (
    ComputeArguments,
    EvalBatchArguments,
    OutputArguments,
    RunArguments,
    SeedArguments,
    TrainingRunArguments,
)
from runtime.command_line import check_command_line, parse_arguments
from runtime.flags import (
    COMMANDS,
    changed,
    changes,
    command,
    fields_by_name,
    flag,
    flag_group,
    only_if,
    part_of,
    read_only_if,
    record_of,
    spelling_of,
)
from runtime.masking import is_secret
from runtime.sweeping import Setting, Space, combinations, drawn, extremes, read_space, refusals, space_faults
from training.arguments import (
    IF_EVALUATED,
    CheckpointArguments,
    EvaluationArguments,
    FreezeArguments,
    FreezeScheduleArguments,
    OptimizationArguments,
    PatienceArguments,
    ScheduleArguments,
    SmoothingArguments,
)
from training.trainer_flags import NOT_OF_THIS_TRAINER, FormerTrainerArguments, TrainerFlags

__all__ = [
    "AskArguments", "AugmentationArguments", "AverageArguments", "CheckArguments", "DatasetArguments", "DemoArguments",
    "EnsembleArguments", "FreezeArguments", "FreezeScheduleArguments", "InferenceArguments", "ModelArguments",
    "OptimizationArguments", "PipelineArguments", "PostprocessArguments", "ReportArguments", "RetrieveArguments",
    "RetrieverArguments", "RobustnessArguments", "RunArguments", "ScoreArguments", "SweepArguments",
    "TrainDPRArguments", "TrainMRCArguments", "TrainMRCV2Arguments", "TrainRerankerArguments", "check_command_line",
    "parse_arguments", "part_of", "record_of",
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


@flag_group("reader")
@changes(
    "max_eval_samples", "test_eval_dataset_path", "per_device_eval_batch_size", "n_best_size", also_if=IF_EVALUATED
)
class ReaderTrainingArguments(
    TrainingRunArguments,
    EvalBatchArguments,
    ModelArguments,
    AsTrainedArguments,
    DatasetArguments,
    AugmentationArguments,
    OptimizationArguments,
    SmoothingArguments,
    EvaluationArguments,
    CheckpointArguments,
):
    """What both commands that train a reader read, with the schedule that docs/heads.md found best for it."""

    warmup_ratio: float = changed(ScheduleArguments, "warmup_ratio", 0.1)
    layerwise_lr_decay: float = changed(OptimizationArguments, "layerwise_lr_decay", 0.95)

    shared_normalization: bool = changed(
        AsTrainedArguments,
        "shared_normalization",
        help="Let one softmax run over all passages of a question, in the loss and in comparing spans "
        "(default: a trained reader's own, else False).",
    )

    def contradictions(self) -> Iterator[str]:
        """Yield what cannot be learnt."""
        if self.shared_normalization and "negative_passage" not in names_in(self.augment):
            yield (
                "--shared_normalization needs passages to compare: add --augment negative_passage and "
                "--negative_passages_path, or --shared_normalization False"
            )
        if self.head == "passage_selection" and not self.shared_normalization:
            yield "--head passage_selection learns to select only with --shared_normalization: add it"


@command("train_mrc.py", "Train a reader.")
@changes(
    "layerwise_lr_decay",
    also_if=only_if(
        lambda args: args.freeze_pretrained_weight != "all", "--freeze_pretrained_weight all leaves no layer to train"
    ),
)
class TrainMRCArguments(ReaderTrainingArguments, FreezeScheduleArguments):
    """A reader, trained with the loop of this project."""

    not_flags: ClassVar[dict[str, str]] = _OF_THE_TRAINER

    per_device_train_batch_size: int | Literal["auto"] = changed(
        OptimizationArguments,
        "per_device_train_batch_size",
        help="Features per forward and backward pass; auto is 16, or what of it fits into a GPU, and accumulates the "
        "rest.",
    )


@command("train_mrc_v2.py", "Train a reader with the Hugging Face Trainer.")
@changes(
    "early_stopping_patience",
    "eval_delay",
    "eval_on_start",
    "eval_steps",
    also_if=only_if(lambda args: args.eval_strategy != "no", "nothing is evaluated while training: see --do_eval"),
)
@changes("metric_for_best_model", "greater_is_better", also_if=IF_EVALUATED)
@changes(
    "metric_for_best_model",
    help="What best/ is the best by: exact_match, f1, loss, … "
    "(default: exact_match; with --prediction_loss_only loss).",
)
@changes(
    "save_total_limit",
    read_if=[
        only_if(
            lambda args: args.do_eval or args.save_strategy != "best",
            "checkpoints are chosen by evaluation: add --do_eval",
        )
    ],
)
@changes(
    "save_total_limit",
    "save_only_model",
    also_if=only_if(lambda args: args.save_strategy != "no", "--save_strategy no keeps no checkpoints"),
)
@changes(
    "save_steps",
    also_if=only_if(lambda args: args.save_strategy == "steps", "only --save_strategy steps counts them"),
    above=0,
)
@changes(
    "logging_steps",
    also_if=only_if(lambda args: args.logging_strategy == "steps", "only --logging_strategy steps counts them"),
)
@changes("precision", also_if=only_if(lambda args: not (args.bf16 or args.fp16), "--bf16 or --fp16 is given"))
@changes("fp16", also_if=only_if(lambda args: not args.bf16, "--bf16 is given"))
@changes(
    "warmup_cycles", also_if=only_if(lambda args: args.lr_scheduler_kwargs is None, "--lr_scheduler_kwargs is given")
)
@changes("per_device_eval_batch_size", aliases=["per_gpu_eval_batch_size"])
@changes("per_device_train_batch_size", aliases=["per_gpu_train_batch_size"])
@changes("use_cpu", aliases=["no_cuda"])
@changes("hub_token", "hub_private_repo", read_if=())  # by trackers too
class TrainMRCV2Arguments(ReaderTrainingArguments, FreezeArguments, FormerTrainerArguments, TrainerFlags):
    """A reader, trained with the Trainer: its every flag beside ours, with our meaning and default where both have one.

    These are the values as given; :func:`training.trainer_arguments.training_arguments` makes of them what a Trainer
    takes. Flags that transformers 5 dropped are understood.
    """

    not_flags: ClassVar[dict[str, str]] = NOT_OF_THIS_TRAINER

    logging_steps: float = changed(
        RunArguments,
        "logging_steps",
        help="Optimizer steps between two lines of metrics.jsonl; below 1 a share of all.",
    )
    report_to: str = changed(
        RunArguments,
        "report_to",
        help="Tracker beside metrics.jsonl: auto, none, wandb, or an integration of the Trainer.",
    )
    lr_scheduler_type: str = changed(ScheduleArguments, "lr_scheduler_type")
    warmup_steps: float = changed(
        ScheduleArguments, "warmup_steps", help="Optimizer steps of linear warm-up; below 1 a share of all."
    )
    eval_strategy: Literal["no", "steps", "epoch"] | None = changed(
        EvaluationArguments,
        "eval_strategy",
        None,
        help="Evaluate every eval_steps, after every epoch, or, with --do_eval and no, at the end "
        "(default: steps with --do_eval).",
    )
    eval_steps: float = changed(
        EvaluationArguments, "eval_steps", help="Optimizer steps between evaluations; below 1 a share of all."
    )

    def contradictions(self) -> Iterator[str]:
        """Yield what this command does not do."""
        if self.shared_normalization and self.train_sampling_strategy in ("sequential", "batch_rebalance"):
            yield (
                "--shared_normalization keeps the passages of a question in one batch: leave out "
                "--train_sampling_strategy"
            )
        if not self.do_train:
            yield "add --do_train: this command trains a reader, inference.py evaluates one and answers with it"
        metric, known = self.metric_for_best_model, ["loss"]
        if not self.prediction_loss_only:
            known += mean_scores({}, {"": []})
        if metric is not None and metric.removeprefix("eval_") not in known:
            yield f"--metric_for_best_model {metric} is not measured; choose from: {', '.join(known)}"

    def settle(self) -> None:
        """Let --do_eval and --eval_strategy say the same."""
        if self.eval_strategy is None:
            self.eval_strategy = "steps" if self.do_eval else "no"
        self.do_eval = self.do_eval or self.eval_strategy != "no"


_MINES = only_if(lambda args: args.hard_negatives > 0, "--hard_negatives 0 mines nothing")
_NOT_TAUGHT = only_if(lambda args: args.distil_from is None, "the passages of --distil_from are taken")
_ONE_VECTOR = only_if(
    lambda args: args.interaction == "single",
    "--interaction multi trains one encoder that gives normalised vectors of all tokens of 'title: text'",
)
_MINES_WITH_BM25 = only_if(lambda args: args.mine_from == "bm25", "--mine_from dense counts no terms")


@command("train_dpr.py", "Train a dense passage retriever.")
@changes("index_dir", read_if=[_MINES, _NOT_TAUGHT])  # by encoders too
@changes("mining_depth", read_if=[_MINES, _NOT_TAUGHT])
@changes("negatives_judge", "negatives_margin", also_if=_MINES)
@changes("negatives_judge", "negatives_margin", also_if=_NOT_TAUGHT)
@changes("pooling", "normalize", "title_prefix", "shared_encoder", also_if=_ONE_VECTOR)
@changes("dimensions", "append_eos", "padding_side", also_if=_ONE_VECTOR)
@changes(
    "early_stopping_patience",
    "max_eval_samples",
    also_if=only_if(
        lambda args: not args.concat_eval or args.test_eval_dataset_path is not None,
        "--concat_eval leaves nothing to evaluate on: add --test_eval_dataset_path",
    ),
)
@changes("chunk_size", spelling="corpus_chunk_size")  # --chunk_size is about batches here
@changes("num_train_epochs", spelling="dpr_epochs", help="Passes over the training questions; fractions allowed.")
@changes("learning_rate", default=2e-5, spelling="dpr_learning_rate")
@changes("weight_decay", spelling="dpr_weight_decay")
@changes("warmup_steps", spelling="dpr_warmup_steps")
@changes(
    "output_dir",
    default="./models/retriever",
    spelling="retriever_dir",
    help="Folder for both encoders and everything else the run writes.",
)
class TrainDPRArguments(
    TrainingRunArguments,
    TrainingDataArguments,
    CorpusArguments,
    DPRArguments,
    EncoderArguments,
    MiningArguments,
    read_only_if(BM25Arguments, _MINES, _NOT_TAUGHT, _MINES_WITH_BM25),  # type: ignore[misc]
    ScheduleArguments,
    PatienceArguments,
):
    """A dense retriever: in-batch negatives and mined ones."""

    not_flags: ClassVar[dict[str, str]] = _OF_THE_TRAINER
    not_read: ClassVar[dict[type, str]] = {
        WindowArguments: "it is about reading; a retriever takes whole passages",
        AnswerArguments: "it is about reading; a retriever gives no answers",
        CacheArguments: "what is mined is kept in --index_dir",
        OptimizationArguments: "a bi-encoder has no head, and all its layers learn at one rate",
        SmoothingArguments: "the passages of the other questions are known to be wrong",
        EvaluationArguments: "every --dpr_eval_steps it evaluates, wherever the data has validation questions",
        CheckpointArguments: "only the best pair of encoders is kept",
        RetrieverArguments: "negatives are mined as --mine_from says, and nothing else is searched",
    }

    mine_from: Literal["bm25", "dense"] = flag(
        "bm25",
        "Mine with BM25+, or with the encoder that training starts from (a second round).",
        group="negatives",
        read_if=[_MINES, _NOT_TAUGHT],
    )
    eval_steps: int = changed(EvaluationArguments, "eval_steps", spelling="dpr_eval_steps", read_if=())


@command("train_reranker.py", "Train a reranker.")
@changes("max_eval_samples", "test_eval_dataset_path", "per_device_eval_batch_size", also_if=IF_EVALUATED)
@changes("per_device_eval_batch_size", help="Pairs per forward pass when nothing is trained.")
@changes("per_device_train_batch_size", default=8, help="Questions per batch, each with its passages.")
@changes("output_dir", default="./saved/reranker")
@changes(
    "hard_negatives",
    default=4,
    fault=lambda count: None if count else "leaves no passage to tell the right one from: give 1 or more",
)
class TrainRerankerArguments(
    TrainingRunArguments,
    EvalBatchArguments,
    TrainingDataArguments,
    RerankerArguments,
    IndexedRetrieverArguments,
    MiningArguments,
    TeacherArguments,
    OptimizationArguments,
    EvaluationArguments,
):
    """A cross-encoder: what a retriever finds is what it learns to tell apart."""

    not_flags: ClassVar[dict[str, str]] = _OF_THE_TRAINER
    not_read: ClassVar[dict[type, str]] = {
        WindowArguments: "it is for readers; a reranker reads pairs of at most --reranker_max_len tokens",
        AnswerArguments: "a reranker gives no answers",
        CacheArguments: "there are no features to keep",
        SmoothingArguments: "which passage has the answer is known",
        CheckpointArguments: "only the best reranker is kept",
        DepthArguments: "--mining_depth and --rerank_depth say how many passages are retrieved",
        RerankArguments: "a reranker is what this command trains: --reranker_model names its start",
    }

    rerank_depth: int = changed(
        RerankArguments,
        "rerank_depth",
        help="Best passages per evaluation question that are re-ordered.",
        read_if=only_if(lambda args: args.do_eval, "nothing is re-ordered without an evaluation: add --do_eval"),
    )


@command("inference.py", "Answer questions.")
@changes("backend", read_if=())  # by the reader
@changes("output_dir", default="./outputs")
class InferenceArguments(
    OutputArguments,
    ComputeArguments,
    ReadingBatchArguments,
    ReaderArguments,
    DataArguments,
    AsTrainedArguments,
    WorkerArguments,
    RetrieverArguments,
    PassageArguments,
):
    """Which questions are answered, from which passages, by which reader."""

    not_read: ClassVar[dict[type, str]] = {
        FreezeScheduleArguments: "inference trains nothing",
        TrainingDataArguments: "inference trains nothing",
        ModelArguments: "it is kept with the checkpoint",
        CacheArguments: "retrieved passages are read once, their features are not kept",
        RunArguments: "inference trains nothing; results are named by --output_dir, and replaced whole",
    }

    do_predict: bool = flag(False, "Answer the test questions and write predictions.json.", group="data")
    do_eval: bool = flag(False, "Answer the validation questions and score retrieval and answers.", group="data")
    tune: bool = flag(
        False,
        "Choose passages, retrieval weight and null threshold by the validation questions; write them to tuned.json, "
        "for --config.",
        group="answers",
        read_if=only_if(lambda args: args.do_eval, "settings are chosen by gold answers: add --do_eval"),
    )

    def contradictions(self) -> Iterator[str]:
        """Yield what is missing or too much."""
        if self.tune and self.retriever_type != "none" and self.passage_reading == "joined":
            yield (
                "--tune reads the passages once, which --passage_reading joined reads otherwise for each number of "
                "passages: leave it out"
            )
        if self.do_eval == self.do_predict:
            yield "say what to answer: --do_predict for the test questions, or --do_eval for the validation ones"


@flag_group("answers")
@changes("n_best_size", help="Candidates weighed and kept per question.")
@changes("backend", read_if=())  # by the reader
class PipelineArguments(
    ReadingBatchArguments,
    ReaderArguments,
    SourceArguments,
    AsTrainedArguments,
    WorkerArguments,
    IndexedRetrieverArguments,
    RerankArguments,
    DepthArguments,
    PassageArguments,
):
    """Which reader answers, from passages of which corpus: what :class:`pipeline.Pipeline` is made of."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = changed(ComputeArguments, "precision")
    skip_bad_rows: bool = changed(DataArguments, "skip_bad_rows")


@command("ask.py", "Answer questions that are typed.")
@changes("dataset_path", help="Folder or file in or beside which the corpus lies.")
@changes("top_k_retrieval", default=5)  # somebody waits
class AskArguments(PipelineArguments):
    """Which question is answered, and how the answer is shown."""

    not_read: ClassVar = {
        DataArguments: "the questions are the ones that are typed; inference.py answers those of a data set",
        RetrieverArguments: "passages are searched for each question; inference.py reads a table of them",
        FreezeScheduleArguments: "nothing is trained",
        TrainingDataArguments: "nothing is trained",
        ModelArguments: "it is kept with the checkpoint",
        CacheArguments: "passages are read once, their features are not kept",
        OutputArguments: "answers are printed, nothing is written",
        SeedArguments: "nothing is drawn",
        RunArguments: "nothing is trained",
    }

    question: list[str] = flag(
        [],
        "The question; without one, questions are read from a prompt or standard input until an empty line.",
        group="question",
        positional=True,
    )
    show: int = flag(
        5,
        "Answers that are shown, with their passages.",
        group="question",
        at_least=1,
        read_if=only_if(lambda args: not args.json, "--json gives all --n_best_size of them"),
    )
    json: bool = flag(False, "Print one JSON object a line for each question, with all answers.", group="question")
    explain: bool = flag(
        False, "Also show why each passage was found: what its score is made of, term by term.", group="question"
    )

    def contradictions(self) -> Iterator[str]:
        """Yield what does not say why."""
        if self.explain:
            yield from unexplained([self.retriever_type])


@command("tools.demo", "Answer questions on a web page.")
@changes("dataset_path", help="Folder or file in or beside which the corpus lies.")
@changes("top_k_retrieval", default=5, at_most=100, help="Passages read per question, unless the page says otherwise.")
class DemoArguments(PipelineArguments):
    """What answers, and at which address the page is."""

    not_read: ClassVar = AskArguments.not_read | {
        RetrieverArguments: "passages are searched for each question",
        OutputArguments: "answers are shown on the page, nothing is written",
    }

    retriever_type: list[str] = changed(
        IndexedRetrieverArguments,
        "retriever_type",
        ["SparseRetrieval_BM25P"],
        help="Retrievers that the page lets choose from; NAME,flag=value,... gives one flags of its own.",
    )
    host: str = flag(
        "127.0.0.1",
        "Address to listen at; 0.0.0.0 lets everybody in the network ask, without a password.",
        group="page",
    )
    port: int = flag(8000, "Port to listen at; 0 takes a free one.", group="page", at_least=0, at_most=65535)


@command("retrieve.py", "Measure retrievers.")
@changes("backend", read_if=ENCODES_OR_RERANKS)
@changes("output_dir", default="./outputs/retrieval")
@changes("top_k_retrieval", default=100, help="Passages retrieved per question, and the deepest recall.")
class RetrieveArguments(
    OutputArguments, IndexedRetrieverArguments, RerankArguments, DepthArguments, ComparisonArguments
):
    """Which retrievers are compared, over which questions."""

    not_read: ClassVar[dict[type, str]] = {
        WindowArguments: "passages are found, not read",
        AnswerArguments: "passages are found, not read",
        CacheArguments: "passages are found, not read",
        TrainingDataArguments: "nothing is trained; --split names the questions, --max_eval_samples how many",
        ComputeArguments: "encoders run in the best precision of the device",
        RunArguments: "nothing is trained; results are named by --output_dir, and replaced whole",
    }

    retriever_type: list[str] = changed(
        IndexedRetrieverArguments,
        "retriever_type",
        ["SparseRetrieval_BM25P"],
        help="Retrievers to measure side by side; NAME,flag=value,... gives one flags of its own.",
    )

    def contradictions(self) -> Iterator[str]:
        """Yield what does not say why."""
        if self.explain:
            yield from unexplained(self.retriever_type)


_READS = only_if(lambda args: args.model is not None, "nothing is read without --model")


@command("tools.robustness", "Measure what changed questions cost retrievers and a reader.")
@changes(
    "backend",
    read_if=only_if(
        lambda args: args.model is not None or ENCODES_OR_RERANKS(args) is None,
        "nothing is encoded: name a retriever with encoders, or add --reranker or --model",
    ),
)
@changes("output_dir", default="./outputs/robustness")
@changes("top_k_retrieval", help="Passages retrieved per question, the deepest recall, and what --model reads.")
class RobustnessArguments(
    OutputArguments, IndexedRetrieverArguments, RerankArguments, DepthArguments, QuestionsArguments
):
    """Which questions are asked otherwise, how, and who looks for their passages."""

    not_read: ClassVar[dict[type, str]] = RetrieveArguments.not_read

    retriever_type: list[str] = changed(RetrieveArguments, "retriever_type")
    perturbations: list[str] = flag(
        list(PERTURBATIONS), "Ways in which every question is changed.", group="comparison", choices=list(PERTURBATIONS)
    )
    model: str | None = changed(
        ReaderArguments, "model", None, help="Reader (folder or hub name), to measure its answers too."
    )
    metric: str = changed(ScoringArguments, "metric", read_if=_READS)
    bootstrap_samples: int = changed(ScoringArguments, "bootstrap_samples")
    score_seed: int = changed(ScoringArguments, "score_seed")


@command("average.py", "Average the weights of several checkpoints of one reader.")
class AverageArguments:
    """Which checkpoints become one."""

    folders: list[str] = flag(
        help="One run, with --last or --best, or the checkpoints themselves.", group="run", positional=True
    )
    output_dir: str = flag(help="Folder for the averaged reader.", group="run", writes="folder")
    last: int | None = flag(None, "Average this many checkpoints of the run, the newest.", group="run", at_least=2)
    best: int | None = flag(
        None, "Average this many of its checkpoints, those with the highest exact match.", group="run", at_least=2
    )

    def contradictions(self) -> Iterator[str]:
        """Yield what does not go together."""
        if self.last is not None and self.best is not None:
            yield "--last and --best exclude each other"
        elif (self.last, self.best) != (None, None) and len(self.folders) > 1:
            yield "--last and --best choose among the checkpoints of one run: name one folder"


@command("score.py", "Score predictions against gold answers, and against each other.")
class ScoreArguments(ScoringArguments):
    """What is scored against what."""

    simulate_leaderboard: int | None = flag(
        None,
        "Draw public and private halves of this many questions each, --bootstrap_samples times, and say how often the "
        "better file in public is the better one in private.",
        group="score",
        at_least=1,
        at_most=1_000_000,
        read_if=only_if(lambda args: len(args.predictions) > 1, "it compares: give --predictions several files"),
    )
    errors: str | None = flag(
        None,
        "Write one row a question (answers, scores, rank of the gold passage, what missed) to this .csv file.",
        group="score",
        writes="file",
        fault=lambda path: None if path.endswith(".csv") else "must end in .csv",
    )

    def contradictions(self) -> Iterator[str]:
        """Yield what is wrong with the files together."""
        if len(self.predictions) > (most := 26):  # letters, by which they are called
            yield f"--predictions takes at most {most} files, not {len(self.predictions)}"
        files = [os.path.realpath(path) for path in self.predictions]
        for path in dict.fromkeys(self.predictions[i] for i, file in enumerate(files) if file in files[:i]):
            yield f"--predictions names {path} twice: a comparison takes different files"

    def settle(self) -> None:
        """Let a folder stand for the predictions in it."""
        paths = self.predictions
        self.predictions = [os.path.join(path, "predictions.json") if os.path.isdir(path) else path for path in paths]


@command("tools.ensemble", "Let several readers vote.")
class EnsembleArguments:
    """Who votes, how, and with which weights."""

    members: list[str] = flag(
        help="Folders with nbest_predictions.json, and files or folders of predictions {id: text}.", group="vote"
    )
    output_dir: str = flag(
        help="Folder for predictions.json, nbest_predictions.json and ensemble.json.", group="vote", writes="folder"
    )
    method: str = flag(
        "soft",
        "Decide by summed probabilities (soft), by best answers (hard) or by summed span scores (logits).",
        group="vote",
        choices=list(METHODS),
    )
    weights: list[float] | None = flag(
        None, "What each member's vote is worth (default: all the same).", group="vote", at_least=0
    )
    gold: str | None = flag(
        None, "Gold answers to score against: any layout that --dataset_path takes.", group="tuning"
    )
    column: list[str] = changed(
        DataArguments,
        "column",
        group="tuning",
        read_if=only_if(lambda args: args.gold, "add --gold"),
    )
    tune: bool = flag(False, "Choose the weights by exact match on the validation questions of --gold.", group="tuning")

    def contradictions(self) -> Iterator[str]:
        """Yield what is missing or does not go together."""
        if len(self.members) < 2:
            yield "--members takes two or more: one alone has nobody to vote with"
        if self.weights is not None and len(self.weights) != len(self.members):
            yield f"--members names {len(self.members)}, --weights gives {len(self.weights)}: give one for each member"
        if self.weights is not None and not any(self.weights):
            yield "--weights are all 0, so nobody votes: give one member more"
        if self.tune and self.gold is None:
            yield "--tune chooses by gold answers: add --gold"
        if self.tune and self.weights is not None:
            yield "--tune chooses the weights: leave out --weights"
        written = [self.output_dir, *(os.path.join(self.output_dir, name) for name in VOTED_FILES)]
        if set(map(os.path.abspath, written)) & set(map(os.path.abspath, self.members)):
            yield f"--output_dir {self.output_dir} holds one of --members, whose answers would be replaced"


_SCORED = only_if(lambda args: args.gold is not None, "nothing is scored without --gold")


@command("tools.report", "Show what runs learnt and where they go wrong, as one page.")
class ReportArguments:
    """Which runs are shown."""

    folders: list[str] = flag(
        help="Folders of runs: trained (metrics.jsonl), and at most two that inference.py wrote (predictions.json).",
        group="report",
        positional=True,
    )
    gold: str | None = flag(
        None, "Gold answers to these predictions: any layout that --dataset_path takes.", group="report"
    )
    output: str = flag(
        "./outputs/report.html",
        "The page, a file that needs no other.",
        group="report",
        writes="file",
        fault=lambda path: None if path.endswith(".html") else "must end in .html",
    )
    column: list[str] = changed(ScoringArguments, "column", read_if=_SCORED)
    metric: str = changed(ScoringArguments, "metric", read_if=_SCORED)
    bootstrap_samples: int = changed(ScoringArguments, "bootstrap_samples", read_if=_SCORED)
    score_seed: int = changed(ScoringArguments, "score_seed", read_if=_SCORED)


_SWEPT = {
    "train_mrc.py": "eval_exact_match",
    "train_mrc_v2.py": "eval_exact_match",
    "train_dpr.py": "eval_recall@5",
    "train_reranker.py": "eval_mrr@10",
}
_MOST_TRIALS = 10_000
_DRAWS = only_if(lambda args: args.method != "grid", "--method grid tries every combination")


@command("tools.sweep", "Train with several settings of flags, and compare them.")
@changes("output_dir", default="./saved/sweep", help="Folder for a folder of each trial, and for the table.")
class SweepArguments(OutputArguments):
    """Which flags of which command are varied, and how."""

    program: str = flag("train_mrc.py", "Command that every trial runs.", group="trials", choices=list(_SWEPT))
    flags: dict[str, Any] = flag({}, "Flags that all trials have in common: {flag: value}.", group="trials")
    grid: dict[str, Any] = flag(
        {},
        "Flags that are varied: {flag: [value, ...]}, or a range, {flag: LOW..HIGH} or {flag: log LOW..HIGH}.",
        group="trials",
    )
    seeds: list[int] = flag(
        [42], "Every setting is tried with each of these seeds.", group="trials", at_least=0, at_most=2**32 - 1
    )
    method: Literal["grid", "random", "optuna"] = flag(
        "grid",
        "Try every combination, random ones, or those that Optuna suggests by the scores so far.",
        group="search",
    )
    trials: int = flag(20, "Settings to try.", group="search", at_least=1, at_most=10_000, read_if=_DRAWS)
    sweep_seed: int = flag(
        0, "Seed of the settings that are drawn.", group="search", at_least=0, at_most=2**32 - 1, read_if=_DRAWS
    )
    sweep_metric: str | None = flag(
        None, "What of metrics.json settings are compared by (default: what best/ is the best by).", group="search"
    )
    goal: Literal["highest", "lowest"] | None = flag(
        None, "Whether a high or a low metric is good (default: low for a loss, else high).", group="search"
    )

    def settle(self) -> None:
        """Choose the metric of the command, and its goal."""
        self.sweep_metric = self.sweep_metric or _SWEPT.get(self.program)
        self.goal = self.goal or ("lowest" if (self.sweep_metric or "").endswith("loss") else "highest")

    @property
    def space(self) -> Space:
        """What is tried of every flag that is varied."""
        return read_space(self.grid)

    @property
    def folder_flag(self) -> str:
        """The flag by which a trial is given its folder."""
        return spelling_of(fields_by_name(COMMANDS[self.program])["output_dir"])

    def settings(self) -> list[Setting]:
        """Return what is tried; where Optuna chooses, settings with all that it may choose."""
        if self.method == "grid":
            return combinations(self.space)
        return drawn(self.space, self.trials, self.sweep_seed) if self.method == "random" else extremes(self.space)

    def contradictions(self) -> Iterator[str]:
        """Yield what is wrong with the settings, also what the command itself would say of its flags."""
        kept = {self.folder_flag, "seed", "run_name", "logging_dir", "resume_from_checkpoint", "overwrite_output_dir"}
        for name in (*self.flags, *self.grid):
            if name in kept or name == "config":
                yield f"{name} is given to every trial by the sweep: leave it out, and see --seeds and --output_dir"
            elif is_secret(name):
                yield f"{name} is a secret, and the settings of a sweep are kept in files: leave it out"
        if repeated := sorted(self.flags.keys() & self.grid.keys()):
            yield f"--flags and --grid both give {', '.join(repeated)}"
        if len(set(self.seeds)) < len(self.seeds):
            yield "--seeds names a seed twice"
        if faults := space_faults(self.grid, ranges=self.method != "grid"):
            yield from (f"--grid {fault}" for fault in faults)
            return
        count = math.prod(len(value) for value in self.grid.values()) if self.method == "grid" else self.trials
        if count * len(self.seeds) > _MOST_TRIALS:
            yield f"--grid and --seeds make {count * len(self.seeds)} trials: give fewer, {_MOST_TRIALS} at most"
            return
        trials = [self.flags | setting for setting in self.settings()]
        for fault in refusals(COMMANDS[self.program], trials, lambda trial: getattr(trial, "do_eval", True)):
            yield f"{self.program}: {fault}"


_CUT = only_if(
    lambda args: args.model is not None or args.tokenizer is not None, "nothing is cut: add --model or --tokenizer"
)


@command("tools.check", "Look at a data set before training on it.")
@changes("dataset_path", positional=True)
class CheckArguments(OtherEvaluationArguments):
    """Which data are looked at, and with which tokenizer and settings."""

    column: list[str] = changed(DataArguments, "column")
    context_path: str | None = changed(CorpusArguments, "context_path", group="data")
    corpus_column: list[str] = changed(CorpusArguments, "corpus_column", group="data")
    model: str | None = changed(
        ReaderArguments, "model", None, help="Encoder or reader that is to read it, for lengths in tokens and windows."
    )
    tokenizer: str | None = changed(
        ReaderArguments, "tokenizer", help="Its tokenizer, if it is another or there alone."
    )
    max_seq_len: int | None = changed(AsTrainedArguments, "max_seq_len", read_if=_CUT)
    stride_len: int | None = changed(AsTrainedArguments, "stride_len", read_if=_CUT)
    max_ans_len: int | None = changed(AsTrainedArguments, "max_ans_len", read_if=_CUT)
    version_2_with_negative: bool | None = changed(AsTrainedArguments, "version_2_with_negative")
    output_file: str | None = flag(
        None,
        "Also write everything to this .json file.",
        group="data",
        writes="file",
        fault=lambda path: None if path.endswith(".json") else "must end in .json",
    )


@command("tools.postprocess", "Measure the rules that tidy answers.")
class PostprocessArguments:
    """Which answers the rules are tried on, and what is right."""

    nbest: str = flag(
        help="What inference.py wrote with --postprocess none: the folder, or its nbest_predictions.json.",
        group="score",
    )
    gold: str = changed(ScoringArguments, "gold")
    column: list[str] = changed(ScoringArguments, "column")
    passages: str | None = flag(
        None,
        "Table of the passages that were read (default: retrieved_passages.csv beside --nbest, "
        "or without one the contexts of --gold).",
        group="score",
    )
    half: Literal["first", "second"] | None = flag(
        None, "Measure on every other question: first to choose rules, second to report on them.", group="score"
    )
    metric: str = changed(ScoringArguments, "metric")
    bootstrap_samples: int = changed(ScoringArguments, "bootstrap_samples")
    score_seed: int = changed(ScoringArguments, "score_seed")
