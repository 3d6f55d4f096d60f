//! Threads on the same names. What each sees must be possible, and what is left must be a whole tree.

#[path = "support/steps.rs"]
mod steps;
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use steps::{STEPS, Step};
use support::ops::{self, Op};
use support::random::Source;
use support::{Detail, Random, Rig, Tree, entries, number, read_all};
use vfs::{Errno, Expect, Node, OpenIntent, RenameMode};

fn start() {
    base::sync::set_relax(thread::yield_now);
}

fn at_once(threads: usize, work: impl Fn(usize) + Sync) {
    let ready = std::sync::Barrier::new(threads);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (ready, work) = (&ready, &work);
            scope.spawn(move || {
                ready.wait();
                work(thread);
            });
        }
    });
}

#[test]
fn random_operations_of_four_threads_leave_a_whole_tree() {
    start();
    let operations = number("STRATA_OPS", 1500);
    for seed in number("STRATA_SEED", 1)..number("STRATA_SEED", 1) + 8 {
        let items = Source::new(seed).layer(false);
        let mut rig = Rig::new(|lower| ops::build(lower, &items));
        at_once(4, |thread| {
            let mut source = Source::new(seed * 10 + thread as u64);
            let tree = Tree::of(&*rig.fs);
            for step in 0..operations {
                let op = source.op();
                if !matches!(op, Op::Remount)
                    && let Err(error) = ops::apply(&tree, &op)
                {
                    let possible = [
                        Errno::ENOENT,
                        Errno::EEXIST,
                        Errno::ENOTDIR,
                        Errno::EISDIR,
                        Errno::ENOTEMPTY,
                        Errno::EINVAL,
                        Errno::EPERM,
                        Errno::ELOOP,
                        Errno::ENODATA,
                        Errno::EXDEV,
                        // Of access control lists.
                        Errno::EACCES,
                        Errno::EOPNOTSUPP,
                    ];
                    assert!(possible.contains(&error.errno()), "{op:?}: {error:?}");
                }
                if step % 16 == 0 {
                    entries(&*tree.0);
                }
            }
        });
        let left = rig.tree().dump(Detail::Content);
        assert_eq!(rig.fs.nodes_in_use(), 0);
        rig.remount();
        let again = rig.tree().dump(Detail::Content);
        assert!(left == again, "another tree after a remount; replay with STRATA_SEED={seed}");
    }
}

#[test]
fn readers_of_a_file_see_it_whole_while_it_is_copied_up() {
    start();
    let content = "0123456789abcdef".repeat(20_000);
    for _ in 0..20 {
        let rig = Rig::new(|lower| {
            lower.mkdir("d").unwrap();
            lower.put("d/f", &content).unwrap();
        });
        let number = rig.tree().ino("d/f");
        at_once(4, |thread| {
            let file = rig.tree().file("d/f").unwrap();
            if thread == 0 {
                file.prepare_open(OpenIntent::Write).unwrap();
            }
            for _ in 0..8 {
                assert_eq!(read_all(&*file).unwrap(), content.as_bytes());
                assert_eq!(rig.tree().ino("d/f"), number);
            }
        });
    }
}

#[test]
fn a_file_is_copied_up_once_however_many_want_it() {
    start();
    for _ in 0..50 {
        let rig = Rig::new(|lower| {
            lower.mkdir("d").unwrap();
            lower.mkdir("d/e").unwrap();
            lower.put("d/e/f", "").unwrap();
        });
        at_once(4, |thread| {
            for _ in 0..20 {
                rig.tree().append("d/e/f", &thread.to_string()).unwrap();
            }
        });
        let written = rig.tree().read("d/e/f").unwrap();
        for thread in 0..4 {
            assert_eq!(written.matches(&thread.to_string()).count(), 20);
        }
    }
}

#[test]
fn a_name_is_created_removed_and_renamed_by_one_only() {
    start();
    for round in 0..100 {
        let rig = Rig::new(|lower| {
            lower.mkdir("d").unwrap();
            lower.put("d/old", "old").unwrap();
            lower.mkdir("d/dir").unwrap();
        });
        let done: [AtomicUsize; 3] = std::array::from_fn(|_| AtomicUsize::new(0));
        at_once(4, |thread| {
            let tree = rig.tree();
            let count = |what: usize, result: vfs::Result<()>| {
                if result.is_ok() {
                    done[what].fetch_add(1, Ordering::Relaxed);
                }
            };
            count(0, tree.mkdir("d/new"));
            count(
                1,
                if thread % 2 == 0 { tree.unlink("d/old") } else { tree.rename("d/old", &format!("moved{thread}")) },
            );
            count(
                2,
                if thread % 2 == round % 2 {
                    tree.rmdir("d/dir")
                } else {
                    tree.rename("d/dir", &format!("dir{thread}"))
                },
            );
        });
        assert_eq!(done.map(AtomicUsize::into_inner), [1, 1, 1]);
        rig.tree().dump(Detail::Merged);
    }
}

