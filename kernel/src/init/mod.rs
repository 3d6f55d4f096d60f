//! From hardware that works to a program that runs: the firmware's archives, the disk, the overlay of both as root, the first
//! program; and back to power-off.
//!
//! [`storage`] decides what takes the changes, [`root`] puts the layers together and fills in `/dev`, `/proc` and `/tmp`,
//! [`types`] serves `mount(2)`, [`shutdown`] leaves everything clean. Whatever is missing or broken is said in one line, and the
//! boot goes on with what there is.

mod root;
pub(crate) mod shutdown;
mod storage;
mod types;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use boot::{BootInfo, Options};
use spin::Once;
use vfs::{
    AT_FDCWD, AtFlags, Clock, Context, Credentials, DeviceClass, DeviceNumber, Errno, FsContext, Namespace, OnExec,
    OpenFlags, Result, Wait,
};

use crate::exec::{self, Strings};
use crate::logging::phase;
use crate::task::{self, Process};
use crate::{dev, time};

use root::Firmware;
pub(crate) use types::file_system_list;

/// The programs that are tried as the first one when the command line names none.
const FIRST_PROGRAMS: [&str; 5] = ["/bin/strata", "/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];

/// What the first program finds in its environment.
const ENVIRONMENT: [&[u8]; 3] = [b"PATH=/bin:/usr/bin:/sbin:/usr/sbin", b"HOME=/root", b"TERM=vt220"];

/// How often what was written reaches the disk by itself, in nanoseconds: Linux's commit interval.
const WRITE_BACK_EVERY: u64 = 5_000_000_000;

static NAMESPACE: Once<Arc<Namespace>> = Once::new();
static COMMAND_LINE: Once<&'static str> = Once::new();
static NEXT_WRITE_BACK: AtomicU64 = AtomicU64::new(u64::MAX);
static NEXT_ANONYMOUS: AtomicU32 = AtomicU32::new(1);

/// The tree of all mounts.
///
/// # Panics
/// Before the root is mounted: nothing that could ask runs then.
#[inline]
pub(crate) fn namespace() -> &'static Arc<Namespace> {
    match NAMESPACE.get() {
        Some(namespace) => namespace,
        None => panic!("the root is not mounted yet"),
    }
}

/// The kernel's parameters, as they were given.
pub(crate) fn command_line() -> &'static str {
    COMMAND_LINE.get().copied().unwrap_or("")
}

/// What a filesystem is mounted with: the kernel's clock, and a device number (`None`: one of those without a device).
pub(crate) fn fs_context(device: Option<DeviceNumber>) -> FsContext {
    let number = device.unwrap_or_else(|| DeviceNumber::new(0, NEXT_ANONYMOUS.fetch_add(1, Ordering::Relaxed)));
    FsContext { dev: number.encode(), clock: Arc::new(KernelClock) }
}

struct KernelClock;

impl Clock for KernelClock {
    fn now(&self) -> vfs::Timestamp {
        time::now()
    }
}

/// How pipes and locks wait: by the scheduler.
struct TaskWait;

impl Wait for TaskWait {
    fn wait(&self, ready: &dyn Fn() -> bool) -> Result<()> {
        task::wait_until(ready)
    }

    fn wake(&self) {
        // Whoever waits is asked again anyway.
    }
}

/// Boots the appliance, and ends the machine when its first program has ended.
pub(crate) fn run(info: &'static BootInfo, options: &Options<'static>) -> ! {
    COMMAND_LINE.call_once(|| info.command_line);
    mount(info, options);
    let started = start_first_program(options);
    schedule_write_back();
    shutdown::when_over(started)
}

/// Mounts a root for suites, with a layer in memory above the firmware, if there is any.
pub(crate) fn begin_for_suites(info: &'static BootInfo, options: &Options<'static>) {
    COMMAND_LINE.call_once(|| info.command_line);
    let firmware = if info.modules.is_empty() { Firmware::none() } else { root::firmware(info, options) };
    let upper = storage::in_memory(&firmware);
    let namespace = root::assemble(firmware.layers, upper);
    NAMESPACE.call_once(|| namespace);
    root::furnish();
    task::reserve_init();
}

/// Mounts the root and what belongs in it.
fn mount(info: &'static BootInfo, options: &Options<'static>) {
    let firmware = root::firmware(info, options);
    let upper = storage::open(options, &firmware);
    let namespace = root::assemble(firmware.layers, upper);
    NAMESPACE.call_once(|| namespace);
    root::furnish();
}

/// A context of the kernel's own: root at the root of the tree.
pub(crate) fn kernel_context() -> Context {
    namespace().context(Credentials::root(), 0)
}

fn start_first_program(options: &Options<'static>) -> Option<Arc<Process>> {
    let context = kernel_context();
    let candidates: &[&str] = match &options.init {
        Some(path) => core::slice::from_ref(path),
        None => &FIRST_PROGRAMS,
    };
    for path in candidates {
        match start(&context, path, &options.init_arguments) {
            Ok(process) => {
                phase("init", format_args!("{path}"));
                return Some(process);
            }
            Err(error) if error == Errno::ENOENT && options.init.is_none() => {}
            Err(error) => log::error!("{path} cannot be started: {error}"),
        }
    }
    if options.init.is_none() {
        log::error!("no program to start: the firmware has none of {}", FIRST_PROGRAMS.join(", "));
    }
    None
}

/// Starts a program with the console as its standard streams.
fn start(context: &Context, path: &str, more: &[&str]) -> Result<Arc<Process>> {
    let mut arguments = Strings::default();
    for argument in core::iter::once(&path).chain(more) {
        arguments.push(argument.as_bytes())?;
    }
    let mut environment = Strings::default();
    for variable in ENVIRONMENT {
        environment.push(variable)?;
    }
    let image = exec::load(context, AT_FDCWD, path.as_bytes(), AtFlags::empty(), arguments, &environment)?;
    let console = namespace().open_device(DeviceClass::Char, dev::CONSOLE, OpenFlags::O_RDWR)?;
    for _ in 0..3 {
        context.files.install(console.clone(), OnExec::Keep)?;
    }
    task::spawn_program(context.clone(), image)
}

fn schedule_write_back() {
    let next = time::monotonic().saturating_add(WRITE_BACK_EVERY);
    NEXT_WRITE_BACK.store(next, Ordering::Relaxed);
    // Not due yet: this sets the timer.
    let _ = time::is_due(next);
}

/// Gives up what is kept for speed alone, for the sake of memory.
pub(crate) fn give_up_caches() {
    if let Some(namespace) = NAMESPACE.get() {
        namespace.shrink_cache();
    }
}

/// Whether [`write_back_if_due`] has something to do; if not, an interrupt will come when it has.
fn is_write_back_due() -> bool {
    let next = NEXT_WRITE_BACK.load(Ordering::Relaxed);
    next != u64::MAX && time::is_due(next)
}

/// Writes what was changed to the disk, when it is time again. Called with no lock held and interrupts on.
pub(crate) fn write_back_if_due() {
    if !is_write_back_due() {
        return;
    }
    // A failure was logged where it happened; the next `fsync` tells the program.
    let _ = task::space::shared::flush_all();
    storage::write_back();
    schedule_write_back();
}
