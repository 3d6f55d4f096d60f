//! The same on Linux: layers in a tmpfs, Linux's own overlayfs over them, in a mount namespace of this thread's.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Error, Result, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fd::AsRawFd as _;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, IFlags, Mode, OFlags, RenameFlags, StatxFlags, Timespec, Timestamps,
    Uid, XattrFlags,
};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;
use vfs::{AllocateMode, InodeFlags, Node, RenameMode};

use super::ops::{ALLOCATED, Item, ItemKind, Op};
use super::{Description, Detail, OLD, SHOWN_FLAGS, Tree};

/// A path as system calls take it: rustix is used without `std`, see the workspace's manifest.
fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn os<T>(result: rustix::io::Result<T>) -> Result<T> {
    result.map_err(|errno| Error::from_raw_os_error(errno.raw_os_error()))
}

/// A place of this test's own, and the right to mount there; `None` says why not.
pub(crate) struct Linux {
    root: PathBuf,
    lowers: Vec<PathBuf>,
    /// Holds `u` and `w`: the upper layer and the work directory.
    changes: PathBuf,
    options: String,
}

impl Linux {
    /// Takes a mount namespace for this thread, with `lowers` empty layers in a tmpfs.
    pub(crate) fn new(lowers: usize, options: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: not root, so Linux's overlayfs cannot be mounted to compare with");
            return None;
        }
        #[expect(deprecated, reason = "only the mount namespace is unshared, which no other thread relies on")]
        let unshared = rustix::thread::unshare(UnshareFlags::NEWNS);
        // Not where `/` is no mount point, in a chroot: what is mounted would be seen outside.
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        if let Err(error) = unshared.and_then(|()| rustix::mount::mount_change("/", private)) {
            println!("SKIPPED: no mount namespace to compare with Linux's overlayfs in: {error}");
            return None;
        }
        // What is made has the mode that it is made with, as on our side.
        rustix::process::umask(Mode::from_raw_mode(0o022));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("strata-overlay-{}-{count}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        rustix::mount::mount("tmpfs", bytes(&root), "tmpfs", MountFlags::empty(), None).unwrap();
        let lowers = (0..lowers).map(|index| root.join(format!("l{index}"))).collect();
        let linux = Self { changes: root.clone(), root, lowers, options: options.into() };
        let disk = linux.root.join("disk");
        for dir in linux.lowers.iter().chain(&[linux.upper(), linux.merged(), linux.work(), disk]) {
            fs::create_dir(dir).unwrap();
            rustix::fs::chmod(bytes(dir), Mode::from_raw_mode(0o755)).unwrap();
        }
        if let Err(error) = linux.mount() {
            println!("SKIPPED: Linux's overlayfs cannot be mounted to compare with: {error}");
            return None;
        }
        linux.unmount();
        Some(linux)
    }

    pub(crate) fn lower(&self, index: usize) -> &Path {
        &self.lowers[index]
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.changes.join("u")
    }

    fn work(&self) -> PathBuf {
        self.changes.join("w")
    }

