"""The explorer without the page: the same code, the same files.

python -m explorer --help
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from explorer.errors import UserError
from explorer.settings import Settings
from explorer.train.ranks import ToldElsewhere
from explorer.train.run import BEST_BY, KEEP, METHODS, REFERENCES
from explorer.workspace import Workspace


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it went well, 1 after a sentence on stderr, 130 when interrupted."""
    options = parser().parse_args(arguments)
    os.environ.pop("SPACES_ZERO_GPU", None)  # a GPU is lent to the page's calls, not to a command
    workspace = Workspace(Settings.from_environment().home)
    workspace.root.mkdir(parents=True, exist_ok=True)
    try:
        options.command(options, workspace)
    except ToldElsewhere:
        return 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk, a folder that cannot be written
        print(f"error: {error.filename or 'A file'} cannot be used: {error.strerror or error}.", file=sys.stderr)
        return 1
    return 0


# --- the commands -----------------------------------------------------------------------------------------


def finetune_command(options, workspace: Workspace) -> None:
    from explorer.hub import jobs
    from explorer.train import ranks, worker
    from explorer.train.run import Run

    machine = jobs.machine(options.on) if options.on else None
    with ranks.joined() as group:  # one process, unless torchrun or accelerate has started several
        run = Run(group.agree(lambda: chosen_run(options, workspace)))
        if machine:
            jobs.ask(run, machine)
        for progress in jobs.work(run, workspace) if jobs.asked(run) else worker.work(run, workspace, group):
            line = progress_line(progress) if group.first else ""
            if line:
                print(line, flush=True)
        if group.first:
            print(f"run folder: {run.folder}")


def chosen_run(options, workspace: Workspace) -> Path:
    """The folder of the run to work on: a new one, or the one to resume, with what was asked to change in it."""
    from explorer.train import plan

    if options.resume:
        return resumed_run(options, workspace)
    run = plan.make_run(workspace, chosen_config(options, workspace))
    print(f"run {run.name}: {len(run.examples('train'))} training and {len(run.examples('validation'))} validation images")
    return run.folder


def resumed_run(options, workspace: Workspace) -> Path:
    from explorer.train.run import Run, add_epochs, change_config

    run = Run(workspace.run_folder(options.resume))
    run.config.check()  # says so when there is no such run
    if run.status().state != "running":  # a request to stop that a killed process could not heed is not for this one
        (run.folder / "stop").unlink(missing_ok=True)
    if options.epochs is not None and options.epochs != run.config.epochs:
        run = add_epochs(run, options.epochs)
    given = {name: getattr(options, name) for name in ("best_by", "keep", "patience") if getattr(options, name) is not None}
    return (change_config(run, **given) if given else run).folder


def chosen_config(options, workspace: Workspace):
    """The RunConfig of the command line, with advised values where none was given."""
    from explorer.train import methods, plan
    from explorer.train.run import RunConfig

    if not options.data:
        raise UserError("No data: add --data with an image folder, a zip, a Hub dataset, or scenes for the drawn pets.")
    folder = plan.find_dataset(options.data, workspace)
    advice = plan.advise(workspace, options.base)
    method = options.method or advice.method
    size = plan.base_facts(workspace.base_folder(options.base)).size
    config = RunConfig(
        name=options.name or plan.next_name(workspace, options.base, str(folder)),
        base=options.base,
        dataset=str(folder),
        method=method,
        batch_size=advice.batch_size,
        learning_rate=methods.rate_for(method, size),
    )
    given = {f.name: getattr(options, f.name, None) for f in fields(RunConfig) if f.name not in ("name", "base", "dataset", "method")}
    given = {name: value for name, value in given.items() if value is not None}
    return replace(config, **given, decoding=chosen_decoding(options))


