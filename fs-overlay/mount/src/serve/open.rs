//! Open files: each is told once of data that could not be written, so the kernel's number for it leads to what it was told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use vfs::{ErrorSequence, Node, Result, SyncKind, Told, sync_and_tell};

/// The files that the kernel has open.
#[derive(Default)]
pub(super) struct OpenFiles {
    files: Mutex<(u64, HashMap<u64, Arc<Told>>)>,
}

impl OpenFiles {
    fn with<T>(&self, work: impl FnOnce(&mut u64, &mut HashMap<u64, Arc<Told>>) -> T) -> T {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, by_number) = &mut *files;
        work(last, by_number)
    }

    /// A file is opened; returns its number, never 0.
    pub(super) fn open(&self, node: &Node) -> u64 {
        let told = node.ops().write_errors().map(ErrorSequence::sample).unwrap_or_default();
        self.with(|last, files| {
            *last += 1;
            files.insert(*last, Arc::new(told));
            *last
        })
    }

    /// The last descriptor of it is closed.
    pub(super) fn close(&self, number: u64) {
        self.with(|_, files| files.remove(&number));
    }

    /// `fsync(2)` through an open file.
    pub(super) fn sync(&self, number: u64, node: &Node, kind: SyncKind) -> Result<()> {
        let told = self.with(|_, files| files.get(&number).cloned()).unwrap_or_default();
        sync_and_tell(node.ops(), kind, &told)
    }
}

#[cfg(test)]
mod tests {
    use vfs::{Attr, Errno, NodeId, NodeOps, SpecialOps};

    use super::*;

    #[derive(Default)]
    struct Failing(ErrorSequence);

    impl NodeOps for Failing {
        fn id(&self) -> NodeId {
            NodeId { dev: 1, ino: 1 }
        }

        fn attr(&self) -> Result<Attr> {
            Err(Errno::EIO.into())
        }

        fn write_errors(&self) -> Option<&ErrorSequence> {
            Some(&self.0)
        }
    }

    impl SpecialOps for Failing {}

    #[test]
    fn every_open_file_is_told_once() {
        let failing = Arc::new(Failing::default());
        let node = Node::Special(failing.clone());
        let open = OpenFiles::default();
        let (first, second) = (open.open(&node), open.open(&node));
        failing.0.record();
        let told = |number| open.sync(number, &node, SyncKind::All).is_err();
        assert_eq!([told(first), told(first), told(second), told(second)], [true, false, true, false]);
        assert!(!told(open.open(&node)));
        open.close(first);
    }
}
