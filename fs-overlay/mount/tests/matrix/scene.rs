//! What a case finds: objects of every kind, in every state that an overlay knows, each in the case's own directory.

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, linkat, mkdirat,
    mknodat, open, symlinkat, unlinkat, utimensat,
};
use rustix::io::Result;

/// What files hold at first.
pub(crate) const CONTENT: &[u8] = b":xxx:yyy:zzz";
/// When everything was changed last, before a case begins, in seconds.
pub(crate) const LONG_AGO: i64 = 1_000_000_000;
/// Who owns most of it, and who calls where it is not root.
pub(crate) const USER: u32 = 1;

/// What is at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    /// Of root, to be read by others.
    Roots,
    /// A file of two names: `a` and `a.2`.
    Linked,
    Dir,
    /// A directory with a file, and a directory with more.
    Full,
    /// A symbolic link to the file `a.to`.
    ToFile,
    /// One to one to the file `a.to`.
    ToFileTwice,
    ToDir,
    ToDirTwice,
    Dangling,
    ToItself,
    Fifo,
    Device,
    Socket,
    Nothing,
}

impl Kind {
    /// All that are something.
    pub(crate) const ALL: [Self; 14] = [
        Self::File,
        Self::Roots,
        Self::Linked,
        Self::Dir,
        Self::Full,
        Self::ToFile,
        Self::ToFileTwice,
        Self::ToDir,
        Self::ToDirTwice,
        Self::Dangling,
        Self::ToItself,
        Self::Fifo,
        Self::Device,
        Self::Socket,
    ];
}

/// Where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// In the lower layer, untouched.
    Lower,
    /// Copied up.
    Copied,
    /// In the upper layer alone.
    Upper,
    /// Removed from the lower layer.
    Gone,
    /// Removed, and made anew.
    Again,
    /// A directory of the lower layer, with an entry more and another removed.
    Mixed,
}

/// An object of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) state: State,
}

impl Object {
    /// All there are, in all states.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self { kind: Kind::Nothing, state: State::Lower }];
        for kind in Kind::ALL {
            for state in [State::Lower, State::Copied, State::Upper, State::Gone, State::Again] {
                // An archive has no sockets.
                if kind != Kind::Socket || state == State::Upper {
                    all.push(Self { kind, state });
                }
            }
            if matches!(kind, Kind::Dir | Kind::Full) {
                all.push(Self { kind, state: State::Mixed });
            }
        }
        all
    }

    /// Makes the part of it that is in the lower layer.
    pub(crate) fn prepare(self, path: &str) -> Result<()> {
        if self.state == State::Upper {
            return Ok(());
        }
        make(self.kind, path)?;
        make_helpers(self.kind, path)
    }

    /// Brings it to its state on the merged tree, and tells whether its directory changed.
    pub(crate) fn bring_about(self, path: &str) -> Result<bool> {
        match self.state {
            State::Lower => return Ok(false),
            State::Copied => {
                settle(path)?;
                return Ok(false);
            }
            State::Upper => {
                make(self.kind, path)?;
                make_helpers(self.kind, path)?;
                for helper in ["", ".to", ".via"] {
                    settle_if_there(&format!("{path}{helper}"))?;
                }
            }
            State::Gone => remove(path)?,
            State::Again => {
                remove(path)?;
                make(self.kind, path)?;
                settle_if_there(path)?;
            }
            State::Mixed => {
                write(&format!("{path}/more"), CONTENT)?;
                settle(&format!("{path}/more"))?;
                if self.kind == Kind::Full {
                    unlinkat(CWD, format!("{path}/f"), AtFlags::empty())?;
                }
                settle(path)?;
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn write(path: &str, content: &[u8]) -> Result<()> {
    let fd = open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, Mode::from_raw_mode(0o644))?;
    rustix::io::write(&fd, content).map(drop)
}

fn give(path: &str, owner: u32) -> Result<()> {
    chownat(CWD, path, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)), AtFlags::SYMLINK_NOFOLLOW)
}

fn make(kind: Kind, path: &str) -> Result<()> {
    let mode = Mode::from_raw_mode(0o644);
    let dir_mode = Mode::from_raw_mode(0o755);
    let name = path.rsplit('/').next().unwrap_or(path);
    match kind {
        Kind::File | Kind::Roots | Kind::Linked => write(path, CONTENT)?,
        Kind::Dir => mkdirat(CWD, path, dir_mode)?,
        Kind::Full => {
            mkdirat(CWD, path, dir_mode)?;
            write(&format!("{path}/f"), b"")?;
            mkdirat(CWD, format!("{path}/pop"), dir_mode)?;
            write(&format!("{path}/pop/b"), b":aaa:bbb:ccc")?;
            mkdirat(CWD, format!("{path}/pop/c"), dir_mode)?;
        }
        Kind::ToFile | Kind::ToDir => symlinkat(format!("{name}.to"), CWD, path)?,
        Kind::ToFileTwice | Kind::ToDirTwice => symlinkat(format!("{name}.via"), CWD, path)?,
        Kind::Dangling => symlinkat(format!("{name}.no"), CWD, path)?,
        Kind::ToItself => symlinkat(name, CWD, path)?,
        Kind::Fifo => mknodat(CWD, path, FileType::Fifo, mode, 0)?,
        Kind::Device => mknodat(CWD, path, FileType::CharacterDevice, mode, rustix::fs::makedev(1, 3))?,
        Kind::Socket => mknodat(CWD, path, FileType::Socket, mode, 0)?,
        Kind::Nothing => return Ok(()),
    }
    if kind == Kind::Roots { Ok(()) } else { give(path, USER) }
}

/// Makes what it leads to, or is one with.
fn make_helpers(kind: Kind, path: &str) -> Result<()> {
    match kind {
        Kind::Linked => linkat(CWD, path, CWD, format!("{path}.2"), AtFlags::empty())?,
        Kind::ToFileTwice | Kind::ToDirTwice => {
            let to = format!("{}.to", path.rsplit('/').next().unwrap_or(path));
            symlinkat(to, CWD, format!("{path}.via"))?;
        }
        _ => {}
    }
    match kind {
        Kind::ToFile | Kind::ToFileTwice => make(Kind::File, &format!("{path}.to")),
        Kind::ToDir | Kind::ToDirTwice => make(Kind::Full, &format!("{path}.to")),
        _ => Ok(()),
    }
}

fn is_dir(path: &str) -> Result<bool> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// The names in a directory, sorted.
pub(crate) fn names(path: &str) -> Result<Vec<String>> {
    let fd = open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(fd)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn remove(path: &str) -> Result<()> {
    if !is_dir(path)? {
        return unlinkat(CWD, path, AtFlags::empty());
    }
    for name in names(path)? {
        remove(&format!("{path}/{name}"))?;
    }
    unlinkat(CWD, path, AtFlags::REMOVEDIR)
}

/// Sets the time of a tree.
pub(crate) fn settle(path: &str) -> Result<()> {
    if is_dir(path)? {
        for name in names(path)? {
            settle(&format!("{path}/{name}"))?;
        }
    }
    settle_alone(path)
}

/// Sets the time of an inode, which copies it up.
pub(crate) fn settle_alone(path: &str) -> Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: LONG_AGO, tv_nsec: 0 },
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}

fn settle_if_there(path: &str) -> Result<()> {
    match settle(path) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        other => other,
    }
}
