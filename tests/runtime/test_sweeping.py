"""What a sweep tries: combinations, draws and suggestions, and what is wrong with them."""

from __future__ import annotations

import math

import pytest

from arguments import TrainMRCArguments
from runtime.sweeping import (
    Range,
    combinations,
    drawn,
    extremes,
    folder_of,
    read_space,
    refusals,
    space_faults,
    suggested,
    text_of,
    words_of,
)

SPACE = {
    "rate": Range(1e-5, 1e-1, log=True, whole=False),
    "layers": Range(1, 3, log=False, whole=True),
    "head": ["a", "b"],
}


def test_lists_and_ranges_are_told_apart() -> None:
    content = {"rate": "log 1e-5..1e-1", "layers": "1..3", "head": ["a", "b"], "dropout": "0..0.5"}
    space = read_space(content)
    assert {name: space[name] for name in SPACE} == SPACE
    assert space["dropout"] == Range(0, 0.5, log=False, whole=False)
    assert space_faults(content, ranges=True) == []


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        ({}, ["is empty: give what to vary"]),
        ({"a": [], "b": "1..3", "c": [["1"], ["1"]]}, [
            "a is empty: give what to try", "b must be a list: a range needs --method random or optuna",
            "c holds a value twice",
        ]),
        ({"a": "3..1", "b": "x", "c": "log 0..1"}, [
            "a: 3..1 must rise", "b must be a list, or a range such as 1..5 or log 1e-5..1e-3",
            "c: log 0..1 must rise from above 0",
        ]),
    ],
)  # fmt: skip
def test_everything_that_is_wrong_with_a_grid_is_said_at_once(content: dict, faults: list[str]) -> None:
    assert space_faults(content, ranges=False) == faults


def test_a_grid_is_every_combination() -> None:
    assert combinations({"a": ["1", "2"], "b": ["x", "y"]}) == [
        {"a": "1", "b": "x"}, {"a": "1", "b": "y"}, {"a": "2", "b": "x"}, {"a": "2", "b": "y"},
    ]  # fmt: skip


def test_draws_are_even_in_the_logarithm_differ_and_begin_alike() -> None:
    settings = drawn(SPACE, 400, seed=3)
    assert drawn(SPACE, 7, seed=3) == settings[:7] != drawn(SPACE, 7, seed=4)
    assert len({text_of(setting) for setting in settings}) == 400
    rates = [float(setting["rate"]) for setting in settings]
    assert all(1e-5 <= rate <= 1e-1 for rate in rates)
    assert -3.2 < sum(map(math.log10, rates)) / 400 < -2.8  # the middle of -5 and -1
    assert {setting["layers"] for setting in settings} == {"1", "2", "3"}
    assert len(drawn({"head": ["a", "b"], "layers": Range(1, 2, False, True)}, 9, seed=0)) == 4  # there are no more


def test_every_item_and_both_ends_come_up_in_the_extremes() -> None:
    found = extremes(SPACE)
    assert {name: {setting[name] for setting in found} for name in SPACE} == {
        "rate": {"1e-05", "0.1"}, "layers": {"1", "3"}, "head": {"a", "b"},
    }  # fmt: skip
    assert len(found) == 4


def test_a_setting_as_words_as_text_and_as_a_folder() -> None:
    setting = {"augment": ["a", "b c"], "retriever": {"X": {"k": "1"}}, "rate": "-1", "head": None}
    assert words_of(setting) == ["--augment", "a", "b c", "--retriever=X,k=1", "--rate=-1"]
    assert text_of(setting) == "augment=a+b c retriever=X,k=1 rate=-1 head=default"
    name = folder_of(setting, {"program": "p"})
    assert name.startswith("augment=a+b,c,head=default,rate=-1,retriever=X,k=1-")
    assert name == folder_of(dict(reversed(setting.items())), {"program": "p"})
    assert name != folder_of(setting, {"program": "q"})
    assert name != folder_of({**setting, "rate": "-2"}, {"program": "p"})
    path = folder_of({"model": "../" + "x" * 300}, {})
    assert "/" not in path and len(path) < 100


def test_refusals_are_those_of_the_command_each_once_none_hidden() -> None:
    settings = [
        {"learning_rate": rate, "seed": seed, "max_sep_len": "3", "warmup_cycles": "2"}
        for rate in ("x", "-1") for seed in ("y", "1")
    ]  # fmt: skip
    assert set(refusals(TrainMRCArguments, settings, lambda trial: True)) == {
        "argument --learning_rate: invalid float value: 'x'",
        "argument --seed: invalid int value: 'y'",
        "--learning_rate -1 must be above 0",
        "--max_sep_len is not a flag of train_mrc.py; did you mean --max_seq_len?",
        "--warmup_cycles would be ignored: only --lr_scheduler_type cosine_with_restarts restarts",
    }
    unmeasured = refusals(TrainMRCArguments, [{"seed": "1"}], lambda trial: trial.do_eval)
    assert unmeasured == ["nothing is measured: give it do_eval: true"]
    assert refusals(TrainMRCArguments, [{"seed": "1", "do_eval": "true"}], lambda trial: trial.do_eval) == []


def test_optuna_follows_the_scores_and_comes_by_the_same_settings_again() -> None:
    pytest.importorskip("optuna")

    def tried(count: int) -> list[dict]:
        def score(setting: dict) -> float | None:
            return None if setting["layers"] == "3" else -abs(math.log10(float(setting["rate"])) + 2)

        return list(suggested(SPACE, count, 0, True, score))

    settings = tried(40)
    assert tried(15) == settings[:15]
    distances = [abs(math.log10(float(setting["rate"])) + 2) for setting in settings]
    assert sum(distances[-20:]) / 20 < sum(distances[:10]) / 10 - 0.2  # ten are drawn evenly at first
    assert {setting["head"] for setting in settings} == {"a", "b"}
