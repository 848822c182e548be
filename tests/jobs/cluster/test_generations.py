"""A new clustering of a run: the one before stays whole under a name of its own, and names go over."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from clusterings import CONFIG, clustered, contents, loaded, vectors_of, without
from numpy.typing import NDArray
from stores import make_embeddings, make_run

from jobs.cluster import command, generations
from jobs.cluster.config import Config
from jobs.common.run import Options, Run
from jobs.runner.execution import execute_claimed
from lake.errors import InputError
from lake.ledger import Ledger
from lake.older import older_of
from lake.query.naming import Name, read_names, write_names
from lake.read import open_clusters
from lake.receipts import write_receipt
from lake.run_records import UNFINISHED
from lake.storage import Storage
from lake.verify import damages

FIRST = without(vectors_of(2, 4), (0, slice(288, None)), (1, slice(200, None)))


def grown(lake: Path) -> Run[Config]:
    """Return a clustering that is named, and has grown."""
    run = clustered(lake, FIRST)
    write_names(run.output, [Name(number, f"sound {number}") for number in range(5)])
    return clustered(lake, vectors_of(3, 4))


def older(run: Run[Config], number: int) -> Storage:
    return run.lake.output("clusters", f"clusters.{number}")


def same_as_fresh(run: Run[Config], lake: Path) -> None:
    """Compare a clustering with one that was never another."""
    fresh = loaded(clustered(lake, vectors_of(3, 4)))
    new = loaded(run)
    assert new.attrs.pop("generation") > 1
    xr.testing.assert_identical(new, fresh)


def test_the_one_before_is_kept_whole_and_names_go_over(tmp_path: Path) -> None:
    run = grown(tmp_path)
    before = loaded(run)
    outcome = execute_claimed(run, Options(refresh=True))
    same_as_fresh(run, tmp_path / "fresh")
    assert older_of(run.lake, "clusters", "clusters") == ["clusters.1"]
    kept = older(run, 1)
    xr.testing.assert_identical(open_clusters(kept.url).load(), before)
    ledger = Ledger(run.lake.ledger("clusters.1"))
    for store, of in ((run.output, run.ledger), (kept, ledger)):
        assert list(damages(store, of, "clusters")) == []
    assert not run.ledger.storage.exists(UNFINISHED)
    names = {name.name: name.cluster for name in read_names(kept).rows}
    assert names == {f"sound {number}": number for number in range(5)}
    after = loaded(run)
    there = (before["cluster"] >= 0).to_numpy()
    one, other = before["cluster"].to_numpy()[there], after["cluster"].to_numpy()[there]
    far = (before["distance"] > before["distance_bound"].to_numpy()[before["cluster"]]).to_numpy()[there]
    notes = "\n".join(outcome.notes)
    for name, number in names.items():
        had = (one == number) & ~far
        share = [(had & (other == new)).sum() / (other == new).sum() for new in range(5)]
        gets = [new for new in range(5) if share[new] > 0.5]
        rows = [row for row in read_names(run.output).rows if row.name == name]
        assert [row.cluster for row in rows] == gets
        for row in rows:
            assert row.carried_from == f"clusters.1/{number}"
            assert row.overlap == pytest.approx(share[row.cluster], abs=1e-3)
            assert f"{row.cluster} (overlap {share[row.cluster]:.2f})" in notes
        assert (f"name '{name}': cluster {number} is now" if gets else f"'{name}' of cluster {number} is lost") in notes


def test_vectors_of_another_model_are_clustered_anew(tmp_path: Path) -> None:
    """Centroids mean nothing among vectors of other axes: names go over by the windows instead."""
    vectors = vectors_of(2, 4)

    def embedded(vectors: NDArray[np.float32], model: str) -> Run[Config]:
        embeddings = make_embeddings(tmp_path, vectors, recorders=("north", "south"))
        facts = {"state": "done", "inputs": {"model": {"content_id": model}}, **embeddings.ledger.summary()}
        write_receipt(embeddings.lake, embeddings.name, (0, 1), facts)
        return make_run(tmp_path, "clusters", "cluster", CONFIG, inputs={"embeddings": embeddings})

    first = embedded(without(vectors, (1, slice(288, None))), "one")
    execute_claimed(first, Options())
    write_names(first.output, [Name(number, f"sound {number}") for number in range(5)])
    grew = execute_claimed(embedded(vectors, "one"), Options())
    assert grew.counts["new_windows"] > 0, "the same model: clusters stay"
    before = loaded(first)
    run = embedded(vectors[:, :, ::-1].copy(), "another")
    assert command.progress_of(run)[0] == 0
    outcome = execute_claimed(run, Options())
    assert outcome.notes[0] == "vectors was made again with another model, so clusters were fitted anew"
    after = loaded(run)
    assert (after.attrs["generation"], older_of(run.lake, "clusters", "clusters")) == (2, ["clusters.1"])
    named = {name.cluster: int(name.name.split()[1]) for name in read_names(run.output).rows}
    assert len(named) >= 4
    there = (before["cluster"] >= 0).to_numpy()
    was, now = before["cluster"].to_numpy()[there], after["cluster"].to_numpy()[there]
    assert all((was[now == new] == old).mean() > 0.5 for new, old in named.items())
    assert not execute_claimed(run, Options()).did


def test_the_same_clusters_again_are_no_new_generation(tmp_path: Path) -> None:
    run = clustered(tmp_path, FIRST)
    before = contents(run)
    execute_claimed(run, Options(refresh=True))
    assert contents(run) == before
    assert older_of(run.lake, "clusters", "clusters") == []


def test_generations_follow_one_another_and_grow(tmp_path: Path) -> None:
    run = grown(tmp_path)
    execute_claimed(run, Options(refresh=True))
    second = loaded(run)
    run = clustered(tmp_path, vectors_of(3, 5))
    grew = loaded(run)
    assert grew.attrs["generation"] == 2
    np.testing.assert_array_equal(grew["cluster"].to_numpy()[:, : second.sizes["time"]], second["cluster"])
    execute_claimed(run, Options(refresh=True))
    assert loaded(run).attrs["generation"] == 3
    assert older_of(run.lake, "clusters", "clusters") == ["clusters.1", "clusters.2"]
    xr.testing.assert_identical(open_clusters(older(run, 2).url).load(), grew)
    assert list(damages(run.output, run.ledger, "clusters")) == []


@pytest.mark.parametrize("moment", ["keep_older", "commit", "write_names"])
def test_one_that_is_ended_leaves_the_one_before_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    run = grown(tmp_path)
    before = loaded(run)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command if moment == "commit" else generations, moment, stop)
        with pytest.raises(KeyboardInterrupt):
            execute_claimed(run, Options(refresh=True))
    if moment in {"keep_older", "commit"}:
        xr.testing.assert_identical(loaded(run), before)
    execute_claimed(run, Options())
    same_as_fresh(run, tmp_path / "fresh")
    xr.testing.assert_identical(open_clusters(older(run, 1).url).load(), before)
    assert older_of(run.lake, "clusters", "clusters") == ["clusters.1"]
    assert {name.carried_from.partition("/")[0] for name in read_names(run.output).rows} == {"clusters.1"}
    assert list(damages(run.output, run.ledger, "clusters")) == []


def test_shares_make_a_new_clustering(tmp_path: Path) -> None:
    run = grown(tmp_path)
    before = loaded(run)
    for i in (1, 0):
        execute_claimed(run, Options(refresh=True, part=(i, 2)))
        xr.testing.assert_identical(loaded(run), before)
    command.finalise(run, Options())
    same_as_fresh(run, tmp_path / "fresh")


def test_another_run_of_the_older_name_is_refused(tmp_path: Path) -> None:
    run = grown(tmp_path)
    embeddings = make_embeddings(tmp_path, vectors_of(3, 4), recorders=("north", "south", "west"))
    make_run(
        tmp_path, "clusters.1", "cluster", CONFIG.model_copy(update={"seed": 5}), inputs={"embeddings": embeddings}
    )
    before = loaded(run)
    with pytest.raises(InputError, match=r"ledgers/clusters\.1: expected no run of this name.*Give that run another"):
        execute_claimed(run, Options(refresh=True))
    xr.testing.assert_identical(loaded(run), before)
