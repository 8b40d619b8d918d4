"""``pip install -e .`` finds everything: what pyproject.toml lists is what lies there, under the licence it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_module_and_folder_is_installed(settings: dict[str, Any]) -> None:
    installed = settings["tool"]["setuptools"]
    assert {path.stem for path in ROOT.glob("*.py")} <= set(installed["py-modules"])
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("[!.]*/**/__init__.py")}
    packages = {".".join(folder.parts) for folder in folders if folder.parts[0] not in ("saved", "outputs", "build")}
    assert packages == set(installed["packages"])


def test_what_is_no_code_is_installed_beside_it(settings: dict[str, Any]) -> None:
    patterns, packages = (settings["tool"]["setuptools"][name] for name in ("package-data", "packages"))
    folders = {package: ROOT.joinpath(*package.split(".")) for package in packages}
    for package, folder in folders.items():
        inside = [path for path in folder.rglob("*.*") if path.suffix not in (".py", ".pyc")]
        others = {path for path in inside if path.parent == folder or path.parent not in folders.values()}
        assert others == {path for pattern in patterns.get(package, []) for path in folder.glob(pattern)}


def test_the_licence_and_the_first_page_are_there(settings: dict[str, Any]) -> None:
    project = settings["project"]
    assert project["license"] == "MIT"
    assert (ROOT / project["readme"]).is_file()
    (licence,) = project["license-files"]
    assert (ROOT / licence).read_text(encoding="utf-8").startswith("MIT License\n\nCopyright (c)")


def test_extras_add_to_the_dependencies(settings: dict[str, Any]) -> None:
    project = settings["project"]
    names = {"mecab", "elastic", "milvus", "multi", "openvino", "demo", "plot", "sweep", "dev"}
    assert set(project["optional-dependencies"]) == names
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    assert not set(extras) & set(project["dependencies"]) and len(extras) == len(set(extras))