def progress_line(progress) -> str:
    """One event as a line to read; '' for events that would only fill the screen."""
    values = progress.values
    if progress.kind == "start":
        return f"{values['trained']:,} of {values['parameters']:,} weights learn; {values['steps']} steps"
    if progress.kind == "features":
        return f"vision features: {values['done']} of {values['total']} images"
    if progress.kind == "step":
        return f"epoch {progress.epoch} step {progress.step} loss {values['loss']:.4f} rate {values['rate']:.2e}"
    if progress.kind == "probe":
        return f"  now: {values['captions'][0]}" if values["captions"] else ""
    if progress.kind == "epoch":
        scores = " ".join(f"{name} {score_text(value)}" for name, value in values["scores"].items())
        return f"epoch {progress.epoch} validation loss {values['validation_loss']:.4f} {scores}"
    if progress.kind == "warning":
        return f"warning: {values['text']}"
    if progress.kind == "saved":
        return f"saved {values['folder']} ({values['bytes'] / 1e6:.1f} MB)"
    return values.get("text", "") if progress.kind == "end" else ""


def score_text(value) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def caption_command(options, workspace: Workspace) -> None:
    from explorer.compare import columns
    from explorer.data.images import open_image
    from explorer.train.run import Run, RunConfig

    decoding = chosen_decoding(options)
    run = Run(workspace.run_folder(options.run)) if options.run else None
    epoch = 0 if options.epoch == "base" else epoch_number(options.epoch, run)
    shelf = columns.Shelf(workspace)
    if run is None:  # a base needs no run: stand in one that names it
        run = Run(workspace.root / "none")
        run.__dict__["config"] = RunConfig("none", options.base, "")
    for image in options.image:
        for _, caption in columns.caption_picture(shelf, [(run, epoch)], open_image(Path(image)), decoding):
            print(f"{image}\t{caption.text}")


def epoch_number(text: str | None, run) -> int:
    """The epoch meant by ``text``: a number, "base", or the run's last when nothing is said."""
    if run is None:
        if text not in (None, "base"):
            raise UserError(f"The epoch {text!r} is of no run: name one with --run, or leave the epoch out for the base.")
        return 0
    if text is None:
        return run.checkpoints()[-1].epoch if run.checkpoints() else 0
    if not text.isdigit():
        raise UserError(f"The epoch {text!r} is neither a number nor base.")
    return int(text)


def chosen_decoding(options):
    from explorer.model.captions import Decoding

    for name, value in (("beams", options.beams), ("max tokens", options.max_tokens)):
        if value < 1:
            raise UserError(f"The number of {name} is {value}: take 1 or more.")
    return Decoding(options.beams, options.max_tokens, options.prompt)


def compare_command(options, workspace: Workspace) -> None:
    from explorer.compare import comparison, export, report
    from explorer.data.images import thumbnail_uri
    from explorer.train.run import Run

    table = comparison.build([Run(workspace.run_folder(name)) for name in options.run], workspace)
    thumbnails = workspace.cache / "thumbnails"
    out = Path(options.out)
    if out.suffix.lower() == ".pdf":
        for _ in report.book(table, range(len(table))[: export.SHEETS], out):
            pass
    else:
        export.write(table, range(len(table)), out, lambda path, key, size: thumbnail_uri(Path(path), size, thumbnails, key), options.against)
    print(f"{options.out}: {len(table)} images")


def flags_command(options, workspace: Workspace) -> None:
    from explorer.flag import flags_bench, flags_csv
    from explorer.flag.flags import FlagStore

    if options.bench:
        for line in flags_bench.measure():
            print(line, flush=True)
        return
    if not options.out:
        raise UserError("No file to write: add --out with the name of a CSV.")
    store = FlagStore(workspace)
    flags_csv.export(store, Path(options.out), spreadsheet=options.spreadsheet)
    print(f"{options.out}: {len(store.list())} flags")