    /// The names in the index.
    pub(crate) fn index(&self) -> Vec<String> {
        let entries = fs::read_dir(self.work().join("index")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// What the next mount is made with.
    pub(crate) fn set_options(&mut self, options: &str) {
        self.options = options.into();
    }

    /// Where an image of a disk can be put.
    pub(crate) fn image(&self) -> PathBuf {
        self.root.join("image")
    }

    /// Mounts the image; its `u` and `w` are from now on the upper layer and the work directory. Gives the reason where this
    /// machine has no loop devices.
    pub(crate) fn use_image(&mut self) -> std::result::Result<(), String> {
        let disk = self.root.join("disk");
        let mut attempts = 50;
        loop {
            let output = std::process::Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(&disk).output();
            attempts -= 1;
            match output {
                Ok(output) if output.status.success() => {
                    self.changes = disk;
                    return Ok(());
                }
                // Another process may snatch the loop device that `mount` has found free.
                Ok(_) if attempts > 0 => std::thread::sleep(std::time::Duration::from_millis(100)),
                Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into_owned()),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// As [`use_image`](Self::use_image), with `l0`, `l1`… of the image as the lower layers.
    pub(crate) fn use_whole_image(&mut self) -> std::result::Result<(), String> {
        self.use_image()?;
        for (index, lower) in self.lowers.iter_mut().enumerate() {
            *lower = self.changes.join(format!("l{index}"));
        }
        Ok(())
    }

    /// Unmounts the image.
    pub(crate) fn leave_image(&mut self) {
        let disk = std::mem::replace(&mut self.changes, self.root.clone());
        unmount_soon(&disk);
    }

    pub(crate) fn merged(&self) -> PathBuf {
        self.root.join("m")
    }

    pub(crate) fn mount(&self) -> Result<()> {
        let lowers: Vec<_> = self.lowers.iter().map(|lower| lower.to_str().unwrap()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},{}",
            lowers.join(":"),
            self.upper().display(),
            self.work().display(),
            self.options
        );
        let options = std::ffi::CString::new(options).unwrap();
        os(rustix::mount::mount("overlay", bytes(&self.merged()), "overlay", MountFlags::empty(), Some(&*options)))?;
        Ok(())
    }

    /// Empties the upper layer and the work directory.
    pub(crate) fn clear_upper(&self) {
        for dir in [self.upper(), self.work()] {
            fs::remove_dir_all(&dir).unwrap();
            fs::create_dir(&dir).unwrap();
            rustix::fs::chmod(bytes(&dir), Mode::from_raw_mode(0o755)).unwrap();
        }
    }

    pub(crate) fn unmount(&self) {
        unmount_soon(&self.merged());
    }

    pub(crate) fn apply(&self, op: &Op) -> Result<()> {
        if let Op::Remount = op {
            self.unmount();
            return self.mount();
        }
        apply(&self.merged(), op)
    }
}

/// Unmounts what may be in use for a moment more: a process that another test is just starting has all descriptors, and an overlay that was
/// unmounted is taken down behind that.
fn unmount_soon(place: &Path) {
    for attempt in 0.. {
        match rustix::mount::unmount(bytes(place), UnmountFlags::empty()) {
            Err(rustix::io::Errno::BUSY) if attempt < 100 => std::thread::sleep(std::time::Duration::from_millis(100)),
            result => return result.unwrap(),
        }
    }
}

impl Drop for Linux {
    fn drop(&mut self) {
        // What is mounted there goes with the thread's namespace.
        let _ = rustix::mount::unmount(bytes(&self.merged()), UnmountFlags::DETACH);
        let _ = rustix::mount::unmount(bytes(&self.root), UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.root);
    }
}

/// Builds a layer.
pub(crate) fn build(root: &Path, items: &[Item]) {
    for item in items {
        let path = root.join(&item.path);
        let mode = Mode::from_raw_mode(u32::from(item.mode));
        match &item.kind {
            ItemKind::Dir => fs::create_dir(&path).unwrap(),
            ItemKind::File(data) => fs::write(&path, data).unwrap(),
            ItemKind::Sparse(offset, data) => File::create(&path).unwrap().write_all_at(data, *offset).unwrap(),
            ItemKind::Symlink(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
            ItemKind::Fifo => rustix::fs::mknodat(CWD, bytes(&path), FileType::Fifo, mode, 0).unwrap(),
            ItemKind::Device(major, minor) => {
                let dev = rustix::fs::makedev(*major, *minor);
                rustix::fs::mknodat(CWD, bytes(&path), FileType::CharacterDevice, mode, dev).unwrap();
            }
            ItemKind::Whiteout => {
                rustix::fs::mknodat(CWD, bytes(&path), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
            }
            ItemKind::HardLink(to) => {
                fs::hard_link(root.join(to), &path).unwrap();
                continue;
            }
        }
        let (uid, gid) = item.owner;
        std::os::unix::fs::lchown(&path, Some(uid), Some(gid)).unwrap();
        if !matches!(item.kind, ItemKind::Symlink(_)) {
            rustix::fs::chmod(bytes(&path), mode).unwrap();
        }
        // What a directory hands down is for what comes later.
        for (name, value) in item.xattrs.iter().filter(|(name, _)| name != DEFAULT_LIST) {
            rustix::fs::lsetxattr(bytes(&path), &**name, value, XattrFlags::empty()).unwrap();
        }
    }
    for item in items.iter().rev() {
        for (name, value) in item.xattrs.iter().filter(|(name, _)| name == DEFAULT_LIST) {
            rustix::fs::lsetxattr(bytes(&root.join(&item.path)), &**name, value, XattrFlags::empty()).unwrap();
        }
        set_mtime(&root.join(&item.path), OLD.secs, OLD.nanos).unwrap();
    }
    set_mtime(root, OLD.secs, OLD.nanos).unwrap();
}

const DEFAULT_LIST: &str = "system.posix_acl_default";

fn set_mtime(path: &Path, secs: i64, nanos: u32) -> Result<()> {
    let time = Timespec { tv_sec: secs, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    os(rustix::fs::utimensat(CWD, bytes(path), &times, AtFlags::SYMLINK_NOFOLLOW))?;
    Ok(())
}

/// `O_NOFOLLOW | O_NONBLOCK`, so that neither symbolic links nor FIFOs lead elsewhere.
const FLAGS: i32 = 0o400_000 | 0o4_000;
const EINVAL: i32 = 22;
const ENOENT: i32 = 2;

fn open(path: &Path, options: &mut OpenOptions) -> Result<File> {
    // Devices and FIFOs are looked at first: what opening them does is not the overlay's business.
    if let Ok(meta) = fs::symlink_metadata(path)
        && (meta.file_type().is_fifo() || meta.file_type().is_char_device())
    {
        return Err(Error::from_raw_os_error(EINVAL));
    }
    options.custom_flags(FLAGS).open(path)
}

fn refuse_symlink(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path)?.is_symlink() { Err(Error::from_raw_os_error(ENOENT)) } else { Ok(()) }
}

/// Does an operation below `root`.
pub(crate) fn apply(root: &Path, op: &Op) -> Result<()> {
    let at = |path: &str| root.join(path);
    match op {
        Op::Mkdir(path) => {
            os(rustix::fs::mkdirat(CWD, bytes(&at(path)), Mode::from_raw_mode(0o755)))?;
        }
        Op::Create(path, data) => {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o644).custom_flags(FLAGS).open(at(path))?;
            file.write_all(data)?;
        }
        Op::Write(path, offset, data) => {
            open(&at(path), OpenOptions::new().write(true))?.write_all_at(data, *offset)?;
        }
        Op::OpenTruncate(path, data) => {
            open(&at(path), OpenOptions::new().write(true).truncate(true))?.write_all(data)?;
        }
        Op::Append(path, data) => open(&at(path), OpenOptions::new().append(true))?.write_all(data)?,
        Op::Truncate(path, len) => {
            refuse_symlink(&at(path))?;
            truncate(&at(path), *len)?;
        }
        Op::Allocate(path, mode, offset, len) => {
            drop(open(&at(path), OpenOptions::new().write(true))?);
            let file = os(rustix::fs::open(bytes(&at(path)), OFlags::WRONLY, Mode::empty()))?;
            let mode = match mode {
                AllocateMode::Extend => FallocateFlags::empty(),
                AllocateMode::KeepSize => FallocateFlags::KEEP_SIZE,
                AllocateMode::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                AllocateMode::ZeroRange => FallocateFlags::ZERO_RANGE,
                AllocateMode::ZeroRangeKeepSize => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
            };
            os(rustix::fs::fallocate(&file, mode, *offset, *len))?;
            set_mtime(&at(path), ALLOCATED, 0)?;
        }
        Op::Unnamed(path, data) => {
            let flags = OFlags::WRONLY | OFlags::TMPFILE;
            let parent = at(path.rsplit_once('/').map_or("", |(parent, _)| parent));
            let file = os(rustix::fs::open(bytes(&parent), flags, Mode::from_raw_mode(0o644)))?;
            assert_eq!(os(rustix::io::write(&file, data))?, data.len());
            let own = format!("/proc/self/fd/{}", file.as_raw_fd());
            os(rustix::fs::linkat(CWD, &*own, CWD, bytes(&at(path)), AtFlags::SYMLINK_FOLLOW))?;
        }
        Op::Unlink(path) => os(rustix::fs::unlinkat(CWD, bytes(&at(path)), AtFlags::empty()))?,
        Op::Rmdir(path) => os(rustix::fs::unlinkat(CWD, bytes(&at(path)), AtFlags::REMOVEDIR))?,
        Op::Rename(from, to, mode) => {
            let flags = match mode {
                RenameMode::Replace => RenameFlags::empty(),
                RenameMode::NoReplace => RenameFlags::NOREPLACE,
                RenameMode::Exchange => RenameFlags::EXCHANGE,
            };
            os(rustix::fs::renameat_with(CWD, bytes(&at(from)), CWD, bytes(&at(to)), flags))?;
        }
        Op::Link(from, to) => os(rustix::fs::linkat(CWD, bytes(&at(from)), CWD, bytes(&at(to)), AtFlags::empty()))?,
        Op::Symlink(path, target) => std::os::unix::fs::symlink(target, at(path))?,
        Op::Fifo(path) => {
            os(rustix::fs::mknodat(CWD, bytes(&at(path)), FileType::Fifo, Mode::from_raw_mode(0o644), 0))?;
        }
        Op::Device(path, major, minor) => {
            let dev = rustix::fs::makedev(*major, *minor);
            os(rustix::fs::mknodat(CWD, bytes(&at(path)), FileType::CharacterDevice, Mode::from_raw_mode(0o600), dev))?;
        }
        Op::Chmod(path, mode) => {
            refuse_symlink(&at(path))?;
            os(rustix::fs::chmodat(CWD, bytes(&at(path)), Mode::from_raw_mode((*mode).into()), AtFlags::empty()))?;
        }
        Op::Chown(path, uid, gid) => {
            let (uid, gid) = (Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)));
            os(rustix::fs::chownat(CWD, bytes(&at(path)), uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
        }
        Op::SetXattr(path, name, value) => {
            os(rustix::fs::lsetxattr(bytes(&at(path)), &**name, value, XattrFlags::empty()))?;
        }
        Op::RemoveXattr(path, name) => os(rustix::fs::lremovexattr(bytes(&at(path)), &**name))?,
        Op::SetMtime(path, secs) => set_mtime(&at(path), *secs, 0)?,
        Op::Remount => {}
    }
    Ok(())
}

fn open_for_flags(path: &Path) -> Result<rustix::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    os(rustix::fs::open(bytes(path), flags, Mode::empty()))
}

/// `FS_IOC_SETFLAGS`: `flags` in place of the common ones that are there.
pub(crate) fn set_flags(path: &Path, flags: InodeFlags) -> Result<()> {
    let file = open_for_flags(path)?;
    let others = os(rustix::fs::ioctl_getflags(&file))?.bits() & !InodeFlags::COMMON.bits();
    os(rustix::fs::ioctl_setflags(&file, IFlags::from_bits_retain(others | flags.bits())))
}

/// `FS_IOC_GETFLAGS`, the common ones; `None` for what has none or is not there.
pub(crate) fn flags(path: &Path) -> Option<InodeFlags> {
    let flags = rustix::fs::ioctl_getflags(open_for_flags(path).ok()?).ok()?;
    Some(InodeFlags::from_bits_retain(flags.bits()) & InodeFlags::COMMON)
}

/// `truncate(2)`, which rustix does not have: of what is opened for writing, or the errno for what is not a file.
fn truncate(path: &Path, len: u64) -> Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_file() && !meta.is_dir() {
        return Err(Error::from_raw_os_error(EINVAL));
    }
    open(path, OpenOptions::new().write(true))?.set_len(len)
}

/// Everything below `root`, as [`super::Tree::dump`].
pub(crate) fn dump(root: &Path, detail: Detail) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    lines.insert("/".into(), describe(root, detail));
    dump_dir(root, "", detail, &mut lines);
    lines
}

fn dump_dir(dir: &Path, prefix: &str, detail: Detail, lines: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if fs::symlink_metadata(entry.path()).is_err() {
            // Linux lists the whiteouts of a lower directory that does not merge, and then does not find them.
            continue;
        }
        let path = format!("{prefix}/{}", entry.file_name().to_str().unwrap());
        lines.insert(path.clone(), describe(&entry.path(), detail));
        if entry.file_type().unwrap().is_dir() {
            dump_dir(&entry.path(), &path, detail, lines);
        }
    }
}

