"""Manifests with mistakes: each is named, with what was expected, and all at once."""

from dataclasses import replace
from pathlib import Path

import pytest
from manifesttexts import MELS, WHOLE, Write, problems
from pydantic import BaseModel, ConfigDict, ValidationError

from jobs.common.job import Input
from jobs.common.network.readouts import OF_FRAMES, WIDTHS
from jobs.runner.explain import explain
from jobs.runner.manifest import read_manifest
from jobs.runner.registry import JOBS
from lake.errors import InputError

READOUTS = [repr(name) for name in (*WIDTHS, *OF_FRAMES)]
MODELS = "'dino' or 'contrast' or 'adopt' or 'dictionary'"


# What is wrong ---------------------------------------------------------------------------------------------


def test_a_whole_manifest_of_mistakes_is_told_at_once(write: Write) -> None:
    text = """
    lakes = "lake"
    lake = 3
    max_quarantined = 2.0
    recordings = { tabel = "recordings.csv", root = 1 }

    [runs.mels]
    job = "spectrograms"
    confg = { n_mels = 3 }
    config = { n_mel = 64, hop_s = "3" }

    [runs.dino]
    job = "dyno"

    [runs.untitled]
    inputs = { spectrograms = "mels" }

    [runs.vectors]
    job = "embed"
    inputs = { spectrogram = "mels", model = "mels" }
    image = { nam = "embed" }

    [runs.clusters]
    job = "cluster"
    inputs = { embeddings = "vector" }
    config = { n_clusters = 0 }

    [runs.scores]
    job = "evaluate"

    [runs.atlas]
    job = "atlas"
    inputs = { clusters = "untitled", spectrograms = "mels" }
    config = { level_range_db = [3.0, 1.0], image_width_px = 480.0 }
    """
    assert sorted(problems(write(text))) == sorted(
        [
            "lakes: unknown key; did you mean 'lake'?",
            "lake: expected text, found 3",
            "max_quarantined: expected 1 at most, found 2.0",
            "recordings.tabel: unknown key; did you mean 'table'?",
            "recordings.table: missing",
            "recordings.root: expected text, found 1",
            "runs.mels.confg: unknown key; did you mean 'config'?",
            "runs.mels.config.n_mel: unknown key; did you mean 'n_mels'?",
            "runs.mels.config.hop_s: expected a number, found '3'",
            "runs.dino.job = 'dyno': no such job; did you mean 'dino'?",
            "runs.untitled.job: missing",
            "runs.vectors.inputs: the job 'embed' needs spectrograms = the name of a 'spectrograms' run",
            "runs.vectors.inputs.spectrogram: the job 'embed' has no such input; did you mean 'spectrograms'?",
            f"runs.vectors.inputs.model = 'mels': expected a {MODELS} run, found 'spectrograms'",
            "runs.vectors.image.nam: unknown key; did you mean 'name'?",
            "runs.vectors.image.name: missing",
            "runs.clusters.inputs.embeddings = 'vector': the manifest has no such run; did you mean 'vectors'?",
            "runs.clusters.config.n_clusters: expected 'auto' or 1 or more, found 0",
            "runs.scores.inputs: the job 'evaluate' needs at least one 'cluster or embed or import' run",
            "runs.atlas.config.image_width_px: expected a whole number, found 480.0",
        ]
    )


@pytest.mark.parametrize("job", JOBS)
def test_an_unknown_key_of_any_job_names_the_nearest(write: Write, job: str) -> None:
    for field in JOBS[job].config.model_fields:
        told = problems(write(f'lake = "l"\n[runs.x]\njob = "{job}"\nconfig = {{ {field}x = 1 }}\n'))
        assert f"runs.x.config.{field}x: unknown key; did you mean '{field}'?" in told


def test_a_key_that_is_like_no_other_names_them_all(write: Write) -> None:
    told = problems(write(f'lake = "l"\nqqq = 1\n{MELS}zzz = 1\n'))
    assert told == [
        "runs.mels.zzz: unknown key; there are config, files, image, inputs, job, refresh, resources",
        "qqq: unknown key; there are labels, lake, max_quarantined, recordings, runs",
    ]


