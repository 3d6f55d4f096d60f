//! How a test fails: with a sentence, and the line it comes from.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::panic::Location;

use vfs::{Errno, Error};

/// Why a test failed.
#[derive(Clone)]
pub struct Failure {
    text: String,
    at: &'static Location<'static>,
}

/// What a test returns.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure for the reason `text`, at the caller's line.
    #[track_caller]
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), at: Location::caller() }
    }

    /// The reason, without the place.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same failure, said to have happened while `doing` something.
    #[must_use]
    pub fn while_doing(mut self, doing: impl fmt::Display) -> Self {
        self.text = format!("{doing}: {}", self.text);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.text, self.at.file(), self.at.line())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::new(format!("unexpected error {error:?}"))
    }
}

impl From<Errno> for Failure {
    #[track_caller]
    fn from(errno: Errno) -> Self {
        Self::from(Error::from(errno))
    }
}

/// Fails unless `result` is an error with one of `expected`.
///
/// # Errors
/// The failure.
#[track_caller]
pub fn expect_errno<T>(what: &str, result: Result<T, Error>, expected: &[Errno]) -> Outcome {
    match result {
        Err(error) if expected.contains(&error.errno()) => Ok(()),
        Err(error) => Err(Failure::new(format!("{what}: {error:?} instead of {expected:?}"))),
        Ok(_) => Err(Failure::new(format!("{what}: succeeded instead of {expected:?}"))),
    }
}

/// Returns a [`Failure`] unless the condition holds; text and arguments as for `format!` may follow.
#[macro_export]
macro_rules! check {
    ($condition:expr $(,)?) => {
        if !$condition {
            return Err($crate::Failure::new(concat!("not so: ", stringify!($condition))));
        }
    };
    ($condition:expr, $($arg:tt)+) => {
        if !$condition {
            return Err($crate::Failure::new($crate::__format!($($arg)+)));
        }
    };
}

/// Returns a [`Failure`] that shows both values unless they are equal; text and arguments as for `format!` may follow.
#[macro_export]
macro_rules! check_eq {
    ($left:expr, $right:expr $(,)?) => {
        $crate::check_eq!($left, $right, "{}", stringify!($left))
    };
    ($left:expr, $right:expr, $($arg:tt)+) => {
        match (&$left, &$right) {
            (left, right) => {
                if *left != *right {
                    let what = $crate::__format!($($arg)+);
                    return Err($crate::Failure::new($crate::__format!("{what}: {left:?} instead of {right:?}")));
                }
            }
        }
    };
}

/// Returns a [`Failure`] unless the result is an error with one of the errnos: `check_err!(dir.unlink("d"), EISDIR)`.
#[macro_export]
macro_rules! check_err {
    ($result:expr, $($errno:ident)|+ $(,)?) => {
        $crate::expect_errno(stringify!($result), $result, &[$($crate::vfs::Errno::$errno),+])?
    };
}
