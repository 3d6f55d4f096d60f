//! The Strata kernel: from [`kernel_main`], which the entry code in `boot` calls, to the first program.
#![no_std]
#![no_main]

extern crate alloc;

mod console;
mod logging;
mod memory;
mod power;
mod runtime;
mod sync;
mod time;
mod traps;

use boot::{BootInfo, Options};

/// The phases of the boot, in order.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(info: &'static BootInfo) -> ! {
    console::init();
    let options = Options::parse(info.command_line);
    logging::init(options.log);
    power::set_debug_exit(options.debug_exit);
    memory::init(info);
    traps::init();
    for warning in &options.warnings {
        log::warn!("{warning}");
    }
    power::exit(power::Outcome::Success)
}
