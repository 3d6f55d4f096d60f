//! An overlay filesystem: several directory trees shown as one, changes kept in the topmost.
//!
//! It is Linux overlayfs in behaviour and on disk, over any filesystem that implements the contract of the `vfs` crate. It knows no
//! disk, no path and no process; it has no `unsafe` and needs no `std`. Layers are given as directories of mounted
//! filesystems; the one on top must offer [`vfs::UpperDir`], whose steps are atomic, so that every operation of the
//! overlay is too: there is no half state, nothing to recover after a crash, and the work directory stays empty.
//!
//! ```
//! use std::sync::Arc;
//! use fs_overlay::{Layer, Layers, Options, OverlayFs};
//! use vfs::{FileSystem, FsContext, Name, NewKind, NewNode, Timestamp};
//!
//! let context = |dev| FsContext { dev, clock: Arc::new(|| Timestamp::EPOCH) };
//! let [lower, upper] = [1, 2].map(|dev| ramfs::RamFs::new(context(dev), &Default::default()).unwrap());
//! let motd = Name::new(b"motd")?;
//! lower.root().create(motd, &NewNode::new(NewKind::File, 0o644))?;
//! let layers = Layers { upper: Some(Layer::of(upper.clone())), work: None, lowers: vec![Layer::of(lower)] };
//! let overlay = OverlayFs::mount(context(3), layers, Options::default())?;
//! overlay.root().lookup(motd)?.unwrap().as_file()?.write_at(0, b"hello")?; // copies it up
//! assert_eq!(upper.root().lookup(motd)?.unwrap().attr()?.size, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is removed leaves a whiteout in the upper, and the lower layers are never changed: see [`OverlayFs`].
//! [`MountOptions`] reads the options of `mount(2)`; `docs/overlay.md` is for users, `docs/format.md` gives every byte that is
//! written to an upper layer.
//!
//! # Inside
//!
//! One node per object, found again through a weak table while it is in use: `node::OverlayDir` or `leaf::Leaf`. Its lower
//! parts are fixed when it is looked up (`lookup` and `search`, by the rules of `merge`), its upper part is set once, when a copy-up is
//! published (`copy_up`). Whoever has a file open holds its node, and each call goes to the part that is on top at that
//! moment. `metacopy` and `index` know copies without data and those of inodes with several names, `flags` what protects an inode. `create`, `remove`, `rename` and `readdir` (with `listing`) are the operations of directories, `identity` makes inode numbers, `handle` what finds an inode again, `format`
//! and `xattr` know the extended attributes, `options` and `mount` the way in, `uuid` what tells one overlay from another.
//!
//! # Lock order, outermost first
//!
//! 1. `Core::copying` of one node: while it is copied up. Its parent was copied up before, so no two are ever held.
//! 2. `Shared::rename`: while directories can move. Never held over the copying of data.
//! 3. `OverlayDir::entries`: shared for lookups and listings, exclusive for changes and for the publication of a copy. The
//!    directory above first; two of which neither is above the other only under the rename lock.
//! 4. `Index::inodes`: shared while an inode is looked for in the index and in the table, exclusive while its copy is published there;
//!    `Index::links`: while a name gets its entry.
//! 5. Leaves, one at a time, nothing called under them: the place, the redirect, the listing and the key of a node, the
//!    table of nodes (inside a key), the recent listings, the directories in use.
//! 6. The layers' own: upper, then lower.
//!
//! `rank` has the locks of ranks 1 to 4; tests check in debug builds that they are taken in this order.
//!
//! Whoever needs something copied up does it before taking a lock of rank 2 or 3, and looks again afterwards.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod copy_up;
mod create;
mod dir;
mod flags;
mod format;
mod fs;
mod handle;
mod identity;
mod index;
mod leaf;
mod listing;
mod lookup;
mod merge;
mod metacopy;
mod mount;
mod node;
mod options;
mod rank;
mod readdir;
mod remove;
mod rename;
mod room;
mod search;
mod uuid;
mod xattr;

pub use fs::{OVERLAYFS_MAGIC, OverlayFs};
pub use mount::{Layer, Layers, make_upper};
pub use options::{
    IndexMode, LOWERS_MAX, MetacopyMode, MountError, MountOptions, Options, RedirectMode, SyncMode, UuidMode,
    XattrClass,
};
pub use rank::{SHARED_RANK, watch_locks};
pub use readdir::concerns_one_entry;
pub use xattr::LAYER_XATTR;
