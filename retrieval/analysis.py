"""The terms of a whole corpus: found once, kept in a folder, read by every retriever that counts them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from loading.corpus import Corpus
from retrieval.analyzers import Analyzer
from retrieval.base import MANIFEST_NAME
from runtime.checksums import fault_of_folder, sealed_folder
from runtime.files import read_json, write_json
from runtime.hashing import hash_json
from runtime.log import get_logger
from runtime.progress import progress_bar
from runtime.text import FOLD_VERSION

logger = get_logger(__name__)

FORMAT_VERSION = 1  # of kept analyses: raise it when older ones must not be read any more
_AT_ONCE = 4096  # passages whose terms are in memory as texts
KEPT = ("kiwi", "kiwi_characters", "mecab", "wordpiece")  # the others run about as fast as they could be read back


@dataclass(frozen=True)
class Terms:
    """The terms of every passage, in order and with repetitions: as numbers, which take a tenth of the memory of texts.

    Those of passage p are ``vocabulary[id]`` for each id in ``ids[offsets[p] : offsets[p + 1]]``.
    """

    vocabulary: list[str]
    ids: np.ndarray  # (terms of all passages,) int32
    offsets: np.ndarray  # (N + 1,) int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[list[str]]:
        for start, end in pairwise(self.offsets.tolist()):
            yield [self.vocabulary[term] for term in self.ids[start:end].tolist()]


def analyze_corpus(analyzer: Analyzer, corpus: Corpus, cache_dir: str | Path | None) -> Terms:
    """Return the terms of every passage, in order and with repetitions.

    Those of an analyser in ``KEPT`` are kept in ``<cache_dir>/analysis-<key>``, where the key is a hash of the
    analyser's description, the version of :func:`runtime.text.fold` and the corpus, and are read from there the next
    time; what is not as it was written is rebuilt. Without ``cache_dir`` nothing is kept.
    """
    if cache_dir is None or analyzer.description["name"] not in KEPT:
        return _count(analyzer, corpus)
    identity = {"format_version": FORMAT_VERSION, "analyzer": analyzer.description, "corpus_hash": corpus.hash}
    folder = Path(cache_dir) / f"analysis-{hash_json([FOLD_VERSION, identity])[:16]}"
    if folder.exists():
        if (fault := fault_of_folder(folder)) is None:
            logger.info("analysis %s: loaded", folder)
            return _load(folder)
        logger.warning("analysis %s is damaged and is rebuilt: %s", folder, fault)
    terms = _count(analyzer, corpus)
    _save(folder, identity, terms)
    logger.info("analysis %s: made of %d passages and saved", folder, len(corpus))
    return terms


def _count(analyzer: Analyzer, corpus: Corpus) -> Terms:
    vocabulary: dict[str, int] = {}
    ids, offsets = array("i"), array("q", [0])
    with progress_bar(total=len(corpus), desc="Analyze", unit="passage", delay=1) as progress:
        for start in range(0, len(corpus), _AT_ONCE):
            for terms in analyzer.analyze(corpus.search_texts(slice(start, start + _AT_ONCE))):
                ids.extend(vocabulary.setdefault(term, len(vocabulary)) for term in terms)
                offsets.append(len(ids))
                progress.update()
    return Terms(list(vocabulary), np.frombuffer(ids, np.int32), np.frombuffer(offsets, np.int64))


def _save(folder: Path, identity: dict[str, Any], terms: Terms) -> None:
    with sealed_folder(folder) as staging:
        write_json(staging / "vocabulary.json", terms.vocabulary)
        np.save(staging / "ids.npy", terms.ids, allow_pickle=False)
        np.save(staging / "offsets.npy", terms.offsets, allow_pickle=False)
        write_json(staging / MANIFEST_NAME, identity)


def _load(folder: Path) -> Terms:
    ids, offsets = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("ids", "offsets"))
    return Terms(read_json(folder / "vocabulary.json"), ids, offsets)
