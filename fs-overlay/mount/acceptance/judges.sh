#!/usr/bin/env bash
# Lets programs that no one here wrote judge the merged tree over strata-mount: the same commands on the mount and on a plain ext4 by
# Linux, compared after each; then fsx, fio, bonnie++ and stress-ng. What is not installed is skipped, and counted.
#
# usage: judges.sh [SOURCE-DIRECTORY…]        the firmware: /etc and some of /usr by default
#   STRATA_MOUNT    the program; built if it is not given
#   STRATA_OPS      operations of fsx: 100000
#   STRATA_SECONDS  of each stressor: 2
#   STRATA_ONLY     one of: trees fsx fio bonnie stress
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here root=$here/../../.. ops=${STRATA_OPS:-100000} seconds=${STRATA_SECONDS:-2}

if [[ $EUID != 0 || ! -c /dev/fuse ]]; then
  echo 'SKIPPED: needs root and /dev/fuse'
  exit 0
fi
if [[ -z ${STRATA_IN_NAMESPACE:-} ]]; then
  STRATA_IN_NAMESPACE=1 exec unshare -m --propagation private "$0" "$@"
fi

program=${STRATA_MOUNT:-}
if [[ -z $program ]]; then
  (cd "$root" && cargo build --release -p strata-mount) || exit 1
  program=${CARGO_TARGET_DIR:-$root/target}/release/strata-mount
