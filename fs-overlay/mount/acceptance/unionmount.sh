#!/usr/bin/env bash
# unionmount-testsuite, a checkout of it as it is, over Linux's overlayfs and over the mount: every subtest that passes there must
# pass here.
#
# usage: unionmount.sh SUITE [OPTION-OF-ITS-run…]     without options: the variants below, one after the other
#   STRATA_MOUNT    the program; built if it is not given
#   STRATA_LAYERS   what lower layers are given to it as: archives (the default) or directories
#   STRATA_TESTS    names of tests, if not all
#
# The suite finds `mount` and `umount` by name. Over ours it finds this script under these names: an overlay is mounted by strata-mount,
# with an image in the work directory as upper layer and, once that upper was made a lower one, with what is in the image as a lower
# layer; e2fsck looks at every image after it was unmounted. Where the suite looks into the upper directory (--verify),
# `system.strata.layer` of the merged tree tells whether the file is there, and a copy of the image where that does not say enough.
set -euo pipefail

# ---------------------------------------------------------------------------------------------- as `mount` and `umount` of the suite

# lower_layer DIRECTORY: what --firmware is to be for it.
lower_layer() {
  local name=${1//\//_} image tar place
  image=$(readlink "$STRATA_STATE/$name.image" || true)
  if [[ ! -e $image ]]; then
    if [[ $STRATA_LAYERS == directories ]]; then
      echo "$1"
      return
    fi
    tar=$STRATA_STATE/$name.$(stat -c %z "$1" | tr -c '[:alnum:]\n' _).tar
    [[ -e $tar ]] || tar --xattrs --xattrs-include='*' --acls --numeric-owner -cf "$tar" -C "$1" .
    echo "$tar"
    return
  fi
  place=$STRATA_STATE/$name.layer
  mkdir -p "$place"
  "$STRATA_REAL_MOUNT" -o loop,ro "$image" "$place"
  if [[ $STRATA_LAYERS == directories ]]; then
    echo "$place/upper"
    return
  fi
  [[ -e $image.tar ]] || tar --xattrs --xattrs-include='*' --acls --numeric-owner -cf "$image.tar" -C "$place/upper" .
  "$STRATA_REAL_UMOUNT" "$place"
  echo "$image.tar"
}

as_mount() {
  local kind='' options='' places=() all=("$@") lowers upper='' work='' passed='' layers=() fresh=''
  while (($#)); do
    case $1 in
      -t) kind=$2; shift 2 ;;
      -o) options+=,$2; shift 2 ;;
      -o*) options+=,${1#-o}; shift ;;
      *) places+=("$1"); shift ;;
    esac
  done
  [[ $kind == overlay || $kind == fuse.* ]] || exec "$STRATA_REAL_MOUNT" "${all[@]}"
  local option list
  IFS=, read -ra list <<<"${options#,}"
  for option in "${list[@]}"; do
    case $option in
      lowerdir=*) IFS=: read -ra lowers <<<"${option#*=}" ;;
      upperdir=*) upper=${option#*=} ;;
      workdir=*) work=${option#*=} ;;
      rw) ;;
      *) passed+=,$option ;;
    esac
  done
  for list in "${lowers[@]}"; do layers+=(--firmware "$(lower_layer "$list")"); done
  local image=$work/changes.img mountpoint=${places[1]}
  if [[ ! -e $image ]]; then
    truncate -s 64M "$image"
    fresh=yes
  fi
  ln -sfn "$image" "$STRATA_STATE/${upper//\//_}.image"
  "$STRATA_MOUNT" "${layers[@]}" --disk "$image" ${passed:+-o "${passed#,}"} "$mountpoint" 2>"$STRATA_STATE/said" || {
    cat "$STRATA_STATE/said" >&2
    exit 32
  }
  # What the suite has put into the upper directory before.
  [[ -z $fresh ]] || cp -a "$upper/." "$mountpoint/"
  printf '%s\n' "$upper" "$mountpoint" "$image" "options: $passed" >"$STRATA_STATE/mounted"
}

as_umount() {
  local place status=0 image
  for place in "$@"; do
    if [[ $(findmnt -n -o FSTYPE --mountpoint "$place" | tail -n 1) != fuse* ]]; then
      "$STRATA_REAL_UMOUNT" "$place" || status=$?
      continue
    fi
    image=$(findmnt -n -o SOURCE --mountpoint "$place" | tail -n 1)
    "$STRATA_MOUNT" --unmount "$place" || { status=$?; continue; }
    e2fsck -fn "$image" >"$STRATA_STATE/e2fsck" 2>&1 || { cat "$STRATA_STATE/e2fsck" >&2; status=1; }
    for place in "$STRATA_STATE"/*.layer; do "$STRATA_REAL_UMOUNT" -l "$place" 2>/dev/null || true; done
  done
  exit "$status"
}

case ${0##*/} in
  mount) as_mount "$@"; exit ;;
  umount) as_umount "$@" ;;
