#!/usr/bin/env bash
# Makes the demonstration firmware: the project's own programs and the tree in rootfs/, as a reproducible tar archive.
# Does nothing when OUTPUT.tar is newer than everything it is made of.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
readonly here root
readonly programs=(strata treesum hello)
# The time of every entry, so that the same sources give the same archive: 2026-01-01, or what the packager says.
readonly mtime=${SOURCE_DATE_EPOCH:-1767225600}

die() {
  printf 'mkfirmware.sh: %s\n' "$1" >&2
  exit 1
}

if (($# != 1)) || [[ $1 == -* ]]; then
  printf 'usage: kernel/user/mkfirmware.sh OUTPUT.tar\n' >&2
  exit 2
fi
mkdir -p -- "$(dirname -- "$1")" || die "cannot make the directory of $1"
output=$(cd "$(dirname -- "$1")" && pwd)/$(basename -- "$1")
[[ ! -d $output ]] || die "$output is a directory"

# up_to_date: whether nothing that the archive is made of is newer than it.
up_to_date() {
  [[ -f $output ]] || return 1
  local newer
  newer=$(find "$here" "$root"/{Cargo.toml,Cargo.lock,rust-toolchain.toml} -newer "$output" -print -quit) || return 1
  [[ -z $newer ]]
}

if up_to_date; then
  exit 0
fi

command -v cargo >/dev/null || die 'cargo is missing: install Rust (https://rustup.rs)'
command -v tar >/dev/null && tar --version 2>/dev/null | grep -q 'GNU tar' || die 'GNU tar is missing: apt-get install tar'

work=$(mktemp -d -- "$output.XXXXXX") || die "cannot write beside $output"
trap 'rm -rf -- "$work"' EXIT
# What changes while this runs is newer than the stamp, and so than the archive.
touch -- "$work/stamp"

target=${CARGO_TARGET_DIR:-$root/target}
[[ $target == /* ]] || target=$PWD/$target
arguments=()
for program in "${programs[@]}"; do
  arguments+=(--package "$program")
done
# Cargo resolves a relative target directory against its own working directory, which is the workspace here.
(cd "$root" && CARGO_TARGET_DIR=$target cargo build --quiet --profile firmware "${arguments[@]}") ||
  die 'the programs of the firmware could not be built (see above)'

tree=$work/tree
umask 022
mkdir -- "$tree"
cp -R -- "$here/rootfs/." "$tree/"
mkdir -p -- "$tree"/{bin,dev,mnt,proc,root,run,sys,tmp,usr/bin,usr/lib,var/{cache,lib,log,tmp}}
for program in "${programs[@]}"; do
  built=$target/firmware/$program
  [[ -f $built ]] || die "cargo did not make $built"
  cp -- "$built" "$tree/bin/$program"
done
ln -s bin "$tree/sbin"
ln -s bin/strata "$tree/init"
ln -s ../bin/strata "$tree/usr/bin/strata"
ln -s ../usr/share/doc/strata "$tree/root/doc"

# Modes are set, not taken over: a checkout has those of its user's umask.
find "$tree" -type d -exec chmod 755 {} +
find "$tree" -type f -exec chmod 644 {} +
chmod 755 "$tree"/bin/*
chmod 700 "$tree/root"
chmod 555 "$tree/proc" "$tree/sys"
chmod 1777 "$tree/tmp" "$tree/var/tmp"

tar --create --file="$work/archive" --directory="$tree" --format=posix --sort=name --numeric-owner --owner=0 --group=0 \
  --mtime="@$mtime" --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' . ||
  die "tar could not write $output"
touch --reference="$work/stamp" -- "$work/archive"
mv -f -- "$work/archive" "$output"
