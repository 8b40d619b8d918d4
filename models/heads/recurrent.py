"""Heads of LSTMs over the tokens."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from models.heads.convolution import ParallelConvolutions
from models.heads.parts import Normalize, Part, SpanHead, SpanLogits

State = tuple[torch.Tensor, torch.Tensor]


class BiLSTM(Part):
    """A bidirectional LSTM (Graves and Schmidhuber 2005) that reads the tokens and not the padding after them.

    Each direction has half of ``in_features``, rounded up: ``width`` is ``in_features``, or one more if that is odd.
    It computes in the precision of its weights under autocast too, which packed sequences do not follow everywhere.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(in_features, -(-in_features // 2), batch_first=True, bidirectional=True)
        self.width = 2 * self.lstm.hidden_size

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.read(features, mask)[0]

    def read(
        self, features: torch.Tensor, mask: torch.Tensor, state: State | None = None
    ) -> tuple[torch.Tensor, State]:
        """Return features (batch, tokens, width) and the last state: ``h`` and ``c``, each (2, batch, width / 2).

        ``state`` is the first one, zero by default.
        """
        features = features.to(next(self.lstm.parameters()).dtype)
        packed = pack_padded_sequence(features, mask.sum(-1).cpu(), batch_first=True, enforce_sorted=False)
        with torch.autocast(features.device.type, enabled=False):
            read, state = self.lstm(packed, state)
        return pad_packed_sequence(read, batch_first=True, total_length=mask.size(1))[0], state


class LSTM(SpanHead):
    """A BiLSTM: every token is scored with what stands before and after it."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__(dropout, BiLSTM(hidden_size))


class LSTMWithNorm(SpanHead):
    """A BiLSTM followed by layer normalisation."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        lstm = BiLSTM(hidden_size)
        super().__init__(dropout, lstm, Normalize(lstm.width))


class LSTMThenCNN(SpanHead):
    """A BiLSTM followed by parallel convolutions of kernel sizes 1, 3 and 5."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        lstm = BiLSTM(hidden_size)
        super().__init__(dropout, lstm, ParallelConvolutions(lstm.width, hidden_size))


class RNN(nn.Module):
    """Two BiLSTMs over the hidden states, one for the start, one for the end.

    The second begins with the last state of the first, so the end is read knowing the text and where its answer may
    start (a simpler form of the answer pointer of Wang and Jiang 2017).
    """

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.start_lstm = BiLSTM(hidden_size)
        self.end_lstm = BiLSTM(hidden_size)
        self.logits = SpanLogits(self.start_lstm.width)

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return start and end logits (batch, tokens) of ``hidden_states`` (batch, tokens, hidden)."""
        features = self.dropout(hidden_states)  # (batch, tokens, hidden)
        start_features, state = self.start_lstm.read(features, mask)  # (batch, tokens, width)
        end_features, _ = self.end_lstm.read(features, mask, state)  # (batch, tokens, width)
        return self.logits(start_features, end_features)
