"""An Elasticsearch server: credentials from the environment, patience with what passes, a sentence for the rest."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from functools import cached_property
from types import ModuleType
from typing import Any

from retrieval.base import import_optional
from runtime.errors import UserError
from runtime.log import get_logger

logger = get_logger(__name__)

CLIENT = "'elasticsearch>=8.19,<10'"
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before a request is sent again
_PASSING = (0, 429, 502, 503, 504)  # of a server that is away, busy or starting


class ElasticServer:
    """The server at ``url``, asked through its own client: ``server.ask(server.client.count, index="x")``."""

    def __init__(self, url: str) -> None:
        if "@" in url:  # not repeated in the error, which may end up in a log
            raise UserError(
                "--elastic_url must not hold a password: set ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD, "
                "in the environment"
            )
        if not re.fullmatch(r"https?://[^/\s]+:\d{1,5}(/\S*)?", url):
            raise UserError(f"--elastic_url {url} is not the address and port of a server: http://localhost:9200")
        self.url = url

    @cached_property
    def library(self) -> ModuleType:
        """The client's package; :class:`UserError` unless it is there in a version that this code speaks."""
        library = import_optional("elasticsearch", CLIENT)
        if library.__version__[0] not in (8, 9):
            raise UserError(
                f"elasticsearch {library.__versionstr__} is installed and not supported: pip install {CLIENT}"
            )
        return library

    @cached_property
    def client(self) -> Any:
        """The client, with the credentials that the environment holds."""
        key, user, password = (os.environ.get(f"ELASTIC_{name}") for name in ("API_KEY", "USER", "PASSWORD"))
        if bool(user) != bool(password):
            raise UserError("ELASTIC_USER and ELASTIC_PASSWORD only work together: set both, or neither")
        who = {"api_key": key} if key else {"basic_auth": (user, password)} if user else {}
        return self.library.Elasticsearch(self.url, max_retries=0, request_timeout=60, **who)

    def ask(self, request: Callable[..., Any], **arguments: Any) -> Any:
        """Return the body of the answer to a method of the client.

        What may pass (no connection, 429, 502, 503, 504, also of a part of a bulk or msearch request) is asked again,
        later each time, so a request must do the same when it is sent twice; the rest raises :class:`UserError`. The
        client has retries too, but does not wait before it asks a busy server again.
        """
        for wait in (*_WAITS, None):
            status, answer = self._try(request, arguments)
            if status is None:
                return answer
            explanation = self._explain(status, answer)
            if status not in _PASSING or wait is None:
                raise UserError(explanation)
            logger.warning("%s; trying again in %g seconds", explanation, wait)
            time.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _try(self, request: Callable[..., Any], arguments: dict[str, Any]) -> tuple[int | None, Any]:
        """Return (None, answer), or the status (0 without any answer) and the reason of the failure."""
        try:
            response = request(**arguments)
        except self.library.UnsupportedProductError:
            return 501, "not Elasticsearch"
        except self.library.ApiError as error:
            return error.status_code, _reason(error.body)
        except self.library.TransportError as error:
            return 0, re.sub(r"^(<.*?>|\w+\(.*?\)): ", "", error.message)  # without the object in front
        if response.meta.headers.get("x-elastic-product") != "Elasticsearch":  # the client forgives it an ignored 404
            return 501, "not Elasticsearch"
        return _failed_part(response.body) or (None, response.body)

    def _explain(self, status: int, reason: str) -> str:
        """Return what went wrong as one sentence, with the way out."""
        if status == 0:
            return f"no Elasticsearch answers at {self.url} ({reason}): start it, or name another --elastic_url"
        if status in (401, 403):
            way_out = "set ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD, of somebody who may use it"
            return f"{self.url} refuses access ({status}, {reason}): {way_out}"
        if status == 501:
            return f"{self.url} is not Elasticsearch 8 or later: name another --elastic_url"
        if "[nori_" in reason:
            return f"{self.url} lacks nori ({reason}): run bin/elasticsearch-plugin install analysis-nori on every node"
        if status == 406 or "compatible-with" in reason:
            mine = self.library.__versionstr__
            return f"{self.url} is of another version than client {mine} ({reason}): install the client of its version"
        return f"{self.url} answered {status}: {reason}"


def _failed_part(answer: dict[str, Any]) -> tuple[int, str] | None:
    """Return status and reason of the first part that failed, of the answer to a bulk or msearch request."""
    parts = [*answer.get("responses", ()), *(item["index"] for item in answer.get("items", ()))]
    return next(((part["status"], _reason(part)) for part in parts if "error" in part), None)


def _reason(body: Any) -> str:
    """Return the server's own words, with the causes behind them."""
    error = body.get("error") if isinstance(body, dict) else body
    causes = []
    while isinstance(error, dict):
        causes.append(str(error.get("reason") or error.get("type")))
        error = error.get("caused_by")
    return ": ".join(causes) or str(error or "no reason given")[:200]
