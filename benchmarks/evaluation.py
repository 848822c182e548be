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
NAMES = {
    ("chance", ""): "chance", ("chance", "clusters"): "chance, trained",
    ("chance", "clusters-birdnet"): "chance, birdnet", ("logmel", "logmel"): "logmel",
    ("untrained", "untrained"): "untrained", ("trained", "vectors"): "trained", ("birdnet", "birdnet"): "birdnet",
    ("clusters", "clusters"): "trained", ("clusters-birdnet", "clusters-birdnet"): "birdnet",
}  # fmt: skip
"""How the tables call a role and run, in the order of the lines."""
SPLITS = ("leaky", "recording", "day", "recorder", "group")


def intervals_table(folder: Path) -> str:
    """Return ``intervals.csv`` of an evaluation as Markdown: a line each measure and input, a column each split."""
    rows = _rows(folder / "intervals.csv")
    splits = [split for split in SPLITS if any(row["split"] == split for row in rows)]
    cells = {(row["measure"], (row["role"], row["run"]), row["split"]): _told(row, "value") for row in rows}
    lines = [["measure", "of", *splits], ["---"] * (2 + len(splits))]
    lines += [
        [title, name, *(cells.get((measure, who, split), "") for split in splits)]
        for measure, title in MEASURES.items()
        for who, name in NAMES.items()
        if any((measure, who, split) in cells for split in splits)
    ]
    return _markdown(lines)


def audit_table(folder: Path) -> str:
    """Return ``audit.csv`` of an evaluation as Markdown."""
    rows, places = _rows(folder / "audit.csv"), {who: i for i, who in enumerate(NAMES)}
    head = ["of", "told", "windows, values", "k-NN, no recording on both sides", "leaky", "chance", "share"]
    lines = [head, ["---"] * len(head)]
    for row in sorted(rows, key=lambda row: places[row["role"], row["run"]]):
        is_clustering, name = row["role"].startswith("clusters"), NAMES[row["role"], row["run"]]
        told, leaky = ("", "") if is_clustering else (_told(row, "grouped"), f"{float(row['leaky']):.2f}")
        counts = f"{row['n_windows']}, {row['n_values']}"
        chance, share = (f"{float(row[key]):.2f}" for key in ("chance", "share"))
        name = f"30 clusters, {name}" if is_clustering else name
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
