//! What a filesystem brings to be tested: how it is mounted, and what it can do.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicI64, Ordering};

use base::sync::Mutex;
use vfs::{Clock, DirOps, FileSystem, FsContext, Result, Timestamp};

use crate::dsl::Dir;
use crate::tree::Item;
use crate::{Failure, Outcome};

bitflags::bitflags! {
    /// What a filesystem offers. A test that needs more is left out, and counted as such.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Features: u32 {
        /// It can be changed at all.
        const WRITE = 1;
        /// More than one name for an inode, and a right `nlink`.
        const HARD_LINKS = 1 << 1;
        /// `nlink` of a directory is 2 and one for each subdirectory.
        const DIR_LINKS = 1 << 2;
        /// Devices, FIFOs.
        const DEVICES = 1 << 3;
        /// Socket endpoints.
        const SOCKETS = 1 << 4;
        /// Extended attributes of the class `user`.
        const USER_XATTRS = 1 << 5;
        /// Those of `trusted` and `security`, and the two of POSIX ACLs.
        const ALL_XATTRS = 1 << 6;
        /// Values of 64 KiB.
        const LARGE_XATTRS = 1 << 7;
        /// `create_unnamed`.
        const UNNAMED = 1 << 8;
        /// `RenameMode::Exchange`.
        const EXCHANGE = 1 << 9;
        /// Holes take no space, and `seek_data` and `seek_hole` know them.
        const HOLES = 1 << 10;
        /// `AllocateMode::Extend` and `KeepSize`.
        const ALLOCATE = 1 << 11;
        /// `AllocateMode::PunchHole`.
        const PUNCH_HOLE = 1 << 12;
        /// `AllocateMode::ZeroRange` and `ZeroRangeKeepSize`.
        const ZERO_RANGE = 1 << 13;
        /// `handle` and `node_by_handle`.
        const HANDLES = 1 << 14;
        /// `as_upper` gives an `UpperDir`.
        const UPPER = 1 << 15;
        /// `Attr::btime` is kept.
        const BIRTH_TIME = 1 << 16;
        /// `note_access` keeps `atime` by `relatime`.
        const ACCESS_TIME = 1 << 17;
        /// [`Setup::space`] is heeded.
        const LIMITED_SPACE = 1 << 18;
        /// [`Fixture::remount`] works.
        const REMOUNT = 1 << 19;
        /// Directories of 100,000 entries, files of many MiB: time and memory for them.
        const LARGE = 1 << 20;
        /// Nodes keep their inode numbers whatever is done to them (an overlay: over copy-up).
        const CONSTANT_INO = 1 << 21;
        /// Unlinked nodes stay readable and writable while they are held.
        const OPEN_UNLINKED = 1 << 22;
        /// Directories are renamed wherever they are (an overlay answers `EXDEV` where a redirect would be too long).
        const ANY_RENAME = 1 << 23;
        /// `Attr::flags` and `set_flags`: those that protect, `NODUMP`, `NOATIME`.
        const FLAGS = 1 << 24;

        /// All that a writable filesystem can offer, but limits and remounts: those are the fixture's work.
        const COMPLETE = Self::WRITE.bits() | Self::HARD_LINKS.bits() | Self::DIR_LINKS.bits() | Self::DEVICES.bits()
            | Self::SOCKETS.bits() | Self::USER_XATTRS.bits() | Self::ALL_XATTRS.bits() | Self::LARGE_XATTRS.bits()
            | Self::UNNAMED.bits() | Self::EXCHANGE.bits() | Self::HOLES.bits() | Self::ALLOCATE.bits()
            | Self::PUNCH_HOLE.bits() | Self::ZERO_RANGE.bits() | Self::HANDLES.bits() | Self::UPPER.bits()
            | Self::BIRTH_TIME.bits() | Self::ACCESS_TIME.bits() | Self::LARGE.bits() | Self::CONSTANT_INO.bits()
            | Self::OPEN_UNLINKED.bits() | Self::ANY_RENAME.bits()
            | Self::FLAGS.bits();
    }
}

/// What a test wants to be mounted.
pub struct Setup<'a> {
    /// What is in the base directory from the start, parents before children. [`crate::tree::build`] makes it through the
    /// contract; an overlay puts it into a lower layer, a read-only filesystem into its image.
    pub tree: &'a [Item<'a>],
    /// Device and clock. The clock stands still until the test moves it: timestamps must come from it.
    pub context: FsContext,
    /// About how many bytes of space there shall be, at least 1 MiB; `None` is plenty.
    pub space: Option<u64>,
}

/// A mounted filesystem under test.
pub struct Mounted {
    /// The filesystem.
    pub fs: Arc<dyn FileSystem>,
    /// Where the tests work: holds nothing but [`Setup::tree`]. The root, or a directory below it.
    pub base: Arc<dyn DirOps>,
    /// What the fixture needs to remount, check and clean up.
    pub state: Option<Box<dyn Any + Send + Sync>>,
}

