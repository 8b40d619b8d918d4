"""Ask questions on a web page of this machine: answers, and the passages they were found in.

    python -m tools.demo --model saved/quickstart --dataset_path data/mini_wiki

The page is at the address that is printed, until Ctrl-C. --retriever_type names the retrievers to choose from.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import DemoArguments, check_command_line

    check_command_line(DemoArguments)  # --help and mistakes are answered before the slow ones

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from arguments import DemoArguments, RetrieverArguments, parse_arguments, part_of
from pipeline import Pipeline, Reader, processor_of
from reading.reader_settings import as_trained
from retrieval import create_retriever, load_or_build
from retrieval.base import import_optional
from retrieval.finding import PassageFinder, corpus_path, load_passages
from runtime.device import keep_freed_memory
from runtime.errors import UserError, run_command
from runtime.flags import fields_by_name, flag_of
from runtime.interrupts import interrupts_call
from runtime.log import configure_logging, get_logger, show_only_warnings
from runtime.text import is_blank, is_encodable

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

logger = get_logger("demo")

_LONGEST_QUESTION = 300  # characters; a reader cuts what leaves no room for the passage
_MOST_PASSAGES = int(flag_of(fields_by_name(DemoArguments)["top_k_retrieval"]).at_most)
_PAGE = Path(__file__).parent / "pages" / "demo.html"
_OF_THIS_MACHINE = ("127.0.0.1", "localhost")


class Demo(NamedTuple):
    """The pipelines that the page lets choose from, by name, and what it says of them."""

    pipelines: Mapping[str, Pipeline]
    settings: dict[str, Any]


def parse(argv: Sequence[str] | None = None) -> DemoArguments:
    """Parse the command line."""
    return parse_arguments(DemoArguments, argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Load the models and serve the page until the command is interrupted."""
    args = parse(argv)
    for package in ("starlette", "uvicorn"):
        import_optional(package, package)
    configure_logging()
    keep_freed_memory()
    with listening(args.host, args.port) as listener:
        demo = load(args)
        host = f"[{args.host}]" if ":" in args.host else args.host
        if args.host not in _OF_THIS_MACHINE:
            logger.warning("everybody who reaches --host %s can ask and read the passages", args.host)
        show_only_warnings()
        print(f"http://{host}:{listener.getsockname()[1]} (Ctrl-C ends it)", flush=True)
        with served(app_of(demo, args.host), listener) as server:
            while server.is_alive():  # an interrupt would spoil join()
                time.sleep(0.2)


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens; :class:`UserError` if the address cannot be had.

    It is there before the models are loaded, so that a page that is opened too soon only has to wait.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except socket.gaierror:
        raise UserError(f"--host {host} is not an address: give 127.0.0.1, or 0.0.0.0 for the network") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"--port {port} is in use: give another one, or 0 for any that is free") from None
        raise UserError(f"--host {host} --port {port} cannot be listened at: {error.strerror}") from None


def load(args: DemoArguments) -> Demo:
    """Return one pipeline for each retriever, all with one reader and one corpus."""
    args = as_trained(args)
    names = list(dict.fromkeys(args.retriever_type))
    retrievers = [  # whose mistakes are found before anything is loaded
        create_retriever(part_of(args, RetrieverArguments, retriever_type=name), args.tokenizer or args.model)
        for name in names
    ]
    reader = Reader.from_arguments(args, processor_of(args))
    path = corpus_path(args, args.dataset_path)
    corpus = load_passages(args, path, args.skip_bad_rows, args.tokenizer or args.model)
    pipelines = {
        name: Pipeline(reader, PassageFinder(load_or_build(retriever, corpus, args.index_dir), corpus), args)
        for name, retriever in zip(names, retrievers, strict=True)
    }
    for pipeline in pipelines.values():  # what is only loaded by a question
        pipeline.answer(["무엇인가?"], k=1)
    settings = {"model": args.model, "corpus": os.path.relpath(path), "passages": len(corpus), "retrievers": names}
    settings |= {"k": args.top_k_retrieval, "most_passages": _MOST_PASSAGES, "longest_question": _LONGEST_QUESTION}
    return Demo(pipelines, settings)


def app_of(demo: Demo, host: str) -> Starlette:
    """Return the application: the page at ``/``, what it says of itself at ``/settings``, answers at ``/answer``.

    Questions are answered one after the other, however many are asked at once. With a ``host`` of this machine, a
    page elsewhere cannot read along by giving its own name this address.
    """
    from anyio import CapacityLimiter
    from anyio.to_thread import run_sync
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route

    page = _PAGE.read_text(encoding="utf-8")
    one_at_a_time = CapacityLimiter(1)

    async def show_page(request: Request) -> Response:
        return HTMLResponse(page)

    async def show_settings(request: Request) -> Response:
        return JSONResponse(demo.settings)

    async def show_answer(request: Request) -> Response:
        try:
            body = await request.json()
        except ValueError:
            return JSONResponse({"error": "the request is not JSON"}, status_code=400)
        try:
            return JSONResponse(await run_sync(answer, demo, body, limiter=one_at_a_time))
        except UserError as error:
            return JSONResponse({"error": str(error)}, status_code=422)

    hosts = list(_OF_THIS_MACHINE) if host in _OF_THIS_MACHINE else ["*"]
    return Starlette(
        routes=[
            Route("/", show_page),
            Route("/settings", show_settings),
            Route("/answer", show_answer, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
    )


@contextmanager
def served(app: Starlette, listener: socket.socket) -> Iterator[threading.Thread]:
    """Serve ``app`` in the thread that is yielded, until the block ends and what was asked before is answered."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield thread
    finally:
        server.should_exit = True
        with interrupts_call(lambda signum: os._exit(128 + signum)):  # a second one need not wait: nothing is written
            thread.join()


def answer(demo: Demo, body: Any) -> dict[str, Any]:
    """Return what the page shows for ``{question, retriever, k}``; :class:`UserError` if that cannot be answered."""
    question, pipeline, k = checked(demo, body)
    began = time.perf_counter()
    ((answers, passages),) = pipeline.answer_with_passages([question], k)
    shown = [{name: value for name, value in asdict(one).items() if name != "passage"} for one in answers]
    return {
        "answers": shown,
        "passages": [passage._asdict() for passage in passages],
        "seconds": time.perf_counter() - began,
    }


def checked(demo: Demo, body: Any) -> tuple[str, Pipeline, int]:
    """Return the question, the pipeline and k that ``body`` asks for; :class:`UserError` where it is no question."""
    settings = demo.settings
    asked = {"retriever": settings["retrievers"][0], "k": settings["k"]} | (body if isinstance(body, dict) else {})
    question, retriever, k = asked.get("question", ""), asked["retriever"], asked["k"]
    if not isinstance(question, str) or is_blank(question):
        raise UserError("the question is blank: write one")
    if len(question) > _LONGEST_QUESTION:
        raise UserError(f"the question has {len(question)} characters: shorten it to {_LONGEST_QUESTION}")
    if not is_encodable(question):
        raise UserError("the question is not text that UTF-8 can hold: type it again")
    if not isinstance(retriever, str) or retriever not in demo.pipelines:
        raise UserError(f"there is no retriever {retriever!r}: choose from {', '.join(demo.pipelines)}")
    if type(k) is not int or not 1 <= k <= _MOST_PASSAGES:
        raise UserError(f"the number of passages is {k!r}: give one from 1 to {_MOST_PASSAGES}")
    return question, demo.pipelines[retriever], k


if __name__ == "__main__":
    run_command(main)
