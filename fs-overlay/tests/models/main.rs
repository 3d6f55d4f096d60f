//! Models of the overlay's concurrency: its own code over layers in memory, with threads that shuttle schedules in many orders.
//!
//! Each model's threads must see and leave what they see and leave one after another in some order. A failure prints the seed that
//! replays it.

mod scheduler;
#[path = "../support/steps.rs"]
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod world;

use fs_overlay::{IndexMode, MetacopyMode, Options};
use scheduler::{at_once, explore};
use steps::STEPS;
use support::{Detail, Rig, Tree};
use vfs::RenameMode::{Exchange, NoReplace, Replace};
use world::{Model, check};

const PLAIN: Options = Options {
    redirect: fs_overlay::RedirectMode::Create,
    metacopy: MetacopyMode::Follow,
    index: IndexMode::Off,
    data_only: 0,
    uuid: fs_overlay::UuidMode::Auto,
    random: None,
    xattrs: fs_overlay::XattrClass::Trusted,
    sync: fs_overlay::SyncMode::Auto,
};

/// Two directories with files and one below them.
fn files(lower: &Tree) {
    for dir in ["d", "d/c", "e"] {
        lower.mkdir(dir).unwrap();
    }
    for file in ["d/a", "d/stays", "d/c/f", "e/b"] {
        lower.put(file, file).unwrap();
    }
}

/// A file of three names.
fn links(lower: &Tree) {
    for dir in ["d", "e"] {
        lower.mkdir(dir).unwrap();
    }
    lower.put("d/a", "x").unwrap();
    lower.link("d/a", "d/b").unwrap();
    lower.link("d/a", "e/c").unwrap();
}

const FILES: Model = Model { options: PLAIN, build: files, open: &["d/a", "d/c/f"], threads: &[] };
const INDEXED: Options = Options { index: IndexMode::On, ..PLAIN };
const METACOPY: Options = Options { metacopy: MetacopyMode::Create, ..PLAIN };

#[test]
fn two_openers_publish_one_copy_and_readers_see_what_they_write() {
    const MODEL: Model = Model {
        threads: &[
            &[|w| w.open_to_write("d/c/f"), |w| w.append("d/c/f", "1")],
            &[|w| w.open_to_write("d/c/f"), |w| w.append("d/c/f", "2")],
            &[|w| w.read("d/c/f"), |w| w.find("d/c/f"), |w| w.read("d/c/f")],
        ],
        ..FILES
    };
    check(&MODEL);
}

#[test]
fn a_copy_up_meets_an_unlink() {
    const MODEL: Model = Model {
        threads: &[&[|w| w.append("d/a", "1"), |w| w.read("d/a")], &[|w| w.unlink("d/a")], &[|w| w.find("d/a")]],
        ..FILES
    };
    check(&MODEL);
}

#[test]
fn a_copy_up_meets_renames_of_the_file_and_over_it() {
    const MODEL: Model = Model {
        threads: &[
            &[|w| w.append("d/a", "1"), |w| w.read("d/a")],
            &[|w| w.rename("d/a", "e/z", NoReplace), |w| w.find("e/z")],
            &[|w| w.rename("e/b", "d/a", Replace)],
        ],
        ..FILES
    };
    check(&MODEL);
}

#[test]
fn a_copy_up_meets_a_link_and_the_removal_of_its_first_name() {
    const MODEL: Model = Model {
        threads: &[&[|w| w.resize("d/a", 1)], &[|w| w.link("d/a", "e/z")], &[|w| w.unlink("d/a"), |w| w.create("d/a")]],
        ..FILES
    };
    check(&MODEL);
}

#[test]
fn the_last_user_of_a_node_lets_it_go_while_others_look_it_up() {
    const MODEL: Model = Model {
        open: &[],
        threads: &[&[|w| w.glance("d/a"), |w| w.glance("d/a")], &[|w| w.find("d/a")], &[|w| w.find("d/a")]],
        ..FILES
    };
    check(&MODEL);
}

#[test]
fn a_node_is_let_go_and_found_while_its_copy_is_published() {
    fn touch(world: &world::World, path: &str) -> String {
        world.tree().append(path, "1").map_or_else(|error| format!("{error:?}"), |()| String::new())
    }
    const MODEL: Model = Model {
        open: &[],
        threads: &[
            &[|w| touch(w, "d/a"), |w| w.glance("d/a")],
            &[|w| w.find("d/a"), |w| w.let_go(), |w| w.find("d/a")],
            &[|w| w.glance("d/a"), |w| w.find("d/a")],
        ],
        ..FILES
    };
    check(&MODEL);
}

#[test]
fn a_listing_that_is_kept_follows_what_is_created_and_removed() {
    const MODEL: Model = Model {
        threads: &[
            &[|w| w.list("d"), |w| w.list("d"), |w| w.list("d")],
            &[|w| w.create("d/new"), |w| w.unlink("d/a"), |w| w.list("d")],
            &[
                |w| w.rename("d/stays", "d/stays", Replace),
                |w| w.rename("d/new", "d/newer", Replace),
                |w| w.mkdir("d/a"),
            ],
        ],
        ..FILES
    };
    check(&MODEL);
}

#[test]
fn names_of_one_inode_come_and_go_and_are_counted() {
    const MODEL: Model = Model {
        options: INDEXED,
        build: links,
        open: &["e/c"],
        threads: &[
            &[|w| w.unlink("d/a")],
            &[|w| w.link("e/c", "e/n")],
            &[|w| w.append("e/c", "1"), |w| w.unlink("d/b")],
        ],
    };
    check(&MODEL);
}

