"""The one door that tokenizers, configurations and weights come in by: errors of one sentence, and no foreign code.

A folder or a hub name may bring Python files of its own (``auto_map``). They are never run: what cannot be loaded
without them is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoTokenizer,
    BertTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention
from transformers.utils import logging as transformers_logging

from runtime.checksums import CHECKSUMS_NAME, fault_of_folder
from runtime.errors import UserError
from runtime.log import get_logger

logger = get_logger(__name__)

# What encoder families call their dropouts.
_ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")
_HIDDEN_DROPOUTS = (
    "hidden_dropout_prob", "hidden_dropout", "dropout", "dropout_rate", "activation_dropout", "embedding_dropout",
    "mlp_dropout",
)  # fmt: skip
# ... and those before their own heads, where they do not follow the hidden one.
_HEAD_DROPOUTS = (
    "classifier_dropout", "classifier_dropout_prob", "seq_classif_dropout", "qa_dropout", "summary_last_dropout",
    "pooler_dropout",
)  # fmt: skip
# Where there is no tokenizer, Transformers makes one up from the model's kind, of special tokens alone.
_SMALLEST_VOCABULARY = 10
# What encoder families call their tables of absolute positions.
_POSITION_TABLES = ("position_embeddings", "embed_positions")

# Of a saved model: files that must be as they were written, and those that people edit, of which they are reminded.
_WEIGHTS, _MODEL_SETTINGS = ("*.safetensors*",), ("config.json", "encoder.json", "reranker.json")
_VOCABULARY, _TOKENIZER_SETTINGS = ("tokenizer.json", "vocab.*", "merges.txt", "*.model"), ("tokenizer_config.json",)

# The classes that are asked for here; code that a folder brings for others is of no interest.
_TOKENIZERS = ("AutoTokenizer",)
_MODELS = ("AutoConfig", "AutoModel", "AutoModelForQuestionAnswering", "AutoModelForSequenceClassification")


def load_tokenizer(name: str, way_out: str = "name one with --tokenizer") -> PreTrainedTokenizerBase:
    """Return the tokenizer in the folder, or of the hub name, ``name``; :class:`UserError` if there is none."""
    _check_files(name, _VOCABULARY, _TOKENIZER_SETTINGS)
    with explained("tokenizer", name), quiet():
        _refuse_foreign_code(name, get_tokenizer_config(name), _TOKENIZERS)
        tokenizer = _read_tokenizer(name)
    if len(tokenizer) < _SMALLEST_VOCABULARY:
        raise UserError(f"there is no tokenizer in {name}; {way_out}")
    return tokenizer


def _read_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer as its class builds it, else as the files alone say what it is."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except TypeError as error:  # its class holds pieces of another kind: pko-t5 has byte-level BPE
        try:
            return PreTrainedTokenizerFast.from_pretrained(name, trust_remote_code=False)
        except Exception:
            raise error from None
    if len(tokenizer) < _SMALLEST_VOCABULARY:  # no file that its class reads: albert-kor-base has a vocab.txt
        return BertTokenizer.from_pretrained(name, trust_remote_code=False)
    return tokenizer


def load_config(name: str) -> PretrainedConfig:
    """Return the configuration in the folder, or of the hub name, ``name``; :class:`UserError` if there is none."""
    with explained("configuration", name):
        _refuse_foreign_code(name, PretrainedConfig.get_config_dict(name)[0], _MODELS)
        return AutoConfig.from_pretrained(name, trust_remote_code=False)


def load_pretrained(
    model_class: Any, name: str, config: PretrainedConfig, attention: str | None, **options: Any
) -> tuple[Any, list[str]]:
    """Return the ``model_class`` in ``name``, in float32, and its weights that are missing there or have other shapes.

    An encoder family without the implementation ``attention`` is built with eager attention; ``options`` are the
    class's own. Raises :class:`UserError` if nothing can be loaded.
    """
    _check_files(name, _WEIGHTS, _MODEL_SETTINGS)
    options |= {"config": config, "dtype": torch.float32, "trust_remote_code": False}
    options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
    with explained("model", name), quiet():
        try:
            model, info = model_class.from_pretrained(name, attn_implementation=attention, **options)
        except ValueError:
            if attention is None:
                raise
            model, info = model_class.from_pretrained(name, attn_implementation="eager", **options)
    if hasattr(model.base_model, "set_attention_type"):
        model.base_model.register_forward_pre_hook(_choose_attention_type, with_kwargs=True)
    return model, sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})


def encoder_class_of(config: PretrainedConfig) -> type[PreTrainedModel]:
    """Return the class that gives one hidden state a token: of an encoder-decoder such as T5 its encoder alone."""
    mapping = MODEL_FOR_TEXT_ENCODING_MAPPING if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else MODEL_MAPPING
    found: Any = mapping[type(config)]
    return found[0] if isinstance(found, tuple) else found  # Funnel has a second one, whose states are fewer


def _choose_attention_type(encoder: Any, args: tuple[Any, ...], inputs: dict[str, Any]) -> None:
    """Give a BigBird the attention that this batch can have.

    Left to itself it changes to full attention at the first batch that is too short for blocks, and never back.
    """
    config, tokens = encoder.config, (args[0] if args else inputs["input_ids"]).size(1)
    too_short = tokens <= (5 + 2 * config.num_random_blocks) * config.block_size
    with torch.device("meta"):  # the weights are kept: what is made for the change draws no random numbers
        encoder.set_attention_type("original_full" if too_short else config.attention_type)
    for module in encoder.modules():
        if type(module) is BigBirdBlockSparseAttention:
            module.__class__ = _BlockSparseAttention


class _BlockSparseAttention(BigBirdBlockSparseAttention):
    """Block-sparse attention that is computed in float32: under autocast the library mixes two precisions and fails."""

    def bigbird_block_sparse_attention(
        self,
        query_layer: torch.Tensor,
        key_layer: torch.Tensor,
        value_layer: torch.Tensor,
        *masks_and_sizes: Any,
        **options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(query_layer.device.type, enabled=False):
            context, probabilities = super().bigbird_block_sparse_attention(
                query_layer.float(), key_layer.float(), value_layer.float(), *masks_and_sizes, **options
            )
        return context.to(query_layer.dtype), probabilities


def attention_dropout(config: PretrainedConfig) -> float:
    """Return the dropout of the attention probabilities that ``config`` asks for."""
    return next((getattr(config, name) for name in _ATTENTION_DROPOUTS if hasattr(config, name)), 0.0)


def set_dropout(config: PretrainedConfig, dropout: float) -> None:
    """Make ``dropout`` the only dropout of the model that ``config`` describes."""
    for attribute in (*_ATTENTION_DROPOUTS, *_HIDDEN_DROPOUTS, *_HEAD_DROPOUTS):
        if getattr(config, attribute, None) is not None:
            setattr(config, attribute, dropout)


def position_limit(model: PreTrainedModel) -> int | None:
    """Return how many tokens ``model`` has positions for; None where positions are relative, or computed."""
    tables = [
        module
        for name, module in model.base_model.named_modules()
        if isinstance(module, torch.nn.Embedding) and name.endswith(_POSITION_TABLES)
    ]
    return min((table.num_embeddings - _unused_positions(table) for table in tables), default=None)


def _unused_positions(table: torch.nn.Embedding) -> int:
    if table.padding_idx is not None:  # RoBERTa counts on from the padding id
        return table.padding_idx + 1
    return getattr(table, "offset", 0)  # BART


def word_embeddings(model: PreTrainedModel) -> torch.nn.Parameter:
    """Return the word embeddings (tokens, hidden) of ``model``; ``NotImplementedError`` for a family without them."""
    table: Any = model.get_input_embeddings()
    return table.weight


def first_names(names: list[str]) -> str:
    """Return the first three of ``names``, for a message."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


