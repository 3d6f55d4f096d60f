//! The name that was missed last. Whoever finds that a name is free often makes it next, and a directory's blocks need not be walked
//! twice for that.

use alloc::vec::Vec;

use super::names::Vacancy;

/// A directory has no such name, and where it would go; until an entry comes or goes.
#[derive(Debug, Default)]
pub(crate) struct Missed {
    /// The directory's number; 0 if nothing is known.
    dir: u32,
    name: Vec<u8>,
    vacancy: Option<Vacancy>,
}

impl Missed {
    /// A name was not found. The caller holds the directory's `content`.
    pub(crate) fn note(&mut self, dir: u32, name: &[u8], vacancy: Option<Vacancy>) {
        self.dir = dir;
        self.name.clear();
        self.name.extend_from_slice(name);
        self.vacancy = vacancy;
    }

    /// The space for a name that is known not to be there.
    pub(crate) fn vacancy(&self, dir: u32, name: &[u8]) -> Option<Option<Vacancy>> {
        (self.dir == dir && self.name == name).then_some(self.vacancy)
    }

    /// Some directory changes, or a number becomes another inode's.
    pub(crate) fn forget(&mut self) {
        self.dir = 0;
    }
}
