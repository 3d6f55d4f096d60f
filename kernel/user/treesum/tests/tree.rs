//! `treesum` against a tree whose lines are worked out here, by std and `sha256sum`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("treesum-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("sub-b/deep")).expect("make the tree");
        fs::create_dir_all(path.join("sub")).expect("make the tree");
        fs::write(path.join("empty"), "").expect("make the tree");
        fs::write(path.join("sub/large"), vec![7; 200_001]).expect("make the tree");
        fs::write(path.join("sub-b/deep/ünïcode"), "text").expect("make the tree");
        fs::write(path.join(OsStr::from_bytes(b"odd\xff\n\\name")), "odd").expect("make the tree");
        symlink("../empty", path.join("sub/link")).expect("make the tree");
        fs::set_permissions(path.join("empty"), fs::Permissions::from_mode(0o4610)).expect("make the tree");
        Self(path)
    }

    fn treesum(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_treesum")).args(arguments).arg(&self.0).output().expect("run treesum")
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The lines that are expected for `path`, with times or without.
fn expected(path: &Path, shown: &str, times: bool, lines: &mut Vec<String>) {
    let found = fs::symlink_metadata(path).expect("it exists");
    let time = if times { format!("{}.{:09} ", found.mtime(), found.mtime_nsec()) } else { String::new() };
    let start = |letter, size: &str| {
        format!("{letter} {:04o} {} {} {size} {time}", found.mode() & 0o7777, found.uid(), found.gid())
    };
    if found.is_dir() {
        lines.push(format!("{}- {shown}", start('d', "-")));
        let mut entries: Vec<_> =
            fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry")).collect();
        entries.sort_by_key(|entry| entry.file_name().as_bytes().to_vec());
        for entry in entries {
            let name = match entry.file_name().into_string() {
                Ok(name) => name,
                Err(_) => "odd\\xff\\x0a\\\\name".to_owned(),
            };
            expected(&entry.path(), &format!("{shown}/{name}"), times, lines);
        }
    } else if found.is_symlink() {
        let target = fs::read_link(path).expect("a link").display().to_string();
        lines.push(format!("{}- {shown} -> {target}", start('l', &found.len().to_string())));
    } else {
        let output = Command::new("sha256sum").arg("--zero").arg(path).output().expect("run sha256sum");
        let digest = String::from_utf8_lossy(&output.stdout[..64]).into_owned();
        lines.push(format!("{}{digest} {shown}", start('f', &found.len().to_string())));
    }
}

#[test]
fn every_entry_is_printed_in_order_with_its_digest() {
    let tree = Tree::new("order");
    for (arguments, times) in [(&[][..], true), (&["-t"], false)] {
        let output = tree.treesum(arguments);
        let mut lines = Vec::new();
        expected(&tree.0, ".", times, &mut lines);
        lines.push("# 4 files, 4 directories, 1 links, 0 others, 200008 bytes".to_owned());
        let printed = String::from_utf8(output.stdout).expect("plain text");
        assert_eq!(printed.lines().collect::<Vec<_>>(), lines);
        assert!(output.status.success() && output.stderr.is_empty());
    }
}

#[test]
fn xattrs_and_link_counts_are_added_when_asked_for() {
    let tree = Tree::new("xattrs");
    let set = Command::new("setfattr").args(["-n", "user.note", "-v", "hi"]).arg(tree.0.join("empty")).status();
    let expects_xattr = set.is_ok_and(|status| status.success());
    fs::hard_link(tree.0.join("empty"), tree.0.join("twin")).expect("make a link");
    let printed = String::from_utf8(tree.treesum(&["-lXT"]).stdout).expect("plain text");
    assert!(printed.contains("f 4610 ") && printed.lines().any(|line| line.split(' ').nth(4) == Some("2")));
    assert_eq!(printed.contains("  xattr user.note=6869\n"), expects_xattr);
    assert!(
        printed
            .lines()
            .filter(|line| line.starts_with("d "))
            .all(|line| line.contains(" - - - - ./") || line.ends_with(" - - - - ."))
    );
}

#[test]
fn what_cannot_be_read_is_an_error_and_the_rest_goes_on() {
    let output = Command::new(env!("CARGO_BIN_EXE_treesum")).arg("/nonexistent").output().expect("run treesum");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "treesum: /nonexistent: No such file or directory (ENOENT)\n");
    assert_eq!(output.status.code(), Some(1));
    let output = Command::new(env!("CARGO_BIN_EXE_treesum")).arg("-q").output().expect("run treesum");
    assert_eq!(output.status.code(), Some(2));
}
