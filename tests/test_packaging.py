"""The package as others meet it: imports, manifest, distributions, system packages."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from email.message import Message
from email.parser import Parser
from pathlib import Path
from types import ModuleType

import pytest
from app_model.expressions import parse_expression
from napari._app_model.constants import MenuId
from npe2 import PluginManifest

import napari_patchseg
from napari_patchseg.files.results import FORMATS, format_of

FreshPython = Callable[..., subprocess.CompletedProcess[str]]
HEAVY = ("torch", "qtpy", "PyQt6", "PySide6", "napari", "skimage", "scipy", "numpy")


# -- importing


def test_importing_the_package_imports_nothing_heavy(fresh_python: FreshPython) -> None:
    code = (
        "import sys, napari_patchseg\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
        "print(sum(name.startswith('napari_patchseg') for name in sys.modules))\n"
        "print(napari_patchseg.__version__)"
    )
    loaded, own, version = fresh_python("-c", code).stdout.splitlines()
    assert loaded == "[]"
    assert own == "1"  # of the package's modules
    assert version == importlib.metadata.version("napari-patchseg")


@pytest.mark.parametrize("name", napari_patchseg.__all__)
def test_public_names_exist(name: str) -> None:
    assert getattr(napari_patchseg, name) is not None
    assert name in dir(napari_patchseg)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="segmnet"):
        _ = napari_patchseg.segmnet


def test_settings_and_errors_need_no_torch(fresh_python: FreshPython) -> None:
    code = (
        "import sys\n"
        "from napari_patchseg import PatchSegError, Settings\n"
        "Settings.create()\n"
        "print('torch' in sys.modules, 'napari' in sys.modules)"
    )
    assert fresh_python("-c", code).stdout.split() == ["False", "False"]


def test_inside_napari_the_layer_menu_is_extended_at_once(fresh_python: FreshPython) -> None:
    code = (
        "import sys, napari.plugins, napari_patchseg\n"
        "print('napari_patchseg.plugin.layer_menu' in sys.modules, 'torch' in sys.modules)"
    )
    assert fresh_python("-c", code).stdout.split() == ["True", "False"]


def test_a_broken_layer_menu_does_not_break_napari(fresh_python: FreshPython) -> None:
    code = (
        "import sys, napari.plugins\n"
        "sys.modules['napari_patchseg.plugin.layer_menu'] = None\n"  # importing it now fails
        "import napari_patchseg\n"
        "print(napari_patchseg.__version__)"
    )
    done = fresh_python("-c", code)
    assert done.stdout.strip() == napari_patchseg.__version__
    assert "No right-click entry" in done.stderr


# -- manifest


@pytest.fixture(scope="module")
def manifest_file() -> Path:
    return Path(napari_patchseg.__file__).parent / "_manifest" / "napari.yaml"


@pytest.fixture(scope="module")
def manifest(manifest_file: Path) -> PluginManifest:
    return PluginManifest.from_file(manifest_file)


def test_the_manifest_is_found_by_its_entry_point(manifest: PluginManifest) -> None:
    (entry,) = (
        entry
        for entry in importlib.metadata.entry_points(group="napari.manifest")
        if entry.name == "napari-patchseg"
    )
    assert entry.value == "napari_patchseg._manifest:napari.yaml"
    found = PluginManifest.from_distribution("napari-patchseg")
    assert found.contributions == manifest.contributions
    assert found.name == "napari-patchseg"


def test_the_manifest_at_the_top_is_the_packaged_one(
    project_root: Path, manifest_file: Path
) -> None:
    top = project_root / "napari.yaml"
    assert top.resolve() == (project_root / "src/napari_patchseg/_manifest/napari.yaml").resolve()
    assert top.read_bytes() == manifest_file.read_bytes()


def test_every_command_imports(manifest: PluginManifest) -> None:
    for command in manifest.contributions.commands or []:
        module, _, name = str(command.python_name).partition(":")
        assert callable(getattr(importlib.import_module(module), name)), command.id
    module, _, name = str(manifest.on_activate).partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_command_ids_start_with_the_name_of_the_plugin(manifest: PluginManifest) -> None:
    # npe2 finds a plugin's writers by this prefix.
    commands = manifest.contributions.commands or []
    assert commands
    assert all(command.id.startswith("napari-patchseg.") for command in commands)


def test_contributions_name_known_commands(manifest: PluginManifest) -> None:
    contributions = manifest.contributions
    known = {command.id for command in contributions.commands or []}
    used = {
        contribution.command
        for group in (
            contributions.widgets,
            contributions.readers,
            contributions.writers,
            contributions.sample_data,
        )
        for contribution in group or []
    } | {item.command for items in contributions.menus.values() for item in items}
    assert used == known


def test_menus_are_ones_that_napari_takes(manifest: PluginManifest) -> None:
    assert set(manifest.contributions.menus) <= MenuId.contributables()


@pytest.mark.parametrize(
    ("selected", "images", "shown"), [(1, 1, True), (1, 0, False), (2, 2, False), (0, 0, False)]
)
def test_when_expressions(
    manifest: PluginManifest, selected: int, images: int, shown: bool
) -> None:
    # A wrong expression would stop napari while it starts, and npe2 does not look.
    context = {"num_selected_layers": selected, "num_selected_image_layers": images}
    for items in manifest.contributions.menus.values():
        for item in items:
            assert bool(parse_expression(item.when).eval(context)) is shown


def test_the_first_writer_takes_any_labels(manifest: PluginManifest) -> None:
    # It is also the one for "save all layers" and for names without an extension.
    first, *others = manifest.contributions.writers
    assert first.filename_extensions == [".ome.tif", ".ome.tiff"]
    offered = {ending for writer in others for ending in writer.filename_extensions}
    kinds = [kind.endings for kind in FORMATS if ".ome.tif" not in kind.endings]
    assert all(offered & set(endings) for endings in kinds)
    assert {format_of(f"nuclei{ending}").endings for ending in offered} == set(kinds)


# -- distributions


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def _files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: archive.read(name)
            for name in archive.namelist()
            if name.startswith("napari_patchseg/")
        }


def test_the_wheel_holds_every_file_of_the_package(built_wheel: Path, project_root: Path) -> None:
    package = project_root / "src" / "napari_patchseg"
    expected = {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = _files(built_wheel)
    assert set(held) == expected
    assert held["napari_patchseg/_manifest/napari.yaml"].startswith(b"# The plugin's manifest")
    assert "napari_patchseg/py.typed" in held


def test_a_wheel_from_the_sdist_is_the_same(
    built_sdist: Path, built_wheel: Path, tmp_path: Path
) -> None:
    with tarfile.open(built_sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert (source / "napari.yaml").read_bytes().startswith(b"# The plugin's manifest")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "built"],
        cwd=source,
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = (source / "built").iterdir()
    assert _files(wheel) == _files(built_wheel)


def test_metadata(built_wheel: Path) -> None:
    metadata = _metadata(built_wheel)
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Framework :: napari" in metadata.get_all("Classifier", [])
    assert {"all", "pyside6"} == set(metadata.get_all("Provides-Extra", []))
    assert "Issues" in {url.split(",")[0] for url in metadata.get_all("Project-URL", [])}

    hard = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert "napari>=0.9" in hard
    assert not [line for line in hard if "[" in line or "qt6" in line or "pyside" in line.lower()]
    assert not [line for line in hard if "<" in line or "==" in line], "no upper pins"


def test_ci_runs_the_first_commands_of_the_readme(project_root: Path) -> None:
    readme = (project_root / "README.md").read_text(encoding="utf-8")
    introduction, _, _ = readme.partition("\n## ")
    blocks = re.findall(r"^```sh\n(.*?)^```", introduction, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in re.split(r" && |\n", block) if line]
    script = (project_root / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert commands
    assert [line for line in script if line in commands] == commands


# -- system packages


@pytest.fixture(scope="module")
def system_packages(project_root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "system_packages", project_root / "tools" / "system_packages.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_missing_packages(system_packages: ModuleType) -> None:
    listing = (
        "xauth\tinstalled\t\n"
        "xvfb\tconfig-files\t\n"  # removed, but its settings are left
        "libglib2.0-0t64\tinstalled\tlibglib2.0-0 (= 2.84.4-3), other\n"
    )
    wanted = ("xvfb", "xauth", "libglib2.0-0", "other", "libxi6")
    assert system_packages.missing(listing, wanted) == ["xvfb", "libxi6"]
    assert system_packages.missing("", wanted) == list(wanted)
    assert system_packages.line_to_type(["xvfb", "libxi6"]) == (
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends xvfb libxi6"
    )


def _tool(folder: Path, name: str, script: str) -> None:
    tool = folder / name
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


@pytest.fixture
def run_script(
    project_root: Path, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the script with only the tools in ``tmp_path`` on the path."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(project_root / "tools" / "system_packages.py"), *arguments],
            env={**os.environ, "PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Debian's tools")


def test_script_without_dpkg(run_script: FreshPython) -> None:
    done = run_script()
    assert done.returncode == 0
    assert "nothing to look up" in done.stdout


@linux
def test_script_with_everything_there(
    run_script: FreshPython, system_packages: ModuleType, tmp_path: Path
) -> None:
    lines = "\n".join(f"{name}\tinstalled\t" for name in system_packages.PACKAGES)
    _tool(tmp_path, "dpkg-query", f"echo '{lines}'")
    done = run_script()
    assert (done.returncode, done.stdout) == (0, "system packages: all there\n")


@linux
def test_script_that_only_looks(
    run_script: FreshPython, system_packages: ModuleType, tmp_path: Path
) -> None:
    _tool(tmp_path, "dpkg-query", "exit 0")
    _tool(tmp_path, "apt-get", f"touch '{tmp_path}/called'")
    done = run_script("--check")
    assert done.returncode == 1
    assert system_packages.line_to_type(system_packages.PACKAGES) in done.stdout
    assert not (tmp_path / "called").exists()


@linux
def test_script_installs_as_root_and_speaks_otherwise(
    run_script: FreshPython, system_packages: ModuleType, tmp_path: Path
) -> None:
    _tool(tmp_path, "dpkg-query", "exit 0")
    _tool(tmp_path, "apt-get", f"echo \"$DEBIAN_FRONTEND $@\" >> '{tmp_path}/calls'")
    done = run_script()
    if os.geteuid() == 0:
        assert done.returncode == 0
        update, install = (tmp_path / "calls").read_text().splitlines()
        assert update == "noninteractive update"
        assert install == "noninteractive install -y --no-install-recommends " + " ".join(
            system_packages.PACKAGES
        )
    else:
        assert done.returncode == 1
        assert "sudo apt-get install" in done.stdout
        assert not (tmp_path / "calls").exists()


@linux
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_script_when_apt_fails(run_script: FreshPython, tmp_path: Path) -> None:
    _tool(tmp_path, "dpkg-query", "exit 0")
    _tool(tmp_path, "apt-get", "exit 100")
    done = run_script()
    assert done.returncode == 1
    assert "apt-get update failed" in done.stdout
    assert "Traceback" not in done.stderr
