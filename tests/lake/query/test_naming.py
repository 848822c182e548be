import re
from pathlib import Path

import numpy as np
import pytest
from stores import finish, make_clusters

from lake.clustering import clustering_id_of
from lake.errors import InputError
from lake.names import names_key
from lake.query.carrying import carried, match_names
from lake.query.naming import Name, read_names, write_names
from lake.read import open_clusters
from lake.storage import Storage


def test_a_table_is_written_and_read_back(tmp_path: Path) -> None:
    store = make_clusters(tmp_path, np.zeros((2, 144), dtype=np.int64)).output
    assert read_names(store).rows == ()
    names = [Name(7, "rain, light", 'a "note"'), Name(2, "pewee", carried_from="old/5", overlap=0.75)]
    where = write_names(store, names)
    assert where == f"{tmp_path}/clusters/clusters.names.csv"
    back = read_names(store).rows
    assert [(n.cluster, n.name, n.notes, n.carried_from) for n in back] == [
        (2, "pewee", "", "old/5"), (7, "rain, light", 'a "note"', ""),
    ]  # fmt: skip
    assert back[0].overlap == 0.75
    assert np.isnan(back[1].overlap)
    assert store.exists("zarr.json"), "names stand beside the store, not in it"
    assert not any("names" in key for key in store.list_keys())


def test_columns_of_others_are_kept_and_carried(tmp_path: Path) -> None:
    labels = np.zeros((2, 144), dtype=np.int64)
    old, new = (make_clusters(tmp_path, labels, name=name, n_clusters=5).output for name in ("old", "new"))
    folder, key = names_key(old)
    folder.write(key, "cluster;name;heard by;=sum\n2;wren;Ana, Bo;'=1+1\n1;robin;;\n".encode("utf-16"))
    rows = read_names(old).rows
    assert [row.others for row in rows] == [{"heard by": "Ana, Bo", "=sum": "=1+1"}, {"heard by": "", "=sum": ""}]
    shared = np.vstack([np.eye(5, dtype=np.int64)[::-1], np.zeros((1, 5), dtype=np.int64)])
    write_names(new, [*carried(match_names(rows, shared), "old"), Name(4, "new here")])
    text = Path(names_key(new)[0].path(names_key(new)[1])).read_text()
    assert text.splitlines()[0].endswith(",clustering_id,heard by,'=sum")
    back = {row.cluster: row for row in read_names(new).rows}
    assert back[2].others == {"heard by": "Ana, Bo", "=sum": "=1+1"}
    assert (back[3].name, back[4].others["heard by"]) == ("robin", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("number,what\n1,wren\n", r"names\.csv: expected the columns cluster, name and notes, found number, what"),
        ("cluster,name\nfive,wren\n", r"row 2: cluster should be a number, found 'five'"),
        ("cluster,name\n5,wren\n5,robin\n", r"cluster 5 is there twice"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    store = make_clusters(tmp_path, np.zeros((2, 144), dtype=np.int64)).output
    folder, key = names_key(store)
    folder.write(key, text.encode())
    with pytest.raises(InputError, match=told):
        read_names(store)


def table_of(store: Storage, text: str, encoding: str = "utf-8") -> None:
    folder, key = names_key(store)
    folder.write(key, text.encode(encoding))


def test_names_carry_the_identity_of_their_clustering(tmp_path: Path) -> None:
    a, b = (
        make_clusters(tmp_path, np.zeros((2, 144), dtype=np.int64), name=name, n_clusters=k).output
        for name, k in (("a", 3), ("b", 4))
    )
    write_names(a, [Name(0, "wren")])
    identity = clustering_id_of(open_clusters(a.url))
    folder, key = names_key(a)
    text = folder.read(key).decode()
    assert text.splitlines()[1] == f"0,wren,,,,{identity}"
    table_of(b, text)
    with pytest.raises(
        InputError, match=rf"expected names of the clustering .*, found names of {identity}: .*names OLD"
    ):
        read_names(b)


def test_a_table_without_identity_is_believed_while_there_was_one_clustering(tmp_path: Path) -> None:
    run = make_clusters(tmp_path, np.zeros((2, 144), dtype=np.int64))
    finish(run)
    table_of(run.output, "cluster,name\n0,wren\n5,tit\n")
    found = read_names(run.output)
    assert [name.name for name in found.rows] == ["wren", "tit"]
    assert "1 names are of clusters that are not there: 5 (tit); the clustering has 1, from 0 to 0" in found.notes[0]
    assert "has no column clustering_id; its names are taken for names of" in found.notes[1]
    again = make_clusters(tmp_path, np.zeros((2, 288), dtype=np.int64))
    finish(again)
    with pytest.raises(InputError, match=r"was made 2 times with other results.* add the column clustering_id with"):
        read_names(run.output)
    identity = clustering_id_of(open_clusters(run.output.url))
    table_of(run.output, f"cluster,name,clustering_id\n0,wren,{identity}\n0,,\n".replace("0,,\n", ""))
    assert read_names(run.output).notes == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_that_a_spreadsheet_saved(tmp_path: Path, encoding: str, separator: str) -> None:
    store = make_clusters(tmp_path, np.zeros((2, 144), dtype=np.int64), n_clusters=3).output
    rows = [
        ["cluster", "name", "notes", "carried_from", "overlap", ""],
        ["1.0", "Forêt", "", "old/3", '"0,812"', ""],
        [""] * 6,
    ]
    table_of(store, "\r\n".join(separator.join(row) for row in rows) + "\r\n", encoding)
    (name,) = read_names(store).rows
    assert (name.cluster, name.name, name.carried_from, name.overlap) == (1, "Forêt", "old/3", 0.812)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cluster,name\n²,wren\n", "row 2: cluster should be a number, found '²'"),
        ("cluster,name\n1.5,wren\n", "row 2: cluster should be a number, found '1.5'"),
        ("cluster,name\n-1,wren\n", "row 2: cluster should be a number, found '-1'"),
        ("cluster,name\n,wren\n", "row 2: cluster should be a number, found ''"),
        ("cluster,name,overlap\n0,wren,high\n", "row 2: overlap: expected a number, found 'high'"),
        ("cluster,name\n0,wren,x\n", "row 2: expected 2 cells, found 3"),
        ("cluster,cluster,name\n0,0,wren\n", "column cluster is there 2 times"),
    ],
)
def test_cells_that_cannot_be_read_are_named(tmp_path: Path, text: str, told: str) -> None:
    store = make_clusters(tmp_path, np.zeros((2, 144), dtype=np.int64)).output
    table_of(store, text)
    with pytest.raises(InputError, match=re.escape(told)):
        read_names(store)
