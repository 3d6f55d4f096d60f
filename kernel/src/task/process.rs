//! Processes as others see them: numbers, parents, how they ended.
//!
//! Key types: [`Process`], [`ExitStatus`]. A [`super::Task`] is what only the process itself touches; what its parent, `kill`
//! and `/proc` need is here.
//!
//! Locks: [`PROCESSES`], then one [`Process`]'s own.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use base::sync::Mutex;
use vfs::{Context, Credentials, FdTable, FsState, Ids};

use super::signal::{Info, SIGALRM, SIGKILL, Signals, UNTOUCHABLE, bit};
use super::{SharedSpace, UserSpace};
use crate::time;

/// The first program's number.
pub(crate) const INIT: i32 = 1;
/// Numbers go round below this.
const PID_LIMIT: i32 = 32_768;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// By `exit`, with this code.
    Code(u8),
    /// By a signal.
    Signal(u8),
}

impl ExitStatus {
    /// As `wait4(2)` tells it.
    pub(crate) const fn encode(self) -> i32 {
        match self {
            Self::Code(code) => (code as i32) << 8,
            Self::Signal(signal) => signal as i32,
        }
    }
}

impl core::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "status {code}"),
            Self::Signal(signal) => write!(f, "{}", super::signal::name(*signal)),
        }
    }
}

/// What can change of a process's place among the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kinship {
    /// The parent's number, 0 for none.
    pub(crate) parent: i32,
    /// The process group.
    pub(crate) group: i32,
    /// The session.
    pub(crate) session: i32,
}

/// A process.
pub(crate) struct Process {
    pid: i32,
    kinship: Mutex<Kinship>,
    ended: Mutex<Option<ExitStatus>>,
    /// A parent that waits in `vfork` goes on: this process has its own memory, or is gone.
    released: AtomicBool,
    /// The signal that will end it, or 0.
    doom: AtomicU8,
    /// Time on the processor in nanoseconds, its own and that of children that were waited for.
    own_time: AtomicU64,
    children_time: AtomicU64,
    /// Name and arguments, for `/proc`.
    title: Mutex<Title>,
    /// Signals that wait to be seen to, one bit each, the first for signal 1; and where they came from.
    pending: AtomicU64,
    origins: Mutex<BTreeMap<u8, Info>>,
    /// Signals that it does not want to see to now.
    blocked: AtomicU64,
    /// Signals that do nothing to it.
    ignored: AtomicU64,
    /// Its children are forgotten when they end.
    disowns_children: AtomicBool,
    /// When its alarm goes off (`u64::MAX`: never), and how often again, in nanoseconds.
    alarm: AtomicU64,
    alarm_interval: AtomicU64,
    /// Its files and memory, for `/proc`.
    shown: Mutex<Option<WeakShown>>,
}

/// What `/proc` shows of a process that lives.
pub(crate) struct Shown {
    /// Its descriptors.
    pub(crate) files: Arc<FdTable>,
    /// Its directories.
    pub(crate) fs: Arc<FsState>,
    /// Its memory.
    pub(crate) space: SharedSpace,
    /// Its ids.
    pub(crate) ids: ShownIds,
}

/// Ids as `/proc/PID/status` lists them: real, effective, saved, for files.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ShownIds {
    /// Users.
    pub(crate) uid: [u32; 4],
    /// Groups.
    pub(crate) gid: [u32; 4],
}

impl ShownIds {
    fn of(credentials: &Credentials) -> Self {
        let list = |ids: &Ids| [ids.real, ids.effective, ids.saved, ids.file_system];
        Self { uid: list(credentials.uid()), gid: list(credentials.gid()) }
    }
}

struct WeakShown {
    files: Weak<FdTable>,
    fs: Weak<FsState>,
    space: Weak<Mutex<UserSpace>>,
    ids: ShownIds,
}

/// What a process is called.
#[derive(Debug, Clone, Default)]
pub(crate) struct Title {
    /// `comm`: the last part of the path, 15 bytes at most.
    pub(crate) name: Vec<u8>,
    /// The arguments, a zero after each.
    pub(crate) arguments: Vec<u8>,
    /// The path of the program.
    pub(crate) path: Vec<u8>,
}

static PROCESSES: Mutex<Table> = Mutex::new(Table { by_pid: BTreeMap::new(), last: 0 });

struct Table {
    by_pid: BTreeMap<i32, Arc<Process>>,
    last: i32,
}

