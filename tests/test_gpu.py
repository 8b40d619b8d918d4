"""What only exists on a GPU: fp16 and its loss scaler, bf16 and fp16 beside fp32, pinned memory, CUDA's random numbers.

Run by ``bash script/test.sh --device cuda``, which also runs all other tests there.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from comparing import PROPORTIONAL_STEPS, assert_close, assert_equal_weights, close_to, weights
from forgetting import forget_accelerator
from killing import kill_and_resume
from overflowing import overflow_once
from transformers import TrainingArguments

import train_dpr
import train_mrc
import train_mrc_v2
import train_reranker
from arguments import DatasetArguments, OptimizationArguments
from models import load_reader, load_tokenizer
from models.heads import HEADS
from processor import QAProcessor
from reading.batching import FeatureCollator
from reading.fitting import fit_reading, try_training
from reading.logits import read_features
from runtime.device import free_memory
from runtime.errors import UserError
from runtime.files import read_json
from runtime.fitting import largest_that_fits, memory_for
from runtime.tracking import read_metrics
from trainer_qa import QATrainer
from training.checkpoint import BestCheckpoints, Progress, find_state, load_state, save_state
from training.cuda_graphs import CudaGraphs
from training.optimization import make_optimizer, make_scheduler

pytestmark = pytest.mark.gpu
COMMANDS = {"loop": (train_mrc.main, []), "trainer": (train_mrc_v2.main, ["--do_train"])}
# of a loss near 5, 1 in a hundred: bf16 has 8 bits of precision, fp16 11
ROUNDED = 0.01


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(run / "metrics.jsonl") if "loss" in line]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("command", COMMANDS)
def test_half_precision_trains_as_fp32_does_and_keeps_weights_in_full(
    training_command: list[str], tmp_path: Path, command: str, precision: str
) -> None:
    main, flags = COMMANDS[command]
    words = [*training_command, *flags, "--backbone_dropout", "0", "--do_eval", "--eval_steps", "6"]
    for name in ("fp32", precision):
        main([*words, "--precision", name, "--output_dir", str(tmp_path / name)])
        forget_accelerator()
    full, half = losses(tmp_path / "fp32"), losses(tmp_path / precision)
    assert half == pytest.approx(full, rel=0.1) and half[0] == pytest.approx(full[0], rel=ROUNDED)
    assert half[-1] < half[0] and half != full
    assert {value.dtype for value in weights(tmp_path / precision / "best").values()} == {torch.float32}
    environment = read_json(tmp_path / precision / "environment.json")
    assert environment["precision"] == precision and environment["device"] == torch.cuda.get_device_name()


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--backbone_dropout", "0.1", "--gradient_accumulation_steps", "2"],
        ["--freeze_pretrained_weight", "first", "--freeze_embedding_layer_weight", "True"],
        ["--freeze_pretrained_weight", "last"],
        ["--head", "cnn_sds", "--max_grad_norm", "0"],
        ["--head", "lstm"],
        *(["--head", head] for head in ("cnn", "attention_cnn", "multi_head_attention", "start_conditioned_end")),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recorded_steps_compute_what_launched_ones_do(
    training_command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], precision: str
) -> None:
    """As far as rounding goes: where dropout is on, its random numbers are the same."""
    words = [*training_command, "--num_train_epochs", "4", "--precision", precision, *flags, *PROPORTIONAL_STEPS]
    recorded: list[Any] = []
    record = CudaGraphs._record
    monkeypatch.setattr(CudaGraphs, "_record", lambda *given: recorded.append(given) or record(*given))
    train_mrc.main([*words, "--output_dir", str(tmp_path / "recorded")])
    forget_accelerator()
    assert bool(recorded) == ("lstm" not in flags)
    monkeypatch.setattr("training.loop.can_record", lambda *_: False)
    train_mrc.main([*words, "--output_dir", str(tmp_path / "launched")])
    rounding = {"fp32": 1e-4, "bf16": 1e-2}[precision]
    assert losses(tmp_path / "recorded") == pytest.approx(losses(tmp_path / "launched"), rel=rounding)
    assert_equal_weights(tmp_path / "recorded" / "best", tmp_path / "launched" / "best", atol=rounding)


def test_auto_is_bf16_where_the_gpu_computes_it(training_command: list[str], tmp_path: Path) -> None:
    index = training_command.index("--precision")
    train_mrc.main([*training_command[:index], *training_command[index + 2 :], "--max_train_samples", "4"])
    native = torch.cuda.get_device_capability() >= (8, 0)
    assert read_json(tmp_path / "run" / "environment.json")["precision"] == ("bf16" if native else "fp32")


def test_a_step_of_fp16_that_overflows_is_skipped_and_the_run_goes_on(
    training_command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overflow_once(monkeypatch)
    train_mrc.main([*training_command, "--precision", "fp16", "--warmup_ratio", "0"])
    rates = [line["learning_rate"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert rates == pytest.approx([1e-3, *(1e-3 * (12 - step) / 12 for step in range(11))])
    (state,) = (tmp_path / "run" / "resume").iterdir()
    assert read_json(state / "state.json")["scaler"]["scale"] == 2.0**15  # half of what it begins with
    assert all(value.isfinite().all() for value in weights(tmp_path / "run" / "best").values())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_killed_and_resumed_gives_the_same_weights(
    training_command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """With dropout, whose random numbers are CUDA's."""
    command = [*training_command, "--do_eval", "--eval_steps", "4", "--precision", precision, *PROPORTIONAL_STEPS]
    train_mrc.main([*command, "--output_dir", str(tmp_path / "undisturbed")])
    kill_and_resume(train_mrc.main, command, monkeypatch, train_mrc, "train_step", 7, saved=4)
    rounding = {"fp32": 1e-5, "bf16": 1e-3, "fp16": 1e-3}[precision]
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "undisturbed"), rel=rounding)
    for name in ("best", "resume/step-00000012"):
        assert_equal_weights(tmp_path / "run" / name, tmp_path / "undisturbed" / name, atol=rounding)


