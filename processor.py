"""QAProcessor: dataset to examples to features to answers.

    qa_processor = QAProcessor(dataset_args, tokenizer, concat=False)
    train_features = qa_processor.get_train_features()

Examples are raw text rows (``id, title, question, context, answers, document_id``), features are tokenised rows; one
example can give several (see ``reading/features.py``).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, concatenate_datasets
from transformers import EvalPrediction, PreTrainedTokenizerBase

from loading.arguments import column_names
from loading.examples import load_examples
from loading.statistics import fault_of_seen_questions, fault_of_unanswerable, warn
from reading.answers import Answer, Reading, find_answers, find_readings
from reading.arguments import AugmentationArguments, DatasetArguments
from reading.augmentation import Material, augmentation_names
from reading.augmented_features import AugmentedFeatures
from reading.features import build_features, check_tokenizer
from reading.negatives import answer_free
from reading.passages import gold_passages
from reading.predictions import predictions_of
from retrieval.table import get_retrieved_df
from runtime.errors import DataError, UserError


class QAProcessor:
    """Gives a reader its examples and features, and turns its logits into answers.

    With ``concat`` the training examples are train and validation together; evaluation then needs
    ``dataset_args.test_eval_dataset_path``. With ``title_prefix`` what is read is ``title: text``; a reader's
    ``config.title_prefix`` says how it was trained. Nothing is read before it is asked for. Raises
    :class:`~runtime.errors.DataError` listing every bad row of what was asked for.
    """

    def __init__(
        self,
        dataset_args: DatasetArguments,
        tokenizer: PreTrainedTokenizerBase,
        concat: bool = False,
        title_prefix: bool = False,
    ) -> None:
        check_tokenizer(tokenizer, dataset_args.max_seq_len)
        self.dataset_args = dataset_args
        self.tokenizer = tokenizer
        self.concat = concat
        self.title_prefix = title_prefix
        self._column_names = column_names(dataset_args.column)
        self._splits: dict[str, Dataset] = {}
        self._features: dict[str, Dataset] = {}

    def set_column_names(self, **names: str) -> None:
        """Read data whose columns have other names, e.g. ``set_column_names(question="query", id="guid")``."""
        self._column_names = names
        self._splits.clear()
        self._features.clear()

    def get_train_examples(self) -> Dataset:
        """Return the training examples."""
        splits = self.load("train", "validation") if self.concat else self.load("train")
        return _first(concatenate_datasets(splits), self.dataset_args.max_train_samples)

    def get_eval_examples(self) -> Dataset:
        """Return the evaluation examples: those of ``test_eval_dataset_path`` if it is given, else validation."""
        (examples,) = self.load(self.eval_name())
        return _first(examples, self.dataset_args.max_eval_samples)

    def get_all_examples(self, evaluate: bool) -> dict[str, Dataset]:
        """Return the examples of a training run: ``train``, and those to ``evaluate`` on as ``evaluation``.

        All are read together, and what makes the run a waste of time is warned of.
        """
        self.load("train", *([self.eval_name()] if evaluate else []))
        examples = {"train": self.get_train_examples()} | ({"evaluation": self.get_eval_examples()} if evaluate else {})
        warn(fault_of_unanswerable(examples, self.dataset_args.version_2_with_negative))
        if evaluate:
            warn(fault_of_seen_questions(*(rows["question"] for rows in examples.values())))
        return examples

    def eval_name(self) -> str:
        """Return the name of the data set to evaluate on; :class:`UserError` if it would be trained on."""
        if self.dataset_args.test_eval_dataset_path is not None:
            return "evaluation"
        if self.concat:
            raise UserError(
                "--concat_eval trains on the validation examples: name others with --test_eval_dataset_path, "
                "or evaluate nothing"
            )
        return "validation"

    def get_test_examples(self) -> Dataset:
        """Return the test examples; their contexts and answers may be empty."""
        (examples,) = self.load("test")
        return _first(examples, self.dataset_args.max_eval_samples)

    def get_train_features(self) -> Dataset:
        """Return the features of the training examples."""
        return self._get_features("train", self.get_train_examples())

    def get_augmented_features(self, arguments: AugmentationArguments, seed: int) -> Dataset | AugmentedFeatures:
        """Return the training features as ``arguments`` augment them: ``set_epoch(epoch)`` of it draws an epoch's.

        ``negative_passage`` draws on the tables in ``negative_passages_path``. Without an augmentation of training
        alone, these are the features of :meth:`get_train_features`. Raises :class:`UserError` for an unknown name,
        :class:`DataError` for a table that cannot be read.
        """
        examples, names = self.get_train_examples(), augmentation_names(arguments.augment)
        if set(names) <= {"title_prefix"}:
            return self.get_train_features()
        given: Any = arguments  # with the flags that the augmentations declare
        negatives = {}
        if "negative_passage" in names:
            if not given.negative_passages_path:
                raise UserError("--augment negative_passage needs --negative_passages_path, the table to draw from")
            tables = [get_retrieved_df(path, examples, partly=True) for path in given.negative_passages_path]
            negatives = answer_free(examples, pd.concat(tables))
        return AugmentedFeatures(
            examples,
            partial(self.make_features, cached=False),
            names,
            given.augment_probability,
            Material(self.tokenizer, negatives, given.negative_passages),
            seed,
            self.dataset_args.shared_normalization,
        )

    def get_eval_features(self) -> Dataset:
        """Return the features of the evaluation examples, labels included."""
        return self._get_features("evaluation", self.get_eval_examples())

    def get_test_features(self) -> Dataset:
        """Return the features of the test examples, over their own contexts."""
        return self._get_features("test", self.get_test_examples())

    def make_features(
        self,
        examples: Dataset,
        what: str = "features",
        tokenizer: PreTrainedTokenizerBase | None = None,
        cached: bool = True,
    ) -> Dataset:
        """Return the features of any ``examples``, such as retrieved passages; ``tokenizer`` instead of its own."""
        arguments = self.dataset_args
        return build_features(
            examples,
            tokenizer or self.tokenizer,
            arguments.max_seq_len,
            arguments.stride_len,
            cache_dir=arguments.cache_dir if cached else None,
            num_workers=arguments.preprocessing_num_workers,
            what=what,
            title_prefix=self.title_prefix,
        )

    def find_answers(
        self, examples: Dataset, features: Dataset, predictions: tuple[np.ndarray, ...], retrieval_weight: float = 0.0
    ) -> dict[str, list[Answer]]:
        """Return the n best answers per question id; ``predictions`` are those of ``read_features``."""
        return find_answers(_with_passages(examples), features, predictions, self.dataset_args, retrieval_weight)

    def find_readings(
        self, examples: Dataset, features: Dataset, predictions: tuple[np.ndarray, ...]
    ) -> dict[str, list[Reading]]:
        """Return per question id what was found in each of its passages, for :func:`reading.answers.weigh`."""
        return find_readings(_with_passages(examples), features, predictions, self.dataset_args)

    def post_processing_function(
        self, examples: Dataset, features: Dataset, predictions: tuple[np.ndarray, ...], stage: str = "eval"
    ) -> EvalPrediction:
        """Return the answers to ``examples`` as metrics for question answering take them, SQuAD's for one.

        ``predictions`` of the result is a list of ``{"id", "prediction_text"}``, with ``version_2_with_negative`` also
        ``"no_answer_probability"``, and ``label_ids`` a list of ``{"id", "answers"}``.

        The argument ``predictions`` are the start and end logits (features, tokens) of ``features``, for a head that
        needs a beam what ``Logits.predictions`` adds. ``stage`` is there for the Trainer's sake and changes nothing:
        evaluation and prediction answer alike.
        """
        answers = self.find_answers(examples, features, predictions)
        texts = predictions_of(answers)
        found: list[dict[str, Any]] = [{"id": name, "prediction_text": text} for name, text in texts.items()]
        if self.dataset_args.version_2_with_negative:
            for row in found:
                none = [answer.probability for answer in answers[row["id"]] if not answer.text]
                row["no_answer_probability"] = sum(none)
        gold = examples.select_columns(["id", "answers"]).to_list()
        return EvalPrediction(predictions=found, label_ids=gold)  # type: ignore[arg-type]  # not arrays, as there

    def load(self, *names: str) -> list[Dataset]:
        """Return data sets by name: train, validation, test, or evaluation (``test_eval_dataset_path``).

        Those not read yet are read together, so that all their errors come at once.
        """
        arguments = self.dataset_args
        sources: dict[str, tuple[str | tuple[str, ...], str]] = {name: (arguments.dataset_path, name) for name in names}
        if "evaluation" in sources:
            sources["evaluation"] = (tuple(arguments.evaluation_places), "validation")
        missing = {name: source for name, source in sources.items() if name not in self._splits}
        problems, way_out = [], ""
        for path in dict.fromkeys(path for path, _ in missing.values()):
            wanted = {name: split for name, (source, split) in missing.items() if source == path}
            try:
                loaded = load_examples(path, list(wanted.values()), arguments.skip_bad_rows, self._column_names)
                self._splits |= {name: loaded[split] for name, split in wanted.items()}
            except DataError as error:
                problems += error.problems
                way_out = error.way_out
        if problems:
            raise DataError(problems, way_out)
        return [self._splits[name] for name in names]

    def _get_features(self, what: str, examples: Dataset) -> Dataset:
        if what not in self._features:
            self._features[what] = self.make_features(examples, what=f"{what} features")
        return self._features[what]


def _first(examples: Dataset, count: int | None) -> Dataset:
    return examples if count is None or count >= len(examples) else examples.select(range(count))


def _with_passages(examples: Dataset) -> Dataset:
    return examples if "passages" in examples.column_names else gold_passages(examples)
