#!/usr/bin/env bash
# Debian's static busybox as the first program, one applet a boot, over a firmware tar: the same output as under Linux's overlayfs
# over the same tree. Needs root for the mounts.
source "$(dirname "$0")/common.sh"
[[ -x /bin/busybox ]] && ! ldd /bin/busybox >/dev/null 2>&1 || need /bin/busybox busybox-static
need mkfs.ext4 e2fsprogs
(($(id -u) == 0)) && unshare -m true 2>/dev/null || skip 'mounting needs root'

# ---- the firmware ----
lower=$work/lower
mkdir -p "$lower"/{bin,dev,proc,tmp,etc,data/tree/{a/b/c,empty},data/odd}
cp /bin/busybox "$lower/bin/"
for applet in $(/bin/busybox --list); do
  [[ -e $lower/bin/$applet ]] || ln -s busybox "$lower/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\nowner:x:1000:1000::/:/bin/sh\n' > "$lower/etc/passwd"
printf 'root:x:0:\nowners:x:1000:\n' > "$lower/etc/group"
seq 1 20000 > "$lower/data/numbers"
head -c 3000000 /bin/busybox > "$lower/data/binary" || true
/bin/busybox --help > "$lower/data/text" 2>&1 || true
for i in 1 2 3; do echo "file $i" > "$lower/data/tree/a/file$i"; echo "$i" > "$lower/data/tree/a/b/c/deep$i"; done
ln "$lower/data/tree/a/file1" "$lower/data/tree/a/b/hard"
ln -s ../a/file2 "$lower/data/tree/empty-link"
ln -s nowhere "$lower/data/odd/dangling"
printf x > "$lower/data/odd/name with  spaces"
mkfifo "$lower/data/odd/fifo"
mknod "$lower/data/odd/null" c 1 3
truncate -s 1M "$lower/data/odd/sparse"
chmod 4755 "$lower/data/odd/sparse"; chmod 1777 "$lower/tmp"
chown -R 1000:1000 "$lower/data/tree/a/b"
find "$lower" -exec touch -h -d '2024-05-06 07:08:09.123456789 UTC' {} +
tar -C "$lower" --format=posix --sort=name --numeric-owner -cf "$work/inner.tar" data/tree
mv "$work/inner.tar" "$lower/data/archive.tar"
touch -d '2024-05-06 07:08:10 UTC' "$lower/data/archive.tar" "$lower/data"
tar -C "$lower" --format=posix --sort=name --numeric-owner --xattrs -cf "$work/firmware.tar" .

truncate -s 128M "$work/disk.img" "$work/linux.img"
mkfs.ext4 -q -F "$work/linux.img"
mkdir "$work/disk" "$work/merged"

on_linux() {
  unshare -m bash -euc '
    work=$1; shift
    mount -o loop "$work/linux.img" "$work/disk"; mkdir -p "$work/disk/upper" "$work/disk/work"
    mount -t overlay overlay "$work/merged" \
      -o lowerdir="$work/lower",upperdir="$work/disk/upper",workdir="$work/disk/work",redirect_dir=on
    mount -t proc proc "$work/merged/proc"; mount -t tmpfs tmpfs "$work/merged/tmp"
    TZ=UTC exec env -i PATH=/bin TERM=linux HOME=/ "$(command -v chroot)" "$work/merged" /bin/busybox "$@"' - "$work" "$@" 2>&1 </dev/null && echo 'status 0' || echo "status $?"
}

on_strata() {
  guest --firmware "$work/firmware.tar" --disk "$work/disk.img" --init /bin/busybox --append log=error -- "$@" </dev/null |
    sed -E -e '/^\[ *[0-9.]+ ms\] /d' -e 's/^error: the first program ended with (status [0-9]+)$/\1/' > "$work/console" || true
  cat "$work/console"
  grep -q '^status ' "$work/console" || echo 'status 0'
}

# compare_unordered APPLET…: for output in the order of directories, which is each filesystem's own.
compare_unordered() { order=sort compare "$@"; }

