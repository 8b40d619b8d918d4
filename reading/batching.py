"""Features to batches: rows of similar length together, padded to the longest of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.inputs import GLOBAL_ATTENTION, ModelInputs, padded
from runtime.errors import UserError

# Lengths are rounded up to this: matrix kernels like it, and CPUs then see few distinct shapes.
LENGTH_MULTIPLE = 32
# Wide pools also bring questions about one passage, being of like length, into one batch: readers of the sample
# learnt faster from them than from pools of 15 (exact match 46.5 against 31.9 after 3 epochs, one seed).
_BATCHES_PER_POOL = 50


class FeatureCollator:
    """Pad the features of a reader, ``model``, to one length and stack them as tensors.

    ``max_length`` pads every batch to that many tokens; without it the longest row, rounded up, decides. Besides
    what the model is fed there are ``answer_mask`` (batch, tokens; 0 on padding), ``cls_index`` (batch,), and the
    gold spans of the features as ``start_positions`` and ``end_positions`` (batch, golds; -1 where a row has fewer),
    and ``example_index`` (batch,). With ``shared`` also ``questions`` (batch,), by which the loss knows the windows of
    one question. The other columns stay behind. Raises :class:`UserError` for a tokenizer that does not fit the model,
    and for a model whose loss cannot be shared.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int | None = None,
        shared: bool = False,
    ) -> None:
        if shared and hasattr(model, "label_inputs") and model.label_inputs:
            raise UserError(
                "--shared_normalization compares spans of several passages, which the head "
                f"{model.config.reader_head['name']} does not allow, as it scores an end only given its start: choose "
                "another --head"
            )
        self.shared = shared
        self.inputs = ModelInputs(model, tokenizer)
        self.separator_id = tokenizer.sep_token_id
        self.max_length = max_length

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        if GLOBAL_ATTENTION in self.inputs.names:  # the question is compared with the whole window
            features = [{**row, GLOBAL_ATTENTION: [1] * row["input_ids"].index(self.separator_id)} for row in features]
        batch = self.inputs.pad(features, LENGTH_MULTIPLE, self.max_length)
        length = batch["input_ids"].size(1)
        masks = [padded(feature["answer_mask"], length, 0) for feature in features]
        batch["answer_mask"] = torch.tensor(masks)  # (batch, tokens)
        for name in ("cls_index", "example_index"):
            batch[name] = torch.tensor([feature[name] for feature in features])  # (batch,)
        if self.shared:
            batch["questions"] = batch["example_index"]  # (batch,)
        golds = max(len(feature["gold_starts"]) for feature in features)
        for name, column in (("start_positions", "gold_starts"), ("end_positions", "gold_ends")):
            rows = [padded(feature[column], golds, -1) for feature in features]
            batch[name] = torch.tensor(rows)  # (batch, golds)
        return batch


