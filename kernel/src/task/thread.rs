//! Threads of control in the kernel, and the switch between them.
//!
//! A [`Thread`] has a kernel stack and, but for the boot's own, a [`Task`]. One runs; the others wait in a ring. A thread
//! gives the processor away only by itself: in [`wait_until`], or when the timer finds it in its program. So between two
//! waits kernel code is alone, and a condition that it has just seen still holds.
//!
//! Waiting is asking again: [`wait_until`] goes round the ring until its condition holds, and halts the processor when every
//! thread has asked in vain since the last interrupt.
//!
//! Locks: [`SCHEDULER`], held for a few instructions and never across a switch.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use base::sync::Mutex;
use vfs::{Errno, Result};
use x86_64::instructions::interrupts;
use x86_64::registers::model_specific::Msr;

use super::deliver::Call;
use super::entry::{self, SyscallFrame};
use super::{Process, SharedSpace, Task};
use crate::memory::address_space::AddressSpace;
use crate::memory::stack::KernelStack;
use crate::{time, traps};

/// `IA32_FS_BASE`: a program's thread pointer.
const FS_BASE: u32 = 0xc000_0100;
/// `IA32_GS_BASE`.
const GS_BASE: u32 = 0xc000_0101;

/// The x87 and vector state, as `fxsave64` writes it.
#[repr(C, align(16))]
#[derive(Clone)]
struct VectorState([u8; 512]);

