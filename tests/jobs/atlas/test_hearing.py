"""Every window can be heard: the page plays the recordings themselves, from a folder and from a server."""

import functools
import re
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
import soundfile
import stores
from atlases import Study, overwrite, read_cluster, scripted
from browsers import Opened
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from jobs.atlas.config import Config
from jobs.atlas.members import packed
from jobs.common.pages.playable import why_unplayable
from jobs.common.run import Recordings
from lake.constants import OFFSET_UNKNOWN_S
from lake.recordings import make_recordings, write_recordings

RECORDERS = ("bat", "north", "old", "untimed:x")
HOP_S, N_CELLS, N_CLUSTERS = 10, 60, 3
RATES_HZ = {"bat": 384_000, "north": 8_000, "old": 8_000, "untimed:x": 8_000}
FILES = {
    "bat": "bat/b.flac", "north": "north #1?/50% \u00fc'&\"<b>.WAV", "old": "old/a.aiff",
    "untimed:x": "untimed:x/a.wav",
}  # fmt: skip
BASE = "../../field work/audio"
ULTRASOUND_HZ = 30_000


def tone_hz(cell: int) -> int:
    """Return the pitch of each window's ten seconds."""
    return 400 + 40 * cell


@dataclass(frozen=True)
class Hearing:
    """A study whose windows can all be told by ear, and its atlas."""

    study: Study
    recordings: Recordings
    atlas: Path


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Hearing:
    lake = tmp_path_factory.mktemp("hearing")
    per_day = 86_400 // HOP_S
    codes = np.zeros((len(RECORDERS), per_day, 8, 6), dtype=np.uint8)
    lengths = {"bat": 3}
    for i, recorder in enumerate(RECORDERS):
        n = lengths.get(recorder, N_CELLS)
        codes[i, :n] = np.random.default_rng(i).integers(60, 200, (n, 8, 6))
    cube = stores.make_cube(lake, codes, recorders=RECORDERS, hop_s=float(HOP_S), shard_windows=per_day)
    rows = []
    for recorder in RECORDERS:
        n, rate = lengths.get(recorder, N_CELLS), RATES_HZ[recorder]
        seconds = np.arange(HOP_S * rate) / rate
        tones = [ULTRASOUND_HZ] * n if recorder == "bat" else [tone_hz(cell) for cell in range(n)]
        sound = np.concatenate([0.2 * np.sin(2 * np.pi * tone * seconds) for tone in tones])
        path = lake / "field work/audio" / FILES[recorder]
        path.parent.mkdir(parents=True)
        soundfile.write(path, sound, rate, subtype="PCM_16")
        form = {"bat": "FLAC/PCM_16", "old": "AIFF/PCM_16"}.get(recorder, "WAV/PCM_16")
        rows.append({
            "path": FILES[recorder], "recorder": recorder, "reading": "libsndfile", "problems": "", "format": form,
            "sample_rate_hz": rate, "n_samples": len(sound), "duration_s": len(sound) / rate, "n_channels": 1,
            "sha256": "0" * 64,
        })  # fmt: skip
    write_recordings(make_recordings(rows), lake / "recordings.csv")
    overwrite(cube, {
        "recording_path": np.array([FILES[recorder] for recorder in RECORDERS], dtype=object),
        "recording_sample_rate_hz": np.array([RATES_HZ[recorder] for recorder in RECORDERS], dtype=np.int32),
        "recording_n_samples": np.array([row["n_samples"] for row in rows]),
        "utc_offset_s": np.where(codes.any(axis=(2, 3)), 3600, OFFSET_UNKNOWN_S),
    })  # fmt: skip
    there = np.asarray(codes.any(axis=(2, 3)))
    vectors = np.where(there[..., None], np.random.default_rng(9).normal(size=(*there.shape, 4)), np.nan)
    embeddings = stores.make_embeddings(lake, vectors.astype(np.float32), cube=cube)
    labels = np.where(there, np.arange(per_day) % N_CLUSTERS, -1).astype(np.int16)
    clusters = stores.make_clusters(lake, labels, n_clusters=N_CLUSTERS, n_exemplars=2, embeddings=embeddings)
    study = Study(lake, cube, clusters)
    recordings = Recordings(lake / "recordings.csv", lake / "field work/audio")
    config = Config(n_exemplars=2, n_borders=0, n_outliers=1, image_width_px=16, image_height_px=16)
    return Hearing(study, recordings, study.atlas(config, recordings=recordings))


