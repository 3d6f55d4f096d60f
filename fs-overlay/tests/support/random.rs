//! Random layers and sequences of operations, as strategies of proptest: a sequence that fails is made as short as it can be.

use std::collections::BTreeSet;
use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use vfs::acl::{Acl, Entry, Tag};
use vfs::{AllocateMode, RenameMode};

use super::ops::{Item, ItemKind, Op};
pub(crate) use super::shortest::Verdict;
use super::shortest::{self, Sequence, generator};

const NAMES: &[&str] = &["a", "b", "c", "d", "e"];
const XATTRS: &[&str] = &["user.x", "user.y", "trusted.t", "trusted.overlay.foo", "trusted.overlay.opaque"];

const LISTS: &[&str] = &["system.posix_acl_access", "system.posix_acl_default"];

/// How deep directories of a layer are.
const DEPTH: u32 = 3;

/// Layers, topmost first, and what is done on them.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) layers: Vec<Vec<Item>>,
    pub(crate) ops: Vec<Op>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, layer) in self.layers.iter().enumerate() {
            writeln!(f, "lower layer {index}:")?;
            for Item { path, kind, mode, owner, xattrs } in layer {
                write!(f, "    {path}: {kind:?} {mode:o} {}:{}", owner.0, owner.1)?;
                for (name, value) in xattrs {
                    write!(f, " {name}={}", value.escape_ascii())?;
                }
                writeln!(f)?;
            }
        }
        writeln!(f, "operations:")?;
        self.ops.iter().try_for_each(|op| writeln!(f, "    {op:?}"))
    }
}

