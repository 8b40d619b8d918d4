"""Load and save readers. A saved folder needs nothing else: weights, config with the head, tokenizer, records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AutoModelForQuestionAnswering, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from models.arguments import ModelArguments
from models.card import CARD_NAME, reader_card
from models.head_reader import load_head_reader
from models.heads import HEADS, default_parameters, head_name
from models.layers import reinitialise_layers
from models.loading import (
    attention_dropout,
    first_names,
    load_config,
    load_pretrained,
    position_limit,
    quiet,
    set_dropout,
)
from runtime.checksums import sealed_folder
from runtime.device import fastest_attention
from runtime.errors import UserError
from runtime.files import write_json, write_text
from runtime.finite import check_weights
from runtime.flags import fields_by_name
from runtime.log import get_logger

logger = get_logger(__name__)

# The head of a checkpoint that is not ours.
_PLAIN = {"name": "linear", "dropout": 0.0}


def load_reader(
    name: str,
    head: str | None = None,
    *,
    head_parameters: Mapping[str, Any] | None = None,
    head_dropout: float | None = None,
    backbone_dropout: float | None = None,
    config_name: str | None = None,
    config: PretrainedConfig | None = None,
    attention: str | None = None,
    trained: bool = False,
) -> PreTrainedModel:
    """Return the reader in the folder, or of the hub name, ``name``: any ``AutoModel`` encoder with a head.

    Without ``head`` it is the one the checkpoint was saved with, else linear. Trained weights are kept if that is the
    same head with the same parameters; ``head_parameters`` and dropouts that are missing or ``None`` stay the
    checkpoint's own. ``config``, or that of ``config_name``, describes the encoder instead of the checkpoint's own;
    it learns the head. ``attention`` is an attention implementation; a family that lacks it uses eager. With
    ``trained`` a checkpoint without trained head is refused. The reader's forward takes ``input_ids`` and
    ``attention_mask`` (batch, tokens; 1 for tokens, 0 for padding), where the family has them
    ``token_type_ids``, and gives ``start_logits`` and ``end_logits`` (batch, tokens).

    Raises :class:`UserError` for an unknown head or parameter of a head, a checkpoint that cannot be loaded or lacks
    weights, weights that are no numbers, or an untrained head.
    """
    own_config = load_config(name)
    saved_head = _saved_head(name, own_config)
    if config is None:
        config = own_config if config_name is None else load_config(config_name)
    config.reader_head = _describe_head(saved_head or _PLAIN, head, head_parameters or {}, head_dropout)
    new_head = saved_head is None or config.reader_head | {"dropout": 0} != saved_head | {"dropout": 0}
    if backbone_dropout is not None:
        set_dropout(config, backbone_dropout)
    if config.reader_head["name"] == "linear":
        model, missing = _load_linear(name, config, attention)
    else:
        model, missing = load_head_reader(name, config, attention, new_head)
    if backbone := [key for key in missing if key.startswith(f"{model.base_model_prefix}.")]:
        raise UserError(
            f"--model {name} lacks {len(backbone)} weights of a {config.model_type} of this size: "
            f"{first_names(backbone)}"
        )
    if missing and trained:
        raise UserError(
            f"--model {name} holds an encoder but no trained reader (missing: {first_names(missing)}); "
            "train one first with train_mrc.py"
        )
    check_weights(model.named_parameters(), f"--model {name}")
    if missing:
        instead = f" instead of its {saved_head['name']} head" if new_head and saved_head else ""
        logger.info("new %s head on %s%s (%s)", config.reader_head["name"], name, instead, first_names(missing))
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
    if arguments.reinit_layers:
        reinitialise_layers(model, arguments.reinit_layers)
    attention = model.config._attn_implementation
    logger.info("%s in %s on %s with %s attention", type(model).__name__, precision, device.type, attention)
    return model


def head_parameters(arguments: ModelArguments) -> dict[str, Any]:
    """Return the parameters of heads that the flags give; ``None`` where they do not."""
    flags = {name for head in HEADS.values() if head.flags is not None for name in fields_by_name(head.flags)}
    return {name.removeprefix("head_"): getattr(arguments, name) for name in sorted(flags)}


def save_reader(
    folder: str | Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Mapping[str, Any] | None = None,
) -> None:
    """Write reader and tokenizer to ``folder``, whole or not at all, with checksums.

    ``records`` go beside them as ``<key>.json``, and into a model card.
    """
    with sealed_folder(folder) as staging:
        with quiet():
            model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        for key, content in (records or {}).items():
            write_json(staging / f"{key}.json", content)
        write_text(staging / CARD_NAME, reader_card(model.config, records or {}))


def check_length(model: PreTrainedModel, max_seq_len: int) -> None:
    """Raise :class:`UserError` if ``model`` has fewer positions than ``max_seq_len`` tokens."""
    limit = position_limit(model)
    if limit is not None and max_seq_len > limit:
        raise UserError(f"--max_seq_len {max_seq_len} is more than {model.name_or_path} can read ({limit} tokens)")


def _saved_head(name: str, config: PretrainedConfig) -> dict[str, Any] | None:
    """Return the head that a checkpoint says it has; None for one of another make."""
    saved = getattr(config, "reader_head", None)
    if saved is None:
        return None
    sound = isinstance(saved, dict) and isinstance(saved.get("name"), str)
    if not (sound and type(saved.get("dropout")) in (int, float) and 0 <= saved["dropout"] < 1):
        raise UserError(f"{name}: reader_head in its config.json is damaged ({saved}): copy or train the reader again")
    return saved


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


def _load_linear(name: str, config: PretrainedConfig, attention: str | None) -> tuple[PreTrainedModel, list[str]]:
    """Return Transformers' own question answering model of the family: one linear layer, tokens to two logits.

    Its checkpoints are ordinary ``AutoModelForQuestionAnswering`` checkpoints in both directions.
    (Devlin et al. 2019, section 4.2.)
    """
    model, missing = load_pretrained(AutoModelForQuestionAnswering, name, config, attention)
    if model.base_model is model:
        raise UserError(
            f"--head linear: the question answering model of a {config.model_type} has no encoder apart from its head; "
            "choose another --head, such as cnn"
        )
    if config.reader_head["dropout"] > 0:
        model.base_model.register_forward_hook(_drop_hidden_states)
    return model, missing


def _drop_hidden_states(backbone: PreTrainedModel, _inputs: Any, output: Any) -> Any:
    """Apply the head's dropout to the backbone's last hidden state (batch, tokens, hidden)."""
    ratio = backbone.config.reader_head["dropout"]
    output.last_hidden_state = F.dropout(output.last_hidden_state, ratio, training=backbone.training)
    return output