def relabel_command(options, workspace: Workspace) -> None:
    from explorer.flag import next_run, relabel, relabel_out
    from explorer.flag.flags import FlagStore
    from explorer.hub import push
    from explorer.train import plan

    if options.push and not options.folder and not options.data:
        raise UserError("Nothing to push: add --data with the dataset to relabel, or --folder with a version made before.")
    folder = Path(options.folder) if options.folder else None
    if folder is None:
        store = FlagStore(workspace)
        flags = store.list(status="open", run=options.run)
        found = next_run.flagged_datasets(workspace, flags) if not options.data else []
        if not options.data and not found:
            raise UserError("No corrected flag is open: correct some in the Flag tab, or bring an edited flags.csv back there.")
        source = plan.find_dataset(options.data, workspace) if options.data else found[0]
        planned = relabel.plan(next_run.read(source, workspace), flags, options.rule)
        print(f"{source.name}: {len(planned.flags)} corrected flags, {len(planned.changed)} images get other references ({options.rule})")
        folder = relabel.write(planned, workspace, options.name)
        relabel.finish(planned, store, folder.name)
        print(f"made {folder}")
    if options.saved:
        print(f"saved {relabel_out.save(folder, Path(options.saved))}")
    if options.push:
        follow_push(push.dataset(folder, options.push))


def push_command(options, workspace: Workspace) -> None:
    from explorer.hub import push

    run, checkpoint = push.chosen(workspace, options.checkpoint)
    follow_push(push.checkpoint(workspace, run, checkpoint.epoch, options.to, not options.public))


def push_data_command(options, workspace: Workspace) -> None:
    from explorer.hub import push
    from explorer.train import plan

    follow_push(push.dataset(plan.find_dataset(options.data, workspace), options.to, not options.public))


def keep_command(options, workspace: Workspace) -> None:
    from explorer.hub.durable import Keep

    repo = options.to or Settings.from_environment().keep
    if not repo:
        raise UserError("Nowhere to keep it: add --to owner/name or a folder, or set EXPLORER_KEEP.")
    keep = Keep(workspace, repo)
    keep.sync()
    print(f"kept in {repo}: {len(keep.here()[0])} flags, {len(keep.state['datasets'])} datasets, {len(keep.state['runs'])} runs")


def follow_push(steps) -> None:
    """Print how far a push is."""
    for step in steps:
        print(step.text, flush=True)


def score_command(options, workspace: Workspace) -> None:
    from explorer.scoring.score import score_dataset

    for line in score_dataset(workspace, options.base, Path(options.data), chosen_decoding(options), options.word):
        print(line, flush=True)


def pointing_command(options, workspace: Workspace) -> None:
    from explorer.compare import pointing

    for line in pointing.describe(workspace, options.run):
        print(line, flush=True)


def scores_command(options, workspace: Workspace) -> None:
    from explorer.compare import review

    for line in review.describe_scores(workspace, options.run, Path(options.out) if options.out else None):
        print(line, flush=True)


def triage_command(options, workspace: Workspace) -> None:
    from explorer.compare import review

    for line in review.describe_triage(workspace, options.run):
        print(line, flush=True)


def pretrain_command(options, workspace: Workspace) -> None:
    from explorer.pretrain import pretrain

    folders, start = [Path(folder) for folder in options.data], Path(options.start) if options.start else None
    print(pretrain(folders, Path(options.out), start=start, say=lambda text: print(text, flush=True)))


def demo_command(options, workspace: Workspace) -> None:
    from explorer import demo

    for line in demo.rebuild(workspace) if options.rebuild else demo.describe(workspace):
        print(line, flush=True)


def space_command(options, workspace: Workspace) -> None:
    from explorer import space
    from explorer.settings import SHIPPED

    wrong = 0
    for finding in space.check(SHIPPED.parent, options.offline):
        print(finding, flush=True)
        wrong += finding.right is False
    if wrong:
        raise UserError(f"{wrong} of these would keep it from running as a Space.")


def load_command(options, workspace: Workspace) -> None:
    from explorer import files, load

    found = load.measure(options.visitors, options.minutes, say=lambda text: print(text, flush=True))
    for line in load.report(found):
        print(line)
    if options.json:
        files.write_json(Path(options.json), found)


