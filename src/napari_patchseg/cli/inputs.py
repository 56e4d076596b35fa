"""The images that the command line is given: files, and patterns that the shell left alone."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from napari_patchseg.errors import FileError, ImageError, PatchSegError
from napari_patchseg.files.images import ImageFile, read_image
from napari_patchseg.files.labels import read_report
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.settings import Settings

from .console import Console
from .mistakes import Mistakes

#: Ends of image files' names.
IMAGES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".svs", ".ndpi", ".bmp", ".webp", ".jp2")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def image_files(texts: Sequence[str], mistakes: Mistakes, console: Console) -> list[Path]:
    """The images meant, each once; what is none is a mistake.

    Labels that an earlier call wrote beside its images are left out, with a warning: ``*.tif``
    takes them too.
    """
    if not texts:
        mistakes.add("No image is given; name one or several files.")
    found: dict[Path, None] = {}
    for text in texts:
        matching = mistakes.of(_matching, text) or []
        named = matching == [Path(os.path.expanduser(text))]
        for path in matching:
            if path in found:
                if named:  # a pattern may take what was named, too
                    mistakes.add(f"{path} is given twice.")
            elif mistakes.of(_checked, path):
                found[path] = None
    ours = [path for path in found if _is_ours(path)]
    images = [path for path in found if path not in ours]
    if ours:
        names = ", ".join(str(path) for path in ours[:3])
        more = f" and {len(ours) - 3} more" if len(ours) > 3 else ""
        sentence = f"Results of napari-patchseg, not images: {names}{more}"
        if images:
            console.warn(f"{sentence}; left out.")
        else:
            mistakes.add(f"{sentence}; give the images.")
    return images


def read(
    path: Path, settings: Settings, console: Console, pixel_size: float | None = None
) -> tuple[ImageFile, Pixels]:
    """Read an image, and say how it is understood.

    Parameters
    ----------
    path, settings, console : Path, Settings, Console
        The file, how it may be understood, and who is told.
    pixel_size : float or None
        µm, instead of what the file says.

    Raises
    ------
    FileError, ImageError
        If it is no image that can be segmented.
    """
    file = read_image(path)
    if pixel_size is not None:
        file = replace(file, pixel_size_yx=(pixel_size, pixel_size))
    try:
        pixels = Pixels.from_array(
            file.array, rgb=file.rgb, channel_axis=file.channel_axis, image_kind=settings.image_kind
        )
    except MemoryError as error:
        raise ImageError("The image does not fit into memory; crop it first.") from error
    otherwise = " (otherwise: --image-kind)" if settings.image_kind is None else ""
    console.note(f"{path}: {pixels.description}{otherwise}; {scale_of(file)}")
    return file, pixels


def scale_of(file: ImageFile) -> str:
    """An image's pixel size in words."""
    if file.pixel_size is None:
        return "its pixel size is unknown"
    return f"{file.pixel_size:.4g} µm per pixel"


def about(path: Path, error: PatchSegError) -> str:
    """An error's sentence, with the image it is about."""
    return str(error) if isinstance(error, FileError) else f"{path}: {error}"  # it names its file


def _matching(text: str) -> list[Path]:
    """The files that a text names."""
    if not text.strip():
        raise FileError("An image's name is empty; name a file.")
    if text == "-":
        raise FileError("'-' is no file: images cannot be piped in; name a file.")
    if _ADDRESS.match(text):
        raise FileError(f"{text} is an address; give the path of a file on this computer.")
    path = Path(os.path.expanduser(text))
    if glob.has_magic(text) and not os.path.lexists(path):
        # Of Windows' shells, or in quotes. A file may have such a name too: hence the look.
        matching = [Path(name) for name in sorted(glob.glob(str(path))) if os.path.isfile(name)]
        if not matching:
            raise FileError(f"No file matches {text}; check the pattern and the folder.")
        return matching
    return [path]


def _checked(path: Path) -> bool:
    """True; raises `FileError` where this is no file with something in it."""
    if os.path.isdir(path):  # not Path's: it raises where a folder above may not be read
        raise FileError(_folder(path))
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe may never begin to speak
        raise FileError(f"{path} is not an ordinary file; save the image as a file first.")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError:
        empty = True
    if empty:
        read_image(path)  # says why not
    return True


def _folder(path: Path) -> str:
    if path.suffix.lower() == ".zarr":
        return f"{path} is a Zarr store, which is not read; save the image as TIFF."
    inside = [item.suffix for item in path.glob("*") if item.suffix.lower() in IMAGES]
    suffix = max(inside, key=inside.count, default=".tif")
    return f"{path} is a folder; give its images, such as {path / f'*{suffix}'}"


def _is_ours(path: Path) -> bool:
    try:
        return read_report(path) is not None
    except PatchSegError:
        return False
