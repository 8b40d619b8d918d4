"""The in-batch contrastive loss of a bi-encoder, and a training step whose batch does not have to fit in memory.

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
    q: torch.Tensor, p: torch.Tensor, labels: torch.Tensor, same_passage: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Return the mean cross-entropy () of questions ``q`` (Q, H) over passages ``p`` (P, H).

    ``labels`` (Q,) is the row of each question's positive; ``same_passage`` (Q, P), boolean, has True where a row is
    that passage once more, which then is neither right nor wrong.
    """
    scores = q @ p.T / temperature  # (Q, H) @ (H, P) -> (Q, P)
    return F.cross_entropy(scores.masked_fill(same_passage, float("-inf")), labels)


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
    of them each process has, ``loss_of(q, p)`` the loss of the joint vectors in the order of the processes. A process
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

    vectors = [torch.cat([pair[side].detach() for pair in encoded]) for side in (0, 1)]  # (rows of a process, H) each
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
                surrogate = surrogate + (part * gradients[side][first[side] : first[side] + len(part)]).sum()
                first[side] += len(part)
            accelerator.backward(surrogate * scale * accelerator.num_processes)
        encoded[index] = None  # its graph is spent
    return loss.detach()


def _gather(accelerator: Accelerator, own: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Return the rows of all processes (sum of ``counts``, H), in their order, detached."""
    if accelerator.num_processes == 1:
        return own
    height = max(counts)
    padded = F.pad(own, (0, 0, 0, height - len(own)))  # (rows, H) -> (height, H)
    gathered = accelerator.gather(padded)  # (height, H) -> (processes * height, H)
    return torch.cat([part[:count] for part, count in zip(gathered.split(height), counts, strict=True)])


def _own_rows(accelerator: Accelerator, gradient: torch.Tensor, counts: Sequence[int], rows: int) -> torch.Tensor:
    """Return this process's rows (rows, H) of the joint ``gradient``; zeros where it encoded more than it has."""
    index = accelerator.process_index
    begin = [0, *accumulate(counts)][index]
    own = gradient[begin : begin + counts[index]]
    return F.pad(own, (0, 0, 0, rows - len(own)))  # (count, H) -> (rows, H)


def _rng_state(device: torch.device) -> list[torch.Tensor]:
    """Return the state of the random number generators that dropout draws from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _set_rng_state(state: Sequence[torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
