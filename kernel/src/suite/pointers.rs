//! Bad pointers, at every argument that is one: `EFAULT`, and nothing else happens.

use alloc::vec::Vec;

use super::TestResult;
use crate::init::kernel_context;
use crate::syscall;
use crate::task;
use crate::user::UserBytes;
use crate::{ensure, test};

const EFAULT: i64 = -14;

/// An argument.
#[derive(Clone, Copy)]
enum Arg {
    /// A number.
    Is(u64),
    /// A path; in the good case that of a file.
    Path,
    /// A place that is read.
    In,
    /// A place that is written.
    Out,
}

use Arg::{In, Is, Out, Path};

const AT_FDCWD: Arg = Is(-100_i64 as u64);

/// Calls, with what makes them reach their pointers.
#[rustfmt::skip]
const CALLS: &[(u64, &[Arg])] = &[
    (0, &[Is(3), Out, Is(16)]), (1, &[Is(3), In, Is(16)]), (2, &[Path, Is(0), Is(0)]), (4, &[Path, Out]),
    (5, &[Is(3), Out]), (6, &[Path, Out]), (7, &[In, Is(1), Is(0)]), (13, &[Is(10), In, Is(0), Is(8)]),
    (13, &[Is(10), Is(0), Out, Is(8)]), (14, &[Is(0), In, Is(0), Is(8)]), (14, &[Is(0), Is(0), Out, Is(8)]),
    (16, &[Is(3), Is(0x8008_6601), Out]), (16, &[Is(3), Is(0x4008_6602), In]), (16, &[Is(3), Is(0x801c_581f), Out]),
    (16, &[Is(3), Is(0x401c_5820), In]), (17, &[Is(3), Out, Is(16), Is(0)]), (18, &[Is(3), In, Is(16), Is(0)]), (19, &[Is(3), In, Is(2)]),
    (20, &[Is(3), In, Is(2)]), (21, &[Path, Is(0)]), (22, &[Out]), (35, &[In, Is(0)]), (40, &[Is(3), Is(3), In, Is(1)]),
    (63, &[Out]), (72, &[Is(3), Is(6), In]), (72, &[Is(3), Is(5), In]), (76, &[Path, Is(0)]), (79, &[Out, Is(4096)]),
    (80, &[Path]), (82, &[Path, Path]), (83, &[Path, Is(0)]), (84, &[Path]), (85, &[Path, Is(0)]), (86, &[Path, Path]),
    (87, &[Path]), (88, &[Path, Path]), (89, &[Path, Is(0), Is(16)]), (90, &[Path, Is(0o644)]),
    (92, &[Path, Is(0), Is(0)]), (94, &[Path, Is(0), Is(0)]), (96, &[Out, Is(0)]), (97, &[Is(7), Out]),
    (98, &[Is(0), Out]), (99, &[Out]), (100, &[Out]), (116, &[Is(1), In]), (118, &[Out, Out, Out]),
    (120, &[Out, Out, Out]), (125, &[In, Is(0)]), (126, &[In, Is(0)]), (127, &[Out, Is(8)]), (131, &[In, Is(0)]),
    (131, &[Is(0), Out]), (132, &[Path, In]), (133, &[Path, Is(0o100_644), Is(0)]), (137, &[Path, Out]),
    (138, &[Is(3), Out]), (157, &[Is(15), In]), (157, &[Is(16), Out]), (158, &[Is(0x1003), Out]), (161, &[Path]),
    (165, &[Path, Path, Path, Is(0), In]), (166, &[Path, Is(0)]), (170, &[In, Is(4)]),
    (188, &[Path, Path, In, Is(4), Is(0)]), (189, &[Path, Path, In, Is(4), Is(0)]), (190, &[Is(3), Path, In, Is(4), Is(0)]),
    (191, &[Path, Path, Is(0), Is(0)]), (192, &[Path, Path, Is(0), Is(0)]), (193, &[Is(3), Path, Is(0), Is(0)]),
    (194, &[Path, Is(0), Is(0)]), (195, &[Path, Is(0), Is(0)]), (197, &[Path, Path]), (198, &[Path, Path]),
    (199, &[Is(3), Path]), (201, &[Out]), (202, &[In, Is(1), Is(1)]), (203, &[Is(0), Is(8), In]),
    (204, &[Is(0), Is(8), Out]), (217, &[Is(4), Out, Is(512)]), (227, &[Is(0), In]), (228, &[Is(1), Out]),
    (229, &[Is(1), Out]), (230, &[Is(1), Is(0), In, Is(0)]), (235, &[Path, In]), (257, &[AT_FDCWD, Path, Is(0), Is(0)]),
    (258, &[AT_FDCWD, Path, Is(0)]), (259, &[AT_FDCWD, Path, Is(0o100_644), Is(0)]),
    (260, &[AT_FDCWD, Path, Is(0), Is(0), Is(0)]), (261, &[AT_FDCWD, Path, In]), (262, &[AT_FDCWD, Path, Out, Is(0)]),
    (263, &[AT_FDCWD, Path, Is(0)]), (264, &[AT_FDCWD, Path, AT_FDCWD, Path]),
    (265, &[AT_FDCWD, Path, AT_FDCWD, Path, Is(0)]), (266, &[Path, AT_FDCWD, Path]),
    (267, &[AT_FDCWD, Path, Is(0), Is(16)]), (268, &[AT_FDCWD, Path, Is(0o644)]), (269, &[AT_FDCWD, Path, Is(0)]),
    (271, &[In, Is(1), In]), (274, &[Is(0), Out, Out]), (280, &[AT_FDCWD, Path, In, Is(0)]), (293, &[Out, Is(0)]),
    (295, &[Is(3), In, Is(1), Is(0)]), (296, &[Is(3), In, Is(1), Is(0)]), (302, &[Is(0), Is(7), In, Is(0)]),
    (302, &[Is(0), Is(7), Is(0), Out]), (309, &[Out, Out]), (316, &[AT_FDCWD, Path, AT_FDCWD, Path, Is(0)]),
    (318, &[Out, Is(16), Is(0)]), (326, &[Is(3), In, Is(3), In, Is(1), Is(0)]),
    (327, &[Is(3), In, Is(1), Is(0), Is(0), Is(0)]), (328, &[Is(3), In, Is(1), Is(0), Is(0), Is(0)]),
    (332, &[AT_FDCWD, Path, Is(0), Is(0x7ff), Out]), (437, &[AT_FDCWD, Path, In, Is(24)]),
    (439, &[AT_FDCWD, Path, Is(0), Is(0)]), (452, &[AT_FDCWD, Path, Is(0o644), Is(0)]),
    (59, &[Path, In, In]), (322, &[AT_FDCWD, Path, In, In, Is(0)]), (78, &[Is(4), Out, Is(512)]),
    (160, &[Is(7), In]), (164, &[In, Is(0)]), (23, &[Is(8), In, In, In, In]), (270, &[Is(8), In, In, In, In]),
];