class LengthGroupedBatches:
    """Batches of row numbers for training: shuffled, yet each of rows of similar length.

    An epoch's order is a function of ``seed`` and the epoch alone, so that a resumed run sees the same batches:
    rows are shuffled, cut into pools of 50 batches, sorted by length inside each pool, cut into batches, and the
    batches are shuffled.

    With several ``processes`` these are joint batches, of ``batch_size`` rows for each, and iterating gives the share
    of one ``process``. Every row comes once an epoch: the last joint batch that is cut may have fewer rows, and where
    it has fewer than there are processes, it goes into the one before. Raises :class:`UserError` for fewer rows than
    processes.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, process: int = 0, processes: int = 1
    ) -> None:
        if len(lengths) < processes:
            raise UserError(f"{len(lengths)} features cannot be dealt out to {processes} processes: start fewer")
        self.batch_size = batch_size
        self.seed = seed
        self.process, self.processes = process, processes
        self.drop_last = False  # read by accelerate
        self.start_epoch(0, lengths)

    def start_epoch(self, epoch: int, lengths: Sequence[int]) -> None:
        """Take the order of ``epoch``, for rows of these ``lengths``: augmented features change from epoch to epoch.

        ``joint_batches`` then are the rows of all processes.
        """
        sizes = torch.tensor(lengths)  # (rows,)
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        rows = torch.randperm(len(sizes), generator=generator)  # (rows,)
        size = self.batch_size * self.processes
        batches: list[list[int]] = []
        for pool in rows.split(size * _BATCHES_PER_POOL):
            longest_first = pool[sizes[pool].argsort(descending=True, stable=True)]  # (rows of the pool,)
            batches += [batch.tolist() for batch in longest_first.split(size)]
        if len(batches[-1]) < self.processes:
            batches[-2:] = [batches[-2] + batches[-1]]
        order = torch.randperm(len(batches), generator=generator).tolist()
        self.joint_batches = [batches[index] for index in order]

    def __len__(self) -> int:
        return len(self.joint_batches)

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self.joint_batches:
            first, after = (len(rows) * process // self.processes for process in (self.process, self.process + 1))
            yield rows[first:after]


class QuestionBatches(LengthGroupedBatches):
    """Batches for a loss over all windows of a question: these are never in two batches.

    ``features`` are those of the epoch, whose ``example_index`` says which windows have one question. A batch holds as
    many questions of similar length as fit into ``batch_size`` rows; of a question with more windows than that, the
    windows with an answer and a random choice of the others are read in an epoch. Every epoch has as many batches as
    the first one seen: what is above that is left out, and of fewer a random choice comes twice. With several
    ``processes``, a question's windows are all in the share of one.
    """

    def __init__(self, features: Any, batch_size: int, seed: int, process: int = 0, processes: int = 1) -> None:
        self.features = features
        self._size: int | None = None
        super().__init__(features["length"], batch_size, seed, process, processes)

    def start_epoch(self, epoch: int, lengths: Sequence[int]) -> None:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)

        def shuffled(items: Sequence[Any]) -> list[Any]:
            return [items[index] for index in torch.randperm(len(items), generator=generator).tolist()]

        lengths = list(lengths)  # a column of a dataset is read at every access
        answered = [golds[0] != cls for golds, cls in zip(*map(self.features.__getitem__, _ANSWERED), strict=True)]
        questions = shuffled(windows_of_questions(self.features["example_index"]))
        for rows in questions:
            if len(rows) > self.batch_size:
                rows[:] = sorted(shuffled(rows), key=lambda row: not answered[row])[: self.batch_size]
        pool = self.batch_size * self.processes * _BATCHES_PER_POOL * len(questions) // len(lengths) + 1
        joint: list[list[list[int]]] = []  # of each joint batch the shares
        for first in range(0, len(questions), pool):
            batches = whole_questions(questions[first : first + pool], lengths, self.batch_size)
            joint += [batches[start : start + self.processes] for start in range(0, len(batches), self.processes)]
        whole = [share for shares in joint for share in shares]
        for shares in joint:
            while len(shares) < self.processes:
                shares.append(shuffled(whole)[0])
        joint, self._size = shuffled(joint), self._size or len(joint)
        self._shares = [*joint, *shuffled(joint)][: self._size]
        self.joint_batches = [[row for share in shares for row in share] for shares in self._shares]

    def __iter__(self) -> Iterator[list[int]]:
        for shares in self._shares:
            yield shares[self.process]


_ANSWERED = ("gold_starts", "cls_index")  # equal where a window has no answer


def windows_of_questions(example_index: Sequence[int]) -> list[list[int]]:
    """Return the row numbers of every question's windows, in the order in which the questions come."""
    windows: dict[int, list[int]] = defaultdict(list)
    for row, index in enumerate(example_index):
        windows[index].append(row)
    return list(windows.values())


def whole_questions(questions: Sequence[Sequence[int]], lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return batches of whole questions, those with the longest window first, of at most ``batch_size`` rows.

    A question of more rows is a batch of its own.
    """
    batches: list[list[int]] = []
    for rows in sorted(questions, key=lambda rows: -max(lengths[row] for row in rows)):
        if not batches or len(batches[-1]) + len(rows) > batch_size:
            batches.append([])
        batches[-1] += rows
    return batches


def training_batches(
    features: Any, collator: FeatureCollator, batch_size: int, seed: int, process: int = 0, processes: int = 1
) -> LengthGroupedBatches:
    """Return the batches of ``features`` that the loss wants for which ``collator`` makes them."""
    options = (batch_size, seed, process, processes)
    return (
        QuestionBatches(features, *options) if collator.shared else LengthGroupedBatches(features["length"], *options)
    )


def training_loader(
    accelerator: Accelerator, features: Any, batches: LengthGroupedBatches, collator: FeatureCollator, **options: Any
) -> DataLoader:
    """Return a ``DataLoader`` of the ``batches`` of ``features``, as ``accelerator`` would prepare it.

    ``options`` are those of ``DataLoader``. The batches are this process's already, so accelerate must not share them
    out: of a shorter batch in the middle it drops rows, or gives some twice.
    """
    # a generator of its own: iterating draws from it, and the global one is dropout's, resumed where it stood
    generator = torch.Generator().manual_seed(batches.seed)
    loader = DataLoader(features, batch_sampler=batches, collate_fn=collator, generator=generator, **options)
    return prepare_data_loader(
        loader,
        accelerator.device,
        num_processes=1,
        process_index=0,
        put_on_device=True,
        non_blocking=accelerator.non_blocking,
    )
