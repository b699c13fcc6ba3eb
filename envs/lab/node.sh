#!/bin/bash
# Init of a virtual node, process 1 of its PID namespace: the node is on as long as this runs.
# It outlives slurmd, because a daemon that dies is not a node that dies, and takes up the
# orphans of job steps, which a slurmd as process 1 would leave as zombies. USR1: start slurmd again.
# usage: node.sh SLURM_CONF NODE
start() { slurmd -D -f "$1" -N "$2" & }
trap 'start "$1" "$2"' USR1
start "$1" "$2"
sleep infinity &
forever=$!
while :; do wait $forever; done
