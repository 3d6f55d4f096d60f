//! The bytes that an overlay keeps in the extended attributes of its layers, parsed once into checked types.
//!
//! [`Names`] are the attributes' names under either prefix, [`Redirect`], [`Opaque`] and [`Origin`] their values. The layouts are
//! Linux's (`fs/overlayfs/overlayfs.h`; kernel document `filesystems/overlayfs`); `docs/format.md` lists every byte.

use alloc::vec::Vec;

use vfs::{Errno, Error, FileHandle, InodeFlags, Name, NameBuf, Result};

use crate::options::XattrClass;

/// The longest redirect that is written: Linux's `OVL_REDIRECT_MAX`. A rename that needs more gets `EXDEV`.
pub(crate) const REDIRECT_MAX: usize = 256;

/// The most components that a redirect may grow to as lower layers redirect it further. A bound on memory, far
/// above what a path can hold.
const REDIRECT_COMPONENTS_MAX: usize = 4096;

/// The value of flags such as `impure`.
pub(crate) const YES: &[u8] = b"y";

/// The full names of the overlay's own extended attributes.
#[derive(Debug)]
pub(crate) struct Names {
    /// What all of them begin with: the class of attributes that is the overlay's own.
    pub(crate) prefix: &'static [u8],
    /// What a user's attribute of that class begins with on the layer.
    pub(crate) escape: &'static [u8],
    pub(crate) opaque: &'static [u8],
    pub(crate) redirect: &'static [u8],
    pub(crate) origin: &'static [u8],
    pub(crate) impure: &'static [u8],
    pub(crate) metacopy: &'static [u8],
    pub(crate) nlink: &'static [u8],
    pub(crate) upper: &'static [u8],
    pub(crate) protattr: &'static [u8],
    pub(crate) uuid: &'static [u8],
    pub(crate) whiteout: &'static [u8],
}

macro_rules! names {
    ($class:literal) => {
        Names {
            prefix: concat!($class, ".overlay.").as_bytes(),
            escape: concat!($class, ".overlay.overlay.").as_bytes(),
            opaque: concat!($class, ".overlay.opaque").as_bytes(),
            redirect: concat!($class, ".overlay.redirect").as_bytes(),
            origin: concat!($class, ".overlay.origin").as_bytes(),
            impure: concat!($class, ".overlay.impure").as_bytes(),
            metacopy: concat!($class, ".overlay.metacopy").as_bytes(),
            nlink: concat!($class, ".overlay.nlink").as_bytes(),
            upper: concat!($class, ".overlay.upper").as_bytes(),
            protattr: concat!($class, ".overlay.protattr").as_bytes(),
            uuid: concat!($class, ".overlay.uuid").as_bytes(),
            whiteout: concat!($class, ".overlay.whiteout").as_bytes(),
        }
    };
}

static TRUSTED: Names = names!("trusted");
static USER: Names = names!("user");

impl Names {
    /// The names under `class`.
    pub(crate) const fn of(class: XattrClass) -> &'static Self {
        match class {
            XattrClass::Trusted => &TRUSTED,
            XattrClass::User => &USER,
        }
    }

    /// Whether `name`, as a layer has it, is the overlay's own and not a user's that was escaped.
    pub(crate) fn is_private(&self, name: &[u8]) -> bool {
        name.starts_with(self.prefix) && !name.starts_with(self.escape)
    }
}

/// Checks the value of a `metacopy` attribute: empty, or `{version, length, flags, algorithm}` and a digest.
///
/// # Errors
/// `EIO` for anything else, as Linux.
pub(crate) fn check_metacopy(value: &[u8]) -> Result<()> {
    match *value {
        [] => Ok(()),
        [0, len, _, _, ..] if usize::from(len) == value.len() => Ok(()),
        _ => Err(Error::fault(Errno::EIO, "overlay: a metacopy attribute that is none")),
    }
}

/// The longest `protattr` that is read: Linux's `OVL_PROTATTR_MAX`.
const PROTATTR_MAX: usize = 32;

/// The flags that protect an inode of the upper, which are kept beside it: set on the inode itself they would be in the overlay's
/// own way (`protattr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Protection(pub(crate) InodeFlags);

impl Protection {
    /// Those among `flags`.
    pub(crate) fn of(flags: InodeFlags) -> Self {
        Self(flags & InodeFlags::PROTECTION)
    }

