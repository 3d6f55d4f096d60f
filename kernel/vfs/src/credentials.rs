//! Who acts: user and group ids with their set-id rules, and capabilities (`credentials(7)`, `capabilities(7)`).
//!
//! Every task has a [`Credentials`] of its own. What the ids allow is decided in [`crate::permission`] alone.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::{Attr, Errno, Result, mode};

bitflags::bitflags! {
    /// Capabilities, each at Linux's bit (`<linux/capability.h>`). Those that the system does not consult are carried along.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Capabilities: u64 {
        /// Change any owner and group.
        const CAP_CHOWN = 1 << 0;
        /// Read, write and execute past permission bits.
        const CAP_DAC_OVERRIDE = 1 << 1;
        /// Read, and search directories, past permission bits.
        const CAP_DAC_READ_SEARCH = 1 << 2;
        /// Do to any inode what its owner may.
        const CAP_FOWNER = 1 << 3;
        /// Keep set-id bits at changes.
        const CAP_FSETID = 1 << 4;
        /// Signal anyone.
        const CAP_KILL = 1 << 5;
        /// Take any group id.
        const CAP_SETGID = 1 << 6;
        /// Take any user id.
        const CAP_SETUID = 1 << 7;
        /// Protect inodes, and take the protection away ([`InodeFlags::PROTECTION`](crate::InodeFlags::PROTECTION)).
        const CAP_LINUX_IMMUTABLE = 1 << 9;
        /// `chroot(2)`.
        const CAP_SYS_CHROOT = 1 << 18;
        /// Mount, and `trusted.*` attributes.
        const CAP_SYS_ADMIN = 1 << 21;
        /// `reboot(2)`.
        const CAP_SYS_BOOT = 1 << 22;
        /// Exceed limits.
        const CAP_SYS_RESOURCE = 1 << 24;
        /// Set the clock.
        const CAP_SYS_TIME = 1 << 25;
        /// Make device nodes.
        const CAP_MKNOD = 1 << 27;
        /// Set file capabilities.
        const CAP_SETFCAP = 1 << 31;
        /// The rest of the 41 that Linux knows.
        const _ = (1 << 41) - 1;
    }
}

impl Capabilities {
    /// What goes and comes with the filesystem user id (`CAP_FS_SET`, less what is not consulted).
    pub const FILE_SYSTEM: Self = Self::CAP_CHOWN
        .union(Self::CAP_DAC_OVERRIDE)
        .union(Self::CAP_DAC_READ_SEARCH)
        .union(Self::CAP_FOWNER)
        .union(Self::CAP_FSETID)
        .union(Self::CAP_MKNOD);
}

/// The most supplementary groups (`NGROUPS_MAX`).
pub const GROUPS_MAX: usize = 65_536;

/// One kind of id, four times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// Who started the task.
    pub real: u32,
    /// In whose name it acts.
    pub effective: u32,
    /// What it may go back to.
    pub saved: u32,
    /// In whose name it uses files; follows the effective one.
    pub file_system: u32,
}

impl Ids {
    /// All four the same.
    #[must_use]
    pub const fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, file_system: id }
    }

    const fn has(&self, id: u32) -> bool {
        id == self.real || id == self.effective || id == self.saved
    }

    /// `setuid(2)` and `setgid(2)`.
    fn set(&self, id: u32, privileged: bool) -> Result<Self> {
        if privileged {
            Ok(Self::all(id))
        } else if id == self.real || id == self.saved {
            Ok(Self { effective: id, file_system: id, ..*self })
        } else {
            Err(Errno::EPERM.into())
        }
    }

    /// `setreuid(2)` and `setregid(2)`.
    fn set_re(&self, real: Option<u32>, effective: Option<u32>, privileged: bool) -> Result<Self> {
        let mut new = *self;
        if let Some(id) = real {
            if !privileged && id != self.real && id != self.effective {
                return Err(Errno::EPERM.into());
            }
            new.real = id;
        }
        if let Some(id) = effective {
            if !privileged && !self.has(id) {
                return Err(Errno::EPERM.into());
            }
            new.effective = id;
        }
        if real.is_some() || effective.is_some_and(|id| id != self.real) {
            new.saved = new.effective;
        }
        new.file_system = new.effective;
        Ok(new)
    }

    /// `setresuid(2)` and `setresgid(2)`.
    fn set_res(&self, ids: [Option<u32>; 3], privileged: bool) -> Result<Self> {
        if !privileged && ids.iter().flatten().any(|&id| !self.has(id)) {
            return Err(Errno::EPERM.into());
        }
        let effective = ids[1].unwrap_or(self.effective);
        Ok(Self {
            real: ids[0].unwrap_or(self.real),
            effective,
            saved: ids[2].unwrap_or(self.saved),
            file_system: effective,
        })
    }

    /// `setfsuid(2)` and `setfsgid(2)`: the new state, if the id may be taken. No one has the id -1: programs ask with it.
    fn set_fs(&self, id: u32, privileged: bool) -> Option<Self> {
        if id == u32::MAX {
            return None;
        }
        (privileged || self.has(id) || id == self.file_system).then_some(Self { file_system: id, ..*self })
    }
}