impl VectorState {
    /// What a program starts with: everything masked and empty, control word 0x37f, MXCSR 0x1f80.
    fn first() -> Self {
        let mut bytes = [0; 512];
        bytes[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
        bytes[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
        Self(bytes)
    }
}

/// What a thread leaves behind when another runs.
struct Saved {
    stack_pointer: u64,
    vectors: VectorState,
    fs_base: u64,
    gs_base: u64,
    task: Option<Box<Task>>,
}

/// A thread of control.
pub(super) struct Thread {
    /// `None`: the stack that the boot began on.
    stack: Option<KernelStack>,
    saved: UnsafeCell<Saved>,
    process: Option<Arc<Process>>,
}

// SAFETY: there is one processor, and `saved` is touched only in `switch_to` by the code that is switching, with interrupts
// off, or by the thread itself while it runs.
unsafe impl Send for Thread {}
// SAFETY: as above.
unsafe impl Sync for Thread {}

struct Scheduler {
    current: Option<Arc<Thread>>,
    ring: VecDeque<Arc<Thread>>,
    /// A thread that ended, until another one runs and its stack can go.
    ended: Option<Arc<Thread>>,
    /// How many threads in a row asked in vain.
    vain: usize,
}

static SCHEDULER: Mutex<Scheduler> =
    Mutex::new(Scheduler { current: None, ring: VecDeque::new(), ended: None, vain: 0 });

/// The running thread's task, or null.
static TASK: AtomicPtr<Task> = AtomicPtr::new(ptr::null_mut());

/// The memory that user addresses mean now.
static SPACE: Mutex<Option<SharedSpace>> = Mutex::new(None);

/// The running thread's task; null in the boot's thread.
#[inline]
pub(super) fn task() -> *mut Task {
    TASK.load(Ordering::Relaxed)
}

/// Makes the code that runs now the first thread.
pub(super) fn init() {
    let boot = Thread {
        stack: None,
        saved: UnsafeCell::new(Saved {
            stack_pointer: 0,
            vectors: VectorState::first(),
            fs_base: 0,
            gs_base: 0,
            task: None,
        }),
        process: None,
    };
    SCHEDULER.lock().current = Some(Arc::new(boot));
}

/// Uses `action` on the memory that user addresses mean now, if there is any and it is not in use further up the stack.
pub(super) fn with_space<R>(action: impl FnOnce(&mut super::UserSpace) -> R) -> Option<R> {
    let space = SPACE.try_lock()?;
    let mut space = space.as_ref()?.try_lock()?;
    Some(action(&mut space))
}

/// Makes `space` what user addresses mean.
pub(super) fn set_space(space: Option<&SharedSpace>) {
    match space {
        Some(space) => space.lock().activate(),
        None => AddressSpace::deactivate(),
    }
    let before = core::mem::replace(&mut *SPACE.lock(), space.cloned());
    // The last user of a space drops it, pages and all; it is not the active one any more.
    drop(before);
}

/// Starts a thread for `task`, which begins in its program with the registers of `frame`.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn spawn(task: Task, frame: &SyscallFrame) -> Result<()> {
    let stack = KernelStack::new()?;
    let vectors = if task.is_fork() { current_vectors() } else { VectorState::first() };
    let (fs_base, gs_base) = if task.is_fork() { (fs_base(), gs_base()) } else { (0, 0) };
    let place = stack.top() - size_of::<SyscallFrame>() as u64;
    // What `switch_stacks` pops: six registers, the flags, and where to go on.
    let first = [0, 0, 0, 0, 0, 0, 0x2, begin as *const () as u64];
    // After the return address is popped the stack is as after a call.
    let stack_pointer = place - 8 - size_of_val(&first) as u64;
    // SAFETY: both places are on the new stack, which is mapped, aligned, and nobody else's.
    unsafe {
        (place as *mut SyscallFrame).write(*frame);
        (stack_pointer as *mut [u64; 8]).write(first);
    }
    let process = Some(task.process().clone());
    let task = Box::new(task);
    let thread = Thread {
        stack: Some(stack),
        saved: UnsafeCell::new(Saved { stack_pointer, vectors, fs_base, gs_base, task: Some(task) }),
        process,
    };
    let thread = Arc::new(thread);
    let mut scheduler = SCHEDULER.lock();
    scheduler.ring.push_back(thread);
    scheduler.vain = 0;
    Ok(())
}

/// A new thread's first code.
extern "C" fn begin() -> ! {
    after_switch();
    let frame = (kernel_stack_top() - size_of::<SyscallFrame>() as u64) as *mut SyscallFrame;
    // SAFETY: `spawn` put the frame there, and nobody else knows it. No call is made again: this one has its result.
    super::attend_if_needed(&mut Call { frame: unsafe { &mut *frame }, number: u64::MAX });
    // SAFETY: as above, and nothing on the stack is needed.
    unsafe { entry::leave(frame) }
}

fn kernel_stack_top() -> u64 {
    let scheduler = SCHEDULER.lock();
    scheduler.current.as_ref().and_then(|thread| thread.stack.as_ref()).map_or(0, KernelStack::top)
}

/// Puts `task` on the running thread, which has none: for code that acts as a program inside the kernel.
#[cfg(any(debug_assertions, feature = "suites"))]
pub(super) fn adopt(task: Task) {
    let thread = SCHEDULER.lock().current.clone();
    let Some(thread) = thread else { return };
    let space = task.space().clone();
    // SAFETY: the running thread's own state, touched by itself.
    let saved = unsafe { &mut *thread.saved.get() };
    TASK.store(&raw mut **saved.task.insert(Box::new(task)), Ordering::Relaxed);
    set_space(Some(&space));
}

/// Takes the task off the running thread again.
pub(super) fn abandon() -> Option<Box<Task>> {
    let thread = SCHEDULER.lock().current.clone()?;
    set_space(None);
    TASK.store(ptr::null_mut(), Ordering::Relaxed);
    // SAFETY: the running thread's own state, touched by itself; nobody holds the task any more.
    unsafe { &mut *thread.saved.get() }.task.take()
}

/// Ends the running thread. Its task is gone already.
pub(super) fn end() -> ! {
    interrupts::disable();
    let next = {
        let mut scheduler = SCHEDULER.lock();
        scheduler.vain = 0;
        scheduler.ring.pop_front()
    };
    if let Some(next) = next {
        switch_to(next, Leaving::ForGood);
    }
    unreachable!("the boot's thread never ends, so there is always another, and nobody runs one that ended")
}

/// Lets the other threads run until they wait.
pub(crate) fn yield_now() {
    debug_assert!(!crate::user::is_lent(), "a thread gave the processor away while it lent its program's memory");
    let next = {
        let mut scheduler = SCHEDULER.lock();
        scheduler.vain = 0;
        scheduler.ring.pop_front()
    };
    if let Some(next) = next {
        let enabled = interrupts::are_enabled();
        interrupts::disable();
        switch_to(next, Leaving::ForNow);
        if enabled {
            interrupts::enable();
        }
    }
}

/// What ends a wait early.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wakes {
    /// A signal that is to be seen to.
    Signals,
    /// Only the end of the task.
    Doom,
}

