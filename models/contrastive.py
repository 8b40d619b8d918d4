"""The losses of a retriever over a batch, and a training step whose batch does not have to fit in memory.

Every question of a batch is compared with every passage of it (Karpukhin et al. 2020, section 3.2). With several
processes the batch is the joint one: its vectors are shared out to all, so each process sees the whole loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import accumulate

import torch
import torch.nn.functional as F
from accelerate import Accelerator

Batch = Mapping[str, torch.Tensor]


def in_batch_loss(
    scores: torch.Tensor, labels: torch.Tensor, same_passage: torch.Tensor, teacher: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean cross-entropy () of the ``scores`` (Q, P) of questions and passages.

    ``labels`` (Q,) is the column of each question's positive; ``same_passage`` (Q, P), boolean, has True where a column
    is that passage once more, which then is neither right nor wrong. With the scores (Q, P) of a ``teacher``,
    :func:`distillation_loss` is added.
    """
    loss = F.cross_entropy(scores.masked_fill(same_passage, float("-inf")), labels)
    return loss if teacher is None else loss + distillation_loss(scores, teacher)


def distillation_loss(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean () of KL(teacher || student) over the passages that the teacher scored for a question.

    ``scores`` (Q, P) are the student's and ``teacher`` (Q, P) the teacher's, -inf where it has none. A question with
    fewer than two says nothing of their order and counts 0.
    """
    scored = teacher > float("-inf")
    known = scored.sum(dim=1) > 1  # (Q,)
    scored, scores, teacher = scored[known], scores[known], teacher[known]  # (known, P)
    student = F.log_softmax(scores.masked_fill(~scored, float("-inf")), dim=1).masked_fill(~scored, 0.0)
    return F.kl_div(student, F.softmax(teacher, dim=1), reduction="sum") / len(known)


def same_passages(keys: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return where a passage is a question's positive but not its label: boolean (Q, P).

    ``keys`` (P,) are equal for the same passage, ``labels`` (Q,) the row of each question's positive.
    """
    same = keys[labels].unsqueeze(1) == keys  # (Q,) -> (Q, 1), against (P,) -> (Q, P)
    return same.scatter(1, labels.unsqueeze(1), False)


def joint_backward(
    accelerator: Accelerator,
    model: torch.nn.Module,
    chunks: Sequence[tuple[Batch, Batch]],
    counts: Sequence[tuple[int, int]],
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    scale: float = 1.0,
    synchronize: bool = True,
) -> torch.Tensor:
    """Add ``scale`` times the gradient of the joint loss to that of ``model``; return the loss (), detached.

    ``chunks`` are this process's questions and passages as padded batches, ``counts`` how many (questions, passages)
    of them each process has, ``loss_of(q, p)`` the loss of the joint vectors in the order of the processes. A row may
    be one vector or several (tokens, H), which zeros then follow to the most that a row has. A process
    without any still passes one chunk, whose vectors then count for nothing: the others wait for its gradients.

    One chunk is an ordinary step. Several are encoded first without a graph; the gradient with respect to their
    vectors, the only place where chunks meet, is then pushed through the encoder chunk by chunk, each encoded again
    with the same dropout (Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup").
    The gradient is the same and memory that of one chunk.
    """
    module = accelerator.unwrap_model(model)
    whole = len(chunks) == 1
    states, encoded = [], []
    for chunk in chunks:
        states.append(_rng_state(accelerator.device))
        # only a pass that has a backward may go through the wrapper that synchronises gradients
        with nullcontext() if whole and synchronize else accelerator.no_sync(model), torch.set_grad_enabled(whole):
            encoded.append((model if whole else module)(*chunk))

    vectors = [_joined([pair[side].detach() for pair in encoded]) for side in (0, 1)]  # (rows of a process, H) each
    joint = [
        _gather(accelerator, own, [count[side] for count in counts]).requires_grad_()  # (rows of all processes, H)
        for side, own in enumerate(vectors)
    ]
    loss = loss_of(*joint)
    gradients = [
        _own_rows(accelerator, gradient, [count[side] for count in counts], len(own))
        for side, (gradient, own) in enumerate(zip(torch.autograd.grad(loss, joint), vectors, strict=True))
    ]

    first = [0, 0]
    for index, chunk in enumerate(chunks):
        last = index == len(chunks) - 1
        with nullcontext() if last and synchronize else accelerator.no_sync(model):
            if not whole:
                _set_rng_state(states[index], accelerator.device)
                encoded[index] = model(*chunk)
            # linear in the vectors, so that its gradient is the loss's: the mean over processes gives their sum back
            surrogate = torch.zeros((), device=accelerator.device)
            for side, part in enumerate(encoded[index]):
                gradient = gradients[side][first[side] : first[side] + len(part), : part.shape[1]]
                surrogate = surrogate + (part * gradient).sum()
                first[side] += len(part)
            accelerator.backward(surrogate * scale * accelerator.num_processes)
        encoded[index] = None  # its graph is spent
    return loss.detach()


def _joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the rows of all ``parts``, with zeros behind the vectors of those that have fewer."""
    most = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0,) * (2 * part.ndim - 3) + (most - part.shape[1],)) for part in parts])


def _gather(accelerator: Accelerator, own: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Return the rows of all processes (sum of ``counts``, H), in their order, detached."""
    if accelerator.num_processes == 1:
        return own
    height = max(counts)
    own = accelerator.pad_across_processes(own, dim=1)  # where rows have several vectors
    padded = _higher(own, height - len(own))  # (rows, H) -> (height, H)
    gathered = accelerator.gather(padded)  # (height, H) -> (processes * height, H)
    return torch.cat([part[:count] for part, count in zip(gathered.split(height), counts, strict=True)])


def _own_rows(accelerator: Accelerator, gradient: torch.Tensor, counts: Sequence[int], rows: int) -> torch.Tensor:
    """Return this process's rows (rows, H) of the joint ``gradient``; zeros where it encoded more than it has."""
    index = accelerator.process_index
    begin = [0, *accumulate(counts)][index]
    own = gradient[begin : begin + counts[index]]
    return _higher(own, rows - len(own))  # (count, H) -> (rows, H)


def _higher(rows: torch.Tensor, by: int) -> torch.Tensor:
    """Return ``rows`` with ``by`` rows of zeros behind them."""
    return torch.cat([rows, rows.new_zeros(by, *rows.shape[1:])])


def _rng_state(device: torch.device) -> list[torch.Tensor]:
    """Return the state of the random number generators that dropout draws from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _set_rng_state(state: Sequence[torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