/// Addresses that no program may use, or that this one does not have.
const BAD: &[u64] = &[
    8,
    0x1234_5000,
    0x7fff_ffff_effc,
    0x7fff_ffff_fff0,
    0x8000_0000_0000_0000,
    0xffff_8000_0010_0000,
    0xffff_ffff_8020_0000,
    0xffff_ffff_ffff_fff0,
];

/// Makes a call; for suites that act as a program.
pub(super) fn call(number: u64, arguments: &[u64]) -> i64 {
    let mut registers = [0; 6];
    registers[..arguments.len()].copy_from_slice(arguments);
    syscall::call(number, registers)
}

/// Three pages: one with a path at its beginning, one of zeros, one that can only be read.
struct Memory {
    path: u64,
    zeros: u64,
    read_only: u64,
}

const PAGE: u64 = 4096;

/// Maps `pages` pages that can be read and written.
pub(super) fn map(pages: u64) -> u64 {
    call(9, &[0, pages * PAGE, 3, 0x22, u64::MAX, 0]) as u64
}

/// Puts bytes at an address of the program that the suite acts as.
pub(super) fn put(address: u64, bytes: &[u8]) -> TestResult {
    UserBytes::whole(address, bytes.len()).write(bytes)?;
    Ok(())
}

/// Takes bytes from there.
pub(super) fn get(address: u64, length: usize) -> Result<Vec<u8>, super::Failure> {
    let mut bytes = alloc::vec![0; length];
    UserBytes::whole(address, length).read(&mut bytes)?;
    Ok(bytes)
}

fn prepare() -> Result<Memory, super::Failure> {
    let path = map(3);
    let memory = Memory { path, zeros: path + PAGE, read_only: path + 2 * PAGE };
    put(path, b"/suite/file\0")?;
    call(
        83,
        &[
            {
                put(memory.zeros, b"/suite\0")?;
                memory.zeros
            },
            0o755,
        ],
    );
    // Descriptor 3: a file open to read and write. Descriptor 4: a directory.
    for fd in 0..3 {
        ensure!(call(2, &[path, 0o102, 0o644]) == fd, "descriptor {fd}");
    }
    ensure!(call(2, &[path, 0o102, 0o644]) == 3);
    ensure!(call(2, &[memory.zeros, 0o200_000, 0]) == 4);
    put(memory.zeros, &[0; 16])?;
    ensure!(call(1, &[3, path, 12]) == 12 && call(8, &[3, 0, 0]) == 0);
    ensure!(call(10, &[memory.read_only, PAGE, 1]) == 0);
    Ok(memory)
}

