//! `ls`.
//!
//! Key type: `Item`, a name with its attributes. The long form is one line each, in columns that fit all of a directory:
//! inode, mode, links, owner, group, size, time, layer, name.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use rustix::fd::AsFd;
use rustix::fs::{FileType, Stat, major, minor, readlinkat, stat};
use strata_rt::clock::Date;
use strata_rt::dir::{self, Entry};
use strata_rt::println;
use strata_rt::text::{Shown, join};

use super::Call;
use super::attributes::permissions;
use super::tree::{Place, Walk, kind};
use super::xattrs::layer_of;
use crate::complete::columns;
use crate::console::Input;
use crate::shell::Shell;
use crate::users::Names;

struct Item {
    name: Vec<u8>,
    attributes: Stat,
    /// What a symbolic link points to.
    target: Option<Vec<u8>>,
    /// The layer of the overlay, when it is shown.
    layer: String,
}

impl Item {
    fn new(call: &Call, place: Place<'_>, attributes: Stat, name: &[u8]) -> Self {
        // Asked for only where it is shown: each is a call more for each name.
        let (mut target, mut layer) = (None, String::new());
        if call.has(b'l') {
            layer = layer_of(place.path);
            if kind(&attributes) == FileType::Symlink {
                target = readlinkat(place.parent, place.name, Vec::new()).ok().map(|target| target.into_bytes());
            }
        }
        Self { name: name.into(), attributes, target, layer }
    }
}

pub(super) fn ls(shell: &mut Shell, call: &Call) {
    let here = [b".".into()];
    let operands = call.operands_or(&here);
    let (mut items, mut directories) = (Vec::new(), Vec::new());
    for path in operands {
        let place = Place::named(path);
        let Some(attributes) = call.check(path, place.attributes()) else { continue };
        let followed = !call.has(b'l') && kind(&attributes) == FileType::Symlink;
        let is_directory = kind(&attributes) == FileType::Directory
            || (followed || path.ends_with(b"/")) && stat(&path[..]).is_ok_and(|to| kind(&to) == FileType::Directory);
        if is_directory && !call.has(b'd') {
            directories.push(path);
        } else {
            items.push(Item::new(call, place, attributes, path));
        }
    }
    let titled = operands.len() > 1 || call.has(b'R');
    let names = if call.has(b'l') { (Names::users(), Names::groups()) } else { Default::default() };
    print(shell, call, &names, &items);
    for (index, path) in directories.iter().enumerate() {
        let Some(directory) = call.check(path, dir::open(&path[..])) else { continue };
        if titled {
            let separator = if index > 0 || !items.is_empty() { "\n" } else { "" };
            println!("{separator}{}:", Shown(path));
        }
        if list(shell, call, &names, Place::named(path), &directory) == Walk::Stop {
            return;
        }
    }
}

/// Lists an open directory, and with `-R` those in it.
fn list(shell: &mut Shell, call: &Call, names: &(Names, Names), place: Place<'_>, directory: &impl AsFd) -> Walk {
    let Some(entries) = call.check(place.path, read(call, directory)) else { return Walk::On };
    let mut items = Vec::new();
    for entry in &entries {
        if call.stopped(shell) {
            return Walk::Stop;
        }
        let path = join(place.path, entry.name());
        let child = Place { parent: directory.as_fd(), name: entry.name(), path: &path, depth: place.depth + 1 };
        if let Some(attributes) = call.check(&path, child.attributes()) {
            items.push(Item::new(call, child, attributes, entry.name()));
        }
    }
    print(shell, call, names, &items);
    if !call.has(b'R') {
        return Walk::On;
    }
    for item in items.iter().filter(|item| kind(&item.attributes) == FileType::Directory) {
        if item.name == b"." || item.name == b".." {
            continue;
        }
        let path = join(place.path, &item.name);
        let child = Place { parent: directory.as_fd(), name: &item.name, path: &path, depth: place.depth + 1 };
        let Some(opened) = call.check(&path, child.open_directory()) else { continue };
        println!("\n{}:", Shown(&path));
        if list(shell, call, names, child, &opened) == Walk::Stop {
            return Walk::Stop;
        }
    }
    Walk::On
}

fn read(call: &Call, directory: &impl AsFd) -> Result<Vec<Entry>, rustix::io::Errno> {
    if call.has(b'a') {
        let mut entries = dir::all_entries(directory)?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        return Ok(entries);
    }
    let mut entries = dir::entries(directory)?;
    entries.retain(|entry| !entry.name().starts_with(b"."));
    Ok(entries)
}

fn print(shell: &Shell, call: &Call, names: &(Names, Names), items: &[Item]) {
    if items.is_empty() {
        return;
    }
    if call.has(b'l') {
        return print_long(names, items);
    }
    let name = |item: &Item| {
        let inode = if call.has(b'i') { format!("{} ", item.attributes.st_ino) } else { String::new() };
        format!("{inode}{}", Shown(&item.name))
    };
    let names: Vec<String> = items.iter().map(name).collect();
    if shell.console.input() == Input::Terminal && !call.has(b'1') {
        columns(&names, shell.console.width());
    } else {
        names.iter().for_each(|name| println!("{name}"));
    }
}

fn print_long((users, groups): &(Names, Names), items: &[Item]) {
    let rows: Vec<[String; 6]> = items
        .iter()
        .map(|Item { attributes, layer, .. }| {
            let size = match kind(attributes) {
                FileType::CharacterDevice | FileType::BlockDevice => {
                    format!("{}, {}", major(attributes.st_rdev), minor(attributes.st_rdev))
                }
                _ => attributes.st_size.to_string(),
            };
            [
                attributes.st_ino.to_string(),
                attributes.st_nlink.to_string(),
                users.of(attributes.st_uid).to_string(),
                groups.of(attributes.st_gid).to_string(),
                size,
                layer.clone(),
            ]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 6] = core::array::from_fn(width);
    for (item, [inode, links, user, group, size, layer]) in items.iter().zip(&rows) {
        let [w0, w1, w2, w3, w4, w5] = widths;
        let time = Date::from_seconds(item.attributes.st_mtime).to_string();
        let time = time.get(..time.len() - 3).unwrap_or(&time);
        let mode = permissions(item.attributes.st_mode);
        strata_rt::print!(
            "{inode:>w0$} {mode} {links:>w1$} {user:<w2$} {group:<w3$} {size:>w4$} {time} {layer:<w5$} {}",
            Shown(&item.name)
        );
        match &item.target {
            Some(target) => println!(" -> {}", Shown(target)),
            None => println!(),
        }
    }
}
