"""The page as people see it: in Chromium, from a folder, with the network off."""

import codecs
import csv
import re
from pathlib import Path

import pytest
from atlases import N_CLUSTERS, ODD, build_study, scripted, write_attention, write_labels, write_sound
from browsers import Opened
from playwright.sync_api import Browser, Page, expect

from jobs.atlas.config import Config
from lake.escapes import as_written
from lake.grid import iso
from lake.names import names_key
from lake.query.naming import Name, write_names

BY_SOUND = "player.now && player.now.audio.currentTime > 0.05"


@pytest.fixture(scope="module")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an atlas with sound, labels and a name that came with the clustering, of odd names throughout."""
    study = build_study(tmp_path_factory.mktemp("sounding"))
    write_attention(study)
    write_names(study.clusters.output, [Name(3, f"carried {ODD}", "old")])
    assert names_key(study.clusters.output)[1] == "clusters.names.csv"
    config = Config(title=f"Study {ODD}", image_width_px=48, image_height_px=32)
    return study.atlas(config, recordings=write_sound(study), labels=write_labels(study), workers=2)


def to_cluster(page: Page, cluster: int) -> None:
    page.evaluate(f"location.hash = '#cluster-{cluster}'")
    expect(page.locator("#cluster h1")).to_contain_text(f"Cluster {cluster}")


def load_all_pictures(page: Page) -> None:
    page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    assert (
        page.evaluate("[...document.images].filter((image) => image.naturalWidth === 0).map((image) => image.src)")
        == []
    )


def test_every_page_and_picture_opens_by_its_link(sounding: Path, opened: Opened) -> None:
    page = opened(sounding)
    load_all_pictures(page)
    expect(page).to_have_title(f"Study {ODD}")
    page.locator(".card a").first.click()
    seen = []
    while True:
        title = page.locator("#cluster h1").inner_text()
        seen.append(int(re.findall(r"\d+", title)[0]))
        load_all_pictures(page)
        after = page.locator("#cluster a[rel=next]")
        if not after.count():
            break
        after.first.click()
        expect(page.locator("#cluster h1")).not_to_have_text(title)
    assert seen == [cluster for cluster, _ in scripted(sounding / "data.js")["clusters"]]
    assert sorted(seen) == list(range(N_CLUSTERS))
    page.locator("#cluster .up").first.click()
    expect(page.locator("#overview")).to_be_visible()


def test_a_sound_plays_and_stops(sounding: Path, opened: Opened) -> None:
    page = opened(sounding)
    number = int(next((sounding / "clips").iterdir()).name.split("-")[0])
    to_cluster(page, number)
    page.evaluate("player.isLooped = true")  # so that a slow machine does not look after its end
    assert page.locator(".exemplars .play").count() == len(list((sounding / "clips").glob(f"{number}-*.ogg")))
    button = page.locator(".play").first
    button.click()
    page.wait_for_function(BY_SOUND)
    expect(button).to_have_text("■ Stop")
    assert page.evaluate("player.now.audio.duration") == pytest.approx(6, abs=0.05)
    button.click()
    expect(button).to_have_text("▶ Play")
    page.keyboard.press("p")
    page.wait_for_function(BY_SOUND)
    page.keyboard.press("j")
    page.wait_for_function("player.now === null")


def test_attention_can_be_switched_on_and_off(sounding: Path, opened: Opened) -> None:
    page = opened(sounding)
    to_cluster(page, 1)
    veil = page.locator("img.attention").first
    expect(veil).to_be_hidden()
    page.locator("#attention-on").check()
    expect(veil).to_be_visible()
    page.wait_for_function("document.querySelector('img.attention').naturalWidth === 3")
    picture, over = page.locator(".plot img").first.bounding_box(), veil.bounding_box()
    assert picture is not None
    assert over == pytest.approx(picture, abs=1)
    page.keyboard.press("Tab")
    page.evaluate("location.hash = '#cluster-2'")
    expect(page.locator("#cluster h1")).to_contain_text("Cluster 2")
    expect(page.locator("img.attention").first).to_be_visible()
    page.locator("#attention-on").uncheck()
    expect(page.locator("img.attention").first).to_be_hidden()


def test_a_name_stays_and_comes_out_as_a_table(sounding: Path, opened: Opened, tmp_path: Path) -> None:
    page = opened(sounding)
    to_cluster(page, 2)
    page.keyboard.press("n")
    page.keyboard.type('<img src=data:,x onerror=alert(1)>, "robin"')
    page.keyboard.press("Tab")
    page.keyboard.type("second line\nof notes")
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator("#cluster h1")).to_contain_text('<img src=data:,x onerror=alert(1)>, "robin"')
    page.keyboard.press("Escape")
    expect(page.locator("#card-2 .name")).to_have_text('<img src=data:,x onerror=alert(1)>, "robin"')
    with page.expect_download() as download:
        page.locator("#names-download").click()
    download.value.save_as(tmp_path / "names.csv")
    assert (tmp_path / "names.csv").read_bytes().startswith(codecs.BOM_UTF8), "so that spreadsheets read umlauts"
    with (tmp_path / "names.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["cluster", "name", "notes", "clustering_id"],
        ["2", '<img src=data:,x onerror=alert(1)>, "robin"', "second line\nof notes", rows[1][3]],
        ["3", f"carried {ODD}", "old", rows[1][3]],
    ]
    assert re.fullmatch("[0-9a-f]{16}", rows[1][3])
    # What came with the clustering can be taken away, and a table brings it all back.
    to_cluster(page, 3)
    page.locator(".naming input").fill("")
    page.locator(".naming textarea").fill("")
    page.reload()
    expect(page.locator("#cluster h1")).to_have_text("Cluster 3")
    page.keyboard.press("Escape")
    assert page.locator("#names-table tbody tr").count() == 1
    page.locator("#names-file").set_input_files(tmp_path / "names.csv")
    expect(page.locator("#names-said")).to_have_text("2 names taken over; others stay as they were.")
    replacing = "cluster;name;notes\r\n3;Zaunkönig;\r\n".encode("cp1252")  # as spreadsheets of some countries save it
    (tmp_path / "theirs.csv").write_bytes(replacing)
    page.locator("#names-file").set_input_files(tmp_path / "theirs.csv")
    expect(page.locator("#names-said")).to_have_text(
        f"1 name taken over; of these replaced: cluster 3 (carried {ODD}); others stay as they were. "
        "The file does not say of which clustering it is."
    )
    expect(page.locator("#names-table tbody")).to_contain_text("Zaunkönig")
    page.locator("#names-file").set_input_files(tmp_path / "names.csv")
    expect(page.locator("#names-table tbody")).to_contain_text(f"carried {ODD}")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    page.locator("#names-file").set_input_files(tmp_path / "other.csv")
    expect(page.locator("#names-said")).to_have_text("That file has no columns cluster and name: expected a names.csv.")


def test_whatever_a_study_calls_its_things_is_text(sounding: Path, opened: Opened) -> None:
    page = opened(sounding)
    for number in range(N_CLUSTERS):
        to_cluster(page, number)
    to_cluster(page, 1)
    expect(page.locator("table.labels")).to_contain_text("<b>wren</b>")
    expect(page.locator("table.recorders")).to_contain_text(f"site of {ODD}")
    assert page.locator("table.labels b").count() == 0
    assert page.locator("script").count() == 16, "the page's own"
    assert page.locator("script:not([src])").count() == 0
    page.keyboard.press("Escape")
    for by in ("name", "recorder"):
        page.locator("#map-colour").select_option(by)
        expect(page.locator("#map-legend")).to_contain_text(ODD)
        expect(page.locator("#map-only")).to_contain_text(ODD)


def test_the_map_shows_what_is_under_the_pointer_and_leads_to_its_cluster(sounding: Path, opened: Opened) -> None:
    page = opened(sounding)
    data = scripted(sounding / "data.js")["map"]
    for name in ("PCA", "t-SNE"):
        page.locator("#map-layout").select_option(name)
        expect(page.locator("#map-told")).to_contain_text(f"{name}: ")
        box = page.locator("#map-canvas").bounding_box()
        assert box is not None
        x, y = page.evaluate("[state.map.x[7], state.map.y[7]]")
        at = f"{{clientX: {box['x'] + x}, clientY: {box['y'] + y}}}"
        page.mouse.move(box["x"] + x, box["y"] + y)
        expect(page.locator("#map-tip")).to_be_visible()
        assert page.evaluate(f"nearestPoint({at})") >= 0
    assert "map/0.webp" in page.locator("#map-thumb").evaluate("(box) => box.style.backgroundImage")
    drawn = page.evaluate("""() => {
        const canvas = document.getElementById('map-canvas');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return pixels.filter((value, i) => i % 4 === 3 && value > 0).length;
    }""")
    assert drawn > len(data["cluster"])
    i = page.evaluate(f"nearestPoint({at})")
    page.mouse.down()
    page.mouse.up()
    link = page.locator("#map-window a")
    expect(link).to_have_text(re.compile(f"^Cluster {data['cluster'][i]}( |$)"))
    link.click()
    expect(page.locator("#cluster h1")).to_contain_text(f"Cluster {data['cluster'][i]}")


VIEW = "[state.map.view.zoom, state.map.view.x, state.map.view.y]"


def test_the_map_is_enlarged_where_the_pointer_is_and_moved_by_dragging(sounding: Path, opened: Opened) -> None:
    page = opened(sounding)
    canvas = page.locator("#map-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    x, y = page.evaluate("[state.map.x[7], state.map.y[7]]")
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(100)
    assert page.evaluate(VIEW) == [1, 0, 0], "the wheel alone scrolls the page"
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.wait_for_function("state.map.view.zoom > 2 && !state.map.isAsked")
    moved = page.evaluate("[state.map.x[7], state.map.y[7]]")
    inside = page.evaluate("Math.abs(state.map.view.x) < 0.499 * (1 - 1 / state.map.view.zoom)")
    assert not inside or moved == pytest.approx([x, y], abs=2), "the dot under the pointer stays there"
    before = page.evaluate("location.hash")
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    at = page.evaluate("state.map.x[7]")
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 40, middle[1], steps=4)
    page.mouse.up()
    page.wait_for_function(f"Math.abs(state.map.x[7] - {at}) > 1 && !state.map.isAsked")
    assert page.evaluate("location.hash") == before, "dragging opens nothing"
    page.locator("#map-whole").click()
    page.wait_for_function("state.map.view.zoom === 1 && !state.map.isAsked")
    assert page.evaluate("[state.map.x[7], state.map.y[7]]") == pytest.approx([x, y], abs=0.01)
    assert page.locator("#map-smaller").is_disabled()
    for _ in range(12):
        if page.locator("#map-larger").is_enabled():
            page.locator("#map-larger").click()
            page.wait_for_function("!state.map.isAsked")
    assert page.evaluate("state.map.view.zoom") == 64


def test_the_map_can_be_read_with_the_keyboard(sounding: Path, opened: Opened) -> None:
    page = opened(sounding)
    page.locator("#map-canvas").focus()
    for key, zoom in (("+", 1.6), ("+", 2.56), ("-", 1.6), ("0", 1), ("+", 1.6)):
        page.keyboard.press(key)
        assert page.evaluate("state.map.view.zoom") == pytest.approx(zoom)
    for key, place, sign in (("ArrowRight", 1, 1), ("ArrowLeft", 1, -1), ("ArrowUp", 2, 1), ("ArrowDown", 2, -1)):
        before = page.evaluate(VIEW)
        page.keyboard.press(key)
        after = page.evaluate(VIEW)
        assert (after[place] - before[place]) * sign > 0
    seen = page.evaluate("""() => {
        const canvas = $('map-canvas'), { places, size } = state.map;
        for (let i = 0; i < state.map.x.length; i++) {
            setView(4, places[2 * i] / size - 0.5, places[2 * i + 1] / size - 0.5);
            paint();
            if (nearestTo(canvas.clientWidth / 2, canvas.clientHeight / 2, 48) >= 0) return state.map.cluster[i];
        }
    }""")
    assert seen is not None
    page.keyboard.press("+")
    expect(page.locator("#map-middle")).to_be_visible()
    expect(page.locator("#map-words")).to_contain_text("Cluster")
    told = page.locator("#map-words").inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("#cluster h1")).to_contain_text(told.splitlines()[0].split(" · ")[0])


def test_many_dots_are_painted_as_pixels_of_the_same_colours(sounding: Path, opened: Opened) -> None:
    page = opened(sounding)
    page.evaluate("""() => {
        const map = state.map, n = map.cluster.length, times = Math.ceil(6000 / n);
        for (const key of ['cluster', 'recorder', 'hour', 'day']) map[key] = Array(times).fill(map[key]).flat();
        for (const one of map.layouts) one.places = Array(times).fill(one.places).flat();
    }""")
    page.evaluate("drawMap()")
    n, few = page.evaluate("state.map.cluster.length"), page.evaluate("new Set(state.map.cluster).size")
    assert n > 5000
    found = page.evaluate("""() => {
        const canvas = $('map-canvas'), map = state.map, ratio = devicePixelRatio || 1;
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const palette = pixelsOf(map.colours), pixels = new Uint32Array(data.buffer);
        const wanted = new Set([...palette].slice(0, -1)), seen = new Set([...pixels].filter((value) => value));
        return [[...seen].every((value) => wanted.has(value)), seen.size];
    }""")
    assert found == [True, few]
    page.locator("#map-only").select_option(index=1)
    alone = page.evaluate("map => [...state.map.paint].filter((p) => p !== state.map.colours.length - 1).length")
    assert 0 < alone < n


def test_single_hours_can_be_read_with_the_keyboard(sounding: Path, opened: Opened) -> None:
    page = opened(sounding)
    data = scripted(sounding / "data.js")
    cells = dict(map(tuple, scripted(sounding / "clusters/1.js")["cells"]))
    to_cluster(page, 1)
    page.locator("#heat").focus()
    place = min(cells)
    for _ in range(place // 24):
        page.keyboard.press("ArrowRight")
    for _ in range(place % 24):
        page.keyboard.press("ArrowUp")
    expect(page.locator("#heat-words")).to_contain_text(f"h: {cells[place]} of {data['effort'][place]} windows")


def test_keys_lead_through_the_clusters_and_back(sounding: Path, opened: Opened) -> None:
    page = opened(sounding)
    order = [cluster for cluster, _ in scripted(sounding / "data.js")["clusters"]]
    for number in (*order, order[-1]):
        page.keyboard.press("j")
        expect(page.locator("#cluster h1")).to_contain_text(f"Cluster {number}")
    page.keyboard.press("k")
    expect(page.locator("#cluster h1")).to_contain_text(f"Cluster {order[-2]}")
    page.keyboard.press("Escape")
    expect(page.locator("#overview")).to_be_visible()
    page.evaluate("location.hash = '#cluster-4711'")
    expect(page.locator("#overview")).to_be_visible()


def test_everything_has_a_name_for_those_who_do_not_see_it(sounding: Path, opened: Opened) -> None:
    page = opened(sounding)
    nameless = """() => [...document.querySelectorAll('a, button, input, select, textarea, img, [role=img]')]
        .filter((one) => !one.closest('[hidden]') && !one.matches('img[alt]') && !one.textContent.trim()
            && !one.getAttribute('aria-label') && !one.labels?.length)
        .map((one) => one.outerHTML)"""
    assert page.evaluate(nameless) == []
    to_cluster(page, 1)
    assert page.evaluate(nameless) == []


def test_nothing_of_the_page_is_against_its_own_policy(sounding: Path, chromium: Browser) -> None:
    """Pages of the other tests are opened without the policy, which keeps playwright's polling out too."""
    page = chromium.new_context(offline=True).new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.goto((sounding / "index.html").as_uri())
    page.keyboard.press("j")
    expect(page.locator("#cluster .play").first).to_be_visible()
    page.locator("#cluster .play").first.click()
    expect(page.locator("#cluster .playhead").first).to_be_visible()
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=data:,x onerror=\"window.run = 1\">')")
    expect(page.locator("#overview h1")).to_have_count(1)
    assert page.evaluate("window.run") is None
    assert len([text for text in wrong if "Content Security Policy" in text]) == len(wrong) == 1
    page.context.close()


