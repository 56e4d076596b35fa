"""Strokes on a synthetic slide of which everything is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_patchseg.method.hints import (
    NOT_NUCLEUS,
    NUCLEUS,
    HintHead,
    Surroundings,
    embedding,
    learn,
    optical_density,
    paint,
    spread,
)
from napari_patchseg.method.inference import predict
from napari_patchseg.method.maps import INTERIOR, ConfidenceMap, NucleusClass
from napari_patchseg.method.network import ConfidenceNetwork
from napari_patchseg.method.scale import NetworkInput

DIAMETER = 16
SHAPE = (120, 168)


def disk(centre, radius=8):
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def confidence_of(nuclei, *, inverted=False):
    """A map whose second class, or what is not that, is nuclei."""
    shown = 1 - nuclei if inverted else nuclei
    data = np.stack([np.full(SHAPE, 0.3), shown]).astype(np.float32)
    chosen = NucleusClass(1, inverted, 1.0)
    return ConfidenceMap(7, data, ("class 0", "class 1"), (0, 0, *SHAPE), 1, chosen)


@pytest.fixture(scope="module")
def slide():
    """Dark nuclei that the map knows, greenish ones that it misses, red blots that it takes.

    A pretrained map: its second channel is the nuclei's interiors.
    """
    rng = np.random.default_rng(0)
    kinds = {name: np.zeros(SHAPE, bool) for name in ("known", "missed", "blots")}
    centres = [(row, column) for row in range(14, 120, 24) for column in range(14, 168, 24)]
    for number, centre in enumerate(centres):
        kinds[("known", "missed", "known", "blots")[number % 4]] |= disk(centre)
    light = np.full((3, *SHAPE), 0.9)
    light[:, kinds["known"]] = np.array([0.3, 0.25, 0.5])[:, None]
    light[:, kinds["missed"]] = np.array([0.55, 0.7, 0.55])[:, None]
    light[:, kinds["blots"]] = np.array([0.8, 0.4, 0.4])[:, None]
    light = (light + rng.normal(0, 0.02, light.shape)).clip(0, 1).astype(np.float32)
    said = 0.02 + 0.95 * kinds["known"] + 0.25 * kinds["missed"] + 0.6 * kinds["blots"]
    said = ndi.gaussian_filter(said, 1).astype(np.float32)
    chosen = NucleusClass(0, False, 1.0)
    data = np.stack([said, said])
    confidence = ConfidenceMap(7, data, ("nucleus", INTERIOR), (0, 0, *SHAPE), 1, chosen)
    seen = rng.normal(size=(8, *SHAPE)).astype(np.float16)
    first = {"known": centres[0], "missed": centres[1], "blots": centres[3]}
    return SimpleNamespace(
        confidence=confidence,
        density=optical_density(light, DIAMETER),
        surroundings=Surroundings.of(light, seen, confidence, DIAMETER),
        first=first,
        **kinds,
    )


def stroke(centre, value):
    """A dash of 9 px and 3 px wide."""
    hints = np.zeros(SHAPE, np.uint8)
    hints[centre[0] - 1 : centre[0] + 2, centre[1] - 4 : centre[1] + 5] = value
    return hints


# -- its own place


def test_without_hints_the_map_stays(slide):
    nothing = np.zeros(SHAPE, np.uint8)
    assert paint(slide.confidence, nothing, slide.density, DIAMETER) is slide.confidence
    assert learn(slide.confidence, nothing, slide.surroundings, seed=0) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 110), st.integers(0, 160), st.integers(1, 40), st.integers(0, 2)),
        min_size=1,
        max_size=8,
    ),
    st.floats(6, 30),
    st.booleans(),
)
@settings(max_examples=12)
def test_what_is_painted_is_so_and_the_rest_is_no_further(strokes, diameter, inverted):
    rng = np.random.default_rng(3)
    hints = np.zeros(SHAPE, np.uint8)
    for row, column, length, value in strokes:
        hints[row : row + 4, column : column + length] = value
    confidence = confidence_of(rng.random(SHAPE), inverted=inverted)
    density = rng.random(SHAPE).astype(np.float32)
    found = paint(confidence, hints, density, diameter)
    assert (found.nuclei[hints == NUCLEUS] > 0.99).all()
    assert (found.nuclei[hints == NOT_NUCLEUS] < 0.01).all()
    assert np.array_equal(found.data[0], confidence.data[0])  # no class of nuclei
    far = ndi.distance_transform_edt(hints == 0) if hints.any() else np.full(SHAPE, np.inf)
    untouched = far > diameter / 2 + 1
    assert np.allclose(found.nuclei[untouched], confidence.nuclei[untouched], atol=1e-6)


def test_a_stroke_fills_what_looks_like_it_and_stops_at_the_border(slide):
    centre = slide.first["missed"]
    hints = stroke(centre, NUCLEUS)
    found = paint(slide.confidence, hints, slide.density, DIAMETER)
    missed = disk(centre, 6)
    around = disk(centre, 14) & ~disk(centre, 10)
    assert (found.nuclei[missed] > 0.5).mean() > 0.8
    assert found.nuclei[around].max() < 0.5
    interiors = found.interiors
    assert interiors is not None
    assert (interiors[hints > 0] > 0.99).all()
    # Of an even surface it would have taken more.
    even = paint(slide.confidence, hints, np.zeros(SHAPE, np.float32), DIAMETER)
    assert (even.nuclei[around] > found.nuclei[around] + 0.01).any()


def test_between_two_strokes_the_nearer_counts():
    hints = stroke((60, 60), NUCLEUS) | stroke((72, 60), NOT_NUCLEUS)
    confidence = confidence_of(np.full(SHAPE, 0.5))
    nuclei = paint(confidence, hints, np.zeros(SHAPE, np.float32), 24).nuclei
    assert (nuclei[62:66, 60] > 0.5).all()
    assert (nuclei[67:71, 60] < 0.5).all()


# -- its like


def spread_of(slide, hints, seed=0):
    head = learn(slide.confidence, hints, slide.surroundings, seed)
    assert head is not None
    return spread(slide.confidence, slide.surroundings, head)


def test_strokes_spread_to_their_like(slide):
    hints = stroke(slide.first["missed"], NUCLEUS) | stroke(slide.first["blots"], NOT_NUCLEUS)
    found, before = spread_of(slide, hints), slide.confidence
    elsewhere = ~(disk(slide.first["missed"], 20) | disk(slide.first["blots"], 20))
    missed, blots = slide.missed & elsewhere, slide.blots & elsewhere
    assert found.nuclei[missed].mean() > before.nuclei[missed].mean() + 0.05
    assert found.nuclei[blots].mean() < before.nuclei[blots].mean() - 0.05  # two strokes, so far
    assert found.nuclei[slide.known].mean() > 0.85
    assert found.nuclei[~(slide.known | slide.missed | slide.blots)].mean() < 0.15


@pytest.mark.parametrize(("kind", "value"), [("missed", NUCLEUS), ("blots", NOT_NUCLEUS)])
def test_strokes_of_one_kind_do_not_carry_the_map_away(slide, kind, value):
    found = spread_of(slide, stroke(slide.first[kind], value))
    assert (found.nuclei[slide.known] > 0.5).mean() > 0.95
    nothing = ~(slide.known | slide.missed | slide.blots)
    assert (found.nuclei[nothing] < 0.5).mean() > 0.95


def test_the_same_hints_say_the_same_however_they_came(slide):
    """An erased stroke leaves nothing; the next seed is another head."""
    hints = stroke(slide.first["missed"], NUCLEUS)
    once = spread_of(slide, hints)
    more = hints | stroke(slide.first["blots"], NOT_NUCLEUS)
    assert not np.array_equal(spread_of(slide, more).data, once.data)
    more[more == NOT_NUCLEUS] = 0  # erased
    assert np.array_equal(spread_of(slide, more).data, once.data)
    assert not np.array_equal(spread_of(slide, hints, seed=1).data, once.data)


def test_hints_everywhere_are_the_map(slide):
    hints = np.where(slide.known | slide.missed, NUCLEUS, NOT_NUCLEUS).astype(np.uint8)
    found = paint(spread_of(slide, hints), hints, slide.density, DIAMETER)
    assert np.array_equal(found.nuclei > 0.5, hints == NUCLEUS)


def test_a_head_is_kept_as_a_state_dict(slide):
    hints = stroke(slide.first["blots"], NOT_NUCLEUS)
    head = learn(slide.confidence, hints, slide.surroundings, seed=0)
    read = HintHead(len(slide.surroundings.features))
    read.load_state_dict({name: value.clone() for name, value in head.state_dict().items()})
    assert torch.equal(read.log_odds(slide.surroundings), head.log_odds(slide.surroundings))
    far = spread(slide.confidence, slide.surroundings, read, is_elsewhere=True)
    near = spread(slide.confidence, slide.surroundings, read)
    moved = np.abs(near.data - slide.confidence.data).mean()
    assert 0 < np.abs(far.data - slide.confidence.data).mean() < moved


# -- what the network gives


def test_the_head_of_the_embedding_is_the_map(disks, quick):
    torch.manual_seed(0)
    network = ConfidenceNetwork(3, 2).eval()
    image, machine = NetworkInput(disks, "random"), quick().machine
    seen = embedding(network, image, machine, views=3)
    assert seen.shape == (8, *disks.shape[1:])
    with torch.no_grad():
        maps = network.head(torch.from_numpy(seen).float()[None])[0].sigmoid().numpy()
    assert np.allclose(maps, predict(network, image, machine, views=3), atol=2e-3)
