#!/usr/bin/env bash
# The owner's changes survive a reboot, e2fsck calls the disk clean, and Linux's own overlayfs, given the unpacked firmware and
# the disk, shows the same merged tree. Needs root for the mounts.
source "$(dirname "$0")/common.sh"
need e2fsck e2fsprogs
(($(id -u) == 0)) && unshare -m true 2>/dev/null || skip 'mounting needs root'

"$root/kernel/user/mkfirmware.sh" "$work/firmware.tar"
truncate -s 256M "$work/disk.img"
boot() { guest --firmware "$work/firmware.tar" --disk "$work/disk.img" "$@"; }

boot > "$work/first" <<'COMMANDS'
write /etc/motd this appliance has an owner
append /etc/hostname -changed
rm /etc/shells
mv /usr/share/doc /usr/share/handbook
mv /usr/share/handbook/strata/shell /usr/share/shell.txt
mkdir -p /srv/data/deep
write /srv/data/deep/file new
ln /srv/data/deep/file /srv/data/link
ln -s ../data/link /srv/data/symbolic
mkdir /etc/shells
write /etc/shells/inside a directory where a file was
rm -r /usr/share/strata/tour.d
mkdir /usr/share/strata/tour.d
chmod 600 /etc/passwd
chown 7:8 /etc/group
xattr set user.note kept /etc/profile
cp -r /usr/share/strata /srv/copy
mv /srv/data /srv/moved
truncate -s 100000 /srv/moved/sparse
rm /bin/hello
sync
poweroff
COMMANDS
if grep -nE '^(mv|rm|mkdir|ln|chmod|chown|xattr|cp|truncate|write|append): ' "$work/first"; then
  fail 'a command of the first session failed'
fi

boot > "$work/second" <<'COMMANDS'
cd /
echo TREE-BEGIN
run /bin/treesum -lXx .
echo TREE-END
poweroff
COMMANDS
# Where the appliance mounts something of its own, the merged tree cannot be seen.
mounted='^[^ ]* .* \./(dev|proc|tmp)(/.*)?$'
between TREE-BEGIN TREE-END < "$work/second" | grep -vE "$mounted" | grep -v '^#' > "$work/ours"
[[ -s $work/ours ]] || { tail -20 "$work/second" >&2; fail 'the second session printed no tree'; }

e2fsck -fn "$work/disk.img" > "$work/e2fsck" 2>&1 || { cat "$work/e2fsck" >&2; fail 'e2fsck complains'; }

mkdir "$work/disk" "$work/lower" "$work/merged"
tar -xf "$work/firmware.tar" -C "$work/lower" --numeric-owner --same-owner --preserve-permissions --xattrs --xattrs-include='*'
unshare -m bash -euc '
  cd "$0"
  mount -o loop disk.img disk
  mount -t overlay overlay merged -o lowerdir=lower,upperdir=disk/upper,workdir=disk/work,redirect_dir=on
  cd merged
  "$0/lower/bin/treesum" -lXx .
' "$work" | grep -vE "$mounted" | grep -v '^#' > "$work/linux"
e2fsck -fn "$work/disk.img" > "$work/e2fsck" 2>&1 || { cat "$work/e2fsck" >&2; fail 'e2fsck complains after Linux'; }

diff -u "$work/linux" "$work/ours" >&2 || fail 'the two merged trees differ (- Linux, + Strata)'
[[ $(grep -c . "$work/ours") -gt 30 ]] || fail 'the tree is too small to prove anything'

# And back: what Linux did to the layer, the appliance shows.
unshare -m bash -euc '
  cd "$0"
  mount -o loop disk.img disk
  mount -t overlay overlay merged -o lowerdir=lower,upperdir=disk/upper,workdir=disk/work,redirect_dir=on
  cd merged
  echo by Linux > etc/motd; rm etc/hostname; mv usr/share/strata usr/share/moved-by-linux; mkdir etc/hostname
  mv srv/moved srv/again; rm -r usr/share/handbook; chmod 751 etc
  "$0/lower/bin/treesum" -lXx .
' "$work" | grep -vE "$mounted" | grep -v '^#' > "$work/linux"
boot > "$work/third" <<'COMMANDS'
cd /
echo TREE-BEGIN
run /bin/treesum -lXx .
echo TREE-END
poweroff
COMMANDS
between TREE-BEGIN TREE-END < "$work/third" | grep -vE "$mounted" | grep -v '^#' > "$work/ours"
diff -u "$work/linux" "$work/ours" >&2 || fail 'after Linux changed the layer the trees differ (- Linux, + Strata)'
e2fsck -fn "$work/disk.img" > "$work/e2fsck" 2>&1 || { cat "$work/e2fsck" >&2; fail 'e2fsck complains at the end'; }
printf 'interchange: %s entries, the same on Linux and on Strata, both ways; e2fsck clean\n' "$(wc -l < "$work/ours")"