/// Returns when `ready` says so; other threads run meanwhile, and the processor rests when none can.
///
/// # Errors
/// `EINTR` when the task has a signal to see to, or is to end.
pub(crate) fn wait_until(ready: &dyn Fn() -> bool) -> Result<()> {
    wait(ready, Wakes::Signals)
}

/// As [`wait_until`], but signals wait, too.
///
/// # Errors
/// `EINTR` when the task is to end.
pub(super) fn wait_until_or_doomed(ready: &dyn Fn() -> bool) -> Result<()> {
    wait(ready, Wakes::Doom)
}

fn wait(ready: &dyn Fn() -> bool, wakes: Wakes) -> Result<()> {
    debug_assert!(!crate::user::is_lent(), "a thread waits while it lends its program's memory");
    let enabled = interrupts::are_enabled();
    interrupts::disable();
    // What this thread did since it last waited may be what another waits for.
    SCHEDULER.lock().vain = 0;
    let outcome = loop {
        if ready() {
            break Ok(());
        }
        if is_interrupted(wakes) {
            super::request_attention();
            break Err(Errno::EINTR.into());
        }
        let mut scheduler = SCHEDULER.lock();
        scheduler.vain += 1;
        if scheduler.vain > scheduler.ring.len() {
            scheduler.vain = 0;
            drop(scheduler);
            // An interrupt that came since the first of them asked is taken here: none is missed.
            interrupts::enable_and_hlt();
            interrupts::disable();
            crate::dev::look_for_interrupt();
        } else if let Some(next) = scheduler.ring.pop_front() {
            drop(scheduler);
            switch_to(next, Leaving::ForNow);
        }
    };
    if enabled {
        interrupts::enable();
    }
    outcome
}

/// Whether the running task has something to see to.
fn is_interrupted(wakes: Wakes) -> bool {
    let scheduler = SCHEDULER.lock();
    let process = scheduler.current.as_ref().and_then(|thread| thread.process.as_ref());
    process.is_some_and(|process| match wakes {
        Wakes::Signals => process.is_interrupted(),
        Wakes::Doom => process.doomed_by().is_some(),
    })
}

/// How long a program runs while others could, in nanoseconds.
const SHARE: u64 = 10_000_000;

/// When the running thread got the processor.
static SINCE: AtomicU64 = AtomicU64::new(0);

/// Adds the time since the running thread got the processor, or this was last called, to its process's.
pub(crate) fn note_time() {
    let now = time::monotonic();
    let since = SINCE.swap(now, Ordering::Relaxed);
    // SAFETY: only the shared, immutable part of the task is read.
    if let Some(task) = unsafe { task().as_ref() } {
        task.process().add_time(now.saturating_sub(since));
    }
}

/// How many threads there are beside the running one.
pub(super) fn others() -> usize {
    SCHEDULER.lock().ring.len()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    ForNow,
    ForGood,
}