    /// Reads the letters; `None` for what is not all letters that are known, as on Linux: all of it then counts for nothing.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        if value.is_empty() || value.len() > PROTATTR_MAX {
            return None;
        }
        let mut flags = InodeFlags::empty();
        for letter in value {
            flags |= match letter {
                b'a' => InodeFlags::APPEND,
                b'i' => InodeFlags::IMMUTABLE,
                _ => return None,
            };
        }
        Some(Self(flags))
    }

    /// The value of the attribute; `None` where there is to be none.
    pub(crate) fn to_bytes(self) -> Option<&'static [u8]> {
        match (self.0.contains(InodeFlags::APPEND), self.0.contains(InodeFlags::IMMUTABLE)) {
            (true, true) => Some(b"ai"),
            (true, false) => Some(b"a"),
            (false, true) => Some(b"i"),
            (false, false) => None,
        }
    }
}

/// What a directory of a layer says about the layers below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opaque {
    /// Lower directories of the name merge.
    No,
    /// Nothing below shows through.
    Yes,
    /// Lower directories merge, and files of it may be whiteouts by extended attribute (`"x"`).
    XattrWhiteouts,
}

impl Opaque {
    /// Any value but Linux's two means no, as on Linux.
    pub(crate) fn parse(value: Option<&[u8]>) -> Self {
        match value {
            Some(b"y") => Self::Yes,
            Some(b"x") => Self::XattrWhiteouts,
            _ => Self::No,
        }
    }
}

/// Where in the layers below the lower parts of a directory are, if not at its own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// At another name in the same directory.
    Sibling(NameBuf),
    /// At this path from the root of the layers; at least one component.
    Absolute(Vec<NameBuf>),
}

impl Redirect {
    /// Checks the value of a `redirect` attribute: one name, or an absolute path without empty components.
    ///
    /// # Errors
    /// `EINVAL`, as Linux: what hides behind a broken redirect must not be taken for absent.
    pub(crate) fn parse(value: &[u8]) -> Result<Self> {
        let component = |bytes| {
            Name::new(bytes)
                .map(Name::to_owned)
                .map_err(|_| Error::fault(Errno::EINVAL, "overlay redirect is not a name or an absolute path"))
        };
        match value.strip_prefix(b"/") {
            None => component(value).map(Self::Sibling),
            Some(path) => {
                let mut components = Vec::new();
                for part in path.split(|&byte| byte == b'/') {
                    push_component(&mut components, component(part)?)?;
                }
                Ok(Self::Absolute(components))
            }
        }
    }

    /// The value of the attribute.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Sibling(name) => name.as_bytes().to_vec(),
            Self::Absolute(components) => path_bytes(components),
        }
    }
}

/// `components` as an absolute path.
pub(crate) fn path_bytes(components: &[NameBuf]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(components.iter().map(|name| name.as_bytes().len() + 1).sum());
    for name in components {
        bytes.push(b'/');
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

/// Adds `name` to a path that comes from a layer, within bounds.
///
/// # Errors
/// `EINVAL` where it has too many components, `ENOMEM`.
pub(crate) fn push_component(path: &mut Vec<NameBuf>, name: NameBuf) -> Result<()> {
    if path.len() >= REDIRECT_COMPONENTS_MAX {
        return Err(Error::fault(Errno::EINVAL, "overlay redirect has too many components"));
    }
    path.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    path.push(name);
    Ok(())
}

/// How many names an inode of the index has in the overlay (`nlink`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkCount {
    /// So many more than the inode has in the upper.
    OverUpper(i64),
    /// So many more than the inode has in its lower layer.
    OverLower(i64),
}

impl LinkCount {
    /// Reads `U` or `L`, a sign and a number; `None` for anything else.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let (&base, number) = value.split_first()?;
        let number: i32 = core::str::from_utf8(number).ok()?.parse().ok()?;
        match base {
            b'U' => Some(Self::OverUpper(number.into())),
            b'L' => Some(Self::OverLower(number.into())),
            _ => None,
        }
    }

    /// The value of the attribute.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let (base, number) = match self {
            Self::OverUpper(number) => (b'U', number),
            Self::OverLower(number) => (b'L', number),
        };
        let mut bytes = Vec::from([base, if number < 0 { b'-' } else { b'+' }]);
        let digits = number.unsigned_abs();
        let mut scale = 1u64;
        while digits / scale >= 10 {
            scale *= 10;
        }
        while scale > 0 {
            // A remainder by ten is a digit.
            bytes.push(b'0' + (digits / scale % 10) as u8);
            scale /= 10;
        }
        bytes
    }
}