impl Process {
    /// A new process with a number of its own; `None` when all are taken.
    pub(super) fn new(parent: Option<&Self>) -> Option<Arc<Self>> {
        let mut table = PROCESSES.lock();
        let pid = (1..PID_LIMIT)
            .map(|step| (table.last + step - 1) % (PID_LIMIT - 1) + 1)
            .find(|pid| !table.by_pid.contains_key(pid))?;
        table.last = pid;
        let kinship = match parent {
            Some(parent) => Kinship { parent: parent.pid, ..parent.kinship() },
            None => Kinship { parent: 0, group: pid, session: pid },
        };
        let process = Arc::new(Self {
            pid,
            kinship: Mutex::new(kinship),
            ended: Mutex::new(None),
            released: AtomicBool::new(false),
            doom: AtomicU8::new(0),
            own_time: AtomicU64::new(0),
            children_time: AtomicU64::new(0),
            title: Mutex::new(parent.map(Self::title).unwrap_or_default()),
            pending: AtomicU64::new(0),
            origins: Mutex::new(BTreeMap::new()),
            blocked: AtomicU64::new(parent.map_or(0, Self::blocked)),
            ignored: AtomicU64::new(0),
            disowns_children: AtomicBool::new(false),
            alarm: AtomicU64::new(u64::MAX),
            alarm_interval: AtomicU64::new(0),
            shown: Mutex::new(None),
        });
        table.by_pid.insert(pid, process.clone());
        Some(process)
    }

    /// Its number.
    #[inline]
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Its place among the others.
    pub(crate) fn kinship(&self) -> Kinship {
        *self.kinship.lock()
    }

    /// Changes its place.
    pub(crate) fn set_kinship(&self, change: impl FnOnce(&mut Kinship)) {
        change(&mut self.kinship.lock());
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        *self.ended.lock()
    }

    /// What it is called.
    pub(crate) fn title(&self) -> Title {
        self.title.lock().clone()
    }

    /// Calls it something else.
    pub(crate) fn set_title(&self, change: impl FnOnce(&mut Title)) {
        change(&mut self.title.lock());
    }

    /// Tells others what the process itself decides: which signals do nothing to it, and what it has open.
    pub(super) fn publish(&self, signals: &Signals, context: &Context, space: &SharedSpace) {
        // Default actions do nothing to the first program: nobody could wait for it.
        let ignored = if self.pid == INIT { !signals.handled() } else { signals.ignored() };
        self.ignored.store(ignored, Ordering::Relaxed);
        self.pending.fetch_and(!ignored, Ordering::Relaxed);
        self.disowns_children.store(signals.disowns_children(), Ordering::Relaxed);
        *self.shown.lock() = Some(WeakShown {
            files: Arc::downgrade(&context.files),
            fs: Arc::downgrade(&context.fs),
            space: Arc::downgrade(space),
            ids: ShownIds::of(&context.credentials),
        });
    }

    /// What it has open, while it lives.
    pub(crate) fn shown(&self) -> Option<Shown> {
        let shown = self.shown.lock();
        let WeakShown { files, fs, space, ids } = shown.as_ref()?;
        Some(Shown { files: files.upgrade()?, fs: fs.upgrade()?, space: space.upgrade()?, ids: *ids })
    }

    /// Its ids, also after its end; `None` before it has any.
    pub(crate) fn ids(&self) -> Option<ShownIds> {
        self.shown.lock().as_ref().map(|shown| shown.ids)
    }

