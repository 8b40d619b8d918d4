"""Flags of models: the reader with its head, and how encoders turn a text into one vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from models.heads import ALIASES, HEADS
from runtime.flags import flag, flag_group, with_parameters


@flag_group("reader")
class ReaderArguments:
    """A reader, to train or to answer with."""

    model: str = flag("klue/bert-base", "Encoder or reader checkpoint: a folder or a hub name.")
    tokenizer: str | None = flag(None, "Tokenizer to use instead of the model's own (folder or hub name).")


@with_parameters(
    {name: head.flags for name, head in HEADS.items()},
    "head",
    lambda arguments: list(HEADS) if arguments.head is None else [ALIASES.get(arguments.head, arguments.head)],
)
@flag_group("reader")
class ModelArguments(ReaderArguments):
    """A reader to train: its head and what dropout it is trained with."""

    config_name: str | None = flag(None, "Configuration to use instead of the model's own (folder or hub name).")
    head: str | None = flag(
        None,
        "Reader head, a name in models/heads: linear, cnn_sds, cnn, lstm, … (default: the checkpoint's, else linear).",
        aliases=["custom_model"],
        fault=lambda name: None if ALIASES.get(name, name) in HEADS else f"is none; choose from: {', '.join(HEADS)}",
    )
    head_dropout_ratio: float = flag(
        0.0, "Dropout before the head, 0 to 1; 0 as in the usual linear reader.", at_least=0, at_most=1
    )
    backbone_dropout: float | None = flag(
        None,
        "Hidden and attention dropout of the backbone, 0 to 1 (default: the checkpoint's own).",
        at_least=0,
        at_most=1,
    )
    reinit_layers: int = flag(0, "Topmost layers of the backbone that start from new random weights.", at_least=0)


@dataclass(frozen=True)
class EncoderSpec:
    """How both encoders of a retriever turn a text into one vector; a flag of the same name overrides each.

    Scores are inner products: what is compared by cosine is normalised. Vectors are computed in the best precision of
    the device and pooled, compared and scored in float32.
    """

    pooling: Literal["cls", "mean", "last"] = "cls"
    normalize: bool = False
    question_prefix: str = ""
    passage_prefix: str = ""
    title_prefix: bool = True
    question_max_len: int = 64
    passage_max_len: int = 256
    dimensions: int | None = None
    append_eos: bool = False
    padding_side: Literal["left", "right"] = "right"


def _own(what: str, usual: str, **facts: Any) -> Any:
    """Return a flag that is None where what encoders were saved with counts, else what is ``usual``."""
    return flag(None, f"{what} (default: the encoder's own, else {usual}).", **facts)


@flag_group("encoder")
class EncoderArguments:
    """What overrides the settings that encoders were saved with."""

    pooling: Literal["cls", "mean", "last"] | None = _own(
        "One vector of a text: its first token's, the mean of all, or its last token's", "cls"
    )
    question_prefix: str | None = _own("Text before every question, such as an instruction", "none")
    passage_prefix: str | None = _own("Text before every passage", "none")
    title_prefix: bool | None = _own("Encode 'title: text', or the text alone", "with title")
    normalize: bool | None = _own("Scale vectors to length 1, so that scores are cosines", "false")
    question_max_len: int | None = _own("Longest question in tokens", "64", at_least=4, at_most=2**16)
    passage_max_len: int | None = _own("Longest passage in tokens", "256", at_least=8, at_most=2**16)
    dimensions: int | None = _own(
        "Keep only this many numbers of a vector, the first ones, for encoders trained for that (Matryoshka)",
        "all",
        at_least=1,
        at_most=2**16,
    )
    append_eos: bool | None = _own(
        "Put the tokenizer's end token behind every text, where its own template does not", "false"
    )
    padding_side: Literal["left", "right"] | None = _own("Where short texts are padded", "right")
