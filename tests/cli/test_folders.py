"""Folders of images: what is done, what is done again, and what is said about it all."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_patchseg.files.labels import read_labels
from napari_patchseg.files.results import FORMATS, load_labels
from napari_patchseg.synthetic import synthetic_field

#: Times that a run is killed; CI of a release may set more.
KILLS = int(os.environ.get("PATCHSEG_TEST_KILLS", "3"))


#: Every kind of result.
ALL = "ome.tif,png,ome.zarr,geojson,geojson.gz,csv,zip"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    """All files, hidden ones and those in folders too."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as opened:
        return list(csv.DictReader(opened))


def sentences(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("napari-patchseg")]


def field(path: Path, seed: int, size: float | None = 0.25) -> None:
    options = {}
    if size is not None:
        options = {"resolution": (1e4 / size, 1e4 / size), "resolutionunit": "CENTIMETER"}
    image = synthetic_field((96, 112), seed=seed)[0]
    tifffile.imwrite(path, image, photometric="rgb", **options)


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """A folder of three fields."""
    folder = tmp_path / "fields"
    folder.mkdir()
    for seed in range(3):
        field(folder / f"{seed}.tif", seed)
    return folder


def page_of(folder: Path) -> HTMLParser:
    """The report's elements, texts and addresses; an element that is left open is a mistake."""

    class Page(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.tags: list[str] = []
            self.texts: list[str] = []
            self.addresses: list[str] = []

        def handle_starttag(self, tag, attributes):
            self.tags.append(tag)
            self.addresses += [text or "" for name, text in attributes if name in ("src", "href")]
            if tag not in ("meta", "img"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

        def handle_data(self, data):
            self.texts.append(data)

    page = Page()
    page.feed((folder / "report.html").read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


# -- a folder in, a folder out


def test_a_folder(cli, fields, quickly):
    (fields / "notes.txt").write_text("not an image")
    (fields / "deep").mkdir()
    done = cli("segment", fields, "-o", "out", *quickly)
    assert done.code == 0, done.err
    assert sentences(done.err) == []
    labels = [f"{seed}_nuclei.ome.tif" for seed in range(3)]
    assert names(Path("out")) == [*labels, "records", "report.html", "summary.csv"]
    found = [tifffile.imread(Path("out") / name) for name in labels]
    table = rows(Path("out/summary.csv"))
    assert [row["Image"] for row in table] == ["0", "1", "2"]
    for row, label in zip(table, found, strict=True):
        count = len(np.unique(label)) - 1
        areas = np.bincount(label.ravel())[1:]
        assert int(row["Nuclei"]) == count
        assert float(row["Median area px^2"]) == np.median(areas)
        assert float(row["Median area µm^2"]) == pytest.approx(np.median(areas) / 16, rel=1e-5)
        assert float(row["Nuclei per mm^2"]) == pytest.approx(count / (96 * 112 / 16e6), rel=1e-5)
        assert float(row["Mean: Area px^2"]) == pytest.approx(np.mean(areas), rel=1e-5)
        assert 0 < float(row["Mean: Mean confidence"]) <= 1
        assert not any(name.startswith(("Mean: Label", "Mean: Centroid")) for name in row)
        assert float(row["Pixel size X µm"]) == pytest.approx(0.25)
        assert (row["Warnings"], row["Error"]) == ("", "")
    total = sum(len(np.unique(label)) - 1 for label in found)
    assert done.out.splitlines()[-1].startswith(f"{total} nuclei in 3 images -> ")


def test_the_time_left_is_of_all_images(cli, fields, quickly):
    done = cli("segment", fields, "-o", "out", *quickly)
    assert re.search(r"0\.tif \(1 of 3\): .*all images about \d+ s left", done.err)
    assert re.search(r"2\.tif \(3 of 3\): measuring nuclei, all images about \d+ s left", done.err)
    one = cli("segment", fields / "0.tif", *quickly)
    assert "all images" not in one.err


def test_the_report_is_one_page_without_scripts(cli, fields, quickly, tmp_path):
    name = "<b>&'µ.tif"
    field(fields / name, 5)
    (fields / "broken.tif").write_text("<script>")
    assert cli("segment", fields, "-o", "out", "--seed", "7", *quickly).code == 1
    page = page_of(Path("out"))
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert sum(name == text for text in page.texts) == 2
    assert page.tags.count("img") == page.tags.count("svg") == 4
    assert all(text.startswith(("data:image/jpeg;base64,", "#image-")) for text in page.addresses)
    text = " ".join(page.texts)
    assert "broken.tif is not an image that can be read" in text
    assert str(tmp_path) not in text
    assert "fields" not in text


def test_large_images_are_shown_whole_and_in_part(cli, quickly):
    image = synthetic_field((520, 700), seed=1)[0]
    tifffile.imwrite("large.tif", image, photometric="rgb")
    assert cli("segment", "large*.tif", "-o", "out", *quickly).code == 0
    assert page_of(Path("out")).tags.count("img") == 2


def test_an_image_without_nuclei_and_one_without_pixel_size(cli, fields, quickly):
    noise = np.random.default_rng(0).integers(0, 256, (96, 96), np.uint8)
    tifffile.imwrite(fields / "noise.tif", noise)
    field(fields / "bare.tif", 4, None)
    assert cli("segment", fields, "-o", "out", *quickly).code == 0
    table = {row["Image"]: row for row in rows(Path("out/summary.csv"))}
    assert table["noise"]["Nuclei"] == "0"
    assert "shows no nuclei" in table["noise"]["Warnings"]
    assert table["noise"]["Median area px^2"] == ""
    assert table["bare"]["Median area µm^2"] == ""
    assert float(table["bare"]["Median area px^2"]) > 0
    page = page_of(Path("out"))
    assert "shows no nuclei" in " ".join(page.texts)
    assert (page.tags.count("img"), page.tags.count("svg")) == (5, 4)


def test_results_in_the_folder_of_the_images_are_no_images(cli, fields, quickly):
    assert cli("segment", fields, "-o", fields, "--formats", "ome.tif,png", *quickly).code == 0
    before = names(fields)
    done = cli("segment", fields, "-o", fields, "--formats", "ome.tif,png", "--resume", *quickly)
    assert done.code == 0, done.err
    assert done.out.count("done before") == 3
    assert names(fields) == before


def test_all_below_a_folder(cli, fields, quickly, tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    shutil.move(fields / "2.tif", tmp_path / "deep" / "er")
    assert cli("segment", "**/*.tif", "-o", "out", *quickly).code == 0
    assert [row["Image"] for row in rows(Path("out/summary.csv"))] == ["2", "0", "1"]


def test_several_files_of_one_image(cli, slide, quickly):
    given = ["a.tif", "b.geojson", "c.CSV", "d.zip", "e.ome.zarr", "f.png", "g.geojson.gz"]
    outputs = [text for name in given for text in ("-o", name)]
    done = cli("segment", slide, *outputs, *quickly)
    assert done.code == 0, done.err
    assert names(slide.parent) == sorted([*given, "slide.tif"])
    expected = tifffile.imread("a.tif")
    for name in given:
        if name != "c.CSV":
            np.testing.assert_array_equal(load_labels(name, expected.shape).labels, expected)
            assert load_labels(name).pixel_size == pytest.approx((0.25, 0.25))
    table = rows(Path("c.CSV"))
    assert {row["Image"] for row in table} == {"slide"}
    assert [int(row["Label"]) for row in table] == list(np.unique(expected)[1:])
    areas = [int(row["Area px^2"]) for row in table]
    assert areas == list(np.bincount(expected.ravel())[1:])
    objects = json.loads(Path("b.geojson").read_text())["features"]
    assert [one["properties"]["measurements"]["Area px^2"] for one in objects] == areas
    assert all(0 < float(row["Mean confidence"]) <= 1 for row in table)
    assert float(table[0]["Haematoxylin OD mean"]) > 0

    done = cli("segment", slide, *outputs, *quickly)
    assert done.code == 2
    assert len(sentences(done.err)) == len(given)
    assert cli("segment", slide, *outputs, "--overwrite", "--seed", "3", *quickly).code == 0
    assert not np.array_equal(load_labels("e.ome.zarr").labels, expected)
    assert cli("segment", slide, "--formats", ".PNG, ome.tif", *quickly).code == 0
    assert {"slide_nuclei.png", "slide_nuclei.ome.tif"} <= set(names(slide.parent))


def test_every_format_is_in_the_help(cli):
    said = cli("segment", "--help").out
    assert all(kind.endings[0].removeprefix(".") in said for kind in FORMATS)


# -- images that fail, and what is done before


def test_what_fails_is_said_and_skipped_and_done_when_mended(cli, fields, quickly):
    for seed in range(3, 9):
        field(fields / f"{seed}.tif", seed)
    (fields / "broken.tif").write_bytes((fields / "0.tif").read_bytes()[:3000])
    (fields / "empty.tif").touch()
    (fields / "gone.tif").symlink_to("nowhere")
    done = cli("segment", fields, "-o", "out", "--report", "r.json", *quickly)
    assert done.code == 1
    assert len(list(Path("out").glob("*.ome.tif"))) == 9
    said = sentences(done.err)
    assert len(said) == 3
    for name, line in zip(("broken", "empty", "gone"), said, strict=True):
        assert f"{name}.tif" in line
    table = rows(Path("out/summary.csv"))
    assert len(table) == 12
    assert [row["Image"] for row in table if row["Error"]] == [
        "broken",
        "empty",
        "gone",
    ]
    assert not any(str(fields) in row["Error"] for row in table)
    assert sum("error" in entry for entry in json.loads(Path("r.json").read_text())) == 3
    assert "9 images, 3 without a result" in done.out

    (fields / "gone.tif").unlink()
    for seed, name in enumerate(("broken", "empty", "gone"), 20):
        field(fields / f"{name}.tif", seed)
    again = cli("segment", fields, "-o", "out", "--report", "r.json", "--resume", *quickly)
    assert again.code == 0, again.err
    assert again.out.count("done before") == 9
    assert len(list(Path("out").glob("*.ome.tif"))) == 12
    assert not any(row["Error"] for row in rows(Path("out/summary.csv")))
    assert cli("segment", fields, "-o", "whole", *quickly).code == 0
    assert contents(Path("out")) == contents(Path("whole"))


def test_resume_does_what_is_new(cli, fields, quickly):
    assert cli("segment", fields, "-o", "out", "--resume", *quickly).code == 0
    before = {name: (Path("out") / name).stat().st_mtime_ns for name in names(Path("out"))}
    field(fields / "3.tif", 3)
    os.utime(fields / "0.tif")  # no time decides
    done = cli("segment", fields, "-o", "out", "--resume", *quickly)
    assert (done.code, done.out.count("done before")) == (0, 3)
    after = {name: (Path("out") / name).stat().st_mtime_ns for name in names(Path("out"))}
    assert {name for name, when in before.items() if after[name] == when} == {
        f"{seed}_nuclei.ome.tif" for seed in range(3)
    }
    done = cli("segment", fields, "-o", "out", "--resume", "--formats", "ome.tif,png", *quickly)
    assert done.code == 0, done.err
    assert len(list(Path("out").glob("*.png"))) == 4
    assert (Path("out") / "0_nuclei.ome.tif").stat().st_mtime_ns == before["0_nuclei.ome.tif"]


def test_resume_replaces_nothing_unasked(cli, fields, quickly):
    assert cli("segment", fields, "-o", "out", *quickly).code == 0
    before = contents(Path("out"))
    done = cli("segment", fields, "-o", "out", "--resume", "--seed", "3", *quickly)
    assert (done.code, done.out) == (2, "")
    (line,) = sentences(done.err)
    assert line.startswith("napari-patchseg: out holds results of other settings, ")
    assert contents(Path("out")) == before

    field(fields / "1.tif", 9)
    done = cli("segment", fields, "-o", "out", "--resume", *quickly)
    assert (done.code, done.out.count("done before")) == (1, 2)
    assert "1.tif has changed since 1_nuclei.ome.tif was made" in done.err
    name = "1_nuclei.ome.tif"
    assert (Path("out") / name).read_bytes() == before[name]
    done = cli("segment", fields, "-o", "out", "--resume", "--overwrite", *quickly)
    assert (done.code, done.out.count("done before")) == (0, 2)
    assert (Path("out") / name).read_bytes() != before[name]


def test_resume_takes_no_stranger_for_a_result(cli, fields, quickly):
    Path("out").mkdir()
    for name in ("1_nuclei.ome.tif", "summary.csv", "r.json"):
        (Path("out") / name).write_text('{"mine": 1}')
    before = contents(Path("out"))
    done = cli("segment", fields, "-o", "out", "--report", "out/r.json", "--resume", *quickly)
    assert (done.code, done.out) == (2, "")
    assert len(sentences(done.err)) == 3
    assert contents(Path("out")) == before


def test_what_was_corrected_counts(cli, fields, quickly):
    hints = np.zeros((96, 112), np.uint8)
    hints[40:50, 40:50] = 1
    tifffile.imwrite("h.tif", hints)
    command = ["segment", fields / "0.tif", "-o", "out/", "--resume", *quickly]
    assert cli(*command, "--hints", "h.tif").code == 0
    done = cli(*command, "--hints", "h.tif")
    assert (done.code, done.out.count("done before")) == (0, 1)
    assert cli(*command).code == 2


def test_a_file_that_no_record_speaks_of_is_no_result(cli, fields, quickly):
    command = ["segment", fields, "-o", "out", *quickly]
    assert cli(*command, "--formats", "png,ome.tif", "--seed", "3").code == 0
    assert cli(*command, "--overwrite").code == 0  # the PNGs are still those of the other seed
    before = contents(Path("out"))
    done = cli(*command, "--formats", "png,ome.tif", "--resume")
    assert done.code == 1
    assert "0_nuclei.png exists already" in done.err
    after = contents(Path("out"))
    assert {name for name in before if after[name] != before[name]} <= {
        "summary.csv",
        "report.html",
    }
    done = cli(*command, "--formats", "png,ome.tif", "--resume", "--overwrite")
    assert (done.code, done.out.count("done before")) == (0, 0)
    for seed in range(3):
        made = [load_labels(Path("out") / f"{seed}_nuclei.{end}") for end in ("png", "ome.tif")]
        np.testing.assert_array_equal(made[0].labels, made[1].labels)


def test_a_record_that_is_damaged_is_none(cli, fields, quickly):
    assert cli("segment", fields, "-o", "out", *quickly).code == 0
    before = contents(Path("out"))
    (Path("out") / "records" / "1_nuclei.json").write_text("{")
    done = cli("segment", fields, "-o", "out", "--resume", *quickly)
    assert done.code == 2
    assert "1_nuclei.ome.tif exists already" in done.err
    (Path("out") / "1_nuclei.ome.tif").unlink()
    assert cli("segment", fields, "-o", "out", "--resume", *quickly).code == 0
    assert contents(Path("out")) == before


def test_killed_at_any_moment_it_ends_as_if_undisturbed(cli, fields, quickly, tmp_path):
    draw = random.Random(0)
    command = ["segment", "fields", "--formats", ALL, "--train-on", "first", *quickly, "-o"]
    start = time.monotonic()
    assert cli(*command, "whole").code == 0
    longest = time.monotonic() - start
    expected = contents(tmp_path / "whole")
    for number in range(KILLS):
        folder = f"killed-{number}"
        for _ in range(draw.randint(1, 2)):
            with subprocess.Popen(
                [sys.executable, "-m", "napari_patchseg", *command, folder, "--resume"],
                cwd=tmp_path,
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            ) as running:
                assert running.stderr is not None
                running.stderr.readline()  # what is before, loading libraries, leaves nothing
                time.sleep(draw.uniform(0, longest))
                running.kill()
                running.communicate(timeout=300)
        again = cli(*command, folder, "--resume")
        assert again.code == 0, again.err
        assert contents(tmp_path / folder) == expected


#: Runs the command line in a process that kills itself at the nth time that a file is begun, or
#: about to take its place.
KILLED = """
import os, signal, sys
left = int(sys.argv.pop(1))
def watch(event, args):
    global left
    begun = event == "open" and str(args[0]).endswith(".part") and args[1] in ("r+", "rb+")
    if begun or event == "os.rename":
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
from napari_patchseg.cli import main
sys.exit(main(sys.argv[1:]))
"""


def killed(nth: int, *arguments: str) -> int:
    """The exit code."""
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(nth), *arguments],
        check=False,
        capture_output=True,
        timeout=300,
    ).returncode


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize("nth", [1, 4, 6, 9, 20])
def test_killed_while_writing(cli, fields, quickly, nth):
    command = ["segment", "fields", "--formats", ALL, *quickly, "-o"]
    assert cli(*command, "whole").code == 0
    assert killed(nth, *command, "out", "--resume") == -signal.SIGKILL
    again = cli(*command, "out", "--resume")
    assert again.code == 0, again.err
    assert contents(Path("out")) == contents(Path("whole"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize(("nth", "more"), [(3, ["--overwrite"]), (9, []), (11, [])])
def test_killed_while_another_plan_is_overwritten(cli, fields, quickly, nth, more):
    """After a record of the new plan, before the model, labels or table that it speaks of."""
    command = ["segment", "fields/0*.tif", "--formats", "ome.tif,csv", *quickly]
    command += ["--train-on", "first", "-o"]
    assert cli(*command, "whole", "--seed", "3").code == 0
    assert cli(*command, "out").code == 0
    arguments = [*command, "out", "--seed", "3", "--resume"]
    assert killed(nth, *arguments, "--overwrite") == -signal.SIGKILL
    again = cli(*arguments, *more)
    assert again.code == 0, again.err
    assert contents(Path("out")) == contents(Path("whole"))


# -- one model for all


def test_train_once_and_use_it_for_all(cli, fields, quickly):
    done = cli("segment", fields, "-o", "out", "--train-on", "first", *quickly)
    assert done.code == 0, done.err
    assert "model.safetensors" in names(Path("out"))
    assert done.out.count("model of 3 steps") == 3
    assert cli("train", fields / "0.tif", "-o", "m.safetensors", *quickly).code == 0
    model = Path("m.safetensors").read_bytes()
    assert (Path("out") / "model.safetensors").read_bytes() == model
    assert cli("segment", fields, "-o", "with", "--model", "m.safetensors", *quickly).code == 0
    for seed in range(3):
        name = f"{seed}_nuclei.ome.tif"
        one, two = read_labels(Path("out") / name), read_labels(Path("with") / name)
        np.testing.assert_array_equal(one.labels, two.labels)
    before = contents(Path("out"))
    done = cli("segment", fields, "-o", "out", "--train-on", "first", "--resume", *quickly)
    assert (done.code, done.out.count("done before"), done.out.count("trained before")) == (0, 3, 1)
    assert contents(Path("out")) == before


def test_train_on_several(cli, fields, quickly):
    two = ["--train-on", fields / "0.tif", "--train-on", f"{fields}/[12].tif"]
    done = cli("segment", fields / "2.tif", "-o", "out", *two, *quickly)
    assert done.code == 0, done.err
    assert done.out.startswith("3 images: ")
    done = cli("segment", fields / "2.tif", "-o", "out", "--train-on", fields, "--resume", *quickly)
    assert (done.code, done.out.count("done before")) == (0, 1)  # the same three


def test_what_cannot_be_trained_on(cli, fields, quickly):
    (fields / "broken.tif").write_text("text")
    done = cli("segment", fields, "-o", "out", "--train-on", fields / "broken.tif", *quickly)
    assert (done.code, done.out) == (2, "")
    assert "broken.tif is not an image that can be read" in done.err
    assert not Path("out").exists()
    done = cli("segment", fields, "-o", "out", "--train-on", "none.tif", *quickly)
    assert (done.code, done.err) == (2, "napari-patchseg: There is no file none.tif.\n")


# -- wrong uses


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fields", "--resume"], "--resume needs a folder for all results; add -o with one."),
        (
            ["fields/0.tif", "--resume", "-o", "a.tif"],
            "--resume needs a folder for all results; add -o with one.",
        ),
        (
            ["fields", "--train-on", "first"],
            "--train-on needs a folder for all results; add -o with one.",
        ),
        (
            ["fields", "-o", "fields/0.tif"],
            "fields/0.tif is a file; with several images the output must be a folder.",
        ),
        (
            ["fields", "-o", "a.tif", "-o", "b.tif"],
            "a.tif is one file's name; with several images give a folder, such as a/",
        ),
        (
            ["fields/0.tif", "-o", "a.tif", "-o", "b/"],
            "b/ is a folder; give it alone, and --formats for what is written there.",
        ),
        (
            ["fields/0.tif", "-o", "a.tif", "--formats", "png"],
            "--formats is for a folder; the names after -o say what they are.",
        ),
        (["fields", "-o", "out", "--formats", "png,docx"], "--formats: 'docx' is none; choose "),
        (["fields", "-o", "out", "--formats", ""], "--formats: '' is none; choose "),
        (
            ["fields", "other", "-o", "out"],
            "fields/0.tif and other/0.tif would both be written to out/0_nuclei.ome.tif; ",
        ),
        (["empty", "-o", "out"], "There is no image in folder empty: no .tif, .tiff, "),
        (
            ["fields", "-o", "out", "--report", "out/summary.csv"],
            "the folder's summary.csv and the report would both be written to out/summary.csv; ",
        ),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="names as POSIX has them")
def test_wrong_uses(cli, fields, quickly, arguments, sentence):
    shutil.copytree(fields, "other")
    Path("empty").mkdir()
    before = names(Path())
    done = cli("segment", *arguments, *quickly)
    assert (done.code, done.out) == (2, "")
    assert any(line.startswith(f"napari-patchseg: {sentence}") for line in done.err.splitlines())
    assert names(Path()) == before


def test_a_full_disk_ends_the_work_and_it_can_be_resumed(cli, fields, small_disk, quickly):
    out = small_disk / "out"
    (small_disk / "other").write_bytes(bytes(44 * 1024))
    done = cli("segment", fields, "-o", out, *quickly)
    assert done.code == 1
    assert "the disk is full" in done.err
    assert "not begun" in done.err
    assert not (out / "summary.csv").exists()
    (small_disk / "other").unlink()
    done = cli("segment", fields, "-o", out, "--resume", "--formats", "png", *quickly)
    assert done.code == 1  # of a disk of 64 kB, the report takes more
