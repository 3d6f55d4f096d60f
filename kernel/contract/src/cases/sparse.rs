//! Holes, and `fallocate(2)`.

use alloc::vec;
use alloc::vec::Vec;

use vfs::AllocateMode;

use super::group;
use crate::dsl::{File, pattern};
use crate::random::Random;
use crate::tree::{file, sparse};
use crate::{Env, Features, Outcome, check, check_eq, check_err};

group! {
    "sparse", Features::WRITE;
    a_hole_takes_no_space + HOLES,
    a_grown_size_is_a_hole + HOLES,
    seeks_find_data_and_holes + HOLES,
    seeks_past_the_end_find_nothing + HOLES,
    seeks_agree_with_the_content,
    a_write_into_a_hole_leaves_the_rest_of_it + HOLES,
    a_file_may_be_sparse_far_out + HOLES,
    holes_are_kept_when_another_part_is_written + HOLES,
    extend_grows_the_file_with_zeros + ALLOCATE,
    extend_keeps_what_is_there + ALLOCATE,
    keep_size_leaves_the_size + ALLOCATE,
    reserved_space_past_the_end_is_used_by_writes + ALLOCATE,
    reserved_space_past_the_end_goes_with_a_cut + ALLOCATE,
    reserved_space_counts_as_used + ALLOCATE,
    punched_bytes_are_zeros + PUNCH_HOLE,
    a_punched_page_gives_its_space_back + PUNCH_HOLE + HOLES,
    a_punch_never_changes_the_size + PUNCH_HOLE,
    a_punch_of_any_range_equals_zeroing_a_buffer + PUNCH_HOLE,
    zeroed_bytes_are_zeros_and_keep_their_space + ZERO_RANGE,
    zero_range_grows_the_file_unless_told_not_to + ZERO_RANGE,
    a_range_past_the_largest_size_is_efbig + ALLOCATE,
    allocation_changes_the_times + ALLOCATE,
}

fn a_hole_takes_no_space(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", "")?;
    f.put(10 << 20, "x")?;
    check_eq!(f.size()?, (10 << 20) + 1);
    check!(f.attr()?.blocks < 1024, "{} blocks of 512 bytes for one byte", f.attr()?.blocks);
    Ok(())
}

fn a_grown_size_is_a_hole(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", "")?;
    f.set_len(1 << 30)?;
    check_eq!((f.size()?, f.attr()?.blocks), (1 << 30, 0));
    check_eq!(f.seek_data(0)?, None);
    check_eq!(f.seek_hole(0)?, Some(0));
    check_eq!(f.get((1 << 30) - 3, 3)?, [0, 0, 0]);
    Ok(())
}

/// 64 KiB of data, 192 KiB of hole, 64 KiB of data, 64 KiB of hole.
fn striped(env: &Env<'_>) -> Outcome<File> {
    const UNIT: u64 = 65_536;
    let data = pattern(0, UNIT as usize);
    let base = env.start(&[sparse(b"f", &[(0, &data), (4 * UNIT, &data)])])?;
    let f = base.open("f")?;
    f.set_len(6 * UNIT)?;
    Ok(f)
}

fn seeks_find_data_and_holes(env: &Env<'_>) -> Outcome {
    let f = striped(env)?;
    check_eq!(f.seek_data(0)?, Some(0));
    check_eq!(f.seek_data(100)?, Some(100));
    check_eq!(f.seek_hole(0)?, Some(65_536));
    check_eq!(f.seek_hole(100_000)?, Some(100_000));
    check_eq!(f.seek_data(65_536)?, Some(262_144));
    check_eq!(f.seek_data(100_000)?, Some(262_144));
    check_eq!(f.seek_hole(262_144)?, Some(327_680));
    check_eq!(f.seek_data(327_680)?, None);
    check_eq!(f.seek_hole(393_215)?, Some(393_215));
    Ok(())
}

fn seeks_past_the_end_find_nothing(env: &Env<'_>) -> Outcome {
    let f = striped(env)?;
    for offset in [393_216, 393_217, 1 << 40, u64::MAX] {
        check_eq!(f.seek_data(offset)?, None, "seek_data({offset})");
        check_eq!(f.seek_hole(offset)?, None, "seek_hole({offset})");
    }
    Ok(())
}