    /// Lets a parent that waits in `vfork` go on.
    pub(super) fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
    }

    /// Whether such a parent may.
    pub(super) fn is_released(&self) -> bool {
        self.released.load(Ordering::Relaxed)
    }

    /// Has it end by a signal when it next could return to its program. The first signal counts.
    pub(crate) fn doom(&self, signal: u8) {
        // Failing means that it is doomed already.
        let _ = self.doom.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
        super::request_attention();
    }

    /// Sends it a signal between 1 and 64.
    pub(crate) fn send(&self, signal: u8, origin: Info) {
        if self.ended().is_some() {
            return;
        }
        if signal == SIGKILL {
            if self.pid != INIT {
                self.doom(SIGKILL);
            }
            return;
        }
        // What is ignored is gone; what is blocked waits, for it may be wanted later.
        if self.ignored.load(Ordering::Relaxed) & !self.blocked() & bit(signal) == 0 {
            self.origins.lock().insert(signal, origin);
            self.pending.fetch_or(bit(signal), Ordering::Relaxed);
            super::request_attention();
        }
    }

    /// Signals that wait, blocked ones included.
    pub(crate) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Signals that it does not see to now.
    pub(crate) fn blocked(&self) -> u64 {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Blocks exactly these, as far as they can be.
    pub(crate) fn set_blocked(&self, set: u64) {
        self.blocked.store(set & !UNTOUCHABLE, Ordering::Relaxed);
        if self.is_interrupted() {
            super::request_attention();
        }
    }

    /// Whether there is a signal to see to now.
    pub(super) fn is_interrupted(&self) -> bool {
        self.ring_alarm();
        let due = self.pending() & !self.blocked() & !self.ignored.load(Ordering::Relaxed);
        due != 0 || self.doom.load(Ordering::Relaxed) != 0
    }

    /// Takes the next signal to see to.
    pub(super) fn take_signal(&self) -> Option<(u8, Info)> {
        self.ring_alarm();
        self.take_of(!self.blocked())
    }

    /// Takes the next signal of a set that waits, blocked or not.
    pub(crate) fn take_of(&self, set: u64) -> Option<(u8, Info)> {
        let due = self.pending() & set;
        let signal = (due != 0).then(|| due.trailing_zeros() as u8 + 1)?;
        self.pending.fetch_and(!bit(signal), Ordering::Relaxed);
        Some((signal, self.origins.lock().remove(&signal).unwrap_or(Info::by_kernel())))
    }

    /// Sets its alarm: when it goes off first (`None`: never), and how often again (0: never), in nanoseconds. Returns how it was
    /// set before, the first as the time until then.
    pub(crate) fn set_alarm(&self, first: Option<u64>, interval: u64) -> (Option<u64>, u64) {
        let before = self.alarm();
        self.alarm.store(first.unwrap_or(u64::MAX), Ordering::Relaxed);
        self.alarm_interval.store(interval, Ordering::Relaxed);
        // Sets the timer, or rings at once.
        self.ring_alarm();
        before
    }

    /// How its alarm is set: the time until it goes off, and the interval.
    pub(crate) fn alarm(&self) -> (Option<u64>, u64) {
        let alarm = Some(self.alarm.load(Ordering::Relaxed)).filter(|&alarm| alarm != u64::MAX);
        let rest = alarm.map(|alarm| alarm.saturating_sub(time::monotonic()).max(1));
        (rest, self.alarm_interval.load(Ordering::Relaxed))
    }

    fn ring_alarm(&self) {
        let alarm = self.alarm.load(Ordering::Relaxed);
        if alarm == u64::MAX || !time::is_due(alarm) {
            return;
        }
        let next = match self.alarm_interval.load(Ordering::Relaxed) {
            0 => u64::MAX,
            interval => time::monotonic().saturating_add(interval),
        };
        self.alarm.store(next, Ordering::Relaxed);
        self.send(SIGALRM, Info::by_kernel());
        if next != u64::MAX {
            // Not due yet: this sets the timer.
            let _ = time::is_due(next);
        }
    }

    /// Whether its children are forgotten when they end.
    pub(super) fn disowns_children(&self) -> bool {
        self.disowns_children.load(Ordering::Relaxed)
    }

    /// The signal that will end it.
    pub(super) fn doomed_by(&self) -> Option<u8> {
        Some(self.doom.load(Ordering::Relaxed)).filter(|&signal| signal != 0)
    }

    /// Adds to its time on the processor.
    pub(super) fn add_time(&self, nanos: u64) {
        self.own_time.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Time on the processor in nanoseconds: its own up to the last switch, and its children's.
    pub(crate) fn times(&self) -> (u64, u64) {
        (self.own_time.load(Ordering::Relaxed), self.children_time.load(Ordering::Relaxed))
    }

    /// Records the end, and gives its children to the first program.
    pub(super) fn end(&self, status: ExitStatus) {
        let table = PROCESSES.lock();
        for other in table.by_pid.values() {
            let mut kinship = other.kinship.lock();
            if kinship.parent == self.pid {
                kinship.parent = INIT;
            }
        }
        drop(table);
        *self.ended.lock() = Some(status);
        self.release();
    }
}

/// The process of a number.
pub(crate) fn find(pid: i32) -> Option<Arc<Process>> {
    PROCESSES.lock().by_pid.get(&pid).cloned()
}

/// All processes, in ascending order of their numbers.
pub(crate) fn all() -> Vec<Arc<Process>> {
    PROCESSES.lock().by_pid.values().cloned().collect()
}

/// Which children `wait4` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Children {
    /// Any.
    Any,
    /// The one of this number.
    One(i32),
    /// Those of this process group.
    Group(i32),
}

/// Looks for a child that ended: whether there are such children at all, and one that ended.
pub(crate) fn look_for_child(parent: i32, which: Children) -> (bool, Option<Arc<Process>>) {
    let table = PROCESSES.lock();
    let mut any = false;
    for process in table.by_pid.values() {
        let kinship = process.kinship();
        let meant = kinship.parent == parent
            && match which {
                Children::Any => true,
                Children::One(pid) => process.pid == pid,
                Children::Group(group) => kinship.group == group,
            };
        if meant {
            any = true;
            if process.ended().is_some() {
                return (true, Some(process.clone()));
            }
        }
    }
    (any, None)
}

/// Forgets a child that ended; its time is its parent's from now on.
pub(crate) fn reap(child: &Process) {
    let parent = find(child.kinship().parent);
    if let Some(parent) = parent {
        let (own, children) = child.times();
        parent.children_time.fetch_add(own + children, Ordering::Relaxed);
    }
    forget(child.pid);
}

/// Takes a process out of the table.
pub(super) fn forget(pid: i32) {
    PROCESSES.lock().by_pid.remove(&pid);
}
