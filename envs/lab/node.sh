#!/bin/bash
# Init of a virtual node, process 1 of its PID namespace: the node is on as long as this runs.
# It outlives slurmd, because a daemon that dies is not a node that dies, and takes up the
# orphans of job steps, which a slurmd as process 1 would leave as zombies.
# usage: node.sh SLURM_CONF NODE
slurmd -D -f "$1" -N "$2" &
while :; do
    sleep infinity &
    wait
done