fn describe(path: &Path, detail: Detail) -> String {
    let meta = fs::symlink_metadata(path).unwrap();
    let kind = meta.file_type();
    let content = if kind.is_file() {
        fs::read(path).unwrap()
    } else if kind.is_symlink() {
        fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()
    } else {
        Vec::new()
    };
    let shown = rustix::fs::statx(CWD, bytes(path), AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()).unwrap();
    let rdev = match kind.is_char_device() {
        true => (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev())),
        false => (0, 0),
    };
    Description {
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        nlink: u32::try_from(meta.nlink()).unwrap(),
        rdev,
        mtime: (meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap()),
        flags: shown.stx_attributes.bits() as u32 & SHOWN_FLAGS.bits(),
        content,
        xattrs: xattrs(path),
    }
    .line(detail)
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut list = vec![0; 65536];
    let len = rustix::fs::llistxattr(bytes(path), &mut list[..]).unwrap();
    list.truncate(len);
    let mut found = BTreeMap::new();
    for name in list.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65536];
        let len = rustix::fs::lgetxattr(bytes(path), name, &mut value[..]).unwrap();
        value.truncate(len);
        found.insert(String::from_utf8(name.to_vec()).unwrap(), value);
    }
    found
}

/// What a directory of Linux's holds, to be built elsewhere.
pub(crate) fn items_of(root: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    collect(root, "", &mut BTreeMap::new(), &mut items);
    items
}

