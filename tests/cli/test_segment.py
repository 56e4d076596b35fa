from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import napari_patchseg
from napari_patchseg.files.images import read_image
from napari_patchseg.files.labels import read_report

WITHOUT_ROOMS = """
import sys
from napari_patchseg.cli import main
code = main(sys.argv[1:])
unwanted = {"napari", "npe2", "qtpy", "PyQt6", "PySide6", "vispy", "pyqtgraph", "matplotlib"}
print(sorted(unwanted & set(sys.modules)), code)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sentences(text: str) -> list[str]:
    """What stderr says apart from progress."""
    return [line for line in text.splitlines() if line.startswith("napari-patchseg")]


# -- what comes out


def test_training_begins_with_a_model(cli, slide, quickly):
    assert cli("train", slide, "-o", "first.safetensors", *quickly).code == 0
    done = cli(
        "segment", slide, "--start", "first.safetensors", "--report", "report.json", *quickly
    )
    assert done.code == 0, done.err
    report = json.loads(Path("report.json").read_text())
    assert (report["start_steps"], report["steps"]) == (3, 3)
    assert report["model_file"] == "first.safetensors"
    labels = tifffile.imread(slide.with_name("slide_nuclei.ome.tif"))
    start = napari_patchseg.load_model("first.safetensors")
    settings = napari_patchseg.Settings.from_dict(report["settings"])
    image = read_image(slide)
    same = napari_patchseg.segment(
        image.array, settings=settings, start=start, pixel_size=image.pixel_size
    )
    np.testing.assert_array_equal(labels, same)
    wrong = cli("segment", slide, "--start", "first.safetensors", "--model", "first.safetensors")
    assert wrong.code == 2
    assert "leave --start out" in wrong.err


def test_labels_beside_the_image(cli, slide, quickly):
    done = cli("segment", slide, "--report", "report.json", *quickly)
    assert done.code == 0, done.err
    assert sentences(done.err) == []
    assert names(slide.parent) == ["report.json", "slide.tif", "slide_nuclei.ome.tif"]
    target = slide.with_name("slide_nuclei.ome.tif")
    labels = tifffile.imread(target)
    assert labels.shape == (128, 144)
    assert labels.dtype == np.uint16
    count = labels.max()
    assert count > 0
    line = (
        rf"{slide}: {count} nuclei of about \d+ px, 3 steps \(step limit\), \d+\.\d s -> {target}\n"
    )
    assert re.fullmatch(line, done.out)
    assert read_image(target).pixel_size == pytest.approx(0.25)
    report = json.loads(Path("report.json").read_text())
    assert report["image_file"] == str(slide)
    assert report["labels_file"] == str(target)
    assert report["steps"] == 3
    assert report["stop_reason"] == "step limit"
    assert report["objects"]["count"] == count
    assert report["positive_separation"] > 0
    assert report["negative_separation"] > 0
    assert report["settings"]["training"]["batch_size"] == 2
    assert report["versions"]["torch"] == torch.__version__
    seconds = report["seconds"]
    phases = {"starting", "reading", "training", "predicting", "labelling", "writing", "total"}
    assert set(seconds) == phases
    assert sum(seconds.values()) - seconds["total"] <= seconds["total"] + 0.01
    saved = read_report(target)
    assert saved is not None
    assert saved["settings"] == report["settings"]
    assert saved["image"]["file"] == "slide.tif"
    assert str(slide.parent) not in json.dumps(saved)  # the user's folders are theirs


def test_same_labels_as_in_python(cli, process, slide, quick, quickly):
    assert process("segment", slide, "-o", "a.tif", *quickly).returncode == 0
    assert cli("segment", slide, "-o", "b.tif", *quickly).code == 0
    image = read_image(slide)
    c = napari_patchseg.segment(image.array, rgb=image.rgb, pixel_size=image.pixel_size, **quick)
    a = tifffile.imread(slide.with_name("a.tif"))
    b = tifffile.imread(slide.with_name("b.tif"))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, c)
    assert cli("segment", slide, "-o", "d.tif", *quickly, "--seed", "5").code == 0
    assert not np.array_equal(a, tifffile.imread(slide.with_name("d.tif")))


def test_no_window_is_imported(slide, quickly):
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    for arguments in (["segment", slide], ["train", slide, "-o", "m.safetensors"]):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_ROOMS, *arguments, *quickly],
            cwd=slide.parent,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        assert done.stdout.endswith("[] 0\n")


def test_several_images_into_a_folder(cli, slide, picture, quickly, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "bad.tif").write_bytes(b"hello")
    done = cli("segment", slide, "bad.tif", picture, "-o", "out", "--report", "all.json", *quickly)
    assert done.code == 1
    assert len(done.out.splitlines()) == 3
    assert "slide.tif (1 of 3): training" in done.err
    assert "picture.png (3 of 3): training" in done.err
    assert sentences(done.err) == [
        "napari-patchseg: bad.tif is not an image that can be read; TIFF, PNG and JPEG can be."
    ]
    assert names(tmp_path / "out") == [
        "picture_nuclei.ome.tif",
        "records",
        "report.html",
        "slide_nuclei.ome.tif",
        "summary.csv",
    ]
    reports = json.loads((tmp_path / "all.json").read_text())
    assert [report["image_file"] for report in reports] == [str(slide), "bad.tif", str(picture)]
    assert [report.get("steps") for report in reports] == [3, None, 3]
    assert "not an image" in reports[1]["error"]


def test_png(cli, picture, quickly):
    assert cli("segment", picture, "-o", "labels.png", *quickly).code == 0
    with Image.open("labels.png") as image:
        assert image.mode.startswith("I;16")
        assert image.size == (144, 128)


def test_diameter_and_its_unit(cli, slide, picture, quickly):
    def diameter(path: Path, text: str) -> tuple[float, str]:
        done = cli(
            "segment", path, "-o", "o.tif", "--overwrite", "--report", "r.json", *quickly,
            "--diameter", text,
        )  # fmt: skip
        assert done.code == 0, done.err
        return json.loads(Path("r.json").read_text())["objects"]["diameter"], done.err

    assert diameter(slide, "6um")[0] == pytest.approx(24)
    assert diameter(slide, "20 px")[0] == pytest.approx(20)
    number, said = diameter(slide, "6")
    assert number == pytest.approx(24)
    assert "diameter 6 taken as µm; 0.25 µm per pixel" in said
    quickly = [*quickly, "--diameter-unit", "px"]
    assert diameter(slide, "20")[0] == pytest.approx(20)
    assert diameter(slide, "6,5um")[0] == pytest.approx(26)
    quickly = quickly[:-2]
    number, said = diameter(picture, "20")
    assert number == pytest.approx(20)
    assert "diameter 20 taken as px; its pixel size is unknown" in said


def test_diameter_in_micrometres_needs_a_pixel_size(cli, picture, quickly):
    done = cli("segment", picture, "--diameter", "6µm", *quickly)
    assert done.code == 1
    (line,) = sentences(done.err)
    assert line.startswith(f"napari-patchseg: {picture}: ")
    assert "pixel size" in line
    assert cli("segment", picture, "--diameter", "6µm", "--pixel-size", "0.5", *quickly).code == 0
    labels = read_image(picture.with_name("picture_nuclei.ome.tif"))
    assert labels.pixel_size == pytest.approx(0.5)


def test_nothing_to_separate(cli, tmp_path, quickly):
    noise = np.random.default_rng(0).integers(0, 256, (96, 96), np.uint8)
    tifffile.imwrite(tmp_path / "noise.tif", noise)
    done = cli("segment", "noise.tif", "--report", "r.json", *quickly)
    assert done.code == 0
    (line,) = sentences(done.err)
    assert line == (
        "napari-patchseg: warning: noise.tif: "
        "Nothing could be separated in this image: it shows no nuclei."
    )
    assert done.out.startswith("noise.tif: 0 nuclei, 0 steps (nothing separated)")
    assert not tifffile.imread("noise_nuclei.ome.tif").any()
    assert json.loads(Path("r.json").read_text())["stop_reason"] == "nothing separated"


def test_not_finite_pixels_are_left_out(cli, tissue, quickly):
    image = tissue.astype(np.float32)
    image[20:50, 30:60] = np.nan
    image[90, 90] = np.inf
    tifffile.imwrite("holes.tif", image, photometric="rgb")
    done = cli("segment", "holes.tif", *quickly)
    assert done.code == 0
    assert sentences(done.err) == [
        "napari-patchseg: warning: holes.tif: 901 pixels are NaN or infinite and left out."
    ]
    labels = tifffile.imread("holes_nuclei.ome.tif")
    assert labels.any()
    assert not labels[20:50, 30:60].any()


# -- what is in the way, before any training


def test_nothing_is_overwritten_unasked(cli, slide, quickly):
    target = slide.with_name("slide_nuclei.ome.tif")
    target.write_bytes(b"corrected by hand")
    done = cli("segment", slide, *quickly)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"napari-patchseg: {target} exists already; choose another name or add --overwrite.\n"
    )
    assert target.read_bytes() == b"corrected by hand"
    assert cli("segment", slide, "--overwrite", *quickly).code == 0
    assert tifffile.imread(target).any()


def test_image_is_never_overwritten(cli, slide, quickly):
    before = slide.read_bytes()
    for arguments in (["-o", slide], ["--report", slide]):
        done = cli("segment", slide, "--overwrite", *arguments, *quickly)
        assert done.code == 2
        assert "read and written at once" in done.err
    done = cli("segment", slide, "--overwrite", "-o", "x.tif", "--report", "x.tif", *quickly)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"napari-patchseg: {slide} and the report would both be written to x.tif; "
        "choose separate outputs.\n"
    )
    assert slide.read_bytes() == before
    assert names(slide.parent) == ["slide.tif"]


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("missing/labels.tif", r"Folder \S+missing does not exist; create it or choose another\."),
        ("", r"--output is empty; name a file or a folder\."),
        ("labels", r"labels is neither a folder nor a name that ends in .*, or write labels/ .*"),
        ("slide.tif/", r"slide\.tif is a file, not a folder; choose another folder\."),
        ("slide.tif/labels/", r"slide\.tif is a file, not a folder; choose another folder\."),
        ("labels.jpg", r"labels\.jpg is neither a folder nor .*"),
        ("slide.tif/labels.tif", r"\S+slide\.tif is a file, not a folder; choose another folder\."),
    ],
)
def test_output_that_cannot_be(cli, slide, quickly, output, sentence):
    done = cli("segment", slide, "-o", output, *quickly)
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(f"napari-patchseg: {sentence}\n", done.err)
    assert names(slide.parent) == ["slide.tif"]


def test_several_images_need_a_folder(cli, slide, picture, quickly, tmp_path):
    done = cli("segment", slide, picture, "-o", "labels.tif", *quickly)
    assert (done.code, done.out) == (2, "")
    assert "labels.tif is one file's name; with several images give a folder" in done.err
    done = cli("segment", slide, picture, "-o", slide, *quickly)
    assert (done.code, done.out) == (2, "")
    assert "with several images the output must be a folder" in done.err
    assert names(tmp_path) == ["picture.png", "slide.tif"]


@pytest.mark.parametrize("several", [True, False])
def test_a_new_folder_is_made(cli, slide, picture, quickly, tmp_path, several):
    images, output = ([slide, picture], "new/deep") if several else ([slide], "new/deep/")
    done = cli("segment", *images, "-o", output, "--report", "new/deep/r.json", *quickly)
    assert done.code == 0, done.err
    of_all = ["picture_nuclei.ome.tif", "records", "report.html", "summary.csv"]
    expected = ["r.json", "slide_nuclei.ome.tif", *(of_all if several else [])]
    assert names(tmp_path / "new" / "deep") == sorted(expected)


def test_a_new_folder_is_not_left_behind_empty(cli, tmp_path, slide, quickly):
    """Neither by a mistake, nor by an image that cannot be read."""
    before = names(tmp_path)
    assert cli("segment", slide, "-o", "new/deep/", "--seed", "-1", *quickly).code == 2
    assert names(tmp_path) == before
    (tmp_path / "text.tif").write_text("text")
    assert cli("segment", "text.tif", "-o", "new/deep/", *quickly).code == 1
    assert names(tmp_path) == [*before, "text.tif"]


def test_two_images_of_one_output_are_named(cli, slide, picture, quickly, tmp_path):
    other = tmp_path / "other" / "slide.png"
    other.parent.mkdir()
    other.write_bytes(picture.read_bytes())
    done = cli("segment", slide, other, "-o", "out", *quickly)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"napari-patchseg: {slide} and {other} would both be written to "
        f"{Path('out') / 'slide_nuclei.ome.tif'}; choose separate outputs.\n"
    )
    done = cli("segment", slide, slide, *quickly)
    assert done.err == f"napari-patchseg: {slide} is given twice.\n"
    assert names(tmp_path) == ["other", "picture.png", "slide.tif"]


def test_all_mistakes_of_a_call_at_once(cli, slide, picture, quickly, tmp_path):
    (tmp_path / "slide_nuclei.ome.tif").write_text("mine")
    before = names(tmp_path)
    done = cli(
        "segment", slide, "none.tif", picture, "*.jpg", *quickly,
        "--seed", "one", "--threshold", "2", "--set", "depth=3", "--set", "fast", "--device", "tpu",
        "--diameter", "-5um", "--pixel-size", "nan", "--model", "none.safetensors",
        "--report", "missing/r.json", "--colour", "red",
    )  # fmt: skip
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert lines == sentences(done.err)
    for part in (
        "no option --colour", "no file none.tif", "No file matches *.jpg", "'fast' is not NAME",
        "--seed: ", "--threshold: ", "--set depth: ", "--device: ", "'-5um'", "'nan'",
        "no file none.safetensors", "missing does not exist", "slide_nuclei.ome.tif exists already",
    ):  # fmt: skip
        assert sum(part in line for line in lines) == 1, part
    assert names(tmp_path) == before
    assert (tmp_path / "slide_nuclei.ome.tif").read_text() == "mine"


def test_no_image_is_begun_while_another_is_missing(cli, slide, quickly, tmp_path):
    done = cli("segment", slide, "none.tif", *quickly)
    assert (done.code, done.out) == (2, "")
    assert done.err == "napari-patchseg: There is no file none.tif.\n"
    assert names(tmp_path) == ["slide.tif"]


# -- what may be given as an image


def test_a_name_that_is_too_long(cli, quickly):
    done = cli("segment", "x" * 300, *quickly)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"napari-patchseg: There is no file {'x' * 300}.\n"


def test_patterns_that_the_shell_left(cli, slide, picture, quickly, tmp_path):
    (tmp_path / "a[1].tif").write_bytes(slide.read_bytes())
    done = cli("segment", "s*.tif", "?icture.png", "a[1].tif", "-o", "out", "-q", *quickly)
    assert done.code == 0, done.err
    assert [name for name in names(tmp_path / "out") if name.endswith(".tif")] == [
        "a[1]_nuclei.ome.tif",
        "picture_nuclei.ome.tif",
        "slide_nuclei.ome.tif",
    ]


def test_results_are_left_out(cli, slide, quickly, tmp_path):
    """What an earlier call wrote beside the images is taken by *.tif, too."""
    assert cli("segment", slide, *quickly).code == 0
    result = slide.with_name("slide_nuclei.ome.tif")
    before = result.read_bytes()
    done = cli("segment", slide, result, "--seed", "3", *quickly)
    assert "exists already" in done.err
    done = cli("segment", slide, result, "--overwrite", "--seed", "3", *quickly)
    assert done.code == 0
    assert sentences(done.err) == [
        f"napari-patchseg: warning: Results of napari-patchseg, not images: {result}; left out."
    ]
    assert result.read_bytes() != before
    done = cli("segment", result, *quickly)
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("; give the images.\n")
    assert names(tmp_path) == ["slide.tif", "slide_nuclei.ome.tif"]


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("notes", "There is no image in folder notes: no .tif, .tiff, .png, .jpg, .jpeg, ..."),
        ("notes/", "There is no image in folder notes: no .tif, .tiff, .png, .jpg, .jpeg, ..."),
        ("slide.zarr", "slide.zarr is a Zarr store, which is not read; save the image as TIFF."),
        ("slides/*.tif", "No file matches slides/*.tif; check the pattern and the folder."),
        ("b?.tif", "No file matches b?.tif; check the pattern and the folder."),
        ("-", "'-' is no file: images cannot be piped in; name a file."),
        ("http://a.tif", "http://a.tif is an address; give the path of a file on this computer."),
        ("file:///a.tif", "file:///a.tif is an address; give the path of a file on this computer."),
        ("", "An image's name is empty; name a file."),
        (r"C:\slides\b.tif", r"There is no file C:\slides\b.tif."),
        ("pipe", "pipe is not an ordinary file; save the image as a file first."),
        ("dangling.tif", "There is no file dangling.tif."),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="names as POSIX has them")
@pytest.mark.parametrize("command", ["segment", "train"])
def test_what_is_no_image(cli, tmp_path, quickly, command, image, sentence):
    (tmp_path / "slides").mkdir()
    (tmp_path / "slide.zarr").mkdir()
    (tmp_path / "notes" / "deep.tif").mkdir(parents=True)
    for name in ("c.tif.txt", ".d.tif", "deep.tif/e.tif"):
        (tmp_path / "notes" / name).touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling.tif").symlink_to("nowhere")
    (tmp_path / "note.tif").touch()
    before = names(tmp_path)
    output = ["-o", "m.safetensors"] if command == "train" else []
    done = cli(command, image, *output, *quickly)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"napari-patchseg: {sentence}\n"
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["a b.tif", "-x.tif", "ä.µ.tif", "~a.tif", ".tif", "no suffix", "a\\b.tif", "%d.tif"]
)
@pytest.mark.skipif(sys.platform == "win32", reason="names as POSIX has them")
def test_odd_names(cli, slide, quickly, tmp_path, name):
    slide.rename(tmp_path / name)
    done = cli("segment", "-q", *quickly, "--", name)
    assert done.code == 0, done.err
    assert names(tmp_path) == sorted([name, f"{Path(name).stem}_nuclei.ome.tif"])


def test_read_only_folder(cli, slide, quickly, read_only):
    for arguments in (["-o", read_only], ["--report", read_only / "r.json"]):
        done = cli("segment", slide, *arguments, *quickly)
        assert (done.code, done.out) == (2, "")
        assert re.fullmatch(r"napari-patchseg: .* is read-only; choose another\.\n", done.err)


def test_disk_full(cli, tissue, small_disk, quickly):
    tifffile.imwrite("big.tif", np.tile(tissue, (2, 2, 1)), photometric="rgb")
    (small_disk / "other").write_bytes(bytes(60 * 1024))
    (small_disk / "labels.tif").write_bytes(b"old")
    done = cli("segment", "big.tif", "-o", small_disk / "labels.tif", "--overwrite", *quickly)
    assert (done.code, done.out) == (1, "")
    assert len(sentences(done.err)) == 1
    assert "the disk is full" in sentences(done.err)[0]
    assert (small_disk / "labels.tif").read_bytes() == b"old"
    assert names(small_disk) == ["labels.tif", "other"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--diameter", "big"], "--diameter: 'big' is no length"),
        (["--diameter", "0"], "--diameter: '0' is no length"),
        (["--diameter", "-5um"], "--diameter: '-5um' is no length"),
        (["--diameter", "5000"], "--diameter: "),
        (["--pixel-size", "nan"], "--pixel-size: 'nan' is no number of µm above 0"),
        (["--pixel-size", "-0.5"], "--pixel-size: '-0.5' is no number of µm above 0"),
        (["--model", "none.safetensors"], "There is no file none.safetensors."),
        (["--model", "."], ". cannot be read: Is a directory."),
        (["--model", ""], "--model is empty; name a file."),
        (["--report", "reports/"], "--report: reports/ is a folder; give a file name."),
        (["--colour"], "There is no option --colour; see napari-patchseg segment --help"),
        (["--treshold", "0.3"], "There is no option --treshold; did you mean --threshold?"),
    ],
)
def test_wrong_arguments(cli, slide, quickly, arguments, sentence):
    done = cli("segment", slide, *quickly, *arguments)
    assert (done.code, done.out) == (2, "")
    (line,) = sentences(done.err)
    assert sentence in line
    assert names(slide.parent) == ["slide.tif"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_no_cuda_here(cli, slide):
    done = cli("segment", slide, "--device", "cuda")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "napari-patchseg: Device 'cuda' is not available here; choose cpu, or 'auto'.\n"
    )


# -- images that are none


def empty(path):
    with pytest.warns(UserWarning, match="zero-size"):
        tifffile.imwrite(path, np.zeros((0, 80), np.uint8))


def truncated(path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
    tifffile.imwrite(path, noise)
    path.write_bytes(path.read_bytes()[:20_000])


def array(values):
    return lambda path: tifffile.imwrite(path, values)


STRIPES = np.tile(np.arange(64, dtype=np.uint8), (64, 1))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.touch(), "image.tif is empty."),
        (lambda path: path.write_text("image"), "image.tif is not an image that can be read"),
        (truncated, "image.tif is a truncated TIFF"),
        (empty, "image.tif"),
        (array(np.full((80, 80), 7, np.uint8)), "image.tif: All pixels have the same value"),
        (array(np.full((80, 80), np.nan, np.float32)), "image.tif: All pixels are NaN or infinite"),
        (array(STRIPES[:63]), "image.tif: The image is 64 x 63 px; both sides must be at least 64"),
        (array(np.arange(4096, dtype=np.uint8)), "image.tif"),
        (array(np.stack([np.stack([np.stack([STRIPES] * 2)] * 2)] * 2)), "more than one plane"),
        (array(STRIPES > 30), "image.tif: The image holds true and false only"),
    ],
)
def test_bad_images(cli, tmp_path, quickly, make, sentence):
    make(tmp_path / "image.tif")
    before = names(tmp_path)
    done = cli("segment", "image.tif", *quickly)
    assert (done.code, done.out) == (1, "")
    (line,) = sentences(done.err)
    assert sentence in line
    assert names(tmp_path) == before


# -- what it says


@pytest.mark.skipif(sys.platform == "win32", reason="terminals can be made on POSIX")
def test_bar_on_a_terminal(slide, quickly, tmp_path):
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with subprocess.Popen(
        [sys.executable, "-m", "napari_patchseg", "segment", str(slide), *quickly],
        stderr=theirs,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
    ) as running:
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            said += part
        assert running.stdout is not None
        result = running.stdout.read()
    os.close(ours)
    assert running.returncode == 0
    assert "training" in said.decode()
    assert "3/3" in said.decode()
    assert "/?" not in said.decode()
    assert "nuclei" in result


def test_quiet(cli, slide, quickly):
    done = cli("segment", slide, "--quiet", *quickly)
    assert done.code == 0
    assert done.err == ""
    assert "nuclei" in done.out


@pytest.mark.skipif(sys.platform == "win32", reason="closed pipes are a thing of POSIX")
def test_closed_pipes(process, slide, quickly):
    reader, writer = os.pipe()
    os.close(reader)
    options = {"capture_output": False, "stdout": writer, "stderr": subprocess.PIPE}
    done = process("segment", slide, *quickly, **options)
    assert done.returncode == 0
    assert "rror" not in done.stderr
    assert slide.with_name("slide_nuclei.ome.tif").exists()
    options = {"capture_output": False, "stdout": writer, "stderr": writer}
    assert process("segment", slide, "--overwrite", *quickly, **options).returncode == 0
    os.close(writer)


def test_terminal_without_micro_sign(process, slide, quickly):
    done = process("segment", slide, "-o", "µ.tif", *quickly, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "\\xb5.tif" in done.stdout
    done = process("segment", "--help", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "\\xb5m per pixel" in done.stdout


def test_what_an_image_is_understood_as_is_said_and_can_be_chosen(cli, slide, quickly):
    done = cli("segment", slide, *quickly)
    assert "stained section, nuclei take the haematoxylin (otherwise: --image-kind)" in done.err
    again = ("--overwrite", "--report", "r.json", *quickly)
    done = cli("segment", slide, "--image-kind", "fluorescence", *again)
    assert "nuclei are brighter than their surroundings; " in done.err
    assert json.loads(Path("r.json").read_text())["settings"]["image_kind"] == "fluorescence"
    done = cli("segment", slide, "--image-kind", "purple", *quickly)
    assert done.code == 2
    assert "--image-kind: " in done.err


def test_a_dim_file_on_black_is_a_section_as_well(cli, slide, tissue, quickly):
    dim = (tissue // 2).copy()
    dim[: dim.shape[0] // 2 + 5] = 0
    tifffile.imwrite("dim.tif", dim, photometric="rgb")
    done = cli("segment", "dim.tif", *quickly)
    assert done.code == 0, done.err
    assert "stained section" in done.err
