#!/usr/bin/env bash
# Power cuts and failing disks under the release kernel, at length: QEMU killed 200 times under load, the log of a long run
# (QEMU's blklogwrites) cut at every flush and between, requests answered with errors (blkdebug). `cargo test` has the short form.
# usage: power.sh [words that choose among the tests of kernel/tests/power]
source "$(dirname "$0")/common.sh"
need e2fsck e2fsprogs

STRATA_KERNEL=$(realpath "$kernel")
export STRATA_KERNEL
export STRATA_KILLS=${STRATA_KILLS:-200} STRATA_STEPS=${STRATA_STEPS:-2000} STRATA_CUTS=${STRATA_CUTS:-4000}
cd "$root"
cargo test --quiet --package kernel --test power -- --nocapture --test-threads 1 "$@"
