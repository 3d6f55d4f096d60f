//! What every node of the overlay has ([`Core`]), where it is ([`Place`]), and directories ([`OverlayDir`]).
//!
//! A node's lower parts are fixed when it is looked up; its upper part is set once, when a copy-up is published. A directory
//! holds its parent, never its children, so a chain of directories lives as long as its deepest user.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use base::sync::{Mutex, OnceLock, RwLock};
use vfs::{DirOps, Errno, Error, Name, NameBuf, NodeId, NodeOps, Result, UpperDir};

use crate::flags;
use crate::format::{Redirect, YES};
use crate::fs::Shared;
use crate::identity::{FsIndex, Key, LayerIndex};
use crate::listing::Listing;
use crate::merge::Whiteouts;
use crate::rank::{Rank, Ranked};

/// What nodes of all kinds have.
pub(crate) struct Core {
    pub(crate) fs: Arc<Shared>,
    /// The inode number; changes only where a lower hard link parts from its other names.
    number: AtomicU64,
    key: Mutex<Key>,
    /// Tells nodes apart, also while they are dropped.
    serial: u64,
    /// The flags that the upper has beside the inode, once they are known; else [`flags::UNKNOWN`].
    pub(crate) protection: AtomicU32,
    /// Held while the node is copied up, and while its flags change.
    pub(crate) copying: Ranked<Mutex<()>>,
}

impl Core {
    pub(crate) fn new(fs: Arc<Shared>, number: u64, key: Key) -> Self {
        let serial = fs.table.next_serial();
        let copying = Ranked::new(Rank::Copying, fs.depth);
        let protection = AtomicU32::new(flags::UNKNOWN);
        Self { fs, number: AtomicU64::new(number), key: Mutex::new(key), serial, protection, copying }
    }

    pub(crate) fn id(&self) -> NodeId {
        NodeId { dev: self.fs.dev, ino: self.number() }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Whether the number is that of a lower inode, so that its directory must be marked impure.
    pub(crate) fn has_origin<N: NodeOps + ?Sized>(&self, upper: &N) -> Result<bool> {
        Ok(self.number() != self.fs.numbering.number(FsIndex::UPPER, upper.id().ino)?)
    }

    /// Records that the content is now in inode `ino` of the upper, under `number`.
    pub(crate) fn moved_to_upper(&self, ino: u64, number: u64) {
        let new = Key::Upper(ino);
        let mut key = self.key.lock();
        self.fs.table.rekey(&key, new.clone(), self.serial);
        *key = new;
        self.number.store(number, Ordering::Relaxed);
    }

    /// Changes the key of a node that is not listed yet.
    pub(crate) fn set_key(&self, key: Key) {
        *self.key.lock() = key;
    }

    /// Takes the node out of the table: it is being dropped, or can never be looked up again.
    pub(crate) fn forget(&self) {
        self.fs.table.forget(&self.key.lock(), self.serial);
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }
}

/// Where a node is, as far as the overlay must know it: to copy it up, and to name a directory in a redirect.
pub(crate) enum Place {
    /// The root.
    Root,
    /// A directory, or a leaf that is in lower layers only, at its name.
    At { parent: Arc<OverlayDir>, name: NameBuf },
    /// A leaf of a lower layer with several names, which the index keeps together.
    Shared,
    /// A leaf of a lower layer that was found by its handle: its names are not known, so it cannot be copied up.
    Detached,
    /// A leaf in the upper: the upper knows its names.
    Upper,
    /// Removed.
    Gone,
}

/// A directory of a lower layer, as part of a merged one.
#[derive(Clone)]
pub(crate) struct LowerDir {
    pub(crate) layer: LayerIndex,
    pub(crate) dir: Arc<dyn DirOps>,
    /// What may be a whiteout in it.
    pub(crate) whiteouts: Whiteouts,
}

/// What is known of the upper directory's `impure` attribute.
const IMPURE_UNKNOWN: u8 = 0;
const IMPURE_NO: u8 = 1;
const IMPURE_YES: u8 = 2;

/// A directory of the overlay: an upper part, lower parts, or both.
pub(crate) struct OverlayDir {
    pub(crate) core: Core,
    pub(crate) this: Weak<OverlayDir>,
    upper: OnceLock<Arc<dyn DirOps>>,
    /// Topmost first.
    pub(crate) lowers: Box<[LowerDir]>,
    /// A leaf lock.
    place: Mutex<Place>,
    /// Set once it is removed; read without a lock.
    gone: AtomicBool,
    /// The redirect of the upper part. A leaf lock.
    redirect: Mutex<Option<Redirect>>,
    impure: AtomicU8,
    /// Shared while entries are looked at, exclusive while they change or their copy is published.
    pub(crate) entries: Ranked<RwLock<()>>,
    /// The merged listing, if it is still in memory. A leaf lock.
    pub(crate) listing: Mutex<Weak<Listing>>,
}

/// What an [`OverlayDir`] starts with.
pub(crate) struct DirParts {
    pub(crate) upper: Option<Arc<dyn DirOps>>,
    pub(crate) lowers: Box<[LowerDir]>,
    pub(crate) redirect: Option<Redirect>,
}

impl OverlayDir {
    pub(crate) fn new(core: Core, parts: DirParts, place: Place) -> Arc<Self> {
        let entries = Ranked::new(Rank::Entries, core.fs.depth);
        Arc::new_cyclic(|this| Self {
            core,
            this: this.clone(),
            upper: match parts.upper {
                Some(upper) => OnceLock::initialized(upper),
                None => OnceLock::new(),
            },
            lowers: parts.lowers,
            place: Mutex::new(place),
            gone: AtomicBool::new(false),
            redirect: Mutex::new(parts.redirect),
            impure: AtomicU8::new(IMPURE_UNKNOWN),
            entries,
            listing: Mutex::new(Weak::new()),
        })
    }