static NEXT_STAMP: AtomicU64 = AtomicU64::new(1);

fn new_stamp() -> u64 {
    NEXT_STAMP.fetch_add(1, Ordering::Relaxed)
}

/// Who a task is.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Changes with every change: `linkat(2)` wants to know whether a descriptor was opened by the same credentials.
    stamp: u64,
    uid: Ids,
    gid: Ids,
    groups: Arc<[u32]>,
    permitted: Capabilities,
    effective: Capabilities,
}

impl Credentials {
    /// Root, with every capability.
    #[must_use]
    pub fn root() -> Self {
        Self::user(0, 0, &[])
    }

    /// A user with all ids alike. Every capability for user 0, none for the rest.
    #[must_use]
    pub fn user(uid: u32, gid: u32, groups: &[u32]) -> Self {
        let capabilities = if uid == 0 { Capabilities::all() } else { Capabilities::empty() };
        Self {
            stamp: new_stamp(),
            uid: Ids::all(uid),
            gid: Ids::all(gid),
            groups: groups.into(),
            permitted: capabilities,
            effective: capabilities,
        }
    }

    pub(crate) const fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The user ids.
    #[must_use]
    pub const fn uid(&self) -> &Ids {
        &self.uid
    }

    /// The group ids.
    #[must_use]
    pub const fn gid(&self) -> &Ids {
        &self.gid
    }

    /// The supplementary groups.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// Capabilities in effect.
    #[must_use]
    pub const fn effective(&self) -> Capabilities {
        self.effective
    }

    /// Capabilities that could be put into effect.
    #[must_use]
    pub const fn permitted(&self) -> Capabilities {
        self.permitted
    }

    /// Whether all of `wanted` is in effect.
    #[must_use]
    pub const fn capable(&self, wanted: Capabilities) -> bool {
        self.effective.contains(wanted)
    }

    /// Whether `gid` is the group in whose name files are used, or a supplementary one.
    #[must_use]
    pub fn in_group(&self, gid: u32) -> bool {
        gid == self.gid.file_system || self.groups.contains(&gid)
    }

    /// `setuid(2)`.
    ///
    /// # Errors
    /// `EPERM`.
    pub fn set_uid(&mut self, uid: u32) -> Result<()> {
        let new = self.uid.set(uid, self.capable(Capabilities::CAP_SETUID))?;
        self.change_uid(new);
        Ok(())
    }

    /// `setreuid(2)`; `None` stands for -1.
    ///
    /// # Errors
    /// `EPERM`.
    pub fn set_reuid(&mut self, real: Option<u32>, effective: Option<u32>) -> Result<()> {
        let new = self.uid.set_re(real, effective, self.capable(Capabilities::CAP_SETUID))?;
        self.change_uid(new);
        Ok(())
    }

    /// `setresuid(2)`: real, effective, saved; `None` stands for -1.
    ///
    /// # Errors
    /// `EPERM`.
    pub fn set_resuid(&mut self, ids: [Option<u32>; 3]) -> Result<()> {
        let new = self.uid.set_res(ids, self.capable(Capabilities::CAP_SETUID))?;
        self.change_uid(new);
        Ok(())
    }

    /// `setfsuid(2)`: returns the id before; it never fails, and says nothing when it refuses.
    pub fn set_fsuid(&mut self, uid: u32) -> u32 {
        let before = self.uid.file_system;
        if let Some(new) = self.uid.set_fs(uid, self.capable(Capabilities::CAP_SETUID)) {
            self.stamp = new_stamp();
            self.uid = new;
            if before == 0 && uid != 0 {
                self.effective.remove(Capabilities::FILE_SYSTEM);
            } else if before != 0 && uid == 0 {
                self.effective |= self.permitted & Capabilities::FILE_SYSTEM;
            }
        }
        before
    }

