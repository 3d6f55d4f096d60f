//! `find`: lists a tree, or what of it fits.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fs::{FileType, Stat};
use strata_rt::clock::Date;
use strata_rt::println;
use strata_rt::text::{Shown, base_name, parse_number};

use super::Call;
use super::attributes::{kind_letter, permissions};
use super::tree::{Place, Walk, kind};
use super::xattrs::layer_of;
use crate::glob::Pattern;
use crate::shell::Shell;

/// What is looked for. Everything that is not set fits everything.
struct Wanted {
    name: Option<Pattern>,
    kinds: Vec<u8>,
    layer: Option<String>,
    depth: usize,
    /// The device that is not left, once it is known, when that was asked for.
    device: Option<Option<u64>>,
    long: bool,
}

pub(super) fn find(shell: &mut Shell, call: &Call) {
    let first_test = call.operands.iter().position(|word| word.starts_with(b"-")).unwrap_or(call.operands.len());
    let (paths, tests) = call.operands.split_at(first_test);
    let Some(mut wanted) = read_tests(call, tests) else { return };
    let here = [b".".into()];
    for path in if paths.is_empty() { &here[..] } else { paths } {
        let place = Place::named(path);
        let Some(attributes) = call.check(path, place.attributes()) else { continue };
        if let Some(device) = &mut wanted.device {
            *device = Some(attributes.st_dev);
        }
        if visit(shell, call, &wanted, place, &attributes) == Walk::Stop {
            return;
        }
    }
}

fn read_tests(call: &Call, tests: &[Vec<u8>]) -> Option<Wanted> {
    let mut wanted =
        Wanted { name: None, kinds: Vec::new(), layer: None, depth: usize::MAX, device: None, long: false };
    let mut tests = tests.iter();
    while let Some(test) = tests.next() {
        match &test[..] {
            b"-xdev" => wanted.device = Some(None),
            b"-ls" => wanted.long = true,
            b"-print" => {}
            b"-name" | b"-type" | b"-layer" | b"-maxdepth" => {
                let Some(value) = tests.next() else {
                    call.misuse(format_args!("{} needs a value", Shown(test)));
                    return None;
                };
                match &test[..] {
                    b"-name" => wanted.name.get_or_insert_default().push_plain(value),
                    b"-type" => wanted.kinds = value.iter().copied().filter(|&letter| letter != b',').collect(),
                    b"-layer" => wanted.layer = Some(String::from_utf8_lossy(value).into_owned()),
                    _ => {
                        let Some(depth) = parse_number(value, 10) else {
                            call.misuse(format_args!("-maxdepth needs a number"));
                            return None;
                        };
                        wanted.depth = usize::try_from(depth).unwrap_or(usize::MAX);
                    }
                }
            }
            _ => {
                call.misuse(format_args!("no test {}", Shown(test)));
                return None;
            }
        }
    }
    Some(wanted)
}

fn visit(shell: &mut Shell, call: &Call, wanted: &Wanted, place: Place<'_>, attributes: &Stat) -> Walk {
    if call.stopped(shell) {
        return Walk::Stop;
    }
    if wanted.fits(place, attributes) {
        if wanted.long {
            print_long(place, attributes);
        } else {
            println!("{}", Shown(place.path));
        }
    }
    let leaves = wanted.device.flatten().is_some_and(|device| device != attributes.st_dev);
    if kind(attributes) != FileType::Directory || place.depth >= wanted.depth || leaves {
        return Walk::On;
    }
    let Some(directory) = call.check(place.path, place.open_directory()) else { return Walk::On };
    let walked = place.for_each(&directory, |child| match call.check(child.path, child.attributes()) {
        Some(attributes) => visit(shell, call, wanted, child, &attributes),
        None => Walk::On,
    });
    call.check(place.path, walked).unwrap_or(Walk::On)
}

impl Wanted {
    fn fits(&self, place: Place<'_>, attributes: &Stat) -> bool {
        let letter = kind_letter(kind(attributes));
        self.name.as_ref().is_none_or(|pattern| pattern.matches(base_name(place.path)))
            && (self.kinds.is_empty() || self.kinds.iter().any(|&wanted| char::from(wanted) == letter))
            && self.layer.as_ref().is_none_or(|layer| layer_fits(layer, &layer_of(place.path)))
    }
}

/// Whether a file of the layer `found` is looked for: `lower` stands for every lower layer.
fn layer_fits(wanted: &str, found: &str) -> bool {
    wanted == found || (wanted == "lower" && found.starts_with("lower"))
}

fn print_long(place: Place<'_>, attributes: &Stat) {
    println!(
        "{:>10} {} {:>3} {:>5} {:>5} {:>10} {} {:<7} {}",
        attributes.st_ino,
        permissions(attributes.st_mode),
        attributes.st_nlink,
        attributes.st_uid,
        attributes.st_gid,
        attributes.st_size,
        Date::from_seconds(attributes.st_mtime),
        layer_of(place.path),
        Shown(place.path),
    );
}
