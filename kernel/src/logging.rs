//! What the kernel says: the `log` crate's records, and one line for each phase of the boot.
//!
//! `log=` on the command line chooses the level. Phase lines are always shown, each with the milliseconds
//! since the kernel's first instruction; those that come before the clock runs wait for it in a list.

use core::fmt::{self, Write};

use boot::command_line::LogLevel;
use boot::info::Defect;
use heapless::{String, Vec};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::{console, time};
use drivers::IrqMutex;

/// How many phases may pass before the clock runs.
const MAX_WAITING: usize = 8;

struct Waiting {
    tsc: u64,
    text: String<120>,
}

static WAITING: IrqMutex<Vec<Waiting, MAX_WAITING>> = IrqMutex::new(Vec::new());

struct ConsoleLog;

impl Log for ConsoleLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mark = match record.level() {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        if record.level() <= Level::Warn {
            console::print(format_args!("{mark}: {}\n", record.args()));
        } else {
            console::print(format_args!("{mark}: {}: {}\n", record.target(), record.args()));
        }
    }

    fn flush(&self) {}
}

/// Has the `log` crate write to the console.
pub(crate) fn init(level: LogLevel) {
    // Fails only when called twice.
    let _ = log::set_logger(&ConsoleLog);
    log::set_max_level(match level {
        LogLevel::Off => LevelFilter::Off,
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    });
}

/// Reports that a phase of the boot is done.
pub(crate) fn phase(name: &str, what: fmt::Arguments<'_>) {
    let tsc = time::tsc();
    match time::since_boot_at(tsc) {
        Some(elapsed) => {
            show_waiting();
            show(elapsed, format_args!("{name:<8} {what}"));
        }
        None => {
            let mut text = String::new();
            // A line that is too long is cut.
            let _ = write!(text, "{name:<8} {what}");
            // So are more lines than fit: there are fewer phases before the clock.
            let _ = WAITING.lock().push(Waiting { tsc, text });
        }
    }
}

/// Prints the phases that waited for the clock, as soon as it runs.
pub(crate) fn show_waiting() {
    let waiting = core::mem::take(&mut *WAITING.lock());
    for line in waiting {
        show(time::since_boot_at(line.tsc).unwrap_or_default(), format_args!("{}", line.text));
    }
}

fn show(elapsed: core::time::Duration, text: fmt::Arguments<'_>) {
    let micros = elapsed.as_micros();
    console::print(format_args!("[{:4}.{:02} ms] {text}\n", micros / 1000, micros % 1000 / 10));
}

/// Warns of what the loader cut and the command line has wrong.
pub(crate) fn report_loader(info: &boot::BootInfo, options: &boot::Options<'_>) {
    for defect in &info.defects {
        let text = match defect {
            Defect::MemoryMapCut => "the loader's memory map is too long: some memory is not used",
            Defect::ModulesCut => "the loader gave too many modules: some are ignored",
            Defect::CommandLineCut => "the command line is too long or not UTF-8: the end is ignored",
            Defect::ModuleOutOfReach => "a module lies above 4 GiB: it is ignored",
        };
        log::warn!("{text}");
    }
    for warning in &options.warnings {
        log::warn!("{warning}");
    }
}
