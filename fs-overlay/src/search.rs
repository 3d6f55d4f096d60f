//! The part of a lookup below the upper: layer after layer, by the rules of [`crate::merge`] and along redirects.
//!
//! A [`Search`] starts at a name in the lower parts of the parent. A redirect moves it to another name there, or to a path from the
//! root of the layers, which each layer's own directories may redirect in turn.

use alloc::sync::Arc;
use alloc::vec::Vec;

use vfs::{Errno, Error, FileOps, Name, NameBuf, Node, Result};

use crate::format::{Opaque, Redirect, push_component};
use crate::fs::Shared;
use crate::identity::LayerIndex;
use crate::leaf::LowerLeaf;
use crate::merge::{LayerEntry, Whiteouts, layer_entry};
use crate::metacopy::Data;
use crate::node::{LowerDir, OverlayDir};
use crate::options::RedirectMode;
use crate::xattr;

/// Where the next lower layer is asked.
enum Target<'a> {
    /// In the lower parts of the parent, for the name that was asked for.
    Name(Name<'a>),
    /// In the lower parts of the parent, for this name.
    Sibling(NameBuf),
    /// From the layer's root, along this path.
    Absolute(Vec<NameBuf>),
}

/// What the layers below the one just seen may still add.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Below {
    Merges,
    Hidden,
}

/// The state of a search through the lower layers.
pub(crate) struct Search<'a> {
    fs: &'a Shared,
    target: Target<'a>,
    below: Below,
    /// Whether some redirect was followed.
    redirected: Redirected,
}

/// What the upper has at the name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Above {
    Nothing,
    Dir,
    /// A file without data.
    Metacopy,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Redirected {
    No,
    Yes,
}

/// What a search through the lower layers ends with.
pub(crate) enum Lowers {
    /// A leaf, with nothing above it.
    Leaf(LowerLeaf<Node>),
    /// The data of a file above, if there is any.
    Data(Option<Arc<dyn FileOps>>),
    /// The directories that merge; maybe none.
    Dirs(Vec<LowerDir>),
}

impl<'a> Search<'a> {
    /// From a name in the lower parts of its parent.
    pub(crate) fn new(fs: &'a Shared, name: Name<'a>) -> Self {
        Self { fs, target: Target::Name(name), below: Below::Merges, redirected: Redirected::No }
    }

    /// Ends it before it began: the upper hides all layers.
    pub(crate) fn hide(&mut self) {
        self.below = Below::Hidden;
    }

    /// Goes on below a directory that says where its lower parts are.
    pub(crate) fn follow(&mut self, redirect: Redirect) {
        self.redirected = Redirected::Yes;
        match (&mut self.target, redirect) {
            (target, Redirect::Absolute(path)) => {
                // Resumes below opaque ancestors: they hide what is at their own names, not what is elsewhere.
                self.below = Below::Merges;
                *target = Target::Absolute(path);
            }
            (target @ (Target::Name(_) | Target::Sibling(_)), Redirect::Sibling(new)) => *target = Target::Sibling(new),
            (Target::Absolute(path), Redirect::Sibling(new)) => {
                if let Some(last) = path.last_mut() {
                    *last = new;
                }
            }
        }
    }