@pytest.mark.parametrize(
    ("job", "config", "told"),
    [
        ("spectrograms", 'window_s = "6"', "window_s: expected a number, found '6'"),
        ("spectrograms", "window_s = true", "window_s: expected a number, found True"),
        ("spectrograms", "n_mels = 64.0", "n_mels: expected a whole number, found 64.0"),
        ("spectrograms", "n_mels = true", "n_mels: expected a whole number, found True"),
        ("spectrograms", "n_mels = -1", "n_mels: expected 1 or more, found -1"),
        ("spectrograms", "hop_s = nan", "hop_s: expected a finite number, found nan"),
        ("spectrograms", "window_s = inf", "window_s: expected a finite number, found inf"),
        ("spectrograms", "f_max_hz = -inf", "f_max_hz: expected a finite number, found -inf"),
        ("spectrograms", "min_coverage = 0", "min_coverage: expected more than 0, found 0"),
        ("spectrograms", 'channel = "left"', "channel: expected 'mix' or a whole number, found 'left'"),
        ("spectrograms", "hop_s = 7.0", ": hop_s = 7 does not divide a day of 86400 s; try 6.912 or 7.2"),
        ("spectrograms", "f_min_hz = 21000", ": f_min_hz = 21000 is not below f_max_hz = 20000"),
        ("dino", "lr = inf", "lr: expected a finite number, found inf"),
        ("dino", "lr = -0.1", "lr: expected more than 0, found -0.1"),
        ("dino", "global_size = [224]", "global_size.1: missing"),
        ("dino", "partial = 1", "partial: expected true or false, found 1"),
        ("embed", 'readout = "mean"', f"readout: expected {', '.join(READOUTS[:-1])} or {READOUTS[-1]}, found 'mean'"),
        ("cluster", 'n_clusters = "many"', "n_clusters: expected 'auto' or a whole number, found 'many'"),
        ("cluster", "seed = -1", "seed: expected 0 or more, found -1"),
        ("evaluate", "min_overlap_s = nan", "min_overlap_s: expected a finite number, found nan"),
        ("atlas", "level_percentiles = [1, nan]", "level_percentiles.1: expected a finite number, found nan"),
        ("atlas", f"title = {['x' * 99]}", f"title: expected text, found ['{'x' * 57}…"),
    ],
)  # fmt: skip
def test_wrong_values(write: Write, job: str, config: str, told: str) -> None:
    found = problems(write(f'lake = "l"\n[runs.x]\njob = "{job}"\nconfig = {{ {config} }}\n'))
    assert f"runs.x.config{'' if told.startswith(':') else '.'}{told}" in found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["lake: missing", "runs: missing"]),
        ('lake = "l"\nruns = []', ["runs: expected a table, found []"]),
        ('lake = "l"\nruns = { mels = "spectrograms" }', ["runs.mels: expected a table, found 'spectrograms'"]),
        (f'lake = "l"\nrecordings = "r.csv"\n{MELS}', ["recordings: expected a table, found 'r.csv'"]),
        (f'lake = "l"\nmax_quarantined = nan\n{MELS}', ["max_quarantined: expected a finite number, found nan"]),
        (f'lake = "l"\nmax_quarantined = 2\n{MELS}', ["max_quarantined: expected 1 at most, found 2"]),
        (f'lake = "l"\nmax_quarantined = true\n{MELS}', ["max_quarantined: expected a number, found True"]),
        ('lake = "l"\n[runs.""]\njob = "spectrograms"', ['runs."": expected a name, found none']),
        (f'lake = "no-such://x"\n{MELS}', [
            ("lake = no-such://x: cannot be opened (Protocol not known: no-such). "
             "Expected a path, or the URL of an object store, s3://bucket/lake."),
        ]),
        (f'lake = "zip://x.zip"\n{MELS}', [
            ("lake = 'zip://x.zip': expected a folder, or a place in an object store such as s3://bucket/lake; "
             "nothing can be written to zip://"),
        ]),
        (f'lake = "l"\n{MELS}inputs = {{ a = "mels" }}', [
            "runs.mels.inputs.a: the job 'spectrograms' has no such input",
            "runs mels: each waits for another's output",
        ]),
        (f'lake = "l"\n{MELS}inputs = "dino"', ["runs.mels.inputs: expected a table, found 'dino'"]),
    ],
)  # fmt: skip
def test_wrong_shapes(write: Write, text: str, told: list[str]) -> None:
    assert problems(write(text)) == told


def test_an_input_of_a_wrong_type_is_still_asked_for(write: Write) -> None:
    text = f'lake = "l"\n{MELS}[runs.dino]\njob = "dino"\ninputs = {{ spectrograms = 3 }}\n'
    assert problems(write(text)) == [
        "runs.dino.inputs.spectrograms: expected the name of a run, or a list of names, found 3",
        "runs.dino.inputs: the job 'dino' needs spectrograms = the name of a 'spectrograms' run",
    ]


def test_runs_that_wait_for_each_other(write: Write) -> None:
    text = """
    lake = "l"
    runs.a = { job = "dino", inputs = { spectrograms = "b" } }
    runs.b = { job = "dino", inputs = { spectrograms = "a" } }
    """
    assert problems(write(text)) == [
        "runs.a.inputs.spectrograms = 'b': expected a 'spectrograms' run, found 'dino'",
        "runs.b.inputs.spectrograms = 'a': expected a 'spectrograms' run, found 'dino'",
        "runs a, b: each waits for another's output",
    ]


