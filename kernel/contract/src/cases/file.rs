//! Content: writes, appends, sizes.

use alloc::vec;

use vfs::OpenIntent;

use super::group;
use crate::dsl::{pattern, same_bytes};
use crate::random::Random;
use crate::tree::file;
use crate::{Env, Features, Outcome, check, check_eq, check_err};

/// The largest size of a file on Linux, in bytes.
const SIZE_MAX: u64 = i64::MAX as u64;

group! {
    "file", Features::WRITE;
    what_is_written_is_read,
    a_write_in_the_middle_leaves_the_rest,
    a_write_across_the_end_grows_the_file,
    an_empty_write_does_nothing,
    a_write_beyond_the_end_leaves_zeros_between,
    an_append_goes_to_the_end_and_tells_where,
    an_empty_append_does_nothing,
    appends_and_writes_mix,
    a_cut_file_ends_there,
    a_grown_file_ends_in_zeros,
    what_was_cut_off_does_not_come_back,
    what_was_cut_off_does_not_come_back_by_a_write,
    a_file_cut_to_nothing_is_empty,
    a_cut_at_a_page_is_exact,
    a_write_past_the_largest_size_is_efbig,
    a_size_past_the_largest_is_efbig,
    a_file_opened_to_be_truncated_loses_nothing_but_content,
    a_file_opened_to_be_read_stays,
    two_handles_see_one_content,
    random_writes_equal_those_to_a_buffer,
    small_writes_make_a_large_file,
    a_large_file_is_written_and_read + LARGE,
    a_sync_keeps_everything,
}

fn what_is_written_is_read(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    for len in [1, 100, 4095, 4096, 4097, 8192, 70_001] {
        let file = base.file("f", pattern(7, len))?;
        check_eq!(file.size()?, len as u64);
        base.holds("f", pattern(7, len))?;
        base.unlink("f")?;
    }
    Ok(())
}

fn a_write_in_the_middle_leaves_the_rest(env: &Env<'_>) -> Outcome {
    let mut expected = pattern(0, 20_000);
    let base = env.start(&[file(b"f", &expected)])?;
    let file = base.open("f")?;
    for (offset, len) in [(1, 2), (4_000, 200), (8_192, 4_096), (12_287, 5_000)] {
        let fresh = pattern(1 << 30, len);
        check_eq!(file.write_at(offset as u64, &fresh)?, len);
        expected[offset..offset + len].copy_from_slice(&fresh);
        file.holds(&expected)?;
    }
    Ok(())
}

fn a_write_across_the_end_grows_the_file(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"0123456789")])?;
    base.open("f")?.put(8, "abcd")?;
    base.holds("f", "01234567abcd")
}

fn an_empty_write_does_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"0123456789")])?;
    let f = base.open("f")?;
    let before = f.attr()?;
    env.clock.tick();
    check_eq!(f.write_at(0, b"")?, 0);
    check_eq!(f.write_at(1000, b"")?, 0);
    let after = f.attr()?;
    check_eq!((after.size, after.mtime), (10, before.mtime));
    f.holds("0123456789")
}

fn a_write_beyond_the_end_leaves_zeros_between(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"start")])?;
    for (offset, len) in [(10u64, 3), (5_000, 1), (100_000, 5_000)] {
        let f = base.open("f")?;
        let mut expected = f.content()?;
        let fresh = pattern(offset, len);
        f.put(offset, &fresh)?;
        expected.resize(offset as usize, 0);
        expected.extend_from_slice(&fresh);
        f.holds(&expected)?;
    }
    Ok(())
}

fn an_append_goes_to_the_end_and_tells_where(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"0123")])?;
    let f = base.open("f")?;
    check_eq!(f.append(b"45")?, (4, 2));
    check_eq!(f.append(b"6")?, (6, 1));
    f.holds("0123456")?;
    f.set_len(2)?;
    check_eq!(f.append(b"x")?, (2, 1));
    f.holds("01x")
}

fn an_empty_append_does_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"0123")])?;
    let f = base.open("f")?;
    let before = f.attr()?.mtime;
    env.clock.tick();
    check_eq!(f.append(b"")?.1, 0);
    check_eq!(f.attr()?.mtime, before);
    f.holds("0123")
}

