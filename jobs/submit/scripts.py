"""The shell scripts: what a job of the scheduler does."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.submit.plan import Step
from jobs.submit.schedulers import SCHEDULERS, Scheduler
from jobs.submit.sites import Site

PRELUDE = r"""
set -u
say() { echo "$(date -u +%FT%TZ) $job: $*" >&2; }

# What was started gets the scheduler's signal, and is told to stop before the time is over: a training writes a
# checkpoint and exits with 75. The code is kept in $rc.
end_s=$((SECONDS + limit_s))
attend() {
    local told=0
    timeout --signal=TERM --kill-after=120 "$((end_s - SECONDS))" "$@" & child=$!
    trap 'told=1; say "told to stop"; kill -TERM "$child"' TERM USR1
    rc=0; wait "$child" || rc=$?
    while kill -0 "$child" 2>/dev/null; do rc=0; wait "$child" || rc=$?; done
    trap - TERM USR1
    if [ "$rc" = 124 ] || { [ "$told" = 1 ] && [ "$rc" -ge 128 ]; }; then rc=75; fi
    if [ "$rc" = 75 ] && [ "$told" = 0 ] && [ "$kind" = whole ] && [ "$SECONDS" -ge "$end_s" ]; then
        say "not done in the hours that its resources say, and it cannot go on where it stopped: give it more"; rc=1
    fi
}

