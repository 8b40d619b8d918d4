"""Load and save readers. A saved folder needs nothing else: weights, config with the head, tokenizer, records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from models.heads import get_head
from runtime.errors import UserError
from runtime.files import staged_folder, write_json
from runtime.log import get_logger

logger = get_logger(__name__)

# What encoder families call their dropouts.
_ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")
_HIDDEN_DROPOUTS = ("hidden_dropout_prob", "dropout", "hidden_dropout", "embedding_dropout", "mlp_dropout")
# Where there is no tokenizer, Transformers makes one up from the model's kind, of special tokens alone.
_SMALLEST_VOCABULARY = 10


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer in the folder, or of the hub name, ``name``; :class:`UserError` if there is none."""
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # whatever the readers of damaged files raise
        raise UserError(_cannot_load("tokenizer", name, error)) from None
    if len(tokenizer) < _SMALLEST_VOCABULARY:
        raise UserError(f"there is no tokenizer in {name}; name one with --tokenizer")
    return tokenizer


def load_config(name: str) -> PretrainedConfig:
    """Return the configuration in the folder, or of the hub name, ``name``; :class:`UserError` if there is none."""
    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # whatever the readers of damaged files raise
        raise UserError(_cannot_load("configuration", name, error)) from None


def load_reader(
    name: str,
    head: str | None = None,
    *,
    head_dropout: float | None = None,
    backbone_dropout: float | None = None,
    config_name: str | None = None,
    attention: str | None = None,
    trained: bool = False,
) -> PreTrainedModel:
    """Return the reader in the folder, or of the hub name, ``name``: any ``AutoModel`` encoder with a head.

    Without ``head`` it is the one the checkpoint was saved with, else linear. Dropouts that are ``None`` stay the
    checkpoint's own. ``attention`` is an attention implementation; a family that lacks it uses eager. With
    ``trained`` a checkpoint without trained head is refused. The reader's forward takes ``input_ids`` and
    ``attention_mask`` (batch, tokens; 1 for tokens, 0 for padding), where the family has them
    ``token_type_ids``, and gives ``start_logits`` and ``end_logits`` (batch, tokens).

    Raises :class:`UserError` for an unknown head, a checkpoint that cannot be loaded or lacks weights, or an
    untrained head.
    """
    config = load_config(config_name or name)
    saved_head = getattr(config, "reader_head", None) or {"name": "linear", "dropout": 0.0}
    config.reader_head = {
        "name": head or saved_head["name"],
        "dropout": saved_head["dropout"] if head_dropout is None else head_dropout,
    }
    if backbone_dropout is not None:
        for attribute in (*_ATTENTION_DROPOUTS, *_HIDDEN_DROPOUTS):
            if hasattr(config, attribute):
                setattr(config, attribute, backbone_dropout)
    build = get_head(config.reader_head["name"])
    model, missing = _build(build, name, config, attention)
    backbone = sorted(key for key in missing if key.startswith(f"{model.base_model_prefix}."))
    if backbone:
        shown = ", ".join(backbone[:3]) + (", …" if len(backbone) > 3 else "")
        raise UserError(f"--model {name} lacks {len(backbone)} weights of a {config.model_type} of this size: {shown}")
    if missing and trained:
        raise UserError(
            f"--model {name} holds an encoder but no trained reader (missing: {', '.join(sorted(missing))}); "
            "train one first with train_mrc.py"
        )
    if missing:
        logger.info("new %s head on %s (%s)", config.reader_head["name"], name, ", ".join(sorted(missing)))
    return model


def save_reader(
    folder: str | Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Mapping[str, Any] | None = None,
) -> None:
    """Write reader and tokenizer to ``folder``, whole or not at all, with ``records`` as ``<key>.json`` beside them."""
    with staged_folder(folder) as staging:
        with _quiet():
            model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        for key, content in (records or {}).items():
            write_json(staging / f"{key}.json", content)


def check_length(model: PreTrainedModel, max_seq_len: int) -> None:
    """Raise :class:`UserError` if ``model`` has fewer positions than ``max_seq_len`` tokens."""
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    if table is None:  # relative positions, or computed ones
        return
    unused = 0 if table.padding_idx is None else table.padding_idx + 1  # RoBERTa counts on from the padding id
    if max_seq_len > table.num_embeddings - unused:
        raise UserError(
            f"--max_seq_len {max_seq_len} is more than {model.name_or_path} can read "
            f"({table.num_embeddings - unused} tokens)"
        )


def attention_dropout(config: PretrainedConfig) -> float:
    """Return the dropout of the attention probabilities that ``config`` asks for."""
    return next((getattr(config, name) for name in _ATTENTION_DROPOUTS if hasattr(config, name)), 0.0)


def _build(
    build: Callable[..., Any], name: str, config: PretrainedConfig, attention: str | None
) -> tuple[PreTrainedModel, set[str]]:
    """Call a head's builder; an encoder family without ``attention`` is built with eager attention."""
    options = {"dtype": torch.float32, "trust_remote_code": False}
    try:
        with _quiet():
            try:
                return build(name, config, attn_implementation=attention, **options)
            except ValueError:
                if attention is None:
                    raise
                return build(name, config, attn_implementation="eager", **options)
    except Exception as error:  # whatever the readers of damaged files raise
        raise UserError(_cannot_load("model", name, error)) from None


@contextmanager
def _quiet() -> Iterator[None]:
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
