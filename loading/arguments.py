"""Flags of the data: where examples come from and how many are taken."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from runtime.flags import flag, flag_group

_EXAMPLE_COLUMNS = (
    "id", "title", "question", "context", "answers", "answer_start", "document_id", "is_impossible", "question_type",
)  # fmt: skip


def column_names(pairs: Sequence[str]) -> dict[str, str]:
    """Return ``{"question": "q"}`` for ``["question=q"]``, as ``--column question=q`` gives it."""
    return dict(pair.split("=", 1) for pair in pairs)


def fault_of_columns(known: Sequence[str]) -> Callable[[Sequence[str]], str | None]:
    """Return what says why a value of such a flag names no columns; ``known`` are our names."""

    def fault(pairs: Sequence[str]) -> str | None:
        split = [pair.partition("=") for pair in pairs]
        if all(ours in known and equals and theirs for ours, equals, theirs in split):
            return None
        return f"must be OURS=THEIRS, with one of {', '.join(known)} as OURS"

    return fault


@flag_group("data")
class SourceArguments:
    """Where examples come from."""

    dataset_path: str = flag(
        "../data",
        "Competition or BEIR folder, saved DatasetDict, SQuAD-format JSON, table (.csv, .tsv, .jsonl, .parquet), or "
        "hub name.",
        aliases=["data_dir"],
    )


@flag_group("data")
class DataArguments(SourceArguments):
    """Examples that are answered or searched for."""

    max_eval_samples: int | None = flag(None, "Evaluate or answer only this many examples, the first ones.", at_least=1)
    column: list[str] = flag(
        [],
        "What the data calls one of our columns, as question=q; may be given several times.",
        repeatable=True,
        fault=fault_of_columns(_EXAMPLE_COLUMNS),
    )
    skip_bad_rows: bool = flag(False, "Leave out rows with errors and say how many, instead of stopping.")


@flag_group("data")
class OtherEvaluationArguments(SourceArguments):
    """Examples to evaluate on, where they are in another place."""

    test_eval_dataset_path: str | None = flag(
        None,
        "Data set to evaluate on instead of dataset_path's validation: a path, or a name in or beside dataset_path.",
    )

    @property
    def evaluation_places(self) -> list[str]:
        """Where ``test_eval_dataset_path`` may be: at that path, in the folder ``dataset_path``, or beside that."""
        name, data = str(self.test_eval_dataset_path), Path(self.dataset_path)
        places = [Path(name)]
        if data.is_dir():
            places.append(data / name)
        if data.exists():
            places.append(data / ".." / name)
        return list(dict.fromkeys(map(os.path.normpath, places)))


@flag_group("data")
class TrainingDataArguments(DataArguments, OtherEvaluationArguments):
    """Examples that are trained on, and others to evaluate on."""

    concat_eval: bool = flag(False, "Train on train and validation together, for a final fit.")
    max_train_samples: int | None = flag(None, "Train on only this many examples, the first ones.", at_least=1)
