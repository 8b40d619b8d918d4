"""What ElasticRetrieval needs of an Elasticsearch server, in a thread on 127.0.0.1: it indexes, counts and scores.

Text is cut into words and their character bigrams in place of nori; the rest follows the REST protocol: documents are
seen after a refresh, mappings and settings are those that were sent, errors have the server's form.
"""

from __future__ import annotations

import copy
import json
import math
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import numpy as np


class Request(NamedTuple):
    method: str
    path: str
    headers: Any
    body: Any  # None, an object, or the list of lines of a bulk or msearch request

    @property
    def title(self) -> str:
        return f"{self.method} {self.path}"


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, kind: str, reason: str, **more: Any) -> None:
        error = {"type": kind, "reason": reason, **more}
        self.status, self.body = status, {"error": {"root_cause": [error], **error}, "status": status}


class ElasticStub:
    """``requests`` is what was asked; ``upcoming`` holds, for coming bulk and msearch requests, the error to answer
    with, ``None`` for a proper answer, or a status that one part of the answer shall have."""

    def __init__(self) -> None:
        self.indices: dict[str, dict[str, Any]] = {}
        self.requests: list[Request] = []
        self.upcoming: list[Refusal | int | None] = []
        self.refusal: Refusal | None = None  # for every request
        self.headers = {"X-Elastic-Product": "Elasticsearch"}
        self.has_nori = True
        self.lost: set[str] = set()  # ids that are never indexed, without a word

    def __enter__(self) -> ElasticStub:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8")
                lines = "ndjson" in (self.headers.get("Content-Type") or "")
                body = [json.loads(line) for line in sent.splitlines()] if lines else json.loads(sent or "null")
                request = Request(self.command, self.path, self.headers, body)
                stub.requests.append(request)
                try:
                    status, content = 200, stub.answer(request)
                except Refusal as refusal:
                    status, content = refusal.status, refusal.body
                written = json.dumps(content, ensure_ascii=False).encode("utf-8")
                self.send_response(status)
                for name, value in {**stub.headers, "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(written)))
                self.end_headers()
                self.wfile.write(written)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, request: Request) -> dict[str, Any]:
        _, name, *action = request.path.split("/")
        if self.refusal:
            raise self.refusal
        if request.method == "PUT" and not action:
            return self.create(name, request.body)
        if name not in self.indices:
            raise Refusal(404, "index_not_found_exception", f"no such index [{name}]", index=name)
        index = self.indices[name]
        match request.method, *action:
            case ("DELETE",):
                del self.indices[name]
                return {"acknowledged": True}
            case "GET", "_mapping":
                return {name: {"mappings": index["mappings"]}}
            case "PUT", "_mapping":
                index["mappings"] |= request.body
                return {"acknowledged": True}
            case "POST" | "PUT", "_bulk":
                return {"errors": False, "items": self.bulk(index, request.body)}
            case "POST", "_refresh":
                index["seen"] = dict(index["documents"])
                return {"_shards": {"failed": 0}}
            case "POST", "_count":
                return {"count": len(index["seen"])}
            case "POST", "_msearch":
                failed = self.next()
                responses = [self.search(index, body) for header, body in _pairs(request.body) if header == {}]
                if failed:
                    responses[-1] = Refusal(failed, "es_rejected_execution_exception", "queue is full").body
                return {"responses": responses}
        raise Refusal(405, "illegal_argument_exception", f"{request.title} is not allowed")

    def next(self) -> int | None:
        upcoming = self.upcoming.pop(0) if self.upcoming else None
        if isinstance(upcoming, Refusal):
            raise upcoming
        return upcoming

    def create(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        if name in self.indices:
            raise Refusal(400, "resource_already_exists_exception", f"index [{name}] already exists", index=name)
        if not self.has_nori:  # as AnalysisRegistry of Elasticsearch says it
            raise Refusal(400, "illegal_argument_exception", "Unknown tokenizer type [nori_tokenizer] for [ko]")
        self.indices[name] = {**copy.deepcopy(body), "documents": {}, "seen": {}}
        return {"acknowledged": True, "shards_acknowledged": True, "index": name}

    def bulk(self, index: dict[str, Any], lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        failed, items = self.next(), []
        for number, (action, source) in enumerate(_pairs(lines)):
            row_id = action["index"]["_id"]
            assert set(source) == set(index["mappings"]["properties"])  # "dynamic": "strict"
            if failed and number == 1:
                error = Refusal(failed, "some_exception", "not this one").body
                items.append({"index": {"_id": row_id, "status": failed, "error": error["error"]}})
                continue
            if row_id not in self.lost:
                index["documents"][row_id] = source
            items.append({"index": {"_id": row_id, "status": 201, "result": "created"}})
        return items

    def search(self, index: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        query = body["query"]["multi_match"]
        assert (query["type"], body["sort"]) == ("most_fields", [{"_score": "desc"}, {"row": "asc"}])
        scores = sum(self.scores(index, field, query["query"]) for field in query["fields"])  # (N,)
        sources = list(index["seen"].values())
        found = [(float(scores[i]), source["row"]) for i, source in enumerate(sources) if scores[i] > 0]
        found.sort(key=lambda hit: (-hit[0], hit[1]))
        hits = [{"_id": str(row), "_score": score, "sort": [score, row]} for score, row in found[: body["size"]]]
        return {"status": 200, "hits": {"hits": hits}}

    def scores(self, index: dict[str, Any], field: str, question: str) -> np.ndarray:
        """Elasticsearch's BM25, the factor k1 + 1 included, without the rounding of lengths: (N,) float32."""
        similarity = index["mappings"]["properties"][field]["similarity"]
        values = index["settings"]["index"]["similarity"][similarity]
        k1, b = values["k1"], values["b"]
        counts = [Counter(terms(source[field])) for source in index["seen"].values()]
        with_field = [sum(count.values()) for count in counts if count]
        scores = np.zeros(len(counts))
        for term in terms(question):
            frequency = sum(term in count for count in counts)
            idf = math.log(1 + (len(with_field) - frequency + 0.5) / (frequency + 0.5))
            for i, count in enumerate(counts):
                if term in count:
                    length = count.total() / (sum(with_field) / len(with_field))
                    scores[i] += idf * (k1 + 1) * count[term] / (count[term] + k1 * (1 - b + b * length))
        return scores.astype(np.float32)


def terms(text: str) -> list[str]:
    """Words and the character bigrams in them."""
    return [term for word in text.split() for term in [word, *(word[i : i + 2] for i in range(len(word) - 2 + 1))]]


def _pairs(lines: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(lines[::2], lines[1::2], strict=True))