def to_cluster(page: Page, cluster: int) -> None:
    page.evaluate(f"location.hash = '#cluster-{cluster}'")
    expect(page.locator("#members-said")).to_contain_text("window")


def choose(page: Page, **values: str) -> None:
    for name, value in values.items():
        field = page.locator(f"#members-form [name={name}]")
        if name in {"since", "until"}:
            field.fill(value)
        else:
            field.select_option(value)


def files(page: Page) -> list[str]:
    return page.locator("#members-list tbody .file").all_inner_texts()


PLAYS = "player.now && player.now.audio.currentTime > player.now.from + 0.2"


def test_a_dot_that_is_no_exemplar_plays_its_recording_at_its_second(hearing: Hearing, opened: Opened) -> None:
    page = opened(hearing.atlas)
    data = scripted(hearing.atlas / "data.js")
    assert scripted(hearing.atlas / "place.js") == BASE
    mapped, north = data["map"], data["recorders"].index("north")
    shown = {
        place for cluster in range(N_CLUSTERS)
        for place in re.findall(r"at ([\d.]+) s", scripted(hearing.atlas / f"clusters/{cluster}.js")["html"])
    }  # fmt: skip
    cells = zip(mapped["recorder"], mapped["cell"], strict=True)
    i = next(
        i
        for i, (recorder, cell) in enumerate(cells)
        if recorder == north and f"{cell * HOP_S:.1f}" not in shown and cell > 2
    )
    second = mapped["cell"][i] * HOP_S
    page.locator("#map-canvas").scroll_into_view_if_needed()
    page.evaluate(
        """(i) => {
            const { places, size } = state.map;
            setView(64, places[2 * i] / size - 0.5, places[2 * i + 1] / size - 0.5);
        }""",
        i,
    )
    page.wait_for_function("!state.map.isAsked")
    box = page.locator("#map-canvas").bounding_box()
    assert box is not None
    x, y = page.evaluate(f"[state.map.x[{i}], state.map.y[{i}]]")
    page.mouse.click(box["x"] + x, box["y"] + y)
    expect(page.locator("#map-window-box")).to_contain_text("north")
    assert page.evaluate("state.map.picked") == i
    page.wait_for_function(PLAYS)
    assert page.evaluate("decodeURIComponent(player.now.audio.src)").endswith(
        f"/field work/audio/{FILES['north']}#t={second},{second + 6}"
    )
    assert second < page.evaluate("player.now.audio.currentTime") < second + 6
    assert page.evaluate("player.now.audio.duration") == pytest.approx(N_CELLS * HOP_S)
    expect(page.locator("#map-window-box .file")).to_have_text(f"{FILES['north']}, at {second:.1f} s")
    local = re.compile(r"\d{4}-\d\d-\d\d 01:\d\d:\d\d \(UTC\+01:00\)")
    expect(page.locator("#map-window-box")).to_contain_text(local)
    page.wait_for_function("document.querySelector('#map-window-box .playhead').style.left !== ''")
    page.locator("#map-window-box .play").click()
    page.wait_for_function("player.now === null")
    page.locator("#map-canvas").dblclick(position={"x": x, "y": y})
    expect(page.locator("#cluster h1")).to_contain_text(f"Cluster {mapped['cluster'][i]}")
    page.wait_for_timeout(300)
    assert page.evaluate("player.now") is None