/// Runs `next`; returns when the thread that called runs again. Interrupts are off.
fn switch_to(next: Arc<Thread>, leaving: Leaving) {
    note_time();
    let mut scheduler = SCHEDULER.lock();
    let Some(previous) = scheduler.current.replace(next.clone()) else { return };
    let from = previous.saved.get();
    match leaving {
        Leaving::ForNow => scheduler.ring.push_back(previous),
        Leaving::ForGood => scheduler.ended = Some(previous),
    }
    drop(scheduler);

    let to = next.saved.get();
    let stack_top = next.stack.as_ref().map(KernelStack::top);
    // The scheduler holds both threads from here on: a reference on this stack would be lost when this thread ends.
    drop(next);
    // SAFETY: `from` is the running thread's, `to` that of one that waits; the scheduler keeps both alive, and with
    // interrupts off nobody else is here.
    let (space, stack_pointer) = unsafe {
        save_vectors(&mut (*from).vectors);
        (*from).fs_base = fs_base();
        (*from).gs_base = gs_base();
        restore_vectors(&(*to).vectors);
        set_fs_base((*to).fs_base);
        set_gs_base((*to).gs_base);
        let task = (*to).task.as_mut().map_or(ptr::null_mut(), |task| &raw mut **task);
        TASK.store(task, Ordering::Relaxed);
        ((*to).task.as_ref().map(|task| task.space().clone()), (*to).stack_pointer)
    };
    set_space(space.as_ref());
    drop(space);
    if let Some(top) = stack_top {
        traps::set_kernel_stack(top);
        entry::set_kernel_stack(top);
    }
    // SAFETY: `stack_pointer` was left by this function in the other thread or prepared by `spawn`.
    unsafe { switch_stacks(&raw mut (*from).stack_pointer, stack_pointer) };
    after_switch();
}

/// What a thread does when it runs again: frees what the one before left for good, sees whether it is to end itself, and has
/// the timer share the processor among programs.
fn after_switch() {
    let (ended, others) = {
        let mut scheduler = SCHEDULER.lock();
        (scheduler.ended.take(), scheduler.ring.len())
    };
    drop(ended);
    if is_interrupted(Wakes::Signals) {
        super::request_attention();
    }
    if others > 1 {
        // Not due yet: this sets the timer.
        let _ = time::is_due(time::monotonic() + SHARE);
    }
}

/// Saves what the C ABI preserves and the stack pointer at `save`, and goes on where `load` was left.
#[unsafe(naked)]
unsafe extern "C" fn switch_stacks(save: *mut u64, load: u64) {
    naked_asm!(
        "pushfq",
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "popfq",
        "ret",
    )
}

fn save_vectors(state: &mut VectorState) {
    // SAFETY: the area has the size and alignment that the instruction asks for.
    unsafe { core::arch::x86_64::_fxsave64(state.0.as_mut_ptr()) };
}

fn restore_vectors(state: &VectorState) {
    // SAFETY: as above, and the content is what `fxsave64` wrote or the first state; the compiler does not keep values in
    // vector registers over a call that may use them.
    unsafe { restore(state) };

    #[unsafe(naked)]
    unsafe extern "C" fn restore(state: &VectorState) {
        naked_asm!("fxrstor64 [rdi]", "ret")
    }
}

/// Empties the running program's x87 and vector state, for another program.
pub(super) fn reset_vectors() {
    restore_vectors(&VectorState::first());
}

/// The running program's x87 and vector state, but for what the kernel has in the vector registers.
pub(super) fn save_current() -> [u8; 512] {
    current_vectors().0
}

fn current_vectors() -> VectorState {
    let mut state = VectorState::first();
    save_vectors(&mut state);
    state
}

/// The program's thread pointer.
pub(crate) fn fs_base() -> u64 {
    // SAFETY: every 64-bit processor has the register.
    unsafe { Msr::new(FS_BASE).read() }
}

/// The base of the program's GS segment, which the kernel does not use.
pub(crate) fn gs_base() -> u64 {
    // SAFETY: as above.
    unsafe { Msr::new(GS_BASE).read() }
}

/// Sets the program's thread pointer; `base` is a user address.
pub(crate) fn set_fs_base(base: u64) {
    // SAFETY: as above; the kernel does not use the segment, and the caller gives a canonical address.
    unsafe { Msr::new(FS_BASE).write(base) };
}

/// Sets the base of the program's GS segment; `base` is a user address.
pub(crate) fn set_gs_base(base: u64) {
    // SAFETY: as above.
    unsafe { Msr::new(GS_BASE).write(base) };
}
