"""The Trainer's flags, read without importing it."""

from __future__ import annotations

import dataclasses
import typing

from runtime.flags import default_of
from training.trainer_flags import trainer_fields


def test_the_flags_of_the_trainer_are_those_of_the_installed_one() -> None:
    """They are read from its source: compared with what importing it gives."""
    from transformers import TrainingArguments

    fields = {field.name: field for field in dataclasses.fields(TrainingArguments) if field.init}
    found = {field.name: field for field in trainer_fields()}
    assert fields.keys() - found.keys() == {"parallelism_config"} and found.keys() <= fields.keys()
    hints = typing.get_type_hints(TrainingArguments)
    for name, field in found.items():
        real = default_of(fields[name])
        if isinstance(real, str | int | float | bool | list):
            assert field.default in (real, None) or str(field.default) == str(getattr(real, "value", real)), name
        if hints[name] in (bool, int, float, str):
            assert field.type == (hints[name] if field.default is not None else hints[name] | None), name
    own_default = {
        name for name, field in found.items() if field.default is None and default_of(fields[name]) is not None
    }
    assert own_default == {"optim"}  # which depends on what is installed
