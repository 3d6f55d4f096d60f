#!/usr/bin/env bash
# What the disk is asked for by the same work on the merged tree, in the guest and in Debian's Linux with its own overlayfs over ext4, in
# the same QEMU: requests, flushes and bytes of each row, as QEMU counts them. The work is done by Debian's static busybox.
# usage: requests.sh [MACHINE]      needs apt for Linux's kernel
source "$(dirname "$0")/common.sh"
[[ -x /bin/busybox ]] && ! ldd /bin/busybox >/dev/null 2>&1 || need /bin/busybox busybox-static
need mkfs.ext4 e2fsprogs
need cpio cpio
need dpkg dpkg
machine=${1:-pc}

# The images in memory: how long the host's disk takes changes what is committed by time.
[[ ! -d /dev/shm ]] || { rm -rf "$work"; work=$(mktemp -d -p /dev/shm); }

# ---- the work: the same script in both guests ----------------------------------------------------------------------

lower=$work/lower
mkdir -p "$lower"/{bin,dev,proc,tmp,small,large,gone,mode}
cp /bin/busybox "$lower/bin/"
for number in $(seq 1 100); do
  head -c 4096 /dev/urandom >"$lower/small/$number"
  cp "$lower/small/$number" "$lower/gone/$number"
  cp "$lower/small/$number" "$lower/mode/$number"
