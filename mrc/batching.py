"""Features to batches: rows of similar length together, padded to the longest of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.inputs import GLOBAL_ATTENTION, ModelInputs

# Lengths are rounded up to this: matrix kernels like it, and CPUs then see few distinct shapes.
LENGTH_MULTIPLE = 32
# Wide pools also bring questions about one passage, being of like length, into one batch: readers of the sample
# learnt faster from them than from pools of 15 (exact match 46.5 against 31.9 after 3 epochs, one seed).
_BATCHES_PER_POOL = 50


class FeatureCollator:
    """Pad the features of a reader, ``model``, to one length and stack them as tensors.

    ``max_length`` pads every batch to that many tokens; without it the longest row, rounded up, decides. Besides
    what the model is fed there are ``answer_mask`` (batch, tokens; 0 on padding), ``cls_index`` (batch,), and the
    gold spans of the features as ``start_positions`` and ``end_positions`` (batch, golds; -1 where a row has fewer).
    The other columns stay behind. Raises :class:`UserError` for a tokenizer that does not fit the model.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None
    ) -> None:
        self.inputs = ModelInputs(model, tokenizer)
        self.separator_id = tokenizer.sep_token_id
        self.max_length = max_length

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        if GLOBAL_ATTENTION in self.inputs.names:  # the question is compared with the whole window
            features = [{**row, GLOBAL_ATTENTION: [1] * row["input_ids"].index(self.separator_id)} for row in features]
        batch = self.inputs.pad(features, LENGTH_MULTIPLE, self.max_length)
        length = batch["input_ids"].size(1)
        masks = [feature["answer_mask"] + [0] * (length - len(feature["answer_mask"])) for feature in features]
        batch["answer_mask"] = torch.tensor(masks)  # (batch, tokens)
        batch["cls_index"] = torch.tensor([feature["cls_index"] for feature in features])  # (batch,)
        golds = max(len(feature["gold_starts"]) for feature in features)
        for name, column in (("start_positions", "gold_starts"), ("end_positions", "gold_ends")):
            rows = [feature[column] + [-1] * (golds - len(feature[column])) for feature in features]
            batch[name] = torch.tensor(rows)  # (batch, golds)
        return batch


class LengthGroupedBatches:
    """Batches of row numbers for training: shuffled, yet each of rows of similar length.

    An epoch's order is a function of ``seed`` and the epoch alone, so that a resumed run sees the same batches:
    rows are shuffled, cut into pools of 50 batches, sorted by length inside each pool, cut into batches, and the
    batches are shuffled.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = torch.tensor(lengths)  # (rows,)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.drop_last = False  # read by accelerate when it shares batches between processes

    def start_epoch(self, epoch: int, lengths: Sequence[int]) -> None:
        """Take the order of ``epoch``, for rows of these ``lengths``: augmented features change from epoch to epoch."""
        self.epoch, self.lengths = epoch, torch.tensor(lengths)  # (rows,)

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        rows = torch.randperm(len(self.lengths), generator=generator)  # (rows,)
        batches: list[list[int]] = []
        for pool in rows.split(self.batch_size * _BATCHES_PER_POOL):
            longest_first = pool[self.lengths[pool].argsort(descending=True, stable=True)]  # (rows of the pool,)
            batches += [batch.tolist() for batch in longest_first.split(self.batch_size)]
        for index in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[index]


def longest_first_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return batches of row numbers for reading: all rows once, longest first, so that memory peaks at once."""
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
