"""QATrainer on a tiny model: its loss, order and reading are train_mrc.py's; callbacks freeze and stop at the step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import assert_same_training, assert_same_weights, close_to
from datasets import Dataset
from squad_metrics import SquadMetric
from tiny_models import tiny_bert
from transformers import (
    DebertaV2Config,
    DebertaV2ForQuestionAnswering,
    ElectraConfig,
    ElectraForQuestionAnswering,
    PreTrainedModel,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)

from arguments import DatasetArguments
from models import load_reader, load_tokenizer
from models.span_loss import span_loss
from processor import QAProcessor
from reading.batching import FeatureCollator, LengthGroupedBatches
from reading.logits import read_features
from reading.metrics import compute_metrics
from reading.postprocessing import DEFAULT_RULES
from runtime.errors import UserError
from trainer_qa import (
    FreezeBackboneCallback,
    FreezeCallback,
    FreezeEmbeddingCallback,
    QATrainer,
    StopEarlyCallback,
    evaluations,
)


@pytest.fixture
def qa_processor(encoder_path: str, dataset_path: str, tmp_path: Path) -> QAProcessor:
    """12 training and 6 evaluation examples of one window each."""
    dataset_args = DatasetArguments(
        dataset_path=dataset_path, max_seq_len=128, stride_len=16, cache_dir=str(tmp_path / "cache")
    )
    return QAProcessor(dataset_args, load_tokenizer(encoder_path))


@pytest.fixture
def make_trainer(
    qa_processor: QAProcessor, encoder_path: str, tmp_path: Path, device: torch.device
) -> Callable[..., QATrainer]:
    """Trainers of the same reader: batches of 4, so 3 steps an epoch; no dropout."""

    def make(callbacks: list[TrainerCallback] | None = None, **arguments: Any) -> QATrainer:
        torch.manual_seed(0)
        flags = {
            "output_dir": str(tmp_path / "run"),
            "per_device_train_batch_size": 4,
            "num_train_epochs": 3,
            "learning_rate": 1e-3,
            "lr_scheduler_type": "constant",
            "logging_steps": 1,
            "save_strategy": "no",
            "use_cpu": device.type == "cpu",
            "disable_tqdm": True,
        }
        return QATrainer(
            model=load_reader(encoder_path, backbone_dropout=0.0),
            args=TrainingArguments(**flags | arguments),
            train_dataset=qa_processor.get_train_features(),
            eval_dataset=qa_processor.get_eval_features(),
            eval_examples=qa_processor.get_eval_examples(),
            post_process_function=qa_processor.post_processing_function,
            compute_metrics=compute_metrics,
            callbacks=callbacks,
        )

    return make


def losses(trainer: QATrainer) -> list[float]:
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


# -------------------------------------------------------------------------------------------------- loss and order


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_first_loss_is_the_span_loss_of_the_first_batch(
    make_trainer: Callable[..., QATrainer], qa_processor: QAProcessor, smoothing: float
) -> None:
    trainer = make_trainer(max_steps=1, label_smoothing_factor=smoothing)
    features = qa_processor.get_train_features()
    rows = next(iter(LengthGroupedBatches(features["length"], 4, seed=42)))
    batch = FeatureCollator(trainer.model, qa_processor.tokenizer)([features[row] for row in rows])
    batch = {name: values.to(trainer.model.device) for name, values in batch.items()}
    with torch.no_grad():
        inputs = {name: batch[name] for name in qa_processor.tokenizer.model_input_names}
        outputs = trainer.model.eval()(**inputs)
        labels = {name: batch[name] for name in ("start_positions", "end_positions", "answer_mask")}
        expected = span_loss(outputs.start_logits, outputs.end_logits, **labels, label_smoothing=smoothing).item()
    trainer.train()
    assert losses(trainer) == close_to([expected])


def test_smoothing_changes_the_training_loss_as_the_formula_says_and_the_eval_loss_not(
    make_trainer: Callable[..., QATrainer],
) -> None:
    first = {e: make_trainer(max_steps=1, learning_rate=1e-12, label_smoothing_factor=e) for e in (0.0, 0.2, 0.4)}
    for trainer in first.values():
        trainer.train()
    plain, some, more = (losses(trainer)[0] for trainer in first.values())
    assert some != pytest.approx(plain, rel=1e-4)
    assert more - plain == pytest.approx(2 * (some - plain), rel=1e-3)  # linear in the factor
    evaluated = [trainer.evaluate()["eval_loss"] for trainer in first.values()]
    assert evaluated == close_to([evaluated[0]] * 3)


class Recorder(TrainerCallback):
    """Keeps a copy of the weights before training and after every optimizer step, and what the optimizer holds."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []
        self.held: set[int] = set()

    def _record(self, model: PreTrainedModel) -> None:
        self.weights.append({name: weight.detach().clone() for name, weight in model.named_parameters()})

    def on_train_begin(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        self._record(run["model"])
        self.held = {id(weight) for group in run["optimizer"].param_groups for weight in group["params"]}

    def on_step_end(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        self._record(run["model"])

    def changed_at(self, step: int) -> set[str]:
        """The weights that optimizer step ``step`` (the first is 1) changed."""
        before, after = self.weights[step - 1], self.weights[step]
        return {name for name in before if not torch.equal(before[name], after[name])}


def spy_on_batches(trainer: QATrainer) -> list[torch.Tensor]:
    seen, original = [], trainer.compute_loss

    def compute_loss(model: Any, inputs: Any, **options: Any) -> Any:
        seen.append(inputs["input_ids"].cpu())
        return original(model, inputs, **options)

    trainer.compute_loss = compute_loss
    return seen


def batches_of(qa_processor: QAProcessor, epochs: int, seed: int) -> list[torch.Tensor]:
    features, tokenizer = qa_processor.get_train_features(), qa_processor.tokenizer
    collator = FeatureCollator(tiny_bert(tokenizer), tokenizer)
    batches = LengthGroupedBatches(features["length"], 4, seed)
    expected = []
    for epoch in range(epochs):
        batches.start_epoch(epoch, features["length"])
        expected += [collator([features[row] for row in rows])["input_ids"] for rows in batches]
    return expected


@pytest.mark.parametrize(("arguments", "seed"), [({}, 42), ({"seed": 7}, 7), ({"data_seed": 3}, 3)])
def test_batches_come_in_the_order_of_the_other_command(
    make_trainer: Callable[..., QATrainer], qa_processor: QAProcessor, arguments: dict[str, int], seed: int
) -> None:
    trainer = make_trainer(**arguments)
    seen = spy_on_batches(trainer)
    trainer.train()
    expected = batches_of(qa_processor, epochs=3, seed=seed)
    assert len(seen) == len(expected) == 9
    assert all(torch.equal(batch, other) for batch, other in zip(seen, expected, strict=True))


@pytest.mark.parametrize("step", [3, 4])
def test_a_resumed_run_sees_the_batches_that_it_has_not_seen(
    make_trainer: Callable[..., QATrainer], qa_processor: QAProcessor, tmp_path: Path, step: int
) -> None:
    make_trainer(save_strategy="steps", save_steps=step, num_train_epochs=2).train()
    trainer = make_trainer()
    seen = spy_on_batches(trainer)
    trainer.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{step}"))
    expected = batches_of(qa_processor, epochs=3, seed=42)[step:]
    assert len(seen) == len(expected)
    assert all(torch.equal(batch, other) for batch, other in zip(seen, expected, strict=True))


def test_sequential_sampling_keeps_the_order_of_the_data(
    make_trainer: Callable[..., QATrainer], qa_processor: QAProcessor
) -> None:
    trainer = make_trainer(train_sampling_strategy="sequential", num_train_epochs=1)
    seen = spy_on_batches(trainer)
    trainer.train()
    first = qa_processor.get_train_features()[0]["input_ids"]
    assert seen[0][0, : len(first)].tolist() == first


def test_a_gradient_that_fp16_leaves_out_is_no_number_in_the_log(
    make_trainer: Callable[..., QATrainer], tmp_path: Path
) -> None:
    trainer = make_trainer()
    trainer.log({"grad_norm": float("inf"), "learning_rate": 1.0})
    trainer.log({"grad_norm": 2.0})
    assert [line.get("grad_norm") for line in trainer.state.log_history] == [None, 2.0]


def test_an_accumulated_step_averages_its_batches_also_when_they_are_fewer(
    make_trainer: Callable[..., QATrainer],
) -> None:
    trainer = make_trainer(gradient_accumulation_steps=2, num_train_epochs=1, optim="sgd", max_grad_norm=0)
    norms = []
    backward = trainer.accelerator.backward
    trainer.accelerator.backward = lambda loss, **options: norms.append(loss.item()) or backward(loss, **options)
    trainer.train()
    full, other, alone = norms  # 3 batches: a step of two and a step of one
    assert losses(trainer) == close_to([full + other, alone])
    assert full + other == pytest.approx(alone, rel=0.2)


# -------------------------------------------------------------------------------------------- evaluation and prediction


def test_evaluation_reads_as_the_other_command_does(
    make_trainer: Callable[..., QATrainer], qa_processor: QAProcessor
) -> None:
    trainer = make_trainer()
    trainer.train()
    metrics = trainer.evaluate()
    features, examples = qa_processor.get_eval_features(), qa_processor.get_eval_examples()
    logits = read_features(trainer.model, features, FeatureCollator(trainer.model, qa_processor.tokenizer), 2, "fp32")
    answers = qa_processor.post_processing_function(examples, features, logits.predictions)
    expected = {"loss": logits.loss} | compute_metrics(answers)
    expected = {f"eval_{name}": value for name, value in expected.items()} | {"epoch": 3}
    assert metrics == close_to(expected)
    assert evaluations(trainer.state)[-1] == metrics | {"step": 9}


def test_other_examples_can_be_evaluated_under_another_name(
    make_trainer: Callable[..., QATrainer], qa_processor: QAProcessor
) -> None:
    trainer = make_trainer()
    metrics = trainer.evaluate(
        qa_processor.get_train_features(), qa_processor.get_train_examples(), metric_key_prefix="train"
    )
    assert {name.split("_")[0] for name in metrics} == {"train", "epoch"}
    assert metrics["train_loss"] != pytest.approx(trainer.evaluate()["eval_loss"], rel=1e-4)


def test_prediction_gives_the_answers_to_the_examples(
    make_trainer: Callable[..., QATrainer], qa_processor: QAProcessor
) -> None:
    trainer = make_trainer(num_train_epochs=60, learning_rate=3e-3)
    trainer.train()
    output = trainer.predict(qa_processor.get_eval_features(), qa_processor.get_eval_examples())
    golds = {row["id"]: row["answers"]["text"] for row in qa_processor.get_eval_examples()}
    assert {row["id"]: row["answers"]["text"] for row in output.label_ids} == golds
    assert [row["id"] for row in output.predictions] == list(golds)
    right = [row["prediction_text"] in golds[row["id"]] for row in output.predictions]
    assert output.metrics["test_exact_match"] == pytest.approx(100 * sum(right) / len(right))
    assert output.metrics["test_exact_match"] >= 80 and output.metrics["test_loss"] < 1


def test_prediction_without_gold_answers_has_no_metrics(
    make_trainer: Callable[..., QATrainer], qa_processor: QAProcessor
) -> None:
    examples = qa_processor.get_eval_examples()
    none = [{"text": [], "answer_start": []}] * len(examples)
    unknown = examples.remove_columns("answers").add_column("answers", none, feature=examples.features["answers"])
    trainer = make_trainer()
    trainer.compute_metrics = lambda answers: pytest.fail("asked for the best of no gold answers")
    output = trainer.predict(qa_processor.make_features(unknown, cached=False), unknown)
    assert output.metrics == {} and len(output.predictions) == len(examples)
    assert all(isinstance(row["prediction_text"], str) and row["prediction_text"] for row in output.predictions)


def test_a_metric_of_squad_is_all_that_evaluation_needs(
    make_trainer: Callable[..., QATrainer], qa_processor: QAProcessor
) -> None:
    trainer, metric = make_trainer(num_train_epochs=60, learning_rate=3e-3), SquadMetric()
    trainer.compute_metrics = lambda pred: metric.compute(predictions=pred.predictions, references=pred.label_ids)
    trainer.train()
    metrics = trainer.evaluate()
    assert set(metrics) == {"eval_loss", "eval_exact_match", "eval_f1", "epoch"}
    assert metrics["eval_exact_match"] >= 80


def test_prediction_loss_only_finds_no_answers(make_trainer: Callable[..., QATrainer]) -> None:
    assert list(make_trainer(prediction_loss_only=True).evaluate()) == ["eval_loss", "epoch"]


@pytest.mark.parametrize(("metric", "better"), [("eval_exact_match", max), ("loss", min)])
def test_the_checkpoint_that_is_best_by_the_metric_survives(
    make_trainer: Callable[..., QATrainer], tmp_path: Path, metric: str, better: Callable[..., Any]
) -> None:
    scripted = iter([(3.0, 10.0), (1.0, 20.0), (2.0, 90.0), (4.0, 30.0)])
    trainer = make_trainer(
        eval_strategy="steps", eval_steps=1, save_strategy="steps", save_steps=1, save_total_limit=2,
        metric_for_best_model=metric, max_steps=4,
    )  # fmt: skip
    script_evaluations(trainer, scripted)
    trainer.train()
    name = f"eval_{metric.removeprefix('eval_')}"
    expected = better(evaluations(trainer.state), key=lambda line: line[name])
    assert (trainer.state.best_metric, trainer.state.best_global_step) == (expected[name], expected["step"])
    kept = {path.name for path in (tmp_path / "run").iterdir()}
    assert kept == {f"checkpoint-{expected['step']}", "checkpoint-4"}


def script_evaluations(trainer: QATrainer, results: Any) -> None:
    """Let the next evaluations have these losses and exact matches."""

    def read(features: Dataset, examples: Dataset, stage: str, prefix: str) -> Any:
        loss, exact_match = next(results)
        output = original(features, examples, stage, prefix)
        return output._replace(metrics={"eval_loss": loss, "eval_exact_match": exact_match})

    original, trainer._read = trainer._read, read


def test_a_checkpoint_holds_the_tokenizer_though_none_was_named(
    make_trainer: Callable[..., QATrainer], tmp_path: Path
) -> None:
    trainer = make_trainer(save_strategy="epoch", num_train_epochs=1)
    trainer.train()
    folder = str(tmp_path / "run" / "checkpoint-3")
    assert load_tokenizer(folder).get_vocab() == trainer.processing_class.get_vocab()
    assert_same_weights(load_reader(folder, trained=True), trainer.model)


def test_what_it_trained_keeps_how_it_reads(
    make_trainer: Callable[..., QATrainer], qa_processor: QAProcessor, tmp_path: Path
) -> None:
    qa_processor.title_prefix = True
    trainer = make_trainer(max_steps=1)
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    config = load_reader(str(tmp_path / "saved"), trained=True).config
    assert config.title_prefix is True
    assert config.reader_settings == {
        "max_seq_len": 128, "stride_len": 16, "max_ans_len": 30, "version_2_with_negative": False,
        "postprocess": DEFAULT_RULES,
        "shared_normalization": False,
    }  # fmt: skip


def test_without_anything_to_pad_with_it_says_so(encoder_path: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pass processing_class, the tokenizer"):
        QATrainer(load_reader(encoder_path), TrainingArguments(str(tmp_path), use_cpu=True))


def test_the_arguments_of_the_caller_stay_as_they_were(make_trainer: Callable[..., QATrainer]) -> None:
    args = TrainingArguments("unused", use_cpu=True)
    trainer = make_trainer()
    assert trainer.args.remove_unused_columns is False
    QATrainer(trainer.model, args, processing_class=trainer.processing_class)
    assert args.remove_unused_columns is True


# --------------------------------------------------------------------------------------------------------- freezing

BACKBONE, EMBEDDINGS, LAYER = "bert.", "bert.embeddings.", "bert.encoder.layer.0."


@pytest.mark.parametrize(
    ("callback", "prefix", "epochs", "frozen_steps"),
    [
        (FreezeBackboneCallback, BACKBONE, 1.0, 3),
        (FreezeBackboneCallback, BACKBONE, 0.7, 2),
        (FreezeEmbeddingCallback, EMBEDDINGS, 1.0, 3),
        (FreezeEmbeddingCallback, EMBEDDINGS, 1.4, 4),
        (FreezeCallback, LAYER, 0.7, 2),
    ],
)
def test_frozen_weights_stay_until_the_exact_step(
    make_trainer: Callable[..., QATrainer], callback: type, prefix: str, epochs: float, frozen_steps: int
) -> None:
    recorder = Recorder()
    named = () if callback is FreezeEmbeddingCallback else (prefix.rstrip("."),)
    trainer = make_trainer([callback(*named, freeze_epochs=epochs), recorder], num_train_epochs=2, weight_decay=0.1)
    trainer.train()
    names = set(recorder.weights[0])
    frozen = {name for name in names if name.startswith(prefix)}
    assert frozen and frozen != names
    for step in range(1, 7):
        assert recorder.changed_at(step) == (names - frozen if step <= frozen_steps else names), step
    assert recorder.held == {id(weight) for weight in trainer.model.parameters()}


@pytest.mark.parametrize(("resume_step", "accumulation"), [(1, 1), (3, 1), (1, 2)])
def test_a_resumed_run_thaws_at_the_same_step(
    make_trainer: Callable[..., QATrainer], tmp_path: Path, resume_step: int, accumulation: int
) -> None:
    flags = {"gradient_accumulation_steps": accumulation, "max_steps": 6, "save_strategy": "steps", "save_steps": 1}
    flags |= {"adam_epsilon": 0.01}  # comparing.PROPORTIONAL_STEPS
    make_trainer([FreezeBackboneCallback("bert", 1.0)], **flags).train()
    uninterrupted = (tmp_path / "run" / "checkpoint-6").rename(tmp_path / "uninterrupted")
    recorder = Recorder()
    resumed = make_trainer([FreezeBackboneCallback("bert", 1.0), recorder], **flags)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{resume_step}"))
    frozen_steps = 3 if accumulation == 1 else 2
    for step in range(resume_step + 1, 7):
        changed = recorder.changed_at(step - resume_step)
        assert any(name.startswith(BACKBONE) for name in changed) == (step > frozen_steps), step
    resumed.save_model(str(tmp_path / "resumed"))
    assert_same_training(tmp_path / "resumed", uninterrupted)


@pytest.mark.parametrize(
    ("epochs", "resume_step", "said"),
    [
        (1.0, None, ["frozen until step 3 of 6: bert.embeddings", "thawed at step 3: bert.embeddings"]),
        (1.0, 2, ["frozen until step 3 of 6: bert.embeddings", "thawed at step 3: bert.embeddings"]),
        (1.0, 3, []),
        (99, None, ["frozen until the end: bert.embeddings"]),
    ],
)
def test_freezing_and_thawing_are_said_once_each(
    make_trainer: Callable[..., QATrainer],
    tmp_path: Path,
    log_lines: list[str],
    epochs: float,
    resume_step: int | None,
    said: list[str],
) -> None:
    flags = {"max_steps": 6, "save_strategy": "steps", "save_steps": 1}
    checkpoint = resume_step and str(tmp_path / "run" / f"checkpoint-{resume_step}")
    if checkpoint:
        make_trainer([], **flags).train()
    trainer = make_trainer([FreezeEmbeddingCallback(epochs)], **flags)
    log_lines.clear()
    trainer.train(resume_from_checkpoint=checkpoint)
    size = sum(w.numel() for name, w in trainer.model.named_parameters() if name.startswith(EMBEDDINGS))
    assert log_lines == [f"INFO {text} ({size:,} weights)" for text in said]


@pytest.mark.parametrize("backbone_first", [True, False])
def test_two_of_them_do_not_thaw_each_others_weights(
    make_trainer: Callable[..., QATrainer], backbone_first: bool
) -> None:
    recorder = Recorder()
    callbacks = [FreezeBackboneCallback("bert", 1.0), FreezeEmbeddingCallback(2.0)][:: 1 if backbone_first else -1]
    make_trainer([*callbacks, recorder]).train()
    thawed = {
        step: {prefix for prefix in (EMBEDDINGS, LAYER) if any(name.startswith(prefix) for name in names)}
        for step in range(1, 10)
        if (names := recorder.changed_at(step))
    }
    assert thawed == {
        step: {EMBEDDINGS, LAYER} if step > 6 else {LAYER} if step > 3 else set() for step in range(1, 10)
    }


def test_weights_that_were_frozen_before_stay_frozen(make_trainer: Callable[..., QATrainer]) -> None:
    trainer = make_trainer([FreezeBackboneCallback("bert", 1.0)])
    trainer.model.get_input_embeddings().weight.requires_grad_(False)
    trainer.train()
    still = [name for name, weight in trainer.model.named_parameters() if not weight.requires_grad]
    assert still == ["bert.embeddings.word_embeddings.weight"]


def test_after_training_nothing_is_left_frozen(make_trainer: Callable[..., QATrainer]) -> None:
    trainer = make_trainer([FreezeBackboneCallback("bert", 99)])
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {"qa_outputs.weight", "qa_outputs.bias"}  # it was frozen until the end
    assert all(weight.requires_grad for weight in trainer.model.parameters())


@pytest.mark.parametrize("prefix", ["roberta", "bert.encoder.lay", "qa_output"])
def test_a_name_that_no_weight_has_is_refused(make_trainer: Callable[..., QATrainer], prefix: str) -> None:
    with pytest.raises(UserError, match=rf"named {prefix}; the names of this reader begin with: bert, qa_outputs"):
        make_trainer([FreezeCallback(prefix)]).train()


@pytest.mark.parametrize(
    ("config", "model_class", "prefix"),
    [
        (ElectraConfig(embedding_size=8), ElectraForQuestionAnswering, "electra.embeddings."),
        (DebertaV2Config(relative_attention=True), DebertaV2ForQuestionAnswering, "deberta.embeddings."),
    ],
)
def test_embeddings_are_what_comes_before_projection_and_layers(
    config: Any, model_class: type[PreTrainedModel], prefix: str
) -> None:
    small = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    for name, value in (small | {"num_attention_heads": 2}).items():
        setattr(config, name, value)
    model = model_class(config)
    found = {id(weight) for weight in FreezeEmbeddingCallback().find(model)}
    assert found == {id(weight) for name, weight in model.named_parameters() if name.startswith(prefix)}


# --------------------------------------------------------------------------------------------------- early stopping

IMPROVING_TWICE = [(3.0, 10.0), (2.0, 10.0), (2.5, 10.0), (2.0, 20.0), (2.1, 20.0), (2.0, 19.0), (1.9, 0.0), (1.0, 0.0)]


def test_stops_at_the_evaluation_that_exhausts_the_patience(make_trainer: Callable[..., QATrainer]) -> None:
    trainer = make_trainer([StopEarlyCallback(2)], eval_strategy="steps", eval_steps=1)
    script_evaluations(trainer, iter(IMPROVING_TWICE))
    trainer.train()
    assert trainer.state.global_step == 6
    assert [line["step"] for line in evaluations(trainer.state)] == [1, 2, 3, 4, 5, 6]


def test_patience_is_counted_in_the_log_of_the_run() -> None:
    state = TrainerState()
    due = []
    for step, (loss, exact_match) in enumerate(IMPROVING_TWICE, start=1):
        state.log_history += [
            {"loss": 0.0, "step": step},
            {"eval_loss": loss, "eval_exact_match": exact_match, "step": step},
        ]
        due.append(StopEarlyCallback(2).is_due(state))
    assert due == [False] * 5 + [True, False, False]
