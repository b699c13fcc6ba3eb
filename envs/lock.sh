#!/usr/bin/env bash
# Write the locks anew from the .in files: exact versions and hashes, for
# Linux and macOS on Python 3.11 and later. `envs/lock.sh --upgrade` takes
# newer versions; without it what is locked stays where it still fits.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! uv=$(command -v uv); then
    printf 'lock: uv is needed to write the locks: python3 -m pip install uv\n' >&2
    exit 4
fi

# Each lock is taken as a constraint by the next, so that the tests run with
# the versions that users get. Wheels only: nobody compiles but h5py.
compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate "$@"
}
compile --only-binary :all: envs/requirements.in -o envs/requirements.lock "${@}"
# pvlib and satpy ask for h5py, which must not come as a wheel.
compile --only-binary :all: --no-emit-package h5py envs/requirements-dev.in -o envs/requirements-dev.lock "${@}"
compile --only-binary :all: --no-emit-package h5py envs/rs-tools.in -o envs/rs-tools.lock "${@}"
compile --only-binary :all: --no-deps envs/requirements-bench.in -o envs/requirements-bench.lock "${@}"
compile --no-deps --no-binary h5py envs/h5py.in -o envs/h5py.lock "${@}"
printf 'lock: wrote envs/%s.lock\n' requirements requirements-dev rs-tools requirements-bench h5py