fn appends_and_writes_mix(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", "")?;
    let mut expected = vec![];
    let mut random = Random::new(3);
    for round in 0..200u64 {
        let piece = pattern(round * 977, 1 + random.below(700) as usize);
        if random.one_in(2) {
            check_eq!(f.append(&piece)?, (expected.len() as u64, piece.len()));
            expected.extend_from_slice(&piece);
        } else {
            let offset = random.below(expected.len() as u64 + 1) as usize;
            f.put(offset as u64, &piece)?;
            let end = (offset + piece.len()).max(expected.len());
            expected.resize(end, 0);
            expected[offset..offset + piece.len()].copy_from_slice(&piece);
        }
    }
    f.holds(&expected)
}

fn a_cut_file_ends_there(env: &Env<'_>) -> Outcome {
    let content = pattern(0, 20_000);
    let base = env.start(&[file(b"f", &content)])?;
    let f = base.open("f")?;
    for len in [19_999, 12_288, 5_000, 4_096, 1, 0] {
        f.set_len(len)?;
        f.holds(&content[..len as usize])?;
        check_eq!(f.read_at(len, &mut [0; 8])?, 0);
    }
    Ok(())
}

fn a_grown_file_ends_in_zeros(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let f = base.open("f")?;
    for len in [4usize, 4_095, 4_096, 4_097, 50_000] {
        f.set_len(len as u64)?;
        let mut expected = b"abc".to_vec();
        expected.resize(len, 0);
        f.holds(&expected)?;
    }
    Ok(())
}

fn what_was_cut_off_does_not_come_back(env: &Env<'_>) -> Outcome {
    let content = pattern(0, 20_000);
    let base = env.start(&[file(b"f", &content)])?;
    let f = base.open("f")?;
    for cut in [17_000usize, 9_000, 8_192, 4_100, 100] {
        f.set_len(cut as u64)?;
        f.set_len(20_000)?;
        let mut expected = content[..cut].to_vec();
        expected.resize(20_000, 0);
        f.holds(&expected)?;
    }
    Ok(())
}

fn what_was_cut_off_does_not_come_back_by_a_write(env: &Env<'_>) -> Outcome {
    for cut in [100usize, 4_096, 4_097] {
        let content = pattern(0, 10_000);
        let base = env.start(&[file(b"f", &content)])?;
        let f = base.open("f")?;
        f.set_len(cut as u64)?;
        f.put(9_000, "end")?;
        let mut expected = content[..cut].to_vec();
        expected.resize(9_000, 0);
        expected.extend_from_slice(b"end");
        f.holds(&expected)?;
    }
    Ok(())
}

fn a_file_cut_to_nothing_is_empty(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", &pattern(0, 100_000))])?;
    let f = base.open("f")?;
    f.set_len(0)?;
    check_eq!(f.attr()?.size, 0);
    if env.has(Features::HOLES) {
        check_eq!(f.attr()?.blocks, 0);
    }
    f.holds("")?;
    f.put(0, "again")?;
    f.holds("again")
}

fn a_cut_at_a_page_is_exact(env: &Env<'_>) -> Outcome {
    for len in [4_095usize, 4_096, 4_097, 65_535, 65_536, 65_537] {
        let content = pattern(0, 131_072);
        let base = env.start(&[file(b"f", &content)])?;
        let f = base.open("f")?;
        f.set_len(len as u64)?;
        f.append(b"!")?;
        let mut expected = content[..len].to_vec();
        expected.push(b'!');
        f.holds(&expected)?;
    }
    Ok(())
}

fn a_write_past_the_largest_size_is_efbig(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let f = base.open("f")?;
    check_err!(f.write_at(SIZE_MAX, b"x"), EFBIG);
    check_err!(f.write_at(u64::MAX, b"x"), EFBIG);
    check_err!(f.write_at(u64::MAX - 1, b"xyz"), EFBIG);
    f.holds("abc")
}

fn a_size_past_the_largest_is_efbig(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let f = base.open("f")?;
    check_err!(f.set_len(SIZE_MAX + 1), EFBIG);
    check_err!(f.set_len(u64::MAX), EFBIG);
    f.holds("abc")
}

