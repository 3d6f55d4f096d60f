//! The Strata kernel: from [`kernel_main`], which the entry code in `boot` calls, to the first program.
#![no_std]
#![no_main]

extern crate alloc;

mod console;
mod dev;
mod disks;
mod exec;
mod init;
mod logging;
mod machine;
mod memory;
mod platform;
mod power;
mod proc;
mod random;
mod runtime;
#[cfg(any(debug_assertions, feature = "suites"))]
mod suite;
#[cfg(not(any(debug_assertions, feature = "suites")))]
#[path = "no_suites.rs"]
mod suite;
mod syscall;
mod task;
mod time;
mod traps;
mod user;
mod wait;

use boot::{BootInfo, Options};
use logging::phase;

/// The phases of the boot, in order.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(info: &'static BootInfo) -> ! {
    // What can be said before anything is set up: text, and why the kernel stopped.
    runtime::init();
    console::init();
    let options = Options::parse(info.command_line);
    logging::init(options.log);
    power::set_debug_exit(options.debug_exit);
    logging::report_loader(info, &options);

    // The machine: tables, memory, traps, interrupts, devices, clock.
    let acpi = machine::read_tables(info);
    power::init(&acpi);
    memory::init(info);
    traps::init();
    phase("memory", format_args!("{}", memory::Summary));
    let calibration = machine::start_interrupts(&acpi);
    machine::start_devices(&acpi, &options);
    let rates = time::init(calibration, &acpi, info.entry_tsc);
    phase("clock", format_args!("{} MHz by {}", rates.tsc / 1_000_000, rates.source));

    // What it is for: suites or the first program.
    task::init();
    match options.suite {
        Some(pattern) => {
            init::begin_for_suites(info, &options);
            suite::run(pattern)
        }
        None => init::run(info, &options),
    }
}
