"""Which settings of flags a sweep tries: all of a grid, some drawn from it, or those that Optuna suggests.

A flag is varied over the items of a list, or over a range ``LOW..HIGH``, ``log LOW..HIGH`` for one whose logarithm is
even. Values are text, as a command line has them; an item may be a list, for a flag that takes several values, and
``None`` is a flag that is not given.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from runtime.command_line import FlagError, read_arguments
from runtime.config_file import word_of
from runtime.errors import UserError
from runtime.hashing import hash_json

Setting = dict[str, Any]

_RANGE = re.compile(r"(log +)?(-?[\d.]+?(?:e[+-]?\d+)?)\.\.(-?[\d.]+(?:e[+-]?\d+)?)", re.IGNORECASE)
_LONGEST_NAME = 80  # characters of a setting in the name of its folder
_DRAWS_AT_MOST = 100  # for one setting that is new


class Range(NamedTuple):
    """Numbers from ``low`` to ``high``, both included; whole ones where both were written so."""

    low: float
    high: float
    log: bool
    whole: bool

    def text(self, number: float) -> str:
        """Return ``number``, of four digits if it is not whole, as it goes to a command line."""
        return str(round(number)) if self.whole else f"{number:.4g}"


Space = dict[str, list[Any] | Range]


def read_space(content: Mapping[str, Any]) -> Space:
    """Return what ``content`` gives to try of each flag; ``ValueError`` for what is neither list nor range."""
    return {name: value if isinstance(value, list) else _read_range(name, value) for name, value in content.items()}


def space_faults(content: Mapping[str, Any], ranges: bool) -> list[str]:
    """Return all that is wrong with ``content`` as a space; ``ranges`` says whether it may hold any."""
    faults = [] if content else ["is empty: give what to vary"]
    for name, value in content.items():
        try:
            (one,) = read_space({name: value}).values()
        except ValueError as error:
            faults.append(str(error))
            continue
        if one == []:
            faults.append(f"{name} is empty: give what to try")
        elif isinstance(one, list) and any(item in one[:index] for index, item in enumerate(one)):
            faults.append(f"{name} holds a value twice")
        elif isinstance(one, Range) and not ranges:
            faults.append(f"{name} must be a list: a range needs --method random or optuna")
    return faults


def refusals(arguments_class: type, settings: Sequence[Setting], measures: Callable[[Any], bool]) -> list[str]:
    """Return all that the command of ``arguments_class`` would refuse of any setting, each complaint once.

    ``measures(arguments)`` is whether a trial with these gives scores.
    """
    found: dict[str, None] = {}
    for setting in settings:
        tried, unreadable = setting, True
        while unreadable:
            try:
                if not measures(read_arguments(arguments_class, words_of(tried))):
                    found["nothing is measured: give it do_eval: true"] = None
                break
            except UserError as error:
                complaints = error.complaints if isinstance(error, FlagError) else [str(error)]
            found |= dict.fromkeys(complaints)
            # a value that cannot be read hides what is wrong with others: once more without it
            named = complaints[0].split(":")[0].removeprefix("argument ").split("/")
            unreadable = complaints[0].startswith("argument ") and any(f"--{name}" in named for name in tried)
            tried = {name: value for name, value in tried.items() if f"--{name}" not in named}
    return list(found)


def _read_range(name: str, value: Any) -> Range:
    found = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{name} must be a list, or a range such as 1..5 or log 1e-5..1e-3")
    log, *bounds = found.groups()
    low, high = map(float, bounds)
    if low >= high or (log and low <= 0):
        raise ValueError(f"{name}: {value} must rise" + (" from above 0" if log else ""))
    return Range(low, high, log is not None, whole=all(re.fullmatch(r"-?\d+", bound) for bound in bounds))


def words_of(setting: Mapping[str, Any]) -> list[str]:
    """Return a setting as the words of a command line; :class:`UserError` for values that no flag takes."""
    words: list[str] = []
    for name, value in setting.items():
        if isinstance(value, list):
            words += [f"--{name}", *(word_of(item, name) for item in value)]
        elif value is not None:
            words.append(f"--{name}={word_of(value, name)}")
    return words


def text_of(setting: Mapping[str, Any]) -> str:
    """Return a setting for people: ``learning_rate=3e-4 head=cnn``."""
    return " ".join(f"{name}={value_text(value)}" for name, value in setting.items())


def value_text(value: Any) -> str:
    """Return a value of a setting for people."""
    if isinstance(value, list):
        return "+".join(word_of(item, "") for item in value)
    return "default" if value is None else word_of(value, "")


def folder_of(setting: Mapping[str, Any], fixed: Mapping[str, Any]) -> str:
    """Return the name of the folder of a setting: readable, and another one for another value of any flag."""
    readable = re.sub(r"[^\w.,=+-]+", "-", text_of(dict(sorted(setting.items()))).replace(" ", ","))
    return f"{readable[:_LONGEST_NAME]}-{hash_json(sorted({**fixed, **setting}.items()))[:8]}"


def extremes(space: Space) -> list[Setting]:
    """Return settings in which every item of a list, and both ends of every range, come up: to check them all."""
    values = {
        name: [one.text(one.low), one.text(one.high)] if isinstance(one, Range) else one for name, one in space.items()
    }
    first = {name: items[0] for name, items in values.items()}
    return [first, *({**first, name: item} for name, items in values.items() for item in items[1:])]


def combinations(space: Mapping[str, Any]) -> list[Setting]:
    """Return every combination of the items of lists; those of the last flag change first."""
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def drawn(space: Space, count: int, seed: int) -> list[Setting]:
    """Return ``count`` different settings, drawn evenly; fewer where there are no more. More begin with the same."""
    generator = np.random.default_rng(seed)
    settings: list[Setting] = []
    for _ in range(count):
        for _ in range(_DRAWS_AT_MOST):
            setting = {name: _draw(one, generator) for name, one in space.items()}
            if setting not in settings:
                settings.append(setting)
                break
    return settings


def _draw(one: list[Any] | Range, generator: np.random.Generator) -> Any:
    if not isinstance(one, Range):
        return one[generator.integers(len(one))]
    if one.log:
        return one.text(math.exp(generator.uniform(math.log(one.low), math.log(one.high))))
    if one.whole:
        return one.text(int(generator.integers(int(one.low), int(one.high), endpoint=True)))
    return one.text(generator.uniform(one.low, one.high))


def suggested(
    space: Space, count: int, seed: int, maximize: bool, score_of: Callable[[Setting], float | None]
) -> Iterator[Setting]:
    """Yield ``count`` settings that Optuna suggests, each once ``score_of`` was asked for the score of the one before.

    ``None`` is a setting without a score. The same seed and scores give the same settings, so that a sweep that is
    called again comes by those that it had. Source: tree-structured Parzen estimator, Bergstra et al. 2011,
    https://papers.nips.cc/paper/4443. Raises :class:`UserError` where Optuna is not installed.
    """
    optuna = import_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if maximize else "minimize", sampler=optuna.samplers.TPESampler(seed=seed)
    )
    for _ in range(count):
        trial = study.ask()
        setting = {name: _suggest(name, one, trial) for name, one in space.items()}
        yield setting
        score = score_of(setting)
        if score is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, score)


def import_optuna() -> Any:
    """Return Optuna; :class:`UserError` where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UserError("--method optuna needs Optuna: pip install optuna, or choose grid or random") from None
    return optuna


def _suggest(name: str, one: list[Any] | Range, trial: Any) -> Any:
    if not isinstance(one, Range):
        return one[trial.suggest_categorical(name, range(len(one)))]  # which takes no lists
    if one.whole:
        return one.text(trial.suggest_int(name, int(one.low), int(one.high), log=one.log))
    return one.text(trial.suggest_float(name, one.low, one.high, log=one.log))