    /// Asks layer after layer, from the parent's topmost lower one.
    ///
    /// # Errors
    /// Those of the layers, and of [`OverlayDir::resolve`].
    pub(crate) fn through(mut self, parent: &OverlayDir, above: Above) -> Result<Lowers> {
        let fs = self.fs;
        let mut parents = parent.lowers.iter();
        let mut next = 0;
        let mut dirs = Vec::new();
        // A file without data is between: what is looked for is a file.
        let mut metacopy: Option<LowerLeaf<Node>> = None;
        let mut wants_data = above == Above::Metacopy;
        let mut data = None;
        while self.below == Below::Merges {
            let sibling = match &self.target {
                Target::Name(name) => Some(*name),
                Target::Sibling(name) => Some(name.as_name()),
                Target::Absolute(_) => None,
            };
            let (layer, entry) = match sibling {
                Some(name) => {
                    let Some(lower) = parents.next() else { break };
                    (lower.layer, layer_entry(fs.names, &*lower.dir, name, lower.whiteouts)?)
                }
                None => {
                    if next >= fs.lowers.len() {
                        break;
                    }
                    let layer = LayerIndex(u16::try_from(next).map_err(|_| Errno::EIO)?);
                    (layer, self.walk(layer)?)
                }
            };
            next = usize::from(layer.0) + 1;
            match entry {
                None => {}
                Some(LayerEntry::Whiteout) => break,
                Some(LayerEntry::Leaf(node)) if wants_data || (above == Above::Nothing && dirs.is_empty()) => {
                    let data_only = if next < fs.lowers.len() { &[][..] } else { &*fs.data_only };
                    let redirect = fs.metacopy_above(&node, data_only)?;
                    match (redirect, wants_data) {
                        (None, true) => {
                            if let Node::File(file) = node {
                                data = Some(file);
                            }
                            break;
                        }
                        (None, false) => return LowerLeaf::new(fs, layer, node).map(Lowers::Leaf),
                        (Some(redirect), _) => {
                            if !wants_data {
                                metacopy = Some(LowerLeaf::new(fs, layer, node)?);
                                wants_data = true;
                            }
                            if let Some(redirect) = redirect {
                                self.follow(redirect);
                            }
                        }
                    }
                }
                Some(LayerEntry::Leaf(_)) => break,
                Some(LayerEntry::Dir(_)) if wants_data => break,
                Some(LayerEntry::Dir(dir)) => {
                    fs.refuse_trap(fs.lower(layer).fs, &*dir)?;
                    let opaque = Opaque::parse(xattr::of_layer(&*dir, fs.names.opaque)?.as_deref());
                    if opaque == Opaque::Yes {
                        self.below = Below::Hidden;
                    } else if next < fs.lowers.len()
                        && let Some(redirect) = fs.redirect_of(&*dir)?
                    {
                        self.follow(redirect);
                    }
                    if self.redirected == Redirected::Yes && fs.options.redirect == RedirectMode::Refuse {
                        return Err(Error::fault(
                            Errno::EPERM,
                            "overlay: a redirect that redirect_dir=nofollow refuses",
                        ));
                    }
                    dirs.push(LowerDir { layer, dir, whiteouts: Whiteouts::of(opaque) });
                }
            }
        }
        if !wants_data {
            return Ok(Lowers::Dirs(dirs));
        }
        if data.is_none()
            && let Target::Absolute(path) = &self.target
        {
            data = fs.data_only(path)?;
        }
        Ok(match metacopy {
            Some(leaf) => Lowers::Leaf(LowerLeaf { data: Data::below(data), ..leaf }),
            None => Lowers::Data(data),
        })
    }

    /// The entry at the end of the absolute path in one layer. What its ancestors there say about the layers below
    /// counts for them.
    fn walk(&mut self, index: LayerIndex) -> Result<Option<LayerEntry>> {
        let fs = self.fs;
        let layer = fs.lower(index);
        let is_last = usize::from(index.0) + 1 == fs.lowers.len();
        let Target::Absolute(path) = &mut self.target else { return Ok(None) };
        let mut dir = Arc::clone(&layer.root);
        let mut whiteouts = layer.whiteouts;
        let mut remaining = path.len();
        loop {
            // The path grows and shrinks in front of what remains.
            let at = path.len() - remaining;
            let Some(name) = path.get(at) else { return Ok(None) };
            let entry = layer_entry(fs.names, &*dir, name.as_name(), whiteouts)?;
            remaining -= 1;
            if remaining == 0 {
                return Ok(entry);
            }
            dir = match entry {
                None => return Ok(None),
                // Neither leads on, and both hide what is below.
                Some(LayerEntry::Whiteout | LayerEntry::Leaf(_)) => return Ok(Some(LayerEntry::Whiteout)),
                Some(LayerEntry::Dir(dir)) => dir,
            };
            fs.refuse_trap(layer.fs, &*dir)?;
            let opaque = Opaque::parse(xattr::of_layer(&*dir, fs.names.opaque)?.as_deref());
            whiteouts = Whiteouts::of(opaque);
            if opaque == Opaque::Yes {
                self.below = Below::Hidden;
            } else if !is_last && let Some(redirect) = fs.redirect_of(&*dir)? {
                self.redirected = Redirected::Yes;
                match redirect {
                    Redirect::Sibling(new) => path[at] = new,
                    Redirect::Absolute(mut new) => {
                        self.below = Below::Merges;
                        for name in path.drain(at + 1..) {
                            push_component(&mut new, name)?;
                        }
                        *path = new;
                    }
                }
            }
        }
    }
}
