"""Every window can be heard: the page plays the recordings themselves, from a folder and from a server."""

import functools
import re
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
import soundfile
from atlases import scripted
from browsers import Opened
from hearings import (
    BASE,
    FILES,
    HOP_S,
    N_CELLS,
    N_CLUSTERS,
    RATES_HZ,
    RECORDERS,
    ULTRASOUND_HZ,
    Hearing,
    build_hearing,
    choose,
    files,
    to_cluster,
    tone_hz,
)
from playwright.sync_api import Browser, Page, expect


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Hearing:
    return build_hearing(tmp_path_factory.mktemp("hearing"))


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
    expect(page.locator("#members-said")).to_have_text("No window is left: take a filter away.")
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
