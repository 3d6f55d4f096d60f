//! The UUID of an overlay: kept in the root of its upper layer (`uuid`), made for a new one.

use vfs::{DirOps, Errno, Error, Result, XattrMode};

use crate::format::Names;
use crate::options::{Options, UuidMode};
use crate::xattr;

/// A UUID, in the byte order of RFC 9562.
pub(crate) type Uuid = [u8; 16];

/// The UUID of the overlay over this upper root; `None` where it is to have none, or the one that is there cannot be read, as on
/// Linux.
pub(crate) fn of_upper(names: &Names, root: &dyn DirOps, options: &Options) -> Option<Uuid> {
    match options.uuid {
        UuidMode::Null | UuidMode::Off => None,
        UuidMode::Auto | UuidMode::On => find_or_make(names, root, options).unwrap_or_else(|error| {
            log::warn!("overlay: the UUID of the upper layer: {error}; f_fsid is that of its filesystem");
            None
        }),
    }
}

fn find_or_make(names: &Names, root: &dyn DirOps, options: &Options) -> Result<Option<Uuid>> {
    if let Some(value) = xattr::of_layer(root, names.uuid)? {
        let uuid = Uuid::try_from(&*value).map_err(|_| Error::new(Errno::ERANGE, "not 16 bytes"))?;
        return Ok(Some(uuid));
    }
    // An upper that holds copies was used without one: what was seen of its overlay is not to change.
    if options.uuid == UuidMode::Auto && xattr::of_layer(root, names.impure)?.is_some_and(|value| !value.is_empty()) {
        return Ok(None);
    }
    let Some(mut uuid) = options.random else { return Ok(None) };
    // Version 4, variant 1 of RFC 9562: a random UUID.
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    root.set_xattr(names.uuid, &uuid, XattrMode::Set)?;
    Ok(Some(uuid))
}

/// `f_fsid` of a filesystem with this UUID (`uuid_to_fsid` of Linux).
pub(crate) fn to_fsid(uuid: &Uuid) -> u64 {
    let halves = u128::from_le_bytes(*uuid);
    (halves >> 64) as u64 ^ halves as u64
}