/// Every byte that a seek calls a hole is a zero, and the walk from data to hole reaches the end.
fn check_seeks(f: &File) -> Outcome {
    let content = f.content()?;
    let (mut at, size) = (0, content.len() as u64);
    while at < size {
        let data = f.seek_data(at)?.unwrap_or(size);
        check!((at..=size).contains(&data), "seek_data({at}) gives {data}");
        check!(content[at as usize..data as usize].iter().all(|&b| b == 0), "data in the hole {at}..{data}");
        if data == size {
            break;
        }
        check_eq!(f.seek_data(data)?, Some(data));
        let hole = f.seek_hole(data)?.unwrap_or(0);
        check!(hole > data && hole <= size, "seek_hole({data}) gives {hole}");
        at = hole;
    }
    Ok(())
}

fn seeks_agree_with_the_content(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let mut random = Random::new(5);
    for round in 0..6 {
        let f = base.file(alloc::format!("{round}"), "")?;
        for _ in 0..20 {
            let offset = random.below(2_000_000);
            f.put(offset, pattern(offset, 1 + random.below(20_000) as usize))?;
        }
        f.set_len(random.below(2_500_000))?;
        check_seeks(&f)?;
    }
    Ok(())
}

fn a_write_into_a_hole_leaves_the_rest_of_it(env: &Env<'_>) -> Outcome {
    let f = striped(env)?;
    let before = f.attr()?.blocks;
    f.put(131_072, "in the hole")?;
    check_eq!(f.get(131_072, 12)?, b"in the hole\0");
    check_eq!(f.seek_data(65_536)?, Some(131_072));
    check!(f.attr()?.blocks <= before + 128, "{} blocks after, {before} before", f.attr()?.blocks);
    check_seeks(&f)
}

fn a_file_may_be_sparse_far_out(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", "start")?;
    // Below ext4's limit of 2^32 blocks.
    for shift in [20, 30, 40, 43] {
        f.put(1 << shift, "far")?;
        check_eq!(f.get((1 << shift) - 2, 5)?, b"\0\0far");
    }
    check_eq!(f.size()?, (1 << 43) + 3);
    check_eq!(f.seek_data(1 << 41)?, Some(1 << 43));
    f.set_len(5)?;
    f.holds("start")
}

fn holes_are_kept_when_another_part_is_written(env: &Env<'_>) -> Outcome {
    let data = pattern(0, 4_096);
    let base = env.start(&[sparse(b"f", &[(0, &data), (8 << 20, &data)])])?;
    let f = base.open("f")?;
    // An overlay copies the file up here.
    f.put(100, "changed")?;
    check!(f.attr()?.blocks < 2_048, "{} blocks of 512 bytes for 8 KiB", f.attr()?.blocks);
    check_eq!(f.seek_data(1 << 20)?, Some(8 << 20));
    check_eq!(f.get(8 << 20, 4_096)?, data);
    Ok(())
}

fn extend_grows_the_file_with_zeros(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let f = base.open("f")?;
    f.allocate(AllocateMode::Extend, 0, 50_000)?;
    let mut expected = b"abc".to_vec();
    expected.resize(50_000, 0);
    f.holds(&expected)?;
    f.allocate(AllocateMode::Extend, 100_000, 1)?;
    expected.resize(100_001, 0);
    f.holds(&expected)
}

fn extend_keeps_what_is_there(env: &Env<'_>) -> Outcome {
    let content = pattern(0, 50_000);
    let base = env.start(&[file(b"f", &content)])?;
    let f = base.open("f")?;
    f.allocate(AllocateMode::Extend, 1_000, 20_000)?;
    f.allocate(AllocateMode::KeepSize, 0, 50_000)?;
    f.holds(&content)
}

fn keep_size_leaves_the_size(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let f = base.open("f")?;
    f.allocate(AllocateMode::KeepSize, 0, 200_000)?;
    f.holds("abc")?;
    check_eq!(f.read_at(3, &mut [0; 4])?, 0);
    Ok(())
}

fn reserved_space_past_the_end_is_used_by_writes(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let f = base.open("f")?;
    f.allocate(AllocateMode::KeepSize, 0, 200_000)?;
    f.put(150_000, "later")?;
    let mut expected = b"abc".to_vec();
    expected.resize(150_000, 0);
    expected.extend_from_slice(b"later");
    f.holds(&expected)
}

fn reserved_space_past_the_end_goes_with_a_cut(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", "abc")?;
    f.allocate(AllocateMode::KeepSize, 0, 1 << 20)?;
    f.set_len(0)?;
    check_eq!(f.attr()?.blocks, 0);
    f.holds("")
}

fn reserved_space_counts_as_used(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", "")?;
    f.allocate(AllocateMode::KeepSize, 0, 1 << 20)?;
    check!(f.attr()?.blocks >= 2048, "{} blocks for a reserved MiB", f.attr()?.blocks);
    f.allocate(AllocateMode::Extend, 1 << 20, 1 << 20)?;
    check!(f.attr()?.blocks >= 4096, "{} blocks for two reserved MiB", f.attr()?.blocks);
    Ok(())
}