esac

# ------------------------------------------------------------------------------------------------------------------------- the judge

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here root=$here/../../.. suite=$(realpath "${1:?the path of the suite is missing}")
[[ -x $suite/run ]] || { echo "$suite holds no unionmount-testsuite"; exit 2; }
if [[ $EUID != 0 || ! -c /dev/fuse ]]; then
  echo 'SKIPPED: needs root and /dev/fuse'
  exit 77
fi
if [[ -z ${STRATA_IN_NAMESPACE:-} ]]; then
  STRATA_IN_NAMESPACE=1 exec unshare -m --propagation private "$0" "$@"
fi
shift

STRATA_MOUNT=${STRATA_MOUNT:-}
if [[ -z $STRATA_MOUNT ]]; then
  (cd "$root" && cargo build --release -p strata-mount)
  STRATA_MOUNT=${CARGO_TARGET_DIR:-$root/target}/release/strata-mount
fi
work=$(mktemp -d)
STRATA_STATE=$work/state STRATA_LAYERS=${STRATA_LAYERS:-archives}
STRATA_REAL_MOUNT=$(command -v mount) STRATA_REAL_UMOUNT=$(command -v umount)
export STRATA_MOUNT STRATA_STATE STRATA_LAYERS STRATA_REAL_MOUNT STRATA_REAL_UMOUNT
readonly work base=$work/base
finish() {
  cd /
  local place
  while place=$(findmnt -rn -o TARGET | grep -F "$work/" | tail -n 1) && [[ -n $place ]]; do
    umount "$place" 2>/dev/null || umount -l "$place" || break
  done
  rm -rf "$work"
}
trap finish EXIT

mkdir "$work"/{bin,base,python}
# The suite is not root throughout.
chmod 755 "$work"
ln -s "$here/unionmount.sh" "$work/bin/mount"
ln -s "$here/unionmount.sh" "$work/bin/umount"
# The upper layer is in the image: whether a file is in it, the merged tree says. Of a file that has had several names it says no more
# than that its inode is there, and nothing of the blocks under metacopy: for these the image is synced, copied, recovered and looked into.
# Over ours a file is copied up by its first change, on Linux by being opened for one: in between it counts as copied.
cat >"$work/python/sitecustomize.py" <<'END_OF_PYTHON'
import os
import stat
import subprocess
import types

plain = {name: getattr(os, name) for name in ("lstat", "open", "write", "close")}
unwritten = {}
linked = set()


def in_image(image, merged, name):
    place = merged + name
    while len(place) >= len(merged):
        fd = plain["open"](place, os.O_RDONLY)
        os.fsync(fd)
        plain["close"](fd)
        place = os.path.dirname(place)
    copy = image + ".copy"
    subprocess.run(["cp", "--sparse=always", image, copy], check=True)
    subprocess.run(["e2fsck", "-fy", "-E", "journal_only", copy], capture_output=True)
    # Of the blocks, those of data: a block of extended attributes says nothing of a copy.
    told = subprocess.run(["debugfs", "-R", f"blocks /upper{name}", copy], capture_output=True, text=True)
    os.unlink(copy)
    return None if "File not found" in told.stdout + told.stderr else 8 * len(told.stdout.split())


def lstat(path, **options):
    try:
        with open(os.environ["STRATA_STATE"] + "/mounted") as mounted:
            upper, merged, image, passed = mounted.read().splitlines()
    except FileNotFoundError:
        return plain["lstat"](path, **options)
    if not os.fspath(path).startswith(upper + "/"):
        return plain["lstat"](path, **options)
    name = path[len(upper):]
    layer = os.getxattr(merged + name, "system.strata.layer", follow_symlinks=False)
    seen = plain["lstat"](merged + name)
    inode = (seen.st_dev, seen.st_ino)
    if seen.st_nlink > 1 and stat.S_ISREG(seen.st_mode):
        linked.add(inode)
    if inode in unwritten.values():
        return seen
    if layer.startswith(b"lower"):
        raise FileNotFoundError(path)
    if stat.S_ISREG(seen.st_mode) and (inode in linked or "metacopy=on" in passed):
        blocks = in_image(image, merged, name)
        if blocks is None:
            raise FileNotFoundError(path)
        return types.SimpleNamespace(st_mode=seen.st_mode, st_rdev=seen.st_rdev, st_blocks=blocks)
    return seen


