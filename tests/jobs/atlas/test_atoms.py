"""The page of a study whose vectors are a dictionary's shows what it listens for."""

from pathlib import Path

from stores import make_cube, make_run, random_codes

from jobs.atlas.command import execute
from jobs.atlas.config import Config as AtlasConfig
from jobs.cluster import command as cluster
from jobs.cluster.config import Config as ClusterConfig
from jobs.common.run import Options
from jobs.dictionary import command as dictionary
from jobs.dictionary.config import Config as DictionaryConfig
from jobs.embed import command as embed
from jobs.embed.config import Config as EmbedConfig


def test_the_table_of_runs_has_the_picture_of_the_atoms(tmp_path: Path) -> None:
    cube = make_cube(tmp_path, random_codes())
    small = DictionaryConfig(patch_sizes=((4, 4), (8, 8)), n_atoms=5, n_patches=300, n_rounds=3)
    atoms = make_run(tmp_path, "atoms", "dictionary", small, inputs={"spectrograms": cube})
    dictionary.execute(atoms, Options())
    vectors = make_run(tmp_path, "vectors", "embed", EmbedConfig(), inputs={"spectrograms": cube, "model": atoms})
    embed.execute(vectors, Options())
    config = ClusterConfig(n_clusters=3, batch_size=8, n_init_windows=48, n_refits=0)
    clusters = make_run(tmp_path, "clusters", "cluster", config, inputs={"embeddings": vectors})
    cluster.execute(clusters, Options())
    atlas = make_run(
        tmp_path, "atlas", "atlas", AtlasConfig(), inputs={"clusters": clusters, "spectrograms": cube}
    )  # fmt: skip
    execute(atlas, Options())
    folder = Path(atlas.output.path(""))
    assert (folder / "runs" / "atoms.png").read_bytes() == atoms.output.read("atoms.png")
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.count('src="runs/') == 1, "runs without a picture have none"
    assert "Patches that atoms listens for" in page
