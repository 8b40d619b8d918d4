"""What CONTRIBUTING.md promises: an addition is its declaration beside its code, a line in a registry, and a test.

Each is made in a copy of the project, in so many places of the product, and used there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("loading", "models", "reading", "retrieval", "runtime", "training")


class Copy:
    """A copy of the product's code, and the places that were touched in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places: list[str] = []
        for name in PRODUCT:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in ROOT.glob("*.py"):
            shutil.copy(path, folder)

    def insert(self, file: str, before: str, text: str) -> None:
        """Write ``text`` before the only occurrence of ``before`` in ``file``."""
        content = (self.folder / file).read_text(encoding="utf-8")
        assert content.count(before) == 1, (file, before)
        (self.folder / file).write_text(content.replace(before, text + before), encoding="utf-8")
        self.places.append(file)

    def add(self, file: str, text: str) -> None:
        """Write a file that was not there."""
        assert not (self.folder / file).exists()
        (self.folder / file).write_text(text, encoding="utf-8")
        self.places.append(file)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *words], cwd=self.folder, capture_output=True, text=True)

    def check(self, code: str) -> None:
        """Run ``code``, whose assertions must hold, in the copy."""
        result = self.run("-c", code)
        assert result.returncode == 0, result.stderr


@pytest.fixture
def project(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "project")


def test_a_flag_of_a_retriever(project: Copy) -> None:
    bm25 = "retrieval/bm25.py"
    project.insert(bm25, "    bm25_backend: str", '    bm25_bonus: float = flag(0.0, "Added to b.", at_least=0)\n')
    project.insert(
        bm25,
        "        return cls(analyzer_of(",
        "        weights = (weights[0], weights[1] + arguments.bm25_bonus, weights[2])\n",
    )
    assert len(project.places) == 2
    project.check(
        "from arguments import *\nfrom retrieval import create_retriever\n"
        "args = parse_arguments(InferenceArguments, '--do_predict --bm25_bonus 0.125 --analyzer bigram'.split())\n"
        "assert create_retriever(args).b == 0.875\n"
        "args = RetrieverArguments(retriever_type='SparseRetrieval_BM25P,bm25_bonus=0.25,analyzer=bigram')\n"
        "assert create_retriever(args).b == 1.0"
    )
    refused = project.run("inference.py", "--do_predict", "--bm25_bonus", "1", "--retriever_type", "DenseRetrieval")
    assert "--bm25_bonus would be ignored: only --retriever_type SparseRetrieval_BM25P reads it" in refused.stderr
    assert "--bm25_bonus" in project.run("retrieve.py", "--help").stdout


def test_a_head_with_a_parameter(project: Copy) -> None:
    project.add(
        "models/heads/wide.py",
        '"""A wide head."""\n\nfrom models.heads.convolution import MaskedConvolution\n'
        "from models.heads.parts import SpanHead\n"
        "\n\nclass Wide(SpanHead):\n"
        '    """One wide convolution."""\n\n'
        "    def __init__(self, hidden_size, dropout, width=8):\n"
        "        super().__init__(dropout, MaskedConvolution(hidden_size, width, kernel_size=7))\n",
    )
    project.insert(
        "models/heads/__init__.py",
        '    "cnn": Head(',
        '    "wide": Head("wide.Wide", declared("reader", head_width=(int | None, flag(None, "W.", at_least=1)))),\n',
    )
    assert len(project.places) == 2
    project.check(
        "from arguments import *\nfrom models.heads import default_parameters, head_class\n"
        "from models.reader import head_parameters\n"
        "args = parse_arguments(TrainMRCArguments, ['--head', 'wide', '--head_width', '32'])\n"
        "assert head_parameters(args)['width'] == 32 and default_parameters('wide') == {'width': 8}\n"
        "assert head_class('wide')(16, 0.0, width=32).logits.linear.in_features == 32"
    )
    refused = project.run("train_mrc.py", "--head", "lstm", "--head_width", "3")
    assert "--head_width would be ignored: only --head wide reads it" in refused.stderr


