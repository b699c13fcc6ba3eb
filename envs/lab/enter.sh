#!/bin/bash
# First program in fresh mount and UTS namespaces: take the host name and the hosts file of the lab, where a folder
# for it is named a private /tmp and /dev/shm, and become the command. Of the host's /tmp, the folders in SHARED
# (separated by colons) stay. Ranks of a node meet in /dev/shm by names that the same job of another lab has, too.
# usage: enter.sh HOSTNAME HOSTS TMP|- SHARED COMMAND...
set -eu
hostname "$1"
# Minimal systems have no such file, and a mount needs a place.
[ -e /etc/hosts ] || echo "127.0.0.1 localhost" >/etc/hosts
mount --bind "$2" /etc/hosts
if [ "$3" != - ]; then
    IFS=: read -ra shared <<<"$4"
    for folder in "${shared[@]}"; do
        mkdir -p "$3/${folder#/tmp/}"
        mount --rbind "$folder" "$3/${folder#/tmp/}"
    done
    mount --rbind "$3" /tmp
    mount -t tmpfs -o mode=1777 node /dev/shm
fi
shift 4
exec "$@"
