"""What loading any checkpoint shares: tokenizer, configuration and weights, with errors of one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from runtime.errors import UserError

# What encoder families call their dropouts.
_ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")
_HIDDEN_DROPOUTS = ("hidden_dropout_prob", "dropout", "hidden_dropout", "embedding_dropout", "mlp_dropout")
# Where there is no tokenizer, Transformers makes one up from the model's kind, of special tokens alone.
_SMALLEST_VOCABULARY = 10

_Loaded = TypeVar("_Loaded")


def load_tokenizer(name: str, way_out: str = "name one with --tokenizer") -> PreTrainedTokenizerBase:
    """Return the tokenizer in the folder, or of the hub name, ``name``; :class:`UserError` if there is none."""
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # whatever the readers of damaged files raise
        raise UserError(_cannot_load("tokenizer", name, error)) from None
    if len(tokenizer) < _SMALLEST_VOCABULARY:
        raise UserError(f"there is no tokenizer in {name}; {way_out}")
    return tokenizer


def load_config(name: str) -> PretrainedConfig:
    """Return the configuration in the folder, or of the hub name, ``name``; :class:`UserError` if there is none."""
    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # whatever the readers of damaged files raise
        raise UserError(_cannot_load("configuration", name, error)) from None


def load_pretrained(
    from_pretrained: Callable[..., _Loaded], name: str, config: PretrainedConfig, attention: str | None
) -> _Loaded:
    """Return what ``from_pretrained`` loads of ``name``, in float32; :class:`UserError` if nothing can be loaded.

    An encoder family without the implementation ``attention`` is built with eager attention.
    """
    options = {"config": config, "dtype": torch.float32, "trust_remote_code": False}
    try:
        with quiet():
            try:
                return from_pretrained(name, attn_implementation=attention, **options)
            except ValueError:
                if attention is None:
                    raise
                return from_pretrained(name, attn_implementation="eager", **options)
    except Exception as error:  # whatever the readers of damaged files raise
        raise UserError(_cannot_load("model", name, error)) from None


def attention_dropout(config: PretrainedConfig) -> float:
    """Return the dropout of the attention probabilities that ``config`` asks for."""
    return next((getattr(config, name) for name in _ATTENTION_DROPOUTS if hasattr(config, name)), 0.0)


def set_dropout(config: PretrainedConfig, dropout: float) -> None:
    """Make ``dropout`` the hidden and attention dropout of the encoder that ``config`` describes."""
    for attribute in (*_ATTENTION_DROPOUTS, *_HIDDEN_DROPOUTS):
        if hasattr(config, attribute):
            setattr(config, attribute, dropout)


def position_limit(model: PreTrainedModel) -> int | None:
    """Return how many tokens ``model`` has positions for; None where positions are relative, or computed."""
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    if table is None:
        return None
    unused = 0 if table.padding_idx is None else table.padding_idx + 1  # RoBERTa counts on from the padding id
    return table.num_embeddings - unused


def first_names(names: list[str]) -> str:
    """Return the first three of ``names``, for a message."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back Transformers' loading report and progress bars; what matters of them we say in one line."""
    verbosity, progress_bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if progress_bar:
            transformers_logging.enable_progress_bar()
        transformers_logging.set_verbosity(verbosity)


def _cannot_load(what: str, name: str, error: Exception) -> str:
    kind = "folder" if Path(name).is_dir() else "hub name (and there is no such folder)"
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"no {what} could be loaded from the {kind} {name}: {first_line}"
