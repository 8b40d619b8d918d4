"""python -m tools.report end to end: what is on the page, and that it works in a browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import opened, started_browser, wait_for_count

import score
from loading.examples import load_gold
from runtime.errors import DataError, UserError
from tools import report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HANGUL = "훈민정음은 세종대왕이 1443년에 창제하였다. 스물여덟 자로 이루어졌다. 집현전의 학자들이 도왔다."
SILLA = "<script>document.title = '나쁜 글'</script> 첨성대는 선덕여왕 때 27단으로 쌓았다. 경주에 있다."
KOREA = "고려는 918년에 왕건이 세웠다. 도읍은 개경이다."
QUESTIONS = {
    "q1": ("훈민정음은 언제 창제되었나?", HANGUL, "1443년"),
    "q2": ("훈민정음을 만든 왕은 누구인가?", HANGUL, "세종대왕"),
    "q3": ("훈민정음은 몇 자인가?", HANGUL, "스물여덟"),
    "q4": ("첨성대는 몇 단인가?", SILLA, "27단"),
    "q5": ("고려를 세운 이는 누구인가?", KOREA, "왕건"),
    "q6": ("고려의 도읍은 어디인가?", KOREA, "개경"),
}
# by id: the answer, the text it is taken from, its probability, and the passages read, best first
A = {
    "q1": ("1443년에", HANGUL, 0.9, [HANGUL, KOREA]),  # particle only
    "q2": ("세종대왕", HANGUL, 0.8, [KOREA, HANGUL]),  # exact
    "q3": ("집현전", HANGUL, 0.4, [HANGUL, KOREA]),  # another sentence
    "q4": ("27", SILLA, 0.6, [SILLA, KOREA]),  # too short
    "q5": ("선덕여왕", SILLA, 0.3, [HANGUL, SILLA]),  # retrieval missed
    "q6": ("경주", SILLA, 0.2, [SILLA, KOREA]),  # another passage
}
B = A | {"q1": ("1443년", HANGUL, 0.7, [HANGUL, KOREA]), "q2": ("왕이", HANGUL, 0.1, [KOREA, HANGUL])}


NAMES = {HANGUL: "d1", SILLA: "d2", KOREA: "d3"}


def write_run(folder: Path, run: dict[str, tuple[str, str, float, list[str]]], names: dict[str, str] = NAMES) -> str:
    """Write what inference.py writes."""
    folder.mkdir()
    nbest, rows = {}, ["id,question,rank,document_id,title,context,score"]
    for name, (text, source, probability, passages) in run.items():
        start = source.index(text)
        nbest[name] = [
            {
                "text": text, "probability": probability, "score": 1.0, "span_score": 1.0, "retrieval_score": 1.0,
                "document_id": names[source], "rank": 1 + passages.index(source), "start": start,
                "end": start + len(text),
            }
        ]  # fmt: skip
        rows += [
            f'{name},{QUESTIONS[name][0]},{rank},{names[passage]},제목,"{passage}",{-rank}'
            for rank, passage in enumerate(passages, start=1)
        ]
    predictions = {name: found[0]["text"] for name, found in nbest.items()}
    for file, content in {"predictions": predictions, "nbest_predictions": nbest}.items():
        (folder / f"{file}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    (folder / "retrieved_passages.csv").write_text("\n".join(rows), encoding="utf-8")
    return str(folder)


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> str:
    paragraphs = [
        {
            "context": context,
            "qas": [
                {"id": name, "question": question, "answers": [{"text": text, "answer_start": context.index(text)}]}
            ],
        }
        for name, (question, context, text) in QUESTIONS.items()
    ]
    path = tmp_path_factory.mktemp("gold") / "dev.json"
    content = {"data": [{"title": "<b>제목</b>", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A training run and two folders of answers."""
    root = tmp_path_factory.mktemp("runs")
    lines = [{"step": step, "loss": 5 - step / 10, "epoch": step / 20} for step in (10, 20, 30)]
    lines.insert(2, {"step": 20, "eval_loss": 3.5, "eval_exact_match": 25.0, "eval_f1": 40.0})
    lines.append({"step": 30, "eval_loss": 3.6, "eval_exact_match": 20.0, "eval_f1": 41.0})
    (root / "trained").mkdir()
    with (root / "trained" / "metrics.jsonl").open("w", encoding="utf-8") as file:
        for number, line in enumerate(lines):
            file.write(json.dumps(line | {"time": f"2026-03-14T09:0{number}:30.000+00:00"}) + "\n")
    return [str(root / "trained"), write_run(root / "a", A), write_run(root / "b", B)]