/// Which kind of layer a file handle is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandleOf {
    Lower,
    Upper,
}

/// Which lower inode an upper one was copied up from (`struct ovl_fb`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The UUID of the filesystem of the inode.
    pub(crate) uuid: [u8; 16],
    /// The inode's handle there.
    pub(crate) handle: FileHandle,
}

const ORIGIN_VERSION: u8 = 0;
const ORIGIN_MAGIC: u8 = 0xfb;
const FLAG_BIG_ENDIAN: u8 = 1;
const FLAG_ANY_ENDIAN: u8 = 2;
const FLAG_PATH_UPPER: u8 = 4;
const FLAGS: u8 = FLAG_BIG_ENDIAN | FLAG_ANY_ENDIAN | FLAG_PATH_UPPER;
/// version, magic, length, flags, type, UUID.
const ORIGIN_HEADER: usize = 5 + 16;

impl Origin {
    /// The value of the attribute; `None` where the handle is longer than the format can say.
    pub(crate) fn to_bytes(&self, of: HandleOf) -> Option<Vec<u8>> {
        let flags = match of {
            HandleOf::Lower => 0,
            HandleOf::Upper => FLAG_PATH_UPPER,
        };
        let len = u8::try_from(ORIGIN_HEADER.checked_add(self.handle.bytes.len())?).ok()?;
        let mut bytes = Vec::with_capacity(usize::from(len));
        // The flags' byte order bit is that of the machine that wrote the handle: little-endian.
        bytes.extend_from_slice(&[ORIGIN_VERSION, ORIGIN_MAGIC, len, flags, self.handle.kind]);
        bytes.extend_from_slice(&self.uuid);
        bytes.extend_from_slice(&self.handle.bytes);
        Some(bytes)
    }

