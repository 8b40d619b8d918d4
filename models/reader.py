"""Load and save readers. A saved folder needs nothing else: weights, config with the head, tokenizer, records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from arguments import ModelArguments
from models.head_reader import load_head_reader, not_loaded
from models.heads import default_parameters, head_name
from runtime.device import fastest_attention
from runtime.errors import UserError
from runtime.files import staged_folder, write_json
from runtime.log import get_logger

logger = get_logger(__name__)

# What encoder families call their dropouts.
_ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")
_HIDDEN_DROPOUTS = ("hidden_dropout_prob", "dropout", "hidden_dropout", "embedding_dropout", "mlp_dropout")
# The head of a checkpoint that is not ours.
_PLAIN = {"name": "linear", "dropout": 0.0}
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
    head_parameters: Mapping[str, Any] | None = None,
    head_dropout: float | None = None,
    backbone_dropout: float | None = None,
    config_name: str | None = None,
    attention: str | None = None,
    trained: bool = False,
) -> PreTrainedModel:
    """Return the reader in the folder, or of the hub name, ``name``: any ``AutoModel`` encoder with a head.

    Without ``head`` it is the one the checkpoint was saved with, else linear. Trained weights are kept if that is the
    same head with the same parameters; ``head_parameters`` and dropouts that are missing or ``None`` stay the
    checkpoint's own. ``attention`` is an attention implementation; a family that lacks it uses eager. With
    ``trained`` a checkpoint without trained head is refused. The reader's forward takes ``input_ids`` and
    ``attention_mask`` (batch, tokens; 1 for tokens, 0 for padding), where the family has them
    ``token_type_ids``, and gives ``start_logits`` and ``end_logits`` (batch, tokens).

    Raises :class:`UserError` for an unknown head or parameter of a head, a checkpoint that cannot be loaded or lacks
    weights, or an untrained head.
    """
    config = load_config(config_name or name)
    saved_head = getattr(config, "reader_head", None)
    config.reader_head = _describe_head(saved_head or _PLAIN, head, head_parameters or {}, head_dropout)
    new_head = saved_head is None or config.reader_head | {"dropout": 0} != saved_head | {"dropout": 0}
    if backbone_dropout is not None:
        for attribute in (*_ATTENTION_DROPOUTS, *_HIDDEN_DROPOUTS):
            if hasattr(config, attribute):
                setattr(config, attribute, backbone_dropout)
    model, missing = _build(name, config, attention, new_head)
    backbone = [key for key in missing if key.startswith(f"{model.base_model_prefix}.")]
    if backbone:
        raise UserError(
            f"--model {name} lacks {len(backbone)} weights of a {config.model_type} of this size: {_first(backbone)}"
        )
    if missing and trained:
        raise UserError(
            f"--model {name} holds an encoder but no trained reader (missing: {_first(missing)}); "
            "train one first with train_mrc.py"
        )
    if missing:
        instead = f" instead of its {saved_head['name']} head" if new_head and saved_head else ""
        logger.info("new %s head on %s%s (%s)", config.reader_head["name"], name, instead, _first(missing))
    return model


def load_reader_to_train(arguments: ModelArguments, precision: str, device: torch.device) -> PreTrainedModel:
    """Return the reader that the flags describe, with the attention that is fastest for how it will be trained."""
    dropout = arguments.backbone_dropout
    if dropout is None:
        dropout = attention_dropout(load_config(arguments.config_name or arguments.model))
    model = load_reader(
        arguments.model,
        arguments.head,
        head_parameters=head_parameters(arguments),
        head_dropout=arguments.head_dropout_ratio,
        backbone_dropout=arguments.backbone_dropout,
        config_name=arguments.config_name,
        attention=fastest_attention(device, dropout, training=True),
    )
    attention = model.config._attn_implementation
    logger.info("%s in %s on %s with %s attention", type(model).__name__, precision, device.type, attention)
    return model


def head_parameters(arguments: ModelArguments) -> dict[str, Any]:
    """Return the parameters of the head that the flags give; ``None`` where they do not."""
    return {
        "shared": arguments.head_shared,
        "channels": arguments.head_channels,
        "kernel_size": arguments.head_kernel_size,
        "repeats": arguments.head_repeats,
    }


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


def _describe_head(
    saved: Mapping[str, Any], head: str | None, parameters: Mapping[str, Any], dropout: float | None
) -> dict[str, Any]:
    """Return what ``config.reader_head`` becomes: from the flags, else from the checkpoint, else from the head."""
    name = head_name(head or saved["name"])
    own = default_parameters(name)
    given = {key: value for key, value in parameters.items() if value is not None}
    for key in given.keys() - own.keys():
        raise UserError(f"--head_{key} would be ignored: the {name} head has no {key}")
    inherited = saved if name == saved["name"] else {}
    dropout = saved["dropout"] if dropout is None else dropout
    return {"name": name, "dropout": dropout} | {key: given.get(key, inherited.get(key, own[key])) for key in own}


def _build(
    name: str, config: PretrainedConfig, attention: str | None, new_head: bool
) -> tuple[PreTrainedModel, list[str]]:
    """Return the reader, and which of its weights are not in ``name``.

    An encoder family without ``attention`` is built with eager attention.
    """
    build = _load_linear if config.reader_head["name"] == "linear" else partial(load_head_reader, new_head=new_head)
    options = {"dtype": torch.float32, "trust_remote_code": False}
    try:
        with _quiet():
            try:
                model, missing = build(name, config, attn_implementation=attention, **options)
            except ValueError:
                if attention is None:
                    raise
                model, missing = build(name, config, attn_implementation="eager", **options)
    except Exception as error:  # whatever the readers of damaged files raise
        raise UserError(_cannot_load("model", name, error)) from None
    return model, sorted(missing)


def _load_linear(name: str, config: PretrainedConfig, **loading: Any) -> tuple[PreTrainedModel, set[str]]:
    """Return Transformers' own question answering model of the family: one linear layer, tokens to two logits.

    Its checkpoints are ordinary ``AutoModelForQuestionAnswering`` checkpoints in both directions.
    (Devlin et al. 2019, section 4.2.)
    """
    model, info = AutoModelForQuestionAnswering.from_pretrained(
        name, config=config, output_loading_info=True, ignore_mismatched_sizes=True, **loading
    )
    if config.reader_head["dropout"] > 0:
        model.base_model.register_forward_hook(_drop_hidden_states)
    return model, not_loaded(info)


def _drop_hidden_states(backbone: PreTrainedModel, _inputs: Any, output: Any) -> Any:
    """Apply the head's dropout to the backbone's last hidden state (batch, tokens, hidden)."""
    ratio = backbone.config.reader_head["dropout"]
    output.last_hidden_state = F.dropout(output.last_hidden_state, ratio, training=backbone.training)
    return output


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


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
