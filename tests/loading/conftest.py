"""A folder of its own for each test that writes data sets."""

from __future__ import annotations

import pytest


@pytest.fixture
def _work_in(tmp_path, monkeypatch):
    """Relative paths make the error texts the same everywhere."""
    monkeypatch.chdir(tmp_path)
