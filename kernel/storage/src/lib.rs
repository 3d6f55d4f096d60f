//! How an appliance's disk is taken into use and becomes the layer of its changes: the same for the kernel and for host
//! programs that open an appliance's image.
//!
//! [`prepare`] looks before anything is done: a blank disk is formatted, an ext4 filesystem is taken as it is, anything else is left
//! alone. [`mount`] mounts it and finds [`Changes`] on it, [`layers`] does so on any filesystem, [`stack`] puts them
//! over the firmware. Every [`Refusal`] says in words what is wrong.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use base::{Errno, Error, Result};
use block::BlockDevice;
use ext4::{Ext4, FormatError, FormatOptions, Probe};
use fs_overlay::{Layer, Layers};
use vfs::{DirOps, FileSystem, FsContext, Name, NewKind, NewNode, Node};

/// The directory of a filesystem that is the upper layer.
const UPPER: &[u8] = b"upper";
/// The one beside it that Linux needs to mount the upper layer.
const WORK: &[u8] = b"work";

/// The layer of changes.
#[derive(Clone)]
pub enum Changes {
    /// It takes more of them.
    Writable {
        /// Where they go.
        upper: Layer,
        /// What Linux needs beside it.
        work: Layer,
    },
    /// It shows earlier ones.
    ReadOnly(Layer),
}

/// Why a disk does not take the changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no way to use it: what is on it, if anything, stays as it is.
    Untouched(String),
    /// It cannot hold a filesystem.
    Unfit(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untouched(why) | Self::Unfit(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for Refusal {}

/// What [`prepare`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// There was a filesystem.
    Found,
    /// The disk was blank, and has one now.
    Formatted,
}

/// Sees to it that there is a filesystem on a disk: one that is blank throughout is formatted as `new` says.
///
/// # Errors
/// [`Refusal::Untouched`] for a disk that holds anything but ext4, or cannot be read; [`Refusal::Unfit`] for a blank one of the
/// wrong size, or one that cannot be written.
pub fn prepare(disk: &dyn BlockDevice, new: impl FnOnce() -> FormatOptions) -> Result<Prepared, Refusal> {
    match ext4::recognise(disk) {
        Some(Probe::Ext4(_)) => return Ok(Prepared::Found),
        Some(Probe::Unknown(what)) => return Err(Refusal::Untouched(what)),
        Some(Probe::Blank) | None => {}
    }
    // It looks at all of the disk before it writes.
    match ext4::format(disk, &new()) {
        Ok(()) => Ok(Prepared::Formatted),
        Err(error @ (FormatError::TooSmall { .. } | FormatError::TooLarge { .. } | FormatError::ReadOnly)) => {
            Err(Refusal::Unfit(format!("{error}")))
        }
        Err(FormatError::NotBlank) => {
            Err(Refusal::Untouched("no filesystem that is known, but the disk is not blank".into()))
        }
        Err(error) => Err(Refusal::Untouched(format!("{error}"))),
    }
}

/// Mounts the filesystem of a disk and finds the changes on it, as [`layers`]. Where they cannot be added to, they are shown.
///
/// # Errors
/// [`Refusal::Untouched`], with what is wrong.
pub fn mount(
    disk: Arc<dyn BlockDevice>,
    context: FsContext,
    options: ext4::MountOptions,
    firmware: &[Arc<dyn FileSystem>],
) -> Result<(Arc<Ext4>, Changes), Refusal> {
    let refused = |error: Error| Refusal::Untouched(format!("{error}"));
    let fs = Ext4::mount(disk, context, options).map_err(|error| Refusal::Untouched(format!("{error}")))?;
    let changes = if fs.is_read_only() {
        let upper = Name::new(UPPER).and_then(|name| fs.root().lookup(name)).map_err(refused)?;
        let Some(Node::Dir(root)) = upper else {
            return Err(Refusal::Untouched("it is read-only and holds no changes".into()));
        };
        Changes::ReadOnly(Layer { fs: fs.clone(), root })
    } else {
        layers(fs.clone(), firmware).map_err(refused)?
    };
    Ok((fs, changes))
}

/// The layers `/upper` and `/work` of a filesystem, made if they are missing. A new upper looks as the firmware's root, which it
/// hides; `firmware` are the lower layers, topmost first.
///
/// # Errors
/// `ENOTDIR` where something else has one of the names; those of the filesystem.
pub fn layers(fs: Arc<dyn FileSystem>, firmware: &[Arc<dyn FileSystem>]) -> Result<Changes> {
    let top = fs.root();
    let plain = |name: Name<'_>, mode| top.create(name, &NewNode::new(NewKind::Dir, mode));
    let upper = directory(&*top, UPPER, |name| match firmware.first() {
        Some(lower) => fs_overlay::make_upper(&*top, name, &*lower.root()).map(Node::Dir),
        None => plain(name, 0o755),
    })?;
    let work = directory(&*top, WORK, |name| plain(name, 0o700))?;
    Ok(Changes::Writable { upper: Layer { fs: fs.clone(), root: upper }, work: Layer { fs, root: work } })
}

fn directory(parent: &dyn DirOps, name: &[u8], make: impl FnOnce(Name<'_>) -> Result<Node>) -> Result<Arc<dyn DirOps>> {
    let name = Name::new(name)?;
    let node = match parent.lookup(name)? {
        Some(node) => node,
        None => make(name)?,
    };
    match node {
        Node::Dir(dir) => Ok(dir),
        _ => Err(Errno::ENOTDIR.into()),
    }
}

/// The layers of the merged tree: the firmware's, topmost first, with the changes above, if there are any.
#[must_use]
pub fn stack(firmware: impl IntoIterator<Item = Arc<dyn FileSystem>>, changes: Option<Changes>) -> Layers {
    let mut lowers: Vec<_> = firmware.into_iter().map(Layer::of).collect();
    let (mut upper, mut work) = (None, None);
    match changes {
        None => {}
        Some(Changes::Writable { upper: top, work: beside }) => (upper, work) = (Some(top), Some(beside)),
        Some(Changes::ReadOnly(changes)) => lowers.insert(0, changes),
    }
    Layers { upper, work, lowers }
}