@pytest.fixture(scope="module")
def page(gold: str, folders: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.main([*folders, "--gold", gold, "--output", str(path)])
    return str(path)


def text_of(path: str | Path) -> str:
    return Path(path).read_text(encoding="utf-8")


def data_of(path: str | Path) -> dict[str, Any]:
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text_of(path), re.DOTALL)
    return json.loads(data)


def rows_of(path: str | Path, section: str) -> list[list[str]]:
    """The cells of the tables in a section, as they are read."""
    (html,) = re.findall(rf'<section id="{section}">.*?</section>', text_of(path), re.DOTALL)
    rows = re.findall(r"<tr.*?</tr>", html, re.DOTALL)
    cells = [re.findall(r"<t[dh].*?</t[dh]>", row, re.DOTALL) for row in rows]
    return [[re.sub(r"\s+", " ", re.sub(r"<.*?>", "", cell)).strip() for cell in row] for row in cells]


# ------------------------------------------------------------------------------------------------------------ figures


def test_figures_are_those_of_score(page: str, gold: str, folders: list[str]) -> None:
    figures = score.main(["--gold", gold, "--predictions", *(f"{folder}/predictions.json" for folder in folders[1:])])
    scores = re.sub(r"<.*?>", "", text_of(page).partition('<section id="scores">')[2].partition("</section>")[0])
    group = figures["groups"]["all"]
    for name in "AB":
        for metric in ("exact_match", "f1"):
            low, high = group[name][f"{metric}_low"], group[name][f"{metric}_high"]
            assert f"{group[name][metric]:.1f}" in scores and f"95 % interval {low:.1f}–{high:.1f}" in scores
    found = group["A - B"]
    assert f"95 % interval {found.exact_match.low:+.1f} to {found.exact_match.high:+.1f}" in scores
    assert f"A {found.only_first}, B {found.only_second}" in scores and "McNemar p 1" in scores


def test_points_lost_by_stage(page: str) -> None:
    rows = {row[0]: row[1:5] for row in rows_of(page, "waterfall")}
    assert rows["exact match"] == ["", "16.7", "", "16.7"]
    assert rows["retrieval"] == ["16.7", "33.3", "16.7", "33.3"]
    assert rows["passage"] == ["16.7", "50.0", "16.7", "50.0"]
    assert rows["sentence"] == ["16.7", "66.7", "16.7", "66.7"]
    assert rows["boundary"] == ["33.3", "100.0", "33.3", "100.0"]
    assert rows["no answer"] == ["0.0", "100.0", "0.0", "100.0"]


def test_kinds_of_error(page: str) -> None:
    rows = {row[0]: (row[1], row[3]) for row in rows_of(page, "kinds")}
    assert rows["exact"] == ("16.7", "16.7")
    assert rows["particle only"] == ("16.7", "0.0")
    assert rows["too short"] == ("16.7", "16.7")
    assert rows["same sentence"] == ("0.0", "16.7")  # 왕이 overlaps 세종대왕
    assert rows["elsewhere"] == ("50.0", "50.0")
    assert rows["exact match"] == ("16.7", "16.7") and rows["blind to particles"] == ("33.3", "16.7")


