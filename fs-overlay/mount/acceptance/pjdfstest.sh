#!/usr/bin/env bash
# pjdfstest, as cargo installs it, on ext4 by Linux, on Linux's overlayfs over it, and on the mount: every test that passes on Linux's
# overlayfs must pass here.
#
# usage: pjdfstest.sh [PATTERN…]
#   STRATA_MOUNT    the program; built if it is not given
#   PJDFSTEST       the judge; installed by cargo if it is not there
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here root=$here/../../..

if [[ $EUID != 0 || ! -c /dev/fuse ]]; then
  echo 'SKIPPED: needs root and /dev/fuse'
  exit 77
fi
if [[ -z ${STRATA_IN_NAMESPACE:-} ]]; then
  STRATA_IN_NAMESPACE=1 exec unshare -m --propagation private "$0" "$@"
fi

program=${STRATA_MOUNT:-}
if [[ -z $program ]]; then
  (cd "$root" && cargo build --release -p strata-mount)
  program=${CARGO_TARGET_DIR:-$root/target}/release/strata-mount
fi
judge=${PJDFSTEST:-$(command -v pjdfstest || echo "${CARGO_HOME:-$HOME/.cargo}/bin/pjdfstest")}
if [[ ! -x $judge ]]; then
  echo 'pjdfstest is missing; installing it: cargo install pjdfstest' >&2
  cargo install --quiet pjdfstest
fi

work=$(mktemp -d)
finish() {
  cd /
  for place in merged ext4 second; do umount -l "$work/$place" 2>/dev/null || true; done
  "$program" --unmount "$work/ours" 2>/dev/null || umount -l "$work/ours" 2>/dev/null || true
  for helper in /sbin/mount.fuse /sbin/mount.fuse3; do umount -l "$helper" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT

mkdir "$work"/{ext4,merged,ours,second,firmware}
# Users and groups that are everywhere on Linux.
cat >"$work/config.toml" <<'END'
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.01
allow_remount = true
[dummy_auth]
entries = [["daemon", "daemon"], ["bin", "bin"]]
END
mount -t tmpfs tmpfs "$work/second"
# mount.fuse(8) takes the name of the image for a program when it is to remount: in this namespace it leaves it to mount(8).
for helper in /sbin/mount.fuse /sbin/mount.fuse3; do
  [[ -e $helper ]] || continue
  printf '#!/bin/sh\nexec mount -i "$@"\n' >"$work/helper"
  chmod 755 "$work/helper"
  mount --bind "$work/helper" "$helper"
done
chmod 755 "$work" "$work/firmware"
truncate -s 1G "$work/linux.img" "$work/ours.img"
mkfs.ext4 -q -F "$work/linux.img"
mount -o loop "$work/linux.img" "$work/ext4"
mkdir "$work"/ext4/{plain,lower,upper,work}
for dir in "$work/ext4/lower" "$work/firmware"; do mkdir -m 755 "$dir/tests"; done
mount -t overlay overlay -o "lowerdir=$work/ext4/lower,upperdir=$work/ext4/upper,workdir=$work/ext4/work" "$work/merged"
tar -cf "$work/firmware.tar" -C "$work/firmware" .
"$program" --firmware "$work/firmware.tar" --disk "$work/ours.img" "$work/ours"

# results NAME DIRECTORY PATTERN…: one line for each test.
results() {
  local name=$1 dir=$2
  shift 2
  (cd "$work" && RUST_BACKTRACE=0 "$judge" -c config.toml -s "$work/second" -p "$dir" -- "$@") >"$work/$name.console" 2>&1 || true
  sed -E 's/\x1b\[[0-9;]*m//g' "$work/$name.console" | sed -nE 's/^([a-z][^ ]*::[^ ]*) +(ok|skipped|FAILED)$/\1 \2/p' | sort >"$work/$name.results"
  printf '%-18s %4s passed %4s failed %4s skipped\n' "$name" "$(grep -c ' ok$' "$work/$name.results" || true)" \
    "$(grep -c FAILED "$work/$name.results" || true)" "$(grep -c skipped "$work/$name.results" || true)"
}

results ext4 "$work/ext4/plain" "$@"
results overlayfs "$work/merged/tests" "$@"
results strata-mount "$work/ours/tests" "$@"
comm -12 <(grep FAILED "$work/ext4.results") <(grep FAILED "$work/overlayfs.results") | sed "s/^/fails on ext4 as well: /"
"$program" --unmount "$work/ours"
e2fsck -fn "$work/ours.img" >"$work/e2fsck" 2>&1 || { cat "$work/e2fsck"; exit 1; }
[[ -s $work/overlayfs.results ]] || { echo 'no test was run'; cat "$work/overlayfs.console"; exit 1; }
if comm -23 <(grep ' ok$' "$work/overlayfs.results") <(grep ' ok$' "$work/strata-mount.results") | grep .; then
  echo 'these pass on Linux and not here:'
  sed -E "s/\x1b\[[0-9;]*m//g" "$work/strata-mount.console" | grep -A 4 FAILED | grep -vw char || true
  exit 1
fi
echo 'all that pass on Linux pass here; e2fsck clean'
