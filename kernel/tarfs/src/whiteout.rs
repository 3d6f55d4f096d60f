//! Whiteouts of OCI image layers, which came from AUFS: names that stand for an absence.
//!
//! Source: OCI image specification, "Image Layer Filesystem Changeset", section "Whiteouts".

use crate::error::{Reason, TarError, kept};
use crate::span::{NameSpan, Span};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Records of AUFS itself.
const AUFS: &[u8] = b".wh..wh.";

/// The extended attribute of an opaque directory in Linux's overlay, and its value.
pub(crate) const OPAQUE_XATTR: (&[u8], &[u8]) = (b"trusted.overlay.opaque", b"y");

/// What a member's last name says.
pub(crate) enum Mark {
    /// Nothing: it is a name.
    None,
    /// Lower layers' entry of this name is hidden.
    Hides(NameSpan),
    /// Everything that lower layers have in the directory is hidden.
    Opaque,
    /// Nothing that concerns a layer.
    Ignored,
}

/// Whether no entry can have the name.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(WHITEOUT)
}

/// What the name at `span` says. A whiteout of `.`, `..` or nothing is refused.
pub(crate) fn mark(span: Span, archive: &[u8], offset: usize) -> Result<Mark, TarError> {
    let name = span.of(archive);
    if name == OPAQUE {
        return Ok(Mark::Opaque);
    }
    if name.starts_with(AUFS) {
        return Ok(Mark::Ignored);
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Mark::None),
        Some(b"" | b"." | b"..") => Err(TarError::new(offset, Reason::Whiteout(kept(name)))),
        Some(_) => {
            let hidden = NameSpan::new(span.part(WHITEOUT.len()..span.len));
            hidden.map(Mark::Hides).ok_or_else(|| TarError::new(offset, Reason::TooMany("bytes")))
        }
    }
}