    /// `setgid(2)`.
    ///
    /// # Errors
    /// `EPERM`.
    pub fn set_gid(&mut self, gid: u32) -> Result<()> {
        self.gid = self.gid.set(gid, self.capable(Capabilities::CAP_SETGID))?;
        self.stamp = new_stamp();
        Ok(())
    }

    /// `setregid(2)`; `None` stands for -1.
    ///
    /// # Errors
    /// `EPERM`.
    pub fn set_regid(&mut self, real: Option<u32>, effective: Option<u32>) -> Result<()> {
        self.gid = self.gid.set_re(real, effective, self.capable(Capabilities::CAP_SETGID))?;
        self.stamp = new_stamp();
        Ok(())
    }

    /// `setresgid(2)`: real, effective, saved; `None` stands for -1.
    ///
    /// # Errors
    /// `EPERM`.
    pub fn set_resgid(&mut self, ids: [Option<u32>; 3]) -> Result<()> {
        self.gid = self.gid.set_res(ids, self.capable(Capabilities::CAP_SETGID))?;
        self.stamp = new_stamp();
        Ok(())
    }

    /// `setfsgid(2)`: returns the id before; it never fails, and says nothing when it refuses.
    pub fn set_fsgid(&mut self, gid: u32) -> u32 {
        let before = self.gid.file_system;
        if let Some(new) = self.gid.set_fs(gid, self.capable(Capabilities::CAP_SETGID)) {
            self.stamp = new_stamp();
            self.gid = new;
        }
        before
    }

    /// `setgroups(2)`.
    ///
    /// # Errors
    /// `EPERM`; `EINVAL` over [`GROUPS_MAX`].
    pub fn set_groups(&mut self, groups: &[u32]) -> Result<()> {
        if !self.capable(Capabilities::CAP_SETGID) {
            return Err(Errno::EPERM.into());
        }
        if groups.len() > GROUPS_MAX {
            return Err(Errno::EINVAL.into());
        }
        self.groups = groups.into();
        self.stamp = new_stamp();
        Ok(())
    }

    /// `capset(2)` on oneself.
    ///
    /// # Errors
    /// `EPERM` for what is not permitted.
    pub fn set_capabilities(&mut self, effective: Capabilities, permitted: Capabilities) -> Result<()> {
        if !self.permitted.contains(permitted) || !permitted.contains(effective) {
            return Err(Errno::EPERM.into());
        }
        self.permitted = permitted;
        self.effective = effective;
        self.stamp = new_stamp();
        Ok(())
    }

    /// What `access(2)` asks in the name of: the real ids in place of those for files.
    #[must_use]
    pub fn real(&self) -> Self {
        let mut real = self.clone();
        real.uid.file_system = self.uid.real;
        real.gid.file_system = self.gid.real;
        real.effective = if self.uid.real == 0 { self.permitted } else { Capabilities::empty() };
        real
    }

    /// What `execve(2)` of a file with these attributes makes of them; set-id bits count unless the mount is `nosuid`.
    #[must_use]
    pub fn after_exec(&self, file: &Attr, set_id: SetIdOnExec) -> Self {
        let mut new = self.clone();
        new.stamp = new_stamp();
        if set_id == SetIdOnExec::Honoured {
            if file.mode & mode::SET_UID != 0 {
                new.uid.effective = file.uid;
            }
            if file.mode & (mode::SET_GID | 0o010) == mode::SET_GID | 0o010 {
                new.gid.effective = file.gid;
            }
        }
        for ids in [&mut new.uid, &mut new.gid] {
            ids.saved = ids.effective;
            ids.file_system = ids.effective;
        }
        let (real, effective) = (new.uid.real, new.uid.effective);
        new.permitted = if real == 0 || effective == 0 { Capabilities::all() } else { Capabilities::empty() };
        new.effective = if effective == 0 { new.permitted } else { Capabilities::empty() };
        new
    }

    /// Takes new user ids, and lets capabilities follow (`capabilities(7)`, "Effect of user ID changes").
    fn change_uid(&mut self, new: Ids) {
        let old = core::mem::replace(&mut self.uid, new);
        self.stamp = new_stamp();
        if old.has(0) && !new.has(0) {
            self.permitted = Capabilities::empty();
            self.effective = Capabilities::empty();
        } else if old.effective == 0 && new.effective != 0 {
            self.effective = Capabilities::empty();
        } else if old.effective != 0 && new.effective == 0 {
            self.effective = self.permitted;
        }
    }
}

/// Whether the mount lets set-id bits count at `execve(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetIdOnExec {
    /// They count.
    Honoured,
    /// `nosuid`.
    Ignored,
}
