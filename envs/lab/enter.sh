#!/bin/bash
# First program in fresh mount and UTS namespaces: take the host name and the hosts file of the lab, a private /tmp
# where one is named, and become the command. Of the host's /tmp, the folders in SHARED (separated by colons) stay.
# usage: enter.sh HOSTNAME HOSTS TMP|- SHARED COMMAND...
set -eu
hostname "$1"
mount --bind "$2" /etc/hosts
if [ "$3" != - ]; then
    IFS=: read -ra shared <<<"$4"
    for folder in "${shared[@]}"; do
        mkdir -p "$3/${folder#/tmp/}"
        mount --rbind "$folder" "$3/${folder#/tmp/}"
    done
    mount --rbind "$3" /tmp
fi
shift 4
exec "$@"
