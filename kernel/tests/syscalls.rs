//! The page of system calls names what the kernel has, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_page_names_every_call_of_the_table_once() {
    let table = read("src/syscall/table.rs");
    let calls: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.trim().split_once(" = "))
        .filter_map(|(left, _)| left.split_once(' '))
        .filter(|(number, _)| number.parse::<u32>().is_ok())
        .map(|(_, name)| name)
        .collect();
    assert!(calls.len() > 150, "the table is read: {}", calls.len());

    let page = read("../docs/syscalls.md");
    // Lists stand between the headings and the remarks.
    let mut named = Vec::new();
    let mut in_list = false;
    for line in page.lines().skip_while(|line| !line.starts_with("## ")) {
        match line {
            _ if line.starts_with("## ") => in_list = true,
            _ if line.starts_with("- ") => in_list = false,
            _ if in_list => named.extend(line.split('`').skip(1).step_by(2)),
            _ => {}
        }
    }
    let unique: BTreeSet<&str> = named.iter().copied().collect();
    assert_eq!(unique.len(), named.len(), "a call is named twice");
    assert_eq!(calls.difference(&unique).collect::<Vec<_>>(), Vec::<&&str>::new(), "not on the page");
    assert_eq!(unique.difference(&calls).collect::<Vec<_>>(), Vec::<&&str>::new(), "not in the table");
}
