//! The kernel's parameters: split into words, checked against one table, kept as [`Options`].
//!
//! Words are separated by blanks; a double quote joins what it encloses (`init="/bin/a b"`), as on Linux.
//! After a word `--` everything belongs to the first program. An unknown key or a bad value is never an
//! error: it becomes a [`Warning`] that the kernel prints, and the boot goes on with the default.

use heapless::Vec;

/// The most arguments of the first program.
pub const MAX_INIT_ARGUMENTS: usize = 64;
/// The most `virtio_mmio.device=` parameters.
pub const MAX_MMIO_DEVICES: usize = 32;
/// The most warnings that are kept.
pub const MAX_WARNINGS: usize = 16;

/// What lies above the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverlayMode {
    /// The first disk, so that changes outlive the power (`overlay=disk`).
    #[default]
    Disk,
    /// Memory: changes are lost at power-off (`overlay=ram`).
    Ram,
    /// Nothing: the tree is read-only (`overlay=ro`).
    ReadOnly,
}

/// How much of the log is shown (`log=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Errors.
    Error,
    /// Errors and warnings.
    #[default]
    Warn,
    /// And what happened.
    Info,
    /// And how.
    Debug,
    /// And everything.
    Trace,
}

/// A virtio device in memory-mapped registers: `virtio_mmio.device=SIZE@BASE:IRQ`, as Linux has it and as
/// Firecracker and QEMU's microvm write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MmioDevice {
    /// Physical address of the registers.
    pub base: u64,
    /// Their size in bytes.
    pub size: u64,
    /// The global system interrupt.
    pub irq: u32,
}

/// What the parameters say. Fields that no parameter names have their defaults.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// `init=PATH`: the first program.
    pub init: Option<&'a str>,
    /// Everything after `--`: its arguments.
    pub init_arguments: Vec<&'a str, MAX_INIT_ARGUMENTS>,
    /// `overlay=disk|ram|ro`.
    pub overlay: OverlayMode,
    /// `rootflags=OPTIONS`: how the first disk is mounted.
    pub root_flags: &'a str,
    /// `failsafe`: boot the firmware alone, touching no disk.
    pub failsafe: bool,
    /// `firmware.oci`: the firmware's archives are layers of an OCI image, with its whiteouts.
    pub firmware_oci: bool,
    /// `suite=GLOB`: run the suites that match instead of the first program.
    pub suite: Option<&'a str>,
    /// `log=off|error|warn|info|debug|trace`.
    pub log: LogLevel,
    /// `debug-exit=PORT`: QEMU's `isa-debug-exit` device is at this port, and takes the outcome.
    pub debug_exit: Option<u16>,
    /// `virtio_mmio.device=SIZE@BASE:IRQ`.
    pub mmio_devices: Vec<MmioDevice, MAX_MMIO_DEVICES>,
    /// What was not understood.
    pub warnings: Vec<Warning<'a>, MAX_WARNINGS>,
}

/// A parameter that was ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning<'a> {
    /// No such key.
    UnknownKey(&'a str),
    /// A value that the key does not take; with what it takes.
    BadValue(&'a str, &'static str),
    /// More of them than are kept.
    TooMany(&'a str),
    /// A quote that does not end.
    OpenQuote(&'a str),
}

impl core::fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::UnknownKey(word) => write!(f, "command line: unknown parameter `{word}`"),
            Self::BadValue(word, expected) => {
                write!(f, "command line: `{word}` ignored: expected {expected}")
            }
            Self::TooMany(word) => write!(f, "command line: `{word}` ignored: too many of them"),
            Self::OpenQuote(word) => write!(f, "command line: `{word}`: the quote does not end"),
        }
    }
}

/// One row of the table: the key, what it takes, and what it does. `false` means that the value is bad.
struct Parameter {
    key: &'static str,
    expects: &'static str,
    apply: for<'a> fn(&mut Options<'a>, Option<&'a str>) -> bool,
}