fn a_file_opened_to_be_truncated_loses_nothing_but_content(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", &pattern(0, 9_000)).mode(0o640).owner(5, 6)])?;
    let before = base.attr_of("f")?;
    let now = env.clock.tick();
    base.open("f")?.prepare_open(OpenIntent::Truncate)?;
    let f = base.open("f")?;
    let after = f.attr()?;
    check_eq!((after.mtime, after.ctime), (now, now));
    check_eq!((after.size, after.mode, after.uid, after.gid), (0, 0o640, 5, 6));
    if env.has(Features::CONSTANT_INO) {
        check_eq!(after.ino, before.ino);
    }
    f.put(0, "fresh")?;
    base.holds("f", "fresh")
}

fn a_file_opened_to_be_read_stays(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let before = base.attr_of("f")?;
    env.clock.tick();
    base.open("f")?.prepare_open(OpenIntent::Read)?;
    check_eq!(base.attr_of("f")?, before);
    base.open("f")?.prepare_open(OpenIntent::Write)?;
    base.holds("f", "abc")
}

fn two_handles_see_one_content(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"0123456789")])?;
    let (one, other) = (base.open("f")?, base.open("f")?);
    one.put(0, "abc")?;
    other.holds("abc3456789")?;
    other.append(b"!")?;
    one.holds("abc3456789!")?;
    one.set_len(2)?;
    other.holds("ab")
}

fn random_writes_equal_those_to_a_buffer(env: &Env<'_>) -> Outcome {
    const REACH: u64 = 300_000;
    for seed in 0..4 {
        let initial = pattern(0, 100_000);
        let base = env.start(&[file(b"f", &initial)])?;
        let (f, mut expected, mut random) = (base.open("f")?, initial, Random::new(seed));
        for round in 0..150u64 {
            let offset = random.below(REACH);
            if random.one_in(8) {
                f.set_len(offset)?;
                expected.resize(offset as usize, 0);
                continue;
            }
            let piece = pattern(round << 20, 1 + (random.next() % (1 << random.below(16))) as usize);
            f.put(offset, &piece)?;
            let (start, end) = (offset as usize, offset as usize + piece.len());
            let grown = end.max(expected.len());
            expected.resize(grown, 0);
            expected[start..end].copy_from_slice(&piece);
            let probe = random.below(expected.len() as u64) as usize;
            let len = (expected.len() - probe).min(9_000);
            same_bytes("piece", &f.get(probe as u64, len)?, &expected[probe..probe + len])?;
        }
        f.holds(&expected)?;
        base.holds("f", &expected)?;
    }
    Ok(())
}

fn small_writes_make_a_large_file(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", "")?;
    let content = pattern(0, 60_000);
    for (number, piece) in content.chunks(37).enumerate() {
        f.put(number as u64 * 37, piece)?;
    }
    f.holds(&content)
}

fn a_large_file_is_written_and_read(env: &Env<'_>) -> Outcome {
    const CHUNK: usize = 1 << 20;
    let base = env.start(&[])?;
    let f = base.file("f", "")?;
    for number in 0..24u64 {
        f.put(number * CHUNK as u64, pattern(number * CHUNK as u64, CHUNK))?;
    }
    check_eq!(f.size()?, 24 * CHUNK as u64);
    for number in (0..24u64).rev() {
        let offset = number * CHUNK as u64;
        same_bytes("chunk", &f.get(offset, CHUNK)?, &pattern(offset, CHUNK))?;
    }
    check!(f.attr()?.blocks >= 24 * (CHUNK as u64) / 512, "{} blocks", f.attr()?.blocks);
    Ok(())
}

fn a_sync_keeps_everything(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"old", b"1")])?;
    let f = base.file("f", pattern(0, 5_000))?;
    f.sync(vfs::SyncKind::Data)?;
    f.sync(vfs::SyncKind::All)?;
    base.sync(vfs::SyncKind::All)?;
    base.open("old")?.sync(vfs::SyncKind::All)?;
    env.fs()?.sync()?;
    base.holds("f", pattern(0, 5_000))?;
    base.holds("old", "1")
}
