"""Train: a run and its folder, the fine-tune itself, and the process it lives in."""
