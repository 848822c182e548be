"""A share of the study's 230,259 windows, from sound to counts, with two kills and a full disk.

    make bench-season SHARE=1/30         # 1/3, 1

It works in a session of its own, so a closed terminal does not end it; typed again it goes on after the last step that
was done. Each step is a command line; its time is in the log as it ends. From a thirtieth down, a twin that is never
killed is made of the same sound, and the stores must be byte for byte the same.
"""

import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from benchmarks.processes import Cost, measured
from benchmarks.report import FOLDER, Figure, report
from benchmarks.season_sound import FIRMWARES, NAMES, PER_FILE
from lake.digest import sha256

WHOLE: Final = 230_259
SMALL: Final = Fraction(1, 30)
"""Share up to which a twin is made, and whose cost per window is the yardstick of larger ones."""
MOST_GROWTH, MOST_MINUTES, MOST_GB, MOST_PAGE_S = 1.1, {Fraction(1, 3): 75, Fraction(1): 150}, 4.0, 1.0
KILLED: Final = ("mels", "dictionary vectors", "statistics", "starter vectors")
FULL: Final = "1024 x 1024"
"""The step whose disk is full at first."""
MOUNT: Final = shutil.which("mount")
FULL_DISK_MB, SHARE_1024 = 40, Fraction(1, 100)
AUDIO: Final = '[recordings]\ntable = "{table}"\nroot = "{root}"\n'
MELS: Final = "window_s = 3.0, hop_s = 3.0, n_mels = {n}, n_frames = {n}, f_min_hz = 50.0, f_max_hz = 11000.0"
RUNS: Final = """
[runs.dictionary]
job = "dictionary"
inputs = { spectrograms = "mels" }
[runs.starter]
job = "contrast"
inputs = { spectrograms = "mels" }
config = { init = "starter", steps = 0 }
[runs.contrast]
job = "contrast"
inputs = { spectrograms = "mels" }
config = { init = "starter", steps = 200, lr = 5e-4, precision = "fp32" }
[runs.dictionary-vectors]
job = "embed"
inputs = { spectrograms = "mels", model = "dictionary" }
[runs.statistics]
job = "embed"
inputs = { spectrograms = "mels" }
config = { features = "statistics" }
[runs.starter-vectors]
job = "embed"
inputs = { spectrograms = "mels", model = "starter" }
config = { readout = "output" }
[runs.clusters]
job = "cluster"
inputs = { embeddings = ["dictionary-vectors", "statistics"] }
config = { n_clusters = 100 }
[runs.atlas]
job = "atlas"
inputs = { clusters = "clusters", spectrograms = "mels" }
[runs.heads]
job = "learn"
inputs = { embeddings = ["dictionary-vectors", "statistics"] }
[runs.detections]
job = "detect"
inputs = { embeddings = ["dictionary-vectors", "statistics"], heads = "heads" }
[runs.counts]
job = "count"
inputs = { spectrograms = "mels", detections = "detections" }
"""
TWIN: Final = ("mels", "dictionary", "statistics", "dictionary-vectors", "starter", "starter-vectors", "clusters")
Steps = Mapping[str, list[str]]


