"""The palette's colours, as eyes with any common kind of colour vision see them."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from estep_xp.cli.write.palette import GREY, PALETTE

# What is left of linear red, green and blue (Machado, Oliveira and Fernandes, 2009).
VISION = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.asarray(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
) / np.asarray([[0.9505], [1.0], [1.089]])


def lightness_and_hue(colour, vision):
    """CIELAB, in which a distance of 2.3 is just noticed."""
    channels = np.asarray([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.asarray([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("shade", GREY._fields)
@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart(shade, vision):
    seen = [lightness_and_hue(getattr(colour, shade), vision) for colour in PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in pairwise(seen)) > 15
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 7


def test_a_colour_keeps_its_hue_on_every_ground():
    for colour in PALETTE:
        hues = [np.arctan2(*lightness_and_hue(shade, "full")[:0:-1]) for shade in colour]
        assert np.ptp(np.unwrap(hues)) < 0.35, colour