# The gravest of the codes that processes left in a folder: an error, a missing one, try again, too many set aside.
gravest() {
    local n=$1 left=0 code
    rc=0
    for file in "$codes"/*; do
        [ -e "$file" ] || continue
        left=$((left + 1)); read -r code <"$file"
        case $code in
            0) ;;
            5) if [ "$rc" = 0 ]; then rc=5; fi ;;
            75) if [ "$rc" = 0 ] || [ "$rc" = 5 ]; then rc=75; fi ;;
            *) rc=$code ;;
        esac
    done
    if [ "$left" -lt "$n" ]; then
        say "$left of $n processes told how they ended"
        case $rc in 0 | 5 | 75) rc=137 ;; esac
    fi
}

leave() {
    rm -rf "$work"
    case $rc in
        0) say "done" ;;
        5) say "done, but more recordings were set aside than max_quarantined allows; what follows goes on"; rc=0 ;;
        75) again ;;
        *) say "failed with exit code $rc; what was written is whole: mend the cause and submit again" ;;
    esac
    exit "$rc"
}
""".strip()
"""Bash that every script begins with; `job`, `limit_s`, `codes` and `work` are set before."""

RANK = r"""#!/bin/sh
# rank.sh CODES COMMAND…: one process of torchrun, which itself tells only that some process failed.
trap : TERM
codes=$1; shift
"$@"
code=$?
echo "$code" >"$codes/${RANK:-0}"
exit "$code"
"""
SHARE = r"""#!/bin/sh
# share.sh CODES MANIFEST RUN: a share of a run on each GPU; one that fails does not end the others.
trap : TERM
codes=$1 rank=$RANK n=$WORLD_SIZE
if [ -e /dev/nvidia0 ]; then export CUDA_VISIBLE_DEVICES="$LOCAL_RANK"; fi
env -u RANK -u WORLD_SIZE -u LOCAL_RANK dawnchorus run "$2" "$3" --partition "$rank/$n" --workers 1
echo "$?" >"$codes/$rank"
"""


@dataclass(frozen=True)
class Place:
    """Where scripts are written and run: the folder of this submission, the manifest, and what is bound."""

    folder: Path
    manifest: Path
    binds: Sequence[tuple[str, bool]]
    site: Site


def script(step: Step, place: Place) -> str:
    """Return the script of a step: the scheduler's lines, what it sets up, and what it runs."""
    scheduler = SCHEDULERS[place.site.scheduler]
    head = ["#!/bin/bash -l", *scheduler.directives(step, place.site, place.folder)]
    values = {
        "job": step.name, "kind": step.kind, "run": step.run,
        "folder": str(place.folder), "manifest": str(place.manifest),
        "image": str(step.image), "apptainer": place.site.apptainer,
    }  # fmt: skip
    assigned = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    limit_s = max(60, round(step.hours * 3600) - place.site.warn_s)
    own = [
        f"limit_s={limit_s} attempts={step.attempts}",
        f"n_tasks={step.tasks} n_nodes={step.nodes} n_processes={step.processes}",
        f'id={scheduler.job_id} nodes_file="{scheduler.nodes_file}"',
        'work=$(mktemp -d "${TMPDIR:-/tmp}/dawnchorus.XXXXXX") || exit 75',
        'codes="$folder/codes/$job-$id"',
        'if [ "${1:-}" != share ]; then rm -rf "$codes"; mkdir -p "$codes" || exit 75; fi',
    ]
    parts = [
        "\n".join([*head, "# written by dawnchorus submit", *place.site.setup, *assigned, *own]),
        PRELUDE,
        scheduler.again,
        _container(step, place),
        _body(step, place.site, scheduler),
        "leave",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _container(step: Step, place: Place) -> str:
    """Return the array of words that begins every command inside the image."""
    lines = ['inside=("$apptainer" exec --cleanenv --containall --workdir "$work" --pwd "$folder"']
    if step.gpus:
        lines.append("--nv")
    if step.sha256:
        lines.append(f"--env DAWNCHORUS_IMAGE_SHA256={step.sha256}")
    lines.append(f"--env OMP_NUM_THREADS={step.threads}")
    lines += [f"--env {shlex.quote(f'{key}={value}')}" for key, value in sorted(place.site.env.items())]
    lines += [
        f"--bind {shlex.quote(f'{path}:{path}' if writable else f'{path}:{path}:ro')}" for path, writable in place.binds
    ]
    lines.append('--bind "$folder:$folder" "$image")')
    return " \\\n    ".join(lines)


def _body(step: Step, site: Site, scheduler: Scheduler) -> str:
    if step.kind == "whole":
        return 'attend "${inside[@]}" dawnchorus run "$manifest" "$run" --workers "$n_processes"'
    if step.kind == "finalise":
        return 'attend "${inside[@]}" dawnchorus finalise "$manifest" "$run"'
    if step.kind == "shares":
        return _shares(step, site, scheduler)
    if step.kind == "dask":
        return _dask(step, site, scheduler)
    return _torchrun(step, site, scheduler)


def _shares(step: Step, site: Site, scheduler: Scheduler) -> str:
    one = 'attend "${inside[@]}" dawnchorus run "$manifest" "$run" --partition "$i/$n_tasks" --workers "$n_processes"'
    if step.tasks == 1 or scheduler.array_index:
        index = scheduler.array_index if step.tasks > 1 else "0"
        return f"i={index}\n{one}"
    if scheduler.name == "local":
        return (
            f'for i in $(seq 0 $((n_tasks - 1))); do\n    {one}\n    echo "$rc" >"$codes/$i"\ndone\ngravest "$n_tasks"'
        )
    # No arrays: this script again, once on each node, takes every n-th share.
    launch = (site.launch or scheduler.launch).format(nodes=step.tasks)
    return (
        'if [ "${1:-}" = share ]; then\n'
        f"    i=${{{scheduler.rank}:-0}}\n    {one}\n"
        '    echo "$rc" >"$3/$i"; rm -rf "$work"; exit 0\nfi\n'
        f'attend {launch} bash "$folder/$job.sh" share "$id" "$codes"\n'
        'gravest "$n_tasks"'
    )


def _torchrun(step: Step, site: Site, scheduler: Scheduler) -> str:
    inner = (
        'sh "$folder/rank.sh" "$codes" dawnchorus run "$manifest" "$run" --workers 1'
        if step.kind == "train"
        else 'sh "$folder/share.sh" "$codes" "$manifest" "$run"'
    )
    launch = f"{(site.launch or scheduler.launch).format(nodes=step.nodes)} " if step.nodes > 1 else ""
    head = scheduler.head
    endpoint = "127.0.0.1:0" if step.nodes == 1 else '"$head:$port"'
    port = 'digits=$(echo "$id" | tr -cd 0-9 | tail -c 3)\n' if step.nodes > 1 else ""
    port += f"head={head} port=$((29400 + 10#${{digits:-0}}))\n" if step.nodes > 1 else ""
    return (
        f'{port}attend {launch}"${{inside[@]}}" torchrun --nnodes "$n_nodes" --nproc-per-node "$n_processes" '
        f'--max-restarts 0 \\\n    --rdzv-backend c10d --rdzv-endpoint {endpoint} --rdzv-id "$id" \\\n'
        f"    --no-python {inner}\n"
        'gravest "$((n_nodes * n_processes))"'
    )


def _dask(step: Step, site: Site, scheduler: Scheduler) -> str:
    launch = f"{(site.launch or scheduler.launch).format(nodes=step.nodes)} " if step.nodes > 1 else ""
    memory = f" --memory-limit {int(step.memory_gb * 1e9 / step.processes)}" if step.memory_gb else ""
    return f"""# A Dask cluster inside this allocation; only who has this job's own key can speak to it.
tls="$folder/tls-$id" file="$folder/scheduler-$id.json"
rm -rf "$tls" "$file"
"${{inside[@]}}" dawnchorus certificate "$tls" >/dev/null
keys=(--protocol tls --tls-ca-file "$tls/certificate.pem" --tls-cert "$tls/certificate.pem" --tls-key "$tls/key.pem")
"${{inside[@]}}" dask scheduler --scheduler-file "$file" "${{keys[@]}}" --port 0 --no-dashboard --no-show \\
    2>"$folder/$job-scheduler.log" & scheduler=$!
{launch}"${{inside[@]}}" dask worker --scheduler-file "$file" "${{keys[@]}}" \\
    --nthreads 1 --nworkers "$n_processes"{memory} --no-dashboard --local-directory /tmp \\
    --death-timeout 120 2>"$folder/$job-workers.log" & workers=$!
attend "${{inside[@]}}" dawnchorus run "$manifest" "$run" --scheduler-file "$file" --tls "$tls"
kill -TERM "$workers" "$scheduler"; wait "$workers" "$scheduler"
rm -rf "$tls" "$file\""""