#[test]
fn the_last_names_of_one_inode_go_at_once() {
    const MODEL: Model = Model {
        options: INDEXED,
        build: links,
        open: &[],
        threads: &[
            &[|w| w.unlink("d/a")],
            &[|w| w.unlink("d/b")],
            &[|w| w.rename("e/c", "e/n", Replace), |w| w.unlink("e/n")],
        ],
    };
    check(&MODEL);
}

#[test]
fn names_of_one_inode_part_without_an_index() {
    const MODEL: Model = Model {
        options: PLAIN,
        build: links,
        open: &["d/a", "e/c"],
        threads: &[&[|w| w.append("d/a", "1")], &[|w| w.append("e/c", "2")], &[|w| w.rename("d/b", "e/c", Replace)]],
    };
    check(&MODEL);
}

#[test]
fn an_exchange_meets_renames_of_both_ends() {
    const MODEL: Model = Model {
        threads: &[
            &[|w| w.rename("d/a", "e/b", Exchange)],
            &[|w| w.rename("d/a", "e/z", NoReplace)],
            &[|w| w.rename("e/b", "d/y", NoReplace)],
        ],
        ..FILES
    };
    check(&MODEL);
}

#[test]
fn directories_are_exchanged_and_moved_into_each_other() {
    const MODEL: Model = Model {
        threads: &[
            &[|w| w.rename("d/c", "e", Exchange)],
            &[|w| w.rename("e", "d/c/e", NoReplace)],
            &[|w| w.rename("d", "e/d", NoReplace), |w| w.append("d/c/f", "1")],
        ],
        ..FILES
    };
    check(&MODEL);
}

#[test]
fn the_directories_above_are_copied_up_while_they_are_removed() {
    const MODEL: Model = Model {
        threads: &[
            &[|w| w.append("d/c/f", "1")],
            &[|w| w.unlink("d/c/f"), |w| w.rmdir("d/c")],
            &[|w| w.create("d/c/new"), |w| w.unlink("d/c/new")],
        ],
        ..FILES
    };
    check(&MODEL);
}

#[test]
fn an_empty_directory_is_copied_up_while_it_is_removed() {
    const MODEL: Model = Model {
        build: |lower| {
            files(lower);
            lower.mkdir("d/empty").unwrap();
        },
        threads: &[
            &[|w| w.create("d/empty/new"), |w| w.unlink("d/empty/new")],
            &[|w| w.rmdir("d/empty"), |w| w.mkdir("d/empty")],
            &[|w| w.chmod("d/empty", 0o700)],
        ],
        ..FILES
    };
    check(&MODEL);
}

#[test]
fn the_directories_above_are_copied_up_while_they_move() {
    const MODEL: Model = Model {
        threads: &[
            &[|w| w.append("d/c/f", "1")],
            &[|w| w.rename("d", "e/d", Replace), |w| w.mkdir("d")],
            &[|w| w.rename("d/c", "e/c", Replace)],
        ],
        ..FILES
    };
    check(&MODEL);
}

#[test]
fn a_whiteout_is_replaced_by_one_only() {
    const MODEL: Model = Model {
        threads: &[
            &[|w| w.unlink("d/a"), |w| w.create("d/a")],
            &[|w| w.mkdir("d/a"), |w| w.rmdir("d/a")],
            &[|w| w.rename("e/b", "d/a", NoReplace)],
        ],
        ..FILES
    };
    check(&MODEL);
}

#[test]
fn a_file_without_data_gets_it_once() {
    const MODEL: Model = Model {
        options: METACOPY,
        threads: &[
            &[|w| w.chmod("d/a", 0o600), |w| w.append("d/a", "1")],
            &[|w| w.open_to_write("d/a"), |w| w.resize("d/a", 2)],
            &[|w| w.read("d/a"), |w| w.rename("d/a", "e/z", Replace)],
        ],
        ..FILES
    };
    check(&MODEL);
}

/// As `stress` does with threads of the machine. A step finds its paths before it acts, so what the two leave is compared, not what they
/// answer.
#[test]
fn every_pair_of_operations_leaves_what_one_of_the_orders_leaves() {
    let rig = || {
        Rig::new(|lower| {
            for dir in ["d", "d/c", "e"] {
                lower.mkdir(dir).unwrap();
            }
            lower.put("d/a", "content of a").unwrap();
        })
    };
    for (index, one) in STEPS.iter().enumerate() {
        for other in &STEPS[index..] {
            let orders = [[one, other], [other, one]].map(|order| {
                let rig = rig();
                for step in order {
                    let _ = step.1(&rig.tree());
                }
                rig.tree().dump(Detail::Content)
            });
            explore(2, move || {
                let mut rig = rig();
                at_once(2, &|thread: usize| {
                    let step = if thread == 0 { one } else { other };
                    let _ = step.1(&rig.tree());
                });
                let left = rig.tree().dump(Detail::Content);
                assert!(orders.contains(&left), "{} and {} at once: {left:#?}, in turn {orders:#?}", one.0, other.0);
                assert_eq!(rig.fs.nodes_in_use(), 0);
                rig.remount();
                assert_eq!(rig.tree().dump(Detail::Content), left, "{} and {}: after a remount", one.0, other.0);
            });
        }
    }
}
