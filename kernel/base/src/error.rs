//! The error that crosses every boundary of the system.

use core::fmt;

use crate::Errno;

/// The result of an operation that can fail with an [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// An errno, and what was being done or what was found wrong.
///
/// An `Error` is a fault or a refusal, never an ordinary absence: that is `Option`'s work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error {
    errno: Errno,
    context: &'static str,
}

impl Error {
    /// A refusal that the caller caused (`EEXIST`, `ENOTDIR`, …): not logged.
    #[must_use]
    pub const fn new(errno: Errno, context: &'static str) -> Self {
        Self { errno, context }
    }

    /// A fault of a medium, a format or the system itself (`EIO`, `EUCLEAN`, …). It is logged here, where
    /// it starts, and nowhere else on its way up.
    #[must_use]
    #[cold]
    pub fn fault(errno: Errno, context: &'static str) -> Self {
        log::error!("{context}: {errno}");
        Self { errno, context }
    }

    /// The errno that the system call will return.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        self.errno
    }

    /// What was being done or what was found wrong; may be empty.
    #[must_use]
    pub const fn context(&self) -> &'static str {
        self.context
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::new(errno, "")
    }
}

/// Compares the errno alone, so that tests and callers can write `error == Errno::ENOENT`.
impl PartialEq<Errno> for Error {
    fn eq(&self, other: &Errno) -> bool {
        self.errno == *other
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?})", self.errno, self.context)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.context.is_empty() {
            write!(f, "{}", self.errno)
        } else {
            write!(f, "{}: {}", self.context, self.errno)
        }
    }
}

impl core::error::Error for Error {}
