#!/usr/bin/env bash
# Boots a kernel image in QEMU; `cargo run` calls it as cargo's runner. See --help.
# A file that is no PVH kernel (cargo hands over test programs too) is executed as it is.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly debug_exit=0x501
# What the kernel tells the debug-exit port arrives as twice that plus one.
readonly passed=33 failed=35 crashed=37

usage() {
  cat <<'HELP'
usage: cargo run [--release] -- [OPTIONS] [-- ARGUMENTS OF THE FIRST PROGRAM]
       ./qemu-run.sh KERNEL [OPTIONS] [-- ARGUMENTS]

what is booted
  --firmware FILE.tar   read-only layer; repeatable, topmost first (default: the demonstration firmware)
  --disk FILE           image that keeps the changes (default: a blank one of 512 MiB under target/)
  --ram-upper           keep changes in memory only; no disk is attached
  --read-only           no changes at all; no disk is attached
  --failsafe            the firmware alone, whatever else is given
  --init PATH           the first program (default: the firmware's)
  --append "WORDS"      more kernel parameters
  --suite GLOB          run the suites that match instead, print `N passed, N failed`, exit with 0 or 1
  --scratch             one more blank disk of 64 MiB that the suites may write to (--suite has one already)

the machine
  --machine NAME        microvm (default: the fastest to start), q35 or pc
  --memory MIB          default 256
  --accel NAME          tcg (default) or kvm
  --cpu NAME            default max, with kvm host
  --qemu-arg ARGUMENT   one more argument for QEMU; repeatable

other
  --boot-times          boot microvm and q35 (or --machine) five times and print how long it took
  --dry-run             print QEMU's command line
  --help                this text

From a terminal, Ctrl-A X ends the emulator. From a pipe, the end of the input is the end of the session.
HELP
}

die() {
  printf 'qemu-run.sh: %s\n' "$1" >&2
  exit 2
}

# is_pvh_kernel FILE: whether it is a 64-bit ELF file with Xen's note of a 32-bit entry point.
is_pvh_kernel() {
  local bytes offset size at end
  bytes=$(od -An -v -tx1 -N 4096 -- "$1" | tr -d ' \n')
  [[ $bytes == 7f454c4602* ]] || return 1
  at=$(little_endian "$bytes" 32 8)
  end=$((at + 56 * $(little_endian "$bytes" 56 2)))
  for ((; at < end && at + 56 <= 4096; at += 56)); do
    (($(little_endian "$bytes" "$at" 4) == 4)) || continue
    offset=$(little_endian "$bytes" $((at + 8)) 8)
    size=$(little_endian "$bytes" $((at + 32)) 8)
    # Name of four bytes, type 18, "Xen".
    if od -An -v -tx1 -j "$offset" -N "$size" -- "$1" | tr -d ' \n' | grep -q '04000000........1200000058656e00'; then
      return 0
    fi
  done
  return 1
}

# little_endian HEX OFFSET LENGTH: the number at a byte offset of a string of hexadecimal digits.
little_endian() {
  local digits='' index
  for ((index = $2 + $3 - 1; index >= $2; index--)); do
    digits+=${1:index * 2:2}
  done
  echo $((16#${digits:-0}))
}

# need PROGRAM: makes sure that it is there, by the system's package manager if that is allowed.
need() {
  command -v "$1" >/dev/null && return
  local install
  if command -v apt-get >/dev/null; then
    install='apt-get install -y --no-install-recommends qemu-system-x86'
  elif command -v dnf >/dev/null; then
    install='dnf install -y qemu-system-x86-core'
  elif command -v pacman >/dev/null; then
    install='pacman -S --noconfirm qemu-system-x86'
  elif command -v zypper >/dev/null; then
    install='zypper --non-interactive install qemu-x86'
  elif command -v apk >/dev/null; then
    install='apk add qemu-system-x86_64'
  else
    die "$1 is missing: install QEMU for x86_64"
  fi
  local as=''
  if (($(id -u) != 0)); then
    as='sudo '
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
      die "$1 is missing. Install it with: sudo $install"
    fi
  fi
  printf 'qemu-run.sh: %s is missing; installing it: %s%s\n' "$1" "$as" "$install" >&2
  # Package lists may never have been fetched; a failure shows in the installation.
  [[ $install == apt-get* ]] && { ${as}apt-get update -q >&2 || true; }
  $as$install >&2 </dev/null || die "that failed; $1 is needed"
  command -v "$1" >/dev/null || die "$1 is still missing after: $as$install"
}

# ---- options -------------------------------------------------------------------------------------------------------

(($# > 0)) || { usage >&2; exit 2; }
if [[ $1 == --help || $1 == -h ]]; then
  usage
  exit
fi
kernel=$1
shift
[[ -r $kernel ]] || die "$kernel: no such file"
is_pvh_kernel "$kernel" || exec "$kernel" "$@"

firmware=() init_arguments=() extra=() append=''
disk='' upper=disk failsafe='' init='' suite='' scratches=0
machine='' memory=256 accel=tcg cpu='' dry_run='' boot_times=''

while (($# > 0)); do
  option=$1
  shift
  case $option in
    --firmware | --disk | --init | --append | --suite | --machine | --memory | --accel | --cpu | --qemu-arg)
      (($# > 0)) || die "$option needs a value; see --help"
      value=$1
      shift
      ;;
    --*=*) die "$option: write the value as a word of its own: ${option%%=*} ${option#*=}" ;;
  esac
  case $option in
    --firmware)
      [[ -r $value ]] || die "--firmware: cannot read $value"
      firmware+=("$value")
      ;;
    --disk)
      [[ -r $value ]] || die "--disk: cannot read $value (make a blank one with: truncate -s 512M $value)"
      disk=$value
      ;;
    --ram-upper) upper=ram ;;
    --read-only) upper=ro ;;
    --failsafe) failsafe=yes ;;
    --init)
      [[ $value == /* ]] || die "--init takes an absolute path of the booted system, not $value"
      init=$value
      ;;
    --append) append+=" $value" ;;
    --suite)
      [[ -n $value ]] || die "--suite takes a pattern such as 'overlay*'"
      suite=$value
      ;;
    --scratch) scratches=$((scratches + 1)) ;;
    --machine)
      [[ $value =~ ^(pc|q35|microvm)$ ]] || die "--machine takes pc, q35 or microvm, not $value"
      machine=$value
      ;;
    --memory)
      [[ $value =~ ^[1-9][0-9]*$ ]] || die "--memory takes a number of MiB, not $value"
      memory=$value
      ;;
    --accel) accel=$value ;;
    --cpu) cpu=$value ;;
    --qemu-arg) extra+=("$value") ;;
    --boot-times) boot_times=yes ;;
    --dry-run) dry_run=yes ;;
    --help | -h)
      usage
      exit
      ;;
    --)
      init_arguments=("$@")
      break
      ;;
    *) die "unknown option $option; see --help" ;;
  esac
done

# ---- what is booted ------------------------------------------------------------------------------------------------

state=$(cd "$(dirname "$kernel")/.." && pwd)
work=''
feeder=''
finish() {
  [[ -z $feeder ]] || kill "$feeder" 2>/dev/null || true
  [[ -z $work ]] || rm -rf "$work"
}
trap finish EXIT
workspace() {
  [[ -n $work ]] || work=$(mktemp -d "${TMPDIR:-/tmp}/strata.XXXXXX")
}

# The demonstration firmware is made when it is missing or older than anything that it is made of; its maker knows.
make_firmware() {
  local maker=$root/kernel/user/mkfirmware.sh tar=$state/firmware.tar
  [[ -x $maker ]] || return 0
  CARGO_TARGET_DIR=$state "$maker" "$tar" >&2 || die "could not make the demonstration firmware ($maker)"
  firmware=("$tar")
}
# Suites bring what they need.
((${#firmware[@]} > 0)) || [[ -n $suite || (-n $dry_run && ! -f $state/firmware.tar) ]] || make_firmware

# All archives go into one initrd, each padded to whole blocks; the kernel splits it where an archive ends.
initrd=''
if ((${#firmware[@]} == 1)); then
  initrd=${firmware[0]}
elif ((${#firmware[@]} > 1)); then
  workspace
  initrd=$work/initrd
  for archive in "${firmware[@]}"; do
    cat -- "$archive"
    truncated=$(($(stat -L -c %s -- "$archive") % 512))
    ((truncated == 0)) || head -c $((512 - truncated)) /dev/zero
    # An archive without its end mark gets one.
    head -c 1024 /dev/zero
  done >"$initrd"
fi

quote() {
  case $1 in
    *\"*) die "a double quote cannot be passed to the kernel: $1" ;;
    '' | *[[:space:]]*) printf '"%s"' "$1" ;;
    *) printf '%s' "$1" ;;
  esac
}

parameters="debug-exit=$debug_exit"
[[ $upper == disk ]] || parameters+=" overlay=$upper"
[[ -z $failsafe ]] || parameters+=' failsafe'
[[ -z $init ]] || parameters+=" init=$(quote "$init")"
[[ -z $suite ]] || parameters+=" suite=$(quote "$suite")"
parameters+=$append
if ((${#init_arguments[@]} > 0)); then
  parameters+=' --'
  for argument in "${init_arguments[@]}"; do
    parameters+=" $(quote "$argument")"
  done
fi

if [[ -z $suite && $upper == disk && -z $failsafe && -z $disk ]]; then
  disk=$state/disk.img
  [[ -f $disk || -n $dry_run ]] || truncate -s 512M "$disk"
fi

# ---- QEMU's command line -------------------------------------------------------------------------------------------

[[ -n $cpu ]] || { [[ $accel == tcg ]] && cpu=max || cpu=host; }

# add_disk FILE SERIAL [MORE OF -drive]
add_disk() {
  local id=disk$((disks++))
  command+=(-drive "if=none,id=$id,format=raw,file=${1//,/,,}${3:-}")
  if [[ $current == microvm ]]; then
    command+=(-device "virtio-blk-device,drive=$id${2:+,serial=$2}")
  else
    command+=(-device "virtio-blk-pci,disable-legacy=on,drive=$id${2:+,serial=$2}")
  fi
}

# compose MACHINE: sets `command`.
compose() {
  current=$1
  disks=0
  case $current in
    microvm) command=(qemu-system-x86_64 -machine "microvm,accel=$accel,acpi=on,rtc=on" -global virtio-mmio.force-legacy=false) ;;
    *) command=(qemu-system-x86_64 -machine "$current,accel=$accel") ;;
  esac
  command+=(-cpu "$cpu" -m "$memory" -smp 1 -nodefaults -no-user-config -display none)
  command+=(-device "isa-debug-exit,iobase=$debug_exit,iosize=4")
  command+=(-kernel "$kernel" -append "$parameters")
  [[ -z $initrd ]] || command+=(-initrd "$initrd")
  if [[ -n $disk && $upper == disk && -z $failsafe ]]; then
    local rights=''
    [[ -w $disk ]] || rights=,readonly=on
    add_disk "$disk" '' ",discard=unmap$rights"
  fi
  local scratch
  for ((scratch = 0; scratch < scratches; scratch++)); do
    add_disk "$work/scratch$scratch" strata-scratch ,discard=unmap
  done
  [[ -z $suite ]] || add_disk "$work/read-only" strata-readonly ,readonly=on
  command+=("${extra[@]}")
}

if [[ -n $suite ]]; then
  scratches=$((scratches + 1))
  workspace
  # Its sectors begin with their own number, as the drivers' suite knows.
  for ((sector = 0; sector < 64; sector++)); do
    printf '%-512s' "sector $sector"
  done >"$work/read-only"
fi
if ((scratches > 0)); then
  workspace
  for ((scratch = 0; scratch < scratches; scratch++)); do
    truncate -s 64M "$work/scratch$scratch"
  done
fi

compose "${machine:-microvm}"
if [[ -n $dry_run ]]; then
  printf '%q ' "${command[@]}" -serial stdio
  printf '\n'
  exit
fi
need qemu-system-x86_64

# ---- boot times ----------------------------------------------------------------------------------------------------

# time_boot: boots once, and prints the milliseconds from QEMU's start to the shell's prompt, and those that the
# kernel counted from its first instruction until the root was mounted.
time_boot() {
  local started shown output='' character
  started=${EPOCHREALTIME/[.,]/}
  coproc guest { exec "${command[@]}" -serial stdio 2>&1; }
  while IFS= read -r -d '' -N 1 -t 20 -u "${guest[0]}" character; do
    output+=$character
    case $output in
      *$'\n'*'# ' | *$'\n'*'$ ' | *$'\n'*'> ') break ;;
    esac
  done
  shown=${EPOCHREALTIME/[.,]/}
  printf 'poweroff\n' >&"${guest[1]}" || true
  wait "$guest_PID" || true
  case $output in
    *'# ' | *'$ ' | *'> ') ;;
    *) die "no prompt appeared; the guest said: $output" ;;
  esac
  printf '%s %s\n' $(((shown - started) / 1000)) "$(sed -n 's/^\[ *\([0-9.]*\) ms\] root .*/\1/p' <<<"$output" | head -n 1 | grep . || echo '?')"
}

if [[ -n $boot_times ]]; then
  for current in ${machine:-microvm q35}; do
    compose "$current"
    for ((run = 0; run < 5; run++)); do
      time_boot
    done | sort -n | sed -n 3p | while read -r prompt mounted; do
      printf '%-8s QEMU start to prompt %s ms, first instruction to root mounted %s ms (median of 5)\n' "$current" "$prompt" "$mounted"
    done
  done
  exit
fi

# ---- run -----------------------------------------------------------------------------------------------------------

status=0
if [[ -n $suite ]]; then
  "${command[@]}" -no-reboot -serial stdio </dev/null || status=$?
elif [[ -t 0 ]]; then
  # QEMU makes the terminal raw; every key but Ctrl-A goes to the guest.
  "${command[@]}" -chardev stdio,id=console,mux=on,signal=off -serial chardev:console || status=$?
else
  # A serial line has no end of file: end-of-transmission characters stand for it. The first ends a line that was not
  # finished, the second the input; more follow, since the end of a pipe is there for everyone who reads.
  exec {input}< <(
    # In the background, to be ended with this shell: what the guest did not want is for whoever reads next.
    cat <&0 &
    reader=$!
    trap 'kill "$reader" 2>/dev/null; exit' TERM
    wait "$reader"
    printf '\004\004'
    while sleep 0.2; do
      printf '\004'
    done
  )
  feeder=$!
  "${command[@]}" -serial stdio <&"$input" || status=$?
fi

case $status in
  0) [[ -z $suite ]] || die 'the guest stopped without a result' ;;
  "$passed") status=0 ;;
  "$failed") status=1 ;;
  "$crashed") printf 'qemu-run.sh: the kernel failed\n' >&2 && status=3 ;;
  *) printf 'qemu-run.sh: QEMU ended with status %s\n' "$status" >&2 ;;
esac
exit "$status"
