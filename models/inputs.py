"""What a model is fed, decided here alone: what its tokenizer gives, its forward takes and its embeddings can hold.

Readers, bi-encoders and cross-encoders of every family go through here. A klue/roberta, for one, has a tokenizer that
numbers two segments and weights that know one: it is fed no ``token_type_ids``.
"""

from __future__ import annotations

import inspect
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from tokenizers import processors
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from models.loading import position_limit, word_embeddings
from runtime.ahead import ahead, one_behind
from runtime.errors import UserError
from runtime.text import is_blank

Computed = TypeVar("Computed")
Tensors = dict[str, torch.Tensor]

_PADDED_TO = 32  # tokens, or less

GLOBAL_ATTENTION = "global_attention_mask"  # Longformer: the tokens that see, and are seen by, all others


class ModelInputs:
    """The inputs of ``model``, by ``names``, from texts that ``tokenizer`` cuts.

    ``limit`` is the longest row in tokens. Raises :class:`UserError` for a tokenizer with tokens that the model has no
    embedding for, and for a model that cannot read a pair of texts, such as one that wants images too. Neither the
    model nor its weights are kept.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        _check_vocabulary(model, tokenizer)
        self.tokenizer = tokenizer
        self.names = _input_names(model, tokenizer)
        self.limit = length_limit(model, tokenizer)
        padding_id = tokenizer.pad_token_id
        if padding_id is None:  # families that count positions from the padding id know it themselves
            padding_id = getattr(model.config, "pad_token_id", None) or 0
        self._fillers = {"input_ids": padding_id, "token_type_ids": tokenizer.pad_token_type_id}
        self._try(model)

    def tokenize(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, **options: Any
    ) -> list[dict[str, list[int]]]:
        """Return the inputs of every text, or pair of texts, without padding; ``options`` are the tokenizer's."""
        if not texts:
            return []
        encoded = tokenize(self.tokenizer, texts, pairs, return_attention_mask=False, **options)
        columns = [name for name in self.names if name in encoded]
        return [dict(zip(columns, row, strict=True)) for row in zip(*(encoded[name] for name in columns), strict=True)]

    def pad(
        self,
        rows: Sequence[Mapping[str, Any]],
        multiple: int,
        length: int | None = None,
        side: str = "right",
    ) -> dict[str, torch.Tensor]:
        """Return the inputs among the columns of ``rows`` as tensors (batch, tokens), with ``attention_mask``.

        They are padded to ``length``, by default the longest row's rounded up to a ``multiple`` but not beyond
        ``limit``.
        """
        lengths = [len(row["input_ids"]) for row in rows]
        longest = max(lengths)
        length = length or max(longest, min(-(-longest // multiple) * multiple, self.limit))
        columns: dict[str, list[list[int]]] = {
            name: [list(row[name]) for row in rows] for name in self.names if name in rows[0]
        }
        columns["attention_mask"] = [[1] * tokens for tokens in lengths]
        return {
            name: torch.tensor([padded(row, length, self._fillers.get(name, 0), side) for row in column])
            for name, column in columns.items()
        }

    @torch.no_grad()
    def _try(self, model: PreTrainedModel) -> None:
        """Raise :class:`UserError` if ``model`` cannot read the shortest pair."""
        (row,) = self.tokenize(["가"], ["나"])
        batch = self.pad([{**row, GLOBAL_ATTENTION: [1]}], multiple=16)
        training = model.training
        try:
            model.eval()(**{name: tensor.to(model.device) for name, tensor in batch.items()})
        except Exception as error:  # whatever a family raises
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UserError(
                f"{model.name_or_path}, a {model.config.model_type}, cannot read a question and a text: {reason}"
            ) from None
        finally:
            model.train(training)


def length_limit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return how many tokens a row may have."""
    return min(tokenizer.model_max_length, position_limit(model) or tokenizer.model_max_length)


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], pairs: Sequence[str] | None = None, **options: Any
) -> BatchEncoding:
    """Return what ``tokenizer`` makes of ``texts``, or of pairs of texts; only its template sets control tokens.

    A text that spells one (``[SEP]``, ``</s>``, ``<mask>``) is cut into pieces like any other. Where the vocabulary
    holds the whole of it as a piece, as those of SentencePiece do, the unknown token takes its place. ``options`` are
    the tokenizer's own. Raises :class:`UserError` where there is no unknown token to do that.
    """
    encoded = tokenizer(
        list(texts), None if pairs is None else list(pairs), split_special_tokens=True, verbose=False, **options
    )
    control = _control_ids(tokenizer)
    expected = tokenizer.num_special_tokens_to_add(pairs is not None) if options.get("add_special_tokens", True) else 0
    for row, ids in enumerate(encoded["input_ids"]):
        if sum(map(control.__contains__, ids)) == expected:
            continue
        for position, sequence in enumerate(encoded.sequence_ids(row)):
            if sequence is not None and ids[position] in control:
                if tokenizer.unk_token_id is None:
                    raise UserError(
                        f"the tokenizer of {tokenizer.name_or_path} reads {tokenizer.decode([ids[position]])} in a "
                        "text as a control token and has no unknown token instead: use another model"
                    )
                ids[position] = tokenizer.unk_token_id
    return encoded


def without_control_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[str]:
    """Return ``texts`` composed (NFC), with control tokens spelt so that any tokenizer cuts them like other text."""
    known = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    control = sorted(known.union(tokenizer.all_special_tokens), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, control)))
    composed = (unicodedata.normalize("NFC", text) for text in texts)
    return [pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text) for text in composed]


def append_end_token(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let ``tokenizer`` put its end token behind every text, and pair of texts, unless it does so already.

    Raises :class:`UserError` where it has none.
    """
    if tokenizer.eos_token is None:
        raise UserError(f"--append_eos: the tokenizer of {tokenizer.name_or_path} has no end token")
    encoded = tokenizer(["가"])
    (ids,), sequences = encoded["input_ids"], encoded.sequence_ids(0)
    if ids[-1] == tokenizer.eos_token_id:
        return
    first, end = sequences.index(0), len(ids) - sequences[::-1].index(0)  # of the text's own tokens
    around_ids = [*ids[:first], *ids[end:], tokenizer.eos_token_id]
    around = tokenizer.convert_ids_to_tokens(around_ids)
    before, behind = around[:first], around[first:]
    backend: Any = tokenizer.backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single=[*before, "$A", *behind],
        pair=[*before, "$A", "$B", *behind],
        special_tokens=list(zip(around, around_ids, strict=True)),
    )


def titled(title: str, text: str) -> str:
    """Return a passage as models read it with its title, ``title: text``; the text alone where the title is blank."""
    return text if is_blank(title) else f"{title}: {text}"


def padded(row: list[int], length: int, filler: int, side: str = "right") -> list[int]:
    """Return ``row`` with as many of ``filler`` behind it, or before it, as it lacks to ``length``."""
    padding = [filler] * (length - len(row))
    return padding + row if side == "left" else row + padding


def longest_first_batches(lengths: Sequence[int], batch_size: int, device: torch.device) -> list[list[int]]:
    """Return batches of row numbers for reading: all rows once, longest first, so that memory peaks at once.

    Each has ``batch_size`` rows, but on a GPU those after the first have as many more as they are shorter: its cores
    want many tokens, and its memory holds as many as the first batch has.
    """
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    padded_to = [-(-max(1, lengths[row]) // _PADDED_TO) * _PADDED_TO for row in rows]
    batches, start = [], 0
    while start < len(rows):
        more = 1 if device.type == "cpu" else padded_to[0] / padded_to[start]
        batches.append(rows[start : start + int(batch_size * more)])
        start += len(batches[-1])
    return batches


def computed(
    batches: Iterable[list[int]],
    pad: Callable[[list[int]], Tensors],
    compute: Callable[[Tensors], Computed],
    device: torch.device,
) -> Iterator[tuple[list[int], Computed]]:
    """Yield each of ``batches`` with what ``compute`` makes on ``device`` of the tensors that ``pad`` makes of it.

    A GPU never waits: while it computes, a thread pads the next batch, which it then fetches by itself, and what is
    yielded is the one before.
    """

    def padded(rows: list[int]) -> tuple[list[int], Tensors]:
        tensors = pad(rows)
        return rows, {name: one.pin_memory() for name, one in tensors.items()} if device.type == "cuda" else tensors

    def sent(batch: Tensors) -> Tensors:
        return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}

    return one_behind((rows, compute(sent(batch))) for rows, batch in ahead(map(padded, batches)))


def _control_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    added = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added.union(tokenizer.all_special_ids) - {tokenizer.unk_token_id}


def _check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    try:
        rows = len(word_embeddings(model))
    except NotImplementedError:  # a family without such a table
        return
    needed = max(tokenizer.get_vocab().values()) + 1
    if needed > rows:
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} has {needed} tokens and {model.name_or_path} has embeddings "
            f"for only {rows}: they do not belong together, so name the model's own tokenizer"
        )


def _input_names(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    taken = inspect.signature(model.base_model.forward).parameters
    names = ["input_ids", "attention_mask"]
    types = tokenizer(["가"], ["나"]).get("token_type_ids")
    table = getattr(model.config, "type_vocab_size", None)  # some families compare types, and need no embeddings
    if "token_type_ids" in taken and types and (table is None or max(types[0]) < table):
        names.append("token_type_ids")
    if GLOBAL_ATTENTION in taken:
        names.append(GLOBAL_ATTENTION)
    return names
