//! A filesystem that is full: what fails fails wholly, what was there stays.

use alloc::format;
use alloc::vec::Vec;

use vfs::{
    AllocateMode, Errno, Error, Name, NewKind, NewNode, SourceLeft, Subject, UpperRename, UpperRenameMode, Victim,
    XattrChange, XattrMode,
};

use super::group;
use super::upper::{QUIET, is_white, name};
use crate::dsl::{Dir, File, pattern, same_bytes};
use crate::tree::{dir, file};
use crate::{Env, Failure, Features, Outcome, check, check_eq, check_err};

/// Bytes of space that the tests ask for.
const SPACE: u64 = 8 << 20;
const CHUNK: usize = 65_536;

group! {
    "limits", Features::WRITE.union(Features::LIMITED_SPACE);
    a_full_filesystem_answers_enospc,
    a_short_write_tells_how_much_was_written,
    what_was_there_stays_when_space_runs_out,
    a_failed_append_leaves_the_end_where_it_was,
    a_file_can_be_removed_when_it_is_full,
    a_file_can_be_replaced_by_rename_when_it_is_full,
    a_file_can_be_cut_when_it_is_full,
    space_that_came_back_can_be_used,
    statfs_follows_the_use,
    a_reservation_too_large_is_enospc_and_takes_nothing + ALLOCATE,
    a_reservation_lets_the_write_succeed + ALLOCATE,
    an_xattr_that_does_not_fit_is_refused + USER_XATTRS,
    a_whiteout_on_a_full_filesystem_is_made_or_not + UPPER,
    a_publish_on_a_full_filesystem_is_done_or_not + UPPER + ALL_XATTRS,
    an_upper_move_on_a_full_filesystem_is_done_or_not + UPPER + ALL_XATTRS,
    a_staged_file_that_does_not_fit_leaves_nothing + UPPER,
}

/// Writes until nothing goes any more; returns the file and its content's length.
fn fill(base: &Dir, name: &str) -> Outcome<(File, u64)> {
    let f = base.file(name, "")?;
    let mut written = 0;
    loop {
        match f.write_at(written, &pattern(written, CHUNK)) {
            Ok(count) => {
                check!((1..=CHUNK).contains(&count), "write_at returned {count}");
                written += count as u64;
            }
            Err(error) if error == Errno::ENOSPC => break,
            Err(error) => return Err(Failure::from(error).while_doing("filling")),
        }
        check!(written <= 4 * SPACE, "{written} bytes were written into {SPACE}");
    }
    check!(written >= SPACE / 4, "no more than {written} bytes fit into {SPACE}");
    Ok((f, written))
}

fn holds_pattern(f: &File, len: u64) -> Outcome {
    check_eq!(f.size()?, len);
    let mut at = 0;
    while at < len {
        let piece = (len - at).min(CHUNK as u64) as usize;
        same_bytes("content", &f.get(at, piece)?, &pattern(at, piece))?;
        at += piece as u64;
    }
    Ok(())
}

fn a_full_filesystem_answers_enospc(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    let (f, written) = fill(&base, "f")?;
    check_err!(f.write_at(written + (1 << 20), &pattern(0, CHUNK)), ENOSPC);
    holds_pattern(&f, written)
}

fn a_short_write_tells_how_much_was_written(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    let f = base.file("f", "")?;
    let all = pattern(0, 4 * SPACE as usize);
    let count = f.write_at(0, &all)?;
    check!(count > 0 && count < all.len(), "{count} of {} bytes were written", all.len());
    check_eq!(f.size()?, count as u64);
    same_bytes("content", &f.content()?, &all[..count])
}

fn what_was_there_stays_when_space_runs_out(env: &Env<'_>) -> Outcome {
    let content = pattern(99, 100_000);
    let base = env.start_small(&[dir(b"d"), file(b"d/kept", &content).mode(0o600)], SPACE)?;
    let (f, written) = fill(&base, "f")?;
    base.holds("d/kept", &content)?;
    check_eq!(base.attr_of("d/kept")?.mode, 0o600);
    base.lists(&["d", "f"])?;
    holds_pattern(&f, written)
}

