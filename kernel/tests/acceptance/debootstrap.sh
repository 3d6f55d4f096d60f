#!/usr/bin/env bash
# A whole Debian root (debootstrap's minimal variant, about 200 MB) as firmware: every file walked and summed in the guest as on the host.
# usage: debootstrap.sh [ROOT]   an existing root folder; made with debootstrap if none is given
source "$(dirname "$0")/common.sh"
(($(id -u) == 0)) || skip 'debootstrap needs root'

debian=${1:-}
if [[ -z $debian ]]; then
  need debootstrap debootstrap
  debian=$work/debian
  debootstrap --variant=minbase bookworm "$debian" >"$work/log" 2>&1 || { tail "$work/log" >&2; fail 'debootstrap failed'; }
fi
"$root/kernel/user/mkfirmware.sh" "$work/demo.tar"
mkdir -p "$work/tool/.strata" "$work/demo"
tar -xf "$work/demo.tar" -C "$work/demo"
cp "$work/demo/bin/treesum" "$work/tool/.strata/"
touch -d @1700000000 "$work/tool"
tar -C "$work/tool" --owner=0 --group=0 --mtime=@1700000000 -cf "$work/tool.tar" .
tar -C "$debian" --format=posix --xattrs --xattrs-include='*' --numeric-owner -cf "$work/debian.tar" .

STRATA_TIMEOUT=${STRATA_TIMEOUT:-900} guest --firmware "$work/tool.tar" --firmware "$work/debian.tar" --ram-upper --memory 768 --append log=info \
  --init /.strata/treesum -- -lXx . </dev/null > "$work/console"
grep -E '^[fdlpscb] |^# |^  xattr' "$work/console" > "$work/ours" || { tail -20 "$work/console" >&2; fail 'no tree was printed'; }
mkdir "$work/unpacked"
tar -xf "$work/debian.tar" -C "$work/unpacked" --numeric-owner --same-owner -p --xattrs --xattrs-include='*'
tar -xf "$work/tool.tar" -C "$work/unpacked" --numeric-owner --same-owner -p
(cd "$work/unpacked" && .strata/treesum -lXx .) > "$work/expected"
# Mounted over in the guest.
mounted='^[^ ]* .* \./(dev|proc|tmp)(/.*)?$'
for side in ours expected; do
  grep -vE "$mounted" "$work/$side" | grep -v '^#' > "$work/$side.tree"
done
diff -u "$work/expected.tree" "$work/ours.tree" | head -40 >&2 || true
cmp -s "$work/expected.tree" "$work/ours.tree" || fail 'the trees differ (- host, + Strata)'
grep -iE 'firmware|ms\]' "$work/console" | head -20
printf 'debootstrap: %s entries, every one the same in the guest as on the host\n' "$(wc -l < "$work/ours.tree")"