def test_a_real_cycle(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """No two jobs of today read each other; a job that reads its own kind could."""
    monkeypatch.setitem(JOBS, "evaluate", replace(JOBS["evaluate"], inputs=(Input("x", ("scores",)),)))
    text = """
    lake = "l"
    runs.a = { job = "evaluate", inputs = { x = "b" } }
    runs.b = { job = "evaluate", inputs = { x = "a" } }
    runs.c = { job = "evaluate", inputs = { x = "a" } }
    """
    assert problems(write(text)) == ["runs a, b, c: each waits for another's output"]


def test_files_that_are_no_manifest(write: Write, tmp_path: Path) -> None:
    path = write("lake = \n")
    with pytest.raises(InputError, match=r"study\.toml: not TOML: Invalid value \(at line 1, column 8\)\.$"):
        read_manifest(path)
    path.write_bytes(b'lake = "l\xe4"\n')
    with pytest.raises(InputError, match=r"study\.toml: not TOML: byte 9 is not UTF-8\. Save the file as UTF-8\.$"):
        read_manifest(path)
    (tmp_path / "demo.toml").touch()
    with pytest.raises(InputError) as caught:
        read_manifest(tmp_path / "studi.toml")
    assert str(caught.value) == f"{tmp_path}/studi.toml: no such manifest. In {tmp_path}: demo.toml, study.toml."
    with pytest.raises(InputError, match=r"no such manifest\. In .*/nowhere: no \.toml file\.$"):
        read_manifest(tmp_path / "nowhere/study.toml")
    with pytest.raises(InputError, match=r"cannot be read as a manifest: Is a directory\.$"):
        read_manifest(tmp_path)


# What a run asks for ---------------------------------------------------------------------------------------


def test_resources_and_images_are_checked(write: Write) -> None:
    text = f"""lake = "l"
{MELS}resources = {{ gpu = 8, hours = 0 }}
image = {{ name = "spectrograms", sha256 = "ab" }}
"""
    assert problems(write(text)) == [
        "runs.mels.resources.hours: expected more than 0, found 0",
        "runs.mels.resources.gpu: unknown key; did you mean 'gpus'?",
        "runs.mels.image.sha256: expected the 64 hexadecimal digits that sha256sum prints, found 'ab'",
    ]


def test_a_byte_order_mark_is_passed_over_and_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xef\xbb\xbf" + WHOLE.encode())
    assert "mels" in read_manifest(path).runs
    for encoding in ("utf-16", "utf-32"):
        path.write_bytes(WHOLE.encode(encoding))
        with pytest.raises(InputError, match=r"not TOML: byte 0 is not UTF-8\. Save the file as UTF-8"):
            read_manifest(path)


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    first: int = 0


class Nested(BaseModel):
    model_config = ConfigDict(extra="forbid")
    plain: Inner = Inner()
    perhaps: Inner | None = None
    named: dict[str, Inner] = {}
    deep: dict[str, dict[str, Inner]] = {}
    number: int = 0


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"nmber": 1}, "nmber: unknown key; did you mean 'number'?"),
        ({"plain": {"frst": 1}}, "plain.frst: unknown key; did you mean 'first'?"),
        ({"perhaps": {"frst": 1}}, "perhaps.frst: unknown key; did you mean 'first'?"),
        ({"named": {"plain": {"frst": 1}}}, "named.plain.frst: unknown key; did you mean 'first'?"),
        ({"deep": {"a": {"number": {"frst": 1}}}}, "deep.a.number.frst: unknown key; did you mean 'first'?"),
    ],
)
def test_the_keys_of_any_nested_table_are_known(values: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError) as found:
        Nested.model_validate(values)
    assert explain(found.value, Nested, ()) == [told]


@pytest.mark.parametrize("names", ["[]", '["mels", "mels"]'])
def test_a_role_of_one_run_takes_no_list(write: Write, names: str) -> None:
    text = f"""
    lake = "l"
    runs.mels.job = "spectrograms"
    runs.net = {{ job = "dino", inputs = {{ spectrograms = {names} }} }}
    """
    found = problems(write(text))
    assert f"runs.net.inputs.spectrograms: the job 'dino' takes one run here, found {names.count('mels')}" in found


def test_an_empty_list_of_inputs_is_refused_beside_others(write: Write) -> None:
    text = """
    lake = "l"
    runs.mels.job = "spectrograms"
    runs.vectors = { job = "embed", inputs = { spectrograms = "mels" }, config = { features = "logmel" } }
    runs.scores = { job = "evaluate", inputs = { mine = "vectors", none = [] } }
    runs.alone = { job = "evaluate", inputs = { none = [] } }
    """
    assert problems(write(text)) == [
        "runs.scores.inputs.none: the job 'evaluate' takes one run or more here, found 0",
        "runs.alone.inputs: the job 'evaluate' needs at least one 'cluster or embed or import' run",
        "runs.alone.inputs.none: the job 'evaluate' takes one run or more here, found 0",
    ]
