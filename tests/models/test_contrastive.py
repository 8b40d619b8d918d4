"""The in-batch loss against a brute-force one, and cached gradients against those of an ordinary step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from accelerate import Accelerator
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.util import dot_score
from tiny_models import tiny_bert_config
from transformers import BertModel, PreTrainedTokenizerFast

from arguments import RetrieverArguments
from models.contrastive import distillation_loss, in_batch_loss, joint_backward, same_passages
from models.encoder import load_bi_encoder


def brute_force_loss(q, p, labels, keys, temperature):
    """The definition, one question and one passage at a time."""
    losses = []
    for i, label in enumerate(labels):
        scores = [math.fsum(a * b for a, b in zip(q[i], row, strict=True)) / temperature for row in p]
        counted = [s for j, s in enumerate(scores) if j == label or keys[j] != keys[label]]
        losses.append(math.log(math.fsum(math.exp(score) for score in counted)) - scores[label])
    return sum(losses) / len(losses)


# two questions of one passage, a hard negative that is another question's positive, and one that stands twice
KEYS, LABELS = [7, 1, 7, 2, 3, 7, 1, 4], [0, 2, 4, 6]


@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_the_loss_is_the_definition_and_leaves_the_same_passage_out(temperature: float) -> None:
    torch.manual_seed(0)
    q, p = torch.randn(4, 6, dtype=torch.double), torch.randn(8, 6, dtype=torch.double)
    labels = torch.tensor(LABELS)
    same = same_passages(torch.tensor(KEYS), labels)
    assert same.nonzero().tolist() == [[0, 2], [0, 5], [1, 0], [1, 5], [3, 1]]
    loss = in_batch_loss(q @ p.T / temperature, labels, same)
    assert loss.item() == pytest.approx(brute_force_loss(q.tolist(), p.tolist(), LABELS, KEYS, temperature))


def test_labels_are_those_given_whatever_the_size_of_the_batch() -> None:
    """The original made them from --per_device_train_batch_size: its last batch, of 1 of 5, was an error."""
    q, p = torch.eye(3)[:1] * 9, torch.eye(3)
    for label in range(3):
        labels = torch.tensor([label])
        loss = in_batch_loss(q @ p.T, labels, same_passages(torch.arange(3), labels))
        assert loss.item() == pytest.approx(math.log(math.exp(9) + 2) - (9 if label == 0 else 0), abs=1e-5)


def test_a_teacher_adds_the_divergence_over_what_it_scored() -> None:
    torch.manual_seed(0)
    scores, none = torch.randn(3, 4, dtype=torch.double), float("-inf")
    teacher = torch.tensor([[2.0, none, -1.0, 0.5], [none, 3.0, none, none], [none, 0.0, 7.0, none]])
    expected = []
    for own, row in zip(scores.tolist(), teacher.tolist(), strict=True):
        scored = [column for column, score in enumerate(row) if score > none]
        p = softmax([row[column] for column in scored])
        q = softmax([own[column] for column in scored])
        expected.append(math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) if len(scored) > 1 else 0.0)
    scores.requires_grad_()
    loss = distillation_loss(scores, teacher.double())
    assert loss.item() == pytest.approx(sum(expected) / 3)
    loss.backward()
    assert scores.grad is not None and (scores.grad != 0).int().tolist() == [[1, 0, 1, 1], [0] * 4, [0, 1, 1, 0]]
    labels, same = torch.tensor([0, 1, 2]), torch.zeros(3, 4, dtype=torch.bool)
    both = in_batch_loss(scores, labels, same, teacher.double())
    assert both.item() == pytest.approx(in_batch_loss(scores, labels, same).item() + loss.item())
    assert distillation_loss(scores, torch.full((3, 4), none).double()).item() == 0


def softmax(scores: list[float]) -> list[float]:
    total = math.fsum(map(math.exp, scores))
    return [math.exp(score) / total for score in scores]


class Encoders(torch.nn.Module):
    """Two small encoders with dropout, in double precision."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        layers = [
            torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Dropout(0.3), torch.nn.Linear(8, 4))
            for _ in "qp"
        ]
        self.q, self.p = (layer.double() for layer in layers)
        self.passes = 0

    def forward(self, questions, passages):
        self.passes += 1
        return self.q(questions["x"]), self.p(passages["x"])


