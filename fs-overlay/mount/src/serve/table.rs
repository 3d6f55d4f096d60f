//! Which node is behind which number that the kernel was told.
//!
//! The kernel holds an inode by a number and counts how often it was given it; until it has given all back, the node is
//! held here. The library has one field for this number and for `st_ino`, so the number is the inode's own where it can be. It
//! cannot be for the root, which is 1, and for names that share a lower inode but are objects of their own (hard links of a
//! lower layer): these get a number of the table's own, and what the kernel keeps of them is not kept for long.
//!
//! One lock, innermost: nothing is called under it, and nodes are dropped outside.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vfs::Node;

/// The number of the root (`FUSE_ROOT_ID`).
pub(crate) const ROOT: u64 = 1;
/// Where numbers of the table's own begin: above those of any overlay.
const OWN: u64 = 1 << 62;

struct Known {
    node: Node,
    identity: u64,
    lookups: u64,
    /// Of a directory: the one above it, which the kernel knows as long as this one.
    parent: u64,
}

#[derive(Default)]
struct Numbers {
    by_number: HashMap<u64, Known>,
    by_identity: HashMap<u64, u64>,
    next: u64,
}

/// The nodes that the kernel knows.
pub(crate) struct Table(Mutex<Numbers>);

impl Table {
    /// A table of the root alone, which is never given back.
    pub(crate) fn new(root: Node) -> Self {
        let identity = root.ops().identity();
        let mut numbers = Numbers { next: OWN, ..Numbers::default() };
        numbers.by_identity.insert(identity, ROOT);
        numbers.by_number.insert(ROOT, Known { node: root, identity, lookups: 1, parent: ROOT });
        Self(Mutex::new(numbers))
    }

    /// Nothing that panics runs under the lock, so what it protects is whole.
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node of a number.
    pub(crate) fn get(&self, number: u64) -> Option<Node> {
        self.lock().by_number.get(&number).map(|known| known.node.clone())
    }

    /// The number of a node, found in the directory `parent`, that the kernel is going to be told once more.
    pub(crate) fn remember(&self, node: &Node, parent: u64) -> u64 {
        let (identity, ino) = (node.ops().identity(), node.id().ino);
        let mut numbers = self.lock();
        if let Some(&number) = numbers.by_identity.get(&identity) {
            if let Some(known) = numbers.by_number.get_mut(&number) {
                known.lookups += 1;
                if number != ROOT {
                    known.parent = parent;
                }
            }
            return number;
        }
        let free = ino > ROOT && ino < OWN && !numbers.by_number.contains_key(&ino);
        let number = if free {
            ino
        } else {
            numbers.next += 1;
            numbers.next
        };
        numbers.by_identity.insert(identity, number);
        numbers.by_number.insert(number, Known { node: node.clone(), identity, lookups: 1, parent });
        number
    }

    /// The kernel is going to be told `number`, which is not the one that it has for `node`, once more: the node of that
    /// number, whose attributes are to be told with it. It is `node` itself where no other has the number.
    pub(crate) fn stand_in(&self, number: u64, node: &Node, parent: u64) -> Node {
        let identity = node.ops().identity();
        let mut numbers = self.lock();
        let unknown = || Known { node: node.clone(), identity, lookups: 0, parent };
        let known = numbers.by_number.entry(number).or_insert_with(unknown);
        known.lookups += 1;
        known.node.clone()
    }

    /// A node has moved to another directory.
    pub(crate) fn moved(&self, node: &Node, parent: u64) {
        let identity = node.ops().identity();
        let mut numbers = self.lock();
        if let Some(&number) = numbers.by_identity.get(&identity)
            && let Some(known) = numbers.by_number.get_mut(&number)
        {
            known.parent = parent;
        }
    }

    /// The directory above a directory; of the root, itself.
    pub(crate) fn parent(&self, number: u64) -> Option<Node> {
        let numbers = self.lock();
        let parent = numbers.by_number.get(&number)?.parent;
        numbers.by_number.get(&parent).map(|known| known.node.clone())
    }

    /// The kernel gives a number back that it was told `times` times.
    pub(crate) fn forget(&self, number: u64, times: u64) {
        let mut numbers = self.lock();
        let Some(known) = numbers.by_number.get_mut(&number) else { return };
        known.lookups = known.lookups.saturating_sub(times);
        if known.lookups > 0 || number == ROOT {
            return;
        }
        let gone = numbers.by_number.remove(&number);
        if let Some(gone) = &gone
            && numbers.by_identity.get(&gone.identity) == Some(&number)
        {
            numbers.by_identity.remove(&gone.identity);
        }
        // The last user of an unlinked inode frees its space: not under this lock.
        drop(numbers);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vfs::{FileSystem, FsContext, Name, NewKind, NewNode, Timestamp};

    use super::*;

    fn nodes() -> (Node, Node, Node) {
        let context = FsContext { dev: 1, clock: Arc::new(|| Timestamp::EPOCH) };
        let fs = ramfs::RamFs::new(context, &ramfs::Options::default()).unwrap();
        let file = |name: &[u8]| fs.root().create(Name::new(name).unwrap(), &NewNode::new(NewKind::File, 0)).unwrap();
        (Node::Dir(fs.root()), file(b"a"), file(b"b"))
    }

    #[test]
    fn a_node_keeps_its_number_until_all_of_it_is_given_back() {
        let (root, a, _) = nodes();
        let table = Table::new(root);
        let number = table.remember(&a, ROOT);
        assert_eq!(number, a.id().ino);
        assert_eq!(table.remember(&a, ROOT), number);
        table.forget(number, 1);
        assert!(table.get(number).is_some());
        table.forget(number, 1);
        assert!(table.get(number).is_none());
    }

    #[test]
    fn a_number_in_a_listing_stands_for_its_own_node_and_goes_without_it() {
        let (root, a, b) = nodes();
        let table = Table::new(root);
        let (of_a, of_b) = (table.remember(&a, ROOT), table.remember(&b, ROOT));
        let told = |number| table.stand_in(number, &a, ROOT).id().ino;
        assert_eq!((told(of_b), told(1000)), (of_b, of_a));
        table.forget(1000, 1);
        table.forget(of_b, 1);
        assert!(table.get(1000).is_none() && table.get(of_b).is_some());
        assert_eq!(table.remember(&a, ROOT), of_a);
    }

    #[test]
    fn the_root_is_never_forgotten() {
        let (root, ..) = nodes();
        let table = Table::new(root.clone());
        assert_eq!(table.remember(&root, ROOT), ROOT);
        table.forget(ROOT, 100);
        assert!(table.get(ROOT).is_some());
    }

    #[test]
    fn a_number_that_is_taken_is_not_given_to_another_object() {
        let (root, a, b) = nodes();
        let table = Table::new(root);
        let second = table.remember(&b, ROOT);
        table.lock().by_number.get_mut(&second).unwrap().identity = u64::MAX;
        let taken = table.lock().by_number.remove(&second).unwrap();
        table.lock().by_number.insert(a.id().ino, taken);
        assert!(table.remember(&a, ROOT) > OWN);
    }
}
