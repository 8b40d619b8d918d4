"""Training: one loop, optimisation, freezing, checkpoints."""