fn a_failed_append_leaves_the_end_where_it_was(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    let log = base.file("log", pattern(0, CHUNK))?;
    fill(&base, "f")?;
    let mut expected = CHUNK as u64;
    // A little may still fit into what the filesystem keeps for itself.
    for _ in 0..100 {
        match log.append(&pattern(expected, CHUNK)) {
            Ok((at, count)) => {
                check_eq!(at, expected);
                expected += count as u64;
            }
            Err(error) => {
                check_eq!(error.errno(), Errno::ENOSPC);
                break;
            }
        }
    }
    holds_pattern(&log, expected)
}

fn a_file_can_be_removed_when_it_is_full(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    base.mkdir("d")?.file("small", "1")?;
    let (f, _) = fill(&base, "f")?;
    base.dir("d")?.unlink("small")?;
    base.rmdir("d")?;
    drop(f);
    base.unlink("f")?;
    base.lists(&[])
}

fn a_file_can_be_replaced_by_rename_when_it_is_full(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    base.file("a", "new")?;
    base.file("b", "old")?;
    fill(&base, "f")?;
    base.mv("a", "b")?;
    base.holds("b", "new")?;
    base.lists(&["b", "f"])
}

fn a_file_can_be_cut_when_it_is_full(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    let (f, _) = fill(&base, "f")?;
    f.set_len(CHUNK as u64)?;
    holds_pattern(&f, CHUNK as u64)?;
    f.put(CHUNK as u64, pattern(CHUNK as u64, CHUNK))?;
    holds_pattern(&f, 2 * CHUNK as u64)
}

fn space_that_came_back_can_be_used(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    let mut lengths = Vec::new();
    for round in 0..3 {
        let name = format!("{round}");
        let (f, written) = fill(&base, &name)?;
        lengths.push(written);
        drop(f);
        base.unlink(name)?;
    }
    check!(lengths[2] + 8 * CHUNK as u64 >= lengths[0], "space is lost: {lengths:?}");
    Ok(())
}

fn statfs_follows_the_use(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    let free = || -> Outcome<u64> {
        let stat = env.fs()?.statfs()?;
        Ok(stat.blocks_free * u64::from(stat.block_size))
    };
    let before = free()?;
    check!(before <= 4 * SPACE && before > SPACE / 4, "{before} bytes free of {SPACE}");
    base.file("f", pattern(0, 1 << 20))?.sync(vfs::SyncKind::All)?;
    let used = before - free()?.min(before);
    check!(((1 << 20)..(2 << 20)).contains(&used), "{used} bytes used by 1 MiB");
    base.unlink("f")?;
    env.fs()?.sync()?;
    let after = free()?;
    check!(after + CHUNK as u64 >= before, "{after} bytes free after all, {before} before");
    Ok(())
}

fn a_reservation_too_large_is_enospc_and_takes_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    let f = base.file("f", "abc")?;
    for mode in [AllocateMode::Extend, AllocateMode::KeepSize] {
        check_err!(f.allocate(mode, 0, 16 * SPACE), ENOSPC);
        check_eq!(f.content()?.get(..3), Some(&b"abc"[..]));
    }
    f.set_len(3)?;
    base.file("g", pattern(0, SPACE as usize / 4))?;
    base.holds("f", "abc")
}

fn a_reservation_lets_the_write_succeed(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    let f = base.file("f", "")?;
    f.allocate(AllocateMode::KeepSize, 0, 1 << 20)?;
    fill(&base, "rest")?;
    f.put(0, pattern(0, 1 << 20))?;
    holds_pattern(&f, 1 << 20)
}

fn an_xattr_that_does_not_fit_is_refused(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    let f = base.file("f", "")?;
    f.set_xattr(b"user.kept", b"1", XattrMode::Set)?;
    fill(&base, "rest")?;
    let mut refused = false;
    for number in 0..40 {
        let name = format!("user.{number}");
        match f.set_xattr(name.as_bytes(), &pattern(0, 3_000), XattrMode::Set) {
            Ok(()) => check_eq!(f.xattr(name.as_bytes())?, Some(pattern(0, 3_000))),
            Err(error) => {
                check!(error == Errno::ENOSPC || error == Errno::E2BIG, "{error:?} instead of ENOSPC");
                check_eq!(f.xattr(name.as_bytes())?, None);
                refused = true;
            }
        }
    }
    check!(refused, "120 KB of attributes went into a full filesystem");
    check_eq!(f.xattr(b"user.kept")?.as_deref(), Some(&b"1"[..]));
    Ok(())
}