impl Mounted {
    /// A filesystem whose root is the base.
    #[must_use]
    pub fn new(fs: Arc<dyn FileSystem>) -> Self {
        let base = fs.root();
        Self { fs, base, state: None }
    }
}

/// A filesystem, as the contract suite sees it.
pub trait Fixture: Sync {
    /// What it offers.
    fn features(&self) -> Features;

    /// A filesystem for one test alone.
    ///
    /// # Errors
    /// Whatever hinders it: the test fails with it.
    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted>;

    /// Unmounts and mounts again: the same tree is there. Only with [`Features::REMOUNT`].
    ///
    /// # Errors
    /// Whatever hinders it: the test fails with it.
    fn remount(&self, mounted: Mounted, _context: FsContext) -> Result<Mounted> {
        Ok(mounted)
    }

    /// Called after every test that passed, with nothing of the filesystem in use any more: a disk is examined here.
    ///
    /// # Errors
    /// What is wrong with it: the test fails with it.
    fn examine(&self, _mounted: Mounted) -> Outcome {
        Ok(())
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

/// Nanoseconds by which [`TestClock::tick`] moves: seconds and nanoseconds change.
const TICK: i64 = 10_000_000_123;

impl Default for TestClock {
    fn default() -> Self {
        // 2023-11-14, with nanoseconds that a filesystem of whole seconds would lose.
        Self(AtomicI64::new(1_700_000_000_123_456_789))
    }
}

impl TestClock {
    /// Moves by ten seconds and a little; returns the new time.
    pub fn tick(&self) -> Timestamp {
        self.advance(TICK)
    }

    /// Moves by `nanos` nanoseconds; returns the new time.
    pub fn advance(&self, nanos: i64) -> Timestamp {
        self.0.fetch_add(nanos, Ordering::Relaxed);
        self.now()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let nanos = self.0.load(Ordering::Relaxed);
        Timestamp { secs: nanos.div_euclid(1_000_000_000), nanos: nanos.rem_euclid(1_000_000_000) as u32 }
    }
}

/// What a test has at hand.
pub struct Env<'a> {
    fixture: &'a dyn Fixture,
    mounted: Mutex<Option<Mounted>>,
    /// The clock of the filesystem under test.
    pub clock: Arc<TestClock>,
}

/// The device that the filesystem under test reports.
const DEVICE: u64 = 0x2a;

impl<'a> Env<'a> {
    pub(crate) fn new(fixture: &'a dyn Fixture) -> Self {
        Self { fixture, mounted: Mutex::new(None), clock: Arc::default() }
    }

    /// What the filesystem offers.
    #[must_use]
    pub fn has(&self, features: Features) -> bool {
        self.fixture.features().contains(features)
    }

    fn context(&self) -> FsContext {
        FsContext { dev: DEVICE, clock: self.clock.clone() }
    }

    /// Mounts with `tree`; returns the base directory. The clock has moved on when the test begins.
    ///
    /// # Errors
    /// The fixture's.
    pub fn start(&self, tree: &[Item<'_>]) -> Result<Dir> {
        self.start_with(tree, None)
    }

    /// As [`start`](Self::start), with about `space` bytes.
    ///
    /// # Errors
    /// The fixture's.
    pub fn start_small(&self, tree: &[Item<'_>], space: u64) -> Result<Dir> {
        self.start_with(tree, Some(space))
    }

    fn start_with(&self, tree: &[Item<'_>], space: Option<u64>) -> Result<Dir> {
        let mounted = self.fixture.mount(&Setup { tree, context: self.context(), space })?;
        let base = Dir(mounted.base.clone());
        *self.mounted.lock() = Some(mounted);
        self.clock.tick();
        Ok(base)
    }

    /// Unmounts and mounts again; returns the base directory. The test has dropped every node.
    ///
    /// # Errors
    /// The fixture's.
    pub fn remount(&self) -> Outcome<Dir> {
        let mounted = self.take()?;
        let mounted = self.fixture.remount(mounted, self.context())?;
        let base = Dir(mounted.base.clone());
        *self.mounted.lock() = Some(mounted);
        Ok(base)
    }

    fn take(&self) -> Outcome<Mounted> {
        self.mounted.lock().take().ok_or_else(|| Failure::new("the test mounted nothing"))
    }

    /// The filesystem.
    ///
    /// # Errors
    /// A failure before [`start`](Self::start).
    pub fn fs(&self) -> Outcome<Arc<dyn FileSystem>> {
        let mounted = self.mounted.lock();
        mounted.as_ref().map(|mounted| mounted.fs.clone()).ok_or_else(|| Failure::new("nothing is mounted"))
    }

    pub(crate) fn finish(self) -> Outcome {
        match self.mounted.into_inner() {
            Some(mounted) => self.fixture.examine(mounted),
            None => Ok(()),
        }
    }
}
