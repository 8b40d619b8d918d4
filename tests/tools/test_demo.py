"""python -m tools.demo: the page in a browser, and what it asks the server for."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from browser import opened, wait_for_text
from comparing import close_to
from tiny_data import PASSAGES, QUESTIONS

from pipeline import FoundAnswer, FoundPassage, Pipeline
from runtime.errors import UserError, run_command
from tools import demo

pytest.importorskip("starlette", reason="needs pip install -e '.[demo]'")
pytest.importorskip("uvicorn", reason="needs pip install -e '.[demo]'")
from starlette.testclient import TestClient

QUESTION, TEXT = QUESTIONS[7][1:]  # 부산은 몇 번째 도시인가?
RETRIEVERS = ["SparseRetrieval_BM25P", "SparseRetrieval_TFIDF"]
Answerer = Callable[[Sequence[str], int], list[tuple[list[FoundAnswer], list[FoundPassage]]]]


@pytest.fixture(scope="module")
def flags(trained_reader: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    index_dir = str(tmp_path_factory.mktemp("index"))
    return {"model": trained_reader, "analyzer": "bigram", "index_dir": index_dir, "precision": "fp32"}


@pytest.fixture(scope="module")
def words(flags: dict[str, str], dataset_path: str) -> list[str]:
    given = {**flags, "dataset_path": dataset_path, "top_k_retrieval": "3"}
    return [word for name, value in given.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def loaded(words: list[str]) -> demo.Demo:
    return demo.load(demo.parse([*words, "--retriever_type", *RETRIEVERS]))


@pytest.fixture
def client(loaded: demo.Demo) -> Iterator[TestClient]:
    with TestClient(demo.app_of(loaded, "127.0.0.1"), base_url="http://127.0.0.1:8000") as client:
        yield client


@contextmanager
def served(what: demo.Demo) -> Iterator[str]:
    """The address of the page, served on a free port until the block ends."""
    with demo.listening("127.0.0.1", 0) as listener, demo.served(demo.app_of(what, "127.0.0.1"), listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.fixture(scope="module")
def url(loaded: demo.Demo) -> Iterator[str]:
    with served(loaded) as address:
        yield address


def made_up(answer: Answerer) -> demo.Demo:
    """A demo whose only pipeline answers by ``answer``."""
    settings = {"model": "m", "corpus": "c", "passages": 1, "retrievers": ["R"], "k": 1}
    settings |= {"most_passages": 100, "longest_question": 300}
    return demo.Demo({"R": SimpleNamespace(answer_with_passages=answer)}, settings)  # type: ignore[dict-item]


def found_in(passage: str, text: str) -> list[tuple[list[FoundAnswer], list[FoundPassage]]]:
    start = passage.index(text)
    answer = FoundAnswer(text, 0.5, 1.0, 1.0, 2.0, "1", 1, start, start + len(text), "제목", passage)
    return [([answer], [FoundPassage(1, "1", "제목", passage, 2.0)])]


# ---------------------------------------------------------------------------------------------------------- the server


def test_an_answer_is_that_of_the_pipeline_with_every_passage_that_was_read(
    client: TestClient, flags: dict[str, str], dataset_path: str
) -> None:
    scores = []
    for retriever in RETRIEVERS:
        body = client.post("/answer", json={"question": QUESTION, "retriever": retriever, "k": 4}).json()
        given = {name: value for name, value in flags.items() if name != "model"}
        alone = Pipeline.load(flags["model"], retriever, f"{dataset_path}/wikipedia_documents.json", **given)
        expected = alone.answer([QUESTION], k=4)[0]
        assert [row["text"] for row in body["answers"]] == [one.text for one in expected]
        assert [row["probability"] for row in body["answers"]] == close_to([one.probability for one in expected])
        assert [row["rank"] for row in body["passages"]] == [1, 2, 3, 4]
        assert all((row["title"], row["text"]) in PASSAGES for row in body["passages"])
        for row in body["answers"]:
            assert body["passages"][row["rank"] - 1]["text"][row["start"] : row["end"]] == row["text"]
        scores.append([row["score"] for row in body["passages"]])
    assert scores[0] != scores[1]


def test_passages_are_cut_as_the_flags_say(words: list[str]) -> None:
    flags = ["--chunk", "words", "--chunk_size", "2", "--retriever_type", RETRIEVERS[0]]
    cut = demo.load(demo.parse([*words, *flags]))
    assert cut.settings["passages"] > len(PASSAGES)
    ((_, passages),) = cut.pipelines[RETRIEVERS[0]].answer_with_passages([QUESTION], k=3)
    assert all(len(passage.text.split()) <= 2 for passage in passages)


def test_the_page_is_told_what_is_loaded(client: TestClient, trained_reader: str) -> None:
    settings = client.get("/settings").json()
    assert settings["model"] == trained_reader and settings["corpus"].endswith("wikipedia_documents.json")
    assert (settings["retrievers"], settings["passages"], settings["k"]) == (RETRIEVERS, len(PASSAGES), 3)
    body = client.post("/answer", json={"question": QUESTION}).json()  # the first retriever, k as the flag says
    assert len(body["passages"]) == 3


@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        ('{"question": " \\u200b"}', 422, "the question is blank"),
        ('["?"]', 422, "the question is blank"),
        (f'{{"question": "{"가" * 301}"}}', 422, "has 301 characters: shorten it to 300"),
        ('{"question": "\\ud800?"}', 422, "not text that UTF-8 can hold"),
        ('{"question": "?", "retriever": "Nobody"}', 422, "there is no retriever 'Nobody': choose from Sparse"),
        ('{"question": "?", "retriever": ["x"]}', 422, "there is no retriever"),
        ('{"question": "?", "k": 0}', 422, "the number of passages is 0: give one from 1 to 100"),
        ('{"question": "?", "k": 101}', 422, "from 1 to 100"),
        ('{"question": "?", "k": true}', 422, "from 1 to 100"),
        ("?", 400, "the request is not JSON"),
    ],
)
def test_what_cannot_be_answered_is_said(client: TestClient, body: str, status: int, complaint: str) -> None:
    response = client.post("/answer", content=body)
    assert response.status_code == status and complaint in response.json()["error"]


def test_a_page_elsewhere_cannot_read_along(loaded: demo.Demo) -> None:
    """By a name of its own for the address of this machine."""
    for host, status in (("127.0.0.1", 400), ("0.0.0.0", 200)):
        with TestClient(demo.app_of(loaded, host), base_url="http://elsewhere.example") as client:
            assert client.get("/settings").status_code == status


def test_questions_are_answered_one_after_the_other() -> None:
    at_work, seen = [], []

    def answer(questions: Sequence[str], k: int) -> Any:
        at_work.append(questions[0])
        time.sleep(0.02)
        seen.append(len(at_work))
        at_work.remove(questions[0])
        return found_in(f"{questions[0]} 있다", questions[0])

    with TestClient(demo.app_of(made_up(answer), "127.0.0.1"), base_url="http://localhost") as client:

        def ask(number: int) -> str:
            return client.post("/answer", json={"question": f"{number}번"}).json()["answers"][0]["text"]

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(8))) == [f"{number}번" for number in range(8)]
    assert seen == [1] * 8


# ---------------------------------------------------------------------------------------------------------- the command


def test_an_address_that_cannot_be_had_is_said_before_anything_is_loaded(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "load", lambda args: pytest.fail("loaded"))
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(UserError, match=f"^--port {port} is in use: give another one"):
            demo.main([*words, "--port", port])
    with pytest.raises(UserError, match="--host no such host is not an address"):
        demo.main([*words, "--host", "no such host"])
    with pytest.raises(UserError, match=r"--host 192\.0\.2\.1 --port 0 cannot be listened at"):
        demo.main([*words, "--host", "192.0.2.1", "--port", "0"])  # an address that no machine has (RFC 5737)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UserError, match="pip install uvicorn"):
        demo.main(words)
    with pytest.raises(SystemExit):
        demo.parse(["--retriever_type", "SparseRetrieval_BM25P", "none"])
    assert "no retriever is named none; choose from: " in capsys.readouterr().err


def test_a_wrong_retriever_is_said_before_the_reader_is_loaded(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.Reader, "from_arguments", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UserError, match="--hybrid_retrievers must name two or more retrievers"):
        alone = "HybridRetrieval,hybrid_retrievers=DenseRetrieval"
        demo.load(demo.parse([*words, "--retriever_type", "SparseRetrieval_BM25P", alone]))


@pytest.mark.parametrize(
    ("signum", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_it_serves_until_it_is_interrupted(
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    log_lines: list[str],
    signum: int,
    status: int,
    word: str,
) -> None:
    """And answers what was asked before."""

    def answer(questions: Sequence[str], k: int) -> Any:
        os.kill(os.getpid(), signum)
        time.sleep(0.3)  # the server is told meanwhile
        return found_in("답이다", "답")

    monkeypatch.setattr(demo, "load", lambda args: made_up(answer))
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]

    def ask() -> Any:
        transport = httpx.HTTPTransport(retries=5)  # until it listens
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=10) as client:
            return client.post("/answer", json={"question": "?"}, headers={"Host": "elsewhere"}).json()

    with ThreadPoolExecutor() as pool:
        asked = pool.submit(ask)
        with pytest.raises(SystemExit) as end:
            run_command(lambda: demo.main([*words, "--host", "0.0.0.0", "--port", str(port)]))
        assert asked.result()["answers"][0]["text"] == "답"
    shown = capsys.readouterr()
    assert (end.value.code, shown.err.splitlines()[-1]) == (status, word) and "Traceback" not in shown.err
    assert shown.out == f"http://0.0.0.0:{port} (Ctrl-C ends it)\n"
    assert "everybody who reaches --host 0.0.0.0 can ask" in log_lines[-1]
    demo.listening("127.0.0.1", port).close()  # it has left the port


# ------------------------------------------------------------------------------------------------------------ the page


def ask(page: Any, question: str) -> None:
    page.fill("#question", question)
    page.press("#question", "Enter")
    wait_for_text(page.locator("#asked"), question)


def test_a_question_is_asked_and_its_answer_marked(browser: Any, url: str, trained_reader: str) -> None:
    with opened(browser, url) as (page, complaints):
        ask(page, QUESTION)
        assert page.inner_text("#about").startswith(f"Reader {trained_reader}, {len(PASSAGES)} passages of ")
        assert page.inner_text("#best") == TEXT
        (mark,) = page.locator(".passage[open] mark").all()
        assert mark.inner_text() == TEXT and mark.is_visible()
        card = page.locator(".passage[open]").inner_text()
        assert "부산" in card and TEXT in card and "score" in card
        assert page.locator(".passage").count() == 3
        assert page.inner_text("#answers li >> nth=0").startswith(TEXT) and "%" in page.inner_text(
            "#answers li >> nth=0"
        )

        page.click("#answers li:nth-child(2) button")  # another candidate is marked where it was found
        second = page.inner_text("#answers li:nth-child(2) button span >> nth=0")
        marks = page.locator(".passage[open] mark").all_inner_texts()
        assert second in marks and second != TEXT

        page.select_option("#retriever", RETRIEVERS[1])
        page.fill("#k", "2")
        ask(page, QUESTIONS[0][1])
        assert page.locator(".passage").count() == 2 and RETRIEVERS[1] in page.inner_text("#status")
        assert page.locator("#history li").count() == 2
        page.click("#history li:nth-child(2) button")  # the first question, as it was answered
        assert (page.inner_text("#best"), page.input_value("#question")) == (TEXT, QUESTION)
        assert (page.input_value("#retriever"), page.input_value("#k")) == (RETRIEVERS[0], "3")
        assert page.locator(".passage").count() == 3
        assert complaints == []


def test_nothing_in_a_passage_becomes_markup(browser: Any) -> None:
    """And offsets hold behind characters that are two in JavaScript."""
    passage = "😀 <script>document.title = 'x'</script><img src=x onerror=alert(1)>\n답은 <b>27</b> 𠮷단이다"
    title = "<i>제목</i>"

    def answer(questions: Sequence[str], k: int) -> Any:
        ((answers, _),) = found_in(passage, "<b>27</b> 𠮷단")
        return [(answers, [FoundPassage(1, "1", title, passage, 2.0)])]

    with served(made_up(answer)) as address, opened(browser, address) as (page, complaints):
        ask(page, "<u>무엇</u>인가?")
        assert page.evaluate("document.querySelector('.passage p').textContent") == passage
        assert page.inner_text(".passage mark") == page.inner_text("#best") == "<b>27</b> 𠮷단"
        assert title in page.inner_text(".passage summary") and "<u>무엇</u>" in page.inner_text("#history")
        assert page.locator("main :is(script, img, b, i, u)").count() == 0
        assert page.title() == "Questions and answers" and complaints == []


def test_what_cannot_be_answered_is_said_on_the_page(browser: Any) -> None:
    def answer(questions: Sequence[str], k: int) -> Any:
        if questions == ["고장"]:
            raise RuntimeError("broken")
        if questions == ["없음"]:
            return [([], [])]
        raise UserError("the search server is away")

    with served(made_up(answer)) as address, opened(browser, address) as (page, complaints):
        page.wait_for_selector("#retriever option", state="attached")
        for question, k, complaint in [
            ("  ", "1", "The question is blank"),
            ("가" * 301, "1", "The question has 301 characters: shorten it to 300."),
            ("무엇?", "0", "from 1 to 100"),
        ]:
            page.fill("#k", k)
            page.fill("#question", question)
            page.click("#ask")
            wait_for_text(page.locator("#status.error"), complaint)
        assert complaints == []  # nothing was asked
        page.fill("#k", "1")
        for question, complaint in [("무엇?", "the search server is away"), ("고장", "The server failed")]:
            page.fill("#question", question)
            page.click("#ask")
            wait_for_text(page.locator("#status.error"), complaint)
            assert page.locator("#history li").count() == 0 and page.is_enabled("#ask")
        ask(page, "없음")
        assert page.inner_text("#best") == "(no answer)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_korean(browser: Any, url: str, scheme: str) -> None:
    with opened(browser, url, width=360, color_scheme=scheme, locale="ko-KR") as (page, complaints):
        ask(page, QUESTION)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.inner_text("h1") == "질문하기" and page.inner_text("#ask") == "묻기"
        assert "문단 수" in page.inner_text("form") and "초" in page.inner_text("#status")
        for control in ("#question", "#retriever", "#k", "#ask", "#answers li button"):
            assert page.locator(control).first.bounding_box()["height"] >= 44  # a finger's width
        background, text = (
            page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color")
        )
        assert (brightness(background) < brightness(text)) == (scheme == "dark")
        assert complaints == []


def brightness(colour: str) -> int:
    """The sum of the parts of ``rgb(…)``."""
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))
