//! The overlay beside Linux's own: `cargo bench -p fs-overlay --bench beside_linux`.
//!
//! Ours is over layers in a RAM filesystem, asked through the namespace of `kernel/vfs`: paths, permissions and the dentry cache are as
//! in a system call, the entry into a kernel is not there. Linux's is over layers in a tmpfs, asked by system calls. Where an upper
//! on a disk matters, both have ext4 in a file in memory: ours over `host::FileDisk` with a cache of 16 MiB, Linux's by loop mount.
//! Both make redirects, and sync a copy's data before it appears. The program's memory is in large pages, touched before and kept.
//!
//! Both sides do each row in turn, on fresh overlays, for `STRATA_ROUNDS` rounds (5). Arguments pick groups of rows: `rename`, `chmod`,
//! `listing`, `layers`, `copy`. It needs root, and skips loudly without.

mod rows;
mod stack;

use std::path::PathBuf;

use host::beside::Table;

fn main() {
    host::memory::keep_what_is_freed();
    if !rustix::process::geteuid().is_root() {
        println!("\n*** SKIPPED: the benchmark beside Linux's overlayfs needs mounts, and this is not root ***\n");
        return;
    }
    let scratch = match stack::Scratch::new() {
        Ok(scratch) => scratch,
        Err(error) => {
            println!(
                "\n*** SKIPPED: the benchmark beside Linux's overlayfs: no mount namespace with a tmpfs: {error} ***\n"
            );
            return;
        }
    };
    base::sync::set_relax(std::thread::yield_now);
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let rounds = std::env::var("STRATA_ROUNDS").map_or(5, |text| text.parse().expect("STRATA_ROUNDS is a number"));
    let mut table = Table::default();
    let mut notes = Vec::new();
    for (group, measure) in rows::GROUPS {
        if words.is_empty() || words.iter().any(|word| word == group) {
            measure(&scratch, rounds, &mut table, &mut notes);
        }
        // Not before the first group, which looks at how memory grows.
        host::memory::touch(TOUCHED);
    }
    println!("\noverlay: microseconds for one operation, medians of {rounds} rounds\n\n{table}");
    notes.iter().for_each(|note| println!("{note}"));
    println!("slower than Linux: {:?}", table.slower());
}

/// What the layers of a group take of memory, in bytes.
const TOUCHED: usize = 256 << 20;

/// Where something of the benchmark's own lies.
fn path_of(dir: &std::path::Path, name: &str, number: usize) -> PathBuf {
    dir.join(format!("{name}{number}"))
}
