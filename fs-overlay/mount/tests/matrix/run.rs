//! Prepares the lower layer, runs cases on the merged tree, and writes down what was answered and what is there then.

use std::collections::HashMap;
use std::fmt::Write as _;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Uid, statat};
use rustix::io::{Errno, Result};

use super::calls::{Follow, content, said, xattr_names};
use super::cases::{Caller, Case};
use super::scene::{self, LONG_AGO, USER};

/// Makes what the lower layer has for these cases.
pub(crate) fn prepare(root: &str, cases: &[Case]) -> Result<()> {
    for case in cases {
        let dir = format!("{root}/{}", case.name);
        rustix::fs::mkdirat(CWD, &dir, Mode::from_raw_mode(0o755))?;
        for (index, object) in case.objects.iter().enumerate() {
            object.prepare(&format!("{dir}/{}", Case::object_name(index)))?;
        }
        if let Caller::User(mode) = case.caller {
            rustix::fs::chmodat(CWD, &dir, Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        scene::settle(&dir)?;
    }
    Ok(())
}

/// Runs a case; what came of it, as text.
pub(crate) fn run(root: &str, case: &Case) -> String {
    let dir = format!("{root}/{}", case.name);
    let mut text = format!("== {} {:?}\n", case.name, case.caller);
    let mut seen = Seen::default();
    if let Err(error) = bring_about(&dir, case) {
        let _ = writeln!(text, "not begun: {}", said::<&str>(Err(error)));
    }
    // As numbers they are the same before and after, and held, so that none is given to another inode meanwhile.
    list(&dir, "", &mut seen, &mut String::new());
    if case.caller != Caller::Root {
        become_user(USER);
    }
    for call in &case.calls {
        let _ = writeln!(text, "{call} = {}", call.make(&dir));
    }
    if case.caller != Caller::Root {
        become_user(0);
    }
    list(&dir, "", &mut seen, &mut text);
    text
}

fn bring_about(dir: &str, case: &Case) -> Result<()> {
    let mut changed = false;
    for (index, object) in case.objects.iter().enumerate() {
        changed |= object.bring_about(&format!("{dir}/{}", Case::object_name(index)))?;
    }
    if changed { scene::settle_alone(dir) } else { Ok(()) }
}

/// Changes who this thread is; real and saved ids stay root's.
fn become_user(uid: u32) {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let gid = rustix::fs::Gid::from_raw(uid);
    let ids = || -> Result<()> {
        if uid == 0 {
            set_thread_res_uid(None, Uid::ROOT, None)?;
        }
        set_thread_groups(&[gid])?;
        set_thread_res_gid(None, gid, None)?;
        if uid != 0 {
            set_thread_res_uid(None, Uid::from_raw(uid), None)?;
        }
        Ok(())
    };
    ids().expect("root may be anyone");
}

/// The inodes of a case, in the order in which they were seen, and held.
#[derive(Default)]
struct Seen {
    numbers: HashMap<u64, usize>,
    held: Vec<OwnedFd>,
}

impl Seen {
    fn number(&mut self, path: &str, ino: u64) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(ino).or_insert_with(|| {
            let hold = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            self.held.extend(rustix::fs::open(path, hold, Mode::empty()));
            next
        })
    }
}

/// Lists a tree with all that can be compared.
fn list(dir: &str, below: &str, seen: &mut Seen, text: &mut String) {
    let here = format!("{dir}/{below}");
    let entries = match entries(&here) {
        Ok(entries) => entries,
        Err(error) => {
            let _ = writeln!(text, "  {below}: not listed: {}", said::<&str>(Err(error)));
            return;
        }
    };
    let _ = writeln!(text, "  {below}. {}", described(&here, seen).unwrap_or_else(|error| said::<&str>(Err(error))));
    for (name, kind, ino) in entries {
        let path = format!("{here}{name}");
        let _ = write!(text, "  {below}{name} ");
        match described(&path, seen) {
            Ok(words) => text.push_str(&words),
            Err(error) => text.push_str(&said::<&str>(Err(error))),
        }
        if let Ok(stat) = statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) {
            if FileType::from_raw_mode(stat.st_mode) != kind {
                text.push_str(" LISTED AS ANOTHER TYPE");
            }
            if stat.st_ino != ino {
                text.push_str(" LISTED UNDER ANOTHER NUMBER");
            }
            text.push('\n');
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                list(dir, &format!("{below}{name}/"), seen, text);
            }
        } else {
            text.push('\n');
        }
    }
}

/// The entries of a directory, by name.
fn entries(path: &str) -> Result<Vec<(String, FileType, u64)>> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let mut entries = Vec::new();
    for entry in rustix::fs::Dir::new(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            entries.push((name, entry.file_type(), entry.ino()));
        }
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

fn described(path: &str, seen: &mut Seen) -> Result<String> {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let number = seen.number(path, stat.st_ino);
    let time = if stat.st_mtime as i64 == LONG_AGO { "old" } else { "new" };
    let mut text = format!("#{number} {kind:?} {:o} {}:{} {time}", stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
    // Sizes and links of directories are each filesystem's own.
    if kind != FileType::Directory {
        let _ = write!(text, " links {} size {}", stat.st_nlink, stat.st_size);
    }
    if kind == FileType::Symlink {
        let target = rustix::fs::readlinkat(CWD, path, Vec::new())?;
        let _ = write!(text, " -> {}", target.to_string_lossy());
    }
    if kind == FileType::RegularFile {
        let fd = rustix::fs::open(path, OFlags::RDONLY, Mode::empty())?;
        let _ = write!(text, " {}", content(&fd)?);
    }
    if kind == FileType::CharacterDevice {
        let _ = write!(text, " {:#x}", stat.st_rdev);
    }
    match xattr_names(path, Follow::No) {
        Ok(names) if names.is_empty() => {}
        Ok(names) => {
            let _ = write!(text, " {}", names.join(" "));
        }
        Err(Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error),
    }
    Ok(text)
}
