#!/bin/bash
# A stack's image on the nodes of a job: copied once to storage of the node, used by all jobs of the user there.
#   stage.sh job IMAGES LOCAL      in a batch script: bring the image to all nodes of the job; prints the local tree
#   stage.sh end IMAGES LOCAL      at its end: the last job on a node takes the copy away
# and, on each node, what these two start there:
#   stage.sh enter|take|leave IMAGES LOCAL JOB UNTIL
# IMAGES is the folder of the image (image.sum, image.squashfs or image.tar), LOCAL a folder of each node's own.
#
# Below LOCAL/pipshpc-UID/SUM lie `tree` (the stack), `users` (a file for each job that uses it, which says until when
# at most) and `ready`, which comes last: without it, nothing there counts. All changes are made under a lock.
set -eu
act=$1 images=$2 local=$3
read -r sum image <"$images/image.sum"
base=$local/pipshpc-$(id -u)
home=$base/${sum:0:16}

warn() { echo "warning: $(hostname): $*" >&2; }

# ---- on one node

# A lock on the folder itself, which another job may remove meanwhile.
lock() {
    local round
    for round in 1 2 3 4 5; do
        mkdir -m 700 "$base" 2>/dev/null || true
        if [ ! -d "$base" ] || [ ! -O "$base" ] || [ -L "$base" ]; then
            warn "$base is not a folder of this user; name another by key 'node_local' of the site" && exit 12
        fi
        exec 9<"$base"
        flock 9
        [ "$base" -ef /proc/self/fd/9 ] && return
    done
    warn "no lock on $base after $round rounds" && exit 12
}

is_ready() {
    [ "$(cat "$home/ready" 2>/dev/null)" = "$sum" ] && [ -x "$home/tree/bin/python3" ]
}

remove() {
    rm -f "$home/ready"
    ! mountpoint -q "$home/tree" || umount "$home/tree" || umount --lazy "$home/tree"
    rm -rf "$home"
}

# Forget the jobs whose time is over, and what they left half made.
tidy() {
    local entry now
    now=$(date +%s)
    for entry in "$home"/users/*; do
        [ -e "$entry" ] || continue
        [ "$(cat "$entry")" -gt "$now" ] 2>/dev/null || rm -f "$entry"
    done
    for entry in "$home"/part.*; do
        [ -e "$home/users/${entry##*.}" ] || rm -rf "$entry"
    done
}

enter() {
    lock
    mkdir -p "$home/users"
    tidy
    echo "$until" >"$home/users/$job"
    is_ready || exit 10
}

take() {
    lock
    local part=$home/part.$job
    mkdir -p "$home/users"
    echo "$until" >"$home/users/$job"
    if is_ready; then
        rm -f "$part"
        return
    fi
    [ -e "$part" ] || cp "$images/$image" "$part"
    if [ "$(sha256sum <"$part")" != "$sum  -" ]; then
        rm -f "$part"
        warn "the image of the stack did not arrive whole" && exit 11
    fi
    ! mountpoint -q "$home/tree" || umount "$home/tree"
    rm -rf "$home/tree" "$home/image"
    unpack "$part"
    rm -f "$part"
    [ -x "$home/tree/bin/python3" ] || { warn "the image holds no bin/python3" && exit 11; }
    echo "$sum" >"$home/ready.$job"
    mv "$home/ready.$job" "$home/ready"
}

# Root mounts a squashfs; others unpack it.
unpack() {
    case $image in
    *.squashfs)
        if [ "$(id -u)" = 0 ] && mv "$1" "$home/image" && mkdir "$home/tree" &&
            mount -t squashfs -o loop,ro "$home/image" "$home/tree" 2>/dev/null; then
            return
        fi
        [ ! -e "$home/image" ] || mv "$home/image" "$1"
        rm -rf "$home/tree"
        unsquashfs -q -n -d "$home/tree" "$1" >/dev/null
        ;;
    *)
        mkdir "$home/tree"
        tar -xf "$1" -C "$home/tree"
        ;;
    esac
}

leave() {
    [ -d "$base" ] || return 0
    lock
    rm -f "$home/users/$job"
    tidy
    [ -z "$(ls -A "$home/users" 2>/dev/null)" ] && remove
    rmdir "$base" 2>/dev/null || true
}

# ---- in a batch script

# Run this file once on each node of the job.
everywhere() {
    env -u SLURM_NTASKS_PER_NODE -u SLURM_TASKS_PER_NODE -u SLURM_MEM_PER_CPU -u SLURM_MEM_PER_NODE -u SLURM_CPUS_PER_TASK \
        -u SLURM_TRES_PER_TASK -u SLURM_CPU_BIND \
        srun --mpi=none --overlap --nodes="$SLURM_NNODES" --ntasks="$SLURM_NNODES" --ntasks-per-node=1 --cpus-per-task=1 \
        --mem=0 --quiet --kill-on-bad-exit=0 bash "$images/stage.sh" "$1" "$images" "$local" "$SLURM_JOB_ID" "$until" \
        </dev/null
}

if [ "$act" = job ] || [ "$act" = end ]; then
    # A day, where Slurm does not tell when the job must be over.
    until=$((${SLURM_JOB_END_TIME:-$(date -d "+1 day" +%s)} + 600))
    if [ "$act" = end ]; then
        everywhere leave || warn "the copy of the stack could not be removed everywhere; the next job there does it"
        exit 0
    fi
    if everywhere enter 2>/dev/null; then
        echo "$home/tree"
        exit 0
    fi
    # The image is read from the shared file system once; without sbcast, each node reads it.
    sbcast --force "$images/$image" "$home/part.$SLURM_JOB_ID" >/dev/null 2>&1 || true
    if everywhere take; then
        echo "$home/tree"
        exit 0
    fi
    warn "the stack could not be staged to $local of all nodes; the job uses the shared tree"
    exit 1
fi
job=$4 until=$5
"$act"
