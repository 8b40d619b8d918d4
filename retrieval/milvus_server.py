"""A connection to Milvus: embedded in this process, a server, or a cluster; its errors as one sentence."""

from __future__ import annotations

import logging
import os
import textwrap
from pathlib import Path
from typing import Any

from retrieval.base import import_optional
from runtime.errors import UserError
from runtime.files import writing
from runtime.log import get_logger

logger = get_logger(__name__)

TIMEOUT = 120.0  # seconds for one message


class MilvusServer:
    """One connection to a Milvus server; called with a method of its client and what that takes."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.is_embedded = "://" not in uri
        self.client: Any = None

    def connect(self) -> None:
        """Start the embedded form, or reach the server; once."""
        if self.client is not None:
            return
        if self.is_embedded != self.uri.endswith(".db"):
            raise UserError(f"--milvus_uri {self.uri} must be a path that ends in .db, or a URL as http://host:19530")
        import_optional("pymilvus", "pymilvus")
        if self.is_embedded:
            import_optional("milvus_lite", "milvus-lite")
            with writing(self.uri):
                Path(self.uri).parent.mkdir(parents=True, exist_ok=True)
        for library in ("pymilvus", "milvus_lite", "grpc"):  # which log whole tracebacks of what we say in one sentence
            logging.getLogger(library).setLevel(logging.CRITICAL)
        from pymilvus import MilvusClient, MilvusException

        try:
            self.client = MilvusClient(self.uri, token="" if self.is_embedded else os.environ.get("MILVUS_TOKEN", ""))
        except MilvusException as error:
            if self.is_embedded:
                raise UserError(
                    f"--milvus_uri {self.uri} cannot be opened: it must be a folder that milvus-lite 3 wrote, and one "
                    "process at a time can have it; end the other, or share it by 'milvus-lite server' and its URL"
                ) from None
            raise UserError(
                f"no Milvus server answers at --milvus_uri {self.uri} ({error.message}): start it, or correct the URL; "
                "where it asks for a token, set MILVUS_TOKEN"
            ) from None

    def __call__(self, method: str, *args: Any, timeout: float | None = TIMEOUT, **options: Any) -> Any:
        """Return what ``method`` of the client returns; :class:`UserError` when the server fails."""
        from grpc import RpcError
        from pymilvus import MilvusException

        try:
            return getattr(self.client, method)(*args, timeout=timeout, **options)
        except (MilvusException, RpcError) as error:
            reason = textwrap.shorten(str(getattr(error, "message", error)), 300)
            raise UserError(f"Milvus at {self.uri} failed to {method.replace('_', ' ')}: {reason}") from None

    def clear(self, prefix: str) -> None:
        """Drop the collections that killed runs left; on a server, which others may be filling, only name them."""
        for leftover in self("list_collections"):
            if leftover.startswith(prefix) and self.is_embedded:
                self("drop_collection", leftover)
            elif leftover.startswith(prefix):
                logger.warning("%s: collection %s is being filled, or was left by a killed run", self.uri, leftover)
