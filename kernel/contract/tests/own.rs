//! The suite's own tests: that its wrapper is transparent, that its tests can fail, and that faults come where they
//! were planned.

use std::ops::ControlFlow;
use std::sync::Arc;

use contract::dsl::{Dir, File};
use contract::fault::{Calls, Control, FaultFs};
use contract::{Features, Fixture, Mounted, Setup, TestClock};
use ramfs::{Options, RamFs};
use vfs::{Cookie, DirEntry, Errno, FileSystem, FsContext, Name, NewKind, NewNode, Publish, SetAttr, XattrMode};

/// ramfs within the wrapper; `plan` is made before each test.
struct Wrapped {
    plan: fn(&Control),
}

impl Fixture for Wrapped {
    fn features(&self) -> Features {
        Features::COMPLETE | Features::LIMITED_SPACE
    }

    fn mount(&self, setup: &Setup<'_>) -> vfs::Result<Mounted> {
        let options = Options { size_limit: setup.space, ..Options::default() };
        let fs = RamFs::new(setup.context.clone(), &options)?;
        contract::tree::build(&fs.root(), setup.tree)?;
        let (fs, control) = FaultFs::new(fs);
        (self.plan)(&control);
        Ok(Mounted::new(fs))
    }
}

#[test]
fn the_wrapper_is_transparent() {
    let report = contract::run_all(&Wrapped { plan: |_| () });
    report.verdict().unwrap();
    assert_eq!(report.left_out, contract::tests().filter(|test| test.needs.contains(Features::REMOUNT)).count());
    contract::model::run(&Wrapped { plan: |_| () }, 7, 2_000).unwrap();
}

#[test]
fn a_fault_makes_tests_and_model_fail() {
    let broken = Wrapped { plan: |control| control.fail_from(Calls::RENAME, 2, Errno::EIO) };
    let report = contract::run_all(&broken);
    assert!(report.failures.len() > 20, "{report}");
    let text = contract::model::run(&broken, 7, 2_000).unwrap_err().to_string();
    assert!(text.contains("seed 7") && text.contains("EIO") && text.contains("rename"), "{text}");
}

#[test]
fn the_names_of_tests_are_sentences_and_unique() {
    let mut names: Vec<_> = contract::tests().map(|test| (test.group, test.name)).collect();
    assert!(names.len() >= 250, "{} tests", names.len());
    assert!(names.iter().all(|(_, name)| name.matches('_').count() >= 2), "a name is too short");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), contract::tests().count());
}

fn wrapped() -> (Dir, Arc<Control>) {
    let context = FsContext { dev: 1, clock: Arc::new(TestClock::default()) };
    let (fs, control) = FaultFs::new(RamFs::new(context, &Options::default()).unwrap());
    (Dir(fs.root()), control)
}

#[test]
fn calls_are_counted_by_kind() {
    let (root, control) = wrapped();
    let f = root.file("f", "abc").unwrap();
    assert_eq!(control.count(Calls::all()), 2);
    assert_eq!((control.count(Calls::CREATE), control.count(Calls::WRITE)), (1, 1));
    control.reset();
    root.at("f").unwrap().attr().unwrap();
    f.get(0, 3).unwrap();
    root.list().unwrap();
    assert_eq!(control.count(Calls::LOOKUP), 1);
    assert_eq!(control.count(Calls::ATTR), 1);
    assert_eq!(control.count(Calls::READ | Calls::READ_DIR), 2);
    assert_eq!(control.count(Calls::CHANGES), 0);
}

/// Calls every operation that can fail, with names that are fresh for each `round`; all errors are the plan's.
fn every_operation(root: &Dir, round: usize) -> Vec<vfs::Result<()>> {
    let upper = root.as_upper().unwrap();
    let text = |what: &str| format!("{what} {round}");
    let name = |text: &'static str| Name::new(text.as_bytes()).unwrap();
    let made_and_unlinked = |at: &str| {
        let made = root.make(at, NewKind::File);
        // Whether the removal works is not asked: it may be the call that fails.
        let _ = root.unlink(at);
        made.map(drop)
    };
    let f: File = match root.file(text("file"), "x") {
        Ok(file) => file,
        Err(error) => return vec![Err(error)],
    };
    let node = f.node();
    let new = NewNode::new(NewKind::File, 0);
    let how = Publish { over: vfs::Over::Nothing, parent: vfs::Parent::Touched, xattrs: &[] };
    let mut staged = None;
    vec![
        root.lookup(name("x")).map(drop),
        f.attr().map(drop),
        root.read_dir(Cookie::START, &mut |_: &DirEntry<'_>| ControlFlow::Break(())),
        f.read_at(0, &mut [0]).map(drop),
        f.xattr(b"user.x").map(drop),
        f.append(b"y").map(drop),
        f.set_len(1),
        f.set_attr(&SetAttr::default()),
        f.set_xattr(b"user.x", b"", XattrMode::Set),
        made_and_unlinked(&text("temporary")),
        upper.stage(&new).map(|node| staged = Some(node)),
        staged.map_or(Ok(()), |node| upper.publish(Name::new(text("staged").as_bytes()).unwrap(), &node, &how)),
        root.link(text("link"), &node),
        root.mv(text("file"), text("moved")),
        upper.whiteout(Name::new(text("white").as_bytes()).unwrap(), vfs::Victim::Absent),
        root.unlink(text("white")).or_else(|error| if error == Errno::ENOENT { Ok(()) } else { Err(error) }),
        f.sync(vfs::SyncKind::All),
        f.prepare_open(vfs::OpenIntent::Write),
    ]
}

#[test]
fn every_call_can_be_the_one_that_fails() {
    let (root, control) = wrapped();
    let mut failed = 0;
    for nth in 1.. {
        control.reset();
        control.fail_nth(Calls::all(), nth, Errno::EIO);
        let outcomes = every_operation(&root, nth as usize);
        if !control.is_spent() {
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
            break;
        }
        let errors: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
        // A tidying removal takes some faults without telling.
        assert!(errors.len() <= 2 && errors.iter().all(|error| *error == Errno::EIO || *error == Errno::ENOENT));
        assert_eq!(control.failures(), 1);
        failed += 1;
    }
    assert!(failed >= 18, "{failed} calls failed");
}

#[test]
fn a_lasting_fault_lasts_until_it_is_healed() {
    let (root, control) = wrapped();
    control.fail_from(Calls::CHANGES, 3, Errno::EROFS);
    root.make("a", NewKind::File).unwrap();
    root.make("b", NewKind::File).unwrap();
    for _ in 0..3 {
        assert_eq!(root.make("c", NewKind::File).unwrap_err(), Errno::EROFS);
    }
    root.lists(&["a", "b"]).unwrap();
    assert_eq!(control.failures(), 3);
    control.heal();
    root.make("c", NewKind::File).unwrap();
}
