//! The terminal on the serial console (`termios(3)`): the device that programs open, and the signals that its keys send.
//!
//! The console gathers bytes as they arrive ([`crate::console`]); they go through the line [`discipline`] when somebody reads
//! or asks, and whenever an interrupt finds a program running, so that Ctrl-C ends one that never asks.
//!
//! Locks: [`TERMINAL`], then the console's. Nothing waits while it is held.

mod discipline;

use alloc::sync::Arc;

use base::sync::Mutex;
use vfs::{DeviceNumber, DeviceOps, Errno, OpenDevice, OpenFlags, PollEvents, Result, UserMemory};
use zerocopy::{FromZeros, IntoBytes};

use crate::syscall::abi::{Termios, WinSize};
use crate::task::signal::Info;
use crate::task::{self, process};
use crate::{console, time};
use discipline::{Available, Patience, Terminal};

static TERMINAL: Mutex<Terminal> = Mutex::new(Terminal::new());

/// Takes what arrived and sends the signals that keys ask for.
fn fetch() {
    let (signal, group) = {
        let mut terminal = TERMINAL.lock();
        terminal.attended = true;
        (terminal.fetch(), terminal.foreground)
    };
    if let Some(signal) = signal {
        for process in process::all() {
            let meant = group == 0 || process.kinship().group == group;
            if meant {
                process.send(signal, Info::by_kernel());
            }
        }
    }
}

/// Looks for keys that end programs; called when an interrupt found one running.
pub(crate) fn look_for_interrupt() {
    if console::has_input() && TERMINAL.lock().attended {
        fetch();
    }
}

/// Serves the terminal under each of its numbers.
pub(super) struct Driver;

impl DeviceOps for Driver {
    fn open(&self, _number: DeviceNumber, _flags: OpenFlags) -> Result<Arc<dyn OpenDevice>> {
        Ok(Arc::new(OpenTerminal))
    }
}

struct OpenTerminal;

impl OpenDevice for OpenTerminal {
    fn read(&self, _offset: u64, buf: &mut [u8], flags: OpenFlags) -> Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let Patience { least, deadline } = TERMINAL.lock().patience(buf.len());
        let ready = || {
            fetch();
            let there = match TERMINAL.lock().available() {
                Available::Nothing => false,
                Available::End => true,
                Available::Bytes(count) => count >= least,
            };
            there || deadline.is_some_and(time::is_due)
        };
        if flags.contains(OpenFlags::O_NONBLOCK) && !ready() {
            return Err(Errno::EAGAIN.into());
        }
        task::wait_until(&ready)?;
        Ok(TERMINAL.lock().read(buf))
    }

    fn write(&self, _offset: u64, data: &[u8], _flags: OpenFlags) -> Result<usize> {
        TERMINAL.lock().put(data);
        Ok(data.len())
    }

    fn poll(&self) -> PollEvents {
        fetch();
        let mut events = PollEvents::POLLOUT | PollEvents::POLLWRNORM;
        if TERMINAL.lock().available() != Available::Nothing {
            events |= PollEvents::POLLIN | PollEvents::POLLRDNORM;
        }
        events
    }

    fn ioctl(&self, command: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        const TCGETS: u32 = 0x5401;
        const TCSETS: u32 = 0x5402;
        const TCSETSW: u32 = 0x5403;
        const TCSETSF: u32 = 0x5404;
        const TCSBRK: u32 = 0x5409;
        const TCXONC: u32 = 0x540a;
        const TCFLSH: u32 = 0x540b;
        const TIOCSCTTY: u32 = 0x540e;
        const TIOCGPGRP: u32 = 0x540f;
        const TIOCSPGRP: u32 = 0x5410;
        const TIOCOUTQ: u32 = 0x5411;
        const TIOCGWINSZ: u32 = 0x5413;
        const TIOCSWINSZ: u32 = 0x5414;
        const FIONREAD: u32 = 0x541b;
        const TIOCNOTTY: u32 = 0x5422;
        const TCSBRKP: u32 = 0x5425;
        const TIOCGSID: u32 = 0x5429;
        match command {
            TCGETS => {
                let modes = TERMINAL.lock().modes;
                memory.copy_out(argument, modes.as_bytes())?;
            }
            TCSETS | TCSETSW | TCSETSF => {
                let mut modes = Termios::new_zeroed();
                memory.copy_in(argument, modes.as_mut_bytes())?;
                if command == TCSETSF {
                    fetch();
                    TERMINAL.lock().flush_input();
                }
                TERMINAL.lock().set_modes(modes);
            }
            TIOCGWINSZ => {
                let size = TERMINAL.lock().size;
                memory.copy_out(argument, size.as_bytes())?;
            }
            TIOCSWINSZ => {
                let mut size = WinSize::new_zeroed();
                memory.copy_in(argument, size.as_mut_bytes())?;
                TERMINAL.lock().size = size;
            }
            FIONREAD => {
                fetch();
                let count = match TERMINAL.lock().available() {
                    Available::Bytes(count) => count as u32,
                    _ => 0,
                };
                memory.copy_out(argument, &count.to_ne_bytes())?;
            }
            TIOCOUTQ => memory.copy_out(argument, &0_u32.to_ne_bytes())?,
            TIOCGPGRP => {
                let group = match TERMINAL.lock().foreground {
                    0 => process::INIT,
                    group => group,
                };
                memory.copy_out(argument, &group.to_ne_bytes())?;
            }
            TIOCSPGRP => {
                let mut group = [0; 4];
                memory.copy_in(argument, &mut group)?;
                TERMINAL.lock().foreground = i32::from_ne_bytes(group);
            }
            TIOCGSID => {
                let session = process::find(task::current_pid()).map_or(0, |process| process.kinship().session);
                memory.copy_out(argument, &session.to_ne_bytes())?;
            }
            TCFLSH => {
                // 0 and 2 flush input; output is never queued.
                if argument != 1 {
                    fetch();
                    TERMINAL.lock().flush_input();
                }
            }
            TCSBRK | TCSBRKP | TCXONC | TIOCSCTTY | TIOCNOTTY => {}
            _ => return Err(Errno::ENOTTY.into()),
        }
        Ok(0)
    }
}