    /// Reads a value; `None` where the origin is unknown: an empty value, a newer version, unknown flags, the other
    /// byte order, or bytes that are no origin at all.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        // A handle on the upper belongs to index entries, never to an origin.
        Self::parse_any(bytes).and_then(|(of, origin)| (of == HandleOf::Lower).then_some(origin))
    }

    /// The same for a handle on whichever layer.
    pub(crate) fn parse_any(bytes: &[u8]) -> Option<(HandleOf, Self)> {
        let (&[version, magic, len, flags, kind], rest) = bytes.split_first_chunk::<5>()?;
        let (&uuid, _) = rest.split_first_chunk::<16>()?;
        let handle = bytes.get(ORIGIN_HEADER..usize::from(len))?;
        if magic != ORIGIN_MAGIC || version > ORIGIN_VERSION || flags & !FLAGS != 0 {
            return None;
        }
        if flags & FLAG_ANY_ENDIAN == 0 && flags & FLAG_BIG_ENDIAN != 0 {
            return None;
        }
        let of = if flags & FLAG_PATH_UPPER != 0 { HandleOf::Upper } else { HandleOf::Lower };
        Some((of, Self { uuid, handle: FileHandle { kind, bytes: handle.into() } }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_the_layout_of_linux() {
        let origin = Origin { uuid: [7; 16], handle: FileHandle { kind: 1, bytes: [1, 2, 3, 4, 5, 6, 7, 8].into() } };
        let bytes = origin.to_bytes(HandleOf::Lower).unwrap();
        assert_eq!(origin.to_bytes(HandleOf::Upper).unwrap()[..5], [0, 0xfb, 29, 4, 1]);
        assert_eq!(bytes[..5], [0, 0xfb, 29, 0, 1]);
        assert_eq!(bytes[5..21], [7; 16]);
        assert_eq!(bytes[21..], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Origin::parse(&bytes), Some(origin));
    }

    #[test]
    fn an_origin_that_is_not_understood_is_unknown() {
        let good = Origin { uuid: [7; 16], handle: FileHandle { kind: 1, bytes: [1, 2, 3, 4].into() } };
        let good = good.to_bytes(HandleOf::Lower).unwrap();
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Origin::parse(&bytes)
        };
        assert_eq!(Origin::parse(b""), None);
        assert_eq!(with(0, 1), None, "newer version");
        assert_eq!(with(1, 0xfa), None, "no magic");
        assert_eq!(with(2, 26), None, "longer than the value");
        assert_eq!(with(2, 20), None, "shorter than its own header");
        assert_eq!(with(3, 8), None, "unknown flag");
        assert_eq!(with(3, 1), None, "big-endian");
        assert_eq!(with(3, 4), None, "a handle on the upper");
        assert!(with(3, 3).is_some(), "any byte order");
        for len in 0..good.len() {
            assert_eq!(Origin::parse(&good[..len]), None);
        }
        let long = Origin { uuid: [0; 16], handle: FileHandle { kind: 1, bytes: alloc::vec![0; 235].into() } };
        assert_eq!(long.to_bytes(HandleOf::Lower), None);
    }

    #[test]
    fn a_redirect_is_a_name_or_an_absolute_path() {
        let name = |bytes| Name::new(bytes).unwrap().to_owned();
        assert_eq!(Redirect::parse(b"a").unwrap(), Redirect::Sibling(name(b"a")));
        assert_eq!(Redirect::parse(b"/a/bc").unwrap(), Redirect::Absolute([name(b"a"), name(b"bc")].into()));
        for bad in [&b""[..], b"/", b"a/b", b"//a", b"/a/", b"/a//b", b"/../a", b".", b"a\0b", &[b'x'; 256]] {
            assert_eq!(Redirect::parse(bad).unwrap_err(), Errno::EINVAL, "{:?}", bad.escape_ascii());
        }
        for good in [&b"x"[..], b"/x/y z"] {
            assert_eq!(Redirect::parse(good).unwrap().to_bytes(), good);
        }
        assert_eq!(Redirect::parse(&b"/a".repeat(5000)).unwrap_err(), Errno::EINVAL);
    }

    #[test]
    fn a_link_count_has_a_base_a_sign_and_a_number() {
        for (text, count) in [
            (&b"U+0"[..], LinkCount::OverUpper(0)),
            (b"U-1", LinkCount::OverUpper(-1)),
            (b"L+2147483647", LinkCount::OverLower(2_147_483_647)),
            (b"U+10", LinkCount::OverUpper(10)),
        ] {
            assert_eq!(LinkCount::parse(text), Some(count));
            assert_eq!(count.to_bytes(), text);
        }
        for bad in [&b""[..], b"U", b"U+", b"X+1", b"+1", b"U+1x", b"U+99999999999"] {
            assert_eq!(LinkCount::parse(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_protection_is_letters_that_are_all_known() {
        let (a, i) = (InodeFlags::APPEND, InodeFlags::IMMUTABLE);
        for (value, flags) in [(&b"a"[..], a), (b"i", i), (b"ai", a | i), (b"ia", a | i), (b"iii", i)] {
            assert_eq!(Protection::parse(value), Some(Protection(flags)));
        }
        for bad in [&b""[..], b"aX", b"Xa", b"a\0", &[b'a'; 33]] {
            assert_eq!(Protection::parse(bad), None, "{}", bad.escape_ascii());
        }
        for flags in [a, i, a | i] {
            let value = Protection::of(flags | InodeFlags::SYNC).to_bytes().unwrap();
            assert_eq!(Protection::parse(value), Some(Protection(flags)));
        }
        assert_eq!(Protection::of(InodeFlags::SYNC).to_bytes(), None);
    }

    #[test]
    fn a_metacopy_is_empty_or_has_the_length_that_it_says() {
        for good in [&b""[..], &[0, 4, 0, 0], &[0, 6, 0, 1, 7, 7]] {
            check_metacopy(good).unwrap();
        }
        for bad in [&[0][..], &[1, 4, 0, 0], &[0, 5, 0, 0], &[0, 3, 0, 0], &[0, 0, 0, 0, 0]] {
            assert_eq!(check_metacopy(bad).unwrap_err(), Errno::EIO);
        }
    }

    #[test]
    fn only_the_unescaped_class_is_private() {
        let names = Names::of(XattrClass::Trusted);
        assert!(names.is_private(b"trusted.overlay.opaque"));
        assert!(names.is_private(b"trusted.overlay."));
        assert!(!names.is_private(b"trusted.overlay.overlay.opaque"));
        assert!(!names.is_private(b"trusted.overlayfs"));
        assert!(!names.is_private(b"user.overlay.opaque"));
        assert!(Names::of(XattrClass::User).is_private(b"user.overlay.opaque"));
    }
}