/// Whether it was done; an error must be `ENOSPC`.
fn done(result: Result<(), Error>) -> Outcome<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error == Errno::ENOSPC => Ok(false),
        Err(error) => Err(Failure::from(error)),
    }
}

fn a_whiteout_on_a_full_filesystem_is_made_or_not(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    for number in 0..50 {
        base.file(format!("small {number}"), "1")?;
    }
    fill(&base, "f")?;
    for number in 0..50 {
        let at = format!("small {number}");
        match done(base.upper()?.whiteout(name(&at)?, Victim::NonDir))? {
            true => is_white(&base, &at)?,
            false => base.holds(&at, "1")?,
        }
        let at = format!("absent {number}");
        match done(base.upper()?.whiteout(name(&at)?, Victim::Absent))? {
            true => is_white(&base, &at)?,
            false => base.absent(&at)?,
        }
    }
    Ok(())
}

/// An attribute that is too large to fit into what a full filesystem has left.
fn large_change(subject: Subject, value: &[u8]) -> XattrChange<'_> {
    XattrChange { subject, name: b"trusted.large", value: Some(value) }
}

fn a_publish_on_a_full_filesystem_is_done_or_not(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    let mut staged = Vec::new();
    for _ in 0..40 {
        staged.push(base.upper()?.stage(&NewNode::new(NewKind::File, 0o600))?);
    }
    base.upper()?.whiteout(name("0")?, Victim::Absent)?;
    fill(&base, "f")?;
    let value = pattern(0, 3_000);
    for (number, node) in staged.iter().enumerate() {
        let at = format!("{number}");
        let xattrs = [large_change(Subject::Moved, &value)];
        let how = vfs::Publish { over: vfs::Over::Whiteout, xattrs: &xattrs, ..QUIET };
        if done(base.upper()?.publish(name(&at)?, node, &how))? {
            check_eq!(base.at(&at)?.id(), node.id());
            check_eq!(node.ops().xattr(b"trusted.large")?.as_ref(), Some(&value));
        } else {
            check_eq!(node.ops().xattr(b"trusted.large")?, None);
            check_eq!(node.attr()?.nlink, 0);
            match number {
                0 => is_white(&base, "0")?,
                _ => base.absent(&at)?,
            }
        }
    }
    Ok(())
}

fn an_upper_move_on_a_full_filesystem_is_done_or_not(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[dir(b"to")], SPACE)?;
    let to = base.dir("to")?;
    for number in 0..40 {
        base.file(format!("{number}"), "1")?;
    }
    fill(&base, "f")?;
    let value = pattern(0, 3_000);
    for number in 0..40 {
        let at = format!("{number}");
        let xattrs = [large_change(Subject::Moved, &value)];
        let mode = UpperRenameMode::Move(SourceLeft::Whiteout);
        let moved = Name::new(at.as_bytes())?;
        let op = UpperRename { name: moved, to: &to.0, new_name: moved, mode, xattrs: &xattrs };
        if done(base.upper()?.rename_upper(&op))? {
            is_white(&base, &at)?;
            to.holds(&at, "1")?;
            check_eq!(to.at(&at)?.ops().xattr(b"trusted.large")?.as_ref(), Some(&value));
        } else {
            base.holds(&at, "1")?;
            to.absent(&at)?;
            check_eq!(base.at(&at)?.ops().xattr(b"trusted.large")?, None);
        }
    }
    Ok(())
}

fn a_staged_file_that_does_not_fit_leaves_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], SPACE)?;
    let free = || -> Outcome<u64> {
        let stat = env.fs()?.statfs()?;
        Ok(stat.blocks_free * u64::from(stat.block_size))
    };
    let before = free()?;
    let node = base.upper()?.stage(&NewNode::new(NewKind::File, 0o600))?;
    let file = File(node.as_file()?.clone());
    check_err!(file.put(0, pattern(0, 4 * SPACE as usize)), ENOSPC);
    drop((node, file));
    env.fs()?.sync()?;
    let after = free()?;
    check!(after + CHUNK as u64 >= before, "{after} bytes free after all, {before} before");
    base.lists(&[])
}
