"""The page as reviewers use it: in Chromium, from a folder, with the network off."""

import re
from pathlib import Path

import pytest
from browsers import Opened, faults_of, listen
from commands import Cli
from playwright.sync_api import Browser, Page, expect
from reviews import BATCH, SOUNDS, SOUNDS_CSV, all_rows, as_spreadsheet, be, downloaded, kept, loaded, make_page, press
from soundfiles import Study

from jobs.review.windows import open_windows
from jobs.runner.manifest import read_manifest
from lake.verdicts import last_decisions, read_verdicts

ODD = "<img src=x onerror=alert(1)>&'2'\""
VERDICTS = (
    "[...review.answers.values()].map((one) => [...one.entries()].map(([sound, one]) => sound + ' ' + one.verdict))"
)

ANSWERS = "[...document.querySelectorAll('.tile')].map((one) => one.dataset.answer)"
NAMED = "a, button, input, select, img, [role=option], [role=listbox], progress"
KEY = """([key, code, shiftKey]) => document.body.dispatchEvent(
    new KeyboardEvent('keydown', { key, code, shiftKey, bubbles: true }))"""


@pytest.fixture(scope="module")
def one(finished: tuple[Study, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page that asks for one sound."""
    folder = tmp_path_factory.mktemp("one") / "page"
    manifest = finished[0].folder / "study-lake.toml"
    rows = all_rows(open_windows(read_manifest(manifest)), 12)
    make_page(folder, manifest, rows=rows.assign(score=[i / 100 for i in range(len(rows))], proposal="robin"))
    return folder


@pytest.fixture(scope="module")
def every(finished: tuple[Study, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page that asks for every sound of three, one of an odd name."""
    folder = tmp_path_factory.mktemp("every") / "page"
    manifest = finished[0].folder / "study-lake.toml"
    make_page(folder, manifest, n=6, sounds=[*SOUNDS[:2], ODD], known=[*SOUNDS, ODD], every_sound=True)
    return folder


def place(page: Page) -> str:
    return page.locator("#place").inner_text()


def test_keys_answer_and_lead_on(one: Path, opened: Opened, tmp_path: Path) -> None:
    page = be(opened(one), "Ana")
    press(page, "ynu")
    expect(page.locator("#place")).to_have_text("Window 4 of 12")
    expect(page.locator("#progress-words")).to_contain_text("3 of 12")
    page.locator("#yes").click()
    expect(page.locator("#place")).to_have_text("Window 5 of 12")
    press(page, ["ArrowLeft"])
    expect(page.locator("#yes")).to_have_attribute("aria-pressed", "true")
    press(page, ["n", "z", "z"])
    expect(page.locator("#place")).to_have_text("Window 4 of 12")
    expect(page.locator("#yes")).to_have_attribute("aria-pressed", "false")
    rows = downloaded(page, tmp_path / "ana.csv")
    assert [(row["draw"], row["verdict"]) for row in rows] == [("0", "yes"), ("1", "no"), ("2", "unsure")]
    assert {(row["sound"], row["reviewer"], row["batch"]) for row in rows} == {("wren", "Ana", BATCH)}
    assert all(
        float(row["seconds"]) >= 0 and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["decided_at"])
        for row in rows
    )


def test_decisions_are_there_after_a_reload_and_each_reviewer_has_their_own(
    one: Path, opened: Opened, tmp_path: Path
) -> None:
    page = be(opened(one), "Ana")
    press(page, "yyy")
    be(page, "Bo")
    expect(page.locator("#place")).to_have_text("Window 1 of 12")
    press(page, "n")
    page.reload()
    expect(page.locator("#reviewer-name")).to_have_text("Bo")
    expect(page.locator("#place")).to_have_text("Window 2 of 12")
    assert [row["verdict"] for row in downloaded(page, tmp_path / "bo.csv")] == ["no"]
    be(page, "Ana")
    expect(page.locator("#place")).to_have_text("Window 4 of 12")
    press(page, "z")
    assert [row["reviewer"] for row in downloaded(page, tmp_path / "ana.csv")] == ["Ana", "Ana"]


def test_each_window_is_answered_for_every_sound(every: Path, opened: Opened, tmp_path: Path) -> None:
    page = be(opened(every), "Ana")
    expect(page.locator("#question")).to_have_text("wren")
    press(page, "y")
    expect(page.locator("#question")).to_have_text("robin")
    expect(page.locator("#place")).to_have_text("Window 1 of 6")
    press(page, ["3", "n"])
    expect(page.locator("#question")).to_have_text("robin")
    press(page, "u")
    expect(page.locator("#place")).to_have_text("Window 2 of 6")
    press(page, ["2", "y", "0"])
    expect(page.locator("#place")).to_have_text("Window 3 of 6")
    assert page.evaluate(VERDICTS)[:2] == [
        ["wren yes", f"{ODD} no", "robin unsure"],
        ["robin yes", "wren no", f"{ODD} no"],
    ]
    press(page, "z")
    expect(page.locator("#place")).to_have_text("Window 2 of 6")
    assert page.evaluate(VERDICTS)[1] == ["robin yes"]
    rows = downloaded(page, tmp_path / "ana.csv")
    assert {row["sound"] for row in rows} == {"wren", "robin", ODD}
    assert page.locator("#sounds img").count() == 0


def test_typing_adds_a_sound_and_collides_with_no_key(one: Path, opened: Opened, tmp_path: Path) -> None:
    page = be(opened(one), "Ana")
    press(page, "a")
    page.keyboard.type("sunny")
    assert place(page) == "Window 1 of 12"
    page.keyboard.press("Escape")
    press(page, "a")
    page.keyboard.type("blackbrid")
    page.keyboard.press("Enter")
    expect(page.locator("#sound-words")).to_contain_text("Did you mean blackbird?")
    page.locator("#sound-field").fill("BLACKBIRD")
    page.keyboard.press("Enter")
    expect(page.locator("#question")).to_have_text("blackbird")
    press(page, "y")
    press(page, "a")
    page.keyboard.type(ODD)
    page.keyboard.press("Enter")
    expect(page.locator('[data-message="sound"]')).to_contain_text("add it to sounds.csv")
    press(page, "n")
    rows = downloaded(page, tmp_path / "ana.csv")
    assert [(row["sound"], row["verdict"]) for row in rows] == [("blackbird", "yes"), (ODD, "no")]
    page.reload()
    expect(page.locator("#sounds li")).to_have_count(3)


def test_speech_is_neither_shown_nor_played_any_more(one: Path, opened: Opened, tmp_path: Path) -> None:
    page = be(opened(one), "Ana")
    press(page, "s")
    expect(page.locator("#place")).to_have_text("Window 2 of 12")
    press(page, ["ArrowLeft"])
    expect(page.locator("#withheld")).to_be_visible()
    expect(page.locator("#strip")).to_be_hidden()
    press(page, "y")
    assert page.evaluate(VERDICTS)[0] == ["speech yes"], "what is not shown is not answered"
    be(page, "Bo")
    expect(page.locator("#place")).to_have_text("Window 2 of 12")
    be(page, "Ana")
    press(page, ["ArrowLeft", "s"])
    expect(page.locator("#withheld")).to_be_hidden()
    assert [(row["sound"], row["verdict"]) for row in downloaded(page, tmp_path / "ana.csv")] == [("speech", "no")]


def test_the_grid_answers_many_at_once(one: Path, opened: Opened) -> None:
    page = be(opened(one), "Ana")
    press(page, "g")
    expect(page.locator("#tiles li")).to_have_count(12)
    page.wait_for_function("[...document.querySelectorAll('#tiles img')].slice(0, 4).every((one) => one.naturalWidth)")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    press(page, "n")
    assert page.evaluate(ANSWERS)[:5] == [
        "",
        "no",
        "no",
        "no",
        "",
    ]
    page.locator("#tile-7").click()
    press(page, "y")
    expect(page.locator("#tile-7 .answer")).to_have_text("yes")
    press(page, "z")
    expect(page.locator("#tile-7 .answer")).to_have_text("")
    page.keyboard.press("Enter")
    expect(page.locator("#place")).to_have_text("Window 8 of 12")


def test_the_space_bar_plays_and_the_picture_can_be_changed(one: Path, opened: Opened) -> None:
    page = be(opened(one), "Ana")
    page.keyboard.press(" ")
    page.wait_for_function("player.now && player.now.audio.currentTime > 0.05")
    expect(page.locator("#playhead")).to_be_visible()
    press(page, "y")
    assert page.evaluate("player.now") is None
    press(page, ["b", "b", "Shift+C"])
    assert page.evaluate("[LOOKS.brightness, LOOKS.contrast]") == pytest.approx([1.2, 0.9])
    page.locator("#autoplay").check()
    press(page, "y")
    page.wait_for_function("player.now && player.now.audio.currentTime > 0.05")


def test_scores_are_hidden_from_those_who_do_not_ask(one: Path, opened: Opened) -> None:
    page = be(opened(one), "Ana")
    press(page, "y")
    expect(page.locator("#facts")).not_to_contain_text("Score")
    assert "robin" not in page.locator("#facts").inner_text()
    page.locator("#scores").check()
    expect(page.locator("#facts")).to_contain_text("0.01")
    expect(page.locator("#facts")).to_contain_text("robin")
    page.reload()
    expect(page.locator("#facts")).not_to_contain_text("Score")


def test_a_table_comes_back_also_from_a_spreadsheet(one: Path, opened: Opened, tmp_path: Path) -> None:
    page = be(opened(one), "Zoë")
    press(page, "yn")
    downloaded(page, tmp_path / "zoe.csv")
    told = as_spreadsheet(tmp_path / "zoe.csv", tmp_path / "excel.csv", "cp1252")
    assert "0 of 2 decisions were new" in loaded(page, told)
    press(page, "zz")
    assert "2 of 2 decisions were new here, of Zoë" in loaded(page, told)
    assert page.evaluate(VERDICTS)[:2] == [["wren yes"], ["wren no"]]


def test_what_cannot_be_loaded_is_named_and_nothing_is_lost(one: Path, opened: Opened, tmp_path: Path) -> None:
    page = be(opened(one), "Ana")
    press(page, "y")
    downloaded(page, tmp_path / "ana.csv")
    text = (tmp_path / "ana.csv").read_text()
    for change, said in (
        ((BATCH, "top-00ff00ff00ff00ff"), "it is of the batch top-00ff00ff00ff00ff, this page is of"),
        (("yes", "perhaps"), "expected yes, no or unsure, found perhaps"),
        (("verdict", "opinion"), "verdict is missing"),
        (("yes", "<img src=x>"), "found <img src=x>"),
        (("T", " um "), "expected a time such as"),
        ((text, ""), "are missing"),
        ((text, text[: text.index("\n") + 1]), "it has no verdicts"),
    ):
        (tmp_path / "bad.csv").write_text(text.replace(*change))
        message = loaded(page, tmp_path / "bad.csv")
        assert said in message
        assert "nothing was taken over" in message
    (tmp_path / "bytes.csv").write_bytes(bytes(range(256)) * 40)
    assert "nothing was taken over" in loaded(page, tmp_path / "bytes.csv")
    assert page.locator("#messages img").count() == 0
    assert page.evaluate("store.all.length") == 1


def test_where_storage_is_refused_the_page_asks_for_downloads(one: Path, chromium: Browser, tmp_path: Path) -> None:
    context = chromium.new_context(offline=True, bypass_csp=True)
    context.add_init_script("Object.defineProperty(window, 'indexedDB', { get() { throw new Error('not allowed') } })")
    page = context.new_page()
    page.goto((one / "index.html").as_uri())
    expect(page.locator('[data-message="store"]')).to_contain_text("This browser keeps nothing")
    be(page, "Ana")
    press(page, "y" * 12)
    for _ in range(8):
        press(page, ["ArrowLeft", "n"])
    expect(page.locator("#save-dialog")).to_be_visible()
    with page.expect_download() as download:
        page.locator("#save-now").click()
    assert download.value.path().read_text().count("\n") == 13
    assert page.evaluate("store.nUnsaved") == 0
    context.close()


def test_storage_that_fails_later_loses_nothing(one: Path, opened: Opened, tmp_path: Path) -> None:
    page = be(opened(one), "Ana")
    press(page, "yy")
    page.evaluate("store.database.close()")
    press(page, "nn")
    expect(page.locator('[data-message="store"]')).to_contain_text("This browser keeps nothing")
    assert [row["verdict"] for row in downloaded(page, tmp_path / "ana.csv")] == ["yes", "yes", "no", "no"]


def test_a_page_without_its_sounds_or_pictures_says_so(manifest: Path, chromium: Browser, tmp_path: Path) -> None:
    make_page(tmp_path / "page", manifest, n=4)
    for path in [*(tmp_path / "page/sounds").iterdir(), tmp_path / "page/pictures/00001.webp"]:
        path.unlink()
    page = chromium.new_context(offline=True, bypass_csp=True).new_page()
    page.goto((tmp_path / "page/index.html").as_uri())
    be(page, "Ana")
    expect(page.locator('[data-message="media"]')).to_contain_text("sounds/00000.ogg is missing next to this page")
    press(page, "y")
    expect(page.locator('[data-message="media"]')).to_contain_text("00001")
    press(page, "y")
    assert page.evaluate("store.all.length") == 2
    (tmp_path / "page/data.js").unlink()
    page.reload()
    expect(page.locator("#waiting")).to_contain_text("data.js")
    page.context.close()


def test_the_same_verdicts_come_into_the_lake_directly_and_through_a_spreadsheet(
    cli: Cli, manifest: Path, opened: Opened, tmp_path: Path
) -> None:
    (manifest.parent / "sounds.csv").write_text(SOUNDS_CSV)
    make_page(tmp_path / "page", manifest, batch_id=kept(manifest))
    page = be(opened(tmp_path / "page"), "Zoë")
    press(page, "ynuyys")
    assert len(downloaded(page, tmp_path / "zoe.csv")) == 6
    lake = read_manifest(manifest).runs["mels"].lake
    assert cli("verdicts", "add", manifest, tmp_path / "zoe.csv").code == 0
    found = last_decisions(read_verdicts(lake))
    assert sorted(found["verdict"]) == ["no", "unsure", "yes", "yes", "yes", "yes"]
    for encoding in ("utf-8-sig", "cp1252", "utf-16"):
        saved = as_spreadsheet(tmp_path / "zoe.csv", tmp_path / f"{encoding}.csv", encoding)
        code, out, error = cli("verdicts", "add", manifest, saved)
        assert (code, "the lake has them all" in out) == (0, True), error


def test_everything_has_a_name_and_the_policy_lets_it_run(every: Path, chromium: Browser) -> None:
    wrong: list[str] = []
    page = listen(chromium.new_context(offline=True).new_page(), wrong)
    page.goto((every / "index.html").as_uri())
    be(page, "Ana")
    for key in ("y", "g", "?", "a"):
        page.keyboard.press(key)
        nameless = page.evaluate(
            """(named) => [...document.querySelectorAll(named)]
            .filter((one) => !one.closest('[hidden], dialog:not([open])') && !one.matches('img[alt]')
                && !one.textContent.trim() && !one.getAttribute('aria-label') && !one.labels?.length)
            .map((one) => one.outerHTML)""",
            NAMED,
        )
        assert nameless == []
    page.keyboard.press("Escape")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=data:,x onerror=\"window.run = 1\">')")
    page.keyboard.press("Escape")
    expect(page.locator("#one")).to_be_visible()
    assert page.evaluate("window.run") is None
    assert len([text for text in wrong if "Content Security Policy" in text]) == len(wrong) == 1
    page.context.close()