fn punched_bytes_are_zeros(env: &Env<'_>) -> Outcome {
    let mut expected = pattern(0, 30_000);
    let base = env.start(&[file(b"f", &expected)])?;
    let f = base.open("f")?;
    f.allocate(AllocateMode::PunchHole, 5_000, 15_000)?;
    expected[5_000..20_000].fill(0);
    f.holds(&expected)?;
    check_seeks(&f)
}

fn a_punched_page_gives_its_space_back(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", pattern(0, 1 << 20))?;
    let before = f.attr()?.blocks;
    f.allocate(AllocateMode::PunchHole, 65_536, 1 << 19)?;
    check!(f.attr()?.blocks + 1024 <= before, "{} blocks after, {before} before", f.attr()?.blocks);
    check_eq!(f.seek_hole(0)?, Some(65_536));
    check_eq!(f.seek_data(65_536)?, Some(65_536 + (1 << 19)));
    Ok(())
}

fn a_punch_never_changes_the_size(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"0123456789")])?;
    let f = base.open("f")?;
    f.allocate(AllocateMode::PunchHole, 5, 100_000)?;
    f.holds(b"01234\0\0\0\0\0")?;
    f.allocate(AllocateMode::PunchHole, 50_000, 100)?;
    f.allocate(AllocateMode::PunchHole, 0, 1)?;
    f.holds(b"\x001234\0\0\0\0\0")
}

/// Random changes by `mode` on a file and a buffer.
fn equals_zeroing_a_buffer(env: &Env<'_>, mode: AllocateMode) -> Outcome {
    let initial = pattern(0, 80_000);
    let base = env.start(&[file(b"f", &initial)])?;
    let (f, mut expected, mut random) = (base.open("f")?, initial, Random::new(9));
    for round in 0..60 {
        let offset = random.below(80_000) as usize;
        let len = 1 + (random.next() % (1 << random.below(15))) as usize;
        let end = (offset + len).min(80_000);
        f.allocate(mode, offset as u64, (end - offset) as u64)?;
        expected[offset..end].fill(0);
        f.holds(&expected)?;
        let fresh: Vec<u8> = pattern(round << 20, 500.min(80_000 - offset));
        f.put(offset as u64, &fresh)?;
        expected[offset..offset + fresh.len()].copy_from_slice(&fresh);
    }
    f.holds(&expected)?;
    check_seeks(&f)
}

fn a_punch_of_any_range_equals_zeroing_a_buffer(env: &Env<'_>) -> Outcome {
    equals_zeroing_a_buffer(env, AllocateMode::PunchHole)
}

fn zeroed_bytes_are_zeros_and_keep_their_space(env: &Env<'_>) -> Outcome {
    equals_zeroing_a_buffer(env, AllocateMode::ZeroRange)?;
    let base = env.start(&[])?;
    let f = base.file("f", pattern(0, 1 << 20))?;
    let before = f.attr()?.blocks;
    f.allocate(AllocateMode::ZeroRangeKeepSize, 65_536, 1 << 19)?;
    check!(f.attr()?.blocks >= before, "{} blocks after, {before} before", f.attr()?.blocks);
    let mut expected = pattern(0, 1 << 20);
    expected[65_536..65_536 + (1 << 19)].fill(0);
    f.holds(&expected)
}

fn zero_range_grows_the_file_unless_told_not_to(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abcdef")])?;
    let f = base.open("f")?;
    f.allocate(AllocateMode::ZeroRangeKeepSize, 4, 10_000)?;
    f.holds(b"abcd\0\0")?;
    f.allocate(AllocateMode::ZeroRange, 3, 10_000)?;
    let mut expected = vec![0; 10_003];
    expected[..3].copy_from_slice(b"abc");
    f.holds(&expected)
}

fn a_range_past_the_largest_size_is_efbig(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let f = base.open("f")?;
    check_err!(f.allocate(AllocateMode::Extend, i64::MAX as u64, 1), EFBIG);
    check_err!(f.allocate(AllocateMode::KeepSize, 1, i64::MAX as u64), EFBIG);
    f.holds("abc")
}

fn allocation_changes_the_times(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let f = base.open("f")?;
    let now = env.clock.tick();
    f.allocate(AllocateMode::Extend, 0, 10_000)?;
    check_eq!((f.attr()?.mtime, f.attr()?.ctime), (now, now));
    Ok(())
}
