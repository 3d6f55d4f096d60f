//! What an entry of a layer means to the layers below it. Lookup, listing, removal and rename all ask here.
//!
//! | topmost layer that has the name | below it | the merged entry |
//! |---|---|---|
//! | none | | none |
//! | whiteout | anything: hidden | none |
//! | leaf | anything: hidden | that leaf |
//! | opaque directory | anything: hidden | that directory alone |
//! | directory | directories, down to the first opaque one, whiteout or leaf | all of them merged |

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use hashbrown::HashSet;
use vfs::{Cookie, DirOps, Errno, FileType, Name, NameBuf, Node, Result};

use crate::format::{Names, Opaque};
use crate::node::OverlayDir;
use crate::xattr;

/// What can be a whiteout in a directory of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whiteouts {
    /// Character devices 0/0.
    Devices,
    /// These, and empty files with the `whiteout` attribute: a directory with `opaque` `"x"`. Read, never written.
    DevicesAndFiles,
}

impl Whiteouts {
    /// What a lower directory's `opaque` attribute says about it.
    pub(crate) fn of(opaque: Opaque) -> Self {
        match opaque {
            Opaque::No | Opaque::Yes => Self::Devices,
            Opaque::XattrWhiteouts => Self::DevicesAndFiles,
        }
    }

    /// Whether an entry of this type must be looked at before it is believed.
    pub(crate) fn may_be(self, kind: FileType) -> bool {
        match kind {
            FileType::CharDevice => true,
            FileType::File => self == Self::DevicesAndFiles,
            _ => false,
        }
    }
}

/// An entry of one layer.
pub(crate) enum LayerEntry {
    /// Hides what is below.
    Whiteout,
    /// Merges with directories below, unless it is opaque.
    Dir(Arc<dyn DirOps>),
    /// Hides what is below.
    Leaf(Node),
}

/// The entry `name` of one layer's directory. A name that the layer's filesystem cannot have is absent; any other
/// error is an error.
///
/// # Errors
/// Those of the layer.
pub(crate) fn layer_entry(
    names: &Names,
    dir: &dyn DirOps,
    name: Name<'_>,
    whiteouts: Whiteouts,
) -> Result<Option<LayerEntry>> {
    let node = match dir.lookup(name) {
        Ok(Some(node)) => node,
        Ok(None) => return Ok(None),
        Err(error) if error == Errno::ENAMETOOLONG => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(match node {
        Node::Dir(dir) => LayerEntry::Dir(dir),
        Node::Special(special) if special.attr()?.is_whiteout() => LayerEntry::Whiteout,
        Node::File(file)
            if whiteouts == Whiteouts::DevicesAndFiles && is_whiteout_file(names, &Node::File(file.clone()))? =>
        {
            LayerEntry::Whiteout
        }
        leaf => LayerEntry::Leaf(leaf),
    }))
}

fn is_whiteout_file(names: &Names, node: &Node) -> Result<bool> {
    Ok(node.attr()?.size == 0 && xattr::of_layer(node.ops(), names.whiteout)?.is_some())
}

impl OverlayDir {
    /// Whether a lower layer would show `name` here if the upper had nothing at it: then a whiteout must stay where the
    /// upper's entry goes. Where a layer cannot tell, it is taken to: a whiteout too many hides nothing that is there.
    pub(crate) fn lower_shows(&self, name: Name<'_>) -> bool {
        for lower in &*self.lowers {
            match layer_entry(self.core.fs.names, &*lower.dir, name, lower.whiteouts) {
                Ok(None) => {}
                Ok(Some(LayerEntry::Whiteout)) => return false,
                Ok(Some(LayerEntry::Dir(_) | LayerEntry::Leaf(_))) | Err(_) => return true,
            }
        }
        false
    }

    /// Whether the merged view of this directory has no entry; the caller holds its entries.
    ///
    /// # Errors
    /// Those of the layers; `ENOMEM`.
    pub(crate) fn is_empty(&self) -> Result<bool> {
        let mut hidden = HashSet::new();
        if let Some(upper) = self.upper()
            && !only_whiteouts(self.core.fs.names, &**upper, Whiteouts::Devices, &mut hidden)?
        {
            return Ok(false);
        }
        for lower in &*self.lowers {
            if !only_whiteouts(self.core.fs.names, &*lower.dir, lower.whiteouts, &mut hidden)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether a layer's directory shows nothing but whiteouts and `hidden` names; its whiteouts are added to these.
fn only_whiteouts(
    names: &Names,
    dir: &dyn DirOps,
    whiteouts: Whiteouts,
    hidden: &mut HashSet<NameBuf>,
) -> Result<bool> {
    let mut candidates: Vec<NameBuf> = Vec::new();
    let mut verdict: Result<bool> = Ok(true);
    dir.read_dir(Cookie::START, &mut |entry: &vfs::DirEntry<'_>| {
        if hidden.contains(entry.name.as_bytes()) {
            return ControlFlow::Continue(());
        }
        if !whiteouts.may_be(entry.kind) {
            verdict = Ok(false);
            return ControlFlow::Break(());
        }
        if candidates.try_reserve(1).is_err() {
            verdict = Err(Errno::ENOMEM.into());
            return ControlFlow::Break(());
        }
        candidates.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })?;
    if !verdict? {
        return Ok(false);
    }
    hidden.try_reserve(candidates.len()).map_err(|_| Errno::ENOMEM)?;
    for name in candidates {
        match layer_entry(names, dir, name.as_name(), whiteouts)? {
            None => {}
            Some(LayerEntry::Whiteout) => {
                hidden.insert(name);
            }
            Some(LayerEntry::Dir(_) | LayerEntry::Leaf(_)) => return Ok(false),
        }
    }
    Ok(true)
}