@pytest.mark.parametrize("width", [360, 768, 1280, 2560])
def test_nothing_is_wider_than_the_window(every: Path, chromium: Browser, width: int) -> None:
    context = chromium.new_context(
        offline=True, bypass_csp=True, viewport={"width": width, "height": 800}, has_touch=True
    )
    page = context.new_page()
    page.goto((every / "index.html").as_uri())
    be(page, "Ana")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#no").tap()
    expect(page.locator("#question")).to_have_text("robin")
    for button in ("yes", "no", "unsure"):
        assert page.evaluate("(id) => $(id).getBoundingClientRect().height", button) >= 44
    page.locator("#to-grid").tap()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_caps_lock_and_other_keyboards(one: Path, opened: Opened) -> None:
    page = be(opened(one), "Ana")
    for key, code in (("Y", "KeyY"), ("т", "KeyN"), ("г", "KeyU")):
        page.evaluate(KEY, [key, code, False])
        page.wait_for_function("!review.isBusy")
    assert page.evaluate(VERDICTS)[:3] == [["wren yes"], ["wren no"], ["wren unsure"]]
    page.evaluate(KEY, ["Y", "KeyY", True])
    page.wait_for_function("!review.isBusy")
    assert place(page) == "Window 4 of 12", "with Shift the window stays"


@pytest.mark.slow
def test_everybody_can_use_a_page(every: Path, opened: Opened) -> None:
    assert faults_of(opened(every)) == []
