"""The tables of docs/evaluation.md, from what ``dawnchorus run manifests/clips.toml`` left."""

import csv
import sys
from pathlib import Path

LAKE = Path(__file__).parent.parent / "data" / "clips"
MEASURES = {
    "knn_accuracy": "k-NN, accuracy", "linear_accuracy": "linear probe, accuracy",
    "commonest_accuracy": "commonest label, accuracy", "kmeans_ami": "k-means, AMI", "kmeans_ari": "k-means, ARI",
    "kmeans_nmi": "k-means, NMI", "kmeans_purity": "k-means, purity", "clusters_ami": "30 clusters, AMI",
    "clusters_ari": "30 clusters, ARI", "clusters_nmi": "30 clusters, NMI", "clusters_purity": "30 clusters, purity",
}  # fmt: skip
TITLES = {
    "chance": "chance", "logmel": "log-mel", "statistics": "statistics", "dictionary": "dictionary",
    "untrained": "untrained network", "trained": "trained network", "joined": "dictionary ‖ statistics",
    "birdnet": "BirdNET", "clusters": "trained network", "clusters-joined": "dictionary ‖ statistics",
    "clusters-birdnet": "BirdNET",
}  # fmt: skip
"""Name of each role in the tables, in the order of the lines; other roles follow under their own names."""
SPLITS = ("leaky", "recording", "day", "recorder", "group", "all")


def title_of(row: dict[str, str]) -> str:
    """Return what a row is about: an input, chance, or the clusters of an input dealt by lot."""
    if row["role"] == "chance" and row["run"]:
        return f"chance, {TITLES.get(row['run'], row['run'])}"
    return TITLES.get(row["role"], row["role"])


def place_of(row: dict[str, str]) -> list[int]:
    """Return where a row stands among others: chance first, then the inputs in the order of the titles."""
    order = list(TITLES)
    return [order.index(name) if name in order else len(order) for name in (row["role"], row["run"])]


def intervals_table(folder: Path) -> str:
    """Return ``intervals.csv`` of an evaluation as Markdown: a line each measure and input, a column each split."""
    rows = _rows(folder / "intervals.csv")
    splits = [split for split in SPLITS if any(row["split"] == split for row in rows)]
    lines = [["measure", "of", *splits], ["---"] * (2 + len(splits))]
    for measure, name in MEASURES.items():
        cells: dict[str, dict[str, str]] = {}
        for row in sorted((row for row in rows if row["measure"] == measure), key=place_of):
            cells.setdefault(title_of(row), {})[row["split"]] = _told(row, "value")
        lines += [[name, title, *(found.get(split, "") for split in splits)] for title, found in cells.items()]
    return _markdown(lines)


def audit_table(folder: Path) -> str:
    """Return ``audit.csv`` of an evaluation as Markdown."""
    head = ["of", "told", "windows, values", "k-NN, no recording on both sides", "leaky", "chance", "share"]
    lines = [head, ["---"] * len(head)]
    for row in sorted(_rows(folder / "audit.csv"), key=place_of):
        is_clustering = row["role"].startswith("clusters")
        told, leaky = ("", "") if is_clustering else (_told(row, "grouped"), f"{float(row['leaky']):.2f}")
        counts = f"{row['n_windows']}, {row['n_values']}"
        chance, share = (f"{float(row[key]):.2f}" for key in ("chance", "share"))
        name = f"30 clusters, {title_of(row)}" if is_clustering else title_of(row)
        lines.append([name, row["target"], counts, told, leaky, chance, share])
    return _markdown(lines)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _told(row: dict[str, str], key: str) -> str:
    return f"{float(row[key]):.2f} ({float(row['low']):.2f} to {float(row['high']):.2f})"


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" if line[0] != "---" else f"|{'|'.join(line)}|" for line in lines)


def main() -> None:
    """Print the tables."""
    scores = Path(sys.argv[1] if len(sys.argv) > 1 else LAKE) / "scores"
    if not (scores / "scores-classes" / "intervals.csv").is_file():
        sys.exit(f"{scores}: expected the scores of manifests/clips.toml; type `dawnchorus run manifests/clips.toml`.")
    for name in ("scores-classes", "scores-boobook"):
        print(f"\n### {name}\n\n{intervals_table(scores / name)}")
    print(f"\n### audit\n\n{audit_table(scores / 'scores-classes')}")


if __name__ == "__main__":
    main()