def test_windows_that_are_drawn_around_come_out_as_a_list(sounding: Path, opened: Opened, tmp_path: Path) -> None:
    page = opened(sounding)
    data = scripted(sounding / "data.js")
    n, recorders = len(data["map"]["cluster"]), data["recorders"]
    expect(page.locator("#map-chosen")).to_have_text(f"{n} windows shown")
    page.locator("#map-lasso").click()
    page.locator("#map-canvas").scroll_into_view_if_needed()
    box = page.locator("#map-canvas").bounding_box()
    assert box is not None
    left, right = box["x"] + box["width"] / 2, box["x"] + box["width"] - 1
    top, bottom = box["y"] + 1, box["y"] + box["height"] - 1
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(x, y, steps=3)
    page.mouse.up()
    inside = page.evaluate("[...state.map.x].flatMap((x, i) => x > $('map-canvas').clientWidth / 2 ? [i] : [])")
    assert 0 < len(inside) < n
    expect(page.locator("#map-chosen")).to_have_text(f"{len(inside)} windows within the line")
    assert page.evaluate("location.hash") == ""
    with page.expect_download() as download:
        page.locator("#map-list").click()
    download.value.save_as(tmp_path / "windows.csv")
    with (tmp_path / "windows.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    mapped = data["map"]
    for row, i in zip(rows, inside, strict=True):
        assert as_written(row["recorder"]) == recorders[mapped["recorder"][i]]
        start_ms = data["origin_ms"] + mapped["cell"][i] * data["hop_ms"]
        assert (row["time_utc"], row["duration_s"]) == (iso(start_ms), "6")
    page.locator("#map-only").select_option(index=1)
    expect(page.locator("#map-chosen")).to_contain_text("shown")
    page.locator("#map-lasso").click()
    expect(page.locator("#map-lasso")).to_have_attribute("aria-pressed", "false")
