#!/bin/sh
# Make the environment that every target of the Makefile runs in, from the lock in requirements.txt:
# .venv in the checkout, or the activated conda environment.
#
#     make setup [PYTHON=/path/to/python3.12] [ENV=venv|conda] [TORCH=cpu|pypi]
#
# TORCH=cpu takes torch's CPU build, from PyTorch's own index; pypi what PyPI has, on Linux with CUDA.
# By default the CPU build, where this machine has no NVIDIA GPU and that index answers.
# A copy of the lock in the environment says what was installed, so a second run takes no time. An
# environment whose copy differs (the lock changed, or a run was interrupted: the copy is written
# last) is built anew, which also drops what the lock no longer names.
set -eu
cd "$(dirname "$0")/.."

SUPPORTED="3.11 3.12 3.13 3.14"
LOCK=requirements.txt
OURS=.venv/made-by-setup # and may be deleted; one that was made by hand is added to
NAME=$(sed -n 's/^name: *//p' environment.yml)

fail() { # problem, remedy: the same two lines and exit code as the jobs
    printf 'error: %s\n  %s\n' "$1" "$2" >&2
    exit 2
}

version() { # of an interpreter, "3.11.7"; nothing where it does not run (a pyenv shim, a broken link)
    "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null || true
}

supported() { # a version
    for minor in $SUPPORTED; do
        case "$1" in "$minor".*) return 0 ;; esac
    done
    return 1
}

install_lock() { # an interpreter, the stamp
    printf 'Installing %s packages into %s (minutes the first time)\n' \
        "$(grep -c == "$LOCK")" "$(dirname "$2")"
    : >"$2"
    torch=
    choose_torch "$1"
    quiet=$([ -t 1 ] || echo --quiet)
    # shellcheck disable=SC2086 # no argument at all where they are empty
    "$1" -m pip install $quiet $torch --no-input --disable-pip-version-check -r "$LOCK" ||
        fail "pip could not install $LOCK (its message is above)" \
            "check the network and the free disk space (about 10 GB with CUDA), then run make setup again"
    cp "$LOCK" "$2"
}

has_gpu() { [ -e /proc/driver/nvidia/version ] || [ -e /dev/dxg ]; } # /dev/dxg: Windows' Linux

# An interpreter; sets `torch` to the index of CPU builds, 2.6 GB in all in place of 6.4. As an option
# it adds to the indexes that a user has configured; PIP_EXTRA_INDEX_URL would replace them.
choose_torch() {
    index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
    case "${TORCH:-}" in
        pypi) return ;;
        cpu) ;;
        "")
            if [ -n "${PIP_EXTRA_INDEX_URL:-}" ] || [ "$(uname -s)" != Linux ]; then return; fi
            if has_gpu; then
                echo "torch with CUDA, for this machine's NVIDIA GPU"
                return
            fi
            "$1" -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1] + "/torch/", timeout=3)' \
                "$index" 2>/dev/null || {
                echo "torch as the configured index has it: there is no NVIDIA GPU, but $index does not answer"
                return
            }
            ;;
    esac
    echo "torch for the CPU, from $index (TORCH=pypi takes the build with CUDA)"
    torch="--extra-index-url $index"
}

find_python() { # sets PYTHON
    if [ -n "${PYTHON:-}" ]; then
        supported "$(version "$PYTHON")" ||
            fail "PYTHON=$PYTHON is Python '$(version "$PYTHON")', and this project needs one of $SUPPORTED" \
                "name another interpreter, for example: make setup PYTHON=python3.12"
        return
    fi
    for PYTHON in python3 python3.14 python3.13 python3.12 python3.11; do
        if supported "$(version $PYTHON)"; then return; fi
    done
    fail "no Python of $SUPPORTED on the PATH (python3 is '$(version python3)')" \
        "install one, name one (make setup PYTHON=/path/to/python3.12), or let conda bring it: \
conda env create -f environment.yml && conda activate $NAME"
}

has_pip() { .venv/bin/python -m pip --version >/dev/null 2>&1; }

