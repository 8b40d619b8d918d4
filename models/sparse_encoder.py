"""An encoder of learned sparse vectors: a weight for each token of a vocabulary (Formal et al. 2021, SPLADE).

The model is a ``SparseEncoder`` of sentence-transformers: a masked language model whose logits are pooled, for
questions and passages alike, or for passages alone where questions are weighted by a table (inference-free). Its
folder says all that turns a text into a vector but two lengths. A passage is always read as "title: text".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from models.inputs import titled, without_control_tokens
from models.loading import check_saved, explained, quiet
from models.sentence_transformers_format import import_library, is_sparse
from runtime.device import autocast, fastest_attention
from runtime.errors import NotFiniteError, UserError
from runtime.finite import check_weights
from runtime.progress import progress_bar

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_ENCODED = 512  # texts between two looks of the progress bar


class SparseEncoder:
    """Turns texts into rows of weights, one a token of the vocabulary, of which most are 0."""

    def __init__(self, model: Any, question_max_len: int, passage_max_len: int) -> None:
        self.model = model
        self.tokenizer = model.tokenizer
        self._lengths = {"query": question_max_len, "document": passage_max_len}

    def encode_questions(self, texts: Sequence[str], batch_size: int, precision: str) -> csr_matrix:
        """Return float32 (n, V); :class:`NotFiniteError` for weights that are no numbers."""
        return self._encode(texts, "query", batch_size, precision, "questions")

    def encode_passages(
        self, pairs: Sequence[tuple[str, str]], batch_size: int, precision: str, what: str = "passages"
    ) -> csr_matrix:
        """Return float32 (n, V) of (title, text); ``what`` names the progress bar.

        Raises :class:`NotFiniteError` for weights that are no numbers.
        """
        return self._encode([titled(*pair) for pair in pairs], "document", batch_size, precision, what)

    def _encode(self, texts: Sequence[str], task: str, batch_size: int, precision: str, what: str) -> csr_matrix:
        from scipy.sparse import csr_matrix, vstack

        encode = self.model.encode_query if task == "query" else self.model.encode_document
        self.model.max_seq_length = self._lengths[task]
        parts = [csr_matrix((0, len(self.tokenizer)), dtype="float32")]
        with progress_bar(total=len(texts), desc=f"Encode {what}", unit="text", delay=1) as progress:
            for start in range(0, len(texts), _ENCODED):
                part = without_control_tokens(self.tokenizer, texts[start : start + _ENCODED])
                with autocast(precision, self.model.device):
                    found = encode(part, batch_size=batch_size, show_progress_bar=False, save_to_cpu=True)
                found = found.coalesce()
                weights, (rows, tokens) = found.values().float().numpy(), found.indices().numpy()
                if not torch.isfinite(found.values()).all():
                    raise NotFiniteError("the encoder", f"gives weights that are not finite numbers ({what})")
                parts.append(csr_matrix((weights, (rows, tokens)), shape=tuple(found.shape)))  # (part, V)
                progress.update(len(part))
        return vstack(parts if len(parts) == 1 else parts[1:], format="csr")  # (n, V)


def load_sparse_encoder(name: str, question_max_len: int, passage_max_len: int, device: torch.device) -> SparseEncoder:
    """Return the sparse encoder in the folder, or of the hub name, ``name``, in float32 and evaluation mode.

    Raises :class:`UserError` for anything else, where scores are more than inner products, and for a length that it
    cannot read.
    """
    if not is_sparse(name):
        raise UserError(f"--sparse_encoder {name} is no SparseEncoder of sentence-transformers, such as a SPLADE")
    library = import_library("sparse encoders need")
    check_saved(name)
    attention = fastest_attention(device, 0.0, training=False)
    options: dict[str, Any] = {"model_kwargs": {"dtype": torch.float32, "attn_implementation": attention}}
    with explained("sparse encoder", name), quiet():
        model = library.SparseEncoder(name, device=str(device), **options)
    if model.similarity_fn_name != "dot":
        raise UserError(f"--sparse_encoder {name} compares vectors by {model.similarity_fn_name}; here it is by dot")
    for flag, length in (("question_max_len", question_max_len), ("passage_max_len", passage_max_len)):
        if length > (model.max_seq_length or length):
            raise UserError(f"--{flag} {length} is more than {name} can read ({model.max_seq_length} tokens)")
    check_weights(model.named_parameters(), f"--sparse_encoder {name}")
    return SparseEncoder(model.eval(), question_max_len, passage_max_len)
