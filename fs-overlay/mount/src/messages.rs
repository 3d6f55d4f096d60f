//! What the filesystems log goes to standard error, a line each.

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Messages;

impl Log for Messages {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What the FUSE library says beside errors is of no use to anyone but its authors.
        metadata.level() <= Level::Warn && (!metadata.target().starts_with("fuser") || metadata.level() <= Level::Error)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let word = if record.level() == Level::Error { "error" } else { "warning" };
            eprintln!("strata-mount: {word}: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Begins to log.
pub(crate) fn begin() {
    static MESSAGES: Messages = Messages;
    if log::set_logger(&MESSAGES).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}