def test_a_retriever(project: Copy) -> None:
    project.add(
        "retrieval/first.py",
        '"""The first passages."""\n\nimport numpy as np\n\nfrom retrieval.base import IndexArguments, SearchResults\n'
        "from runtime.flags import flag, flag_group\n\n\n"
        '@flag_group("first")\nclass FirstArguments(IndexArguments):\n    """Its flags."""\n\n'
        '    first_row: int = flag(0, "Where to begin.", at_least=0)\n\n\n'
        'class FirstRetrieval:\n    """The passages from a row on."""\n\n'
        '    name = "FirstRetrieval"\n    libraries = ()\n    flags = FirstArguments\n\n'
        "    def __init__(self, row):\n        self.row = row\n\n"
        "    @classmethod\n    def from_arguments(cls, arguments, default_tokenizer):\n"
        "        return cls(arguments.first_row)\n\n"
        "    def search(self, questions, k):\n"
        "        ids = np.arange(self.row, self.row + k)[None].repeat(len(questions), 0)\n"
        "        return SearchResults(ids, -ids.astype(np.float32))\n",
    )
    registry = "retrieval/__init__.py"
    project.insert(registry, "from retrieval.hybrid import", "from retrieval.first import FirstRetrieval\n")
    project.insert(registry, "        SparseRetrieval_TFIDF,\n", "        FirstRetrieval,\n")
    assert set(project.places) == {"retrieval/first.py", registry}
    project.check(
        "from arguments import *\nfrom retrieval import create_retriever\n"
        "args = parse_arguments(RetrieveArguments, ['--retriever_type', 'FirstRetrieval,first_row=3'])\n"
        "retriever = create_retriever(part_of(args, RetrieverArguments, retriever_type=args.retriever_type[0]))\n"
        "assert retriever.search(['a', 'b'], 2).ids.tolist() == [[3, 4], [3, 4]]"
    )
    assert "FirstRetrieval" in project.run("inference.py", "--help", "retriever").stdout


def test_an_augmentation_with_a_parameter(project: Copy) -> None:
    file = "reading/augmentation.py"
    project.insert(
        file,
        '    "mask_word": Augmentation(',
        '    "shout": Augmentation(\n'
        '        question=lambda question, rng, material: question + "!" * 2,\n'
        '        flags=declared("augmentation", shout_marks=(int, flag(1, "Marks.", at_least=1))),\n    ),\n',
    )
    assert len(project.places) == 1
    project.check(
        "from arguments import *\nfrom reading.augmentation import AUGMENTATIONS, augmentation_names\n"
        "args = parse_arguments(TrainMRCArguments, ['--augment', 'shout', '--shout_marks', '3'])\n"
        "assert augmentation_names(args.augment) == ['shout'] and args.shout_marks == 3\n"
        "assert AUGMENTATIONS['shout'].question('누구', None, None) == '누구!!' and AUGMENTATIONS['shout'].drawn"
    )
    refused = project.run("train_mrc.py", "--shout_marks", "3")
    assert "--shout_marks would be ignored: only --augment shout reads it" in refused.stderr
    assert "shout" in project.run("train_mrc.py", "--help", "augmentation").stdout


def test_an_answer_rule(project: Copy) -> None:
    file = "reading/postprocessing.py"
    project.insert(
        file,
        "class Rule(NamedTuple):",
        "def first_word(passage, start, end):\n"
        '    """Leave only the first word."""\n'
        '    return start, start + len(passage.text[start:end].split(" ")[0])\n\n\n',
    )
    project.insert(file, '    "nested": Rule(', '    "first_word": Rule(borders=first_word),\n')
    assert len(project.places) == 2
    project.check(
        "import numpy as np\nfrom datasets import Dataset\nfrom arguments import *\n"
        "from reading.answers import find_answers\n"
        "args = parse_arguments(InferenceArguments, ['--do_predict', '--postprocess', 'first_word'])\n"
        "settings = part_of(args, DatasetArguments, max_ans_len=9, n_best_size=1)\n"
        "passage = {'document_id': 'd', 'rank': 1, 'start': 0, 'score': 0.0}\n"
        "examples = Dataset.from_list([{'id': 'q', 'context': 'ab cdef', 'passages': [passage]}])\n"
        "spans = {'offset_mapping': [None, [0, 2], [3, 7]]}\n"
        "features = Dataset.from_list([{'example_index': 0, 'cls_index': 0} | spans])\n"
        "logits = np.array([[0.0, 9.0, 1.0]]), np.array([[0.0, 1.0, 9.0]])\n"
        "assert find_answers(examples, features, logits, settings)['q'][0].text == 'ab'\n"
        "settings = DatasetArguments(max_ans_len=9, postprocess='none')\n"
        "assert find_answers(examples, features, logits, settings)['q'][0].text == 'ab cdef'"
    )
    assert "first_word" in project.run("ask.py", "--help", "reading").stdout


def test_a_metric(project: Copy) -> None:
    file = "reading/metrics.py"
    project.insert(
        file,
        "class Metric(NamedTuple):",
        "def same_start(prediction, gold):\n"
        '    """1 if both begin alike."""\n'
        "    return float(prediction[:1] == gold[:1])\n\n\n",
    )
    project.insert(file, '    "klue": Metric(', '    "start": Metric(normalize_korean, same_start, "same_start"),\n')
    assert len(project.places) == 2
    project.check(
        "from arguments import *\nfrom reading.metrics import mean_scores\n"
        "assert mean_scores({'a': '세종'}, {'a': ['세조']})['start_same_start'] == 100.0\n"
        "args = parse_arguments(ScoreArguments, '--gold a --predictions b --metric start'.split())\n"
        "assert args.metric == 'start'"
    )
