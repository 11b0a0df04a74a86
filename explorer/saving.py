"""What a run leaves on disk: checkpoints an epoch, and the state from which a resume goes on. Whole or not at all."""

from __future__ import annotations

import os
import shutil

import torch

from explorer import files, methods
from explorer.engine import Engine
from explorer.errors import UserError
from explorer.run import Progress, Run


def save_checkpoint(engine: Engine, epoch: int) -> Progress:
    """The weights at this epoch's end, whole or not at all: checkpoint.json is written last."""
    config, final = engine.config, engine.run.folder / f"epoch-{epoch}"
    with files.whole_folder(final) as folder:
        methods.save_weights(engine.captioner, config.method, folder)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        row = {"epoch": epoch, "step": engine.step, "adapter": methods.is_adapter(config.method), "bytes": size, "base": config.base}
        files.write_json(folder / "checkpoint.json", row)
    return engine.progress("saved", epoch, folder=final.name, bytes=size)


def save_state(engine: Engine) -> None:
    """What a resume needs: weights, optimizer, position."""
    path = engine.run.folder / "resume" / "state.pt"
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    try:
        with open(part, "wb") as file:
            torch.save(_state(engine), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _state(engine: Engine) -> dict:
    return {
        "weights": {name: weight.detach() for name, weight in engine.weights.items()},
        "optimizer": engine.optimizer.state_dict(),
        "scaler": engine.scaler.state_dict(),
        "position": [engine.step, engine.epochs_done, engine.loss_sum, engine.loss_tokens],
    }


def load_state(engine: Engine) -> bool:
    """Bring ``engine`` to where the run was saved last; False when it was never saved. Raises UserError for a damaged file."""
    path = engine.run.folder / "resume" / "state.pt"
    if not path.exists():
        return False
    try:
        state = torch.load(path, map_location=engine.captioner.device, weights_only=True)
        with torch.no_grad():
            for name, weight in engine.weights.items():
                weight.copy_(state["weights"][name])
        engine.optimizer.load_state_dict(state["optimizer"])
        engine.scaler.load_state_dict(state["scaler"])
        engine.step, engine.epochs_done, engine.loss_sum, engine.loss_tokens = state["position"]
    except Exception as error:  # torch raises many kinds for a file that is not as it was written
        raise UserError(
            f"The run {engine.run.name!r} cannot go on: {path} is damaged or of another model. Delete that file to begin again "
            "from the base; complete checkpoints stay."
        ) from error
    return True


def sweep(run: Run) -> None:
    """Remove what a killed run left half written; nothing reads it, but it takes room on the disk."""
    for folder in run.folder.glob(".epoch-*"):
        shutil.rmtree(folder, ignore_errors=True)
    (run.folder / "resume" / "state.part").unlink(missing_ok=True)