fn collect(dir: &Path, prefix: &str, seen: &mut BTreeMap<u64, String>, items: &mut Vec<Item>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let real = entry.path();
        let meta = fs::symlink_metadata(&real).unwrap();
        let kind = meta.file_type();
        let kind = if kind.is_char_device() && meta.rdev() == 0 {
            ItemKind::Whiteout
        } else if kind.is_dir() {
            ItemKind::Dir
        } else if let Some(other) = seen.get(&meta.ino()) {
            ItemKind::HardLink(other.clone())
        } else if kind.is_file() {
            ItemKind::File(fs::read(&real).unwrap())
        } else if kind.is_symlink() {
            ItemKind::Symlink(fs::read_link(&real).unwrap().into_os_string().into_string().unwrap())
        } else if kind.is_fifo() {
            ItemKind::Fifo
        } else {
            ItemKind::Device(rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()))
        };
        seen.insert(meta.ino(), path.clone());
        let mode = u16::try_from(meta.mode() & 0o7777).unwrap();
        let xattrs = xattrs(&real).into_iter().collect();
        items.push(Item { path: path.clone(), kind, mode, owner: (meta.uid(), meta.gid()), xattrs });
        if meta.is_dir() {
            collect(&real, &path, seen, items);
        }
    }
}

/// What two dumps do not agree on.
pub(crate) fn differences(ours: &BTreeMap<String, String>, linux: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for (path, line) in ours {
        match linux.get(path) {
            Some(other) if other == line => {}
            // Linux takes the mark away when it lists the directory and finds no copy in it any more.
            Some(other) if *other == line.replace(" trusted.overlay.impure=y", "") => {}
            Some(other) => found.push(format!("{path}\n    ours  {line}\n    Linux {other}")),
            None => found.push(format!("{path}\n    ours  {line}\n    Linux has none")),
        }
    }
    for (path, line) in linux.iter().filter(|(path, _)| !ours.contains_key(*path)) {
        found.push(format!("{path}\n    ours has none\n    Linux {line}"));
    }
    found
}

/// Whether Linux changes the time of a file without data although nothing is written: giving it its data does. Here it does not.
pub(crate) fn touches_without_a_write_on_linux(op: &Op) -> bool {
    matches!(op, Op::Write(_, _, data) | Op::Append(_, data) if data.is_empty())
}

/// Whether Linux leaves something on the upper although the operation fails: it marks a directory that is to be moved,
/// and then the upper finds the target not empty. Here nothing is left.
pub(crate) fn leaves_a_trace_on_linux(tree: &Tree, op: &Op) -> bool {
    match op {
        Op::Rename(from, to, RenameMode::Replace) => {
            let is_dir = |path: &str| matches!(tree.find(path), Ok(Some(Node::Dir(_))));
            is_dir(from) && is_dir(to) && tree.layer(to) == "upper" && !tree.names(to).is_empty()
        }
        _ => false,
    }
}
