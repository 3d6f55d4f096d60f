//! Signals (`signal(7)`): their numbers, what a program set up, and what becomes of one that is sent.
//!
//! A signal waits as a bit at its [`super::Process`] until the program returns to user mode, or interrupts what it waits in;
//! [`super::deliver`] then ends the program or has it run its handler. Signals of one number do not queue. Nothing stops or
//! continues here: those that would do nothing.

use crate::syscall::abi::{SigAction, SigAltStack};

pub(crate) const SIGINT: u8 = 2;
pub(crate) const SIGQUIT: u8 = 3;
pub(crate) const SIGILL: u8 = 4;
pub(crate) const SIGTRAP: u8 = 5;
pub(crate) const SIGABRT: u8 = 6;
pub(crate) const SIGBUS: u8 = 7;
pub(crate) const SIGFPE: u8 = 8;
pub(crate) const SIGKILL: u8 = 9;
pub(crate) const SIGSEGV: u8 = 11;
pub(crate) const SIGPIPE: u8 = 13;
pub(crate) const SIGALRM: u8 = 14;
pub(crate) const SIGCHLD: u8 = 17;
pub(crate) const SIGCONT: u8 = 18;
pub(crate) const SIGSTOP: u8 = 19;
/// The highest signal.
pub(crate) const LAST: u8 = 64;

const SIG_DFL: u64 = 0;
const SIG_IGN: u64 = 1;
const SS_DISABLE: i32 = 2;

const SA_NOCLDWAIT: u64 = 2;

/// The bit of a signal from 1 to 64 in a set.
pub(crate) const fn bit(signal: u8) -> u64 {
    1 << (signal - 1)
}

/// Signals that nobody can block, ignore or handle.
pub(crate) const UNTOUCHABLE: u64 = bit(SIGKILL) | bit(SIGSTOP);

/// Where a signal came from: the parts of `siginfo_t` that are filled in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Info {
    /// `si_code`.
    pub(crate) code: i32,
    /// `si_pid` and `si_uid`: who sent it, or which child ended.
    pub(crate) pid: i32,
    /// See `pid`.
    pub(crate) uid: u32,
    /// `si_status` of a child, or `si_addr` of a fault.
    pub(crate) value: u64,
}

impl Info {
    /// `SI_USER`: by `kill(2)`.
    pub(crate) const fn by_kill(pid: i32, uid: u32) -> Self {
        Self { code: 0, pid, uid, value: 0 }
    }

    /// `SI_KERNEL`.
    pub(crate) const fn by_kernel() -> Self {
        Self { code: 0x80, pid: 0, uid: 0, value: 0 }
    }
}

/// What a signal does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Effect {
    /// It ends the program.
    Ends,
    /// Nothing.
    None,
    /// It runs this handler.
    Handled(SigAction),
}

/// What a program set up.
#[derive(Clone)]
pub(crate) struct Signals {
    actions: [SigAction; LAST as usize],
    /// The stack for handlers.
    pub(crate) stack: SigAltStack,
    /// The set to block again once a handler was chosen: a call such as `sigsuspend` blocks another one while it waits.
    pub(crate) blocked_before: Option<u64>,
}

/// No stack for handlers.
pub(crate) const NO_STACK: SigAltStack = SigAltStack { base: 0, flags: SS_DISABLE, pad: 0, size: 0 };

impl Signals {
    /// A new program's: all defaults.
    pub(crate) fn new() -> Self {
        Self { actions: [SigAction::default(); LAST as usize], stack: NO_STACK, blocked_before: None }
    }

    /// What `execve` leaves: handlers are gone, what was ignored stays so.
    pub(crate) fn after_exec(&mut self) {
        for action in &mut self.actions {
            let handler = if action.handler == SIG_IGN { SIG_IGN } else { SIG_DFL };
            *action = SigAction { handler, ..SigAction::default() };
        }
        self.stack = NO_STACK;
    }

    /// The action for a signal between 1 and 64.
    pub(crate) fn action(&self, signal: u8) -> Option<SigAction> {
        self.actions.get(usize::from(signal).checked_sub(1)?).copied()
    }

    /// Sets it; `false` for a signal that cannot be handled.
    pub(crate) fn set_action(&mut self, signal: u8, action: SigAction) -> bool {
        let touchable = (1..=LAST).contains(&signal) && bit(signal) & UNTOUCHABLE == 0;
        if touchable {
            self.actions[usize::from(signal) - 1] = SigAction { mask: action.mask & !UNTOUCHABLE, ..action };
        }
        touchable
    }

    /// What a signal does to this program.
    pub(crate) fn effect(&self, signal: u8) -> Effect {
        match self.action(signal) {
            Some(SigAction { handler: SIG_DFL, .. }) if ends_by_default(signal) => Effect::Ends,
            Some(SigAction { handler: SIG_DFL | SIG_IGN, .. }) | None => Effect::None,
            Some(action) => Effect::Handled(action),
        }
    }

    /// The signals that do nothing to this program.
    pub(crate) fn ignored(&self) -> u64 {
        (1..=LAST)
            .filter(|&signal| matches!(self.effect(signal), Effect::None))
            .fold(0, |set, signal| set | bit(signal))
    }

    /// The signals that have handlers.
    pub(crate) fn handled(&self) -> u64 {
        (1..=LAST)
            .filter(|&signal| matches!(self.effect(signal), Effect::Handled(_)))
            .fold(0, |set, signal| set | bit(signal))
    }

    /// Whether the program does not want to wait for its children: they are forgotten when they end.
    pub(crate) fn disowns_children(&self) -> bool {
        self.action(SIGCHLD).is_some_and(|action| action.handler == SIG_IGN || action.flags & SA_NOCLDWAIT != 0)
    }
}

/// Whether a signal's default is to end the program. Stopping and continuing do nothing here.
pub(crate) fn ends_by_default(signal: u8) -> bool {
    // SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH
    !matches!(signal, 0 | 17 | 18 | 19 | 20 | 21 | 22 | 23 | 28)
}

/// A signal's name, for reports.
pub(crate) fn name(signal: u8) -> &'static str {
    match signal {
        1 => "SIGHUP",
        SIGINT => "SIGINT",
        SIGQUIT => "SIGQUIT",
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
        SIGALRM => "SIGALRM",
        15 => "SIGTERM",
        _ => "a signal",
    }
}
