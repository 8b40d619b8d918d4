"""Write requirements.txt and requirements-dev.txt from pyproject.toml, and constraints.txt with today's exact versions.

    python3.11 script/update_constraints.py    # then bash script/test.sh, which installs them

Dependencies are edited in pyproject.toml alone. Nothing is installed: pip resolves the requirements as in a fresh
environment. Run it with the Python that most people have, 3.11 or newer: what a version does not support, an older
Python, is left to the ranges of the requirements there.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_OLDEST_PYTHON = (3, 10)


def requirements(project: Mapping[str, Any]) -> dict[str, str]:
    """Return the content of requirements.txt and requirements-dev.txt for the table ``[project]`` of pyproject.toml.

    The second holds every extra besides, so that all tests run.
    """
    head = "# Written by script/update_constraints.py from pyproject.toml.\n"
    extras = {line for extra in project["optional-dependencies"].values() for line in extra}
    return {
        "requirements.txt": head + _lines(project["dependencies"]),
        "requirements-dev.txt": f"{head}-r requirements.txt\n{_lines(extras)}",
    }


def _lines(items: Iterable[str]) -> str:
    return "".join(f"{item}\n" for item in sorted(items, key=str.lower))


def resolve(path: Path) -> list[dict[str, Any]]:
    """Return the metadata of all packages that pip would install for the file ``path`` in an empty environment."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-qq", "--report", "-"]
    report = subprocess.run([*command, "--requirement", str(path)], stdout=subprocess.PIPE, check=True).stdout
    return [package["metadata"] for package in json.loads(report)["install"]]


def constraint(package: Mapping[str, Any]) -> str:
    """Return the line that pins ``package``, for the Python versions that it supports.

    The local part of a version (``2.13.0+cpu``) names a build, which one index has and another has not: it is left out.
    """
    version = package["version"].split("+")[0]
    oldest = re.search(r">=\s*3\.(\d+)", package.get("requires_python") or "")
    marker = f' ; python_version >= "3.{oldest[1]}"' if oldest and (3, int(oldest[1])) > _OLDEST_PYTHON else ""
    return f"{package['name']}=={version}{marker}"


def constraints(packages: Sequence[Mapping[str, Any]]) -> str:
    """Return the content of constraints.txt."""
    head = (
        f"# Written by script/update_constraints.py with Python {platform.python_version()}: the versions that are "
        "tested.\n# The ranges that the project is meant for are in pyproject.toml.\n"
    )
    return head + _lines(map(constraint, packages))


def main() -> None:
    import tomllib  # not in Python 3.10, where tests import this file

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, content in requirements(project).items():
        (ROOT / name).write_text(content, encoding="utf-8")
    (ROOT / "constraints.txt").write_text(constraints(resolve(ROOT / "requirements-dev.txt")), encoding="utf-8")


if __name__ == "__main__":
    main()