def test_a_window_stops_at_its_end_and_can_be_looped(hearing: Hearing, opened: Opened) -> None:
    page = opened(hearing.atlas)
    to_cluster(page, 1)
    choose(page, recorder=str(RECORDERS.index("north")), order="first")
    page.evaluate("state.data.window_ms = 500")
    button = page.locator("#members-list .play").first
    button.click()
    expect(button).to_have_text("■ Stop")
    expect(button).to_have_text("▶ Play")
    page.evaluate("player.isLooped = true")
    button.click()
    page.wait_for_function("player.now && player.now.audio.currentTime > 10.3")
    page.wait_for_function("player.now && player.now.audio.currentTime < 10.2")
    page.wait_for_function("player.now && player.now.audio.currentTime > 10.3")
    button.click()
    assert page.evaluate("player.now") is None


def test_all_windows_of_a_cluster_are_listed_filtered_and_sorted(hearing: Hearing, opened: Opened) -> None:
    page = opened(hearing.atlas)
    to_cluster(page, 1)
    n_each = N_CELLS // N_CLUSTERS
    expect(page.locator("#members-said")).to_have_text(f"{3 * n_each + 1} windows, 1 to 25")
    distances = [float(text) for text in page.locator("#members-list td.n").all_inner_texts()]
    assert distances == sorted(distances)
    assert len(distances) == 25
    choose(page, order="far")
    assert [float(text) for text in page.locator("#members-list td.n").all_inner_texts()] != distances
    choose(page, recorder=str(RECORDERS.index("north")), order="last")
    expect(page.locator("#members-said")).to_have_text(f"{n_each} of {3 * n_each + 1} windows")
    seconds = [cell * HOP_S for cell in range(1, N_CELLS, N_CLUSTERS)]
    expect(page.locator("#members-list tbody .file").last).to_have_text(f"{FILES['north']}, at {seconds[0]:.1f} s")
    assert files(page) == [f"{FILES['north']}, at {second:.1f} s" for second in reversed(seconds)]
    choose(page, **{"from": "1", "to": "1"})
    expect(page.locator("#members-said")).to_contain_text(f"{n_each} of")
    choose(page, **{"from": "23", "to": "0"})
    expect(page.locator("#members-said")).to_have_text("No window of this cluster is left: take a filter away.")
    choose(page, **{"from": "22", "to": "2"})
    expect(page.locator("#members-said")).to_contain_text(f"{n_each} of")
    day = page.evaluate("dateOf(0)")
    choose(page, since=day, until=day)
    expect(page.locator("#members-said")).to_contain_text(f"{n_each} of")
    choose(page, since="2100-01-01", until="")
    expect(page.locator("#members-list table")).to_have_count(0)
    page.locator("#members-form button[type=reset]").click()
    expect(page.locator("#members-said")).to_have_text(f"{3 * n_each + 1} windows, 1 to 25")
    choose(page, site=str(scripted(hearing.atlas / "data.js")["sites"].index("site of old")))
    expect(page.locator("#members-said")).to_contain_text(f"{n_each} of")
    assert set(page.locator("#members-list tbody th").all_inner_texts()) == {"old"}
    choose(page, site="", order="recorder")
    page.locator("#members-after").click()
    expect(page.locator("#members-said")).to_contain_text("26 to 50")
    choose(page, recorder=str(RECORDERS.index("untimed:x")))
    assert set(page.locator("#members-list .when").all_inner_texts()) == {"no clock time"}