fn check(number: u64, arguments: &[Arg], memory: &Memory) -> TestResult {
    let good = |argument: &Arg| match argument {
        Is(value) => *value,
        Path => memory.path,
        In | Out => memory.zeros,
    };
    let name = syscall::name_of(number as usize).unwrap_or("?");
    for (place, argument) in arguments.iter().enumerate() {
        let mut bad: Vec<u64> = match argument {
            Is(_) => continue,
            _ => BAD.to_vec(),
        };
        if matches!(argument, Out) {
            bad.push(memory.read_only);
        }
        for address in bad {
            let mut values: Vec<u64> = arguments.iter().map(good).collect();
            values[place] = address;
            let result = call(number, &values);
            ensure!(result == EFAULT, "{name}: argument {place} at {address:#x}: {result}");
        }
    }
    Ok(())
}

test!(
    "syscalls",
    fn a_bad_pointer_is_efault_at_every_argument_of_every_call() {
        task::run_as_task(kernel_context(), || {
            let memory = prepare()?;
            for (number, arguments) in CALLS {
                check(*number, arguments, &memory)?;
            }
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn a_transfer_stops_where_the_memory_does() {
        task::run_as_task(kernel_context(), || {
            let memory = prepare()?;
            let edge = map(2);
            ensure!(call(11, &[edge + PAGE, PAGE]) == 0);
            let content: Vec<u8> = (0..10_000_u32).map(|index| index as u8).collect();
            let whole = map(3);
            put(whole, &content)?;
            ensure!(call(18, &[3, whole, 10_000, 0]) == 10_000);
            // 100 bytes fit before the hole.
            ensure!(call(17, &[3, edge + PAGE - 100, 10_000, 0]) == 100);
            ensure!(get(edge + PAGE - 100, 100)? == content[..100]);
            ensure!(call(18, &[3, edge + PAGE - 100, 200, 20_000]) == 100);
            // A page that can only be read ends a read, too.
            ensure!(call(17, &[3, memory.read_only - 50, 4096, 0]) == 50);
            // Vectors: what came before the bad segment counts.
            let mut vector = Vec::new();
            for word in [edge, 10, 8, 10] {
                vector.extend(u64::to_le_bytes(word));
            }
            put(memory.zeros, &vector)?;
            ensure!(call(19, &[3, memory.zeros, 2]) == 10);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn lengths_at_the_limits_are_cut_or_refused() {
        task::run_as_task(kernel_context(), || {
            let memory = prepare()?;
            let (path, zeros) = (memory.path, memory.zeros);
            // Whole user space as a buffer: what the file has is read, the rest never looked at.
            let size = call(8, &[3, 0, 2]) as u64;
            ensure!(call(17, &[3, zeros, boot::layout::USER_END - zeros, 0]) == size.min(PAGE) as i64);
            ensure!(call(17, &[3, zeros, u64::MAX, 0]) == EFAULT);
            ensure!(call(17, &[3, zeros, 0, 0]) == 0);
            ensure!(call(17, &[3, zeros, 1, u64::MAX]) == -22);
            ensure!(call(19, &[3, zeros, 1025]) == -22);
            ensure!(call(19, &[3, zeros, 0]) == 0);
            ensure!(call(89, &[path, zeros, 0]) == -22);
            ensure!(call(79, &[zeros, 1]) == -34);
            ensure!(call(7, &[zeros, 2000, 0]) == -22);
            ensure!(call(9, &[0, 0, 3, 0x22, u64::MAX, 0]) == -22);
            ensure!(call(9, &[0, 1 << 47, 3, 0x22, u64::MAX, 0]) == -12);
            ensure!(call(9, &[0x1000, PAGE, 3, 0x32, u64::MAX, 0]) == -1);
            ensure!(call(11, &[zeros + 1, PAGE]) == -22);
            // A path of 4,096 bytes is too long, of 4,095 not.
            let long = map(2);
            put(long, &[b'/'; 4096])?;
            ensure!(call(21, &[long, 0]) == -36);
            put(long + 4095, &[0])?;
            ensure!(call(21, &[long, 0]) == 0);
            // A path that begins before a hole and ends in it.
            ensure!(call(11, &[long + PAGE, PAGE]) == 0);
            put(long, &[b'/'; 4096])?;
            ensure!(call(21, &[long + 4000, 0]) == EFAULT);
            put(long + 4095, &[0])?;
            ensure!(call(21, &[long + 4000, 0]) == 0);
            ensure!(call(21, &[long + 4094, 0]) == 0);
            Ok(())
        })?
    }
);
