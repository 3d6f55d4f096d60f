//! Why an archive is refused, and where in it.

use alloc::boxed::Box;
use alloc::collections::TryReserveError;
use core::fmt;

use base::{Errno, Error};

/// How much of a name goes into a message.
const NAME_SHOWN: usize = 96;

/// A refusal: what is wrong with the archive, and at which byte of it.
///
/// It converts into a [`base::Error`] for `mount(2)`; the conversion logs the full text, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarError {
    /// Bytes from the start of the archive to the block or record at fault.
    pub offset: u64,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// There is not one byte.
    Empty,
    /// The bytes are of another format, named here.
    Foreign(&'static str),
    /// No header where one must be: its checksum field holds no number.
    NotAHeader,
    /// The header's checksum is not that of its bytes.
    Checksum {
        /// What the header says.
        found: u64,
        /// The sum of its bytes, taken as unsigned.
        computed: u64,
    },
    /// The archive ends inside something.
    Truncated {
        /// In what.
        what: &'static str,
        /// The member whose it is, where known.
        member: Option<Box<[u8]>>,
        /// How many bytes are missing.
        missing: u64,
    },
    /// A field of a header holds no number, or none that the field can have.
    Field(&'static str),
    /// A pax record is malformed.
    Record(&'static str),
    /// The value of a pax keyword makes no sense.
    Keyword(&'static str),
    /// A component of a member's name is over 255 bytes.
    NameTooLong(Box<[u8]>),
    /// A member's name is over 4,095 bytes.
    PathTooLong(Box<[u8]>),
    /// The target of a link is over 4,095 bytes; this is the member's name.
    TargetTooLong(Box<[u8]>),
    /// A name holds a NUL byte.
    NulInName,
    /// A sparse map is wrong, and how.
    Sparse(&'static str),
    /// An extended attribute is wrong, and how.
    Xattr(&'static str),
    /// The name of an OCI whiteout hides no possible name.
    Whiteout(Box<[u8]>),
    /// Something that this filesystem does not read.
    Unsupported(&'static str),
    /// Extension headers that no member follows.
    NoMember,
    /// One block of zeros, where only two mark the end.
    LoneZeroBlock,
    /// Bytes that are not zero after the end marker.
    TrailingGarbage,
    /// One more archive after the end marker, where one was to be mounted.
    AnotherArchive,
    /// More of something than can be numbered.
    TooMany(&'static str),
    /// No memory for the index.
    NoMemory,
}

impl TarError {
    #[cold]
    pub(crate) fn new(offset: usize, reason: Reason) -> Self {
        Self { offset: offset as u64, reason }
    }

    /// The errno that `mount(2)` answers: `EINVAL` for what is no archive at all, `EOPNOTSUPP` for what is not
    /// supported, `ENOMEM`, and `EUCLEAN` for a damaged archive.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self.reason {
            Reason::Empty | Reason::Foreign(_) => Errno::EINVAL,
            Reason::NotAHeader | Reason::Checksum { .. } if self.offset == 0 => Errno::EINVAL,
            Reason::Unsupported(_) => Errno::EOPNOTSUPP,
            Reason::TooMany(_) => Errno::EFBIG,
            Reason::NoMemory => Errno::ENOMEM,
            _ => Errno::EUCLEAN,
        }
    }
}

impl fmt::Display for TarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tar: offset {}: ", self.offset)?;
        match &self.reason {
            Reason::Empty => f.write_str("the archive is empty"),
            Reason::Foreign(what) => write!(f, "not a tar archive but {what}"),
            Reason::NotAHeader if self.offset == 0 => f.write_str("not a tar archive"),
            Reason::NotAHeader => f.write_str("no header here: the checksum field holds no number"),
            Reason::Checksum { found, computed } => {
                write!(f, "header checksum is {found}, computed {computed}")
            }
            Reason::Truncated { what, member: None, missing } => {
                write!(f, "the archive ends {missing} bytes before the end of {what}")
            }
            Reason::Truncated { what, member: Some(name), missing } => {
                write!(f, "the archive ends {missing} bytes before the end of {what} of {}", Shown(name))
            }
            Reason::Field(field) => write!(f, "header field `{field}` holds no valid number"),
            Reason::Record(how) => write!(f, "malformed pax record: {how}"),
            Reason::Keyword(keyword) => write!(f, "invalid value of pax keyword `{keyword}`"),
            Reason::NameTooLong(name) => write!(f, "name over 255 bytes: {}", Shown(name)),
            Reason::PathTooLong(name) => write!(f, "member name over 4,095 bytes: {}", Shown(name)),
            Reason::TargetTooLong(name) => write!(f, "link target over 4,095 bytes: {}", Shown(name)),
            Reason::NulInName => f.write_str("a name holds a NUL byte"),
            Reason::Sparse(how) => write!(f, "sparse map: {how}"),
            Reason::Xattr(how) => write!(f, "extended attribute: {how}"),
            Reason::Whiteout(name) => write!(f, "whiteout of an impossible name: {}", Shown(name)),
            Reason::Unsupported(what) => write!(f, "not supported: {what}"),
            Reason::NoMember => f.write_str("extension headers without a member"),
            Reason::LoneZeroBlock => f.write_str("a lone block of zeros, which is no end marker"),
            Reason::TrailingGarbage => f.write_str("garbage after the end of the archive"),
            Reason::AnotherArchive => f.write_str("another archive follows; only one was expected"),
            Reason::TooMany(what) => write!(f, "too many {what}"),
            Reason::NoMemory => f.write_str("no memory for the index"),
        }
    }
}

impl core::error::Error for TarError {}

impl From<TarError> for Error {
    fn from(error: TarError) -> Self {
        log::error!("{error}");
        Self::new(error.errno(), "the tar archive is refused")
    }
}

/// A name for a message: its first bytes, quoted, what is not printable escaped.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, more) = match self.0.get(..NAME_SHOWN) {
            Some(head) if self.0.len() > NAME_SHOWN => (head, "…"),
            _ => (self.0, ""),
        };
        write!(f, "\"{}{more}\"", head.escape_ascii())
    }
}

/// What of a name is kept in a [`Reason`].
pub(crate) fn kept(name: &[u8]) -> Box<[u8]> {
    name.get(..=NAME_SHOWN).unwrap_or(name).into()
}

/// The refusal for a failed reservation.
pub(crate) fn no_memory(offset: usize) -> impl FnOnce(TryReserveError) -> TarError {
    move |_| TarError::new(offset, Reason::NoMemory)
}
