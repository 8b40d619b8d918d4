"""Flags of reading: how features are cut and how answers are read off them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from loading.arguments import DataArguments, SourceArguments, TrainingDataArguments
from reading.augmentation import AUGMENTATIONS, names_in
from reading.metrics import METRICS
from reading.postprocessing import DEFAULT_RULES, RULES, fault_of
from runtime.arguments import EvalBatchArguments
from runtime.flags import changed, default_of, fields_by_name, flag, flag_group, flag_of, only_if, with_parameters


@flag_group("reading")
class WindowArguments:
    """How examples become features."""

    max_seq_len: int = flag(
        384,
        "Longest feature in tokens: question, context, special tokens; a trained reader brings its own.",
        at_least=8,
        at_most=2**16,
    )
    stride_len: int = flag(128, "Tokens that neighbouring windows share; a trained reader brings its own.", at_least=0)
    use_max_padding: bool = flag(False, "Pad every feature to max_seq_len instead of its batch's longest.")

    def contradictions(self) -> Iterator[str]:
        """Yield what is wrong with the values together; what is None is not decided yet."""
        if None not in (self.stride_len, self.max_seq_len) and self.stride_len >= self.max_seq_len:
            yield f"--stride_len {self.stride_len} must be below --max_seq_len {self.max_seq_len}"


@flag_group("reading")
class AnswerArguments:
    """How answers are read off logits."""

    max_ans_len: int = flag(30, "Longest answer in tokens; a trained reader brings its own.", at_least=1, at_most=1_000)
    n_best_size: int = flag(20, "Candidates kept per question in nbest_predictions.json.", at_least=1, at_most=1_000)
    version_2_with_negative: bool = flag(
        False, "Questions may have no answer: a prediction may be empty; a trained reader brings its own."
    )
    null_score_diff_threshold: float = flag(
        0.0,
        "Predict no answer when its score exceeds the best answer's by more than this (logits).",
        read_if=only_if(
            lambda answers: answers.version_2_with_negative is not False,  # None: the reader decides
            "add --version_2_with_negative",
        ),
    )
    postprocess: str = flag(
        DEFAULT_RULES,
        f"Comma-joined rules that tidy answers, or all or none: {', '.join(RULES)}; a trained reader brings its own.",
        fault=fault_of,
    )
    shared_normalization: bool = flag(
        False, "Compare spans of different passages by their logits alone; a trained reader brings its own."
    )


@flag_group("run")
class ReadingBatchArguments(EvalBatchArguments):
    """How many windows are read at once."""

    per_device_eval_batch_size: int | Literal["auto"] = changed(  # type: ignore[assignment]
        EvalBatchArguments,
        "per_device_eval_batch_size",
        help="Features per forward pass; auto is 32, and on a GPU as many of the longest as fit, up to 65,536 tokens.",
    )


@flag_group("reading")
class WorkerArguments:
    """How features are computed."""

    preprocessing_num_workers: int = flag(
        1, "Processes that build features; the tokenizer is threaded already.", at_least=1, at_most=256
    )


@flag_group("reading")
class CacheArguments(WorkerArguments):
    """Where features are kept."""

    cache_dir: str = flag(
        "./outputs/cache", "Folder for features; keyed by data, tokenizer and arguments.", writes="store"
    )


@flag_group("data")
class DatasetArguments(CacheArguments, TrainingDataArguments, AnswerArguments, WindowArguments, SourceArguments):
    """What :class:`processor.QAProcessor` reads: where examples come from, how they are cut, how answers are found."""


def _left_to_reader(group: type, name: str) -> Any:
    """Return the flag ``name`` of ``group`` with None as default: what the reader was trained with is taken."""
    origin = fields_by_name(group)[name]
    usual = default_of(origin)
    text = flag_of(origin).help.replace("; a trained reader brings its own.", "")
    return changed(group, name, None, help=f"{text} (default: a trained reader's own, else {usual}).")


@flag_group("reading")
class AsTrainedArguments(AnswerArguments, WindowArguments):
    """The settings that a trained reader brings.

    They are None where no flag gives them, until :func:`reading.reader_settings.as_trained` settles them.
    """

    max_seq_len: int = _left_to_reader(WindowArguments, "max_seq_len")
    stride_len: int = _left_to_reader(WindowArguments, "stride_len")
    max_ans_len: int = _left_to_reader(AnswerArguments, "max_ans_len")
    version_2_with_negative: bool = _left_to_reader(AnswerArguments, "version_2_with_negative")
    postprocess: str = _left_to_reader(AnswerArguments, "postprocess")
    shared_normalization: bool = _left_to_reader(AnswerArguments, "shared_normalization")


@flag_group("answers")
class PassageArguments:
    """How retrieved passages are read."""

    passage_reading: Literal["separate", "joined"] = flag(
        "separate",
        "Read each passage by itself, or all of a question's passages as one text.",
        read_if=only_if(lambda args: args.retriever_type != "none", "there is one passage a question"),
    )
    retrieval_weight: float = flag(
        2.0,
        "Logits that one standard deviation of the retriever's scores is worth; 0 leaves all to the reader.",
        at_least=0,
        read_if=only_if(lambda args: args.retriever_type != "none", "--retriever_type none has no retriever score"),
    )


@with_parameters(
    {name: augmentation.flags for name, augmentation in AUGMENTATIONS.items()},
    "augment",
    lambda arguments: names_in(arguments.augment),
)
@flag_group("augmentation")
class AugmentationArguments:
    """How training examples change from epoch to epoch."""

    augment: str | None = flag(None, f"Comma-joined: {', '.join(AUGMENTATIONS)}.")


@flag_group("score")
class ScoringArguments:
    """What is scored against what."""

    gold: str = flag(help="Gold answers: any layout that --dataset_path takes.")
    predictions: list[str] = flag(help="predictions.json ({id: text}), or its folder; several are compared, in pairs.")
    column: list[str] = changed(DataArguments, "column", group="score")
    metric: str = flag("korquad", "Whose definition of normalisation and overlap.", choices=list(METRICS))
    bootstrap_samples: int = flag(1000, "Resamples behind the 95 % intervals.", at_least=1, at_most=1_000_000)
    score_seed: int = flag(42, "Seed of the resampling.", at_least=0)
