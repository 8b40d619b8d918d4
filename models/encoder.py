"""Two encoders, one vector a text: questions and passages meet as an inner product (Karpukhin et al. 2020, DPR).

What turns text into a vector beside the weights (pooling, prefixes, lengths) is kept in ``encoder.json`` next to
them, and is applied here alone, so that training, indexing and searching cannot differ.
"""

from __future__ import annotations

import copy
import dataclasses
import typing
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models import sentence_transformers_format
from models.arguments import EncoderArguments, EncoderSpec
from models.card import CARD_NAME, encoders_card
from models.inputs import (
    GLOBAL_ATTENTION,
    ModelInputs,
    append_end_token,
    computed,
    longest_first_batches,
    titled,
)
from models.loading import (
    attention_dropout,
    encoder_class_of,
    explained,
    first_names,
    load_config,
    load_pretrained,
    load_tokenizer,
    position_limit,
    quiet,
    set_dropout,
)
from runtime.checksums import CHECKSUMS_NAME, sealed_folder
from runtime.device import autocast, default_device, fastest_attention
from runtime.errors import NotFiniteError, UserError
from runtime.files import newest, read_json, write_json, write_text
from runtime.finite import check_weights
from runtime.hashing import hash_files, hash_json
from runtime.output import find_model
from runtime.progress import progress_bar

SETTINGS_NAME = "encoder.json"
SIDES = ("p_encoder", "q_encoder")
TOKEN_FOLDER = "token_encoder"  # in that of a run, where one encoder gives vectors of tokens
LENGTH_MULTIPLE = 16  # batches are padded to multiples of it
# Of a folder's files, those that vectors depend on; encoder.json counts by the settings that it leads to.
_NO_MODEL_FILES = {SETTINGS_NAME, CHECKSUMS_NAME}
INT8_FOLDER = "openvino"  # beside the weights, see models/quantized.py
_MODEL_FILES = {".safetensors", ".bin", ".json", ".txt", ".model", ".metadata"}