/// What is at a name of a layer, before it has a place.
#[derive(Debug, Clone)]
enum Draft {
    Leaf(ItemKind),
    /// To the last file before it.
    Link,
    Dir {
        is_opaque: bool,
        entries: Vec<(&'static str, Draft, Attributes)>,
    },
}

#[derive(Debug, Clone)]
struct Attributes {
    mode: u16,
    owner: (u32, u32),
    user: Option<u8>,
    is_trusted: bool,
    /// An access control list, and whether a directory hands it down.
    list: Option<(Acl, bool)>,
}

type Entries = Vec<(&'static str, Draft, Attributes)>;

fn attributes() -> impl Strategy<Value = Attributes> {
    let user = prop_oneof![3 => Just(None), 1 => (b'0'..=b'9').prop_map(Some)];
    let list = prop_oneof![7 => Just(None), 1 => (full_list(), any::<bool>()).prop_map(Some)];
    (0o600..0o700_u16, (0..3_u32, 0..3_u32), user, prop::bool::weighted(0.125), list)
        .prop_map(|(mode, owner, user, is_trusted, list)| Attributes { mode, owner, user, is_trusted, list })
}

fn entry(tag: Tag, perm: u16, id: u32) -> Entry {
    Entry { tag, perm, id: if tag.is_named() { id } else { u32::MAX } }
}

/// An access control list that says more than a mode.
fn full_list() -> impl Strategy<Value = Acl> {
    (0..0o1000_u16, 0..0o1000_u16, 1..4_u32).prop_map(|(mode, named, id)| {
        let entries = [
            entry(Tag::UserObj, 6 | mode >> 6, 0),
            entry(Tag::User, named >> 6, id),
            entry(Tag::GroupObj, named >> 3 & 7, 0),
            entry(Tag::Group, named & 7, id),
            entry(Tag::Mask, mode >> 3 & 7, 0),
            entry(Tag::Other, mode & 7, 0),
        ];
        Acl::new(entries.to_vec()).unwrap()
    })
}

/// The value of an access control list, among them one that is but a mode, one without entries, and some that are none.
fn list_value() -> impl Strategy<Value = Vec<u8>> {
    let value = |list: Acl| list.to_value().unwrap();
    prop_oneof![
        6 => full_list().prop_map(value),
        2 => (0..0o1000_u16).prop_map(move |mode| {
            let tags = [Tag::UserObj, Tag::GroupObj, Tag::Other];
            let perms = [mode >> 6, mode >> 3 & 7, mode & 7];
            let entries = tags.into_iter().zip(perms).map(|(tag, perm)| entry(tag, perm, 0));
            value(Acl::new(entries.collect()).unwrap())
        }),
        1 => Just(vec![2, 0, 0, 0]),
        // Without its last entry, that for others.
        1 => full_list().prop_map(move |list| value(list)[..44].to_vec()),
        1 => full_list().prop_map(move |list| value(list)[..43].to_vec()),
    ]
}

fn entries_of(depth: u32, is_above: bool) -> BoxedStrategy<Entries> {
    vec((select(NAMES), draft(depth, is_above), attributes()), 0..=12).boxed()
}

fn draft(depth: u32, is_above: bool) -> BoxedStrategy<Draft> {
    let content = (b'A'..=b'Z', 0..20_usize).prop_map(|(byte, len)| ItemKind::File(vec![byte; len]));
    let sparse = (0..40_u64).prop_map(|page| ItemKind::Sparse(page * 4096, b"data after a hole".to_vec()));
    let special = if is_above { ItemKind::Whiteout } else { ItemKind::Fifo };
    let leaf = prop_oneof![
        6 => content,
        1 => sparse,
        1 => (0..10_u32).prop_map(|number| ItemKind::Symlink(format!("nowhere-{number}"))),
        1 => Just(special),
        1 => Just(ItemKind::Fifo),
        1 => (1..10_u32).prop_map(|minor| ItemKind::Device(1, minor)),
    ];
    let leaf = prop_oneof![11 => leaf.prop_map(Draft::Leaf), 1 => Just(Draft::Link)];
    if depth == DEPTH {
        return leaf.boxed();
    }
    let is_opaque = prop::bool::weighted(if is_above { 0.2 } else { 0.0 });
    let dir =
        (is_opaque, entries_of(depth + 1, is_above)).prop_map(|(is_opaque, entries)| Draft::Dir { is_opaque, entries });
    prop_oneof![9 => leaf, 7 => dir].boxed()
}

/// Gives the entries below `path` their place, the first of each name.
fn place(path: &str, entries: &Entries, items: &mut Vec<Item>) {
    let mut taken = BTreeSet::new();
    for (name, draft, attributes) in entries.iter().filter(|(name, ..)| taken.insert(*name)) {
        let path = if path.is_empty() { (*name).to_string() } else { format!("{path}/{name}") };
        let (kind, is_opaque) = match draft {
            Draft::Leaf(kind) => (kind.clone(), false),
            Draft::Dir { is_opaque, .. } => (ItemKind::Dir, *is_opaque),
            Draft::Link => match items.iter().rev().find(|item| matches!(item.kind, ItemKind::File(_))) {
                Some(file) => (ItemKind::HardLink(file.path.clone()), false),
                None => continue,
            },
        };
        let mut mode = attributes.mode;
        match &kind {
            ItemKind::Dir => mode |= 0o700,
            ItemKind::Symlink(_) => mode = 0o777,
            _ => {}
        }
        let mut xattrs = Vec::new();
        if let (Some(value), ItemKind::File(_) | ItemKind::Sparse(..)) = (attributes.user, &kind) {
            xattrs.push(("user.x".into(), vec![value]));
        }
        if attributes.is_trusted && !matches!(kind, ItemKind::Whiteout | ItemKind::HardLink(_)) {
            xattrs.push(("trusted.t".into(), b"t".to_vec()));
        }
        match &attributes.list {
            Some((list, true)) if matches!(kind, ItemKind::Dir) => {
                xattrs.push((LISTS[1].into(), list.to_value().unwrap()));
            }
            Some((list, _)) if !matches!(kind, ItemKind::Symlink(_) | ItemKind::Whiteout | ItemKind::HardLink(_)) => {
                xattrs.push((LISTS[0].into(), list.to_value().unwrap()));
                mode = mode & !0o777 | list.mode_bits();
            }
            _ => {}
        }
        if is_opaque {
            xattrs.push(("trusted.overlay.opaque".into(), b"y".to_vec()));
        }
        items.push(Item { path: path.clone(), kind, mode, owner: attributes.owner, xattrs });
        if let Draft::Dir { entries, .. } = draft {
            place(&path, entries, items);
        }
    }
}

/// A tree for a layer; one that is above others hides some of what they have.
fn layer(is_above: bool) -> BoxedStrategy<Vec<Item>> {
    let items = |entries| {
        let mut items = Vec::new();
        place("", &entries, &mut items);
        items
    };
    entries_of(0, is_above).prop_map(items).boxed()
}

fn path() -> impl Strategy<Value = String> {
    vec(select(NAMES), 1..=4).prop_map(|names| names.join("/"))
}

/// Two paths, often in one directory, so that operations meet.
fn paths() -> impl Strategy<Value = (String, String)> {
    (path(), prop_oneof![2 => path().prop_map(Err), 1 => select(NAMES).prop_map(Ok)]).prop_map(|(from, to)| {
        let to = match (to, from.rsplit_once('/')) {
            (Err(path), _) => path,
            (Ok(name), Some((parent, _))) => format!("{parent}/{name}"),
            (Ok(name), None) => name.to_string(),
        };
        (from, to)
    })
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    (b'a'..=b'z', 0..12_usize).prop_map(|(byte, len)| vec![byte; len])
}

fn rename(mode: RenameMode) -> impl Strategy<Value = Op> {
    paths().prop_map(move |(from, to)| Op::Rename(from, to, mode))
}

/// What `fallocate(2)` does, of what tmpfs can do.
fn allocation() -> impl Strategy<Value = AllocateMode> {
    select(&[AllocateMode::Extend, AllocateMode::KeepSize, AllocateMode::PunchHole][..])
}

/// An operation; its paths need not exist.
fn op() -> BoxedStrategy<Op> {
    let attribute = || select(XATTRS).prop_map(str::to_string);
    let list = || select(LISTS).prop_map(str::to_string);
    prop_oneof![
        8 => path().prop_map(Op::Mkdir),
        7 => (path(), data()).prop_map(|(path, data)| Op::Create(path, data)),
        5 => (path(), 0..30_u64, data()).prop_map(|(path, offset, data)| Op::Write(path, offset, data)),
        3 => (path(), data()).prop_map(|(path, data)| Op::OpenTruncate(path, data)),
        3 => (path(), data()).prop_map(|(path, data)| Op::Append(path, data)),
        3 => (path(), 0..25_u64).prop_map(|(path, len)| Op::Truncate(path, len)),
        3 => (path(), allocation(), 0..9000_u64, 1..9000_u64)
            .prop_map(|(path, mode, offset, len)| Op::Allocate(path, mode, offset, len)),
        3 => (path(), data()).prop_map(|(path, data)| Op::Unnamed(path, data)),
        8 => path().prop_map(Op::Unlink),
        8 => path().prop_map(Op::Rmdir),
        17 => rename(RenameMode::Replace),
        3 => rename(RenameMode::NoReplace),
        6 => rename(RenameMode::Exchange),
        6 => paths().prop_map(|(from, to)| Op::Link(from, to)),
        2 => (path(), 0..10_u32).prop_map(|(path, number)| Op::Symlink(path, format!("nowhere-{number}"))),
        1 => path().prop_map(Op::Fifo),
        1 => (path(), 0..2_u32, 0..2_u32).prop_map(|(path, major, minor)| Op::Device(path, major, minor)),
        4 => (path(), 0..0o1000_u16).prop_map(|(path, mode)| Op::Chmod(path, mode)),
        3 => (path(), 0..4_u32, 0..4_u32).prop_map(|(path, uid, gid)| Op::Chown(path, uid, gid)),
        5 => (path(), attribute(), data()).prop_map(|(path, name, value)| Op::SetXattr(path, name, value)),
        3 => (path(), attribute()).prop_map(|(path, name)| Op::RemoveXattr(path, name)),
        4 => (path(), list(), list_value()).prop_map(|(path, name, value)| Op::SetXattr(path, name, value)),
        1 => (path(), list()).prop_map(|(path, name)| Op::RemoveXattr(path, name)),
        3 => (path(), 0..1000_i64).prop_map(|(path, secs)| Op::SetMtime(path, secs)),
        1 => Just(Op::Remount),
    ]
    .boxed()
}

/// One to three layers and so many operations, which are made fewer first.
fn case(operations: usize) -> impl Strategy<Value = Case> {
    let ops = Sequence { op: op(), len: operations };
    (ops, layer(true), layer(true), layer(false), 1..=3_usize).prop_map(|(ops, first, second, last, count)| {
        let layers = [first, second, last].into_iter().skip(3 - count).collect();
        Case { layers, ops }
    })
}

/// Makes up a case of so many operations and has it judged.
pub(crate) fn judge(seed: u64, operations: u64, run: impl Fn(&Case) -> Verdict + Sync) -> Option<u64> {
    shortest::judge(&case(usize::try_from(operations).unwrap()), seed, operations, run)
}

/// Makes up layers and operations one by one, for tests whose threads or sides take them as they come.
pub(crate) struct Source {
    runner: TestRunner,
    ops: BoxedStrategy<Op>,
}

impl Source {
    pub(crate) fn new(seed: u64) -> Self {
        Self { runner: TestRunner::new_with_rng(Config::default(), generator(seed)), ops: op() }
    }

    pub(crate) fn layer(&mut self, is_above: bool) -> Vec<Item> {
        layer(is_above).new_tree(&mut self.runner).unwrap().current()
    }

    pub(crate) fn op(&mut self) -> Op {
        self.ops.new_tree(&mut self.runner).unwrap().current()
    }
}