done
for number in $(seq 1 10); do head -c 1048576 /dev/urandom >"$lower/large/$number"; done
head -c 100 /bin/busybox >"$lower/hundred"
cat >"$lower/rows" <<'ROWS'
b=/bin/busybox
cd "$1"
# row NAME: all before is durable; the host reads its counters and answers.
row() { $b sync; echo "ROW $1"; read -r answer; }
row start
i=0; while [ $i -lt 100 ]; do $b dd if=small/1 of=created$i bs=4k conv=fsync 2>/dev/null; i=$((i+1)); done
row '100 times: create, write 4 KiB, fsync'
i=0; while [ $i -lt 100 ]; do $b dd if=hundred of=log oflag=append conv=notrunc,fsync 2>/dev/null; i=$((i+1)); done
row '100 times: append 100 bytes, fsync'
$b dd if=/dev/zero of=file bs=64k count=512 conv=fsync 2>/dev/null
row 'write 32 MiB, fsync'
$b dd if=/dev/zero of=file bs=64k count=512 conv=notrunc,fsync 2>/dev/null
row 'write over 32 MiB, fsync'
i=0; while [ $i -lt 1000 ]; do : >empty$i; i=$((i+1)); done
row 'create 1,000 files, sync'
i=0; while [ $i -lt 100 ]; do $b mv empty$i renamed$i; i=$((i+1)); done
row 'rename 100 files, sync'
$b rm empty* renamed*
row 'unlink 1,000 files, sync'
i=0; while [ $i -lt 100 ]; do $b mkdir made; $b rmdir made; i=$((i+1)); done
row 'mkdir and rmdir 100 times, sync'
i=0; while [ $i -lt 100 ]; do $b ln -s target link$i; i=$((i+1)); done
row 'make 100 symbolic links, sync'
i=1; while [ $i -le 100 ]; do echo >>small/$i; i=$((i+1)); done
row 'copy up 100 files of 4 KiB, sync'
i=1; while [ $i -le 10 ]; do echo >>large/$i; i=$((i+1)); done
row 'copy up 10 files of 1 MiB, sync'
$b rm gone/*
row 'unlink 100 lower files, sync'
$b rmdir gone 2>/dev/null; $b mkdir -p gone; i=1; while [ $i -le 100 ]; do : >gone/$i; i=$((i+1)); done
row 'create 100 files where those were, sync'
$b chmod 600 mode/*
row 'chmod of 100 lower files, sync'
echo 'ROWS-END'
ROWS
tar --format=ustar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1700000000 -C "$lower" -cf "$work/lower.tar" .

# ---- Linux ---------------------------------------------------------------------------------------------------------

modules=(virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk crc16 mbcache jbd2 crc32c_generic ext4 overlay)
linux_guest() {
  local package module file
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
  [[ -n $package ]] || skip 'no kernel of Debian to be had: run apt-get update'
  (cd "$work" && apt-get download -q "$package" &>/dev/null && dpkg -x "$package"_*.deb linux) || skip 'no kernel of Debian to be had'
  mkdir -p "$work/initrd"/{bin,dev,mod,proc,up,mnt}
  cp /bin/busybox "$work/initrd/bin/"
  cp -r "$lower" "$work/initrd/lower"
  for module in "${modules[@]}"; do
    file=$(find "$work/linux" -name "$module.ko" | head -n 1)
    [[ -z $file ]] || cp "$file" "$work/initrd/mod/"
  done
  {
    printf '#!/bin/busybox sh\nb=/bin/busybox\n$b mount -t proc proc /proc; $b mount -t devtmpfs devtmpfs /dev\n'
    printf '$b insmod /mod/%s.ko 2>/dev/null\n' "${modules[@]}"
    printf 'while [ ! -b /dev/vda ]; do $b usleep 10000; done\n'
    printf '$b mount -t ext4 /dev/vda /up; $b mkdir -p /up/upper /up/work\n'
    printf '$b mount -t overlay overlay -o lowerdir=/lower,upperdir=/up/upper,workdir=/up/work,redirect_dir=on /mnt\n'
    printf '$b stty -echo; $b sh /lower/rows /mnt; cd /; $b umount /mnt; $b umount /up; $b poweroff -f\n'
  } >"$work/initrd/init"
  chmod +x "$work/initrd/init"
  (cd "$work/initrd" && find . | LC_ALL=C sort | cpio -o -H newc --quiet) >"$work/initrd.cpio"
}

# ---- asking QEMU ---------------------------------------------------------------------------------------------------

# counted NAME COMMAND…: runs a guest whose QEMU answers on the pipes $work/qmp; writes "ROW<tab>requests<tab>flushes<tab>bytes".
counted() {
  local name=$1 line reply='' before=(0 0 0) now row
  shift
  rm -f "$work/qmp.in" "$work/qmp.out"
  mkfifo "$work/qmp.in" "$work/qmp.out"
  : >"$work/$name.rows"
  coproc GUEST { exec timeout 300 "$@" 2>&1; }
  local from=${GUEST[0]} to=${GUEST[1]} pid=$GUEST_PID
  exec 8<>"$work/qmp.in" 9<>"$work/qmp.out"
  read -r -t 60 line <&9 || fail "$name: QEMU does not answer"
  echo '{"execute":"qmp_capabilities"}' >&8
  read -r line <&9
  while IFS= read -r -u "$from" line; do
    line=${line%$'\r'}
    case $line in
      *'ROWS-END'*) break ;;
      *'ROW '*) ;;
      *) printf '%s\n' "$line" >>"$work/$name.console"; continue ;;
    esac
    row=${line#*ROW }
    echo '{"execute":"query-blockstats"}' >&8
    while read -r -t 60 reply <&9 && [[ $reply != *'"return"'* ]]; do :; done
    now=()
    for field in wr_operations flush_operations wr_bytes; do
      # Of the drive and of the file below it, one counts.
      now+=("$(grep -o "\"$field\": [0-9]*" <<<"$reply" | grep -o '[0-9]*$' | sort -n | tail -n 1)")
    done
    [[ $row == start ]] ||
      printf '%s\t%d\t%d\t%d\n' "$row" $((now[0] - before[0])) $((now[1] - before[1])) $((now[2] - before[2])) >>"$work/$name.rows"
    before=("${now[@]}")
    echo >&"$to"
  done
  exec 8>&- 9<&-
  wait "$pid" 2>/dev/null || true
  ((before[1] > 100)) && [[ -s $work/$name.rows ]] || { tail -n 20 "$work/$name.console" >&2; fail "nothing was counted in $name"; }
}

fresh() {
  rm -f "$work/disk.img"
  truncate -s 512M "$work/disk.img"
  mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$work/disk.img"
}

linux_guest
fresh
counted linux qemu-system-x86_64 -machine "$machine,accel=tcg" -cpu qemu64 -m 512 -smp 1 -nodefaults -no-user-config -display none \
  -serial stdio -no-reboot -qmp "pipe:$work/qmp" -kernel "$(ls "$work"/linux/boot/vmlinuz-*)" -initrd "$work/initrd.cpio" \
  -append 'console=ttyS0 quiet panic=-1 no_timer_check mitigations=off' \
  -drive "if=virtio,format=raw,cache=writeback,file=$work/disk.img"
fresh
counted strata "$root/qemu-run.sh" "$kernel" --firmware "$work/lower.tar" --disk "$work/disk.img" --machine "$machine" --cpu qemu64 \
  --memory 512 --init /bin/busybox --qemu-arg -qmp --qemu-arg "pipe:$work/qmp" -- sh /rows /
e2fsck -fn "$work/disk.img" >"$work/e2fsck" 2>&1 || { cat "$work/e2fsck" >&2; fail 'e2fsck complains'; }

printf '| row | requests | flushes | bytes | Linux: requests | flushes | bytes |\n|---|---|---|---|---|---|---|\n'
paste "$work/strata.rows" "$work/linux.rows" | awk -F '\t' '
  $1 != $5 { print "the rows differ: " $1 ", " $5; exit 1 }
  { printf "| %s | %d | %d | %d | %d | %d | %d |\n", $1, $2, $3, $4, $6, $7, $8
    more = more ($2 > $6 ? ", requests of \"" $1 "\"" : "") ($3 > $7 ? ", flushes of \"" $1 "\"" : "") ($4 > $8 ? ", bytes of \"" $1 "\"" : "") }
  END { print (more == "" ? "nowhere more than Linux" : "more than Linux: " substr(more, 3)) }'