class BiEncoder(torch.nn.Module):
    """``q_encoder`` for questions and ``p_encoder`` for passages, the same object where they share their weights."""

    def __init__(
        self,
        q_encoder: PreTrainedModel,
        p_encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: EncoderSpec,
    ) -> None:
        super().__init__()
        self.q_encoder = q_encoder
        self.p_encoder = p_encoder
        self.tokenizer = tokenizer
        self.settings = settings
        self.inputs = ModelInputs(p_encoder, tokenizer)
        self._cls_id = -1 if tokenizer.cls_token_id is None else tokenizer.cls_token_id

    @property
    def width(self) -> int:
        """The size of a vector."""
        return self.settings.dimensions or self.p_encoder.config.hidden_size

    def tokenize_questions(self, texts: Sequence[str]) -> list[dict[str, list[int]]]:
        """Return the inputs of every question: prefixed, composed (NFC), cut to its longest length."""
        settings = self.settings
        return self._tokenize([settings.question_prefix + text for text in texts], settings.question_max_len)

    def tokenize_passages(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, list[int]]]:
        """Return the inputs of every (title, text): prefixed, composed (NFC), cut to its longest length.

        With ``title_prefix`` it reads "title: text"; an empty title is left out.
        """
        settings = self.settings
        texts = [
            settings.passage_prefix + (titled(title, text) if settings.title_prefix else text) for title, text in pairs
        ]
        return self._tokenize(texts, settings.passage_max_len)

    def pad(self, rows: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
        """Return the encoders' inputs, each (batch, tokens); ``attention_mask`` is 1 for tokens, 0 for padding."""
        if GLOBAL_ATTENTION in self.inputs.names:
            rows = [{**row, GLOBAL_ATTENTION: [1]} for row in rows]  # the first token gathers what the text says
        return self.inputs.pad(rows, LENGTH_MULTIPLE, side=self.settings.padding_side)

    def question_batch(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the inputs of a batch of questions."""
        return self.pad(self.tokenize_questions(texts))

    def passage_batch(self, pairs: Sequence[tuple[str, str]]) -> dict[str, torch.Tensor]:
        """Return the inputs of a batch of (title, text)."""
        return self.pad(self.tokenize_passages(pairs))

    def score(self, questions: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        """Return the inner products (Q, P) of vectors (Q, H) and (P, H)."""
        return questions @ passages.T  # (Q, H) @ (H, P)

    def embed_questions(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return float32 (Q, H) of a padded batch of Q questions."""
        return self._embed(self.q_encoder, batch)

    def embed_passages(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return float32 (P, H) of a padded batch of P passages."""
        return self._embed(self.p_encoder, batch)

    def forward(
        self, question_batch: Mapping[str, torch.Tensor], passage_batch: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the vectors of questions (Q, H) and passages (P, H)."""
        return self.embed_questions(question_batch), self.embed_passages(passage_batch)

    def _tokenize(self, texts: list[str], max_length: int) -> list[dict[str, list[int]]]:
        composed = [unicodedata.normalize("NFC", text) for text in texts]
        return self.inputs.tokenize(composed, truncation=True, max_length=max_length)

    def _embed(self, encoder: PreTrainedModel, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        hidden_states = encoder(**batch).last_hidden_state  # (batch, tokens) -> (batch, tokens, H)
        is_cls = batch["input_ids"] == self._cls_id  # (batch, tokens)
        settings = self.settings
        return pool(
            hidden_states, batch["attention_mask"], is_cls, settings.pooling, settings.normalize, settings.dimensions
        )


def pool(
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor,
    is_cls: torch.Tensor,
    pooling: str,
    normalize: bool,
    dimensions: int | None = None,
) -> torch.Tensor:
    """Return one float32 vector a text, (batch, H), of ``hidden_states`` (batch, tokens, H).

    ``cls`` takes the token that ``is_cls`` (batch, tokens) marks, the last one of XLNet, the first where there is
    none; ``last`` the last, and ``mean`` the mean of all that ``attention_mask`` (batch, tokens) has 1 for. Of a vector
    the first ``dimensions`` are kept, then it is normalised.
    """
    if pooling == "mean":
        mask = attention_mask.unsqueeze(-1).float()  # (batch, tokens) -> (batch, tokens, 1)
        vectors = (hidden_states.float() * mask).sum(dim=1) / mask.sum(dim=1)  # (batch, tokens, H) -> (batch, H)
    else:
        if pooling == "cls":
            chosen = (attention_mask + 2 * is_cls).argmax(dim=1)  # (batch, tokens) -> (batch,)
        else:
            chosen = attention_mask.cumsum(dim=1).argmax(dim=1)  # (batch, tokens) -> (batch,)
        rows = torch.arange(len(hidden_states), device=hidden_states.device)  # (batch,)
        vectors = hidden_states[rows, chosen].float()  # (batch, tokens, H) -> (batch, H)
    vectors = vectors[:, :dimensions]  # (batch, H) -> (batch, dimensions)
    return F.normalize(vectors, dim=-1) if normalize else vectors


def load_bi_encoder(
    path: str | Path,
    arguments: EncoderArguments,
    shared: bool = False,
    dropout: float | None = None,
    training: bool = False,
) -> BiEncoder:
    """Return the encoders in ``path``, on the CPU and in evaluation mode.

    ``path`` holds ``p_encoder`` and ``q_encoder``, or is one encoder (folder or hub name) for both sides: one object
    if ``shared``, else two copies. A pair that was trained shared comes back as one object. Flags that are not None
    override ``encoder.json``. ``dropout`` replaces hidden and attention dropout; ``training`` only chooses the
    attention that is fastest for it.

    Raises :class:`UserError` for encoders or settings that cannot be loaded or that contradict each other.
    """
    settings = load_settings(path, arguments)
    folders = _folders(path)
    shared = shared if len(folders) == 1 else _read_settings(folders[0]).get("shared", False)
    p_encoder = _load_encoder(folders[0], dropout, training)
    if shared:
        q_encoder = p_encoder
    elif len(folders) == 1:
        q_encoder = copy.deepcopy(p_encoder)
    else:
        q_encoder = _load_encoder(folders[1], dropout, training)
    if p_encoder.config.hidden_size != q_encoder.config.hidden_size:
        sizes = f"{p_encoder.config.hidden_size} and {q_encoder.config.hidden_size}"
        raise UserError(f"p_encoder and q_encoder in {path} give vectors of different sizes: {sizes}")
    if settings.dimensions is not None and settings.dimensions > p_encoder.config.hidden_size:
        raise UserError(f"--dimensions {settings.dimensions} is more than the {p_encoder.config.hidden_size} of {path}")
    tokenizer = load_tokenizer(folders[0], "save the encoder's tokenizer there")
    tokenizer.padding_side = settings.padding_side  # is saved with it
    if settings.append_eos:
        append_end_token(tokenizer)
    bi_encoder = BiEncoder(q_encoder, p_encoder, tokenizer, settings)
    limit = min(bi_encoder.inputs.limit, position_limit(q_encoder) or bi_encoder.inputs.limit)
    for flag in ("question_max_len", "passage_max_len"):
        if getattr(settings, flag) > limit:
            raise UserError(f"--{flag} {getattr(settings, flag)} is more than {folders[0]} can read ({limit} tokens)")
    return bi_encoder.eval()


def load_bi_encoder_to_train(
    path: str | Path, arguments: EncoderArguments, shared: bool, dropout: float | None
) -> BiEncoder:
    """Return what :func:`load_bi_encoder` does, with the attention to train it fastest.

    Raises :class:`UserError` also for a pair where one ``shared`` encoder is wanted, and for weights that are not
    finite numbers.
    """
    bi_encoder = load_bi_encoder(path, arguments, shared, dropout, training=True)
    if shared and bi_encoder.q_encoder is not bi_encoder.p_encoder:
        raise UserError(f"--shared_encoder: {path} holds two encoders; name one of its folders to begin with")
    check_encoders(bi_encoder, f"--dpr_model {path}")
    return bi_encoder


def load_settings(path: str | Path, arguments: EncoderArguments) -> EncoderSpec:
    """Return the settings of the encoders in ``path``: of the flags, else as they were saved, else the defaults.

    They are saved in ``encoder.json``, or in the format of sentence-transformers. Raises :class:`UserError` when
    ``path`` holds no encoders, or two that were not saved together.
    """
    folders = _folders(path)
    both = [_read_settings(folder) for folder in folders]
    if both[0] != both[-1]:
        raise UserError(f"p_encoder and q_encoder in {path} do not belong together: copy or train the pair again")
    saved = both[0] or _foreign_settings(folders[0])
    names = [field.name for field in dataclasses.fields(EncoderSpec)]
    saved = {name: saved[name] for name in names if name in saved}
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    return EncoderSpec(**saved | given)


def save_bi_encoder(bi_encoder: BiEncoder, folder: str | Path, records: Mapping[str, Any] | None = None) -> None:
    """Write ``folder/p_encoder`` and ``folder/q_encoder``, each with weights, tokenizer and ``encoder.json``.

    Beside them goes a model card with what the ``records`` say.

    Each appears whole or not at all; a name that both carry in ``encoder.json`` tells whether they belong together.
    sentence-transformers opens them too, but puts no title before a passage.
    """
    folder = Path(folder)
    with sealed_folder(folder / SIDES[0]) as p_staging, sealed_folder(folder / SIDES[1]) as q_staging:
        encoders = {p_staging: bi_encoder.p_encoder, q_staging: bi_encoder.q_encoder}
        for staging, encoder in encoders.items():
            with quiet():
                encoder.save_pretrained(staging)
            bi_encoder.tokenizer.save_pretrained(staging)
        pair = hash_json([hash_model(str(staging)) for staging in encoders])[:16]
        shared = bi_encoder.p_encoder is bi_encoder.q_encoder
        settings = bi_encoder.settings
        lengths = {p_staging: settings.passage_max_len, q_staging: settings.question_max_len}
        for staging, encoder in encoders.items():
            write_json(staging / SETTINGS_NAME, {**dataclasses.asdict(settings), "shared": shared, "pair": pair})
            sentence_transformers_format.write_settings(
                staging,
                settings,
                own_prompt="document" if staging is p_staging else "query",
                max_len=lengths[staging],
                width=encoder.config.hidden_size,
            )
    write_text(folder / CARD_NAME, encoders_card(records or {}))


def check_encoders(bi_encoder: torch.nn.Module, who: str) -> None:
    """Raise :class:`NotFiniteError` about ``who`` unless the weights that vectors depend on are finite numbers."""
    weights = [(name, weight) for name, weight in bi_encoder.named_parameters() if ".pooler." not in name]
    check_weights(weights, who)


def encoder_identity(path: str | Path, arguments: EncoderArguments) -> dict[str, Any]:
    """Return what the vectors of the encoders in ``path`` depend on, without loading them.

    Their settings, and of every folder a SHA-256 over weights, configuration and tokenizer; of a hub name its
    revision.
    """
    settings = dataclasses.asdict(load_settings(path, arguments))
    return {**settings, "encoders": [hash_model(name) for name in _folders(path)]}


def encode(
    embed: Callable[[Mapping[str, torch.Tensor]], torch.Tensor],
    rows: Sequence[Mapping[str, list[int]]],
    pad: Callable[[Sequence[Mapping[str, list[int]]]], dict[str, torch.Tensor]],
    batch_size: int,
    precision: str,
    device: torch.device,
    what: str,
) -> np.ndarray:
    """Return float32 (n, H), the vectors of ``rows`` in their order; of no rows (0, 0).

    ``embed`` is a method of a :class:`BiEncoder` that is in evaluation mode on ``device``; ``precision`` is a resolved
    one. Batches hold rows of like length, the longest first, so that memory peaks at once; ``what`` names the bar.
    Raises :class:`NotFiniteError` for vectors that are no numbers.
    """
    batches = longest_first_batches([len(row["input_ids"]) for row in rows], batch_size, device)
    vectors = np.empty((0, 0), np.float32)
    with (
        torch.inference_mode(),
        autocast(precision, device),
        progress_bar(total=len(rows), desc=f"Encode {what}", unit="text", delay=1) as progress,
    ):
        for chosen, on_device in computed(batches, lambda chosen: pad([rows[row] for row in chosen]), embed, device):
            embedded = on_device.float().cpu().numpy()  # (batch, H)
            if not np.isfinite(embedded).all():
                raise NotFiniteError("the encoder", f"gives vectors that are not finite numbers ({what})")
            if chosen is batches[0]:
                vectors = np.empty((len(rows), embedded.shape[1]), np.float32)  # (n, H)
            vectors[chosen] = embedded
            progress.update(len(chosen))
    return vectors


def _folders(path: str | Path) -> list[str]:
    """Return the folders of passage and question encoder in ``path``, or ``[path]`` where it is one encoder."""
    folder = Path(path)
    sides = [newest(folder, side) for side in SIDES]
    there = [side for side in sides if side.is_dir()]
    if len(there) == 1:
        missing = next(side for side in sides if side not in there)
        raise UserError(f"{folder} holds {there[0].name} but no {missing.name}: copy or train the pair again")
    if there:
        return [str(side) for side in sides]
    if newest(folder, TOKEN_FOLDER).is_dir():
        raise UserError(
            f"{folder} holds an encoder of token vectors: search with --retriever_type MultiVectorRetrieval, or train "
            "it further with --interaction multi"
        )
    is_path = folder.is_absolute() or str(path).startswith(".") or len(folder.parts) > 2
    if is_path and not folder.is_dir():
        raise UserError(
            f"there is no folder {path}: train one with train_dpr.py, or name an encoder's folder or hub name"
        )
    return [find_model(str(path))]


def _foreign_settings(name: str) -> dict[str, Any]:
    """Return the settings of an encoder of sentence-transformers; nothing of any other."""
    saved, usual = sentence_transformers_format.read_settings(name), EncoderSpec()
    if (longest := saved.pop("max_len", None)) is not None:
        saved["question_max_len"] = min(usual.question_max_len, longest)
        saved["passage_max_len"] = min(usual.passage_max_len, longest)
    return saved


def _read_settings(folder: str) -> dict[str, Any]:
    """Return the content of ``encoder.json`` in ``folder``; nothing of a folder or hub name without it."""
    path = Path(folder) / SETTINGS_NAME
    if not path.is_file():
        return {}
    try:
        content = dict(read_json(path))
        kinds: dict[str, Any] = {**typing.get_type_hints(EncoderSpec), "shared": bool, "pair": str}
        for name, value in content.items():
            if name not in kinds:
                raise ValueError(f"{name} is unknown")
            allowed = typing.get_args(kinds[name]) or (kinds[name],)  # of a Literal its values, else types
            if (value not in allowed and type(value) not in allowed) or (type(value) is int and value < 1):
                raise ValueError(f"{name} cannot be {value!r}")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): copy or train the encoder again") from None
    return content


def _load_encoder(name: str, dropout: float | None, training: bool) -> PreTrainedModel:
    config = load_config(name)
    if dropout is not None:
        set_dropout(config, dropout)
    if getattr(config, "use_cache", False):
        config.use_cache = False  # of a decoder's keys and values, to write on from
    attention = fastest_attention(default_device(), attention_dropout(config), training)
    with explained("model", name):
        encoder, missing = load_pretrained(encoder_class_of(config), name, config, attention)
    if missing := [key for key in missing if not key.startswith("pooler.")]:
        raise UserError(
            f"{name} lacks {len(missing)} weights of a {config.model_type} of this size: {first_names(missing)}"
        )
    # Nothing reads the pooler: without gradients it keeps neither optimizer nor distributed training waiting.
    if (pooler := getattr(encoder, "pooler", None)) is not None:
        pooler.requires_grad_(False)
    return encoder


def hash_model(name: str, modules: bool = False) -> str:
    """Return a SHA-256 over the files of the model in the folder ``name``; of a hub name its name and revision.

    With ``modules`` files in folders inside count too, as those of sentence-transformers' modules are; what is kept of
    them in int8 does not.
    """
    folder = Path(name)
    if not folder.is_dir():
        return f"{folder}@{load_config(name)._commit_hash}"
    files = sorted(folder.rglob("*") if modules else folder.iterdir())
    files = [path for path in files if INT8_FOLDER not in path.relative_to(folder).parts]
    return hash_files(path for path in files if path.suffix in _MODEL_FILES and path.name not in _NO_MODEL_FILES)