def test_what_browsers_do_not_play_says_so_and_has_its_exemplars_cut(hearing: Hearing, opened: Opened) -> None:
    page = opened(hearing.atlas)
    to_cluster(page, 0)
    choose(page, recorder=str(RECORDERS.index("old")))
    expect(page.locator("#members-list .file").first).to_contain_text("browsers do not play AIFF/PCM_16")
    assert page.locator("#members-list .play:disabled").count() == N_CELLS // N_CLUSTERS
    assert page.locator(".exemplars .play").count() == len(list((hearing.atlas / "clips").glob("0-*.ogg"))) == 3
    expect(page.locator(".recordings-at")).to_have_text(BASE)
    choose(page, recorder=str(RECORDERS.index("north")))
    for _ in range(4):  # the exemplars, and then the list
        page.keyboard.press("p")
        page.wait_for_function("player.now && player.now.button.textContent === '\u25a0 Stop'")
    page.wait_for_function("player.now && player.now.key && player.now.audio.src.includes('#t=')")


def test_where_the_recordings_are_is_set_and_kept(hearing: Hearing, opened: Opened) -> None:
    page = opened(hearing.atlas)
    to_cluster(page, 2)
    choose(page, recorder=str(RECORDERS.index("north")), order="first")
    page.locator(".to-recordings").click()
    expect(page.locator("#recordings-base")).to_have_value(BASE)
    moved = hearing.atlas.parent / "moved #2 50%"
    if not moved.exists():
        moved.symlink_to(hearing.recordings.root, target_is_directory=True)
    button = page.locator("#members-list .play").first
    for folder in ("../moved #2 50%", "..\\moved #2 50%\\", str(moved), moved.as_uri()):
        page.locator("#recordings-base").fill(folder)
        page.locator("#recordings-base").press("Enter")
        expect(page.locator("#recordings-said")).to_contain_text("Recordings are looked for below file:///")
        button.click()
        page.wait_for_function(PLAYS)
        assert "moved%20%232%2050%25/" in page.evaluate("player.now.audio.src")
        button.click()
    page.reload()
    expect(page.locator("#members-said")).to_contain_text("window")
    assert page.evaluate("recordings.base") == moved.as_uri()
    page.locator(".to-recordings").click()
    for wrong in ("http" + "://example.org/audio", "javascript:alert(1)//"):
        page.locator("#recordings-base").fill(wrong)
        page.locator("#recordings-base").press("Enter")
    page.locator("#recordings-base").fill("http" + "://example.org/audio")
    page.locator("#recordings-base").press("Enter")
    expect(page.locator("#recordings-said")).to_contain_text("is no folder that this page may play from")
    page.locator("#members-list .play").first.click()
    expect(page.locator("#members-list .play").first).to_have_text("no sound")
    page.locator("#recordings-made").click()
    expect(page.locator("#recordings-base")).to_have_value(BASE)
    expect(page.locator("#members-list .play").first).to_have_text("▶ Play")
    page.locator("#recordings-close").click()
    expect(page.locator("#recordings-box")).to_be_hidden()


def test_a_recording_that_is_not_found_says_what_was_tried(hearing: Hearing, chromium: Browser) -> None:
    context = chromium.new_context(offline=True, bypass_csp=True)
    page = context.new_page()
    page.goto((hearing.atlas / "index.html").as_uri())
    to_cluster(page, 2)
    choose(page, recorder=str(RECORDERS.index("north")), order="first")
    page.evaluate("setBase('../gone')")
    button = page.locator("#members-list .play").first
    button.click()
    expect(page.locator("#recordings-box")).to_be_visible()
    said = page.locator("#recordings-said")
    expect(said).to_contain_text("Not played: file:///")
    expect(said).to_contain_text("/gone/north")
    expect(said).to_contain_text("second 20.")
    expect(button).to_have_text("no sound")
    context.close()


