"""What a run leaves on disk: checkpoints an epoch, and the state from which a resume goes on. Whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid

import torch

from explorer import files
from explorer.errors import UserError
from explorer.train import best, methods
from explorer.train.engine import Engine
from explorer.train.run import Progress, Run


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
        "position": [engine.step, engine.epochs_done, engine.loss_sum, engine.loss_tokens, engine.pieces],
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
        engine.step, engine.epochs_done, engine.loss_sum, engine.loss_tokens, engine.pieces = state["position"]
    except Exception as error:  # torch raises many kinds for a file that is not as it was written
        raise UserError(
            f"The run {engine.run.name!r} cannot go on: {path} is damaged or of another model. Delete that file to begin again "
            "from the base; complete checkpoints stay."
        ) from error
    return True


def drop_checkpoints(run: Run) -> None:
    """Delete the checkpoints the run is told not to keep. Their captions stay, and with them their columns in Compare."""
    config, checkpoints = run.config, run.checkpoints()
    if config.keep == "all" or not checkpoints:
        return
    top = best.best(run.log(), config.best_by) if config.keep == "best" else None
    keep = top["epoch"] if top else checkpoints[-1].epoch
    for checkpoint in checkpoints:
        if checkpoint.epoch != keep:
            gone = checkpoint.folder.with_name(f".{checkpoint.folder.name}.{uuid.uuid4().hex[:8]}.old")
            os.replace(checkpoint.folder, gone)  # in one step: nobody sees half a checkpoint
            shutil.rmtree(gone, ignore_errors=True)


def sweep(run: Run) -> None:
    """Remove what a killed run left half written; nothing reads it, but it takes room on the disk."""
    for folder in run.folder.glob(".epoch-*"):
        shutil.rmtree(folder, ignore_errors=True)
    (run.folder / "resume" / "state.part").unlink(missing_ok=True)
