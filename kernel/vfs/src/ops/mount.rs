//! `mount(2)` and `umount2(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use base::sort;

use crate::context::Context;
use crate::credentials::Capabilities;
use crate::dentry::Dentry;
use crate::flags::{AT_FDCWD, MountFlags, UmountFlags};
use crate::mount::{Location, Mount, MountEntry, MountRequest, Superblock};
use crate::namespace::{Namespace, root_dentry};
use crate::ops::cwd::Reach;
use crate::path::LookupFlags;
use crate::{Errno, FileSystem, Result};

/// What a mount keeps of the flags.
const KEPT: MountFlags = MountFlags::MS_RDONLY
    .union(MountFlags::MS_NOSUID)
    .union(MountFlags::MS_NODEV)
    .union(MountFlags::MS_NOEXEC)
    .union(MountFlags::MS_SYNCHRONOUS)
    .union(MountFlags::MS_DIRSYNC)
    .union(MountFlags::MS_NOSYMFOLLOW)
    .union(MountFlags::MS_NOATIME)
    .union(MountFlags::MS_NODIRATIME)
    .union(MountFlags::MS_RELATIME);

const PROPAGATION: MountFlags =
    MountFlags::MS_SHARED.union(MountFlags::MS_PRIVATE).union(MountFlags::MS_SLAVE).union(MountFlags::MS_UNBINDABLE);

/// How many shares of an idle mount there are during `umount2(2)`: the tree's, and that of the resolved path.
const IDLE_SHARES: usize = 2;

impl Namespace {
    /// `mount(2)`: a new mount through the registered filesystem types, a bind mount (of one filesystem, without what is mounted
    /// in it), or a remount; what the flags say of propagation is accepted.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EPERM`; `ENODEV`, `EINVAL`,
    /// `ENOTBLK`, `EIO`; `EBUSY` also for a remount to read-only while files are open for writing.
    pub fn mount(
        self: &Arc<Self>,
        ctx: &Context,
        source: &[u8],
        target: &[u8],
        fs_type: &[u8],
        flags: MountFlags,
        data: &[u8],
    ) -> Result<()> {
        let at = self.resolve(ctx, AT_FDCWD, target)?;
        if !ctx.credentials.capable(Capabilities::CAP_SYS_ADMIN) {
            return Err(Errno::EPERM.into());
        }
        let kept = kept(flags);
        let request = MountRequest { namespace: self, context: ctx, source, fs_type, flags, data };
        if flags.contains(MountFlags::MS_REMOUNT) {
            if !at.is_mount_root() {
                return Err(Errno::EINVAL.into());
            }
            if !flags.contains(MountFlags::MS_BIND)
                && let Some(types) = self.types.get()
            {
                types.remount(at.file_system(), &request)?;
            }
            // Without a word on access times they stay what they were.
            let times = MountFlags::MS_NOATIME | MountFlags::MS_NODIRATIME | MountFlags::MS_RELATIME;
            let before = at.mount.flags() & times;
            let told = flags.intersects(times | MountFlags::MS_STRICTATIME);
            let flags = if told { kept } else { (kept - times) | before };
            let old = at.mount.flags();
            at.mount.remount(flags)?;
            if flags.contains(MountFlags::MS_RDONLY) && !old.contains(MountFlags::MS_RDONLY) {
                // What was changed until now is on the medium when the call returns (`sync_filesystem`).
                let synced = at.file_system().sync();
                return synced.or_else(|error| at.mount.remount(old).and(Err(error)));
            }
            return Ok(());
        }
        if flags.contains(MountFlags::MS_BIND) {
            let from = self.resolve(ctx, AT_FDCWD, source)?;
            // A bind mount begins with the flags of what it shows.
            return self.add_mount(&at, &from.mount.superblock, from.dentry.clone(), source, from.mount.flags());
        }
        if flags.intersects(PROPAGATION) {
            return if at.is_mount_root() { Ok(()) } else { Err(Errno::EINVAL.into()) };
        }
        if flags.contains(MountFlags::MS_MOVE) {
            return Err(Errno::EINVAL.into());
        }
        if fs_type.is_empty() {
            return Err(Errno::EINVAL.into());
        }
        let types = self.types.get().ok_or(Errno::ENODEV)?;
        if !at.inode()?.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        let fs = types.open(&request)?;
        let mounted = self.mount_at(&at, fs.clone(), source, flags);
        if mounted.is_err() && !self.superblocks().iter().any(|superblock| Arc::ptr_eq(&superblock.fs, &fs)) {
            // It was opened for this mount alone; what it has to say is less than why it could not be mounted.
            let _ = fs.unmount();
        }
        mounted
    }

