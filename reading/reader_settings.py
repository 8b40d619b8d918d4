"""What a reader keeps of how it was trained to read, as ``config.reader_settings``; a flag of the same name wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar, get_type_hints

from transformers import PretrainedConfig

from models.loading import load_config
from reading.arguments import AsTrainedArguments, DatasetArguments
from reading.postprocessing import rules_in
from runtime.errors import UserError
from runtime.flags import contradictions_of
from runtime.log import get_logger
from runtime.output import find_model

logger = get_logger(__name__)

_OWN = AsTrainedArguments.__annotations__
_KINDS = {name: kind for name, kind in get_type_hints(AsTrainedArguments).items() if name in _OWN}

_Arguments = TypeVar("_Arguments", bound=Any)


def settings_of(arguments: Any) -> dict[str, Any]:
    """Return what becomes a reader's ``config.reader_settings``; ``arguments`` hold these flags."""
    return {name: getattr(arguments, name) for name in _KINDS}


def as_trained(args: _Arguments) -> _Arguments:
    """Return the arguments of a command, ``AsTrainedArguments`` with ``model``, settled by the reader they name.

    The folder of a training run becomes its ``best/``. What of the settings no flag gives is as the reader was
    trained, which is logged, else the default of :class:`DatasetArguments`. Raises :class:`UserError` for a run
    without ``best/``, damaged settings, a rule that is not known, and flags that contradict them.
    """
    name = find_model(args.model)
    saved = _read_settings(name, load_config(name))
    taken = {key: saved[key] for key in _KINDS if key in saved and getattr(args, key) is None}
    if taken:
        logger.info("as %s was trained: %s", name, ", ".join(f"--{key} {value}" for key, value in taken.items()))
    given = {key: value for key, value in settings_of(args).items() if value is not None}
    settled = replace(args, model=name, **settings_of(DatasetArguments()) | taken | given)
    for fault in contradictions_of(settled):  # when these were parsed, the reader's settings were not known
        raise UserError(fault)
    if settled.null_score_diff_threshold != 0 and not settled.version_2_with_negative:
        raise UserError("--null_score_diff_threshold would be ignored: add --version_2_with_negative")
    rules_in(settled.postprocess)  # a reader may bring a rule of another version
    return settled


def _read_settings(name: str, config: PretrainedConfig) -> Mapping[str, Any]:
    """Return the settings that a reader brings; none of an encoder, or of a reader of another make."""
    saved = getattr(config, "reader_settings", {})
    if not isinstance(saved, dict) or any(type(value) is not _KINDS.get(key) for key, value in saved.items()):
        raise UserError(f"{name}: reader_settings in its config.json are damaged ({saved}): copy or train it again")
    return saved