def windows_of(share: Fraction) -> int:
    """Return the windows of a share of the study, in whole recordings."""
    return -(-round(WHOLE * share) // PER_FILE) * PER_FILE


def steps_of(folder: Path, n_windows: int) -> Steps:
    """Return the command line of each step by name, in order."""
    dawn, python = str(Path(sys.executable).with_name("dawnchorus")), sys.executable
    study, sound = ["study.toml"], [python, "-m", "benchmarks.season_sound"]
    zones = [
        word
        for i, name in enumerate(NAMES[: n_windows // PER_FILE])
        for word in ("--zone", f"{name}={FIRMWARES[i % 2].zone}")
    ]

    def run(name: str) -> list[str]:
        return [dawn, "run", *study, name]

    hear = [dawn, "review", *study, "--no-page", "--order"]
    where = ["--recorder", NAMES[0], "--time", "2021-06-22 05:46:00"]
    lines = {
        "sound": [*sound, "make", str(folder), str(n_windows)],
        "catalog": [dawn, "catalog", "audio", "--out", "recordings.csv", *zones],
        "mels": run("mels"),
        FULL: [dawn, "run", "fine.toml", "mels"],
        "dictionary": run("dictionary"),
        "starter": run("starter"),
        "contrast, 200 steps": run("contrast"),
        "dictionary vectors": run("dictionary-vectors"),
        "statistics": run("statistics"),
        "starter vectors": run("starter-vectors"),
        "cluster": run("clusters"),
        "atlas": run("atlas"),
        "review, far": [*hear, "far", "--n", "60"],
        "the truth answers": [*sound, "answer", *study, "far"],
        "add, learn, detect": [dawn, "loop", *study, "far.csv", "--no-page"],
        "review, count": [*hear, "count", "--n", "160"],
        "the truth answers again": [*sound, "answer", *study, "count"],
        "add, learn, detect again": [dawn, "loop", *study, "count.csv", "--no-page"],
        "count": run("counts"),
        "query": [dawn, "query", "lake/clusters/clusters.zarr", "--cluster", "3", "--out", "query.csv", "--force"],
        "similar": [dawn, "similar", "lake/embeddings/dictionary-vectors.zarr", *where],
        "similar, again": [dawn, "similar", "lake/embeddings/dictionary-vectors.zarr", *where],
        "status": [dawn, "status", *study],
        "verify": [dawn, "verify", *study],
    }  # fmt: skip
    if n_windows <= windows_of(SMALL):
        lines["twin, never killed"] = [dawn, "run", "twin.toml", *TWIN]
        lines["twin of 1024 x 1024"] = [dawn, "run", "fine-twin.toml", "mels"]
    return lines


def write_manifests(folder: Path) -> None:
    """Write the study's manifest, its twin's, and those of the first recordings at 1024 x 1024."""
    table = (folder / "recordings.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    n_fine = max(1, round((len(table) - 1) * SHARE_1024))
    (folder / "fine.csv").write_text("".join(table[: 1 + n_fine]), encoding="utf-8")
    labels = 'labels = "truth.csv"\n'
    for name, lake, rows, n, more in (
        ("study", "lake", "recordings.csv", 512, RUNS), ("twin", "twin", "recordings.csv", 512, RUNS),
        ("fine", "fine", "fine.csv", 1024, ""), ("fine-twin", "fine-twin", "fine.csv", 1024, ""),
    ):  # fmt: skip
        audio = AUDIO.format(table=rows, root="audio")
        mels = f'[runs.mels]\njob = "spectrograms"\nconfig = {{ {MELS.format(n=n)} }}\n'
        (folder / f"{name}.toml").write_text(f'lake = "{lake}"\n{labels}{audio}{mels}{more}', encoding="utf-8")


def do(folder: Path, share: Fraction, seed: int, say: Callable[[str], None]) -> dict[str, Cost]:
    """Do the steps that are not done yet and return what each cost."""
    n_windows = windows_of(share)
    costs, done = {}, folder / "done.json"
    if done.exists():
        costs = {name: Cost(**cost) for name, cost in json.loads(done.read_text(encoding="utf-8")).items()}
    draw = random.Random(seed)
    kills = {name: draw.uniform(2, 3 + n_windows / 1000) for name in draw.sample(KILLED, 2)}
    say(
        f"{n_windows:,} windows of {WHOLE:,}; seed {seed}: "
        + ", ".join(f"kill {k} at {s:.1f} s" for k, s in kills.items())
    )
    for name, words in steps_of(folder, n_windows).items():
        if name in costs:
            continue
        cost = killed(words, folder, kills[name], say) if name in kills else Cost(0, 0, 0, 0)
        if name == FULL:
            cost += full_disk(words, folder, say)
        before = used_bytes(folder)
        cost += measured(words, folder, folder / "commands.log")
        if cost.code:
            raise SystemExit(f"{name}: exit code {cost.code}; see {folder}/commands.log. Type the same again to go on.")
        costs[name] = Cost(cost.seconds, cost.cpu_s, cost.peak_bytes, 0, used_bytes(folder) - before)
        done.write_text(json.dumps({name: asdict(cost) for name, cost in costs.items()}), encoding="utf-8")
        say(f"{name}: {cost.seconds:.1f} s, {cost.cpu_s:.1f} CPU-s, {cost.peak_bytes / 1e9:.2f} GB")
        if name == "catalog":
            write_manifests(folder)
    return costs


def killed(words: list[str], folder: Path, after_s: float, say: Callable[[str], None]) -> Cost:
    """Start a step, kill it and all below it after some seconds, and return what that cost."""
    cost = measured(words, folder, folder / "commands.log", kill_after_s=after_s)
    end = "kill -9" if cost.code < 0 else f"ended before, with {cost.code}"
    say(f"{' '.join(words[-2:])}: {end} after {cost.seconds:.1f} s")
    return cost


def full_disk(words: list[str], folder: Path, say: Callable[[str], None]) -> Cost:
    """Start a step on a disk that is too small, check how it ends, and give it room."""
    lake = folder / "fine"
    lake.mkdir(exist_ok=True)
    if os.geteuid() or MOUNT is None:
        say("full disk: not tried, a small file system needs root")
        return Cost(0, 0, 0, 0)
    if not lake.is_mount():
        subprocess.run([MOUNT, "-t", "tmpfs", "-o", f"size={FULL_DISK_MB}m", "season", str(lake)], check=True)
    cost = measured(words, folder, folder / "commands.log")
    say(f"full disk of {FULL_DISK_MB} MB: exit code {cost.code} (75 is expected)")
    subprocess.run([MOUNT, "-o", "remount,size=3g", str(lake)], check=True)
    return Cost(cost.seconds, cost.cpu_s, cost.peak_bytes, 0)


def used_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def differing(one: Path, other: Path, names: tuple[str, ...]) -> tuple[int, list[str]]:
    """Return how many files of values two lakes have in stores of these names, and which differ or are missing."""

    def of(lake: Path) -> dict[str, str]:
        files = [path for name in names for path in lake.glob(f"*/{name}.zarr/**/c*") if path.is_file()]
        files += [path for name in names for path in lake.glob(f"*/{name}.zarr/**/c/**/*") if path.is_file()]
        return {str(path.relative_to(lake)): sha256(path.read_bytes()) for path in files}

    ours, twins = of(one), of(other)
    return len(twins), [name for name in sorted(ours.keys() | twins.keys()) if ours.get(name) != twins.get(name)]


def page_s(folder: Path) -> float:
    """Return the seconds from asking for the atlas's page until its map can be seen."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        began = time.perf_counter()
        page.goto((folder / "lake/atlas/atlas/index.html").as_uri(), wait_until="domcontentloaded")
        page.wait_for_selector("#map-canvas")
        seconds = time.perf_counter() - began
        browser.close()
    return seconds


def bound(name: str, value: float, unit: str, most: float) -> Figure:
    """Return a figure with its upper bound."""
    return Figure(name, value, unit, f"at most {most:g} {unit}: {'pass' if value <= most else 'MISS'}", most / value)


def of_small() -> dict[str, Cost]:
    """Return what each step cost at the share ``SMALL``, if that was run."""
    done = FOLDER / f"season-{SMALL.denominator}" / "done.json"
    if not done.exists():
        return {}
    return {name: Cost(**cost) for name, cost in json.loads(done.read_text(encoding="utf-8")).items()}


def figures_of(folder: Path, share: Fraction, costs: Mapping[str, Cost]) -> list[Figure]:
    """Return the table: each step as measured, a line through this share and a thirtieth at the whole, and bounds."""
    own = {name: cost for name, cost in costs.items() if "twin" not in name}
    before = of_small() if share > SMALL else {}
    found = []
    for name, cost in costs.items():
        slope = cost.seconds / share
        if name in before:
            slope = (cost.seconds - before[name].seconds) / (share - SMALL)
        whole = "" if share == 1 else f"; whole, modelled: {(cost.seconds + slope * (1 - share)) / 60:.1f} min"
        note = f"{cost.cpu_s:.1f} CPU-s, {cost.peak_bytes / 1e9:.2f} GB, {cost.n_bytes / 1e6:.1f} MB written{whole}"
        found.append(Figure(name, cost.seconds, "s", note))
    minutes, gigabytes = sum(cost.seconds for cost in own.values()) / 60, max(c.peak_bytes for c in own.values()) / 1e9
    allowed = MOST_MINUTES.get(share)
    found.append(bound("all steps", minutes, "min", allowed) if allowed else Figure("all steps", minutes, "min"))
    found += [bound("peak memory", gigabytes, "GB", MOST_GB), bound("the page opens", page_s(folder), "s", MOST_PAGE_S)]
    for name in [name for name in own if name in before]:
        scale = float(SMALL / share)
        for what, value in (
            ("time", own[name].seconds / before[name].seconds),
            ("memory", own[name].peak_bytes / before[name].peak_bytes),
        ):
            found.append(bound(f"{name}: {what} a window, against {SMALL}", value * scale, "", MOST_GROWTH))
    for one, other, names in (("lake", "twin", TWIN), ("fine", "fine-twin", ("mels",))):
        if (folder / other).exists():
            n_files, others = differing(folder / one, folder / other, names)
            name = f"files of {one} that differ from those of {other}"
            found.append(
                Figure(name, len(others), f"of {n_files}", "pass" if n_files and not others else f"MISS: {others[:3]}")
            )
    return found


def main() -> None:
    """Start the work in a session of its own, or do it."""
    share = Fraction(os.environ.get("SHARE") or "1/30")
    seed = int(os.environ.get("SEED") or "26")
    name = f"season-{share.denominator}" if share.numerator == 1 else f"season-{share.numerator}-{share.denominator}"
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    if "--here" not in sys.argv:
        with (folder / "log").open("ab") as log:
            subprocess.Popen([sys.executable, "-m", "benchmarks.season", "--here"], stdout=log, stderr=log,
                             stdin=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        print(f"It works on by itself: tail -f {folder / 'log'}\nThe table will be {FOLDER / name}.json.")
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit("it is at work already") from None
    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
    costs = do(folder, share, seed, lambda line: print(time.strftime("%H:%M:%S"), line, flush=True))
    report(name, figures_of(folder, share, costs))


if __name__ == "__main__":
    main()