def bench_command(options, workspace: Workspace) -> None:
    from explorer import bench
    from explorer.bench.setting import Setting

    data = Path(options.data) if options.data else None
    setting = Setting(base=options.base, images=options.images, data=data, seeds=options.seeds)
    rows = bench.bench(workspace, setting, options.only or (), say=lambda text: print(text, flush=True))
    if options.json:
        bench.keep(Path(options.json), setting, rows)


# --- the words of the command line ------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m explorer", description="Fine-tune captioners, compare epochs, flag captions.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(command=run)
        return one

    add_finetune(command("finetune", finetune_command, "fine-tune a base on captioned images"))
    one = command("caption", caption_command, "caption images by a base or by a checkpoint of a run")
    one.add_argument("image", nargs="+")
    one.add_argument("--run")
    one.add_argument("--epoch", help="a number, or base; the run's last epoch when left out")
    one.add_argument("--base", default="blip-mini", help="used when no run is named")
    add_decoding(one)
    one = command("compare", compare_command, "write the comparison of one or several runs: CSV, parquet, HTML or PDF")
    one.add_argument("--run", action="append", required=True, help="may be given several times")
    one.add_argument("--out", required=True, help="a file that ends in .csv, .parquet, .html (pictures inside) or .pdf (contact sheets)")
    one.add_argument("--against", default="left", choices=["left", "reference"], help="what an HTML file marks words against")
    one = command("flags", flags_command, "write all flags as CSV")
    one.add_argument("--out", help="the CSV to write")
    one.add_argument("--bench", action="store_true", help="measure a store of 100,000 flags, and 8 processes that flag at once")
    one.add_argument("--spreadsheet", action="store_true", help="escape what a spreadsheet would run as a formula")
    one = command("relabel", relabel_command, "make a new dataset version in which corrected flags changed the references")
    one.add_argument("--data", help="the dataset; that of the flagged run, in its newest version, when left out")
    one.add_argument("--run", help="only the flags of this run")
    one.add_argument("--rule", choices=["mistaken", "all", "add"], default="mistaken", help="which references a correction replaces")
    one.add_argument("--name", help="of the new version")
    one.add_argument("--folder", help="a version made before, to save or push")
    one.add_argument("--saved", metavar="FOLDER", help="also write it as a dataset that datasets.load_from_disk opens")
    one.add_argument("--push", metavar="OWNER/NAME", help="also upload it to the Hub")
    one = command("push", push_command, "push a checkpoint to the Hub, with a model card: settings, scores, six images, credits")
    one.add_argument("checkpoint", metavar="RUN[@EPOCH]", help="the run's best epoch when none is named")
    add_target(one)
    one = command("push-data", push_data_command, "push a dataset to the Hub, its pictures byte for byte")
    one.add_argument("data", help="a dataset of the workspace, such as a relabelled version, or an image folder")
    add_target(one)
    one = command("keep", keep_command, "keep flags, relabelled datasets and ended runs in a dataset of the Hub or a mounted bucket, and bring back what is there")
    one.add_argument("--to", metavar="PLACE", help="owner/name of a dataset, or a folder; that of EXPLORER_KEEP when left out")
    one = command("score", score_command, "score a base on a captioned dataset")
    one.add_argument("--base", default="blip-mini")
    one.add_argument("--data", required=True)
    one.add_argument("--word", help="also print the share of captions with this word, over images whose references have it")
    add_decoding(one)
    one = command("scores", scores_command, "score a run's epochs: accuracy, relevance, coherence, hallucination, with intervals")
    one.add_argument("--run", required=True)
    one.add_argument("--out", help="also write the scores of each image and column to this CSV file")
    one = command("triage", triage_command, "print which captions of a run to look at first, and how well that order finds the worst")
    one.add_argument("--run", required=True)
    one = command("pointing", pointing_command, "measure how often heat maps point at the thing a word names, on drawn scenes")
    one.add_argument("--run", default="demo")
    one = command("pretrain", pretrain_command, "train the embedded base from nothing")
    one.add_argument("--data", nargs="+", required=True)
    one.add_argument("--out", required=True)
    one.add_argument("--start", help="a base trained before, to take through sentences and scores again")
    add_bench(command("bench", bench_command, "measure speed beside the usual loop, and quality by method"))
    one = command("space", space_command, "check that this repository will run as a Hugging Face Space, before it is pushed")
    one.add_argument("what", choices=["check"])
    one.add_argument("--offline", action="store_true", help="leave out what asks the package index and the Hub")
    one = command("load", load_command, "measure the page under load: visitors that compare and flag while a fine-tune runs")
    one.add_argument("--visitors", type=int, default=50)
    one.add_argument("--minutes", type=float, default=5.0)
    one.add_argument("--json", help="also write what was measured to this file")
    one = command("demo", demo_command, "describe or rebuild the shipped demo run")
    one.add_argument("--rebuild", action="store_true")
    return top


