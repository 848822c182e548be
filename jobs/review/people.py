"""The lines of ``status`` on verdicts and batches; it loads nothing that only pages and reviews need."""

from jobs.runner.manifest import Manifest
from jobs.runner.state import DAMAGED, State
from lake.batch_files import batch_names
from lake.deliveries import deliveries
from lake.errors import StoreError


def people_states(manifest: Manifest) -> list[State]:
    """Return what there is of verdicts and of batches in a study's lake; nothing of what there is not."""
    lake = next(iter(manifest.runs.values())).lake
    if not deliveries(lake) and not batch_names(lake):
        return []
    from lake.batches import n_answered, read_batch  # noqa: PLC0415 (pandas, which a study without reviews needs not)
    from lake.verdicts import read_verdicts  # noqa: PLC0415

    try:
        verdicts = read_verdicts(lake)
    except StoreError as error:
        return [State("verdicts", "people", DAMAGED, str(error))]
    said = []
    if len(verdicts):
        detail = f"{len(verdicts)} of {verdicts['sound'].nunique()} sounds, in {len(deliveries(lake))} deliveries"
        said.append(State("verdicts", "people", "done", detail))
    try:
        batches = [read_batch(lake, name) for name in batch_names(lake)]
    except StoreError as error:
        return [*said, State("batches", "people", DAMAGED, str(error))]
    if batches:
        n_asked = sum(len(batch.table) for batch in batches)
        n_heard = sum(n_answered(batch, verdicts) for batch in batches)
        said.append(State("batches", "people", "done", f"{len(batches)} of {n_asked} windows, {n_heard} answered"))
    return said
