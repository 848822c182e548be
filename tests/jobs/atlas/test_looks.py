"""Dots of the map that stand out from the page, by WCAG's contrast of graphics (1.4.11): 3 to 1."""

from pathlib import Path

from browsers import Opened

LEAST_CONTRAST = """() => {
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const page = light(rgb(getComputedStyle(document.body).backgroundColor));
  const colours = [];
  for (const by of ["cluster", "hour", "day"]) {
    $("map-colour").value = by;
    for (let g = 0; g < 24; g++) colours.push(colourer([23])(g, g));
  }
  const lights = colours.map((colour) => light(rgb(colour)));
  return Math.min(...lights.map((l) => (Math.max(l, page) + 0.05) / (Math.min(l, page) + 0.05)));
}"""


def test_dots_stand_out_on_dark(atlas: Path, opened: Opened) -> None:
    page = opened(atlas)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(LEAST_CONTRAST) >= 3
