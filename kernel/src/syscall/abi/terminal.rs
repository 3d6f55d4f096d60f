//! `struct termios` and `struct winsize`.

use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::same_layout;

/// The kernel's `struct termios` (`TCGETS`), 36 bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
pub(crate) struct Termios {
    /// Input modes.
    pub(crate) input: u32,
    /// Output modes.
    pub(crate) output: u32,
    /// Control modes.
    pub(crate) control: u32,
    /// Local modes.
    pub(crate) local: u32,
    /// Line discipline.
    pub(crate) line: u8,
    /// Control characters.
    pub(crate) characters: [u8; 19],
}

same_layout!(Termios, linux::termios {
    input = c_iflag, output = c_oflag, control = c_cflag, local = c_lflag, line = c_line, characters = c_cc,
});

/// `struct winsize`.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
pub(crate) struct WinSize {
    /// Lines.
    pub(crate) rows: u16,
    /// Columns.
    pub(crate) columns: u16,
    /// Width and height in pixels: unknown.
    pub(crate) pixels: [u16; 2],
}

same_layout!(WinSize, linux::winsize { rows = ws_row, columns = ws_col });
