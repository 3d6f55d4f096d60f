//! The system as a whole, and what a program tells of itself: names, memory, random numbers, power, `prctl`, `arch_prctl`.

use core::sync::atomic::{AtomicU32, Ordering};

use alloc::vec::Vec;

use base::sync::Mutex;
use boot::layout::USER_END;
use vfs::{Capabilities, Errno, SetIdOnExec};

use super::abi::{SysInfo, UtsName};
use super::{Answer, Caller, done};
use crate::init::shutdown::{self, How};
use crate::memory::frames;
use crate::task::{self, process};
use crate::time;
use crate::user::{TextBuffer, UserBytes, UserPtr, UserString};

/// The Linux version whose interface this is: programs look at it.
pub(crate) const RELEASE: &str = "6.18.0-strata";
/// What this kernel is.
pub(crate) const VERSION: &str = concat!("Strata ", env!("CARGO_PKG_VERSION"));

/// The longest host name (`__NEW_UTS_LEN`).
const NAME_MAX: usize = 64;

static HOST_NAME: Mutex<heapless::Vec<u8, NAME_MAX>> = Mutex::new(heapless::Vec::new());
static DOMAIN_NAME: Mutex<heapless::Vec<u8, NAME_MAX>> = Mutex::new(heapless::Vec::new());

/// The host's name.
pub(crate) fn host_name() -> Vec<u8> {
    let name = HOST_NAME.lock();
    if name.is_empty() { b"strata".to_vec() } else { name.to_vec() }
}

/// `uname(2)`.
pub(super) fn uname(_caller: &mut Caller<'_>, result: UserPtr<UtsName>) -> Answer {
    let host = host_name();
    let domain = DOMAIN_NAME.lock().clone();
    let domain: &[u8] = if domain.is_empty() { b"(none)" } else { &domain };
    done(result.write(&UtsName::new([b"Linux", &host, RELEASE.as_bytes(), VERSION.as_bytes(), b"x86_64", domain])))
}