# What filesystems rightly answer differently: the size and blocks of directories, and sums of blocks.
normal() {
  sed -E -e '/^total [0-9]+$/d' -e 's/^(d[rwxstST-]{9} +[0-9]+ +[^ ]+ +[^ ]+) +[0-9]+ /\1 - /'
}

count=0 different=0
compare() {
  on_linux "$@" | normal | ${order:-cat} > "$work/expected" || true
  on_strata "$@" | normal | ${order:-cat} > "$work/seen" || true
  if ! diff -au "$work/expected" "$work/seen" >&2; then
    printf 'DIFFERENT: busybox %s (- Linux, + Strata)\n' "$*" >&2
    different=$((different + 1))
    return
  fi
  count=$((count + 1))
  [[ -z ${STRATA_VERBOSE:-} ]] || printf 'same: busybox %s (%s lines)\n' "$*" "$(wc -l < "$work/seen")"
}

compare ls -lR --full-time /data /etc
compare ls -l /bin
compare stat -c '%n %A %u:%g %h %s %F %Y' /data/tree/a/file1 /data/odd/null /data/odd/fifo /data/odd/dangling
compare stat -c '%n %A %u:%g %h %F %Y' /data/tree /etc
compare_unordered find /data -newer /etc -o -name 'deep*'
compare_unordered find / -xdev -type l -maxdepth 3
compare md5sum /data/binary /data/numbers /data/odd/sparse /bin/busybox
compare sha256sum /data/binary /data/archive.tar
compare wc /data/numbers /data/text /data/binary
compare tar tvf /data/archive.tar
compare dd if=/data/binary of=/data/copy bs=65536 status=none
compare md5sum /data/copy
compare dd if=/data/numbers of=/data/copy bs=1000 seek=7 count=3 conv=notrunc status=none
compare md5sum /data/copy
compare cp -a /data/tree /data/tree2
compare ls -laR --full-time /data/tree2
compare mv /data/tree /data/moved
compare_unordered find /data/moved /data/tree2
compare mv /data/moved/a/file3 /data/odd/fifo
compare ls -l --full-time /data/odd
compare rm -r /data/moved/a/b
compare mkdir -p /data/moved/a/b/new/deep
compare ls -1R /data/moved
compare ln /data/numbers /data/numbers2
compare ln -s /data/numbers /data/odd/symbolic
compare chmod -R 700 /data/odd
compare chown -R 1000:0 /data/odd
compare touch -h -d "2023-01-02 03:04:05" /data/odd /data/numbers /data/odd/symbolic
compare ls -l --full-time /data/odd /data/numbers /data/numbers2
compare tar xf /data/archive.tar -C /data/odd
compare ls -laR --full-time /data/odd/data
compare tar cf /data/made.tar -C /data/odd data
compare_unordered tar tf /data/made.tar
compare gzip -k /data/numbers
compare gunzip -c /data/numbers.gz
compare sed -i 's/1/one/g' /data/text
compare cat /data/text
compare sort -rn -o /data/sorted /data/numbers
compare tail -3 /data/sorted
compare_unordered grep -rn 'file 2' /data/moved /data/tree2
compare_unordered diff -r /data/moved /data/tree2
compare cmp /data/binary /bin/busybox
compare od -A d -t x1 -N 64 /data/binary
compare truncate -s 12345 /data/sorted
compare wc -c /data/sorted
compare rm /bin/ls /data/numbers
compare ls -l /etc /data/odd
compare awk 'BEGIN { for (i = 0; i < 5; i++) print i, i * i } { n += $1 } END { print n }' /data/numbers2
compare sha1sum /data/numbers2 /data/sorted
compare readlink -f /data/odd/symbolic
compare rmdir /data/moved/a/b
compare test -e /data/nowhere
compare cat /data/nowhere
compare mkdir /data
e2fsck -fn "$work/disk.img" >"$work/e2fsck" 2>&1 || { cat "$work/e2fsck" >&2; fail 'e2fsck complains'; }
((different == 0)) || fail "$different of $((count + different)) runs differ"
printf 'busybox: %s applet runs gave the same output on Linux and on Strata; e2fsck clean\n' "$count"
