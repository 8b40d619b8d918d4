"""The pins: of everything that the requirements lead to, within their ranges, for every Python that can have them."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from machine import unpinned
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from script import update_constraints

ROOT = Path(__file__).resolve().parents[2]


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]


def pins() -> dict[str, Requirement]:
    return {canonicalize_name(pin.name): pin for pin in requirements("constraints.txt")}


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ({"name": "tqdm", "version": "4.70.1"}, "tqdm==4.70.1"),
        ({"name": "torch", "version": "2.13.0+cpu", "requires_python": ">=3.10"}, "torch==2.13.0"),
        ({"name": "numpy", "version": "2.4.6", "requires_python": ">=3.11"}, 'numpy==2.4.6 ; python_version >= "3.11"'),
        (
            {"name": "networkx", "version": "3.6.1", "requires_python": "!=3.14.1,>=3.11"},
            'networkx==3.6.1 ; python_version >= "3.11"',
        ),
        ({"name": "six", "version": "1.17.0", "requires_python": "!=3.0.*,>=2.7"}, "six==1.17.0"),
    ],
)
def test_a_package_is_pinned_where_its_version_can_be_had(package: dict[str, str], line: str) -> None:
    assert update_constraints.constraint(package) == line


def test_pip_is_asked_what_an_empty_environment_would_get(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("tomllib")  # of Python 3.11
    asked = []

    def run(words: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(words)
        packages = [{"metadata": {"name": name, "version": "1.0"}} for name in ("b", "A", "c")]
        return subprocess.CompletedProcess(words, 0, stdout=json.dumps({"install": packages}).encode())

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(update_constraints, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["c>=1", "A==1.0"]\n[project.optional-dependencies]\nx = ["b<2"]\n'
    )
    update_constraints.main()
    assert {"--dry-run", "--ignore-installed", str(tmp_path / "requirements-dev.txt")} <= set(asked[0])
    assert (tmp_path / "requirements.txt").read_text().splitlines()[1:] == ["A==1.0", "c>=1"]
    assert (tmp_path / "requirements-dev.txt").read_text().splitlines()[1:] == ["-r requirements.txt", "b<2"]
    head, _, *lines = (tmp_path / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"Python {platform.python_version()}" in head
    assert lines == ["A==1.0", "b==1.0", "c==1.0"]


def test_the_requirements_are_those_of_the_project() -> None:
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    contents = update_constraints.requirements(project)
    assert contents.keys() == {"requirements.txt", "requirements-dev.txt"}
    for name, content in contents.items():
        assert (ROOT / name).read_text(encoding="utf-8") == content, f"run script/update_constraints.py for {name}"


def test_everything_that_is_required_is_pinned_within_its_range() -> None:
    pinned = pins()
    required = requirements("requirements.txt") + requirements("requirements-dev.txt")
    assert {"torch", "pytest"} <= {requirement.name for requirement in required}
    for requirement in required:
        (specifier,) = pinned[canonicalize_name(requirement.name)].specifier
        assert specifier.operator == "==" and requirement.specifier.contains(specifier.version), requirement


def test_what_the_requirements_need_is_pinned_too() -> None:
    pinned, seen = pins(), set()
    left = [canonicalize_name(requirement.name) for requirement in requirements("requirements.txt")]
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            needed = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        for requirement in map(Requirement, needed):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                left.append(canonicalize_name(requirement.name))
    # what only a CUDA build of torch needs is pinned by torch itself, what only Python 3.10 needs by nobody
    elsewhere = re.compile(r"nvidia-|cuda-|triton|exceptiongroup|tomli|pytz|six|async-timeout")
    assert {name for name in seen - pinned.keys() if not elsewhere.match(name)} == set()


def test_the_file_can_be_read_by_any_index() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[2:]
    assert len(lines) == len(pins()) > 20
    for line in lines:
        assert re.fullmatch(r'[\w.-]+==[\w.]+( ; python_version >= "3\.\d+")?', line), line


def test_other_versions_than_the_pinned_ones_are_told() -> None:
    torch = distribution("torch").version
    assert unpinned(f"# written\ntorch=={torch.split('+')[0]}\nnot-installed==1.0\n") == []
    assert unpinned('torch==0.1\ntqdm==0.1 ; python_version >= "4"\n') == [f"torch {torch}"]
