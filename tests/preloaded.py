"""What commands import, at the latest where they use it, and make once in a process: before others are forked off."""

# ruff: noqa: F401
from __future__ import annotations

import gc

import bm25s
import matplotlib.backends.backend_agg
import matplotlib.figure
import scipy.stats
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

import average
import inference
import retrieve
import score
import train_dpr
import train_mrc
import train_mrc_v2
import train_reranker
from tools import check, ensemble, report

get_checkpoint_conversion_mapping("bert")  # the first model that is loaded compiles a thousand patterns of all families
gc.freeze()  # what is there now is never collected, nor copied for the sake of it