    /// Mounts a filesystem that the caller has, over a directory. After an error it is still the caller's.
    ///
    /// # Errors
    /// `ENOTDIR`, `ENOENT` for a removed directory, `EBUSY` for the same filesystem at the same place again.
    pub fn mount_at(&self, at: &Location, fs: Arc<dyn FileSystem>, source: &[u8], flags: MountFlags) -> Result<()> {
        self.reap();
        let known = {
            let topology = self.topology.read();
            let mut mounts = topology.mounts().chain([self.root_mount()]);
            let mount = mounts.find(|mount| Arc::ptr_eq(&mount.superblock.fs, &fs));
            mount.map(|mount| (mount.superblock.clone(), mount.root.clone()))
        };
        let (superblock, root) = match known {
            Some((superblock, root)) => (superblock, topmost(root)),
            None => {
                let superblock = Superblock::new(self.new_id(), fs, self.reaper.clone());
                let root = root_dentry(self.new_id(), &superblock, &self.inodes);
                (superblock, root)
            }
        };
        if at.is_mount_root() && Arc::ptr_eq(&at.dentry, &root) {
            return Err(Errno::EBUSY.into());
        }
        self.add_mount(at, &superblock, root, source, kept(flags))
    }

    /// Puts a part of a filesystem over a place.
    fn add_mount(
        &self,
        at: &Location,
        superblock: &Arc<Superblock>,
        root: Arc<Dentry>,
        source: &[u8],
        flags: MountFlags,
    ) -> Result<()> {
        let inode = at.inode()?;
        if inode.is_dir() != root.positive()?.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        // Keeps the directory from being removed meanwhile.
        let _shared = inode.lock.read();
        if at.dentry.is_unlinked() || inode.is_dead() {
            return Err(Errno::ENOENT.into());
        }
        let id = self.new_id();
        let mut topology = self.topology.write();
        // What another task mounted here meanwhile is covered in its turn.
        let mut on = at.clone();
        while let Some(above) = topology.mount_at(&on.mount, &on.dentry) {
            on = Location { mount: above.clone(), dentry: above.root.clone() };
        }
        let key = (on.mount.id, on.dentry.id);
        on.dentry.add_mount();
        let mount = Mount::new(id, superblock.clone(), root, source, flags, Some(on));
        topology.add_mount(key, mount);
        Ok(())
    }

    /// `umount2(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EPERM`; `EINVAL` for what is no mount; `EBUSY`; `EAGAIN`;
    /// `EIO` where the last writes failed (the mount is gone all the same).
    pub fn umount(&self, ctx: &Context, target: &[u8], flags: UmountFlags) -> Result<()> {
        let expire = flags.contains(UmountFlags::MNT_EXPIRE);
        if !UmountFlags::all().contains(flags)
            || (expire && flags.intersects(UmountFlags::MNT_FORCE | UmountFlags::MNT_DETACH))
        {
            return Err(Errno::EINVAL.into());
        }
        let mut lookup = LookupFlags::empty();
        lookup.set(LookupFlags::FOLLOW, !flags.contains(UmountFlags::UMOUNT_NOFOLLOW));
        lookup.set(LookupFlags::EXPIRING, expire);
        let at = self.lookup_at(ctx, AT_FDCWD, target, lookup)?;
        if !ctx.credentials.capable(Capabilities::CAP_SYS_ADMIN) {
            return Err(Errno::EPERM.into());
        }
        if !at.is_mount_root() {
            return Err(Errno::EINVAL.into());
        }
        let Location { mount, dentry } = at;
        drop(dentry);
        if Arc::ptr_eq(&mount, self.root_mount()) {
            return Err(if expire { Errno::EINVAL.into() } else { Errno::EBUSY.into() });
        }
        let mut gone = Vec::new();
        {
            let mut topology = self.topology.write();
            let children = topology.mounts().any(|child| child.on().is_some_and(|on| Arc::ptr_eq(&on.mount, &mount)));
            if flags.contains(UmountFlags::MNT_DETACH) {
                take_out(&mut topology, &mount, &mut gone);
            } else {
                if children || Arc::strong_count(&mount) > IDLE_SHARES {
                    return Err(Errno::EBUSY.into());
                }
                if expire && !mount.expiring.swap(true, Ordering::AcqRel) {
                    return Err(Errno::EAGAIN.into());
                }
                take_out(&mut topology, &mount, &mut gone);
            }
        }
        drop(gone);
        drop(mount);
        self.reap_waiting()
    }

