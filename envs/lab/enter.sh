#!/bin/bash
# First program in fresh mount and UTS namespaces: take the host name and the hosts file of the lab, a private /tmp
# where one is named, and become the command.
# usage: enter.sh HOSTNAME HOSTS TMP|- COMMAND...
set -eu
hostname "$1"
mount --bind "$2" /etc/hosts
[ "$3" = - ] || mount --bind "$3" /tmp
shift 3
exec "$@"
