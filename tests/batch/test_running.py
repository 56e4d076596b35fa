"""What a host that follows the events sees; the command line's tests go through the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_patchseg.batch import (
    Done,
    Failed,
    Job,
    Opened,
    Plan,
    SummedUp,
    Working,
    segment_images,
)
from napari_patchseg.method.events import Control, Step
from napari_patchseg.synthetic import synthetic_field


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Two fields and what is none, and a folder for results."""
    made = []
    (tmp_path / "out").mkdir()
    for seed, name in enumerate(("a.tif", "b.tif", "c.tif")):
        tifffile.imwrite(tmp_path / name, synthetic_field((96, 96), seed=seed)[0])
        target = tmp_path / "out" / f"{name[0]}_nuclei.ome.tif"
        made.append(Job(tmp_path / name, (target,)))
    (tmp_path / "b.tif").write_text("text")
    return made


def test_events(jobs, quick, tmp_path):
    events = list(segment_images(jobs, Plan(quick), folder=tmp_path / "out"))
    told = [event for event in events if not isinstance(event, Working)]
    assert [type(event) for event in told] == [Opened, Done, Failed, Opened, Done, SummedUp]
    assert [event.number for event in told[:-1]] == [1, 1, 2, 3, 3]
    assert told[2].path == jobs[1].image
    working = [event for event in events if isinstance(event, Working)]
    last = [event.remaining for event in working if event.number == 3]
    assert all(seconds is not None and seconds >= 0 for seconds in last)  # two are known
    of_first = [event for event in working if event.number == 1 and isinstance(event.event, Step)]
    assert of_first[0].remaining is None or of_first[0].remaining > 0
    again = list(segment_images(jobs, Plan(quick), folder=tmp_path / "out", resume=True))
    assert [type(event) for event in again] == [Done, Failed, Done, SummedUp]
    assert all(event.seconds == {} for event in again if isinstance(event, Done))


def test_the_end_can_be_asked_for(jobs, quick, tmp_path):
    control = Control()
    told = []
    for event in segment_images(jobs, Plan(quick), folder=tmp_path / "out", control=control):
        told.append(event)
        if isinstance(event, Working) and isinstance(event.event, Step):
            control.cancel()
    assert not any(isinstance(event, Done | Failed | SummedUp) for event in told)
    assert list((tmp_path / "out").iterdir()) == []


def test_results_of_one_image_need_no_folder(jobs, quick):
    *_, last = segment_images(jobs[:1], Plan(quick))
    assert isinstance(last, Done)
    assert [path.name for path in jobs[0].targets[0].parent.iterdir()] == ["a_nuclei.ome.tif"]
    counts = last.outcome.areas
    areas = np.bincount(tifffile.imread(jobs[0].targets[0]).ravel())[1:]
    assert sum(counts.counts) == len(areas) == last.outcome.report.objects.count
    assert 2 ** (counts.first / 3) <= areas.min() + 1e-6
    assert areas.max() < 2 ** ((counts.first + len(counts.counts)) / 3) + 1e-6
