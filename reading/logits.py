"""Reading: a model's start and end logits for every feature, without training anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PreTrainedModel

from models.inputs import computed, longest_first_batches
from models.span_loss import reader_loss
from reading.batching import FeatureCollator, whole_questions, windows_of_questions
from reading.decoding import FORBIDDEN
from reading.features import example_ids
from runtime.device import autocast, reading_mode
from runtime.errors import NotFiniteError
from runtime.fitting import memory_for
from runtime.progress import progress_bar

_LARGEST = 1e30  # of a logit: sums of them, which score spans and batches, must be numbers too


class Logits(NamedTuple):
    """Start and end logits, each (features, tokens) float32 with -inf after a feature's end, and the mean loss.

    A reader that scores the end given the start gives ``end`` (features, beam, tokens) for the starts in
    ``beam_starts`` (features, beam), the last of which is ``[CLS]``.
    """

    start: np.ndarray
    end: np.ndarray
    loss: float
    beam_starts: np.ndarray | None = None

    @property
    def predictions(self) -> tuple[np.ndarray, ...]:
        """What answers are found with: ``QAProcessor.post_processing_function(examples, features, predictions)``."""
        return (self.start, self.end) if self.beam_starts is None else (self.start, self.end, self.beam_starts)


@torch.no_grad()
def read_features(
    model: PreTrainedModel,
    features: Dataset,
    collator: FeatureCollator,
    batch_size: int,
    precision: str,
    what: str = "reading",
    accelerator: Accelerator | None = None,
) -> Logits:
    """Return the logits of all ``features`` in their order, and the span loss against their labels.

    Batches hold features of similar length, and whole questions if the loss is shared by their windows. With an
    ``accelerator`` of several processes each reads its share, and all return everything. Raises
    :class:`NotFiniteError`, in every process, for logits that are no numbers.
    """
    lengths = list(features["length"])
    inputs = features.remove_columns("offset_mapping")  # ten times faster to fetch
    if collator.shared:
        batches = whole_questions(windows_of_questions(features["example_index"]), lengths, batch_size)
    else:
        padded_to = lengths if collator.max_length is None else [collator.max_length] * len(lengths)
        batches = longest_first_batches(padded_to, batch_size, model.device)
    if accelerator is not None and accelerator.num_processes > 1:
        batches = batches[accelerator.process_index :: accelerator.num_processes]
    quiet = accelerator is not None and not accelerator.is_local_main_process
    device = model.device
    read: list[tuple[int, np.ndarray, np.ndarray, np.ndarray | None]] = []
    losses: list[tuple[float, int]] = []
    with (
        memory_for("--per_device_eval_batch_size"),
        reading_mode(model),
        autocast(precision, device),
        progress_bar(total=len(batches), desc=what, unit="batch", leave=False, disable=quiet) as progress,
    ):
        for rows, (loss, outputs) in computed(
            batches,
            lambda rows: collator([inputs[row] for row in rows]),
            lambda batch: reader_loss(model, batch),
            device,
        ):
            losses.append((loss.item(), len(rows)))
            beam_starts, end_logits = outputs.get("beam_starts"), outputs.get("beam_end_logits", outputs.end_logits)
            start_logits = outputs.start_logits.float().cpu().numpy()  # (batch, tokens)
            end_logits = end_logits.float().cpu().numpy()  # (batch, [beam,] tokens)
            beams = [None] * len(rows) if beam_starts is None else beam_starts.cpu().numpy()  # (batch, beam)
            for row, start, end, beam in zip(rows, start_logits, end_logits, beams, strict=True):
                read.append((row, start[: lengths[row]].copy(), end[..., : lengths[row]].copy(), beam))
            progress.update()
    if accelerator is not None and accelerator.num_processes > 1:
        read, losses = gather_object(read), gather_object(losses)
    read.sort(key=lambda item: item[0])
    _check(model, features, read)
    _, starts, ends, beams = zip(*read, strict=True) if read else ((), (), (), ())
    start_logits, end_logits = (_stack(rows, max(lengths, default=0)) for rows in (starts, ends))
    rows_read = sum(size for _, size in losses)
    return Logits(
        start_logits,
        end_logits,
        sum(loss * size for loss, size in losses) / max(rows_read, 1),
        np.stack(beams) if end_logits.ndim == 3 else None,
    )


def _check(
    model: PreTrainedModel, features: Dataset, read: Sequence[tuple[int, np.ndarray, np.ndarray, np.ndarray | None]]
) -> None:
    """Raise :class:`NotFiniteError` unless all logits, and what is computed from them, are numbers."""
    broken = [row for row, *logits, _ in read if not all((np.abs(values) <= _LARGEST).all() for values in logits)]
    if broken:
        (first,) = example_ids(features, [features[broken[0]]["example_index"]])
        raise NotFiniteError(
            f"--model {model.name_or_path}",
            f"gives logits that are not finite numbers, {len(broken)} times in {len(read)} (the first: {first})",
            "train or copy the reader again; if it is whole, read with --precision fp32",
        )


def _stack(rows: Sequence[np.ndarray], tokens: int) -> np.ndarray:
    """Stack rows (..., tokens of the feature) to (features, ..., tokens), -inf after a feature's end."""
    stacked = np.full((len(rows), *(rows[0].shape[:-1] if rows else ()), tokens), FORBIDDEN)
    for target, row in zip(stacked, rows, strict=True):
        target[..., : row.shape[-1]] = row
    return stacked
