"""An encoder of one vector a token: question and passage meet as MaxSim (Khattab and Zaharia 2020, ColBERT).

The model is a ``MultiVectorEncoder`` of sentence-transformers, which also reads those of PyLate and ColBERT: encoder,
projection, mask of punctuation, normalisation. Its folder says all that turns a text into vectors: markers, lengths,
expansion of questions. Beside that a passage is always read as "title: text".
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.arguments import EncoderArguments
from models.card import CARD_NAME, token_encoder_card
from models.encoder import (
    TOKEN_FOLDER,
    BiEncoder,
    check_encoders,
    hash_model,
    load_bi_encoder_to_train,
    load_settings,
    save_bi_encoder,
)
from models.inputs import titled, without_control_tokens
from models.loading import (
    attention_dropout,
    check_saved,
    explained,
    load_config,
    load_tokenizer,
    position_limit,
    quiet,
    set_dropout,
)
from models.sentence_transformers_format import import_library, is_multi_vector
from runtime.checksums import sealed_folder
from runtime.device import autocast, default_device, fastest_attention
from runtime.errors import NotFiniteError, UserError
from runtime.files import newest, write_text
from runtime.output import find_model
from runtime.progress import progress_bar

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

_MARKERS = {"query": "[Q] ", "document": "[D] "}  # for an encoder without prompts of its own
_ENCODED = 512  # texts between two looks of the progress bar


class TokenEncoder(torch.nn.Module):
    """A multi-vector model for questions and passages.

    In a batch, a vector of zeros stands for what does not count: padding, and punctuation of passages.
    """

    def __init__(self, model: MultiVectorEncoder) -> None:
        super().__init__()
        self.model = model
        self.tokenizer: PreTrainedTokenizerBase = model.tokenizer

    @property
    def p_encoder(self) -> PreTrainedModel:
        """What gives hidden states; of passages and of questions alike."""
        transformer: Any = self.model[0]
        return transformer.model

    q_encoder = p_encoder

    def question_batch(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the inputs of a batch of questions: marked, composed (NFC), cut to their longest length."""
        return self._preprocess(without_control_tokens(self.tokenizer, texts), "query")

    def passage_batch(self, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Return the inputs of a batch of (title, text): marked, composed (NFC), cut to their longest length."""
        return self._preprocess(without_control_tokens(self.tokenizer, [titled(*pair) for pair in pairs]), "document")

    def forward(
        self, question_batch: Mapping[str, Any], passage_batch: Mapping[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the float32 vectors of questions (Q, tokens, D) and passages (P, tokens, D)."""
        return self._embed(question_batch, "query"), self._embed(passage_batch, "document")

    def score(self, questions: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        """Return the MaxSim (Q, P) of what :meth:`forward` gives."""
        from sentence_transformers.util import maxsim

        return maxsim(questions, passages, questions.any(dim=-1), passages.any(dim=-1))

    def encode_questions(self, texts: Sequence[str], batch_size: int, precision: str) -> list[np.ndarray]:
        """Return float32 (tokens, D) of every question; :class:`NotFiniteError` for vectors that are no numbers."""
        return self._encode(
            without_control_tokens(self.tokenizer, texts), "query", batch_size, precision, "questions", pooling=1
        )

    def encode_passages(
        self,
        pairs: Sequence[tuple[str, str]],
        batch_size: int,
        precision: str,
        what: str = "passages",
        pooling: int = 1,
    ) -> list[np.ndarray]:
        """Return float32 (tokens, D) of every (title, text); ``what`` names the progress bar.

        Of n tokens but the first, n // ``pooling`` vectors are left, the means of clusters by Ward's linkage (Clavié et
        al. 2024, Reducing the Footprint of Multi-Vector Retrieval). Raises :class:`NotFiniteError` for vectors that are
        no numbers.
        """
        texts = without_control_tokens(self.tokenizer, [titled(*pair) for pair in pairs])
        return self._encode(texts, "document", batch_size, precision, what, pooling)

    def question_tokens(self, text: str) -> list[str]:
        """Return the tokens that the vectors of a question belong to, in order."""
        return self._tokens(self.question_batch([text]), "query")

    def passage_tokens(self, title: str, text: str) -> list[str]:
        """Return the tokens that the vectors of a passage belong to, where they are not pooled."""
        return self._tokens(self.passage_batch([(title, text)]), "document")

    @torch.inference_mode()
    def _tokens(self, batch: Mapping[str, Any], task: str) -> list[str]:
        from sentence_transformers.util import batch_to_device

        on_device = batch_to_device(dict(batch), self.p_encoder.device)
        kept = self.model(dict(on_device), task=task)["attention_mask"][0].bool()  # (1, tokens) -> (tokens,)
        return list(self.tokenizer.convert_ids_to_tokens(on_device["input_ids"][0][kept].tolist()))

    def _preprocess(self, texts: list[str], task: str) -> dict[str, Any]:
        return self.model.preprocess(texts, prompt=self.model.prompts.get(task), task=task)

    def _embed(self, batch: Mapping[str, Any], task: str) -> torch.Tensor:
        features = self.model(dict(batch), task=task)  # it changes what it is given
        vectors = F.normalize(features["token_embeddings"].float(), dim=-1)  # (batch, tokens, D)
        return vectors * features["attention_mask"].bool().unsqueeze(-1)

    def _encode(
        self, texts: list[str], task: str, batch_size: int, precision: str, what: str, pooling: int
    ) -> list[np.ndarray]:
        from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

        encode = self.model.encode_query if task == "query" else self.model.encode_document
        encoded: list[np.ndarray] = []
        with progress_bar(total=len(texts), desc=f"Encode {what}", unit="text", delay=1) as progress:
            for start in range(0, len(texts), _ENCODED):
                part = texts[start : start + _ENCODED]
                with autocast(precision, self.p_encoder.device):
                    found = encode(part, batch_size=batch_size, show_progress_bar=False)
                vectors = [F.normalize(one.float(), dim=-1).cpu() for one in found]  # (tokens, D) each
                if pooling > 1:  # in float32
                    vectors = HierarchicalTokenPooling(pooling).pool(vectors)
                encoded += [one.numpy() for one in vectors]
                progress.update(len(part))
        if not all(np.isfinite(vectors).all() for vectors in encoded):
            raise NotFiniteError("the encoder", f"gives vectors that are not finite numbers ({what})")
        return encoded


def load_token_encoder(path: str | Path, dropout: float | None = None, training: bool = False) -> TokenEncoder:
    """Return the multi-vector model in ``path``: a run of train_dpr.py --interaction multi, a folder or a hub name.

    It is in float32, on the CPU and in evaluation mode. ``dropout`` replaces hidden and attention dropout;
    ``training`` only chooses the attention that is fastest for it. Raises :class:`UserError` for anything else.
    """
    name = token_encoder_folder(path)
    if not is_multi_vector(name):
        raise UserError(
            f"{name} is no multi-vector encoder: train one with train_dpr.py --interaction multi, or name one of "
            "sentence-transformers, PyLate or ColBERT"
        )
    library = import_library("token vectors need")
    check_saved(name)
    with explained("multi-vector encoder", name), quiet():
        loaded = TokenEncoder(library.MultiVectorEncoder(name, device="cpu", **_options(name, dropout, training)))
    _finish(loaded, name)
    return loaded


def load_token_encoder_to_train(
    path: str | Path, arguments: EncoderArguments, width: int | None, dropout: float | None
) -> TokenEncoder:
    """Return the multi-vector model in ``path``, or one made of the single-vector or bare encoder there.

    The latter gets a new projection to ``width`` numbers (default: 128), drawn at random, the encoder's own prompts or
    else ``[Q]`` and ``[D]`` as markers, and passes over punctuation in passages. Flags that are not None override
    prompts and lengths. Raises :class:`UserError` for what cannot be loaded, and for another ``width`` than a
    multi-vector model has.
    """
    name = token_encoder_folder(path)
    if is_multi_vector(name):
        encoder = load_token_encoder(name, dropout, training=True)
        if width not in (None, there := encoder.model.get_embedding_dimension()):
            raise UserError(f"--token_width {width}: {name} gives vectors of {there} numbers")
        prompts = {"query": arguments.question_prefix, "document": arguments.passage_prefix}
        encoder.model.prompts |= {task: prompt for task, prompt in prompts.items() if prompt is not None}
        lengths = (arguments.question_max_len, arguments.passage_max_len)
    else:
        settings = load_settings(name, arguments)
        encoder = _new_token_encoder(name, width or 128, dropout)
        own = {"query": settings.question_prefix, "document": settings.passage_prefix}
        encoder.model.prompts = {**(own if any(own.values()) else _add_markers(encoder))}
        lengths = (settings.question_max_len, settings.passage_max_len)
    transformer: Any = encoder.model[0]
    if lengths[0] is not None and transformer.query_expansion is not None:
        raise UserError(f"--question_max_len: questions of {name} are expanded to a length of its own")
    limit = position_limit(encoder.p_encoder) or max(filter(None, lengths), default=0)
    for side, length in zip(("question", "passage"), lengths, strict=True):
        if length is not None and length > limit:
            raise UserError(f"--{side}_max_len {length} is more than {name} can read ({limit} tokens)")
        if length is not None:
            setattr(transformer, {"question": "query_length", "passage": "document_length"}[side], length)
    return encoder


def save_token_encoder(encoder: TokenEncoder, folder: str | Path, records: Mapping[str, Any] | None = None) -> None:
    """Write ``folder/token_encoder``, whole or not at all, and beside it a model card with what ``records`` say."""
    folder = Path(folder)
    with sealed_folder(folder / TOKEN_FOLDER) as staging, quiet():
        encoder.model.save_pretrained(str(staging), create_model_card=False)
    write_text(folder / CARD_NAME, token_encoder_card(records or {}))


def load_encoder_to_train(args: Any) -> BiEncoder | TokenEncoder:
    """Return what ``args``, those of train_dpr.py, train; raises as the two functions for it do."""
    if args.interaction == "multi":
        return load_token_encoder_to_train(args.dpr_model, args, args.token_width, args.dpr_dropout)
    return load_bi_encoder_to_train(args.dpr_model, args, args.shared_encoder, args.dpr_dropout)


def save_encoder(
    encoder: BiEncoder | TokenEncoder, folder: str | Path, records: Mapping[str, Any] | None = None
) -> None:
    """Write what :func:`save_bi_encoder` or :func:`save_token_encoder` does into ``folder``."""
    if isinstance(encoder, TokenEncoder):
        save_token_encoder(encoder, folder, records)
    else:
        save_bi_encoder(encoder, folder, records)


def token_encoder_folder(path: str | Path) -> str:
    """Return the model that ``path`` means: of a run that trained token vectors its ``token_encoder``."""
    inside = newest(Path(path), TOKEN_FOLDER)
    return str(inside) if inside.is_dir() else find_model(str(path))


def hash_token_encoder(path: str | Path) -> str:
    """Return a SHA-256 over the files that vectors depend on; of a hub name its name and revision."""
    return hash_model(token_encoder_folder(path), modules=True)


def _new_token_encoder(name: str, width: int, dropout: float | None) -> TokenEncoder:
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    library = import_library("token vectors need")
    load_tokenizer(name, "save the encoder's tokenizer there")  # which refuses code, and says what is missing
    check_saved(name)
    with explained("encoder", name), quiet():
        transformer = Transformer(name, **_options(name, dropout, training=True))
        hidden = transformer.get_embedding_dimension()
        projection = Dense(hidden, width, bias=False, activation_function=None, module_input_name="token_embeddings")
        mask = MultiVectorMask(skiplist_words=_punctuation(transformer.tokenizer))
        modules = [transformer, projection, mask, Normalize("token_embeddings")]
        encoder = TokenEncoder(library.MultiVectorEncoder(modules=modules, device="cpu", similarity_fn_name="maxsim"))
    _finish(encoder, name)
    return encoder


def _punctuation(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the marks that are one piece of the vocabulary, at the beginning of a word or inside."""
    vocabulary = tokenizer.get_vocab()
    return [form for mark in string.punctuation for form in (mark, f"##{mark}", f"▁{mark}") if form in vocabulary]


def _add_markers(encoder: TokenEncoder) -> dict[str, str]:
    """Add the markers to the vocabulary, one token each, and return them as prompts."""
    from tokenizers import AddedToken

    added = [AddedToken(marker.strip(), normalized=False, special=True) for marker in _MARKERS.values()]
    encoder.tokenizer.add_tokens(added, special_tokens=True)
    encoder.p_encoder.resize_token_embeddings(len(encoder.tokenizer))
    return dict(_MARKERS)


def _options(name: str, dropout: float | None, training: bool) -> dict[str, Any]:
    """Return how sentence-transformers is to load the encoder ``name``."""
    config = load_config(name)
    before = config.to_dict()
    if dropout is not None:
        set_dropout(config, dropout)
    changed = {key: value for key, value in config.to_dict().items() if value != before[key]}
    attention = fastest_attention(default_device(), attention_dropout(config), training)
    return {"config_kwargs": changed, "model_kwargs": {"dtype": torch.float32, "attn_implementation": attention}}


def _finish(encoder: TokenEncoder, name: str) -> None:
    check_encoders(encoder, name)
    if (pooler := getattr(encoder.p_encoder, "pooler", None)) is not None:  # nothing reads it
        pooler.requires_grad_(False)
    encoder.eval()
