//! Which cases there are: every call on every kind of object in every state, with what may stand behind a name; every pair of
//! objects for the calls that take two; the same as a user, in directories that he may change or not; and random sequences.

use rustix::fs::{AtFlags, RenameFlags};

use super::calls::{Call, Op, binary, unary};
use super::scene::{Kind, Object, State};

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Root,
    /// User 1, in a directory of root with this mode.
    User(u32),
}

/// A case: objects named `a`, `b`, …, and what is done to them.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) objects: Vec<Object>,
    pub(crate) caller: Caller,
    pub(crate) calls: Vec<Call>,
}

impl Case {
    /// The name of an object.
    pub(crate) fn object_name(index: usize) -> char {
        char::from(b'a' + u8::try_from(index % 26).unwrap_or(0))
    }
}

/// What can stand behind a name.
const BEHIND: [&str; 5] = ["", "/", "/.", "/f", "/new"];

/// All cases, in an order that stays.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    add_unary(&mut cases);
    add_binary(&mut cases);
    for seed in 0..SEQUENCES {
        cases.push(sequence(seed));
    }
    for (number, case) in cases.iter_mut().enumerate() {
        case.name = format!("{number:05}-{}", case.name);
    }
    cases
}

fn is_plain(object: Object) -> bool {
    matches!(object.state, State::Lower | State::Upper | State::Mixed)
}

fn add_unary(cases: &mut Vec<Case>) {
    for object in Object::all() {
        for behind in BEHIND {
            if object.state != State::Lower && (behind.len() > 1 && !is_plain(object)) {
                continue;
            }
            for op in unary() {
                let call = Call { op, path: format!("a{behind}"), other: String::new() };
                let name = format!("{:?}-{:?}", object.kind, object.state);
                let calls = vec![call.clone(), call];
                let case = Case { name, objects: vec![object], caller: Caller::Root, calls };
                if is_plain(object) && behind.len() < 2 {
                    for mode in [0o755, 0o777, 0o1777] {
                        cases.push(Case { caller: Caller::User(mode), ..case.clone() });
                    }
                }
                cases.push(case);
            }
        }
    }
}

fn add_binary(cases: &mut Vec<Case>) {
    let all = Object::all();
    let objects: Vec<_> = all
        .into_iter()
        .filter(|it| match it.state {
            State::Lower | State::Upper | State::Copied | State::Mixed => true,
            State::Gone | State::Again => matches!(it.kind, Kind::File | Kind::Full),
        })
        .collect();
    for &first in &objects {
        for &second in &objects {
            for op in binary() {
                for (behind, other_behind) in [("", ""), ("/", ""), ("", "/"), ("/", "/"), ("", "/x"), ("/f", "")] {
                    let plain = is_plain(first) && is_plain(second);
                    let is_rename = op == Op::Rename(RenameFlags::empty()) || op == Op::Link(AtFlags::empty());
                    let bare = behind.is_empty() && other_behind.is_empty();
                    if !(bare || plain && is_rename) {
                        continue;
                    }
                    let call = Call { op, path: format!("a{behind}"), other: format!("b{other_behind}") };
                    let back = Call { op, path: format!("b{other_behind}"), other: format!("a{behind}") };
                    let name = format!("{:?}-{:?}-{:?}-{:?}", first.kind, first.state, second.kind, second.state);
                    let calls = vec![call.clone(), call, back];
                    let case = Case { name, objects: vec![first, second], caller: Caller::Root, calls };
                    // Whether others' files may be linked is a setting of the system: `fs.protected_hardlinks`.
                    let protected = matches!(op, Op::Link(_)) && [first.kind, second.kind].contains(&Kind::Roots);
                    if plain && bare && !protected {
                        for mode in [0o777, 0o1777] {
                            cases.push(Case { caller: Caller::User(mode), ..case.clone() });
                        }
                    }
                    cases.push(case);
                }
            }
        }
    }
}

/// How many random sequences there are, and how long each is.
const SEQUENCES: u64 = 1000;
const LENGTH: usize = 40;

/// A small generator: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Calls at random on a handful of objects, some of them moved into each other.
fn sequence(seed: u64) -> Case {
    let mut random = Random(seed);
    let all = Object::all();
    let objects: Vec<_> = (0..5).map(|_| random.one_of(&all)).collect();
    let (one, two) = (unary(), binary());
    let mut path = || -> String {
        let first = random.one_of(&["a", "b", "c", "d", "e", "new", "a.to", "b.2"]);
        let behind = random.one_of(&["", "", "", "", "/f", "/pop", "/pop/b", "/new", "/a", "/"]);
        format!("{first}{behind}")
    };
    let mut paths: Vec<(String, String)> = (0..LENGTH).map(|_| (path(), path())).collect();
    let calls = paths
        .drain(..)
        .map(|(path, other)| {
            let op = if random.below(2) == 0 { random.one_of(&two) } else { random.one_of(&one) };
            Call { op, path, other }
        })
        .collect();
    Case { name: format!("sequence-{seed}"), objects, caller: Caller::Root, calls }
}