def add_finetune(one: argparse.ArgumentParser) -> None:
    one.add_argument("--base", default="blip-mini", help="blip-mini, a Hub id, a folder, or a checkpoint of a run: run@epoch")
    one.add_argument("--data", help="an image folder, a zip, a Hub dataset, or scenes")
    one.add_argument("--name", help="the run's name; made from base and data when left out")
    one.add_argument("--resume", metavar="NAME", help="go on with a run; with --epochs, add epochs to it")
    one.add_argument("--on", metavar="MACHINE", help="on Hugging Face Jobs instead of here, such as a10g-small; needs a token")
    one.add_argument("--epochs", type=int)
    one.add_argument("--method", choices=list(METHODS))
    one.add_argument("--batch-size", type=int)
    one.add_argument("--accumulate", type=int)
    one.add_argument("--learning-rate", type=float)
    one.add_argument("--seed", type=int)
    one.add_argument("--images", type=int, help="how many images to use; all when left out")
    one.add_argument("--validation", type=float, help="share of images kept for validation")
    one.add_argument("--validation-images", type=int)
    one.add_argument("--no-augment", dest="augment", action="store_false", default=None)
    one.add_argument("--references", choices=REFERENCES)
    one.add_argument("--label-smoothing", type=float)
    one.add_argument("--weight-decay", type=float)
    one.add_argument("--warmup", type=float)
    one.add_argument("--lora-rank", type=int)
    one.add_argument("--probes", type=int)
    one.add_argument("--best-by", choices=BEST_BY, help="the score that decides the best epoch")
    one.add_argument("--keep", choices=KEEP, help="which checkpoints stay; captions of the others do")
    one.add_argument("--patience", type=int, help="end after so many epochs without a better one; 0: never")
    add_decoding(one)


def add_target(one: argparse.ArgumentParser) -> None:
    one.add_argument("--to", required=True, metavar="OWNER/NAME")
    one.add_argument("--public", action="store_true", help="for everybody to see, six of its pictures too; private when left out")


def add_bench(one: argparse.ArgumentParser) -> None:
    one.add_argument("--only", action="append", metavar="PART", help="training, full, captions, beside, opening, growth, demo or quality; may be repeated")
    one.add_argument("--base", help="a BLIP's folder; one of BLIP-base's size with random weights when left out")
    one.add_argument("--images", type=int, default=24, help="drawn images to train on and to caption")
    one.add_argument("--data", help="captioned photos, for quality")
    one.add_argument("--seeds", type=int, default=3, help="runs of each method, for quality")
    one.add_argument("--json", help="also write the rows to this file")


def add_decoding(one: argparse.ArgumentParser) -> None:
    one.add_argument("--beams", type=int, default=1)
    one.add_argument("--max-tokens", type=int, default=30)
    one.add_argument("--prompt", default="")


if __name__ == "__main__":
    sys.exit(main())