#[test]
fn a_listing_never_misses_what_is_there_throughout() {
    start();
    let rig = Rig::new(|lower| {
        lower.mkdir("d").unwrap();
        for file in 0..200 {
            lower.put(&format!("d/stays{file}"), "").unwrap();
            lower.put(&format!("d/goes{file}"), "").unwrap();
        }
    });
    let stop = AtomicBool::new(false);
    at_once(3, |thread| {
        let dir = rig.tree().dir("d").unwrap();
        if thread == 0 {
            for file in 0..200 {
                rig.tree().unlink(&format!("d/goes{file}")).unwrap();
                rig.tree().put(&format!("d/comes{file}"), "").unwrap();
                if file % 3 == 0 {
                    rig.tree().rename(&format!("d/comes{file}"), &format!("d/again{file}")).unwrap();
                }
            }
            stop.store(true, Ordering::Relaxed);
        } else {
            while !stop.load(Ordering::Relaxed) {
                let names: Vec<_> = entries(&*dir).into_iter().map(|(name, ..)| name).collect();
                let unique: BTreeSet<_> = names.iter().collect();
                assert_eq!(unique.len(), names.len(), "a name was listed twice");
                assert_eq!(names.iter().filter(|name| name.starts_with("stays")).count(), 200);
            }
        }
    });
    assert_eq!(rig.tree().names("d").len(), 400);
}

#[test]
fn removal_against_copy_up_leaves_no_trace_of_the_file() {
    start();
    for _ in 0..200 {
        let rig = Rig::new(|lower| {
            lower.mkdir("d").unwrap();
            lower.put("d/f", "content").unwrap();
        });
        let node = rig.tree().get("d/f").unwrap();
        at_once(2, |thread| {
            if thread == 0 {
                rig.tree().dir("d").unwrap().remove(support::name("f"), Expect::NonDir).unwrap();
            } else if let Node::File(file) = &node {
                file.append(b"!").unwrap();
            }
        });
        assert!(!rig.tree().has("d/f"));
        assert_eq!(rig.raw().dump(Detail::Raw)["/d/f"], "whiteout");
        assert_eq!(read_all(&**node.as_file().unwrap()).unwrap(), b"content!");
        assert_eq!(node.attr().unwrap().nlink, 0);
    }
}

#[test]
fn directories_renamed_into_each_other_do_not_lock_up_or_loop() {
    start();
    let rig = Rig::new(|lower| {
        for dir in ["a", "a/x", "b", "b/y", "c"] {
            lower.mkdir(dir).unwrap();
        }
    });
    let paths =
        ["a", "b", "c", "a/b", "b/a", "a/c", "c/a", "b/c", "c/b", "a/b/c", "b/c/a", "c/a/b", "a/x", "b/y", "c/x"];
    let paths = Arc::new(paths);
    at_once(4, |thread| {
        let mut random = Random::new(thread as u64 + 1);
        for _ in 0..3000 {
            let (from, to) = (*random.pick(&paths[..]), *random.pick(&paths[..]));
            let mode = if random.one_in(3) { RenameMode::Exchange } else { RenameMode::NoReplace };
            let _ = rig.tree().rename_with(from, to, mode);
        }
    });
    let all = rig.tree().dump(Detail::Content);
    assert_eq!(all.len(), 6, "{all:?}");
}

/// The results of two operations and what they left.
type Outcome = ([Option<Errno>; 2], std::collections::BTreeMap<String, String>);

/// Each pair of operations at once gives what one of the two orders gives. A step resolves its paths before it acts, as a program
/// does: what it found may have moved when it acts on it, so results alone may also be those of an operation on what it found.
#[test]
fn every_pair_of_operations_leaves_what_one_of_the_orders_leaves() {
    start();
    let rig = || {
        Rig::new(|lower| {
            for dir in ["d", "d/c", "e"] {
                lower.mkdir(dir).unwrap();
            }
            lower.put("d/a", "content of a").unwrap();
        })
    };
    let outcome = |rig: &Rig, results: [vfs::Result<()>; 2]| -> Outcome {
        (results.map(|result| result.err().map(|error| error.errno())), rig.tree().dump(Detail::Content))
    };
    let in_turn = |first: &Step, second: &Step| {
        let rig = rig();
        let results = [first.1(&rig.tree()), second.1(&rig.tree())];
        outcome(&rig, results)
    };
    let rounds = number("STRATA_OPS", 6);
    for (index, one) in STEPS.iter().enumerate() {
        for other in &STEPS[index..] {
            let orders = [in_turn(one, other), {
                let (results, left) = in_turn(other, one);
                ([results[1], results[0]], left)
            }];
            for _ in 0..rounds {
                let mut rig = rig();
                let results = [std::sync::Mutex::new(Ok(())), std::sync::Mutex::new(Ok(()))];
                at_once(2, |thread| {
                    let step = if thread == 0 { one } else { other };
                    *results[thread].lock().unwrap() = step.1(&rig.tree());
                });
                let results = results.map(|result| result.into_inner().unwrap());
                let now = outcome(&rig, results);
                assert!(
                    orders.iter().any(|(_, left)| *left == now.1),
                    "{} and {} at once: {now:#?}, in turn {orders:#?}",
                    one.0,
                    other.0
                );
                rig.remount();
                assert_eq!(rig.tree().dump(Detail::Content), now.1, "{} and {}: after a remount", one.0, other.0);
            }
        }
    }
}
