import json
import subprocess
import sys

import pytest
from helpers_runs import epoch, example, make_images, make_run
from PIL import Image

from explorer.compare import report
from explorer.errors import UserError

HOSTILE = [
    "costs $5 and $x^2$ \\frac{1}{2} _ % # & <script>",
    "قطة سوداء 🐈‍⬛ שלום हिन्दी",
    "一只棕色的狗在草地上奔跑嘴里叼着一个红色的球" * 3,
    "half \ud83d emoji \x00\x07 \u202e \n\t",
    "a dog " * 500 + "W" * 300,
    "",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("report")
    examples = [example(path, ["a dog"]) for path in make_images(home / "photos", 7)]
    log = [epoch(0, 3.3), epoch(1, 2.6, 3.86), epoch(2, 9.9, 9.9), epoch(2, 2.1, 1.912)]
    plain = [f"a photo number {number}" for number in range(7)]
    return make_run(home, examples, [plain, plain, plain[::-1]], log=log)


def test_title_says_the_epoch_and_its_losses_by_the_last_row_of_the_log(run):
    assert [report.title(run, number) for number in (0, 1, 2, 3)] == [
        "base · validation loss 3.30",
        "epoch 1 · training loss 3.86 · validation loss 2.60",
        "epoch 2 · training loss 1.91 · validation loss 2.10",
        "epoch 3",
    ]


def test_there_is_one_sheet_for_the_base_and_for_every_epoch(run, tmp_path):
    sheets = report.contact_sheets(run, tmp_path / "new" / "sheets")
    assert [path.name for path in sheets] == ["pets-base.png", "pets-epoch-1.png", "pets-epoch-2.png"]
    sizes = {Image.open(path).size for path in sheets}
    assert len(sizes) == 1, "sheets of as many lines are of one size, to be laid side by side"
    assert sorted((tmp_path / "new" / "sheets").iterdir()) == sheets, "nothing half written is left"


def test_a_sheet_shows_its_pictures_and_grows_by_rows_of_three(run, tmp_path):
    sizes = []
    for count in (3, 6, 7):
        with Image.open(report.contact_sheet(run, 1, tmp_path / f"{count}.png", images=count)) as sheet:
            colors = {color for _, color in sheet.convert("RGB").getcolors(1 << 20)}
            sizes.append(sheet.size)
        assert {(255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)} <= colors  # red, green, blue photos on white paper
    assert sizes[0][1] < sizes[1][1] < sizes[2][1] and len({width for width, _ in sizes}) == 1


def test_the_same_captions_give_the_same_file(run, tmp_path):
    for ending in ("png", "pdf"):
        first, second = (report.contact_sheet(run, 1, tmp_path / f"{n}.{ending}") for n in (1, 2))
        assert first.read_bytes() == second.read_bytes()


def test_all_epochs_are_the_pages_of_one_pdf(run, tmp_path):
    book = report.all_epochs(run, tmp_path / "run.pdf").read_bytes()
    assert book.startswith(b"%PDF") and book.count(b"/Type /Page ") + book.count(b"/Type /Page\n") == 3


@pytest.mark.parametrize("ending", ["png", "pdf"])
@pytest.mark.filterwarnings("error")
def test_any_text_and_a_picture_that_is_gone_can_be_drawn(tmp_path, ending):
    examples = [example(path, ["a dog"]) for path in make_images(tmp_path / "photos", 6)]
    # JSON keeps half an emoji as an escape; write it the way another program may have.
    hostile = make_run(tmp_path, examples, [["x"] * 5 + [None]])
    lines = [f'{{"image_id": "{e["image_id"]}", "text": {ascii_json(text)}}}\n' for e, text in zip(examples, HOSTILE, strict=True)]
    hostile.caption_file(0).write_text("".join(lines))
    (tmp_path / "photos" / "photo-001.png").unlink()
    (tmp_path / "photos" / "photo-002.png").write_bytes(b"no picture")
    assert report.contact_sheet(hostile, 0, tmp_path / f"sheet.{ending}").stat().st_size > 10_000


def ascii_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)


@pytest.mark.parametrize("text", [*HOSTILE, "word " * 40, "MAN WITH WWW " * 9])
def test_captions_are_wrapped_into_lines_that_fit_and_lose_no_word(text):
    lines = report.wrapped(text)
    assert 1 <= len(lines) <= report.LINES
    assert all(report.breadth(line.removesuffix(" …")) <= report.ROOM for line in lines)
    if len(lines) < report.LINES and text.isascii() and text.isprintable() and text:
        assert " ".join(lines) == text.strip()


def test_an_image_without_a_caption_says_so_and_the_sheet_is_drawn(tmp_path):
    examples = [example(path, ["a dog"]) for path in make_images(tmp_path / "photos", 2)]
    run = make_run(tmp_path, examples, [["a dog", None]])
    assert report.contact_sheet(run, 0, tmp_path / "sheet.png").exists()


def test_errors_name_the_run_the_epoch_and_the_ending(run, tmp_path):
    with pytest.raises(UserError, match="'pets' has no captions of epoch 9"):
        report.contact_sheet(run, 9, tmp_path / "sheet.png")
    with pytest.raises(UserError, match="sheet.gif cannot be drawn: take a name that ends in .png or .pdf"):
        report.contact_sheet(run, 1, tmp_path / "sheet.gif")
    empty = make_run(tmp_path, [], [])
    assert report.contact_sheets(empty, tmp_path / "none") == []
    with pytest.raises(UserError, match="has no captions yet"):
        report.all_epochs(empty, tmp_path / "run.pdf")


def test_importing_the_comparison_and_the_report_loads_no_heavy_library():
    heavy = {"torch", "transformers", "gradio", "matplotlib", "pycocoevalcap"}
    code = f"import sys, explorer.compare.report, explorer.compare.comparison, explorer.train.health; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