fn set_name(caller: &Caller<'_>, place: &Mutex<heapless::Vec<u8, NAME_MAX>>, name: u64, length: i32) -> Answer {
    if !caller.context.credentials.capable(Capabilities::CAP_SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    let mut text = heapless::Vec::new();
    let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
    text.resize(length, 0).map_err(|_| Errno::EINVAL)?;
    UserBytes::whole(name, length).read(&mut text)?;
    *place.lock() = text;
    Ok(0)
}

/// `sethostname(2)`.
pub(super) fn sethostname(caller: &mut Caller<'_>, name: u64, length: i32) -> Answer {
    set_name(caller, &HOST_NAME, name, length)
}

/// `setdomainname(2)`.
pub(super) fn setdomainname(caller: &mut Caller<'_>, name: u64, length: i32) -> Answer {
    set_name(caller, &DOMAIN_NAME, name, length)
}

/// `sysinfo(2)`.
pub(super) fn sysinfo(_caller: &mut Caller<'_>, result: UserPtr<SysInfo>) -> Answer {
    let memory = frames::usage();
    done(result.write(&SysInfo {
        uptime: (time::monotonic() / 1_000_000_000) as i64,
        total_ram: memory.total,
        free_ram: memory.free,
        processes: [process::all().len().try_into().unwrap_or(u16::MAX), 0, 0, 0],
        unit: 1,
        ..SysInfo::default()
    }))
}

/// `getrandom(2)`: the generator is seeded at boot, so nothing waits.
pub(super) fn getrandom(_caller: &mut Caller<'_>, buffer: u64, length: usize, flags: u32) -> Answer {
    const GRND_RANDOM: u32 = 2;
    const GRND_INSECURE: u32 = 4;
    if flags & !7 != 0 || flags & (GRND_RANDOM | GRND_INSECURE) == GRND_RANDOM | GRND_INSECURE {
        return Err(Errno::EINVAL.into());
    }
    // As much as fits an `int`, like Linux.
    UserBytes::new(buffer, length.min(i32::MAX as usize)).with_mut(|bytes| {
        crate::random::fill(bytes);
        Ok(bytes.len())
    })
}

const REBOOT_MAGIC1: u32 = 0xfee1_dead;
/// Linus Torvalds's and his daughters' birthdays, as Linux has them.
const REBOOT_MAGIC2: [u32; 4] = [0x2812_1969, 0x0512_1996, 0x1604_1998, 0x2011_2000];

/// `reboot(2)`: everything is synced and unmounted first, whatever the program did.
pub(super) fn reboot(caller: &mut Caller<'_>, magic1: u32, magic2: u32, command: u32) -> Answer {
    if !caller.context.credentials.capable(Capabilities::CAP_SYS_BOOT) {
        return Err(Errno::EPERM.into());
    }
    if magic1 != REBOOT_MAGIC1 || !REBOOT_MAGIC2.contains(&magic2) {
        return Err(Errno::EINVAL.into());
    }
    match command {
        0x0123_4567 => shutdown::request(How::Restart),
        0x4321_fedc | 0xcdef_0123 => shutdown::request(How::PowerOff),
        // Whether Ctrl-Alt-Delete restarts: there is no such key.
        0x89ab_cdef | 0 => return Ok(0),
        _ => return Err(Errno::EINVAL.into()),
    }
    // The first program's end is the signal for the boot's thread to stop the machine.
    task::wait_until(&|| false)?;
    Ok(0)
}

const PR_SET_PDEATHSIG: u32 = 1;
const PR_GET_DUMPABLE: u32 = 3;
const PR_SET_DUMPABLE: u32 = 4;
const PR_GET_KEEPCAPS: u32 = 7;
const PR_SET_KEEPCAPS: u32 = 8;
const PR_SET_NAME: u32 = 15;
const PR_GET_NAME: u32 = 16;
const PR_CAPBSET_READ: u32 = 23;
const PR_SET_TIMERSLACK: u32 = 29;
const PR_SET_CHILD_SUBREAPER: u32 = 36;
const PR_SET_NO_NEW_PRIVS: u32 = 38;
const PR_GET_NO_NEW_PRIVS: u32 = 39;
const PR_SET_VMA: u32 = 0x5356_4d41;

/// `prctl(2)`: names, no new privileges, and answers that are always the same.
pub(super) fn prctl(caller: &mut Caller<'_>, option: u32, argument: u64) -> Answer {
    match option {
        PR_SET_NAME => {
            let mut buffer = TextBuffer::<4096>::new();
            let name = UserString::new(argument).read(&mut buffer, Errno::EINVAL)?;
            let name = name[..name.len().min(15)].to_vec();
            caller.process().set_title(|title| title.name = name);
            Ok(0)
        }
        PR_GET_NAME => {
            let mut name = [0; 16];
            let title = caller.process().title();
            name[..title.name.len()].copy_from_slice(&title.name);
            UserBytes::whole(argument, 16).write(&name)?;
            Ok(0)
        }
        PR_GET_DUMPABLE => Ok(1),
        PR_CAPBSET_READ if argument <= 40 => Ok(1),
        PR_GET_KEEPCAPS => Ok(0),
        PR_SET_NO_NEW_PRIVS if argument == 1 => {
            caller.set_id = SetIdOnExec::Ignored;
            Ok(0)
        }
        PR_GET_NO_NEW_PRIVS if argument == 0 => Ok((caller.set_id == SetIdOnExec::Ignored).into()),
        PR_SET_PDEATHSIG | PR_SET_DUMPABLE | PR_SET_KEEPCAPS | PR_SET_TIMERSLACK | PR_SET_CHILD_SUBREAPER => Ok(0),
        // Names for anonymous memory: not kept, as on a Linux without CONFIG_ANON_VMA_NAME.
        PR_SET_VMA => Err(Errno::EINVAL.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}

const ARCH_SET_GS: u32 = 0x1001;
const ARCH_SET_FS: u32 = 0x1002;
const ARCH_GET_FS: u32 = 0x1003;
const ARCH_GET_GS: u32 = 0x1004;

/// `arch_prctl(2)`.
pub(super) fn arch_prctl(_caller: &mut Caller<'_>, option: u32, address: u64) -> Answer {
    match option {
        ARCH_SET_FS | ARCH_SET_GS if address >= USER_END => return Err(Errno::EPERM.into()),
        ARCH_SET_FS => task::set_fs_base(address),
        ARCH_SET_GS => task::set_gs_base(address),
        ARCH_GET_FS => return done(UserPtr::new(address).write(&task::fs_base())),
        ARCH_GET_GS => return done(UserPtr::new(address).write(&task::gs_base())),
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// `sched_yield(2)`.
pub(super) fn sched_yield(_caller: &mut Caller<'_>) -> Answer {
    task::yield_now();
    Ok(0)
}

/// `sched_getaffinity(2)`: one processor.
pub(super) fn sched_getaffinity(_caller: &mut Caller<'_>, pid: i32, size: usize, mask: UserPtr<u64>) -> Answer {
    if pid != 0 && process::find(pid).is_none() {
        return Err(Errno::ESRCH.into());
    }
    if size < 8 || !size.is_multiple_of(8) {
        return Err(Errno::EINVAL.into());
    }
    mask.write(&1)?;
    Ok(8)
}

/// `sched_setaffinity(2)`: the one processor must be among them.
pub(super) fn sched_setaffinity(_caller: &mut Caller<'_>, _pid: i32, size: usize, mask: u64) -> Answer {
    let mut first = [0];
    UserBytes::whole(mask, size).read(&mut first)?;
    if first[0] & 1 == 0 { Err(Errno::EINVAL.into()) } else { Ok(0) }
}

/// `getcpu(2)`.
pub(super) fn getcpu(_caller: &mut Caller<'_>, cpu: UserPtr<u32>, node: UserPtr<u32>) -> Answer {
    for claim in [cpu, node].into_iter().filter_map(UserPtr::optional) {
        claim.write(&0)?;
    }
    Ok(0)
}

/// `set_robust_list(2)`: there is no other thread that could find it.
pub(super) fn set_robust_list(_caller: &mut Caller<'_>, _head: u64, size: usize) -> Answer {
    if size == 24 { Ok(0) } else { Err(Errno::EINVAL.into()) }
}

/// `get_robust_list(2)`.
pub(super) fn get_robust_list(caller: &mut Caller<'_>, pid: i32, head: UserPtr<u64>, size: UserPtr<u64>) -> Answer {
    if pid != 0 && pid != caller.pid() {
        return Err(Errno::ESRCH.into());
    }
    size.write(&24)?;
    done(head.write(&0))
}

/// `personality(2)`: there is one.
static PERSONALITY: AtomicU32 = AtomicU32::new(0);

/// `personality(2)`.
pub(super) fn personality(_caller: &mut Caller<'_>, persona: u32) -> Answer {
    let before = PERSONALITY.load(Ordering::Relaxed);
    if persona != u32::MAX && persona != before {
        return Err(Errno::EINVAL.into());
    }
    Ok(before as usize)
}

/// Calls that are known not to be there, which programs try and do without: no line in the log.
pub(super) fn absent(_caller: &mut Caller<'_>) -> Answer {
    Err(Errno::ENOSYS.into())
}
