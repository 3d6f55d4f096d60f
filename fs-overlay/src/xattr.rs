//! Extended attributes: the overlay's own are hidden, a user's of the same class are escaped, and one tells the layer.
//!
//! On a layer, `trusted.overlay.NAME` is the overlay's and `trusted.overlay.overlay.NAME` is what a user of the overlay sees, gets
//! and sets as `trusted.overlay.NAME`: so an overlay can be a layer of another.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use vfs::{Errno, Error, NodeOps, Result, XattrMode, acl};

use crate::format::Names;
use crate::index::InUpper;

/// A virtual, read-only attribute of every node, which no list shows: `upper`, `lower0` (the topmost), `lower1`…, or `merged`
/// for a directory that has an upper part and lower ones. For tools.
pub const LAYER_XATTR: &[u8] = b"system.strata.layer";

/// The longest name of an attribute (`XATTR_NAME_MAX`).
const XATTR_NAME_MAX: usize = 255;

/// The value of an attribute of a layer's node; a filesystem that keeps none of the class has none.
///
/// # Errors
/// `EIO`, `EUCLEAN`.
pub(crate) fn of_layer<N: NodeOps + ?Sized>(node: &N, name: &[u8]) -> Result<Option<Vec<u8>>> {
    match node.xattr(name) {
        Err(error) if error == Errno::EOPNOTSUPP => Ok(None),
        other => other,
    }
}

impl Names {
    /// What the attribute that users call `name` is called on a layer.
    pub(crate) fn on_layer<'a>(&self, name: &'a [u8]) -> Cow<'a, [u8]> {
        match name.strip_prefix(self.prefix) {
            Some(rest) => Cow::Owned([self.escape, rest].concat()),
            None => Cow::Borrowed(name),
        }
    }

    /// What users call the attribute that is called `name` on a layer; `None` if it is the overlay's own.
    pub(crate) fn to_users<'a>(&self, name: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match (name.strip_prefix(self.escape), name.starts_with(self.prefix)) {
            (Some(rest), _) => Some(Cow::Owned([self.prefix, rest].concat())),
            (None, true) => None,
            (None, false) => Some(Cow::Borrowed(name)),
        }
    }
}

/// The value of the attribute that users call `name`.
///
/// # Errors
/// Those of the layer.
pub(crate) fn get<N: NodeOps + ?Sized>(names: &Names, node: &N, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let name = names.on_layer(name);
    if name.len() > XATTR_NAME_MAX {
        return Ok(None);
    }
    node.xattr(&name)
}

/// Calls `each` with the names that users see.
///
/// # Errors
/// Those of the layer.
pub(crate) fn list<N: NodeOps + ?Sized>(names: &Names, node: &N, each: &mut dyn FnMut(&[u8])) -> Result<()> {
    node.list_xattrs(&mut |name| {
        if let Some(name) = names.to_users(name) {
            each(&name);
        }
    })
}

/// Refuses to set or remove what is nobody's to change, and what would fail, before anything is copied up for it.
///
/// # Errors
/// `EPERM` for [`LAYER_XATTR`]; `ERANGE` for a name that is too long once escaped; `EEXIST`, `ENODATA` by `mode`.
pub(crate) fn check_set<'a, N: NodeOps + ?Sized>(
    names: &Names,
    node: &N,
    name: &'a [u8],
    mode: XattrMode,
) -> Result<Cow<'a, [u8]>> {
    let name = check_name(names, name)?;
    match mode {
        XattrMode::Set => {}
        XattrMode::Create => {
            if of_layer(node, &name)?.is_some() {
                return Err(Errno::EEXIST.into());
            }
        }
        XattrMode::Replace => {
            if of_layer(node, &name)?.is_none() {
                return Err(Errno::ENODATA.into());
            }
        }
    }
    Ok(name)
}

/// As [`check_set`], for a removal. Of an access control list that is not there, an upper layer's filesystem has its own say.
///
/// # Errors
/// `EPERM`; `ENODATA` if there is none.
pub(crate) fn check_remove<'a, N: NodeOps + ?Sized>(
    names: &Names,
    node: &N,
    name: &'a [u8],
    in_upper: InUpper,
) -> Result<Cow<'a, [u8]>> {
    let name = check_name(names, name)?;
    if (in_upper == InUpper::No || !acl::is_acl(&name)) && of_layer(node, &name)?.is_none() {
        return Err(Errno::ENODATA.into());
    }
    Ok(name)
}

fn check_name<'a>(names: &Names, name: &'a [u8]) -> Result<Cow<'a, [u8]>> {
    if name == LAYER_XATTR {
        return Err(Error::new(Errno::EPERM, "system.strata.layer cannot be changed"));
    }
    let name = names.on_layer(name);
    if name.len() > XATTR_NAME_MAX {
        return Err(Error::new(Errno::ERANGE, "name of an extended attribute is too long"));
    }
    Ok(name)
}

/// Names and values of extended attributes.
pub(crate) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// All attributes of a lower node that its copy is to have: those that are not the overlay's own, as they are.
///
/// # Errors
/// Those of the layer; `ENOMEM`.
pub(crate) fn to_copy<N: NodeOps + ?Sized>(names: &Names, node: &N) -> Result<Attributes> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut short = false;
    node.list_xattrs(&mut |name| {
        if !names.is_private(name) {
            short |= found.try_reserve(1).is_err();
            if !short {
                found.push(name.to_vec());
            }
        }
    })?;
    if short {
        return Err(Errno::ENOMEM.into());
    }
    let mut attributes = Vec::new();
    attributes.try_reserve(found.len() + 1).map_err(|_| Errno::ENOMEM)?;
    for name in found {
        if let Some(value) = of_layer(node, &name)? {
            attributes.push((name, value));
        }
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::XattrClass;

    #[test]
    fn a_users_attribute_of_the_overlays_class_is_escaped_and_back() {
        let names = Names::of(XattrClass::Trusted);
        for (user, layer) in [
            (&b"trusted.overlay.opaque"[..], &b"trusted.overlay.overlay.opaque"[..]),
            (b"trusted.overlay.overlay.x", b"trusted.overlay.overlay.overlay.x"),
            (b"user.a", b"user.a"),
            (b"trusted.overlayfs", b"trusted.overlayfs"),
        ] {
            assert_eq!(&*names.on_layer(user), layer);
            assert_eq!(names.to_users(layer).as_deref(), Some(user));
        }
        assert_eq!(names.to_users(b"trusted.overlay.opaque"), None);
    }
}
