//! A lookup that misses remembers where the name would go. Whatever happens before the name is made, no other name is hurt and none is
//! there twice.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use block::BlockDevice;
use common::disk::{MIB, Make, assert_clean};
use common::{mount, number, short};
use contract::dsl::Dir;
use contract::random::Random;
use vfs::{Errno, FileSystem, NewKind, RenameMode};

/// A block of names, an htree of many small ones, and blocks without an index.
const MAKES: [Make; 3] =
    [Make::Ours(4096, 256), Make::Ours(1024, 256), Make::Mkfs(&["-b", "1024", "-O", "^dir_index,^metadata_csum"])];
const DIRS: [&str; 3] = ["one", "two", "three"];

/// Inode numbers by path.
type Names = BTreeMap<String, u64>;

fn path(random: &mut Random) -> String {
    let dir = *random.pick(&DIRS);
    let number = random.below(200);
    // Of several lengths, so that space is found, and used up, in different places.
    format!("{dir}/{number:0>width$}", width = 4 + (number as usize * 7) % 60)
}

/// Does something that changes entries, or tries to.
fn change(fs: &dyn FileSystem, random: &mut Random, names: &mut Names) {
    let (first, second) = (path(random), path(random));
    let expected = |done: bool, errno: Errno| if done { Ok(()) } else { Err(errno) };
    match random.below(4) {
        0 => {
            let made = short::make(fs, &first, NewKind::File, 0o600);
            assert_eq!(made.as_ref().err().map(|error| error.errno()), names.get(&first).map(|_| Errno::EEXIST));
            if let Ok(node) = made {
                names.insert(first, node.ops().attr().unwrap().ino);
            }
        }
        1 => {
            let removed = short::unlink(fs, &first).map_err(|error| error.errno());
            assert_eq!(removed, expected(names.remove(&first).is_some(), Errno::ENOENT));
        }
        2 => {
            let Some(&ino) = names.get(&first) else { return };
            let linked = short::link(fs, &first, &second).map_err(|error| error.errno());
            assert_eq!(linked, expected(!names.contains_key(&second), Errno::EEXIST));
            names.entry(second).or_insert(ino);
        }
        _ => {
            let renamed = short::rename(fs, &first, &second, RenameMode::Replace).map_err(|error| error.errno());
            assert_eq!(renamed, expected(names.contains_key(&first), Errno::ENOENT));
            match (names.get(&first).copied(), names.get(&second)) {
                // Two names of one file: nothing happens.
                (Some(ino), Some(&other)) if ino == other => {}
                (Some(ino), _) => {
                    names.remove(&first);
                    names.insert(second, ino);
                }
                (None, _) => {}
            }
        }
    }
}

#[test]
fn a_name_that_was_missed_is_made_right_whatever_happened_since() {
    for make in MAKES {
        let seed = number("STRATA_SEED", 5);
        let mut random = Random::new(seed);
        let disk = make.disk(16 * MIB);
        let fs = mount(disk.clone() as Arc<dyn BlockDevice>);
        let mut names = Names::new();
        for dir in DIRS {
            short::mkdir(&*fs, dir).unwrap();
        }
        for _ in 0..number("STRATA_OPS", 4000) {
            let wanted = path(&mut random);
            let found = short::at(&*fs, &wanted).ok().map(|node| node.ops().attr().unwrap().ino);
            assert_eq!(found, names.get(&wanted).copied(), "{make:?}, STRATA_SEED={seed}: {wanted}");
            for _ in 0..random.below(3) {
                change(&*fs, &mut random, &mut names);
            }
            match short::make(&*fs, &wanted, NewKind::File, 0o600) {
                Ok(node) => assert_eq!(names.insert(wanted, node.ops().attr().unwrap().ino), None),
                Err(error) => assert!(error == Errno::EEXIST && names.contains_key(&wanted), "{wanted}: {error:?}"),
            }
        }
        for dir in DIRS {
            let expected: Vec<_> = names.keys().filter_map(|path| path.strip_prefix(dir)?.strip_prefix('/')).collect();
            let listed = Dir(short::at(&*fs, dir).unwrap().as_dir().unwrap().clone());
            listed
                .lists(&expected)
                .unwrap_or_else(|failure| panic!("{make:?}, STRATA_SEED={seed}, {dir}: {failure:?}"));
        }
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&disk, &format!("{make:?}, STRATA_SEED={seed}"));
    }
}
