//! What operations cost, counted in calls of the layers: what must not grow with a directory, a file or the number of layers does not.

use std::sync::Arc;

use crate::support::{Tree, context, overlay, overlay_with, ram};
use contract::fault::{Calls, Control, FaultFs};
use fs_overlay::{Layer, Layers, MetacopyMode, Options, OverlayFs};
use vfs::{FileSystem, SetAttr};

/// An overlay of one counted lower layer and a counted upper.
fn counted(options: Options, build: impl FnOnce(&Tree)) -> (Arc<OverlayFs>, [Arc<Control>; 2]) {
    let (lower, lower_calls) = FaultFs::new(ram());
    build(&Tree::of(&*lower));
    let (upper, upper_calls) = FaultFs::new(ram());
    let upper: Arc<dyn FileSystem> = upper;
    let fs = overlay_with(&upper, &[lower], options);
    (fs, [lower_calls, upper_calls])
}

fn calls_of(controls: &[Arc<Control>; 2], step: impl FnOnce()) -> [u64; 2] {
    controls.iter().for_each(|control| control.reset());
    step();
    [0, 1].map(|layer: usize| controls[layer].count(Calls::all()))
}

#[test]
fn a_directory_is_renamed_by_the_same_calls_whatever_is_in_it() {
    let rename = |entries: u32| {
        let (fs, controls) = counted(Options::default(), |t| {
            t.mkdir("a").unwrap();
            for entry in 0..entries {
                t.put(&format!("a/{entry}"), "").unwrap();
            }
        });
        calls_of(&controls, || Tree::of(&*fs).rename("a", "b").unwrap())
    };
    assert_eq!(rename(10_000), rename(1));
}

#[test]
fn a_change_of_attributes_costs_the_same_calls_for_a_gigabyte() {
    let options = Options { metacopy: MetacopyMode::Create, ..Options::default() };
    let chmod = |size: u64| {
        let (fs, controls) = counted(options, |t| {
            t.put("f", "start").unwrap();
            t.file("f").unwrap().set_len(size).unwrap();
            t.file("f").unwrap().write_at(size - 3, b"end").unwrap();
        });
        let change = SetAttr { mode: Some(0o600), ..SetAttr::default() };
        let calls = calls_of(&controls, || Tree::of(&*fs).get("f").unwrap().ops().set_attr(&change).unwrap());
        assert_eq!(controls[0].count(Calls::READ) + controls[1].count(Calls::WRITE), 0);
        calls
    };
    assert_eq!(chmod(1 << 30), chmod(8));
}

#[test]
fn a_merged_listing_asks_each_layer_once() {
    for entries in [1, 5000] {
        let (fs, controls) = counted(Options::default(), |t| {
            t.mkdir("d").unwrap();
            for entry in 0..entries {
                t.put(&format!("d/{entry}"), "").unwrap();
            }
        });
        let tree = Tree::of(&*fs);
        tree.put("d/upper", "").unwrap();
        let dir = tree.dir("d").unwrap();
        controls.iter().for_each(|control| control.reset());
        assert_eq!(crate::support::entries(&*dir).len(), entries + 1);
        assert_eq!(controls[0].count(Calls::all()), 1, "of the lower");
        assert_eq!(controls[1].count(Calls::READ_DIR), 1, "of the upper");
        // A name that comes or goes does not cost another.
        tree.put("d/new", "").unwrap();
        tree.unlink("d/0").unwrap();
        controls.iter().for_each(|control| control.reset());
        assert_eq!(crate::support::entries(&*dir).len(), entries + 1);
        assert_eq!(controls[0].count(Calls::all()) + controls[1].count(Calls::all()), 0);
    }
}

#[test]
fn absence_costs_one_look_at_each_of_five_hundred_layers() {
    let (layers, controls): (Vec<_>, Vec<_>) = (0..500).map(|_| FaultFs::new(ram())).unzip();
    let lowers = layers.into_iter().map(|layer| Layer::of(layer)).collect();
    let fs = OverlayFs::mount(context(), Layers { lowers, ..Layers::default() }, Options::default()).unwrap();
    controls.iter().for_each(|control| control.reset());
    assert!(!Tree::of(&*fs).has("absent"));
    for control in &controls {
        assert_eq!((control.count(Calls::LOOKUP), control.count(Calls::all())), (1, 1));
    }
}

#[test]
fn a_file_once_copied_up_costs_its_lower_layer_nothing() {
    let (lower, calls) = FaultFs::new(ram());
    Tree::of(&*lower).put("f", "content").unwrap();
    let upper: Arc<dyn FileSystem> = ram();
    let fs = overlay(&upper, &[lower]);
    let file = Tree::of(&*fs).file("f").unwrap();
    file.append(b"!").unwrap();
    calls.reset();
    file.append(b"!").unwrap();
    file.read_at(0, &mut [0; 9]).unwrap();
    file.attr().unwrap();
    assert_eq!(calls.count(Calls::all()), 0);
}
