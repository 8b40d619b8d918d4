"""Cross-encoders: one encoder reads question and passage together and gives one score (Nogueira and Cho 2019).

A saved folder needs nothing else: weights, config and tokenizer as ``AutoModelForSequenceClassification`` has them,
and ``reranker.json`` with how pairs are read. Any such checkpoint with one label works, ours or the hub's.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from models import sentence_transformers_format
from models.card import CARD_NAME, reranker_card
from models.encoder import LENGTH_MULTIPLE
from models.inputs import ModelInputs, computed, length_limit, longest_first_batches, titled, tokenize
from models.loading import (
    attention_dropout,
    first_names,
    load_config,
    load_pretrained,
    load_tokenizer,
    quiet,
    set_dropout,
)
from models.quantized import quantized
from runtime.checksums import sealed_folder
from runtime.device import autocast, default_device, fastest_attention, reading_mode, resolve_precision
from runtime.errors import NotFiniteError, UserError
from runtime.files import read_json, write_json, write_text
from runtime.finite import check_weights
from runtime.log import get_logger
from runtime.text import strip_blanks

logger = get_logger(__name__)

_SETTINGS_NAME = "reranker.json"
_HUB_MAX_LEN = 512
_TOKENIZER_WANTED = "save the model's tokenizer there"


class Pair(NamedTuple):
    """What is scored: how well the passage answers the question."""

    question: str
    title: str
    text: str


@dataclass(frozen=True)
class RerankerSettings:
    """How a pair is read: in at most ``max_len`` tokens, the passage as ``title: text`` or as its text alone."""

    max_len: int
    title_prefix: bool = True


class CrossEncoder:
    """Scores pairs of question and passage; its ``model`` gives one logit a pair."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: RerankerSettings) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.inputs = ModelInputs(model, tokenizer)
        self.inputs.limit = min(self.inputs.limit, settings.max_len)

    def tokenize(self, pairs: Sequence[Pair]) -> list[dict[str, list[int]]]:
        """Return the inputs of each pair, without padding.

        What is too long loses the end of its passage; a question alone is cut where it fills more than half.
        """
        if not pairs:
            return []
        return self.inputs.tokenize(
            self._shorten([_normalize(pair.question) for pair in pairs]),
            [_normalize(self._passage(pair)) for pair in pairs],
            truncation="only_second",
            max_length=self.settings.max_len,
        )

    def pad(self, rows: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
        """Return rows as tensors (pairs, tokens), as long as the longest, rounded up for the matrix kernels."""
        # on the tokenizer's side: some families read the score off the last token
        return self.inputs.pad(rows, LENGTH_MULTIPLE, side=self.tokenizer.padding_side)

    @torch.no_grad()
    def score(
        self,
        pairs: Sequence[Pair],
        progress: Callable[[int], Any] = lambda pairs: None,
        batch_size: int = 64,
        precision: str = "auto",
    ) -> np.ndarray:
        """Return the logits (pairs,) float32; pairs of like length are read together.

        ``progress`` gets the size of every batch that was read. Raises :class:`NotFiniteError` for logits that are
        no numbers.
        """
        rows, device = self.tokenize(pairs), self.model.device
        scores = np.empty(len(rows), dtype=np.float32)  # (pairs,)
        batches = longest_first_batches([len(row["input_ids"]) for row in rows], batch_size, device)
        with reading_mode(self.model), autocast(resolve_precision(precision, device), device):
            for chosen, logits in computed(
                batches,
                lambda chosen: self.pad([rows[row] for row in chosen]),
                lambda batch: self.model(**batch).logits,
                device,
            ):
                scores[chosen] = logits[:, 0].float().cpu().numpy()  # (batch, 1) -> (batch,)
                if not np.isfinite(scores[chosen]).all():
                    raise NotFiniteError(
                        f"--reranker {self.model.name_or_path}",
                        "gives scores that are not finite numbers",
                        "copy or train the reranker again",
                    )
                progress(len(chosen))
        return scores

    def _passage(self, pair: Pair) -> str:
        return titled(pair.title, pair.text) if self.settings.title_prefix else pair.text

    def _shorten(self, questions: list[str]) -> list[str]:
        most = self.settings.max_len // 2
        encoded = tokenize(self.tokenizer, questions, add_special_tokens=False, return_offsets_mapping=True)
        return [
            question if len(spans) <= most else question[: spans[most - 1][1]]
            for question, spans in zip(questions, encoded["offset_mapping"], strict=True)
        ]


def load_cross_encoder(name: str, backend: str = "torch") -> CrossEncoder:
    """Return the trained cross-encoder in the folder, or of the hub name, ``name``, on the machine's device.

    Its encoder is computed by ``backend``, torch or openvino. Raises :class:`UserError` where that is something else,
    such as an encoder or a classifier of several labels.
    """
    check_cross_encoder(name)
    device = default_device()
    attention = fastest_attention(device, 0.0, training=False)
    model, missing = load_pretrained(AutoModelForSequenceClassification, name, load_config(name), attention)
    if missing:
        raise UserError(f"the reranker {name} lacks {len(missing)} of its weights: {first_names(missing)}")
    check_weights(model.named_parameters(), f"--reranker {name}")
    tokenizer = load_tokenizer(name, _TOKENIZER_WANTED)
    saved, limit = Path(name) / _SETTINGS_NAME, length_limit(model, tokenizer)
    settings = _read_settings(saved, limit) if saved.exists() else RerankerSettings(min(_HUB_MAX_LEN, limit))
    cross_encoder = CrossEncoder(model.to(device), tokenizer, settings)
    if backend == "openvino":
        cross_encoder.model = quantized(model, cross_encoder.inputs, resolve_precision("auto", device))
    return cross_encoder


def check_cross_encoder(name: str) -> None:
    """Raise :class:`UserError` unless the configuration of ``name`` is a cross-encoder's; reads no weights."""
    config = load_config(name)
    if not any("ForSequenceClassification" in architecture for architecture in config.architectures or []):
        raise UserError(f"--reranker {name} holds no trained reranker: train one with train_reranker.py")
    if config.num_labels != 1:
        raise UserError(f"--reranker {name} is a classifier of {config.num_labels} labels; a reranker gives one score")


def load_cross_encoder_to_train(
    name: str, settings: RerankerSettings, dropout: float | None, device: torch.device
) -> CrossEncoder:
    """Return a cross-encoder on the encoder, or the cross-encoder, ``name``, with the attention to train it fastest.

    ``dropout`` replaces hidden and attention dropout. Raises :class:`UserError` for what cannot be loaded, and for
    settings longer than the model can read.
    """
    config = load_config(name)
    config.num_labels = 1
    if dropout is not None:
        set_dropout(config, dropout)
    attention = fastest_attention(device, attention_dropout(config), training=True)
    model, missing = load_pretrained(AutoModelForSequenceClassification, name, config, attention)
    # a pooler belongs to the score: few encoders bring one
    encoder = [key for key in missing if key.startswith(f"{model.base_model_prefix}.") and ".pooler." not in key]
    if encoder:
        raise UserError(
            f"--reranker_model {name} lacks {len(encoder)} weights of a {config.model_type} of this size: "
            f"{first_names(encoder)}"
        )
    check_weights(model.named_parameters(), f"--reranker_model {name}")
    if missing:
        logger.info("new scores on %s (%s)", name, first_names(missing))
    tokenizer = load_tokenizer(name, _TOKENIZER_WANTED)
    limit = length_limit(model, tokenizer)
    if settings.max_len > limit:
        raise UserError(f"--reranker_max_len {settings.max_len} is more than {name} can read ({limit} tokens)")
    return CrossEncoder(model, tokenizer, settings)


def save_cross_encoder(
    folder: str | Path, cross_encoder: CrossEncoder, records: Mapping[str, Any] | None = None
) -> None:
    """Write weights, tokenizer and settings to ``folder``, whole or not at all, with ``records`` as ``<key>.json``
    and in a model card.

    The ``CrossEncoder`` of sentence-transformers opens it too and gives the same scores, to "title: text" as the
    passage where the settings say so.
    """
    with sealed_folder(folder) as staging:
        cross_encoder.model.config.sentence_transformers = sentence_transformers_format.RERANKER_CONFIG
        with quiet():
            cross_encoder.model.save_pretrained(staging)
        cross_encoder.tokenizer.save_pretrained(staging)
        sentence_transformers_format.write_reranker_settings(staging, cross_encoder.settings.max_len)
        write_json(staging / _SETTINGS_NAME, asdict(cross_encoder.settings))
        for key, content in (records or {}).items():
            write_json(staging / f"{key}.json", content)
        write_text(staging / CARD_NAME, reranker_card(records or {}))


def _normalize(text: str) -> str:
    return unicodedata.normalize("NFC", strip_blanks(text))


def _read_settings(path: Path, limit: int) -> RerankerSettings:
    try:
        settings = RerankerSettings(**read_json(path))
        if type(settings.max_len) is not int or settings.max_len < 2 or type(settings.title_prefix) is not bool:
            raise ValueError(f"no pair can be read by {settings}")
        if settings.max_len > limit:
            raise ValueError(f"max_len is {settings.max_len}, and the model reads {limit} tokens at most")
        return settings
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): copy or train the reranker again") from None
