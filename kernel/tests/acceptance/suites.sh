#!/usr/bin/env bash
# Test suites that no one here wrote, as the first program: pjdfstest and fsx, as cargo installs them, over a firmware tar and a disk. Of
# pjdfstest, every test that passes on Linux's overlayfs over the same tree must pass; fsx must find what it wrote. Needs root.
#
# usage: suites.sh [PATTERN…]      tests of pjdfstest
#   STRATA_OPS    operations of fsx: 2000
source "$(dirname "$0")/common.sh"
need mkfs.ext4 e2fsprogs
[[ -x /bin/busybox ]] && ! ldd /bin/busybox >/dev/null 2>&1 || need /bin/busybox busybox-static
(($(id -u) == 0)) && unshare -m true 2>/dev/null || skip 'mounting needs root'

# judge NAME: where the program of a crate is, installed by cargo if it is not there.
judge() {
  local found
  found=$(command -v "$1" || echo "${CARGO_HOME:-$HOME/.cargo}/bin/$1")
  if [[ ! -x $found ]]; then
    printf '%s: %s is missing; installing it: cargo install %s\n' "$(basename "$0")" "$1" "$1" >&2
    cargo install --quiet "$1" >&2 || fail 'that failed'
  fi
  printf '%s' "$found"
}
pjdfstest=$(judge pjdfstest) fsx=$(judge fsx)

# ---- the firmware: the programs, with the libraries that they are linked to ----
lower=$work/lower
mkdir -p "$lower"/{bin,dev,proc,etc,tests}
mkdir -m 1777 "$lower/tmp"
for program in "$pjdfstest" "$fsx" "$(command -v sleep)"; do
  cp -L "$program" "$lower/bin/"
  ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$lower$(dirname "$library")"
    cp -L "$library" "$lower$library"
  done
done
cp /bin/busybox "$lower/bin/"
ln -s busybox "$lower/bin/which"
printf 'root:x:0:0:root:/:/bin/sh\ndaemon:x:1:1::/:/bin/sh\nbin:x:2:2::/:/bin/sh\n' > "$lower/etc/passwd"
printf 'root:x:0:\ndaemon:x:1:\nbin:x:2:\n' > "$lower/etc/group"
cat > "$lower/etc/pjdfstest.toml" <<'END'
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.05
[dummy_auth]
entries = [["daemon", "daemon"], ["bin", "bin"]]
END
printf 'flen = 1048576\n[opsize]\nmax = 65536\n[weights]\ntruncate = 5\npunch_hole = 3\nposix_fallocate = 2\ncopy_file_range = 2\n' > "$lower/etc/fsx.toml"
head -c 1000000 /bin/busybox > "$lower/tests/lower"
tar -C "$lower" --format=posix --sort=name --numeric-owner -cf "$work/firmware.tar" .
truncate -s 256M "$work/disk.img" "$work/linux.img"
mkfs.ext4 -q -F "$work/linux.img"
mkdir "$work/disk" "$work/merged"

# tests: one line for each test of pjdfstest.
tests() { tr -d '\r' | sed -E 's/\x1b\[[0-9;]*m//g' | sed -nE 's/^([a-z][^ ]*::[^ ]*) +(ok|skipped|FAILED)$/\1 \2/p' | sort; }

suite=(-c /etc/pjdfstest.toml -s /tmp -p /tests -- "$@")
unshare -m bash -euc '
  work=$1; shift
  mount -o loop "$work/linux.img" "$work/disk"; mkdir "$work/disk/upper" "$work/disk/work"
  mount -t overlay overlay "$work/merged" -o lowerdir="$work/lower",upperdir="$work/disk/upper",workdir="$work/disk/work"
  mount -t tmpfs tmpfs "$work/merged/tmp"
  exec env -i PATH=/bin RUST_BACKTRACE=0 "$(command -v chroot)" "$work/merged" /bin/pjdfstest "$@"' - "$work" "${suite[@]}" \
  </dev/null >"$work/linux.console" 2>&1 || true
tests <"$work/linux.console" >"$work/linux"
on_strata() { guest --firmware "$work/firmware.tar" --disk "$work/disk.img" --memory 256 --append log=error "$@" </dev/null; }
STRATA_TIMEOUT=${STRATA_TIMEOUT:-900} on_strata --init /bin/pjdfstest -- "${suite[@]}" >"$work/console" || true
tests <"$work/console" >"$work/strata"
for name in linux strata; do
  printf '%-7s %4s passed %4s failed %4s skipped\n' "$name" "$(grep -c ' ok$' "$work/$name" || true)" \
    "$(grep -c FAILED "$work/$name" || true)" "$(grep -c skipped "$work/$name" || true)"
done
[[ -s $work/linux ]] || { tail -n 20 "$work/linux.console"; fail 'no test was run'; }
comm -23 <(grep ' ok$' "$work/linux") <(grep ' ok$' "$work/strata") >"$work/lost"
if grep . "$work/lost"; then
  sed -E 's/\x1b\[[0-9;]*m//g' "$work/console" | grep -A 3 FAILED | grep -v EPERM || tail -n 20 "$work/console"
  fail 'these pass on Linux and not here'
fi
for file in /tests/new /tests/lower; do
  STRATA_TIMEOUT=${STRATA_TIMEOUT:-900} on_strata --init /bin/fsx -- -q -f /etc/fsx.toml -N "${STRATA_OPS:-2000}" -S 1 "$file" >"$work/console" || true
  grep -q 'A-OK' "$work/console" || { tail -n 30 "$work/console"; fail "fsx over $file"; }
done
e2fsck -fn "$work/disk.img" >"$work/e2fsck" 2>&1 || { cat "$work/e2fsck" >&2; fail 'e2fsck complains'; }
printf 'suites: all of pjdfstest that passes on Linux passes, fsx found what it wrote; e2fsck clean\n'