def test_groups_calibration_and_retrieval(page: str) -> None:
    groups = {row[0]: row for row in rows_of(page, "groups") if row[0]}
    assert groups["누구"][:2] == ["누구", "2"] and groups["누구"][2].startswith("50.0 ")
    assert groups["몇"][1] == "2" and groups["언제"][-1].startswith("-100.0 ")
    assert groups["2–5"][1] == "2" and groups["not retrieved"][1] == "1"
    calibration = {row[0]: row[1:] for row in rows_of(page, "calibration")}
    assert calibration["0.7–0.8"] == ["1", "100.0", "0", "–"] and calibration["0.8–0.9"][:2] == ["1", "0.0"]
    assert rows_of(page, "retrieval") == [
        ["found, %", "@1", "@2"],
        ["A gold passage", "50.0", "83.3"],
        ["A answer in text", "50.0", "83.3"],
        ["B gold passage", "50.0", "83.3"],
        ["B answer in text", "50.0", "83.3"],
    ]


def test_every_question_has_its_passages_and_what_is_marked_in_them(page: str) -> None:
    data = data_of(page)
    questions = {question["id"]: question for question in data["questions"]}
    assert list(questions) == list(QUESTIONS)
    q5 = questions["q5"]
    assert (q5["word"], q5["golds"]) == ("누구", ["왕건"])
    assert [answer["stage"] for answer in q5["answers"]] == ["retrieval", "retrieval"]
    assert q5["answers"][0]["gold_rank"] is None and questions["q2"]["answers"][0]["gold_rank"] == 2
    texts = [data["texts"][passage["text"]] for passage in q5["passages"]]
    assert texts == [KOREA, SILLA]
    start, end, name = q5["passages"][0]["marks"][0]
    assert (KOREA[start:end], name) == ("왕건", "gold")
    marked = [(SILLA[start:end], name) for start, end, name in q5["passages"][1]["marks"]]
    assert marked == [("선덕여왕", "answer run0"), ("선덕여왕", "answer run1")]
    notes = ["A answers from it, passage 2", "B answers from it, passage 2"]
    assert q5["passages"][1]["notes"] == notes
    assert sorted(data["texts"]) == sorted([HANGUL, SILLA, KOREA])  # each stands once


def test_training_is_drawn(page: str, folders: list[str]) -> None:
    _, row = rows_of(page, "training")
    assert row == [folders[0], "30", "1.5", "4.0", "2.000", "25.0", "40.0", "20"]
    html = text_of(page).partition('<section id="training">')[2]
    assert "training: loss 4 at optimizer step 10" in html and "evaluation: loss 3.5 at optimizer step 20" in html
    assert "exact match: percent 25 at optimizer step 20" in html and "F1: percent 41 at optimizer step 30" in html


