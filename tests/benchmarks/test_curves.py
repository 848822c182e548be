"""Curves of training: the page's table is read as it is written, and every training of it is drawn."""

import numpy as np

from benchmarks.curves import CURVES, PAGE, curve, picture, stated

TEXT = """
## Minutes of training, and so on

| AMI and 5-NN | frogs: AMI | frogs: 5-NN | mean of both: AMI / 5-NN |
|---|---|---|---|
| log-mel | .5 | .6 | .5 / .6 |
| contrast, 2 minutes: output | .1 | .1 | .1 / .1 |
| **… output ‖ stem** | .6, .7, .8 | .8 ± .02 | .7 / .8 |
| contrast, 20 minutes: output ‖ stem | .9 | .95 | .9 / .95 |
| of another kind | – | – | |

| another table | AMI |
|---|---|
| log-mel | .1 |
"""


def test_rows_of_the_page_are_read_by_their_titles() -> None:
    found = stated(TEXT)["frogs"]
    assert found["logmel"] == {"ami": [0.5], "knn": [0.6]}
    assert set(found) == {"logmel", "contrast_2", "contrast_20"}
    deviation = float(np.std([0.6, 0.7, 0.8]))
    np.testing.assert_allclose(curve(found, "contrast", "ami"), [(2, 0.7, deviation), (20, 0.9, 0)])
    np.testing.assert_allclose(curve(found, "contrast", "knn"), [(2, 0.8, 0.02), (20, 0.95, 0)])


def test_the_page_has_figures_for_each_curve_of_the_picture() -> None:
    figures = stated(PAGE.read_text(encoding="utf-8"))
    assert set(figures) == {"ESC-10", "insects"}
    trained = {CURVES[role] for role in ("contrast", "contrast_dictionary", "trained")}
    for axes in picture(figures).axes:
        assert trained < set(axes.get_legend_handles_labels()[1])
