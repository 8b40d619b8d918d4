"""The questions that retrieval models are trained and evaluated on, from every layout that a data set may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from loading.arguments import TrainingDataArguments, column_names
from loading.dpr_json import find_dpr_json, read_dpr_json
from loading.examples import load_examples
from loading.retrieval_examples import Passage, RetrievalExample
from loading.statistics import fault_of_seen_questions, warn
from runtime.errors import UserError
from runtime.files import first_there
from runtime.log import get_logger

if TYPE_CHECKING:
    from datasets import Dataset

logger = get_logger(__name__)


def load_questions(
    arguments: TrainingDataArguments, evaluate: bool
) -> tuple[list[RetrievalExample], list[RetrievalExample]]:
    """Return the questions to train on and those to ``evaluate`` on, as the flags of the data choose them.

    With ``concat_eval`` the validation questions are trained on, and there are none to evaluate on but those of
    ``test_eval_dataset_path``. Those that are in both are warned of. Raises as :func:`load_retrieval_examples` does,
    and :class:`UserError` where there is nothing to train on.
    """
    own = arguments.test_eval_dataset_path
    names = column_names(arguments.column)
    read = partial(load_retrieval_examples, skip_bad_rows=arguments.skip_bad_rows, names=names)
    both = arguments.concat_eval or (evaluate and own is None)
    splits = read(arguments.dataset_path, ["train", "validation"] if both else ["train"])
    train, validation = splits["train"], splits.get("validation", [])
    if arguments.concat_eval:
        train, validation = train + validation, []
    if evaluate and own is not None:
        validation = read(arguments.evaluation_places, ["validation"])["validation"]
    if not train:
        raise UserError(
            f"--dataset_path {arguments.dataset_path} holds no question to train on: each needs a passage that holds "
            "an answer to it"
        )
    train, validation = train[: arguments.max_train_samples], validation[: arguments.max_eval_samples]
    trained, evaluated = ([example.question for example in rows] for rows in (train, validation))
    warn(fault_of_seen_questions(trained, evaluated))
    return train, validation


def load_retrieval_examples(
    dataset_path: str | Sequence[str],
    splits: Sequence[str],
    skip_bad_rows: bool = False,
    names: Mapping[str, str] | None = None,
) -> dict[str, list[RetrievalExample]]:
    """Return the wanted ``splits`` (of train, validation) of any data set: DPR JSON, or what ``load_examples`` reads.

    ``dataset_path`` may be several places, and ``names`` those of columns, as there. Questions without an answer in
    their passage name no passage to find and are left out, which is logged. Raises :class:`UserError` and
    :class:`DataError` as the two readers do.
    """
    found = dataset_path if isinstance(dataset_path, str) else first_there(dataset_path)
    files = {split: find_dpr_json(found, split) for split in splits}
    other = [split for split in splits if files[split] is None]
    loaded = load_examples(dataset_path, other, skip_bad_rows, names) if other else {}
    examples = {}
    for split in splits:
        if (file := files[split]) is not None:
            examples[split] = read_dpr_json(file, skip_bad_rows)
        else:
            examples[split] = from_reading_examples(loaded[split])
            if left_out := len(loaded[split]) - len(examples[split]):
                logger.info("%s: left out %d questions that their passage does not answer", split, left_out)
    return examples


def from_reading_examples(examples: Dataset) -> list[RetrievalExample]:
    """Return a reader's answerable ``examples`` with their contexts as the passages to find."""
    return [
        RetrievalExample(
            row["id"],
            row["question"],
            list(row["answers"]["text"]),
            Passage(row["title"] or "", row["context"], row["document_id"] or ""),
            [],
        )
        for row in examples
        if row["answers"]["text"]
    ]
