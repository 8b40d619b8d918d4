"""Training features that differ from epoch to epoch.

What an epoch holds is a function of the seed and the epoch alone, so that a killed run continues with the same data.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
from transformers import AddedToken, PreTrainedTokenizerBase

from loading.examples import example_features
from reading.augmentation import AUGMENTATIONS, MASKED, Augmentation, Example, Material
from runtime.errors import UserError
from runtime.progress import map_bar


class AugmentedFeatures:
    """The training features of one epoch, as a dataset for a ``DataLoader``; :meth:`set_epoch` draws them again.

    Every epoch has as many features as epoch 0, so that it has as many optimizer steps: of more windows a random
    choice is left out, of fewer a random choice comes twice. ``whole`` keeps all windows instead, for batches of whole
    questions. Their ``example_index`` is the row of the example that was changed. ``build(examples, what, tokenizer)``
    turns examples into features, ``probability`` is the chance that an example is changed by a drawn augmentation.
    """

    def __init__(
        self,
        examples: Dataset,
        build: Callable[[Dataset, str, PreTrainedTokenizerBase], Dataset],
        names: Sequence[str],
        probability: float,
        material: Material,
        seed: int,
        whole: bool = False,
    ) -> None:
        masks = [name for name in names if name.startswith("mask_")]
        if masks and material.tokenizer.mask_token is None:
            raise UserError(f"--augment {masks[0]} needs a tokenizer with a mask token, which this one has not")
        self._tokenizer = _knowing_masked(material.tokenizer) if masks else material.tokenizer
        self._originals = list(examples)
        self._build = build
        self._drawn = [name for name in names if AUGMENTATIONS[name].drawn]
        self._always = {name: change for name in names if (change := AUGMENTATIONS[name].examples) is not None}
        self._probability = probability
        self._material = material
        self._seed = seed
        self._whole = whole
        self.epoch: int | None = None
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Hold the features of ``epoch``."""
        if epoch == self.epoch:
            return
        changed = [self._change(example, epoch) for example in self._originals]
        examples = [example for examples in changed for example in examples]
        originals = [row for row, examples in enumerate(changed) for _ in examples]
        rows = Dataset.from_list(examples, example_features())
        features = self._build(rows, f"features of epoch {epoch}", self._tokenizer)
        if self._tokenizer is not self._material.tokenizer:
            features = self._mask_windows(features, examples, epoch)
        example_index = [originals[index] for index in features["example_index"]]
        features = features.remove_columns(["offset_mapping", "example_index"])  # the former is half of the memory
        features = features.add_column("example_index", example_index, new_fingerprint=generate_random_fingerprint())
        if not self._whole:
            rows, size = range(len(features)), len(features) if self.epoch is None else len(self)
            rng = self._rng(epoch)
            rows = rng.sample(rows, size) if len(rows) > size else [*rows, *rng.choices(rows, k=size - len(rows))]
            features = features.select(sorted(rows))
        self._features, self.epoch = features, epoch

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, key: int | str) -> Any:
        return self._features[key]

    def __getitems__(self, rows: list[int]) -> list[dict[str, Any]]:
        return self._features.__getitems__(rows)

    def _rng(self, *key: Any) -> random.Random:
        return random.Random(" ".join(map(str, (self._seed, *key))))  # a text seeds alike in every process

    def _draw(self, epoch: int, example: Example) -> tuple[Augmentation, random.Random]:
        """Return what changes ``example`` in ``epoch``, and the random numbers to do it with."""
        rng = self._rng(epoch, example["id"])
        if not self._drawn or rng.random() >= self._probability:
            return Augmentation(), rng
        return AUGMENTATIONS[rng.choice(self._drawn)], rng

    def _change(self, example: Example, epoch: int) -> list[Example]:
        examples = [example]
        for name, function in self._always.items():
            rng = self._rng(epoch, example["id"], name)
            examples = [new for old in examples for new in function(old, rng, self._material)]
        changed = []
        for example in examples:
            augmentation, rng = self._draw(epoch, example)
            if augmentation.question:
                example = example | {"question": augmentation.question(example["question"], rng, self._material)}
            changed.append(example)
        return changed

    def _mask_windows(self, features: Dataset, examples: list[Example], epoch: int) -> Dataset:
        masked_id = self._tokenizer.convert_tokens_to_ids(MASKED)
        mask_id = self._tokenizer.mask_token_id

        def change(window: dict[str, Any]) -> dict[str, Any]:
            example = examples[window["example_index"]]
            window["input_ids"] = [mask_id if token == masked_id else token for token in window["input_ids"]]
            augmentation, rng = self._draw(epoch, example)
            if augmentation.window:
                window["input_ids"] = augmentation.window(window, example, rng, self._material)
            bar.update()
            return window

        with map_bar(len(features), "masking") as bar:
            return features.map(change, keep_in_memory=True, new_fingerprint=generate_random_fingerprint())


def _knowing_masked(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Return a copy of ``tokenizer`` that cuts out :data:`MASKED` as it does its mask token."""
    mask = tokenizer.added_tokens_decoder.get(tokenizer.mask_token_id, AddedToken(tokenizer.mask_token))
    sides = {"lstrip": mask.lstrip, "rstrip": mask.rstrip, "single_word": mask.single_word}
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_tokens([AddedToken(MASKED, normalized=False, special=False, **sides)])
    return tokenizer
