"""A test run says what it ran on, and runs on the GPU only where it is told to and there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest
import torch
from forking import ROOT, run
from machine import report

from runtime.record import processor

PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}


def test_the_report_names_processor_device_threads_and_versions(device: torch.device) -> None:
    machine, versions = report()
    assert machine.startswith(f"tested on {device.type}: ") and processor() in machine
    assert f"; {torch.get_num_threads()} of torch's threads; --precision auto is " in machine
    assert f"torch {version('torch')}, transformers {version('transformers')}; " in versions


def test_what_only_a_gpu_has_is_skipped_with_one_reason_and_the_machine_is_told() -> None:
    words, environment = [*PYTEST, "-rs", "tests/test_gpu.py"], os.environ | NO_GPU | {"OMP_NUM_THREADS": "2"}
    result = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    skipped = [line for line in result.stdout.splitlines() if line.startswith("SKIPPED")]
    assert skipped and all("needs a GPU: bash script/test.sh --device cuda" in line for line in skipped)
    assert "passed" not in result.stdout and "; 2 of torch's threads; " in result.stdout
    assert f"tested on cpu: {processor()}" in result.stdout


@pytest.mark.parametrize(
    ("device", "complaint"), [("cuda", "there is no CUDA device in sight"), ("tpu", "invalid choi")]
)
def test_a_device_that_is_not_there_is_refused(device: str, complaint: str) -> None:
    result = run(*PYTEST, "--assert=plain", "--device", device, "tests/test_gpu.py", environment=NO_GPU)
    assert result.returncode == pytest.ExitCode.USAGE_ERROR and complaint in result.stderr
