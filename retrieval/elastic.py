"""BM25 on an Elasticsearch server: Korean text cut by nori, the index kept where a whole team can search it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from loading.corpus import Corpus
from retrieval.base import (
    SearchResults,
    UnusableIndex,
    check_manifest,
    identity,
    index_folder,
    new_index_folder,
    refuse_credentials,
)
from retrieval.bm25 import BM25Weights
from retrieval.elastic_server import ElasticServer
from runtime.errors import UserError
from runtime.files import read_json, write_json
from runtime.flags import flag, flag_group
from runtime.log import get_logger
from runtime.progress import progress_bar
from runtime.text import FOLD_VERSION, fold, is_blank, strip_blanks

logger = get_logger(__name__)

DECOMPOUND_MODES = {"ko": "mixed", "ko_question": "discard"}  # of the analysers of passages and of questions
FILTERS = ["pos_stop", "nori_readingform", "lowercase"]
_FIELD = {"type": "text", "analyzer": "ko", "search_analyzer": "ko_question", "similarity": "bm25"}
MAPPINGS = {
    "dynamic": "strict",
    "properties": {
        "row": {"type": "integer"},
        "document_id": {"type": "keyword"},
        "title": _FIELD,
        "text": _FIELD,
    },
}
_BLOCK = 200  # passages per bulk request, questions per msearch
_NAME = re.compile(r'(?![._+-])[^\sA-Z\\/*?"<>|,#:]+')  # of one index: no pattern that stands for many


@flag_group("elastic")
class ElasticArguments(BM25Weights):
    """The flags of a search by an Elasticsearch server."""

    elastic_url: str = flag(
        "http://localhost:9200",
        "Elasticsearch server; credentials only from ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD.",
        way_out_of_credentials="set ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD, in the environment",
    )
    elastic_index: str | None = flag(None, "Name of the Elasticsearch index (default: from corpus and parameters).")
    elastic_user_dictionary: str | None = flag(None, "File of nori user dictionary rules, one a line.")

    def settle(self) -> None:
        """Refuse credentials in the address."""
        refuse_credentials(self, "elastic_url")


class ElasticRetrieval:
    """BM25 of the title plus BM25 of the text, over the terms that the server's nori plugin cuts.

    The server gets passages, questions and dictionary folded (see ``runtime/text.py``), as other analysers fold them.
    The index's mapping carries the identity of corpus and parameters, and a mark that is set when the last passage
    was counted: an index that somebody's killed process left behind is not searched but rebuilt.
    """

    name = "ElasticRetrieval"
    libraries: Sequence[str] = ("elasticsearch",)
    flags: type = ElasticArguments
    build_seconds: float

    def __init__(
        self, url: str, k1: float = 0.9, b: float = 0.75, index: str | None = None, user_dictionary: Sequence[str] = ()
    ) -> None:
        if index is not None and not _NAME.fullmatch(index):
            raise UserError(f"--elastic_index {index} cannot name an index: use lower-case letters, digits, - and _")
        self.server, self.index_name = ElasticServer(url), index
        self.k1, self.b = k1, b
        self.user_dictionary = list(user_dictionary)

    @classmethod
    def from_arguments(cls, arguments: ElasticArguments, default_tokenizer: str | None) -> ElasticRetrieval:
        path, rules = arguments.elastic_user_dictionary, []
        if path is not None:
            try:
                lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"--elastic_user_dictionary {path} cannot be read: {error}") from None
            rules = [fold(strip_blanks(line)) for line in lines if not (is_blank(line) or line.startswith("#"))]
        return cls(arguments.elastic_url, arguments.bm25_k1, arguments.bm25_b, arguments.elastic_index, rules)

    def parameters(self) -> dict[str, Any]:
        rules = hashlib.sha256("\n".join(self.user_dictionary).encode()).hexdigest()[:16]
        nori = {"fold": FOLD_VERSION, "decompound_mode": DECOMPOUND_MODES, "filters": FILTERS}
        return {"nori": nori | {"user_dictionary": rules if self.user_dictionary else None}, "k1": self.k1, "b": self.b}

    def build(self, corpus: Corpus) -> None:
        """Index ``corpus`` on the server, unless a complete index of it is there already."""
        self._name_index(corpus)
        indices, index = self.server.client.indices, self.index
        complete = self._is_complete()
        if complete:
            logger.info("index %s on %s: complete, nothing to send", index, self.server.url)
            return
        if complete is False:
            logger.warning("index %s on %s was left unfinished and is rebuilt", index, self.server.url)
            self.server.ask(indices.delete, index=index)
        unfinished, finished = ({"odqa": {"identity": self.identity, "complete": mark}} for mark in (False, True))
        mappings = MAPPINGS | {"_meta": unfinished}
        self.server.ask(indices.create, index=index, settings=self.settings(), mappings=mappings)
        with progress_bar(total=len(corpus), desc="Elasticsearch", unit="passage", delay=1) as progress:
            documents = enumerate(_documents(corpus))
            while block := list(islice(documents, _BLOCK)):
                # by its id, a document that is sent twice replaces itself
                lines = [line for row, document in block for line in ({"index": {"_id": str(row)}}, document)]
                self.server.ask(self.server.client.bulk, index=index, operations=lines)
                progress.update(len(block))
        self.server.ask(indices.refresh, index=index)
        self._check_count()
        if self._state() != unfinished["odqa"]:
            raise UserError(f"somebody else changed the index {index} on {self.server.url} meanwhile: run this again")
        self.server.ask(indices.put_mapping, index=index, meta=finished)

    def search(self, questions: Sequence[str], k: int) -> SearchResults:
        """Return the best passages, ties by row; those without any of a question's terms fill up with score 0."""
        questions, k = list(questions), min(k, len(self.corpus))
        ids = np.empty((len(questions), k), dtype=np.int64)
        scores = np.zeros((len(questions), k), dtype=np.float32)
        with progress_bar(total=len(questions), desc="Search", unit="question", delay=1) as progress:
            for start in range(0, len(questions), _BLOCK):
                block = questions[start : start + _BLOCK]
                lines = [line for question in block for line in ({}, _query(question, k))]
                answer = self.server.ask(self.server.client.msearch, index=self.index, searches=lines)
                for row, response in enumerate(answer["responses"], start):
                    found = [hit["sort"] for hit in response["hits"]["hits"]]  # (score, row) each
                    best = [passage for _, passage in found]
                    ids[row] = best + np.setdiff1d(np.arange(k), best)[: k - len(best)].tolist()  # (k,)
                    scores[row, : len(best)] = [score for score, _ in found]
                progress.update(len(block))
        return SearchResults(ids, scores)

    def save(self, folder: str | Path) -> None:
        with new_index_folder(folder, self, self.corpus) as staging:
            write_json(staging / "elastic.json", {"index": self.index})

    def load(self, folder: str | Path, corpus: Corpus) -> None:
        check_manifest(folder, self, corpus)
        self._name_index(corpus)
        if (saved := read_json(Path(folder) / "elastic.json")["index"]) != self.index:
            raise UnusableIndex(folder, f"it stands for the index {saved}, and {self.index} is asked for")
        if not self._is_complete():
            raise UnusableIndex(folder, f"{self.server.url} has no complete index {self.index}")

    def settings(self) -> dict[str, Any]:
        """Return the settings of the index.

        Passages keep compounds beside their parts, and questions are cut into parts: of a compound in a question the
        server would demand all parts in a row. The stop filter keeps its own tags, for particles, endings and
        punctuation, because Elasticsearch 8 and 9 know them by different names (elastic/elasticsearch#150298).
        """
        rules = {"user_dictionary_rules": self.user_dictionary} if self.user_dictionary else {}
        return {
            "index": {
                "number_of_shards": 1,  # each shard would weigh terms by its own passages
                "number_of_replicas": 0,
                "similarity": {"bm25": {"type": "BM25", "k1": self.k1, "b": self.b}},
            },
            "analysis": {
                "tokenizer": {
                    name: {"type": "nori_tokenizer", "decompound_mode": mode, **rules}
                    for name, mode in DECOMPOUND_MODES.items()
                },
                "filter": {"pos_stop": {"type": "nori_part_of_speech"}},
                "analyzer": {
                    name: {"type": "custom", "tokenizer": name, "filter": FILTERS} for name in DECOMPOUND_MODES
                },
            },
        }

    def _name_index(self, corpus: Corpus) -> None:
        self.corpus, self.identity = corpus, identity(self, corpus)
        key = index_folder(self, corpus, "").name.removeprefix(f"{self.name}-")
        self.index = self.index_name or f"odqa-{key}"

    def _state(self) -> dict[str, Any] | None:
        """Return what the index says about itself; None when it does not exist, empty when it is not ours."""
        answer = self.server.ask(self.server.client.options(ignore_status=404).indices.get_mapping, index=self.index)
        if answer.get("status") == 404:
            return None
        (index,) = answer.values()
        return index["mappings"].get("_meta", {}).get("odqa", {})

    def _is_complete(self) -> bool | None:
        """Return whether the index is whole; None when there is none. Raise :class:`UserError` when it is not ours."""
        if (state := self._state()) is None:
            return None
        if state.get("identity") != self.identity:
            raise UserError(
                f"the index {self.index} on {self.server.url} holds something else (another corpus, other flags, or "
                "not made here): choose another --elastic_index"
            )
        if state["complete"]:
            self._check_count()
        return state["complete"]

    def _check_count(self) -> None:
        count = self.server.ask(self.server.client.count, index=self.index)["count"]
        if count != len(self.corpus):
            raise UserError(
                f"the index {self.index} on {self.server.url} holds {count} passages of {len(self.corpus)}: delete it "
                "there, or choose another --elastic_index"
            )


def _documents(corpus: Corpus) -> Iterator[dict[str, Any]]:
    """Yield what the server keeps of every passage."""
    rows = zip(corpus.document_ids, corpus.titles, corpus.texts, strict=True)
    for row, (document_id, title, text) in enumerate(rows):
        yield {"row": row, "document_id": document_id, "title": fold(title), "text": fold(text)}


def _query(question: str, k: int) -> dict[str, Any]:
    return {
        # most_fields: the sum of both
        "query": {"multi_match": {"query": fold(question), "type": "most_fields", "fields": ["title", "text"]}},
        "sort": [{"_score": "desc"}, {"row": "asc"}],
        "size": k,
        "_source": False,
        "track_total_hits": False,
    }
