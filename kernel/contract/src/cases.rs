//! The tests, by group. A test is a function over an [`Env`](crate::Env), its name a sentence; each
//! module lists its own with what they need.

mod attr;
mod create;
mod exchange;
mod file;
mod flags;
mod handle;
mod limits;
mod link;
mod listing;
mod read;
mod readdir;
mod remount;
mod remove;
mod rename;
mod sparse;
mod times;
mod unnamed;
mod upper;
mod upper_rename;
mod whiteout;
mod xattr;

use crate::suite::Group;

/// Lists the tests of a group: `group!("link", NEEDS; a_sentence, another_sentence + MORE_NEEDS)`.
macro_rules! group {
    ($group:literal, $needs:expr; $($name:ident $(+ $more:ident)*),+ $(,)?) => {
        pub(super) const TESTS: &[$crate::Test] = &[$(
            $crate::Test::new(
                $group,
                stringify!($name),
                $needs$(.union($crate::Features::$more))*,
                $name,
            )
        ),+];
    };
}
use group;

pub(crate) const GROUPS: &[Group] = &[
    ("read", read::TESTS),
    ("listing", listing::TESTS),
    ("create", create::TESTS),
    ("remove", remove::TESTS),
    ("link", link::TESTS),
    ("rename", rename::TESTS),
    ("exchange", exchange::TESTS),
    ("readdir", readdir::TESTS),
    ("file", file::TESTS),
    ("sparse", sparse::TESTS),
    ("times", times::TESTS),
    ("attr", attr::TESTS),
    ("xattr", xattr::TESTS),
    ("flags", flags::TESTS),
    ("unnamed", unnamed::TESTS),
    ("limits", limits::TESTS),
    ("handle", handle::TESTS),
    ("remount", remount::TESTS),
    ("upper", upper::TESTS),
    ("whiteout", whiteout::TESTS),
    ("upper_rename", upper_rename::TESTS),
];