const PARAMETERS: &[Parameter] = &[
    Parameter {
        key: "init",
        expects: "an absolute path",
        apply: |options, value| {
            options.init = value.filter(|path| path.starts_with('/'));
            options.init.is_some()
        },
    },
    Parameter {
        key: "overlay",
        expects: "disk, ram or ro",
        apply: |options, value| {
            options.overlay = match value {
                Some("disk") => OverlayMode::Disk,
                Some("ram") => OverlayMode::Ram,
                Some("ro") => OverlayMode::ReadOnly,
                _ => return false,
            };
            true
        },
    },
    Parameter {
        key: "rootflags",
        expects: "mount options such as commit=30,discard",
        apply: |options, value| {
            options.root_flags = value.unwrap_or_default();
            value.is_some()
        },
    },
    Parameter { key: "failsafe", expects: "no value", apply: |options, value| flag(&mut options.failsafe, value) },
    Parameter {
        key: "firmware.oci",
        expects: "no value",
        apply: |options, value| flag(&mut options.firmware_oci, value),
    },
    Parameter {
        key: "suite",
        expects: "a pattern such as `overlay*`",
        apply: |options, value| {
            options.suite = value.filter(|pattern| !pattern.is_empty());
            options.suite.is_some()
        },
    },
    Parameter {
        key: "log",
        expects: "off, error, warn, info, debug or trace",
        apply: |options, value| {
            options.log = match value {
                Some("off") => LogLevel::Off,
                Some("error") => LogLevel::Error,
                Some("warn") => LogLevel::Warn,
                Some("info") => LogLevel::Info,
                Some("debug") => LogLevel::Debug,
                Some("trace") => LogLevel::Trace,
                _ => return false,
            };
            true
        },
    },
    Parameter {
        key: "debug-exit",
        expects: "an I/O port such as 0x501",
        apply: |options, value| {
            let port = value.and_then(number).and_then(|port| u16::try_from(port).ok());
            options.debug_exit = port;
            port.is_some()
        },
    },
    Parameter {
        key: "virtio_mmio.device",
        expects: "SIZE@BASE:IRQ",
        apply: |options, value| match value.and_then(mmio_device) {
            Some(device) => options.mmio_devices.push(device).is_ok(),
            None => false,
        },
    },
];

fn flag(field: &mut bool, value: Option<&str>) -> bool {
    *field = value.is_none();
    *field
}

impl<'a> Options<'a> {
    /// Reads the parameters of `line`.
    #[must_use]
    pub fn parse(line: &'a str) -> Self {
        let mut options = Options::default();
        let mut words = Words { rest: line };
        for word in words.by_ref() {
            if word.open_quote {
                options.warn(Warning::OpenQuote(word.text));
            }
            if word.text == "--" {
                break;
            }
            options.apply(word.text);
        }
        for word in words {
            if options.init_arguments.push(word.text).is_err() {
                options.warn(Warning::TooMany(word.text));
                break;
            }
        }
        options
    }

    fn apply(&mut self, word: &'a str) {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(unquoted(value))),
            None => (word, None),
        };
        match PARAMETERS.iter().find(|parameter| parameter.key == key) {
            Some(parameter) => {
                if !(parameter.apply)(self, value) {
                    self.warn(Warning::BadValue(word, parameter.expects));
                }
            }
            None => self.warn(Warning::UnknownKey(word)),
        }
    }

    fn warn(&mut self, warning: Warning<'a>) {
        // Sixteen complaints say enough; the rest are dropped.
        let _ = self.warnings.push(warning);
    }
}

/// Takes the quotes off a value that is quoted whole.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').map_or(value, |value| value.strip_suffix('"').unwrap_or(value))
}

struct Word<'a> {
    text: &'a str,
    open_quote: bool,
}

