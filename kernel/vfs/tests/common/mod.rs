//! What the tests of the namespace share: a tree over a counted filesystem in memory, tasks in it, and short forms of
//! calls.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use contract::fault::{Control, FaultFs};
use ramfs::{Options, RamFs};
use vfs::{
    AT_FDCWD, At, AtFlags, Context, Credentials, Errno, Error, Fd, FsContext, Namespace, NamespaceOptions, OpenFile,
    OpenFlags, OpenHow, ResolveFlags, Result, Stat, Timestamp, UserMemory,
};

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    Timestamp { secs: since.as_secs() as i64, nanos: since.subsec_nanos() }
}

/// An empty filesystem in memory.
pub(crate) fn ramfs(dev: u64) -> Arc<RamFs> {
    let context = FsContext { dev, clock: Arc::new(now) };
    RamFs::new(context, &Options::default()).expect("an empty filesystem fits")
}

/// A tree, root's task in it, and the counts of the calls that reach the root filesystem.
pub(crate) struct World {
    pub(crate) ns: Arc<Namespace>,
    pub(crate) root: Context,
    pub(crate) calls: Arc<Control>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(NamespaceOptions::default())
    }

    pub(crate) fn with(options: NamespaceOptions) -> Self {
        let (fs, calls) = FaultFs::new(ramfs(1));
        let ns = Namespace::new(fs, b"none", options);
        let root = ns.context(Credentials::root(), 1);
        root.fs.set_umask(0);
        Self { ns, root, calls }
    }

    /// A task of a user without privileges.
    pub(crate) fn user(&self, uid: u32) -> Context {
        let ctx = self.ns.context(Credentials::user(uid, uid, &[]), 2);
        ctx.fs.set_umask(0);
        ctx
    }

    /// Makes directories, files (with their path as content) and links, as root: `d/`, `f`, `l -> target`.
    pub(crate) fn tree(&self, lines: &[&str]) -> &Self {
        for line in lines {
            let made = match line.split_once(" -> ") {
                Some((link, target)) => self.ns.symlinkat(&self.root, target.as_bytes(), AT_FDCWD, link.as_bytes()),
                None if line.ends_with('/') => self.ns.mkdirat(&self.root, AT_FDCWD, line.as_bytes(), 0o755),
                None => self.write(line, line),
            };
            made.unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        self
    }

    pub(crate) fn write(&self, path: &str, content: &str) -> Result<()> {
        let flags = OpenFlags::O_WRONLY | OpenFlags::O_CREAT | OpenFlags::O_TRUNC;
        let file = self.ns.open(&self.root, AT_FDCWD, path.as_bytes(), &OpenHow::from_open(flags, 0o644))?;
        assert_eq!(file.write(&self.root, At::Position, content.as_bytes())?, content.len());
        Ok(())
    }

    pub(crate) fn read(&self, path: &str) -> Result<String> {
        let file = self.ns.open_path(&self.root, path.as_bytes(), OpenFlags::O_RDONLY)?;
        let mut content = vec![0; 4096];
        let len = file.read(At::Position, &mut content)?;
        content.truncate(len);
        Ok(String::from_utf8(content).expect("tests write text"))
    }

    pub(crate) fn stat(&self, path: &str) -> Result<Stat> {
        self.stat_as(&self.root, path)
    }

    pub(crate) fn stat_as(&self, ctx: &Context, path: &str) -> Result<Stat> {
        self.ns.statat(ctx, AT_FDCWD, path.as_bytes(), AtFlags::empty())
    }

    pub(crate) fn lstat(&self, path: &str) -> Result<Stat> {
        self.ns.statat(&self.root, AT_FDCWD, path.as_bytes(), AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    pub(crate) fn ino(&self, path: &str) -> u64 {
        self.lstat(path).unwrap_or_else(|error| panic!("{path}: {error}")).attr.ino
    }

    pub(crate) fn open(&self, ctx: &Context, path: &str, flags: OpenFlags) -> Result<Fd> {
        self.ns.openat(ctx, AT_FDCWD, path.as_bytes(), flags, 0o644)
    }

    pub(crate) fn open2(&self, ctx: &Context, path: &str, flags: OpenFlags, resolve: ResolveFlags) -> Result<Fd> {
        self.ns.openat2(ctx, AT_FDCWD, path.as_bytes(), &OpenHow { flags, mode: 0, resolve })
    }

    pub(crate) fn mkdir(&self, ctx: &Context, path: &str) -> Result<()> {
        self.ns.mkdirat(ctx, AT_FDCWD, path.as_bytes(), 0o777)
    }

    pub(crate) fn unlink(&self, ctx: &Context, path: &str) -> Result<()> {
        self.ns.unlinkat(ctx, AT_FDCWD, path.as_bytes(), AtFlags::empty())
    }

    pub(crate) fn rmdir(&self, ctx: &Context, path: &str) -> Result<()> {
        self.ns.unlinkat(ctx, AT_FDCWD, path.as_bytes(), AtFlags::AT_REMOVEDIR)
    }

    pub(crate) fn link(&self, ctx: &Context, old: &str, new: &str) -> Result<()> {
        self.ns.linkat(ctx, AT_FDCWD, old.as_bytes(), AT_FDCWD, new.as_bytes(), AtFlags::empty())
    }

    pub(crate) fn rename(&self, ctx: &Context, old: &str, new: &str) -> Result<()> {
        self.rename_how(ctx, old, new, vfs::RenameFlags::empty())
    }

    pub(crate) fn rename_how(&self, ctx: &Context, old: &str, new: &str, how: vfs::RenameFlags) -> Result<()> {
        self.ns.renameat2(ctx, AT_FDCWD, old.as_bytes(), AT_FDCWD, new.as_bytes(), how)
    }

    pub(crate) fn chmod(&self, ctx: &Context, path: &str, mode: u32) -> Result<()> {
        self.ns.fchmodat(ctx, AT_FDCWD, path.as_bytes(), mode, AtFlags::empty())
    }

    pub(crate) fn chown(&self, ctx: &Context, path: &str, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        self.ns.fchownat(ctx, AT_FDCWD, path.as_bytes(), uid, gid, AtFlags::empty())
    }

    pub(crate) fn getcwd(&self, ctx: &Context) -> Result<String> {
        self.ns.getcwd(ctx).map(|path| String::from_utf8(path).expect("tests name in text"))
    }
}

/// The memory of a program: one argument, at an address that is not 0.
pub(crate) struct Argument(pub(crate) RefCell<Vec<u8>>);

impl UserMemory for Argument {
    fn copy_in(&self, address: u64, buf: &mut [u8]) -> Result<()> {
        match self.0.borrow().get(..buf.len()) {
            Some(bytes) if address != 0 => buf.copy_from_slice(bytes),
            _ => return Err(Errno::EFAULT.into()),
        }
        Ok(())
    }

    fn copy_out(&self, address: u64, data: &[u8]) -> Result<()> {
        match self.0.borrow_mut().get_mut(..data.len()) {
            Some(bytes) if address != 0 => bytes.copy_from_slice(data),
            _ => return Err(Errno::EFAULT.into()),
        }
        Ok(())
    }
}

/// `FS_IOC_GETFLAGS`, or `FS_IOC_SETFLAGS`.
pub(crate) fn ioctl_flags(ctx: &Context, file: &OpenFile, set: Option<u32>) -> Result<u32> {
    let command = if set.is_some() { 0x4008_6602 } else { 0x8008_6601 };
    let argument = Argument(RefCell::new(set.unwrap_or(0).to_ne_bytes().to_vec()));
    file.ioctl(ctx, command, 1, &argument)?;
    Ok(u32::from_ne_bytes(argument.0.into_inner().try_into().unwrap()))
}

/// The errno of a call that must fail.
#[track_caller]
pub(crate) fn errno<T>(result: Result<T>) -> Errno {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => Error::errno(&error),
    }
}

/// A small generator of pseudo-random numbers (xorshift64*), so that a seed replays a run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 32) as usize) % limit
    }

    /// True about once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// A number from the environment, decimal or hexadecimal.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
    parsed.unwrap_or_else(|_| panic!("{name}={text} is no number"))
}