def test_names_of_clusters_are_searched(hearing: Hearing, opened: Opened) -> None:
    page = opened(hearing.atlas)
    page.evaluate("() => { state.names[2] = { name: 'M\u00f6nchsgrasm\u00fccke', notes: 'alarm' }; showNames(); }")
    page.keyboard.press("/")
    page.keyboard.type("monchs ALARM")
    expect(page.locator("#cluster-found")).to_have_text("1 of 3 clusters")
    assert page.locator(".card[id]:not([hidden])").evaluate_all("cards => cards.map((card) => card.id)") == ["card-2"]
    page.locator("#cluster-search").fill("1")
    assert page.locator(".card[id]:not([hidden])").evaluate_all("cards => cards.map((card) => card.id)") == ["card-1"]
    page.keyboard.press("Enter")
    expect(page.locator("#cluster h1")).to_contain_text("Cluster 1")
    page.keyboard.press("Escape")
    page.locator("#cluster-search").fill("")
    expect(page.locator(".card[id]:not([hidden])")).to_have_count(3)


class Ranges(SimpleHTTPRequestHandler):
    """A server that gives parts of files, as browsers ask for them to find a second."""

    def send_head(self) -> BytesIO | BinaryIO | None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if not asked or not path.is_file():
            return super().send_head()
        data = path.read_bytes()
        first, last = int(asked[1]), int(asked[2] or len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        return BytesIO(data[first : last + 1])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is the base class's)
        """Say nothing."""


@pytest.fixture
def served(hearing: Hearing, chromium: Browser) -> Iterator[Page]:
    """Return the page as a server gives it, with its own policy."""
    handler = cast("Callable[..., SimpleHTTPRequestHandler]", functools.partial(Ranges, directory=hearing.study.lake))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        context = chromium.new_context(bypass_csp=True)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/{hearing.atlas.relative_to(hearing.study.lake)}/index.html")
        yield page
        context.close()
        server.shutdown()
        thread.join()


LOUDEST_HZ = """async () => {
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
    await context.resume();
    context.createMediaElementSource(player.now.audio).connect(analyser).connect(context.destination);
    const bins = new Float32Array(analyser.frequencyBinCount);
    for (let i = 0; i < 60; i++) {
        await new Promise((done) => setTimeout(done, 50));
        analyser.getFloatFrequencyData(bins);
        if (i > 8 && Math.max(...bins) > -60) break;
    }
    return (bins.indexOf(Math.max(...bins)) * context.sampleRate) / 8192;
}"""


def test_from_a_server_too_and_what_sounds_is_what_was_recorded(served: Page) -> None:
    to_cluster(served, 1)
    choose(served, recorder=str(RECORDERS.index("north")), order="first")
    for row, cell in ((1, 4), (7, 22)):
        served.locator("#members-list .play").nth(row).click()
        served.wait_for_function(PLAYS)
        assert served.evaluate(LOUDEST_HZ) == pytest.approx(tone_hz(cell), abs=8)
        served.locator("#members-list .play").nth(row).click()


def test_ultrasound_is_heard_when_played_slower(served: Page) -> None:
    to_cluster(served, 1)
    choose(served, recorder=str(RECORDERS.index("bat")))
    served.evaluate("setRate(0.1)")
    served.locator("#members-list .play").first.click()
    served.wait_for_function("player.now && player.now.audio.currentTime > player.now.from + 0.02")
    assert served.evaluate(LOUDEST_HZ) == pytest.approx(ULTRASOUND_HZ / 10, abs=40)


def test_a_picture_is_enlarged_in_time_and_frequency_and_plays(hearing: Hearing, opened: Opened) -> None:
    page = opened(hearing.atlas)
    to_cluster(page, 1)
    page.locator(".exemplars .enlarge").first.click()
    expect(page.locator("#viewer")).to_be_visible()
    expect(page.locator("#viewer-title")).not_to_have_text("")
    page.wait_for_function("viewer.image.naturalWidth > 0")
    assert page.evaluate("viewer.view") == {"x": [0, 1], "y": [0, 1]}
    assert page.locator("#viewer-times span").all_inner_texts()
    for key in "ttf":
        page.keyboard.press(key)
    view = page.evaluate("viewer.view")
    assert view["x"][1] - view["x"][0] == pytest.approx(1 / 1.5**2)
    assert view["y"][1] - view["y"][0] == pytest.approx(1 / 1.5)
    times = [float(text) for text in page.locator("#viewer-times span").all_inner_texts()]
    assert all(6 * view["x"][0] <= time <= 6 * view["x"][1] for time in times)
    lowest, highest = page.evaluate("[hertzAt(viewer.view.y[0]), hertzAt(viewer.view.y[1])]")
    pitches = [1000 * float(text) for text in page.locator("#viewer-pitches span").all_inner_texts()]
    assert len(pitches) > 1
    assert all(lowest - 1 <= pitch <= highest + 1 for pitch in pitches)
    page.keyboard.press("ArrowRight")
    assert page.evaluate("viewer.view.x[0]") > view["x"][0]
    page.keyboard.press("0")
    assert page.evaluate("viewer.view") == {"x": [0, 1], "y": [0, 1]}
    page.keyboard.press("p")
    page.wait_for_function("player.now && player.now.audio.currentTime > 0.05")
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    page.wait_for_function("player.now === null")
    expect(page.locator("#cluster")).to_be_visible()
    # A window that is only in the list has the map's small picture, and its recording.
    choose(page, recorder=str(RECORDERS.index("north")), order="first")
    page.locator("#members-list .thumb-button").nth(3).click()
    page.locator("#viewer-play").click()
    page.wait_for_function(PLAYS)
    assert page.evaluate("player.now.from") == 100
    assert page.evaluate("viewer.crop.slice(2)") == [120, 80]


def test_brightness_contrast_and_speed_are_of_all_pictures_and_sounds(hearing: Hearing, opened: Opened) -> None:
    page = opened(hearing.atlas)
    to_cluster(page, 1)
    look = "getComputedStyle(document.querySelector('.exemplars .plot img')).filter"
    assert page.evaluate(look) == "none"
    for key in "bbC":
        page.keyboard.press(key)
    assert page.evaluate(look) == "brightness(1.2) contrast(0.9)"
    page.reload()
    page.wait_for_function("document.querySelector('.exemplars .plot img')")
    assert page.evaluate(look) == "brightness(1.2) contrast(0.9)"
    page.locator(".tools summary").click()
    page.locator("#looks-reset").click()
    assert page.evaluate(look) == "none"
    page.locator("#speed").select_option("0.5")
    page.locator(".exemplars .play").first.click()
    page.wait_for_function("player.now && player.now.audio.currentTime > 0.05")
    assert page.evaluate("[player.now.audio.playbackRate, player.now.audio.preservesPitch]") == [0.5, False]
    page.locator("#speed").select_option("2")
    assert page.evaluate("player.now.audio.playbackRate") == 2


def test_a_quiet_recorder_has_levels_of_its_own_and_says_so(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(120, 200, (3, 144, 16, 24)).astype(np.uint8)
    codes[1] -= 110
    codes[2, 30:] = 0
    codes[:, 40:] = 0
    cube = stores.make_cube(tmp_path, codes, recorders=["loud", "quiet", "short"])
    labels = np.where(codes.any(axis=(2, 3)), 0, -1).astype(np.int16)
    labels[1] = np.where(labels[1] == 0, 1, -1)
    clusters = stores.make_clusters(tmp_path, labels, recorders=["loud", "quiet", "short"], n_exemplars=2)
    study = Study(tmp_path, cube, clusters)
    folder = study.atlas(Config(image_width_px=24, image_height_px=16, n_borders=0))
    assert list(scripted(folder / "data.js")["own_levels"]) == ["1"]
    with Image.open(folder / "images/1-1.webp") as image:
        quiet = np.asarray(image.convert("RGB")).astype(int)
    with Image.open(folder / "images/0-1.webp") as image:
        loud = np.asarray(image.convert("RGB")).astype(int)
    assert quiet.mean() > 60
    assert quiet.mean() > 0.4 * loud.mean()
    page = read_cluster(folder, 1)
    assert "A quiet recorder: dark to bright is" in page.text
    assert "Pictures of 1 quiet recorder have levels of their own" in page.text
    assert "A quiet recorder" not in read_cluster(folder, 0).text
    fixed = study.atlas(Config(image_width_px=24, image_height_px=16, level_range_db=(-60.0, 0.0)), "fixed")
    assert scripted(fixed / "data.js")["own_levels"] == {}


@given(st.lists(st.integers(-(2**52), 2**52), min_size=1, max_size=20) | st.lists(st.integers(-300, 300), max_size=20))
def test_numbers_are_packed_without_loss(values: list[int]) -> None:
    found = packed(np.array(values, dtype=np.int64))
    raw = np.frombuffer(b64decode(found["data"]), dtype=f"<{found['type'] or 'u1'}").astype(np.float64)
    back = (raw if found["type"] else np.zeros(len(values))) + found["least"]
    assert back.tolist() == values


@pytest.mark.parametrize(
    ("path", "form", "rate", "why"),
    [
        ("a.wav", "WAV/PCM_24", 384_000, ""), ("a.WAV", "", None, ""), ("a.flac", "FLAC", 96_000, ""),
        ("a.wav", "WAV/MS_ADPCM", 8_000, "WAV/MS_ADPCM"), ("a.wav", "WAV/DOUBLE", 8_000, "WAV/DOUBLE"),
        ("a.aif", "AIFF/PCM_16", 8_000, "AIFF/PCM_16"), ("a.wma", "ASF/WMAV2", 8_000, "ASF/WMAV2"),
        ("a.w64", "W64/PCM_16", 8_000, "W64/PCM_16"), ("a.wv", "", None, ".wv"),
        ("a", "", None, "a file without a suffix"),
        ("a.wav", "WAV/PCM_16", 1_000, "1000 Hz"), ("a.wav", "RF64/PCM_16", 48_000, ""),
    ],
)  # fmt: skip
def test_what_browsers_do_not_play_is_known_beforehand(path: str, form: str, rate: int | None, why: str) -> None:
    assert why_unplayable(path, form, rate) == why


def test_sounds_are_saved_from_the_folder_that_somebody_chooses(
    hearing: Hearing, opened: Opened, tmp_path: Path
) -> None:
    page = opened(hearing.atlas)
    to_cluster(page, 1)
    choose(page, recorder=str(RECORDERS.index("north")), order="first")
    save = page.locator("#members-list .save")
    save.nth(1).click()
    expect(page.locator("#recordings-said")).to_contain_text("To save sounds, choose the folder of the recordings")
    page.locator("#recordings-files").set_input_files(hearing.recordings.root)
    expect(page.locator("#recordings-said")).to_contain_text("4 files")
    with page.expect_download() as download:
        save.nth(1).click()
    assert re.fullmatch(r"north_\d{8}T\d{6}Z\.wav", download.value.suggested_filename)
    download.value.save_as(tmp_path / "north.wav")
    found, rate = soundfile.read(tmp_path / "north.wav", dtype="int16")
    whole, _ = soundfile.read(hearing.recordings.root / FILES["north"], dtype="int16")
    assert rate == RATES_HZ["north"]
    np.testing.assert_array_equal(found, whole[40 * rate : 46 * rate])
    choose(page, recorder=str(RECORDERS.index("bat")))
    with page.expect_download() as download:
        save.first.click()
    download.value.save_as(tmp_path / "bat.wav")
    found, rate = soundfile.read(tmp_path / "bat.wav")
    whole, _ = soundfile.read(hearing.recordings.root / FILES["bat"])
    assert rate == RATES_HZ["bat"]
    np.testing.assert_allclose(found, whole[10 * rate : 16 * rate], atol=1e-4)
