# Shared by the acceptance scripts: sourced, not run. Sets `root`, `kernel` and the scratch folder `work`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$1" >&2
  exit 1
}

skip() {
  printf 'SKIPPED %s: %s\n' "$(basename "$0")" "$1" >&2
  exit 77
}

# need PROGRAM PACKAGE: makes sure that a host program is there, installing Debian's package where that is allowed.
need() {
  command -v "$1" >/dev/null && return
  local install="apt-get install -y --no-install-recommends $2"
  if (($(id -u) == 0)) && command -v apt-get >/dev/null; then
    printf '%s: %s is missing; installing it: %s\n' "$(basename "$0")" "$1" "$install" >&2
    { apt-get update -q && $install; } >/dev/null </dev/null || fail "that failed; $1 is needed"
  else
    fail "$1 is missing. Install it with: sudo $install"
  fi
}

# The kernel to test: $STRATA_KERNEL, or a release build.
if [[ -n ${STRATA_KERNEL:-} ]]; then
  kernel=$STRATA_KERNEL
else
  (cd "$root" && cargo build --release --quiet --package kernel)
  kernel=$target/release/kernel
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# guest OPTIONS…: boots the kernel; what its console says, without carriage returns.
guest() {
  timeout "${STRATA_TIMEOUT:-300}" "$root/qemu-run.sh" "$kernel" "$@" | tr -d '\r'
}

# between FIRST LAST: the lines of standard input between two marker lines, without them and the shell's prompts.
between() {
  sed -n "/^$1\$/,/^$2\$/p" | sed '1d;$d' | sed '/^strata:/d'
}
