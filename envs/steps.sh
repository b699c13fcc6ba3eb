#!/usr/bin/env bash
# Steps that `envs/setup.sh` (the environment of a source tree) and `pipshpc stack deploy` (a stack) share: finding or
# installing compilers, MPI, HDF5 and Python, and building wheels against them. Read by the former, started by the
# latter, which gets what was found as lines NAME=VALUE:
#
#   envs/steps.sh find "compilers python mpi hdf5" [DEBIAN_PACKAGE ...]
#   envs/steps.sh key PYTHON                  of what h5py is built from
#   envs/steps.sh wheel NAME LOCK KEY PYTHON  build one, or find the one that was built; its path is the last line
#
# Who reads or starts it may set: who (first word of each message), again (the command that asked),
# logs, python, and pip_python (a Python whose pip serves `python`).
# PYTHON, MPICC, HDF5_DIR, PIPSHPC_CACHE and PIPSHPC_NO_APT are as envs/setup.sh says.
set -euo pipefail

who=${who:-stack}
cache=${PIPSHPC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pipshpc}
logs=${logs:-${TMPDIR:-/tmp}}
envs=$(dirname "${BASH_SOURCE[0]}")
advice=""

say() { printf '%s: %s\n' "$who" "$*"; }

fail() {
    printf '%s: %s\n' "$who" "$1" >&2
    shift
    [ $# = 0 ] || printf "$who: %s\n" "$@" >&2
    exit 4
}

# How to name what was not found, in the words of who asked.
name_it() {
    if [ "$who" = setup ]; then printf 'or name it: make setup %s\n' "$1"; else printf 'or name it: %s %s\n' "$1" "${again:-pipshpc stack deploy}"; fi
}

# Run a command with its output in a log; show the end of the log if it fails.
logged() {
    local log=$logs/$1.log
    shift
    "$@" >"$log" 2>&1 </dev/null && return
    tail -n 25 "$log" >&2
    fail "failed: $*" "the whole output is in $log"
}

digest() { sha256sum | cut -c1-16; }
took() { say "$1 ($((SECONDS - $2)) s)"; }

# ---------------------------------------------------------------- system

missing_packages() {
    local known package
    known=" $(dpkg-query -W -f '${db:Status-Status}=${Package} ' "$@" 2>/dev/null || true)"
    for package in "$@"; do
        [[ $known == *" installed=$package "* ]] || printf '%s\n' "$package"
    done
}

# Install Debian packages where this is allowed; elsewhere remember the command that does.
install_system() { # package...
    [ $# -gt 0 ] || return 0
    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || return 0
    local missing started=$SECONDS
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || [ -n "${PIPSHPC_NO_APT:-}" ]; then
        advice="sudo apt-get install --no-install-recommends ${missing[*]}"
        return 0
    fi
    say "installing system packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    logged apt-update apt-get -q -o DPkg::Lock::Timeout=600 update
    logged apt-install apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 \
        install --no-install-recommends "${missing[@]}"
    hash -r
    took "system packages installed" $started
}

# What to say where something of the system is missing.
how_to_get() {
    [ -z "$advice" ] || printf 'Debian, Ubuntu:  %s\n' "$advice"
    printf 'On a cluster:    module load %s\n' "$1"
    printf 'With conda:      conda install -c conda-forge %s\n' "$2"
}

# Print the multiarch name, such as x86_64-linux-gnu, if the system has one.
multiarch() { gcc -print-multiarch 2>/dev/null || true; }

is_parallel_hdf5() {
    grep -qs '^#define H5_HAVE_PARALLEL 1' "$1"/include/H5pubconf*.h && compgen -G "$1/lib*/libhdf5.so*" >/dev/null
}

find_mpi() {
    mpicc=$(command -v "${MPICC:-mpicc}") || {
        mapfile -t how < <(how_to_get openmpi "openmpi openmpi-mpicc")
        fail "no MPI compiler: ${MPICC:-mpicc} is not on the PATH; pipshpc needs MPI (Open MPI 4 or later, or MPICH 4 or later)" \
            "${how[@]}" "$(name_it MPICC=/path/to/mpicc)"
    }
    # The launcher has to belong to the same MPI, so it is looked for beside the compiler first.
    mpiexec=$(dirname "$mpicc")/mpiexec
    [ -x "$mpiexec" ] || mpiexec=$(command -v mpiexec || true)
}

find_hdf5() {
    local tried=() folder
    for folder in "${HDF5_DIR:-}" "/usr/lib/$(multiarch)/hdf5/openmpi" "/usr/lib/$(multiarch)/hdf5/mpich"; do
        [ -n "$folder" ] || continue
        tried+=("$folder")
        if is_parallel_hdf5 "$folder"; then
            hdf5=$folder
            return
        fi
        # A folder that was asked for is right or an error, never passed over in silence.
        [ -z "${HDF5_DIR:-}" ] || break
    done
    if [ -z "${HDF5_DIR:-}" ] && command -v h5pcc >/dev/null; then
        folder=$(h5pcc -showconfig 2>/dev/null | sed -n 's/^ *Installation point: *//p')
        tried+=("$folder (from h5pcc)")
        if is_parallel_hdf5 "$folder"; then
            hdf5=$folder
            return
        fi
    fi
    mapfile -t how < <(how_to_get "hdf5 (the one built with MPI)" "'hdf5=*=mpi_openmpi*'")
    fail "no parallel HDF5 (a shared library, and H5_HAVE_PARALLEL in H5pubconf.h); looked in: ${tried[*]}" \
        "${how[@]}" "$(name_it HDF5_DIR=/path/to/hdf5)"
}

# ---------------------------------------------------------------- Python

# 3.11 or later, able to make environments, with the headers that extensions need.
qualifies() {
    "$1" -I -c '
import ensurepip, pathlib, sys, sysconfig, venv
headers = pathlib.Path(sysconfig.get_path("include"), "Python.h")
sys.exit(sys.version_info < (3, 11) or not headers.exists())' 2>/dev/null
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        base=$(command -v "$PYTHON") && qualifies "$base" && return
        fail "PYTHON=$PYTHON does not do; wanted: Python 3.11 or later with venv, pip and its C headers" \
            "$(name_it PYTHON=/path/to/python3)"
    fi
    # The system's Python comes first: other users and the compute nodes can read it.
    for candidate in /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
        base=$(command -v "$candidate") && qualifies "$base" && return
    done
    mapfile -t how < <(how_to_get python/3.11 "'python>=3.11'")
    fail "no Python 3.11 or later with venv, pip and its C headers; found: $(python3 --version 2>&1 || echo none)" \
        "${how[@]}" "$(name_it PYTHON=/path/to/python3)"
}

# ---------------------------------------------------------------- wheels that are built here

# A wheel made on this machine, from the cache or built into it.
local_wheel() { # name lock key environment...
    local name=$1 lock=$2 folder=$cache/wheels/$3 started=$SECONDS fresh
    shift 3
    mkdir -p "$cache/wheels"
    # Two who build the same one at once: the second finds it.
    if command -v flock >/dev/null; then
        exec 8>"$folder.lock"
        flock 8
    fi
    wheel=$(compgen -G "$folder/$name-*.whl" | head -n 1 || true)
    if [ -n "$wheel" ] && { [ ! -e "$wheel.sha256" ] || sha256sum --status -c "$wheel.sha256"; }; then
        exec 8>&-
        return 0
    fi
    [ -z "$wheel" ] || say "the kept $wheel is not what was built; building it again"
    say "building $name for this MPI and HDF5, once (a minute or two)"
    fresh=$folder.new.$$
    rm -rf "$folder".new.*
    # Without pip's own cache: it does not know which MPI a wheel was built for.
    # A Python without pip of its own is served by another's.
    local pip=("$python" -m pip)
    [ -z "${pip_python:-}" ] || pip=("$pip_python" -m pip --python "$python")
    logged "build-$name" env "$@" "${pip[@]}" wheel --no-input --no-cache-dir --no-build-isolation --no-deps \
        --no-binary "$name" --require-hashes -r "$lock" -w "$fresh"
    mkdir -p "$folder"
    mv "$fresh/$name"-*.whl "$folder/"
    rm -rf "$fresh"
    wheel=$(compgen -G "$folder/$name-*.whl" | head -n 1)
    sha256sum "$wheel" >"$wheel.sha256"
    exec 8>&-
    took "$name built, kept in $folder" $started
}

# 0: two ranks of one world; 3: ranks that do not see each other, so mpi4py talks to another MPI.
two_ranks() {
    OMPI_MCA_rmaps_base_oversubscribe=1 timeout 60 "$mpiexec" -n 2 "$python" -c \
        'from mpi4py import MPI; raise SystemExit(0 if MPI.COMM_WORLD.size == 2 else 3)' >"$logs/ranks.log" 2>&1 </dev/null
}

# What an h5py or mpi4py that is built here depends on.
build_key() {
    local mpi
    mpi="$mpicc $("$mpicc" -show 2>/dev/null || true) $("$mpiexec" --version 2>/dev/null | head -n 1 || true)"
    {
        cat "$envs/h5py.lock" "$hdf5"/include/H5pubconf*.h
        printf '%s\n%s\n%s\n' "$hdf5" "$mpi" "$("$python" -I -S -VV)"
    } | digest
}

build_h5py() { # lock key
    local_wheel h5py "$1" "$2" CC="$mpicc" HDF5_MPI=ON HDF5_DIR="$hdf5" CFLAGS="-O1 -g0"
}

# ---------------------------------------------------------------- started by `pipshpc stack`

# Print what was found.
tell_found() { # what
    local cc=${CC:-gcc}
    if [[ " $1 " == *" compilers "* ]]; then
        command -v "$cc" >/dev/null || {
            mapfile -t how < <(how_to_get gcc "gcc gxx make")
            fail "no C compiler: $cc is not on the PATH" "${how[@]}" "$(name_it CC=/path/to/gcc)"
        }
        printf 'cc=%s\ncompiler=%s\n' "$(command -v "$cc")" "$("$cc" --version 2>&1 | head -n 1)"
    fi
    if [[ " $1 " == *" python "* ]]; then
        find_python
        printf 'python=%s\npython_version=%s\n' "$base" "$("$base" -I -S -c 'import sys; print(sys.version.split()[0])')"
    fi
    if [[ " $1 " == *" mpi "* ]]; then
        find_mpi
        printf 'mpicc=%s\nmpiexec=%s\nmpi=%s\n' "$mpicc" "$mpiexec" "$("$mpiexec" --version 2>/dev/null | head -n 1)"
    fi
    if [[ " $1 " == *" hdf5 "* ]]; then
        find_hdf5
        printf 'hdf5=%s\nhdf5_version=%s\n' "$hdf5" "$(sed -n 's/^#define H5_VERS_INFO *"HDF5 library version: *\(.*\)"/\1/p;s/^#define H5_PACKAGE_VERSION "\(.*\)"/\1/p' "$hdf5"/include/H5pub*.h | head -n 1)"
    fi
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    verb=${1:-}
    shift || fail "found no verb; wanted find, key or wheel"
    case $verb in
    find)
        what=$1
        shift
        install_system "$@" >&2
        tell_found "$what"
        ;;
    key)
        python=$1
        { find_mpi && find_hdf5; } >&2
        build_key
        ;;
    wheel)
        name=$1 lock=$2 key=$3 python=$4
        { find_mpi && find_hdf5; } >&2
        mkdir -p "$logs"
        case $name in
        h5py) build_h5py "$lock" "$key" >&2 ;;
        mpi4py) local_wheel mpi4py "$lock" "$key" MPICC="$mpicc" >&2 ;;
        *) fail "found wheel '$name'; wanted h5py or mpi4py" ;;
        esac
        printf '%s\n' "$wheel"
        ;;
    *) fail "found verb '$verb'; wanted find, key or wheel" ;;
    esac
fi
