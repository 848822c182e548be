import hashlib
import json
from pathlib import Path

import pytest

from lake import image
from lake.errors import InputError
from lake.image import DIGEST_VARIABLE, current_image, least_driver, require_image

WANTED = "a" * 64


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", DIGEST_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def inside(monkeypatch: pytest.MonkeyPatch, path: Path, **labels: str) -> None:
    monkeypatch.setenv("APPTAINER_CONTAINER", str(path))
    found = path.parent / "labels.json"
    found.write_text(json.dumps(labels))
    monkeypatch.setattr(image, "LABELS", found)


def test_outside_of_an_image_there_is_none() -> None:
    assert current_image() is None


def test_an_image_that_can_be_read_from_inside_is_digested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sif = tmp_path / "dino.sif"
    sif.write_bytes(b"an image")
    labels = {
        "org.opencontainers.image.version": "0.1.0", "org.opencontainers.image.revision": "c0ffee",
        "dawnchorus.lock": "sha256:12",
    }  # fmt: skip
    inside(monkeypatch, sif, **labels)
    assert current_image() == {
        "name": "dino.sif", "sha256": hashlib.sha256(b"an image").hexdigest(), "version": "0.1.0",
        "revision": "c0ffee", "lock": "sha256:12",
    }  # fmt: skip


def test_the_launcher_hands_in_the_digest_of_an_image_that_is_not_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside(monkeypatch, tmp_path / "gone.sif")
    assert (current_image() or {})["sha256"] is None
    monkeypatch.setenv(DIGEST_VARIABLE, WANTED)
    assert (current_image() or {})["sha256"] == WANTED


def test_what_is_no_digest_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside(monkeypatch, tmp_path / "dino.sif")
    monkeypatch.setenv(DIGEST_VARIABLE, "sha256:12")
    with pytest.raises(InputError, match="'sha256:12': expected the 64 hexadecimal digits that sha256sum prints"):
        current_image()


def test_the_labels_tell_the_least_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert least_driver() is None
    inside(monkeypatch, tmp_path / "dino.sif", **{"dawnchorus.least-driver": "580.65.06"})
    assert least_driver() == "580.65.06"


def test_the_pinned_image_is_accepted() -> None:
    require_image("dino", "dino", WANTED, {"name": "dino.sif", "sha256": WANTED})


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "but this process runs in no image. Type `apptainer exec … dino.sif dawnchorus run …`"),
        ({"name": "x.sif", "sha256": None}, "the digest of 'x.sif', which this is, is not known in here"),
        ({"name": "x.sif", "sha256": "b" * 64}, f"but this is 'x.sif' with sha256 {'b' * 64}. Run it in the pinned"),
    ],
)
def test_another_image_than_the_pinned_one_is_refused(found: dict[str, str | None] | None, told: str) -> None:
    with pytest.raises(InputError) as caught:
        require_image("training", "dino", WANTED, found)
    assert f"run 'training' is pinned to the image 'dino' with sha256 {WANTED}" in str(caught.value)
    assert told in str(caught.value)
