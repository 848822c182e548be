"""The shell scripts: what a job of the scheduler does."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.common.containers import bind_words, env_words
from jobs.submit.plan import Step
from jobs.submit.profile import Site
from jobs.submit.schedulers import SCHEDULERS, Scheduler

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
        *) say "failed with exit code $rc; what was written is whole: fix the cause and submit again" ;;
    esac
    exit "$rc"
}
""".strip()
"""Bash that every script begins with; `job`, `limit_s`, `codes` and `work` are set before."""


@dataclass(frozen=True)
class Place:
    """The folders of a submission: its own, the manifest's, and those that are bound."""

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
        'if [ "${1:-}" = node ]; then codes=$2; else rm -rf "$codes"; mkdir -p "$codes" || exit 75; fi',
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
    variables = {"OMP_NUM_THREADS": str(step.threads)}
    if step.nodes > 1 and place.site.interface:
        name = place.site.interface
        variables |= {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": f"={name}"}  # for NCCL a bare name is a prefix
    words = [env_words("DAWNCHORUS_IMAGE_SHA256", step.sha256)] if step.sha256 else []
    words += [env_words(*each) for each in {**variables, **dict(sorted(place.site.env.items()))}.items()]
    words += [bind_words(path, writable=writable) for path, writable in [*place.binds, (str(place.folder), True)]]
    lines += [shlex.join(each) for each in words]
    lines.append('"$image")')
    return " \\\n    ".join(lines)


def _body(step: Step, site: Site, scheduler: Scheduler) -> str:
    if step.kind == "whole":
        return _on_this_node('run --workers "$n_processes"')
    if step.kind == "finalise":
        return _on_this_node("finalise")
    if step.kind == "shares":
        return _shares(step, site, scheduler)
    if step.kind == "dask":
        return _dask(step, site, scheduler)
    return _ranks(step, site, scheduler)


def _on_this_node(command: str) -> str:
    """Return what runs a command on the run; the names behind ``--`` may begin with a hyphen."""
    return f'attend "${{inside[@]}}" dawnchorus {command} -- "$manifest" "$run"'


def _shares(step: Step, site: Site, scheduler: Scheduler) -> str:
    one = _on_this_node('run --partition "$i/$n_tasks" --workers "$n_processes"')
    if step.tasks == 1 or scheduler.array_index:
        index = scheduler.array_index if step.tasks > 1 else "0"
        return f"i={index}\n{one}"
    if not scheduler.launch:  # nothing starts processes on nodes: this machine takes all shares
        return (
            f'for i in $(seq 0 $((n_tasks - 1))); do\n    {one}\n    echo "$rc" >"$codes/$i"\ndone\ngravest "$n_tasks"'
        )
    return _on_each_node(one, step.tasks, site, scheduler)  # no arrays: each node takes every n-th share


def _ranks(step: Step, site: Site, scheduler: Scheduler) -> str:
    """Return what starts processes that train together, or take a share each; a training reads with all its threads."""
    workers = f"--workers {step.threads}"
    if step.nodes == 1:
        return _on_this_node(f'run --ranks "$n_processes" {workers}')
    one = _on_this_node(f'run --ranks "$n_processes" --node "$i/$n_nodes" --meet "$meeting" {workers}')
    return _on_each_node(one, step.nodes, site, scheduler)


def _on_each_node(one: str, n: int, site: Site, scheduler: Scheduler) -> str:
    """Return what runs this script again, once on each node, and there what uses ``$i`` and ``$meeting``."""
    launch = (site.launch or scheduler.launch).format(nodes=n)
    return f"""if [ "${{1:-}}" = node ]; then
    i=${{{scheduler.rank or "NODE"}:-0}} meeting=$3
    {one}
    echo "$rc" >"$codes/$i"; rm -rf "$work"; exit 0
fi
# Where processes of several nodes find each other: new for each attempt, and only this user can enter it.
meeting=$(mktemp -d "$folder/.meeting.XXXXXX") || exit 75
attend {launch} bash "$folder/$job.sh" node "$codes" "$meeting"
rm -rf "$meeting"
gravest {n}"""


def _dask(step: Step, site: Site, scheduler: Scheduler) -> str:
    launch = f"{(site.launch or scheduler.launch).format(nodes=step.nodes)} " if step.nodes > 1 else ""
    memory = f" --memory-limit {int(step.memory_gb * 1e9 / step.processes)}" if step.memory_gb else ""
    host = (
        "--host 127.0.0.1" if step.nodes == 1 else f"--interface {shlex.quote(site.interface)}" * bool(site.interface)
    )
    return f"""# A Dask cluster inside this allocation; only who has this job's own key can speak to it.
tls="$folder/tls-$id" file="$folder/scheduler-$id.json"
rm -rf "$tls" "$file"
"${{inside[@]}}" dawnchorus certificate "$tls" >/dev/null
keys=(--protocol tls --tls-ca-file "$tls/certificate.pem" --tls-cert "$tls/certificate.pem" --tls-key "$tls/key.pem")
where=({host} --dashboard-address 127.0.0.1:0 --no-dashboard)
"${{inside[@]}}" dask scheduler --scheduler-file "$file" "${{keys[@]}}" "${{where[@]}}" --port 0 --no-show \\
    2>"$folder/$job-scheduler.log" & scheduler=$!
{launch}"${{inside[@]}}" dask worker --scheduler-file "$file" "${{keys[@]}}" "${{where[@]}}" \\
    --nthreads 1 --nworkers "$n_processes"{memory} --local-directory /tmp \\
    --death-timeout 120 2>"$folder/$job-workers.log" & workers=$!
attend "${{inside[@]}}" dawnchorus run --scheduler-file "$file" --tls "$tls" -- "$manifest" "$run"
kill -TERM "$workers" "$scheduler"; wait "$workers" "$scheduler"
rm -rf "$tls" "$file\""""