    /// This directory, to be held.
    ///
    /// # Errors
    /// `ENOENT`: never, while a caller uses the directory; the type cannot say so.
    pub(crate) fn this(&self) -> Result<Arc<Self>> {
        self.this.upgrade().ok_or_else(|| Errno::ENOENT.into())
    }

    /// The part in the upper.
    pub(crate) fn upper(&self) -> Option<&Arc<dyn DirOps>> {
        self.upper.get()
    }

    /// The part in the upper, for changes; it must have been copied up.
    ///
    /// # Errors
    /// `EROFS` where it was not; `EIO` where the upper stopped being one.
    pub(crate) fn changeable(&self) -> Result<&dyn UpperDir> {
        let upper = self.upper().ok_or(Errno::EROFS)?;
        upper
            .as_upper()
            .ok_or_else(|| Error::fault(Errno::EIO, "overlay: a directory of the upper is no upper directory"))
    }

    /// Sets the part in the upper, which was copied up just now; the caller holds the parent's entries.
    pub(crate) fn set_upper(&self, upper: Arc<dyn DirOps>) {
        self.core.moved_to_upper(upper.id().ino, self.core.number());
        self.impure.store(IMPURE_NO, Ordering::Relaxed);
        self.upper.call_once(|| upper);
    }

    /// The topmost part: it has the attributes.
    ///
    /// # Errors
    /// `EIO`: never, for every directory has a part; the type cannot say so.
    pub(crate) fn top(&self) -> Result<&Arc<dyn DirOps>> {
        self.upper()
            .or_else(|| self.lowers.first().map(|lower| &lower.dir))
            .ok_or_else(|| Error::fault(Errno::EIO, "overlay: a directory without any part"))
    }

    /// Whether several layers make it up, as Linux's `OVL_TYPE_MERGE`.
    pub(crate) fn is_merged(&self) -> bool {
        self.lowers.len() + usize::from(self.upper().is_some()) > 1
    }

    /// Whether it was removed.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Records that it was removed; the caller holds its entries and its parent's.
    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
        self.core.forget();
        let place = core::mem::replace(&mut *self.place.lock(), Place::Gone);
        drop(place);
    }

    /// Parent and name, if it has them.
    pub(crate) fn position(&self) -> Option<(Arc<Self>, NameBuf)> {
        match &*self.place.lock() {
            Place::At { parent, name } => Some((Arc::clone(parent), name.clone())),
            Place::Root | Place::Shared | Place::Detached | Place::Upper | Place::Gone => None,
        }
    }

    /// Whether it is at `name` in `parent`.
    pub(crate) fn is_at(&self, parent: &Self, name: Name<'_>) -> bool {
        self.place.lock().is_at(parent, name)
    }

    /// Records a rename; the caller holds the rename lock and the entries of both parents.
    pub(crate) fn set_position(&self, parent: Arc<Self>, name: Name<'_>) {
        let place = Place::At { parent, name: name.to_owned() };
        let old = core::mem::replace(&mut *self.place.lock(), place);
        drop(old);
    }

    /// Whether `other` is this directory or above it; the caller holds the rename lock.
    pub(crate) fn is_at_or_below(&self, other: &Self) -> bool {
        if core::ptr::eq(self, other) {
            return true;
        }
        let mut position = self.position();
        while let Some((parent, _)) = position {
            if core::ptr::eq(&*parent, other) {
                return true;
            }
            position = parent.position();
        }
        false
    }

    pub(crate) fn redirect(&self) -> Option<Redirect> {
        self.redirect.lock().clone()
    }

    pub(crate) fn set_redirect(&self, redirect: Redirect) {
        *self.redirect.lock() = Some(redirect);
    }

    /// Whether the upper part says that it holds entries whose inode number is that of a lower inode.
    ///
    /// # Errors
    /// Those of the upper.
    pub(crate) fn is_impure(&self) -> Result<bool> {
        match self.impure.load(Ordering::Relaxed) {
            IMPURE_YES => Ok(true),
            IMPURE_NO => Ok(false),
            _ => {
                let Some(upper) = self.upper() else { return Ok(false) };
                let value = crate::xattr::of_layer(&**upper, self.core.fs.names.impure)?;
                let impure = value.as_deref() == Some(YES);
                self.impure.store(if impure { IMPURE_YES } else { IMPURE_NO }, Ordering::Relaxed);
                Ok(impure)
            }
        }
    }

    /// Records that the upper part says so now.
    pub(crate) fn set_impure(&self) {
        self.impure.store(IMPURE_YES, Ordering::Relaxed);
    }
}

impl Place {
    /// Whether it is `name` in `parent`.
    pub(crate) fn is_at(&self, parent: &OverlayDir, name: Name<'_>) -> bool {
        match self {
            Self::At { parent: own, name: own_name } => {
                core::ptr::eq(&**own, parent) && own_name.as_bytes() == name.as_bytes()
            }
            Self::Root | Self::Shared | Self::Detached | Self::Upper | Self::Gone => false,
        }
    }
}

impl Drop for OverlayDir {
    fn drop(&mut self) {
        self.core.forget();
        // A deep chain of directories whose last user goes would be dropped by recursion, on a stack that may be
        // small: unlink it step by step.
        let mut place = core::mem::replace(self.place.get_mut(), Place::Gone);
        while let Place::At { parent, .. } = place {
            let Some(mut parent) = Arc::into_inner(parent) else { return };
            place = core::mem::replace(parent.place.get_mut(), Place::Gone);
        }
    }
}