create_venv() { # with pip in it, also where Python comes without ensurepip, as Debian's does
    TORCH=${TORCH:-$(cat .venv/torch-build 2>/dev/null || true)} # as it was asked for
    rm -rf .venv
    mkdir .venv
    : >"$OURS"
    log=$("$PYTHON" -m venv .venv 2>&1) && has_pip && return
    "$PYTHON" -m virtualenv --quiet .venv >/dev/null 2>&1 && has_pip && return
    virtualenv --quiet --python "$PYTHON" .venv >/dev/null 2>&1 && has_pip && return
    "$PYTHON" -m venv --without-pip .venv >/dev/null 2>&1 &&
        "$PYTHON" -m pip --python .venv/bin/python install --quiet pip >/dev/null 2>&1 && has_pip && return
    minor=$(version "$PYTHON")
    printf '%s\n' "$log" >&2
    fail "$PYTHON can make no environment with pip: it lacks ensurepip, and neither virtualenv nor pip is there" \
        "on Debian and Ubuntu: sudo apt install python${minor%.*}-venv; then run make setup again"
}

torch_is_as_asked() { # for, by TORCH; any build is where it is not given
    [ -n "${TORCH:-}" ] || return 0
    build=$(cat .venv/torch-build 2>/dev/null || true)
    [ -n "$build" ] || case $(.venv/bin/python -c \
        'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null) in
        *+cpu) build=cpu ;;
        *) build=pypi ;;
    esac
    [ "$build" = "$TORCH" ]
}

use_venv() {
    stamp=.venv/$LOCK
    present=$(version .venv/bin/python)
    wanted=$present
    if [ -n "${PYTHON:-}" ]; then
        find_python
        wanted=$(version "$PYTHON")
    fi
    if [ -n "$present" ] && [ "$wanted" = "$present" ] && cmp -s "$LOCK" "$stamp" &&
        torch_is_as_asked; then return; fi
    if [ -e "$OURS" ] || [ -z "$present" ]; then # ours, or no environment at all
        find_python
        create_venv
    else
        supported "$present" ||
            fail ".venv is Python $present, and this project needs one of $SUPPORTED" \
                "remove it (rm -rf .venv) and run make setup again"
        [ "$wanted" = "$present" ] ||
            fail ".venv is Python $present, and PYTHON=$PYTHON is $wanted" \
                "remove it (rm -rf .venv), or leave PYTHON out"
    fi
    install_lock .venv/bin/python "$stamp"
    printf '%s' "${TORCH:-}" >.venv/torch-build # not every index marks its CPU builds
}

use_conda() {
    create="conda env create -f environment.yml && conda activate $NAME"
    [ -n "${CONDA_PREFIX:-}" ] ||
        fail "ENV=conda, but no conda environment is activated" "$create; or leave ENV=conda out"
    [ ! -d "$CONDA_PREFIX/condabin" ] ||
        fail "the activated conda environment is base, which belongs to conda itself" "$create"
    python=$CONDA_PREFIX/bin/python
    supported "$(version "$python")" ||
        fail "$CONDA_PREFIX has Python '$(version "$python")', and this project needs one of $SUPPORTED" \
            "conda env update -f environment.yml --prune; or make another: $create"
    stamp=$CONDA_PREFIX/$NAME-$LOCK
    cmp -s "$LOCK" "$stamp" || install_lock "$python" "$stamp"
}

# Two makes at once (in two terminals): the second waits for the first and finds its work done.
if command -v flock >/dev/null; then
    exec 9<"$LOCK"
    flock --timeout 2 9 || { echo "Waiting for another make setup"; flock 9; }
fi
case "${TORCH:-}" in
    "" | cpu | pypi) ;;
    *) fail "TORCH=$TORCH is neither cpu nor pypi" "make setup TORCH=cpu, or make setup TORCH=pypi" ;;
esac
case "${ENV:-venv}" in
    venv) use_venv ;;
    conda) use_conda ;;
    *) fail "ENV=$ENV is neither venv nor conda" "make setup ENV=venv, or make setup ENV=conda" ;;
esac