/// The words of a line, quotes still in place unless they enclose the whole word.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let rest = self.rest.trim_start();
        if rest.is_empty() {
            return None;
        }
        let mut quoted = false;
        let end = rest
            .find(|c: char| {
                quoted ^= c == '"';
                !quoted && c.is_whitespace()
            })
            .unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        Some(Word { text: unquoted(word), open_quote: quoted })
    }
}

/// A decimal number, or a hexadecimal one after `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A number with Linux's suffixes K, M and G.
fn size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 10),
        b'M' | b'm' => (&text[..text.len() - 1], 20),
        b'G' | b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    number(digits)?.checked_mul(1 << shift)
}

fn mmio_device(value: &str) -> Option<MmioDevice> {
    let (length, place) = value.split_once('@')?;
    let mut place = place.split(':');
    let base = number(place.next()?)?;
    let irq = u32::try_from(number(place.next()?)?).ok()?;
    let size = size(length)?;
    base.checked_add(size)?;
    Some(MmioDevice { base, size, irq })
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn an_empty_line_gives_the_defaults() {
        let options = Options::parse("  ");
        assert_eq!(options.overlay, OverlayMode::Disk);
        assert_eq!(options.log, LogLevel::Warn);
        assert!(options.init.is_none() && options.warnings.is_empty());
    }

    #[test]
    fn every_key_is_understood() {
        let options = Options::parse(
            "init=/bin/sh overlay=ram rootflags=commit=30,discard failsafe suite=overlay* log=trace debug-exit=0x501 \
             virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@0xd0000000:5:1",
        );
        assert!(options.warnings.is_empty(), "{:?}", options.warnings);
        assert_eq!(options.init, Some("/bin/sh"));
        assert_eq!(options.overlay, OverlayMode::Ram);
        assert_eq!(options.root_flags, "commit=30,discard");
        assert!(options.failsafe);
        assert_eq!(options.suite, Some("overlay*"));
        assert_eq!(options.log, LogLevel::Trace);
        assert_eq!(options.debug_exit, Some(0x501));
        let devices =
            [(0xfeb0_0e00, 512, 12), (0xd000_0000, 4096, 5)].map(|(base, size, irq)| MmioDevice { base, size, irq });
        assert_eq!(options.mmio_devices.as_slice(), devices);
    }

    #[test]
    fn words_after_two_dashes_belong_to_init_and_quotes_join_them() {
        let options = Options::parse("init=\"/bin/a b\" -- ls \"-l a\" overlay=ram");
        assert_eq!(options.init, Some("/bin/a b"));
        assert_eq!(options.init_arguments.as_slice(), ["ls", "-l a", "overlay=ram"]);
        assert_eq!(options.overlay, OverlayMode::Disk);
    }

    #[test]
    fn what_is_not_understood_is_reported_and_ignored() {
        let options = Options::parse("quiet overlay=rum init=bin/sh failsafe=1 debug-exit=99999 log=\"x");
        let warnings: std::vec::Vec<_> = options.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "command line: unknown parameter `quiet`",
                "command line: `overlay=rum` ignored: expected disk, ram or ro",
                "command line: `init=bin/sh` ignored: expected an absolute path",
                "command line: `failsafe=1` ignored: expected no value",
                "command line: `debug-exit=99999` ignored: expected an I/O port such as 0x501",
                "command line: `log=\"x`: the quote does not end",
                "command line: `log=\"x` ignored: expected off, error, warn, info, debug or trace",
            ]
        );
        assert!(!options.failsafe);
    }

    #[test]
    fn no_line_makes_the_parser_panic() {
        let mut state = 1_u64;
        for _ in 0..2000 {
            let mut line = std::string::String::new();
            for _ in 0..24 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let alphabet = ["init=", "\"", " ", "--", "é", "=", "@", ":", "K", "virtio_mmio.device=", "9", "0x"];
                line.push_str(alphabet[(state >> 33) as usize % alphabet.len()]);
            }
            let _ = Options::parse(&line);
        }
    }
}
