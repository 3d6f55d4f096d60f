#!/usr/bin/env bash
# Whether the kernel, built for release and stripped, keeps within a megabyte; and what it is made of, the largest crates first.
# A release build takes minutes, so this is no part of `cargo test`. STRATA_KERNEL names an image that is built already.
source "$(dirname "$0")/common.sh"
need strip binutils
readonly limit=1048576

strip -o "$work/kernel" "$kernel"
size=$(stat -c %s "$work/kernel")

printf 'code and constants by crate, in bytes:\n'
# The first crate that a symbol's name has tells whose it is; generic code counts for the crate that wrote it.
nm --print-size --radix=d --demangle "$kernel" | awk '
  $3 !~ /[bB]/ && NF > 3 {
    name = $4
    for (field = 5; field <= NF; field++) name = name " " $field
    gsub(/^[<&*]*(dyn |mut |impl )*/, "", name)
    crate = match(name, /^[a-z_0-9]+::/) ? substr(name, 1, RLENGTH - 2) : "(others)"
    bytes[crate] += $2
  }
  END { for (crate in bytes) print bytes[crate], crate }' | sort -rn | head -n 12 | sed 's/^/  /'

printf 'the stripped kernel has %d bytes, %d below the limit\n' "$size" $((limit - size))
((size <= limit)) || fail "that is more than $limit bytes"