def test_a_training_run_alone_needs_no_gold(folders: list[str], tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "new" / "report.html"
    report.main([folders[0], "--output", str(path)])
    assert capsys.readouterr().out == f"{path}\n"
    assert 'id="training"' in text_of(path) and 'id="scores"' not in text_of(path) and "<script" not in text_of(path)


def test_plain_predictions_are_found_in_their_passages(gold: str, tmp_path: Path) -> None:
    """Of another program: no n-best, no table."""
    (tmp_path / "other").mkdir()
    predictions = {name: text for name, (text, *_) in A.items()}
    (tmp_path / "other" / "predictions.json").write_text(json.dumps(predictions), encoding="utf-8")
    report.main([str(tmp_path / "other"), "--gold", gold, "--output", str(tmp_path / "report.html")])
    html, data = text_of(tmp_path / "report.html"), data_of(tmp_path / "report.html")
    assert 'id="calibration"' not in html and 'id="retrieval"' not in html
    kinds = [question["answers"][0]["kind"] for question in data["questions"]]
    assert kinds == ["particle only", "exact", "elsewhere", "too short", "elsewhere", "elsewhere"]
    assert [question["answers"][0]["stage"] for question in data["questions"]][-2:] == ["passage", "passage"]


def test_an_answer_from_a_chunk_is_shown_there_and_not_where_it_also_stands(gold: str, tmp_path: Path) -> None:
    half = HANGUL.index("스물")
    text = HANGUL[half:]
    run = {"q3": ("학자들", text, 0.9, ["학자들은 고려에도 있었다.", text])}
    folder = tmp_path / "run"
    names = {text: "d1", "학자들은 고려에도 있었다.": "d3"}
    write_run(folder, run, names)
    nbest, table = folder / "nbest_predictions.json", folder / "retrieved_passages.csv"
    nbest.write_text(text_of(nbest).replace('"start"', f'"passage_start": {half}, "start"'), encoding="utf-8")
    header, first, second = text_of(table).split("\n")
    table.write_text(f"{header},passage_start\n{first},0\n{second},{half}", encoding="utf-8")
    question = load_gold(gold).filter(lambda row: row["id"] == "q3")
    found = report.read_run("A", str(folder), {"q3": "학자들"}, question, "korquad").findings[0]
    assert found.place is not None and found.place.passage.rank == 2 and found.stage == "sentence"


def test_long_passages_are_cut_around_what_is_marked() -> None:
    text = "가" * 10_000
    assert report.excerpt(text, [(5000, 5003), (5100, 5104)]) == (3500, 6604)
    assert report.excerpt(text, [(2, 4)]) == (0, 1504) and report.excerpt(text, []) == (0, 1500)
    assert report.excerpt("나" * 3000, [(1, 2)]) == (0, 3000)


# ------------------------------------------------------------------------------------------------------------- safety


def test_the_page_asks_for_nothing_and_escapes_every_text(page: str) -> None:
    html = text_of(page)
    assert all(target.startswith(("#", "data:")) for target in re.findall(r'(?:src|href)="([^"]*)"', html))
    assert not re.search(r"https?://|url\(|@import", html)
    assert html.count("<script") == 2 and "<b>제목" not in html  # the data, and what reads them


@pytest.mark.parametrize("content", ["", "[]", "3", '{"oracle_exact_match": NaN}', '{"oracle_exact_match": "x"}'])
def test_metrics_that_are_none_are_said(content: str, gold: str, folders: list[str], tmp_path: Path) -> None:
    shutil.copytree(folders[1], tmp_path / "run")
    (tmp_path / "run" / "metrics.json").write_text(content)
    with pytest.raises(UserError, match=r"metrics\.json: (must hold metrics, among them|is not valid JSON)"):
        report.main([str(tmp_path / "run"), "--gold", gold, "--output", str(tmp_path / "report.html")])
    assert not (tmp_path / "report.html").exists()


def test_halves_of_surrogate_pairs_are_no_answers(gold: str, tmp_path: Path) -> None:
    (tmp_path / "predictions.json").write_text('{"q1": "\\ud800", "q2": "", "q3": "", "q4": "", "q5": "", "q6": ""}')
    with pytest.raises(UserError, match=r"id 'q1': the answer holds half of a surrogate pair"):
        report.main([str(tmp_path), "--gold", gold, "--output", str(tmp_path / "report.html")])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["{empty}"], "has neither metrics.jsonl nor predictions.json: name the folder of a run"),
        (["{a}"], "has predictions, which are shown against gold answers: add --gold"),
        (["{trained}", "--gold", "{gold}"], "--gold would be ignored: none of the folders has predictions.json"),
        (["{a}", "{b}", "{c}", "--gold", "{gold}"], "3 of the folders have predictions.json: at most 2"),
    ],
)
def test_what_is_wrong_with_the_folders(
    words: list[str], complaint: str, gold: str, folders: list[str], tmp_path: Path
) -> None:
    trained, a, b = folders
    c = write_run(tmp_path / "c", A)
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "trained": trained, "a": a, "b": b, "c": c, "gold": gold}
    with pytest.raises(UserError, match=re.escape(complaint)):
        report.main([*(word.format(**places) for word in words), "--output", str(tmp_path / "report.html")])
    assert not (tmp_path / "report.html").exists()