def test_a_state_restores_the_random_numbers_of_cuda_and_the_moments_on_it(
    tmp_path: Path, device: torch.device
) -> None:
    def training(seed: int) -> tuple[Any, ...]:
        torch.manual_seed(seed)
        model = torch.nn.Linear(4, 4).to(device)
        optimizer = make_optimizer(model.named_parameters(), OptimizationArguments(), "encoder")
        model(torch.ones(1, 4, device=device)).sum().backward()
        optimizer.step()
        return model, optimizer, make_scheduler(optimizer, OptimizationArguments(), 9)

    saved = training(seed=1)
    save_state(tmp_path, Progress(1), BestCheckpoints(), *saved)
    drawn = torch.rand(5, device=device)
    restored = training(seed=2)
    torch.rand(7, device=device)
    load_state(find_state(tmp_path, "true"), *restored)
    assert torch.equal(torch.rand(5, device=device), drawn)
    for values, expected in zip(restored[1].state.values(), saved[1].state.values(), strict=True):
        assert values["exp_avg"].device == expected["exp_avg"].device == saved[0].weight.device
        assert torch.equal(values["exp_avg"], expected["exp_avg"])


@pytest.fixture
def qa_processor(encoder_path: str, dataset_path: str, tmp_path: Path) -> QAProcessor:
    arguments = DatasetArguments(dataset_path=dataset_path, max_seq_len=128, stride_len=16, cache_dir=str(tmp_path))
    return QAProcessor(arguments, load_tokenizer(encoder_path))


@pytest.mark.parametrize("head", HEADS)
def test_a_reader_reads_on_the_gpu_as_on_the_cpu(
    encoder_path: str, qa_processor: QAProcessor, device: torch.device, head: str
) -> None:
    model, features = load_reader(encoder_path, head), qa_processor.get_eval_features()
    on_cpu, on_gpu = (
        read_features(model.to(place), features, FeatureCollator(model, qa_processor.tokenizer), 4, "fp32")
        for place in ("cpu", device)
    )
    assert on_gpu.loss == close_to(on_cpu.loss)
    for found, expected in zip(on_gpu.predictions, on_cpu.predictions, strict=True):
        assert_close(found, expected)


def test_the_batch_that_fits_is_found(encoder_path: str, qa_processor: QAProcessor, device: torch.device) -> None:
    model = load_reader(encoder_path).to(device)
    collator = FeatureCollator(model, qa_processor.tokenizer)
    args = SimpleNamespace(per_device_eval_batch_size="auto", max_seq_len=128)
    assert fit_reading(args, model, collator, "fp32") == 2**16 // 128  # a small model
    attempt = partial(try_training, model, collator, 128, "fp32")
    free_memory()
    torch.cuda.set_per_process_memory_fraction(2**29 / torch.cuda.mem_get_info()[1])  # half a GiB
    try:
        size = largest_that_fits(attempt, 2**14)
        attempt(size)
        with pytest.raises(UserError, match=r"there is not enough memory .*: lower --batch"), memory_for("--batch"):
            attempt(2**14)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        free_memory()
    assert 1 < size < 2**14
    assert all(weight.grad is None for weight in model.parameters())


def test_batches_of_the_trainer_come_through_pinned_memory(
    encoder_path: str, qa_processor: QAProcessor, tmp_path: Path
) -> None:
    trainer = QATrainer(
        model=load_reader(encoder_path),
        args=TrainingArguments(str(tmp_path / "run"), per_device_train_batch_size=4, report_to="none"),
        train_dataset=qa_processor.get_train_features(),
        processing_class=qa_processor.tokenizer,
    )
    loader = trainer.get_train_dataloader()
    assert loader.pin_memory
    batches = list(loader)
    assert len(batches) == 3 and {values.device.type for batch in batches for values in batch.values()} == {"cuda"}


def test_retriever_and_reranker_train_in_fp16(encoder_path: str, dataset_path: str, tmp_path: Path) -> None:
    shared = ["--dataset_path", dataset_path, "--index_dir", str(tmp_path / "index"), "--analyzer", "bigram"]
    shared += ["--precision", "fp16", "--logging_steps", "1", "--max_steps", "4"]
    dense = ["--dpr_model", encoder_path, "--retriever_dir", str(tmp_path / "dense"), "--passage_max_len", "64"]
    train_dpr.main([*shared, *dense, "--dpr_train_batch", "6", "--chunk_size", "2"])
    forget_accelerator()
    rerank = ["--reranker_model", encoder_path, "--output_dir", str(tmp_path / "rerank"), "--reranker_max_len", "128"]
    train_reranker.main([*shared, *rerank, "--do_eval", "--rerank_depth", "3", "--eval_steps", "2"])
    for folder in ("dense/p_encoder", "dense/q_encoder", "rerank/best"):
        assert all(value.isfinite().all() for value in weights(tmp_path / folder).values())
    assert all(torch.tensor(losses(tmp_path / name)).isfinite().all() for name in ("dense", "rerank"))