fi
(($#)) || set -- /etc /usr/share/doc /usr/lib/python3 /usr/sbin
work=$(mktemp -d)
passed=0 failed=0 skipped=0

finish() {
  cd /
  umount -l "$work/plain" 2>/dev/null
  "$program" --unmount "$work/ours" 2>/dev/null || umount -l "$work/ours" 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT

pass() { passed=$((passed + 1)); echo "ok      $*"; }
fail() { failed=$((failed + 1)); echo "FAILED  $*"; }
skip() { skipped=$((skipped + 1)); echo "SKIPPED $*"; }
wanted() { [[ -z ${STRATA_ONLY:-} || $STRATA_ONLY == "$1" ]]; }
has() { command -v "$1" >/dev/null || { skip "$1 is not installed"; return 1; }; }

# judge WHAT COMMAND…: the command must succeed.
judge() {
  local what=$1
  shift
  if "$@" >"$work/log" 2>&1; then pass "$what"; else
    fail "$what"
    tail -n 15 "$work/log"
  fi
}

mount_ours() { "$program" --firmware "$work/firmware.tar" --disk "$work/ours.img" "$work/ours"; }

mkdir "$work"/{ours,plain}
echo "firmware: $*"
tar --xattrs --acls -cf "$work/firmware.tar" -C / "${@#/}" 2>/dev/null
truncate -s 3G "$work/ours.img" "$work/plain.img"
mkfs.ext4 -q -F "$work/plain.img" && mount -o loop "$work/plain.img" "$work/plain" || exit 1
rmdir "$work/plain/lost+found"
tar --xattrs --acls -xpf "$work/firmware.tar" -C "$work/plain"
chmod --reference=/ "$work/plain"
mount_ours || exit 1

# same WHAT: both trees are the same, by rsync and by find. What is made twice is made at two times: up to $window seconds apart.
same() {
  local list='%P %y %m %U:%G %s %n %T@ %l\n'
  if [[ -n $(rsync -aHAXniO --modify-window="${window:-60}" --checksum --delete --exclude=/.git "$work/ours/" "$work/plain/" 2>&1 | tee "$work/log") ]]; then
    fail "$1: rsync finds differences"
    head -n 10 "$work/log"
    return
  fi
  # Sizes and links of directories are each filesystem's own.
  listing() { (cd "$1" && find . -mindepth 1 -not -path './.git*' \( -type d -printf '%P %y %m %U:%G\n' -o -printf "${2/ %T@/}" \) | sort); }
  if diff <(listing "$work/ours" "$list") <(listing "$work/plain" "$list") >"$work/log"; then pass "$1"; else
    fail "$1: find finds differences"
    head -n 10 "$work/log"
  fi
}

# both WHAT SCRIPT: the same shell script in both trees, with the same result.
both() {
  local a b
  (cd "$work/ours" && bash -c "$2") >"$work/a" 2>&1
  a=$?
  (cd "$work/plain" && bash -c "$2") >"$work/b" 2>&1
  b=$?
  if [[ $a != "$b" ]]; then
    fail "$1: $a here, $b on ext4"
    diff "$work/a" "$work/b" | head -n 10
  fi
  same "$1"
}

trees() {
  window=-1 same 'the firmware as it is'
  both 'cp -a' 'cp -a etc copy'
  both 'tar' 'mkdir tarred && tar --xattrs --acls -cf - etc | tar --xattrs --acls -xpf - -C tarred'
  if has rsync; then both 'rsync -aHAX' 'rsync -aHAX --checksum etc/ synced/ && rsync -aHAX --checksum --delete copy/ synced/'; fi
  both 'directory renames' 'mv etc moved && mkdir etc && mv moved etc/inside && mv etc/inside/* etc/ && rmdir etc/inside'
  both 'owner and mode of everything' 'chown -R --no-dereference 12:34 copy && chmod -R u=rwX,g=rX,o= copy && touch -d 2001-02-03T04:05:06.789 copy/*'
  both 'hard links' 'cp -al copy linked && echo more >> "$(find copy -type f | sort | head -n 1)"'
  both 'sed -i' 'find etc -maxdepth 1 -type f -exec sed -i "s/a/b/" {} +'
  both 'access lists' 'setfacl -m u:1234:rw,g:55:r etc/passwd && setfacl -d -m u:7:rwx copy && mkdir copy/new && echo x > copy/new/file'
  both 'rm -rf' 'rm -rf synced tarred/etc/* etc/a* etc/s*'
  if has git; then
    both 'git' 'export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z; git -c init.defaultBranch=m init -q . &&
      git add -f copy && git -c user.name=n -c user.email=e@x commit -qm one && git rm -rqf copy && git checkout -q HEAD -- copy && git gc -q && git fsck --strict &&
      git status --porcelain copy && find .git -type f -exec chmod u+w {} +; touch -d 2001-02-03 copy; find copy -exec touch -h -d 2001-02-03 {} +'
  fi
  if has dpkg-deb; then
    for version in 1 2; do
      mkdir -p "$work/deb/DEBIAN" "$work/deb/opt/judge/v$version"
      printf 'Package: judge\nVersion: %s\nArchitecture: all\nMaintainer: none\nDescription: none\n' $version >"$work/deb/DEBIAN/control"
      cp /etc/passwd "$work/deb/opt/judge/data$version"
      dpkg-deb --root-owner-group -b "$work/deb" "$work/judge$version.deb" >/dev/null
      rm -rf "$work/deb"
    done
    local admin='mkdir -p var/lib/dpkg/{info,updates,triggers} && touch var/lib/dpkg/status'
    both 'dpkg --root' "$admin && for version in 1 2; do dpkg --root=\$PWD --force-script-chrootless --log=/dev/null -i $work/judge\$version.deb; done && dpkg --root=\$PWD --log=/dev/null --verify judge &&
      find var opt -exec touch -h -d 2001-02-03 {} +"
  fi
  "$program" --unmount "$work/ours"
  judge 'e2fsck' e2fsck -fn "$work/ours.img"
  mount_ours
  same 'all of it after a remount'
}

exercise() {
  # A file that is in the firmware: the largest of it.
  local file
  file=$(find "$work/ours" -type f -not -path '*/.git/*' -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
  local fsx
  fsx=$(command -v fsx || echo "${CARGO_HOME:-$HOME/.cargo}/bin/fsx")
  if [[ ! -x $fsx ]]; then
    skip 'fsx is not installed: cargo install fsx'
    return
  fi
  printf 'flen = 1048576\n[opsize]\nmax = 65536\n[weights]\ntruncate = 5\npunch_hole = 3\nposix_fallocate = 2\ncopy_file_range = 2\n' >"$work/fsx.toml"
  judge "fsx, $ops operations" "$fsx" -q -f "$work/fsx.toml" -N "$ops" -S 1 "$work/ours/fsx"
  judge "fsx over a file of the firmware, $ops operations" "$fsx" -q -f "$work/fsx.toml" -N "$ops" -S 2 "$file"
}

verify() {
  has fio || return
  # It leaves files where it runs.
  cd "$work" || return
  local engine
  for engine in psync mmap libaio; do
    judge "fio verify, $engine" fio --name=v --directory="$work/ours" --ioengine=$engine --rw=randrw --bs=4k-64k --size=64M --verify=crc32c \
      --do_verify=1 --verify_fatal=1 --numjobs=2 --group_reporting --minimal --fallocate=none
    rm -f "$work"/ours/v.*
  done
}

bonnie() {
  has bonnie++ || return
  # Without its writes of single bytes: each is a request here.
  mkdir -p "$work/ours/bonnie"
  judge 'bonnie++' bonnie++ -u root -d "$work/ours/bonnie" -f -s 256M -r 128M -n 4:4096:0:8 -q
}

stress() {
  has stress-ng || return
  mkdir -p "$work/ours/stress"
  local stressor
  for stressor in access chattr chdir chmod chown copy-file dentry dir dirdeep dirmany dup fallocate fcntl fiemap file-ioctl filename \
    flock fpunch fstat getdent handle hdd iomix lease link locka lockf lockofd mknod open readahead rename revio seek sendfile \
    symlink sync-file utime xattr; do
    stress-ng --temp-path "$work/ours/stress" --"$stressor" 2 --timeout "${seconds}s" --verify >"$work/log" 2>&1
    case $? in
      0) pass "stress-ng $stressor" ;;
      3 | 4) skip "stress-ng $stressor: it cannot run here" ;;
      *) fail "stress-ng $stressor" && tail -n 8 "$work/log" ;;
    esac
  done
}

wanted trees && trees
wanted fsx && exercise
wanted fio && verify
wanted bonnie && bonnie
wanted stress && stress
"$program" --unmount "$work/ours"
judge 'e2fsck at the end' e2fsck -fn "$work/ours.img"
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