def open_file(path, flags, *rest, **options):
    fd = plain["open"](path, flags, *rest, **options)
    if flags & os.O_ACCMODE != os.O_RDONLY:
        seen = os.fstat(fd)
        unwritten[fd] = (seen.st_dev, seen.st_ino)
    return fd


def write(fd, data):
    unwritten.pop(fd, None)
    return plain["write"](fd, data)


def close(fd):
    unwritten.pop(fd, None)
    return plain["close"](fd)


os.lstat, os.open, os.write, os.close = lstat, open_file, write, close
END_OF_PYTHON

# tests OPTION…: the names of the suite's tests, those left out that are not for these options.
tests() {
  local name names=() left_out='rename-exdev'
  [[ " $* " != *' --xdev '* ]] || left_out='rename-dir|rename-empty-dir|rename-pop-dir|rename-move-dir'
  # A link to a file without data copies the data here (docs/overlay.md), and --verify wants none.
  [[ " $* " != *' --meta --verify '* ]] || left_out+='|hard-link|rename-hard-link|rename-mass-5'
  for name in "$suite"/tests/*.py; do
    name=${name##*/}
    names+=("${name%.py}")
  done
  printf '%s\n' ${STRATA_TESTS:-"${names[@]}"} | grep -vxE "$left_out"
}

# results WHERE OPTION…: one line for each subtest that was begun.
results() {
  local where=$1 name status
  shift
  : >"$work/$where.results"
  : >"$work/$where.console"
  for name in $(tests "$@"); do
    rm -rf "$STRATA_STATE"
    mkdir "$STRATA_STATE"
    mount -t tmpfs tmpfs "$base"
    status=ok
    (
      cd "$suite"
      export UNIONMOUNT_BASEDIR=$base PYTHONDONTWRITEBYTECODE=1
      # What is the default on Linux, and not here.
      if [[ " $* " == *' --xdev '* ]]; then export UNIONMOUNT_MNTOPTIONS=redirect_dir=off; fi
      if [[ $where == strata-mount ]]; then export PATH=$work/bin:$PATH PYTHONPATH=$work/python; fi
      ./run "$@" "$name" && ./run --clean-up
    ) >"$work/log" 2>&1 || status=FAILED
    # A test that ends early has failed with the subtest that it had begun.
    awk -v name="$name" -v status="$status" '
      /^\*\*\* ./ { how = $0; sub(/^.*\/run /, "", how) }
      /^TEST / { if (begun) print begun, "ok"; begun = how " " $2 }
      END { print begun ? begun : name, status }' "$work/log" >>"$work/$where.results"
    [[ $status == ok ]] || { echo "$name"; tail -n 12 "$work/log"; } >>"$work/$where.console"
    (
      if [[ $where == strata-mount ]]; then PATH=$work/bin:$PATH; fi
      while read -r place; do
        umount "$place" 2>/dev/null || "$STRATA_REAL_UMOUNT" -l "$place"
      done < <(findmnt -rn -o TARGET | grep -F "$base" | tac)
    )
  done
  sort -o "$work/$where.results" "$work/$where.results"
  printf '%-14s %4d passed %4d failed   %s\n' "$where" "$(grep -c ' ok$' "$work/$where.results" || true)" \
    "$(grep -c FAILED "$work/$where.results" || true)" "$*"
}

differ=0
variant() {
  results overlayfs "$@"
  results strata-mount "$@"
  comm -12 <(grep FAILED "$work/overlayfs.results") <(grep FAILED "$work/strata-mount.results") | sed 's/^/fails on Linux as well: /'
  grep -q ' ok$' "$work/overlayfs.results" || { echo 'no subtest passed on Linux: nothing was judged'; exit 1; }
  if comm -23 <(grep ' ok$' "$work/overlayfs.results") <(grep ' ok$' "$work/strata-mount.results") | grep .; then
    echo 'these pass on Linux and not here:'
    cat "$work/strata-mount.console"
    differ=1
  fi
}

if (($#)); then
  variant "$@"
else
  variant --ov --samefs
  variant --ov --samefs --ts=1
  variant --ov --samefs --xdev
  variant --ov --samefs --verify
  variant --ov --samefs --meta
  variant --ov --samefs --meta --verify
  variant --ov --maxfs=1 --xino --verify
  variant --ov=3 --samefs --verify
  variant --ov=3 --samefs --meta
  variant --ov=3 --samefs --meta --verify
  variant --ov=3 --maxfs=2 --xino --verify
  variant --ovov --samefs --xino
fi
((!differ)) || exit 1
echo 'all that pass on Linux pass here; e2fsck clean'
