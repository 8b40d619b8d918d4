"""The terms of a whole corpus: found once, kept in a folder, read by every retriever that counts them."""

from __future__ import annotations

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
from runtime.text import FOLD_VERSION

logger = get_logger(__name__)

FORMAT_VERSION = 1  # of kept analyses: raise it when older ones must not be read any more
KEPT = ("kiwi", "mecab", "wordpiece")  # the others run about as fast as they could be read back


def analyze_corpus(analyzer: Analyzer, corpus: Corpus, cache_dir: str | Path | None) -> list[list[str]]:
    """Return the terms of every passage, in order and with repetitions.

    Those of an analyser in ``KEPT`` are kept in ``<cache_dir>/analysis-<key>``, where the key is a hash of the
    analyser's description, the version of :func:`runtime.text.fold` and the corpus, and are read from there the next
    time; what is not as it was written is rebuilt. Without ``cache_dir`` nothing is kept.
    """
    if cache_dir is None or analyzer.description["name"] not in KEPT:
        return analyzer.analyze(corpus.search_texts())
    identity = {"format_version": FORMAT_VERSION, "analyzer": analyzer.description, "corpus_hash": corpus.hash}
    folder = Path(cache_dir) / f"analysis-{hash_json([FOLD_VERSION, identity])[:16]}"
    if folder.exists():
        if (fault := fault_of_folder(folder)) is None:
            logger.info("analysis %s: loaded", folder)
            return _load(folder)
        logger.warning("analysis %s is damaged and is rebuilt: %s", folder, fault)
    terms = analyzer.analyze(corpus.search_texts())
    _save(folder, identity, terms)
    logger.info("analysis %s: made of %d passages and saved", folder, len(corpus))
    return terms


def _save(folder: Path, identity: dict[str, Any], passages: list[list[str]]) -> None:
    vocabulary: dict[str, int] = {}
    ids = [vocabulary.setdefault(term, len(vocabulary)) for terms in passages for term in terms]
    offsets = np.cumsum([0, *map(len, passages)], dtype=np.int64)  # (N + 1,)
    with sealed_folder(folder) as staging:
        write_json(staging / "vocabulary.json", list(vocabulary))
        np.save(staging / "ids.npy", np.array(ids, dtype=np.int32), allow_pickle=False)  # (terms of all passages,)
        np.save(staging / "offsets.npy", offsets, allow_pickle=False)
        write_json(staging / MANIFEST_NAME, identity)


def _load(folder: Path) -> list[list[str]]:
    """Return what :func:`_save` wrote."""
    vocabulary = np.array(read_json(folder / "vocabulary.json"), dtype=object)  # (V,)
    ids = np.load(folder / "ids.npy", allow_pickle=False)
    offsets = np.load(folder / "offsets.npy", allow_pickle=False)
    terms = vocabulary[ids].tolist()
    return [terms[start:end] for start, end in pairwise(offsets.tolist())]
