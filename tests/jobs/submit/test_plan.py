"""Site profiles, and what of a manifest goes where."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from jobs.runner.execute import chosen
from jobs.runner.manifest import Manifest, read_manifest
from jobs.submit.command import Where, submit
from jobs.submit.plan import Step, folders, plan
from jobs.submit.schedulers import SCHEDULERS
from jobs.submit.sites import read_site, site_names
from lake.errors import InputError

CHAIN = """
lake = "lake"
labels = "labels/birds.csv"
[recordings]
table = "tables/recordings.csv"
root = "/audio/oakwood"
[runs.mels]
job = "spectrograms"
resources = { tasks = 16, workers = 8, hours = 2.0 }
[runs.dino]
job = "dino"
inputs = { spectrograms = "mels" }
resources = { nodes = 2, gpus = 8, hours = 30.0 }
[runs.vectors]
job = "embed"
inputs = { spectrograms = "mels", model = "dino" }
resources = { gpus = 8 }
[runs.clusters]
job = "cluster"
inputs = { embeddings = "vectors" }
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return written(tmp_path, CHAIN)


def written(folder: Path, text: str) -> Manifest:
    path = folder / "study.toml"
    path.write_text(text)
    return read_manifest(path)


def steps(manifest: Manifest, *names: str, site: str = "thetagpu", **changes: Any) -> list[Step]:
    return plan(manifest, chosen(manifest, names), read_site(site), Path("/images"), digest=False, **changes)


def test_the_steps_of_a_study(manifest: Manifest) -> None:
    found = {step.name: step for step in steps(manifest)}
    assert {name: step.kind for name, step in found.items()} == {
        "mels": "shares", "mels-finalise": "finalise", "dino": "train", "vectors": "spread",
        "vectors-finalise": "finalise", "clusters": "whole",
    }  # fmt: skip
    assert {name: step.needs for name, step in found.items()} == {
        "mels": (), "mels-finalise": ("mels",), "dino": ("mels-finalise",), "vectors": ("dino", "mels-finalise"),
        "vectors-finalise": ("vectors",), "clusters": ("vectors-finalise",),
    }  # fmt: skip
    assert {name: step.image.name for name, step in found.items() if "-" not in name} == {
        "mels": "spectrograms.sif", "dino": "dino.sif", "vectors": "dino.sif", "clusters": "cluster.sif",
    }  # fmt: skip
    mels, dino, vectors = found["mels"], found["dino"], found["vectors"]
    assert (mels.tasks, mels.nodes, mels.processes, mels.hours) == (16, 1, 8, 2.0)
    assert (dino.nodes, dino.gpus, dino.processes, dino.cpus, dino.threads) == (2, 8, 8, 64, 8)
    assert (dino.hours, dino.attempts) == (12.0, 3), "30 hours where 12 are the most"
    assert (vectors.nodes, vectors.processes, vectors.threads) == (1, 8, 1)


def test_names_of_runs_that_no_file_has(tmp_path: Path) -> None:
    text = CHAIN.replace("[runs.clusters]", '[runs."k 30/b%"]')
    text += '[runs."mels-finalise"]\njob = "spectrograms"\n'
    assert [step.name for step in steps(written(tmp_path, text), "k 30/b%", "mels", "mels-finalise")] == [
        "mels", "mels-finalise", "k_30_b_", "mels-finalise_", "mels-finalise_-finalise",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("-rf", "_rf"), ("--help", "_-help"), (".hidden", "_hidden"), ("a b", "a_b"), ("$HOME`x`", "_HOME_x_"),
        ("%j", "_j"), ("Bäume", "B_ume"), ("submit", "submit_"), ("x" * 300, "x" * 100), ("a\nb", "a_b"),
    ],
)  # fmt: skip
def test_no_step_is_an_option_or_overwrites_another_file(name: str, step: str, tmp_path: Path) -> None:
    text = CHAIN.replace("[runs.clusters]", f"[runs.{json.dumps(name, ensure_ascii=False)}]")
    assert [found.name for found in steps(written(tmp_path, text), name)] == [step]


def test_where_jobs_requeue_themselves_one_is_enough(manifest: Manifest) -> None:
    (dino,) = steps(manifest, "dino", site="slurm")
    assert (dino.hours, dino.attempts, dino.needs) == (24.0, 1, ())


def test_a_partitioned_run_as_a_dask_cluster(tmp_path: Path) -> None:
    text = CHAIN.replace("tasks = 16, workers = 8", "nodes = 4, workers = 64, dask = true")
    (mels,) = steps(written(tmp_path, text), "mels")
    assert (mels.kind, mels.nodes, mels.processes, mels.tasks) == ("dask", 4, 64, 1)


def test_a_clustering_as_a_dask_cluster(tmp_path: Path) -> None:
    text = CHAIN + "resources = { nodes = 3, workers = 8, dask = true }\n"
    (clusters,) = steps(written(tmp_path, text), "clusters")
    assert (clusters.kind, clusters.nodes, clusters.processes, clusters.tasks) == ("dask", 3, 8, 1)


def test_dask_where_it_does_nothing_is_refused(tmp_path: Path) -> None:
    text = CHAIN.replace("gpus = 8, hours = 30.0", "gpus = 8, dask = true").replace(
        "{ gpus = 8 }", "{ gpus = 8, dask = true }"
    )
    with pytest.raises(InputError) as caught:
        steps(written(tmp_path, text))
    assert str(caught.value).splitlines()[1:] == [
        "  runs.dino.resources.dask: the job 'dino' does not work on the workers of a Dask scheduler",
        "  runs.vectors.resources: dask and gpus, but no worker of a Dask scheduler computes on a GPU",
    ]


