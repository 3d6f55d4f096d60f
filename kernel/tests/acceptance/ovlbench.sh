#!/usr/bin/env bash
# Runs an overlay benchmark program in the guest, from a firmware tar over ext4 on virtio-blk.
# usage: ovlbench.sh PROGRAM [MACHINE] [-- more options of qemu-run.sh]
#   PROGRAM is a static binary with the calls `prepare DIR`, `upper DIR` and `run DIR -t MS`.
source "$(dirname "$0")/common.sh"
need mkfs.ext4 e2fsprogs
(($# > 0)) || fail 'usage: ovlbench.sh PROGRAM [MACHINE] [-- OPTIONS]'
program=$1 machine=${2:-pc}
shift $(($# < 2 ? $# : 2))
[[ ${1:-} != -- ]] || shift

# The disk in memory: what is measured is the system, not the host's disk.
[[ ! -d /dev/shm ]] || { rm -rf "$work"; work=$(mktemp -d -p /dev/shm); }
mkdir -p "$work/lower"/{bin,dev,proc,tmp}
"$program" prepare "$work/lower"
cp "$program" "$work/lower/bin/ovlbench"
tar --format=ustar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1700000000 -C "$work/lower" -cf "$work/lower.tar" .
rm -rf "$work/lower"
truncate -s 512M "$work/disk.img"
mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$work/disk.img"
bench() {
  guest --firmware "$work/lower.tar" --disk "$work/disk.img" --machine "$machine" --cpu qemu64 --memory 512 \
    --init /bin/ovlbench "${options[@]}" -- "$@" </dev/null
}
options=("$@")
bench upper / >&2
STRATA_TIMEOUT=${STRATA_TIMEOUT:-600} bench run / -t 400 | tee "$work/out"
grep -q '^DONE' "$work/out" || fail 'the benchmark did not reach its end'
e2fsck -fn "$work/disk.img" >"$work/e2fsck" 2>&1 || { cat "$work/e2fsck" >&2; fail 'e2fsck complains'; }
