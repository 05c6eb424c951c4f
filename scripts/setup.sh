# Sourced by quickstart.sh and test.sh: is everything there to build with? Installs what is missing where that is
# allowed and possible, else says what to install. Run from the root of the sources.

# What is looked for, how, and the Debian package that has it.
needed_to_build='
command  cc          gcc
command  meson       meson
command  ninja       ninja-build
command  pkg-config  pkg-config
library  jansson     libjansson-dev
library  openblas    libopenblas-openmp-dev
library  libpcre2-8  libpcre2-dev
library  libutf8proc libutf8proc-dev
library  libcrypto   libssl-dev
header   omp.h       gcc
header   stdio.h     libc6-dev
'
needed_to_test='
command  c++         g++
library  criterion   libcriterion-dev
library  mpi-c       libopenmpi-dev
command  mpirun      openmpi-bin
'
# For tests that are skipped without: a Slurm of their own, network namespaces as nodes, and what reads the scripts.
needed_to_test_clusters='
command  slurmctld   slurmctld
command  slurmd      slurmd
command  srun        slurm-client
command  munged      munge
command  ip          iproute2
command  shellcheck  shellcheck
'
oldest_meson=1.0.1

compiles_with() { echo "#include <$1>" | cc -fopenmp -fsyntax-only -x c - 2>/dev/null; }

# The packages of the list $1 whose thing is not there, each once.
missing_packages() {
    echo "$1" | while read -r kind name package; do
        case $kind in
        command) command -v "$name" >/dev/null ;;
        library) command -v pkg-config >/dev/null && pkg-config --exists "$name" ;;
        header) command -v cc >/dev/null && compiles_with "$name" ;;
        esac || echo "$package"
    done | sort -u | xargs
}

# setup LIST: returns when everything is there, else exits with a sentence.
setup() {
    local missing install
    missing=$(missing_packages "$1")
    if [ -n "$missing" ] && ! command -v apt-get >/dev/null; then
        echo "Missing (by their names in Debian): $missing"
        echo "Install them with this system's package manager, then run this again."
        exit 1
    fi
    install="apt-get update && apt-get install -y --no-install-recommends $missing"
    if [ -n "$missing" ] && [ "$(id -u)" != 0 ]; then
        echo "Missing: $missing"
        echo "An administrator installs them with one command; then run this again:"
        echo
        echo "    $install"
        exit 1
    fi
    if [ -n "$missing" ]; then
        echo "Installing $missing ..."
        if ! DEBIAN_FRONTEND=noninteractive bash -c "$install" >setup.log 2>&1 </dev/null; then
            tail -n 20 setup.log
            echo "The installation failed; its whole output is in setup.log. The command was:"
            echo "    $install"
            exit 1
        fi
        rm -f setup.log
        missing=$(missing_packages "$1")
        if [ -n "$missing" ]; then
            echo "Installed, and yet not found: $missing"
            exit 1
        fi
    fi
    if [ "$(printf '%s\n' "$oldest_meson" "$(meson --version)" | sort -V | head -n 1)" != "$oldest_meson" ]; then
        echo "meson $(meson --version) is too old: $oldest_meson or newer is needed (for example: pipx install meson)"
        exit 1
    fi
}

# build FOLDER [option...]: configures once, then builds what changed. Prints only what went wrong.
build() {
    local folder=$1 log
    shift
    log=$(mktemp)
    if { [ -f "$folder/build.ninja" ] || meson setup "$folder" "$@"; } >"$log" 2>&1 </dev/null &&
        ninja -C "$folder" >>"$log" 2>&1 </dev/null; then
        rm -f "$log"
        return 0
    fi
    grep -E 'error|ERROR|FAILED|undefined' "$log" | head -n 40
    tail -n 20 "$log"
    rm -f "$log"
    return 1
}
