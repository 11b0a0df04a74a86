"""A dataset version on its way out: as a `datasets` dataset on disk, as a zip, or on the Hub. Pictures go as their own bytes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from explorer import files
from explorer.data import folder
from explorer.data.hub_data import is_hub_id, short
from explorer.errors import UserError
from explorer.flag import relabel


def save(root: Path, target: Path) -> Path:
    """Write the image folder ``root`` as a `datasets.DatasetDict` with image, captions and file_name, whole or not at all.

    Raises UserError when there is something at ``target`` already, or no picture at ``root``.
    """
    import datasets

    if target.exists():
        raise UserError(f"There is something at {target} already: name a new folder.")
    entries = folder.entries(root, [])
    if not entries:
        raise UserError(f"{root.name} has no pictures to save.")
    kinds = datasets.Features({"image": datasets.Image(), "captions": datasets.List(datasets.Value("string")), "file_name": datasets.Value("string")})
    with files.whole_folder(target) as staging, tempfile.TemporaryDirectory() as cache:
        parts = {}
        for side in sorted({entry.split or "train" for entry in entries}):
            rows = [(str(e.path), list(e.references), e.file_name) for e in entries if (e.split or "train") == side]
            parts[side] = datasets.Dataset.from_generator(_rows, features=kinds, gen_kwargs={"rows": rows}, cache_dir=cache)
        datasets.DatasetDict(parts).save_to_disk(str(staging))
        if (root / relabel.MANIFEST).exists():
            shutil.copyfile(root / relabel.MANIFEST, staging / relabel.MANIFEST)
    return target


def _rows(rows: list[tuple]) -> Iterator[dict]:
    for path, captions, name in rows:
        yield {"image": {"bytes": Path(path).read_bytes(), "path": Path(name).name}, "captions": captions, "file_name": name}


def zipped(root: Path, target: Path) -> Path:
    """The folder as one zip, its files at the top, as the page takes it back in."""
    made = shutil.make_archive(str(target.with_suffix("")), "zip", root)
    return Path(made)


def push(root: Path, repo: str, private: bool = True) -> str:
    """Upload the image folder to the Hub as the dataset ``repo`` (owner/name), with a card; its address.

    Uses the login of this machine (``hf auth login`` or HF_TOKEN). Raises UserError naming the id and the remedy.
    """
    if not is_hub_id(repo):
        raise UserError(f"{repo!r} is not a Hub dataset id: it looks like owner/name.")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    with tempfile.TemporaryDirectory() as place:
        card = Path(place) / "README.md"
        card.write_text(card_text(root), "utf-8")
        try:
            api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo, repo_type="dataset", folder_path=root, commit_message=f"{root.name}", ignore_patterns=[".*", "*/.*"]
            )
            if not (root / "README.md").exists():
                api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=repo, repo_type="dataset", commit_message="card")
        except HfHubHTTPError as error:
            remedy = "log in with a token that may write there" if error.response.status_code in (401, 403) else "try again"
            raise UserError(f"The Hub did not take {repo} ({short(error)}): {remedy}.") from error
        except Exception as error:  # whatever the network library raises, the Hub did not answer
            raise UserError(f"The Hub could not be reached to push {repo} ({short(error)}): check the connection and the login.") from error
    return str(getattr(done, "repo_url", repo))


def card_text(root: Path) -> str:
    """A dataset card: what this version is, what it came from, and that its licence is its pictures'."""
    found = relabel.read_manifest(root)
    lines = ["---", "task_categories: [image-to-text]", "tags: [image-captioning]", "---", "", f"# {root.name}", ""]
    lines.append("Images with references (captions written by people), as an image folder.")
    if found:
        flags = sum(len(row["flags"]) for row in found["examples"])
        lines += [
            "",
            f"A relabelled version of {found['from']['name']}: {flags} flagged captions gave {found['changed']} images other references "
            f"({relabel.RULES[found['rule']]}). `{relabel.MANIFEST}` says what came from which flag.",
        ]
    return "\n".join([*lines, "", "The licence is that of the pictures and captions it was made from.", ""])
