//! Signals: what a program set up, kept as state, and what becomes of one that is sent.
//!
//! Handlers are not called. A signal whose default is to end the program ends it, unless the program ignores, blocks or
//! handles it.

use crate::syscall::abi::{SigAction, SigAltStack};

pub(crate) const SIGILL: u8 = 4;
pub(crate) const SIGTRAP: u8 = 5;
pub(crate) const SIGABRT: u8 = 6;
pub(crate) const SIGBUS: u8 = 7;
pub(crate) const SIGFPE: u8 = 8;
pub(crate) const SIGKILL: u8 = 9;
pub(crate) const SIGSEGV: u8 = 11;
pub(crate) const SIGPIPE: u8 = 13;
pub(crate) const SIGSTOP: u8 = 19;
/// The highest signal.
pub(crate) const LAST: u8 = 64;

const SIG_DFL: u64 = 0;
const SIG_IGN: u64 = 1;
const SS_DISABLE: i32 = 2;

/// What a program set up.
#[derive(Clone)]
pub(crate) struct Signals {
    actions: [SigAction; LAST as usize],
    /// One bit a signal, the first for signal 1.
    pub(crate) blocked: u64,
    /// The stack for handlers.
    pub(crate) stack: SigAltStack,
}

/// Signals that nobody can block, ignore or handle.
const UNTOUCHABLE: u64 = bit(SIGKILL) | bit(SIGSTOP);

const fn bit(signal: u8) -> u64 {
    1 << (signal - 1)
}

/// What becomes of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It ends the program.
    Ends,
    /// It does nothing here.
    Ignored,
}

impl Signals {
    /// A new program's: all defaults.
    pub(crate) fn new() -> Self {
        Self {
            actions: [SigAction::default(); LAST as usize],
            blocked: 0,
            stack: SigAltStack { base: 0, flags: SS_DISABLE, pad: 0, size: 0 },
        }
    }

    /// What `execve` leaves: handlers are gone, what was ignored stays so.
    pub(crate) fn after_exec(&mut self) {
        for action in &mut self.actions {
            *action = SigAction {
                handler: if action.handler == SIG_IGN { SIG_IGN } else { SIG_DFL },
                ..SigAction::default()
            };
        }
        self.stack = SigAltStack { base: 0, flags: SS_DISABLE, pad: 0, size: 0 };
    }

    /// The action for a signal between 1 and 64.
    pub(crate) fn action(&self, signal: u8) -> Option<SigAction> {
        self.actions.get(usize::from(signal).checked_sub(1)?).copied()
    }

    /// Sets it; `false` for a signal that cannot be handled.
    pub(crate) fn set_action(&mut self, signal: u8, action: SigAction) -> bool {
        let touchable = (1..=LAST).contains(&signal) && bit(signal) & UNTOUCHABLE == 0;
        if touchable {
            self.actions[usize::from(signal) - 1] = action;
        }
        touchable
    }

    /// Blocks exactly these, as far as they can be.
    pub(crate) fn block(&mut self, mask: u64) {
        self.blocked = mask & !UNTOUCHABLE;
    }

    /// The signals that do not end this program, one bit each.
    pub(crate) fn shielded(&self) -> u64 {
        (1..=LAST).filter(|&signal| self.fate(signal) == Fate::Ignored).fold(0, |set, signal| set | bit(signal))
    }

    /// What becomes of a signal that is sent to this program.
    pub(crate) fn fate(&self, signal: u8) -> Fate {
        let handler = self.action(signal).map_or(SIG_IGN, |action| action.handler);
        let blocked = signal > 0 && self.blocked & bit(signal) != 0;
        if handler == SIG_DFL && !blocked && ends_by_default(signal) { Fate::Ends } else { Fate::Ignored }
    }
}

/// Whether a signal's default is to end the program (`signal(7)`). Stopping and continuing do nothing here.
pub(crate) fn ends_by_default(signal: u8) -> bool {
    // SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH
    !matches!(signal, 0 | 17 | 18 | 19 | 20 | 21 | 22 | 23 | 28)
}

/// A signal's name, for reports.
pub(crate) fn name(signal: u8) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        SIGILL => "SIGILL",
        SIGTRAP => "SIGTRAP",
        SIGABRT => "SIGABRT",
        SIGBUS => "SIGBUS",
        SIGFPE => "SIGFPE",
        SIGKILL => "SIGKILL",
        10 => "SIGUSR1",
        SIGSEGV => "SIGSEGV",
        12 => "SIGUSR2",
        SIGPIPE => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => "a signal",
    }
}