def test_what_is_bound(manifest: Manifest, tmp_path: Path) -> None:
    found = folders(manifest, list(manifest.runs.values()), read_site("slurm"))
    assert found == [
        ("/audio/oakwood", False), (str(tmp_path), False), (str(tmp_path / "labels"), False),
        (str(tmp_path / "lake"), True), (str(tmp_path / "tables"), False),
    ]  # fmt: skip


def test_this_machine_is_one_node(manifest: Manifest) -> None:
    with pytest.raises(InputError, match=r"runs\.dino\.resources\.nodes = 2: --site local is this machine alone"):
        steps(manifest, "dino", site="local")


def test_more_than_the_site_has_is_refused_all_at_once(tmp_path: Path) -> None:
    text = CHAIN.replace("nodes = 2, gpus = 8", "nodes = 21, gpus = 9, tasks = 3")
    text += "resources.nodes = 2\n"
    with pytest.raises(InputError) as caught:
        steps(written(tmp_path, text))
    assert str(caught.value).splitlines()[1:] == [
        "  runs.dino.resources.nodes = 21: the site gives a job 20 at most",
        "  runs.dino.resources.gpus = 9: a node of the site has 8",
        "  runs.dino.resources.tasks = 3: only shares of an array are tasks, not a 'train' job",
        "  runs.clusters.resources.nodes = 2: the job 'cluster' runs on one node",
    ]


# Images ----------------------------------------------------------------------------------------------------


def test_images_must_be_there_and_be_the_pinned_ones(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"an image").hexdigest()
    images, site = tmp_path / "images", read_site("slurm")
    images.mkdir()
    pinned = written(tmp_path, f'{CHAIN}image = {{ name = "mine", sha256 = "{digest}" }}\n')
    runs = chosen(pinned, ["clusters"])
    with pytest.raises(InputError, match=r"mine\.sif: no such image\. Type `make images`, copy it there, or give"):
        plan(pinned, runs, site, images)
    (images / "mine.sif").write_bytes(b"an image")
    (step,) = plan(pinned, runs, site, images)
    assert (step.image, step.sha256) == (images / "mine.sif", digest)
    (images / "mine.sif").write_bytes(b"another image")
    with pytest.raises(InputError, match=rf"'clusters' is pinned to the image 'mine' with sha256 {digest}, but "):
        plan(pinned, runs, site, images)


# Profiles --------------------------------------------------------------------------------------------------


def test_the_profiles() -> None:
    kinds = {name: read_site(name).scheduler for name in site_names()}
    assert kinds.items() >= {
        "local": "local", "pbs": "pbs", "polaris": "pbs", "slurm": "slurm", "sophia": "pbs", "thetagpu": "cobalt",
    }.items()  # fmt: skip
    assert set(kinds.values()) == set(SCHEDULERS), "each scheduler has a profile that yours can be like"
    assert read_site("sophia").gpus == 8


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "oak.toml"
    path.write_text('like = "slurm"\nqueue = "gpu"\nmax_hours = 48.0\n')
    found = read_site(str(path))
    assert (found.scheduler, found.queue, found.max_hours, found.requeue) == ("slurm", "gpu", 48.0, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('like = "slurm"\nqueu = "x"', r"oak\.toml: not a site profile:\n  queu: unknown key; did you mean 'queue'\?"),
        ('scheduler = "oar"', r"scheduler: expected 'slurm', 'pbs', 'cobalt'(, '\w+')* or 'local', found 'oar'"),
        ("scheduler = 3", r"scheduler: expected text, found 3"),
        ('scheduler = "Slurm"\nqueu = "x"', r"(?s)expected 'slurm', .* found 'Slurm'.*queu: unknown key"),
        ('like = "slrm"', r"--site: no profile 'slrm'; did you mean 'slurm'\?"),
        ("like = ", r"oak\.toml: not TOML"),
    ],
)
def test_a_profile_that_is_wrong(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "oak.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=told):
        read_site(str(path))


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no profile 'thetagpus'; did you mean 'thetagpu'\?. There are local, .*pbs"):
        read_site("thetagpus")
    with pytest.raises(InputError, match=r"no profile '.*/mine\.toml'"):
        read_site(str(tmp_path / "mine.toml"))


# At the command line ---------------------------------------------------------------------------------------


def test_a_dry_run_writes_scripts_and_queues_nothing(manifest: Manifest, tmp_path: Path, cli: Any) -> None:
    out = tmp_path / "out"
    options = ("--site", "sophia", "--account", "birds", "--out", out, "--dry-run")
    ended = cli("submit", manifest.path, "mels", "dino", *options)
    assert ended.code == 0, ended.error
    *lines, absent, last = ended.out.splitlines()
    assert [*lines, last] == [
        "mels: 16 tasks of 8 workers, 2 h, spectrograms.sif",
        "mels-finalise: makes the shares readable, 1 h, spectrograms.sif, after mels",
        "dino: 2 × 8 processes that train together, 12 h, 3 jobs in turn, dino.sif, after mels-finalise",
        f"{out}: scripts written, nothing queued; `bash {out / 'submit.sh'}` queues them",
    ]
    assert absent.startswith("no such images: ")
    assert absent.endswith("spectrograms.sif. Type `make images`, copy them there, or give --images FOLDER")
    names = {"mels.sh", "mels-finalise.sh", "dino.sh", "submit.sh", ".dawnchorus.json"}
    assert {path.name for path in out.iterdir()} == names
    assert "#PBS -A birds" in (out / "dino.sh").read_text()


def test_without_the_schedulers_commands(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "spectrograms.sif").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"qsub is not on the PATH: this is no login node of a pbs cluster"):
        submit(manifest, ["mels"], read_site("pbs"), Where(images, tmp_path / "out"), print, dry_run=False)