def test_runs_on_other_questions_and_broken_files_are_refused(gold: str, folders: list[str], tmp_path: Path) -> None:
    c = write_run(tmp_path / "c", {name: A[name] for name in ("q1", "q2")})
    words = ["--gold", gold, "--output", str(tmp_path / "report.html")]
    with pytest.raises(DataError, match=r"c/predictions\.json: lacks 4 of the questions that another file answers"):
        report.main([folders[1], c, *words])
    (tmp_path / "c" / "nbest_predictions.json").write_text('{"q1": [{"text": 1}]}')
    with pytest.raises(DataError, match=r"c/nbest_predictions\.json, id 'q1': answer 1 has no text"):
        report.main([c, *words])


def test_flags(capsys: pytest.CaptureFixture[str]) -> None:
    for words, complaint in (
        (["a", "--output", "report.htm"], "--output 'report.htm' must end in .html"),
        (["a", "--metric", "klue"], "--metric would be ignored: nothing is scored without --gold"),
    ):
        with pytest.raises(SystemExit):
            report.parse(words)
        assert complaint in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------ browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as running:
        yield running


def asked(page: Page) -> list[str]:
    """The ids of the questions that are listed."""
    return page.locator("summary .id").all_inner_texts()


def test_the_page_works_in_a_browser(browser: Browser, page: str) -> None:
    with opened(browser, f"file://{page}") as (view, complaints):
        assert view.title().startswith("Report: ")
        assert asked(view) == list(QUESTIONS)
        click: Callable[[str], None] = lambda name: view.get_by_role("button", name=name, exact=True).click()
        for name, expected in {
            "wrong only": ["q1", "q3", "q4", "q5", "q6"],
            "retrieval missed": ["q5"],
            "reader missed": ["q1", "q3", "q4", "q6"],
            "A and B differ": ["q1", "q2"],
            "only A right": ["q2"],
            "only B right": ["q1"],
        }.items():
            click(name)
            assert asked(view) == expected, name
            assert view.locator("#count").inner_text() == f"{len(expected)} of 6 questions"
        click("wrong only")
        view.locator("[name=run]").select_option("B")
        assert asked(view) == ["q2", "q3", "q4", "q5", "q6"]
        view.locator("[name=word]").select_option("몇")
        assert asked(view) == ["q3", "q4"]
        view.locator("[name=text]").fill(" 첨성대 ")
        assert asked(view) == ["q4"]
        click("clear")
        wait_for_count(view.locator("summary"), 6)
        view.locator("#kinds").get_by_role("button", name="too short").click()
        wait_for_count(view.locator("summary"), 1)
        assert asked(view) == ["q4"]
        assert complaints == []


def test_spans_are_marked_and_markup_in_a_passage_stays_text(browser: Browser, page: str) -> None:
    with opened(browser, f"file://{page}") as (view, complaints):
        view.locator("summary", has_text="q4").click()
        passage = view.locator("details[open] .passage p")
        assert passage.inner_text() == SILLA
        assert view.title().startswith("Report: ") and view.locator(".passage script").count() == 0
        marks = view.locator("details[open] mark")
        assert marks.evaluate_all("all => all.map(one => [one.className, one.innerText])") == [
            ["gold answer run0 answer run1", "27"],
            ["gold", "단"],
        ]
        assert view.locator("details[open] h4").inner_text().startswith("<b>제목</b> gold passage; A answers from it")
        view.locator("summary", has_text="q5").click()
        assert view.locator("details[open]").nth(1).locator("mark").all_inner_texts() == ["왕건", "선덕여왕"]
        assert complaints == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_can_be_read_in_both_colour_schemes(
    browser: Browser, page: str, width: int, scheme: str
) -> None:
    with opened(browser, f"file://{page}", width, color_scheme=scheme) as (view, complaints):
        assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
        text, card = (
            view.locator("section").first.evaluate(f"one => getComputedStyle(one).{name}")
            for name in ("color", "backgroundColor")
        )
        brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (text, card)]
        assert abs(brightness[0] - brightness[1]) > 450 and (brightness[1] > 600) is (scheme == "light")
        assert complaints == []