class Data(NamedTuple):
    questions: torch.Tensor
    passages: torch.Tensor
    labels: torch.Tensor
    same: torch.Tensor

    def loss(self, q, p):
        return in_batch_loss(q @ p.T / 0.5, self.labels, self.same)

    def chunks(self, size: int):
        return [
            ({"x": self.questions[i : i + size]}, {"x": self.passages[2 * i : 2 * (i + size)]})
            for i in range(0, len(self.questions), size)
        ]


@pytest.fixture
def data() -> Data:
    torch.manual_seed(2)
    labels = torch.arange(0, 14, 2)
    keys = torch.tensor([0, 1, 2, 3, 0, 5, 6, 2, 8, 9, 10, 11, 12, 13])
    return Data(torch.randn(7, 5).double(), torch.randn(14, 5).double(), labels, same_passages(keys, labels))


def gradients_of(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_cached_gradients_are_those_of_the_whole_batch_with_the_same_dropout(data: Data, size: int) -> None:
    plain, chunked = Encoders(), Encoders()
    torch.manual_seed(3)
    encoded = [plain(*chunk) for chunk in data.chunks(size)]  # all graphs at once: what does not fit in memory
    expected = data.loss(*(torch.cat(side) for side in zip(*encoded, strict=True)))
    (expected * 0.25).backward()
    after = torch.get_rng_state()

    torch.manual_seed(3)
    counts = [(7, 14)]
    loss = joint_backward(Accelerator(cpu=True), chunked, data.chunks(size), counts, data.loss, scale=0.25)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12) and not loss.requires_grad
    torch.testing.assert_close(gradients_of(chunked), gradients_of(plain), rtol=1e-12, atol=1e-14)
    assert chunked.passes == (1 if size == 7 else 2 * len(data.chunks(size)))
    assert torch.equal(torch.get_rng_state(), after)  # what is drawn next does not depend on the chunks


class TokenEncoders(Encoders):
    """Of several vectors a row, as many as its batch is padded to; zeros are padding."""

    def forward(self, questions, passages):
        return tuple(
            side(batch["x"]) * batch["x"].any(dim=-1, keepdim=True)
            for side, batch in ((self.q, questions), (self.p, passages))
        )


