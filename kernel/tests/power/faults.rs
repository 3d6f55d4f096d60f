//! Disks that fail under the load: QEMU's `blkdebug` answers requests with `EIO`.

use std::fmt::Write as _;

use crate::disk::{self, Scratch, arg, load, run};
use crate::guest::{Machine, firmware};
use crate::{DISK, PATIENCE, judge, promised, seed};

/// What fails.
struct Fault {
    what: &'static str,
    /// The requests, of those that blkdebug knows.
    requests: &'static str,
    /// After how many writes (or flushes, if those fail) it begins.
    after: u64,
    /// Whether it is over after the first.
    once: bool,
    /// What the console says.
    message: &'static str,
}

const FAULTS: [Fault; 6] = [
    Fault { what: "nothing can be read", requests: "read", after: 0, once: false, message: "error: vda: " },
    Fault { what: "reads fail", requests: "read", after: 3, once: false, message: "" },
    Fault { what: "writes fail soon", requests: "write", after: 60, once: false, message: "read-only" },
    Fault { what: "writes fail later", requests: "write", after: 400, once: false, message: "read-only" },
    Fault { what: "one write fails", requests: "write", after: 200, once: true, message: "" },
    Fault { what: "flushes fail", requests: "flush", after: 40, once: false, message: "read-only" },
];

impl Fault {
    /// The rules, in QEMU's words: a state for each request that goes well.
    fn rules(&self) -> String {
        let event = if self.requests == "flush" { "flush_to_disk" } else { "pwritev" };
        let mut rules = String::new();
        for state in 1..=self.after {
            let next = state + 1;
            let _ = write!(rules, "[set-state]\nevent = \"{event}\"\nstate = \"{state}\"\nnew_state = \"{next}\"\n");
        }
        let (state, once) = (self.after + 1, if self.once { "on" } else { "off" });
        // With no state before, it is so from the beginning.
        let event = if self.after == 0 { "none" } else { event };
        let _ = write!(
            rules,
            "[inject-error]\nevent = \"{event}\"\nstate = \"{state}\"\niotype = \"{}\"\nerrno = \"5\"\nonce = \"{once}\"\n",
            self.requests
        );
        rules
    }
}

#[test]
fn a_disk_that_fails_stops_writing_and_neither_the_shell_nor_what_was_synced() {
    let (seed, firmware, scratch) = (seed(), firmware(), Scratch::new());
    let (image, rules) = (scratch.join("disk.img"), scratch.join("rules"));
    for fault in &FAULTS {
        let what = fault.what;
        disk::mkfs_file(&[], DISK, &image);
        std::fs::write(&rules, fault.rules()).expect("a file of our own");
        let mut machine = Machine::start(&["--disk", arg(&image)], &firmware, &[], |qemu| {
            let (file, rules) = (arg(&image), arg(&rules));
            qemu.replace(
                &format!("format=raw,file={file}"),
                &format!("driver=raw,file.driver=blkdebug,file.config={rules},file.image.driver=file,file.image.filename={file}"),
            )
        });
        machine.type_in(&format!("storm run /storm {seed} 0 1000\necho ended with $?\n"));
        machine.wait_for("\nended with ", PATIENCE);
        machine.type_in("ls /storm/0\ncat /etc/hostname\nwrite /new text\necho still here\npoweroff\n");
        machine.wait_for("\nstill here", PATIENCE);
        let console = machine.wait(PATIENCE);
        assert!(!console.contains("panic"), "{what}: {console}");
        assert!(console.contains(fault.message), "{what}: {console}");
        assert!(console.matches("read-only from now on").count() <= 1, "{what}: {console}");
        // What it was promised is there, once the disk works again.
        let output = run("e2fsck", &["-fy", arg(&image)]);
        assert!(
            output.status.code().is_some_and(|code| code < 4),
            "{what}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        disk::fsck_file(&image).unwrap_or_else(|why| panic!("{what}: {why}"));
        let least = promised(&console).unwrap_or(0);
        println!("{what}: {least} steps promised, all there");
        judge::look(&load(&image), &firmware, seed, least).unwrap_or_else(|why| panic!("{what}: {why}\n{console}"));
    }
}
