"""A reader brings the lengths and the rule for empty answers that it was trained with; flags win over them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from arguments import DatasetArguments, InferenceArguments, TrainMRCArguments, TrainMRCV2Arguments, part_of
from reading.reader_settings import as_trained, settings_of
from runtime.errors import UserError


@pytest.fixture
def trained(reader_path: str, tmp_path: Path):
    """Return the folder of a reader that was trained with these settings."""

    def make(settings: Any) -> Path:
        shutil.copytree(reader_path, tmp_path / "reader", dirs_exist_ok=True)
        path = tmp_path / "reader" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"reader_settings": settings}))
        return tmp_path / "reader"

    return make


def settle(folder: Any, **flags: Any) -> TrainMRCArguments:
    return as_trained(TrainMRCArguments(model=str(folder), **flags))


FULL = {
    "max_seq_len": 96,
    "stride_len": 24,
    "max_ans_len": 7,
    "version_2_with_negative": True,
    "postprocess": "edges",
    "shared_normalization": False,
}


def test_what_no_flag_gives_is_as_the_reader_was_trained(trained: Any, log_lines: list[str]) -> None:
    folder = trained(FULL)
    assert settings_of(settle(folder)) == FULL
    assert log_lines == [
        f"INFO as {folder} was trained: --max_seq_len 96, --stride_len 24, --max_ans_len 7, "
        "--version_2_with_negative True, --postprocess edges, --shared_normalization False"
    ]
    log_lines.clear()
    settled = settle(folder, stride_len=8, version_2_with_negative=False, postprocess="none", n_best_size=3)
    assert settings_of(settled) == FULL | {"stride_len": 8, "version_2_with_negative": False, "postprocess": "none"}
    assert settled.n_best_size == 3
    assert log_lines == [
        f"INFO as {folder} was trained: --max_seq_len 96, --max_ans_len 7, --shared_normalization False"
    ]
    log_lines.clear()
    settle(folder, **FULL)
    assert log_lines == []


def test_an_encoder_and_a_reader_of_another_make_leave_the_usual(
    encoder_path: str, reader_path: str, trained: Any, log_lines: list[str]
) -> None:
    for folder in (encoder_path, reader_path):
        assert part_of(settle(folder), DatasetArguments) == DatasetArguments()
    assert log_lines == []
    assert settings_of(settle(trained({"max_ans_len": 5}))) == settings_of(DatasetArguments(max_ans_len=5))


def test_flags_that_contradict_what_the_reader_brings_are_refused(trained: Any) -> None:
    folder = trained(FULL | {"version_2_with_negative": False})
    with pytest.raises(UserError, match=r"^--stride_len 24 must be below --max_seq_len 16$"):
        settle(folder, max_seq_len=16)
    with pytest.raises(UserError, match=r"^--null_score_diff_threshold would be ignored: add --version_2_with_negat"):
        settle(folder, null_score_diff_threshold=1.0)
    assert settle(trained(FULL), null_score_diff_threshold=1.0).null_score_diff_threshold == 1.0


def test_a_second_stage_needs_passages_to_compare_as_the_first_did(trained: Any) -> None:
    folder = trained(FULL | {"shared_normalization": True})
    passages = {"augment": "negative_passage", "negative_passages_path": ["found.csv"]}
    with pytest.raises(UserError, match=r"^--shared_normalization needs passages .*, or --shared_normalization False$"):
        settle(folder)
    assert settle(folder, **passages).shared_normalization is True
    assert settle(folder, shared_normalization=False).shared_normalization is False
    trainer = TrainMRCV2Arguments(
        model=str(folder), do_train=True, train_sampling_strategy="batch_rebalance", **passages
    )
    with pytest.raises(UserError, match=r"^--shared_normalization keeps .* leave out --train_sampling_strategy$"):
        as_trained(trainer)
    assert as_trained(InferenceArguments(model=str(folder), do_eval=True)).shared_normalization is True


def test_a_rule_that_is_not_known_here_is_named_with_those_that_are(trained: Any) -> None:
    folder = trained(FULL | {"postprocess": "edges,of_tomorrow"})
    with pytest.raises(UserError, match=r"^--postprocess edges,of_tomorrow names no rule 'of_tomorrow': choose from"):
        settle(folder)
    assert settle(folder, postprocess="all").postprocess == "all"


@pytest.mark.parametrize("settings", [5, {"max_seq_len": "96"}, {"max_seq_len": True}, {"length": 3}, [1]])
def test_damaged_settings_are_named(trained: Any, settings: Any) -> None:
    folder = trained(settings)
    with pytest.raises(UserError, match=f"^{folder}: reader_settings in its config.json are damaged"):
        settle(folder)


def test_the_settings_make_the_arguments_of_a_processor(trained: Any) -> None:
    """As in ``DatasetArguments(dataset_path=..., **model.config.reader_settings)``."""
    from models import load_reader

    settings = load_reader(str(trained(FULL))).config.reader_settings
    assert DatasetArguments(**settings) == DatasetArguments(**FULL)