    /// Unmounts every filesystem, the innermost first, in use or not: the last thing before the power goes.
    ///
    /// # Errors
    /// The first failure; all are tried.
    pub fn unmount_all(&self) -> Result<()> {
        let superblocks = self.superblocks();
        let mut gone = Vec::new();
        {
            let mut topology = self.topology.write();
            let mounts: Vec<_> = topology.mounts().cloned().collect();
            for mount in &mounts {
                take_out(&mut topology, mount, &mut gone);
            }
        }
        drop(gone);
        // They are unmounted here, in order, and not when their last user goes.
        self.reaper.take();
        let mut result = Ok(());
        for superblock in superblocks {
            self.purge(&superblock);
            result = result.and(superblock.unmount());
        }
        // What they kept mounted below them.
        result.and(self.reap_waiting())
    }

    /// The mounts that can be seen from the caller's root, in the order of their making (`/proc/mounts`).
    #[must_use]
    pub fn mounts(&self, ctx: &Context) -> Vec<MountEntry> {
        let mut mounts: Vec<Arc<Mount>> = {
            let topology = self.topology.read();
            topology.mounts().chain([self.root_mount()]).cloned().collect()
        };
        sort::by_key(&mut mounts, |mount| mount.id);
        let root = ctx.fs.root();
        let entry = |mount: Arc<Mount>| {
            let top = Location { mount: mount.clone(), dentry: mount.root.clone() };
            let (target, reach) = self.path_from(&root, &top);
            let on = mount.on();
            let mut flags = mount.flags();
            flags.set(MountFlags::MS_RDONLY, mount.want_write().is_err());
            (reach == Reach::Root).then(|| MountEntry {
                id: mount.id,
                parent: on.map_or(mount.id, |on| on.mount.id),
                source: mount.source.to_vec(),
                target,
                fs_type: mount.superblock.fs.type_name(),
                flags,
                dev: mount.root.inode().map_or(0, |inode| inode.node.id().dev),
            })
        };
        mounts.into_iter().filter_map(entry).collect()
    }

    /// Unmounts the filesystems whose last mount is gone.
    pub(crate) fn reap_waiting(&self) -> Result<()> {
        let mut result = Ok(());
        // The end of one may be the end of what it kept mounted.
        while self.reaper.is_waiting() {
            for superblock in self.reaper.take() {
                self.purge(&superblock);
                result = result.and(superblock.unmount());
            }
        }
        result
    }

    /// Forgets everything of a filesystem.
    fn purge(&self, superblock: &Superblock) {
        let mut discarded = Vec::new();
        self.topology.write().purge(superblock.id, &mut discarded);
    }
}

/// Takes a mount and all on it out of the tree; what was held is dropped later, without the lock.
fn take_out(topology: &mut crate::topology::Topology, mount: &Arc<Mount>, gone: &mut Vec<(Arc<Mount>, Location)>) {
    let on_it = |child: &&Arc<Mount>| child.on().is_some_and(|on| Arc::ptr_eq(&on.mount, mount));
    let children: Vec<_> = topology.mounts().filter(on_it).cloned().collect();
    for child in &children {
        take_out(topology, child, gone);
    }
    if let Some(on) = mount.detach() {
        on.dentry.remove_mount();
        if let Some(mount) = topology.remove_mount((on.mount.id, on.dentry.id)) {
            gone.push((mount, on));
        }
    }
}

/// The root of the filesystem that a dentry is in.
fn topmost(dentry: Arc<Dentry>) -> Arc<Dentry> {
    let mut at = dentry;
    while let Some(parent) = at.parent() {
        at = parent;
    }
    at
}

fn kept(flags: MountFlags) -> MountFlags {
    let mut kept = flags & KEPT;
    kept.set(MountFlags::MS_RELATIME, !flags.contains(MountFlags::MS_NOATIME));
    kept
}
