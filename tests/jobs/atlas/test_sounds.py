"""Pages of sounds in an atlas: what detectors find, what people heard, and links from and to clusters."""

import re
from pathlib import Path

import numpy as np
import pytest
from atlases import ODD, parsed, read_cluster, read_members, read_page, scripted
from browsers import Opened, faults_of
from detectors import detected, heard, learnt, vectors_with_sounds
from judging import judge
from playwright.sync_api import expect
from stores import finish, make_clusters, make_cube, make_embeddings, make_run, random_codes

from jobs.atlas.command import describe, execute
from jobs.atlas.config import Config
from jobs.atlas.judged import key_of
from jobs.atlas.sounds import sound_pictures
from jobs.common.counts import COUNTS_FILE
from jobs.common.folders import publish
from jobs.common.run import Options, Run
from jobs.count.config import Config as CountConfig
from lake.query.events import thresholds_of
from lake.query.phenology import RULE
from lake.query.select import open_any
from lake.sounds import SPEECH

N_CLUSTERS = 4
SMALL = Config(n_exemplars=3, n_borders=0, n_outliers=0, n_map_windows=0, image_width_px=24, image_height_px=16)
COUNTS = (
    "sound,site,kind,period,unit,effort_h,n_windows,n_heard,n_sample,n_left_out,verified_minimum,estimate,"
    "estimate_high,low,high,method,note\n"
    "wren,,season,season,window,10,200,20,20,0,3,40.5,40.5,30.25,60,difference,few\n"
    "wren,,day,2021-06-01,window,5,100,10,10,0,1,4,4,1,9,difference,\n"
    "owl,,season,season,window,10,200,0,0,0,0,NA,NA,NA,NA,NA,nobody said yes\n"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    lake = tmp_path_factory.mktemp("lake")
    values, has = vectors_with_sounds(n_days=2)
    codes = random_codes(n_days=2, n_per_day=144, n_mels=16, n_frames=24)
    codes[np.isnan(values[..., 0])] = 0
    cube = make_cube(lake, codes)
    finish(cube)
    vectors = make_embeddings(lake, values, cube=cube)
    finish(vectors)
    heard(lake, values, has, sounds=("wren", "rain", "frog"))
    found = detected(lake, vectors, learnt(lake, vectors))
    judge(lake, [("north", 0, ODD, "yes"), ("south", 600_000, ODD, "no"), ("north", 1_200_000, SPEECH, "yes"),
                 ("north", 1_200_000, "wren", "yes")])  # fmt: skip
    labels = np.where(np.isnan(values[..., 0]), -1, has @ [1, 1, 1]).astype(np.int16)
    clusters = make_clusters(lake, labels, n_clusters=N_CLUSTERS, n_exemplars=4, embeddings=vectors)
    finish(clusters)
    counts = make_run(lake, "counts", "count", CountConfig(), inputs={"spectrograms": cube})
    table = tmp_path_factory.mktemp("counts") / COUNTS_FILE
    table.write_text(COUNTS)
    publish(counts, table.parent)
    finish(counts)
    return {"spectrograms": cube, "detections": found, "clusters": clusters, "counts": counts}


def atlas_run(runs: dict[str, Run], *roles: str, config: Config | None = None) -> Run[Config]:
    url = runs["spectrograms"].lake.storage.url
    inputs = {role: runs[role] for role in roles}
    return make_run(url, f"atlas-{'-'.join(roles)}", "atlas", config or SMALL, inputs=inputs)


@pytest.fixture(scope="module")
def pages(runs: dict[str, Run]) -> Path:
    run = atlas_run(runs, "clusters", "spectrograms", "detections", "counts")
    execute(run, Options(workers=2))
    return Path(run.output.url)


def sound_page(folder: Path, sound: str) -> str:
    return str(scripted(folder / f"sounds/{key_of(sound)}.js")["html"])


def test_each_sound_with_verdicts_detections_or_counts_has_a_page_and_speech_has_none(pages: Path) -> None:
    sounds = scripted(pages / "data.js")["sounds"]
    assert [name for _, name in sounds] == sorted([ODD, "frog", "owl", "rain", "wren"])
    assert {path.stem for path in (pages / "sounds").glob("*.js")} == {key for key, _ in sounds}
    assert all(re.fullmatch("s[0-9a-f]{16}", key) for key, _ in sounds)
    index = read_page(pages / "index.html")
    assert {f"#sound-{key}" for key, _ in sounds} <= set(index.attributes("a", "href"))
    assert not any("sounds/" in source for source in index.attributes("img", "src")), "pictures load with their pages"


def test_a_dry_run_counts_pages_of_sounds_and_their_pictures(pages: Path, runs: dict[str, Run]) -> None:
    made = [path for path in pages.rglob("*") if path.is_file()]
    lines = "\n".join(describe(atlas_run(runs, "clusters", "spectrograms", "detections", "counts"), Options()))
    assert "a page for each of 5 sounds" in lines
    (n_pictures,), (n_files,) = (map(int, re.findall(rule, lines)) for rule in (r"(\d+) pictures", r"in (\d+) files"))
    assert len(list((pages / "images").iterdir())) <= n_pictures
    assert len(made) <= n_files <= 1.5 * len(made)
    alone = "\n".join(describe(atlas_run(runs, "clusters", "spectrograms"), Options()))
    assert "a page for each of 4 sounds" in alone, "of the owl there are counts alone"


def test_a_name_is_the_same_file_in_every_atlas_whatever_it_holds() -> None:
    assert key_of("wren") == key_of("wren")
    odd = ["../x", "a/b", "CON", "wren", "Wren", "w" * 500, "\ud800", ODD]
    assert len({key_of(name) for name in odd}) == len(odd)
    assert all(re.fullmatch(r"\w{17}", key_of(name)) for name in odd)


def test_the_list_holds_what_people_heard_and_what_reaches_the_threshold(pages: Path, runs: dict[str, Run]) -> None:
    scores, rows = open_any(runs["detections"].output.url), read_members(pages, key_of("wren"))
    at = [str(name) for name in scores["sound"].to_numpy()].index("wren")
    threshold = thresholds_of(scores, RULE, ["wren"])[0]["wren"]
    score, probability = (scores[name].to_numpy()[..., at] for name in ("score", "probability"))
    recorder, cell = rows["recorder"].astype(int), rows["cell"].astype(int)
    np.testing.assert_allclose(rows["probability"], probability[recorder, cell], rtol=1e-6)
    is_heard = rows["verdict"] > 0
    assert (is_heard | (score[recorder, cell] >= threshold)).all()
    is_speech = np.zeros(score.shape, dtype=bool)
    is_speech[0, 2] = True
    assert (score[~is_speech] >= threshold).sum() == (score[recorder, cell] >= threshold).sum()
    assert not is_speech[recorder, cell].any(), "windows of speech are in no list"
    clusters = open_any(runs["clusters"].output.url)["cluster"].to_numpy()
    np.testing.assert_array_equal(rows["cluster"], clusters[recorder, cell])


def test_what_a_page_says_of_a_sound(pages: Path) -> None:
    wren, odd, owl = (parsed(sound_page(pages, name)) for name in ("wren", ODD, "owl"))
    counts = next(table for table in wren.tables if table[0][0] == "Site")
    assert [row[:5] for row in counts[1:]] == [["no site", "200", "20", "40.5", "30.2 to 60.0"]]
    assert "of best F1" in wren.text
    assert "Average precision" in wren.text
    assert any(key_of("wren") in source for source in wren.attributes("img", "src"))
    assert "yes to 1, no to 1 and unsure to 0" in odd.text
    assert odd.attributes("script", "src") == []
    assert "Found in no window" in owl.text
    assert owl.tables[0][1][:5] == ["no site", "200", "0", "–", "–"]
    assert "nobody said yes" in owl.text


def test_sounds_and_clusters_link_to_each_other(pages: Path) -> None:
    for name in ("wren", "rain", "frog"):
        page = parsed(sound_page(pages, name))
        (table,) = (table for table in page.tables if table[0][0] == "Cluster")
        for cell, n_found, n_yes in table[1:]:
            number = int(cell.split()[1])
            assert f"#cluster-{number}" in page.attributes("a", "href")
            there = read_cluster(pages, number)
            assert f"#sound-{key_of(name)}" in there.attributes("a", "href")
            rows = next(table for table in there.tables if table[0][0] == "Sound")
            (mine,) = (row for row in rows if row[0] == name)
            assert (mine[1], mine[3]) == (n_found, n_yes)


def test_best_and_verified_windows_have_pictures_in_order_of_their_scores(pages: Path) -> None:
    page = parsed(sound_page(pages, "wren"))
    found = [float(value) for value in re.findall(r"Probability ([\d.e+-]+)", page.text)]
    best, verified = found[:3], found[3:]
    assert best == sorted(best, reverse=True)
    assert len(verified) == 3
    assert verified == sorted(verified, reverse=True)
    assert page.text.count("people said yes") >= 3
    images = [source for source in page.attributes("img", "src") if source.startswith("images/")]
    assert len(set(images)) == 6
    assert all((pages / source).is_file() for source in page.attributes("img", "src"))


def test_the_page_of_a_sound_in_chromium(pages: Path, opened: Opened) -> None:
    page = opened(pages)
    page.locator("#sounds").get_by_role("link", name="wren").click()
    expect(page.locator("#cluster h1")).to_have_text("wren")
    n = scripted(pages / f"members/{key_of('wren')}.js")["n"]
    expect(page.locator("#members-said")).to_contain_text(f"{n} windows")
    page.locator("select[name=verdict]").select_option(label="yes")
    verdicts = page.locator("#members-list tbody td:nth-child(3)").all_inner_texts()
    assert set(verdicts) == {"yes"}
    chances = [float(text) for text in page.locator("#members-list tbody td:nth-child(4)").all_inner_texts()]
    assert chances == sorted(chances, reverse=True)
    page.locator("#members-list tbody a").first.click()
    expect(page.locator("#cluster h1")).to_contain_text("Cluster")
    page.locator("#cluster .sounds a").first.click()
    expect(page.locator("#cluster h1")).not_to_contain_text("Cluster")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Escape")
    expect(page.locator("#overview")).to_be_visible()
    page.evaluate(f"location.hash = '#sound-{key_of(ODD)}'")
    expect(page.locator("#cluster h1")).to_have_text(ODD)


def test_without_detections_pictures_are_of_what_people_heard(runs: dict[str, Run], tmp_path: Path) -> None:
    made = sound_pictures(atlas_run(runs, "spectrograms"), tmp_path)
    assert set(made) >= {"frog", "rain", "wren"}
    assert all(told.endswith("windows heard") for _, told in made.values())
    assert all((tmp_path / key).read_bytes()[:4] == b"\x89PNG" for keys, _ in made.values() for key in keys)


def test_a_study_without_verdicts_has_no_sounds(tmp_path: Path) -> None:
    cube = make_cube(tmp_path, random_codes(n_days=1, n_per_day=144))
    finish(cube)
    assert sound_pictures(atlas_run({"spectrograms": cube}, "spectrograms"), tmp_path / "out") == {}


def test_speech_is_in_no_picture(tmp_path: Path) -> None:
    cube = make_cube(tmp_path, random_codes(n_days=1, n_per_day=144))
    finish(cube)
    judge(tmp_path, [("north", 0, "wren", "yes"), ("north", 600_000, "wren", "yes"), ("north", 0, SPEECH, "yes")])
    made = sound_pictures(atlas_run({"spectrograms": cube}, "spectrograms"), tmp_path / "out")
    assert {sound: told for sound, (_, told) in made.items()} == {"wren": "1 of 1 windows heard"}
    assert np.all([(tmp_path / "out" / key).is_file() for keys, _ in made.values() for key in keys])


@pytest.mark.slow
def test_everybody_can_use_index_sounds_and_clusters(pages: Path, opened: Opened) -> None:
    page = opened(pages)
    assert faults_of(page) == []
    page.locator("#sounds").get_by_role("link", name="wren").click()
    expect(page.locator("#members-list tbody a").first).to_be_visible()
    assert faults_of(page) == []
    page.locator("#members-list tbody a").first.click()
    expect(page.locator("#cluster")).to_be_visible()
    assert faults_of(page) == []
