//! The bytes of an archive, wherever they are, and concatenations of archives.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::error::{Reason, TarError};
use crate::header::{BLOCK, Header, is_zero};
use crate::reader::Reader;

/// The bytes of an archive: in memory that stays (an initrd), in a `Vec`, in a file mapping. Cloning shares them.
///
/// They must not change while the archive is mounted. If they do, reads give what is there then, or `EIO`.
#[derive(Clone)]
pub struct Archive(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl Archive {
    /// An archive in anything that holds bytes.
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Archive({} bytes)", self.bytes().len())
    }
}

impl From<&'static [u8]> for Archive {
    fn from(bytes: &'static [u8]) -> Self {
        Self::new(bytes)
    }
}

impl From<Vec<u8>> for Archive {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<Arc<dyn AsRef<[u8]> + Send + Sync>> for Archive {
    fn from(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Self {
        Self(bytes)
    }
}

/// Splits concatenated archives (`cat a.tar b.tar`), in their order.
///
/// Each ends at its end marker, two blocks of zeros; the zeros up to the next, or to the end, belong to it. Headers are
/// checked on the way, so a damaged archive is found here.
#[must_use]
pub fn split(bytes: &[u8]) -> Split<'_> {
    Split { bytes, start: Some(0) }
}

/// The archives of a concatenation; see [`split`].
#[derive(Debug, Clone)]
pub struct Split<'a> {
    bytes: &'a [u8],
    start: Option<usize>,
}

impl<'a> Iterator for Split<'a> {
    type Item = Result<&'a [u8], TarError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.start.take()?;
        let end = match end_of(self.bytes, start).and_then(|end| next_archive(self.bytes, end)) {
            Ok(next) => {
                self.start = next;
                next.unwrap_or(self.bytes.len())
            }
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(&self.bytes[start..end]))
    }
}

/// Where the archive that begins at `start` ends.
fn end_of(bytes: &[u8], start: usize) -> Result<usize, TarError> {
    let mut reader = Reader::new(bytes, start)?;
    while reader.next()?.is_some() {}
    Ok(reader.position())
}

/// Where the next archive begins after one that ended at `end`: at the first block that is not zero, which must be a
/// header.
pub(crate) fn next_archive(bytes: &[u8], end: usize) -> Result<Option<usize>, TarError> {
    let rest = bytes.get(end..).unwrap_or_default();
    let (blocks, tail) = rest.as_chunks::<BLOCK>();
    match blocks.iter().position(|block| !is_zero(block)) {
        Some(zeros) if Header::is_valid(&blocks[zeros]) => Ok(Some(end + zeros * BLOCK)),
        Some(zeros) => Err(TarError::new(end + zeros * BLOCK, Reason::TrailingGarbage)),
        None if is_zero(tail) => Ok(None),
        None => Err(TarError::new(end + blocks.len() * BLOCK, Reason::TrailingGarbage)),
    }
}

/// Checks that nothing but zeros follows an archive that ended at `end`.
pub(crate) fn check_rest(bytes: &[u8], end: usize) -> Result<(), TarError> {
    match next_archive(bytes, end)? {
        None => Ok(()),
        Some(next) => Err(TarError::new(next, Reason::AnotherArchive)),
    }
}
