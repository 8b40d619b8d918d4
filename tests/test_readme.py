"""The pages tell the truth: their Python runs, what they name exists, and both languages say the same."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest

import retrieve
from arguments import RetrieverArguments
from loading.examples import load_examples
from models import load_reader
from models.heads import HEADS
from reading.augmentation import AUGMENTATIONS
from retrieval import RETRIEVERS
from retrieval.analyzers import ANALYZERS
from runtime.flags import COMMANDS, fields_by_name, flag_of, spelling_of

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/ko/*.md"))
)
READMES = ["README.md", "README.ko.md"]
# A page and the same page in Korean.
PAIRS = [READMES, *([page.replace("docs/ko/", "docs/"), page] for page in PAGES if page.startswith("docs/ko/"))]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str, language: str) -> list[str]:
    """The fenced blocks of a page that are marked with ``language``."""
    return re.findall(rf"```{language}\n(.*?)```", text_of(page), flags=re.DOTALL)


def anchors_of(page: str) -> set[str]:
    """What a link can name in a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_comments(shell: str) -> list[str]:
    return [line.split("    #")[0] for line in shell.splitlines() if not line.startswith("#")]


# ------------------------------------------------------------------------------------------------------------ examples


@pytest.mark.parametrize("readme, api", [("README.md", "docs/api.md"), ("README.ko.md", "docs/ko/api.md")])
def test_the_python_examples_run(
    readme: str,
    api: str,
    encoder_path: str,
    trained_reader: str,
    dataset_path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = []
    for code in (*blocks_of(readme, "python"), *blocks_of(api, "python")):
        code = code.replace("saved/e5-small-ko", encoder_path).replace("data/mini_wiki", dataset_path)
        code = code.replace("saved/quickstart", trained_reader)
        code = code.replace("max_seq_len=384, stride_len=128", "max_seq_len=128, stride_len=16")
        exec(compile(code, readme, "exec"), {})
        outputs.append(capsys.readouterr().out)
    training, reading, heads, answering, retrieval = outputs
    assert re.match(r"\d+\.\d+ \{'exact_match': .*\n\{'id': .*'prediction_text': .*\n\{'id': .*'answers': ", reading)
    assert "eval_exact_match" in training
    assert re.search(r"^cnn \{.*'max_seq_len': 128.*\}$", training, flags=re.MULTILINE)
    assert load_reader("saved/notebook/best", trained=True).config.reader_head["dropout"] == 0.1
    assert "'cnn_sds'" in heads and "'repeats': 3" in heads
    assert re.fullmatch(r"\S.*\n([01]\.\d\d \S.* \(\S+, .*\d.*\)\n){3}", answering)
    assert re.fullmatch(r"(\d+\.\d\d \S.*\n){3}", retrieval)


@pytest.mark.parametrize("page", ["docs/data.md", "docs/ko/data.md"])
def test_the_smallest_data_set_can_be_read(page: str, tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(blocks_of(page, "json")[0], encoding="utf-8")
    (example,) = load_examples(str(tmp_path), ["train"])["train"]
    assert example["answers"]["text"][0] in example["context"]
    assert set(json.loads(blocks_of(page, "json")[1])) == {"id", "title", "text"}


@pytest.mark.parametrize("page", ["docs/retrieval.md", "docs/ko/retrieval.md"])
def test_the_configuration_file_is_understood(page: str, tmp_path: Path) -> None:
    (tmp_path / "flags.yaml").write_text(blocks_of(page, "yaml")[0], encoding="utf-8")
    hybrid = "HybridRetrieval,hybrid_retrievers=SparseRetrieval_BM25P+DenseRetrieval,fusion_weights=0.4+0.6"
    expected = retrieve.parse(["--retriever_type", "SparseRetrieval_BM25P", hybrid])
    assert retrieve.parse(["--config", str(tmp_path / "flags.yaml")]) == expected


@pytest.mark.parametrize("name", READMES)
def test_every_command_has_its_example(name: str) -> None:
    commands = {path.name for path in ROOT.glob("*.py") if 'if __name__ == "__main__"' in path.read_text("utf-8")}
    shell = "".join(blocks_of(name, "bash")).replace("\\\n", " ")
    assert commands <= set(re.findall(r"^python (\w+\.py) .", shell, flags=re.MULTILINE))
    for line in without_comments(shell):
        shlex.split(line)
    assert len(text_of(name).splitlines()) <= 300


# ------------------------------------------------------------------------------------------------------- names, links


@pytest.mark.parametrize(
    ("page", "flag", "values"),
    [
        ("heads.md", "head", HEADS),
        ("training.md", "augment", AUGMENTATIONS),
        ("retrieval.md", "retriever_type", [*RETRIEVERS, "get_retrieved_df", "none"]),
        ("retrieval.md", "analyzer", ANALYZERS),
        ("milvus.md", "milvus_vectors", flag_of(fields_by_name(RetrieverArguments)["milvus_vectors"]).choices),
    ],
)
@pytest.mark.parametrize("folder", ["docs", "docs/ko"])
def test_the_tables_name_what_there_is(folder: str, page: str, flag: str, values: Iterable[str]) -> None:
    """What is new is listed by docs/flags.md; here a row explains a value, and its value exists."""
    text = text_of(f"{folder}/{page}")
    (table,) = re.findall(rf"^\| `--{flag}` \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    first_cells = " ".join(line.split("|")[1] for line in table.splitlines())
    named = re.findall(r"`(\w+)`", first_cells)
    assert named and set(named) <= set(values)


@pytest.mark.parametrize("page", ["docs/coming_from_the_baseline.md", "docs/ko/coming_from_the_baseline.md", *READMES])
def test_what_is_named_in_the_place_of_the_baseline_exists(page: str) -> None:
    rows = re.findall(r"^\|(.*)\|(.*)\|$", text_of(page), flags=re.MULTILINE)
    here = " ".join(second for first, second in rows if "`" in first)
    fields = [field for command in COMMANDS.values() for field in fields_by_name(command).values()]
    known = {name for field in fields for name in (spelling_of(field), *flag_of(field).aliases)}
    named = set(re.findall(r"--(\w+)", here))
    assert len(named) >= 7 and named <= known


@pytest.mark.parametrize("page", PAGES)
def test_pages_headings_and_files_that_are_named_exist(page: str) -> None:
    text = text_of(page)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        linked = ((ROOT / page).parent / file).resolve() if file else ROOT / page
        assert linked.is_file(), target
        assert not anchor or anchor in anchors_of(str(linked.relative_to(ROOT))), target
    folders = "|".join(path.parent.name for path in ROOT.glob("*/__init__.py"))
    files = re.findall(rf"(?<![\w/.])(?:script|tests|benchmarks|{folders})/[\w/]+\.(?:sh|py)", text)
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_every_page_can_be_reached_from_the_first() -> None:
    reached, left = set(), ["README.md"]
    while left:
        if (page := left.pop()) not in reached:
            reached.add(page)
            targets = re.findall(r"\]\(([^)\s#]+\.md)", text_of(page))
            paths = [((ROOT / page).parent / target).resolve() for target in targets]
            left += [str(path.relative_to(ROOT)) for path in paths]
    assert set(PAGES) <= reached


# ----------------------------------------------------------------------------------------------------- both languages


@pytest.mark.parametrize("pages", PAIRS, ids=[pair[1] for pair in PAIRS])
def test_both_languages_have_the_same_commands_sections_and_rows(pages: list[str]) -> None:
    texts = [text_of(page) for page in pages]
    for language in ("bash", "yaml"):
        first, second = ([without_comments(block) for block in blocks_of(page, language)] for page in pages)
        assert first == second
    for pattern in (r"^```\w*$", r"^#{1,3} ", r"^\|(?=[^-])", r"^- "):
        first, second = (re.findall(pattern, text, flags=re.MULTILINE) for text in texts)
        assert first == second, pattern
    assert Path(pages[1]).name in texts[0].splitlines()[2] and Path(pages[0]).name in texts[1].splitlines()[2]
