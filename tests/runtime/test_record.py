"""The record of a run is plain JSON that says what it ran with."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from runtime import record


def test_versions_device_seed_and_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["somewhere/odqa/train_mrc.py", "--seed", "7"])
    kept = record.environment(torch.device("cpu"), "bf16", 7)
    assert json.loads(json.dumps(kept)) == kept
    assert kept["python"] == platform.python_version()
    assert kept["packages"]["torch"] == version("torch")
    assert kept["command"] == ["train_mrc.py", "--seed", "7"]
    assert (kept["device"], kept["precision"], kept["seed"]) == ("cpu", "bf16", 7)
    assert kept["threads"] == torch.get_num_threads()
    assert kept["processor"] == record.processor()


@pytest.mark.parametrize(
    ("cpuinfo", "capabilities", "expected"),
    [
        ("processor : 0\nmodel name\t: AMD EPYC\n", {"avx512_bf16": True}, "AMD EPYC, 2 cores, avx512_bf16"),
        ("model name : Xeon\n", {"avx512_bf16": True, "amx_bf16": True}, "Xeon, 2 cores, amx_bf16 and avx512_bf16"),
        ("CPU part : 0xd0c\n", {"amx_bf16": False}, "aarch64, 2 cores, no native bf16"),
        (None, {}, "aarch64, 2 cores, no native bf16"),
    ],
)
def test_the_processor_is_named_with_what_decides_the_precision(
    monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None, capabilities: dict[str, bool], expected: str
) -> None:
    def read_text(path: Path, **_: object) -> str:
        assert str(path) == "/proc/cpuinfo"
        if cpuinfo is None:
            raise FileNotFoundError
        return cpuinfo

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert record.processor() == expected


def test_secrets_of_the_command_line_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--hub_token", "s3cr3t", "--elastic_url=https://me:s3cr3t@host", "--seed", "7"]
    monkeypatch.setattr(sys, "argv", ["train_mrc_v2.py", *words])
    kept = record.environment(torch.device("cpu"), "fp32", 7)["command"]
    assert kept == ["train_mrc_v2.py", "--hub_token", "***", "--elastic_url=https://***@host", "--seed", "7"]


def test_a_package_that_is_not_there_is_recorded_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_PACKAGES", ("torch", "no-such-package"))
    packages = record.environment(torch.device("cpu"), "fp32", 0)["packages"]
    assert packages == {"torch": version("torch"), "no-such-package": None}


def test_a_gpu_is_recorded_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    assert record.environment(torch.device("cuda"), "bf16", 0)["device"] == "NVIDIA H100"


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (None, "abc123-dirty"),
        (FileNotFoundError(), None),
        (subprocess.CalledProcessError(128, "git"), None),
        (subprocess.TimeoutExpired("git", 10), None),
    ],
)
def test_the_revision_is_gits_or_unknown(
    monkeypatch: pytest.MonkeyPatch, failure: Exception | None, expected: str | None
) -> None:
    def run(words: list[str], **options):
        assert words[:2] == ["git", "describe"]
        if failure:
            raise failure
        return subprocess.CompletedProcess(words, 0, stdout="abc123-dirty\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert record.environment(torch.device("cpu"), "fp32", 0)["code"] == expected