@contextmanager
def explained(what: str, name: str) -> Iterator[None]:
    """Make a :class:`UserError` of whatever goes wrong while ``what`` of a folder or hub name is loaded."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the readers of damaged files raise anything
        kind = "folder" if Path(name).is_dir() else "hub name (and there is no such folder)"
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if isinstance(error, AttributeError | KeyError | TypeError | RecursionError):
            reason = f"a file does not hold what it should ({reason}), copy or save it again"
        raise UserError(f"no {what} could be loaded from the {kind} {name}: {reason}") from None


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


def check_saved(name: str) -> None:
    """Check the files of the model that another library is to load from ``name``, as those that are loaded here are."""
    _check_files(name, (*_WEIGHTS, *_VOCABULARY), (*_MODEL_SETTINGS, *_TOKENIZER_SETTINGS))


def _check_files(name: str, fixed: Sequence[str], edited: Sequence[str]) -> None:
    """Raise :class:`UserError` for a file like ``fixed`` that is not as it was saved, warn of one like ``edited``.

    Weights that changed by one bit give other answers and no error, and nobody changes them by hand. Settings are read
    by people, who may well have changed them. Models without checksums, of the hub and of other programs, are let be.
    """
    folder = Path(name)
    if not (folder / CHECKSUMS_NAME).is_file():
        return
    if (fault := fault_of_folder(folder, fixed)) is not None:
        raise UserError(
            f"the model {name} is damaged ({fault}): copy it again; if the file was replaced on purpose, delete "
            f"{folder / CHECKSUMS_NAME}"
        )
    if (fault := fault_of_folder(folder, edited)) is not None:
        logger.warning(
            "the model %s is used as it is, but %s: copy it again, unless you edited it; deleting %s ends this warning",
            name, fault, folder / CHECKSUMS_NAME,
        )  # fmt: skip


def _refuse_foreign_code(name: str, saved: Mapping[str, Any], wanted: tuple[str, ...]) -> None:
    """Raise :class:`UserError` if ``saved``, of a JSON file in ``name``, asks for classes that Transformers lacks."""
    for auto_class, reference in (saved.get("auto_map") or {}).items():
        references = reference if isinstance(reference, list) else [reference]  # a slow tokenizer and a fast one
        classes = [str(each).rpartition(".")[2] for each in references if each]
        if auto_class in wanted and not any(hasattr(transformers, each) for each in classes):
            raise UserError(
                f"{name} brings code of its own ({', '.join(classes)}), and code that comes with a model is never run "
                "here: name a model that Transformers itself knows"
            )