@pytest.mark.parametrize("size", [1, 2])
def test_rows_of_several_vectors_are_joined_whatever_their_number(size: int) -> None:
    """The gradient of chunks, padded each to its own length, is that of the whole batch."""
    torch.manual_seed(2)
    rows = [torch.randn(length, 5).double() for length in (2, 4, 1, 3, 5, 2, 6, 1, 3)]  # 3 questions, 6 passages

    def padded(part: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"x": torch.nn.utils.rnn.pad_sequence(part, batch_first=True)}

    def loss_of(q: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        similarities = torch.einsum("qid,pjd->qpij", q, p)
        similarities = similarities.masked_fill(~p.any(dim=-1)[None, :, None], float("-inf"))
        scores = (similarities.max(dim=-1).values * q.any(dim=-1)[:, None]).sum(dim=-1)  # (Q, P)
        return in_batch_loss(scores, torch.tensor([0, 2, 4]), torch.zeros(3, 6, dtype=torch.bool))

    whole, chunked = TokenEncoders().eval(), TokenEncoders().eval()
    expected = loss_of(*whole(padded(rows[:3]), padded(rows[3:])))
    expected.backward()
    chunks = [(padded(rows[:3][i : i + size]), padded(rows[3 + 2 * i :][: 2 * size])) for i in range(0, 3, size)]
    loss = joint_backward(Accelerator(cpu=True), chunked, chunks, [(3, 6)], loss_of)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(gradients_of(chunked), gradients_of(whole), rtol=1e-12, atol=1e-14)


def test_without_dropout_the_chunks_change_nothing(data: Data) -> None:
    models = []
    for size in (7, 3, 1):
        models.append(Encoders().eval())
        joint_backward(Accelerator(cpu=True), models[-1], data.chunks(size), [(7, 14)], data.loss)
    for model in models[1:]:
        torch.testing.assert_close(gradients_of(model), gradients_of(models[0]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [2, 3, 6])
@pytest.mark.parametrize(("normalize", "temperature"), [(False, 1.0), (True, 0.05)])
def test_loss_and_gradients_are_those_of_sentence_transformers(
    tmp_path: Path, bert_tokenizer: PreTrainedTokenizerFast, size: int, normalize: bool, temperature: float
) -> None:
    """Of its cached ranking loss, over two copies of a tiny BERT in float32: three passages a question."""
    questions = ["왕은 누구인가?", "수도는 어디인가?", "한강은?", "행성은 무엇인가?", "세종은?", "바다는 어디인가?"]
    passages = [[("", f"{word}은 {n}번째 글이다.") for n in range(6)] for word in ("세종", "서울", "금성")]

    config = tiny_bert_config(bert_tokenizer)
    config.initializer_range = 0.3  # vectors that differ, so that gradients are no differences of nearly equal numbers
    torch.manual_seed(0)
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    bert_tokenizer.save_pretrained(tmp_path)
    modules = [Transformer(str(tmp_path)), Pooling(32, "cls"), *([Normalize()] if normalize else [])]
    their = SentenceTransformer(modules=modules, device="cpu").eval()
    loss = CachedMultipleNegativesRankingLoss(their, scale=1 / temperature, similarity_fct=dot_score, mini_batch_size=2)
    columns = [questions, *([text for _, text in column] for column in passages)]
    expected = loss([their.preprocess(column) for column in columns], torch.empty(0))
    expected.backward()

    flags = RetrieverArguments(title_prefix=False, normalize=normalize, question_max_len=64, passage_max_len=64)
    ours = load_bi_encoder(tmp_path, flags, shared=True)
    chunks = []
    for start in range(0, 6, size):
        rows = [passage for row in zip(*passages, strict=True) for passage in row][3 * start : 3 * (start + size)]
        asked = ours.tokenize_questions(questions[start : start + size])
        chunks.append((ours.pad(asked), ours.pad(ours.tokenize_passages(rows))))
    labels = torch.arange(0, 18, 3)
    same = torch.zeros(6, 18, dtype=torch.bool)
    found = joint_backward(
        Accelerator(cpu=True), ours, chunks, [(6, 18)], lambda q, p: in_batch_loss(q @ p.T / temperature, labels, same)
    )
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-5)
    gradients = {name: weight.grad for name, weight in ours.q_encoder.named_parameters() if weight.grad is not None}
    theirs = {name: weight.grad for name, weight in their[0].model.named_parameters() if weight.grad is not None}
    assert gradients.keys() == theirs.keys()
    largest = max(gradient.abs().max().item() for gradient in theirs.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=0, atol=1e-5 * largest, msg=name)


def test_gradients_add_up_over_calls(data: Data) -> None:
    once, twice = Encoders().eval(), Encoders().eval()
    joint_backward(Accelerator(cpu=True), once, data.chunks(2), [(7, 14)], data.loss)
    for _ in range(2):
        joint_backward(Accelerator(cpu=True), twice, data.chunks(2), [(7, 14)], data.loss, scale=0.5)
    torch.testing.assert_close(gradients_of(twice), gradients_of(once), rtol=1e-12, atol=1e-14)
