//! The table of system calls: Linux's number, Linux's name, the handler and its arguments, in order of registers
//! (`rdi rsi rdx r10 r8 r9`).

use super::{
    Argument, Caller, attributes, descriptors, directories, encode, futex, ids, io, memory, mounts, names, open, poll,
    process, signals, sockets, sync, system, time, xattr,
};
use crate::task::SyscallFrame;

/// A call: takes its arguments from the registers and returns what goes into `rax`.
pub(super) type Handler = fn(&mut Caller<'_>) -> u64;

/// The highest number that has a place in the table.
pub(crate) const HIGHEST: usize = 466;

/// The registers of the arguments, one after the other.
struct Registers {
    values: [u64; 7],
    next: usize,
}

impl Registers {
    #[inline(always)]
    fn of(frame: &SyscallFrame) -> Self {
        // Six registers; a seventh argument does not exist and is only ever ignored.
        Self { values: [frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8, frame.r9, 0], next: 0 }
    }

    #[inline(always)]
    fn next<T: Argument>(self) -> (Self, T) {
        let value = T::from_register(self.values[self.next]);
        (Self { next: self.next + 1, ..self }, value)
    }

    /// All arguments are taken.
    #[inline(always)]
    fn done(self) {}
}

macro_rules! table {
    ($($number:literal $name:ident = $family:ident :: $handler:ident ($($argument:ident),*);)*) => {
        /// The handler of each number.
        pub(super) static HANDLERS: [Option<Handler>; HIGHEST + 1] = {
            let mut handlers: [Option<Handler>; HIGHEST + 1] = [None; HIGHEST + 1];
            $(
                assert!(handlers[$number].is_none(), concat!("two calls have the number of ", stringify!($name)));
                handlers[$number] = Some(|caller| {
                    let registers = Registers::of(caller.frame);
                    $(let (registers, $argument) = registers.next();)*
                    registers.done();
                    encode($family::$handler(caller, $($argument),*))
                });
            )*
            handlers
        };

        /// The name of a number that has a handler.
        #[cfg(any(debug_assertions, feature = "suites"))]
        pub(crate) fn name_of(number: usize) -> Option<&'static str> {
            match number {
                $($number => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

table! {
    0 read = io::read(fd, buffer, count);
    1 write = io::write(fd, buffer, count);
    2 open = open::open(path, flags, mode);
    3 close = descriptors::close(fd);
    4 stat = attributes::stat(path, result);
    5 fstat = attributes::fstat(fd, result);
    6 lstat = attributes::lstat(path, result);
    7 poll = poll::poll(list, count, timeout);
    8 lseek = io::lseek(fd, offset, whence);
    9 mmap = memory::mmap(address, length, protection, flags, fd, offset);
    10 mprotect = memory::mprotect(address, length, protection);
    11 munmap = memory::munmap(address, length);
    12 brk = memory::brk(address);
    13 rt_sigaction = signals::rt_sigaction(signal, new, old, size);
    14 rt_sigprocmask = signals::rt_sigprocmask(how, new, old, size);
    15 rt_sigreturn = signals::rt_sigreturn();
    16 ioctl = io::ioctl(fd, command, argument);
    17 pread64 = io::pread64(fd, buffer, count, offset);
    18 pwrite64 = io::pwrite64(fd, buffer, count, offset);
    19 readv = io::readv(fd, vector, count);
    20 writev = io::writev(fd, vector, count);
    21 access = attributes::access(path, mode);
    22 pipe = open::pipe(ends);
    23 select = poll::select(count, reading, writing, exceptional, timeout);
    24 sched_yield = system::sched_yield();
    25 mremap = memory::mremap(old, old_length, new_length, flags, new);
    26 msync = memory::msync(address, length, flags);
    27 mincore = memory::mincore(address, length, result);
    28 madvise = memory::madvise(address, length, advice);
    32 dup = descriptors::dup(fd);
    33 dup2 = descriptors::dup2(fd, new);
    34 pause = signals::pause();
    35 nanosleep = time::nanosleep(span, rest);
    36 getitimer = signals::getitimer(which, result);
    37 alarm = signals::alarm(seconds);
    38 setitimer = signals::setitimer(which, new, old);
    39 getpid = process::getpid();
    40 sendfile = io::sendfile(out, input, offset, count);
    41 socket = sockets::socket(family, kind, protocol);
    49 bind = sockets::bind(fd, address, length);
    56 clone = process::clone(flags, stack, parent_tid, child_tid, tls);
    57 fork = process::fork();
    58 vfork = process::vfork();
    59 execve = process::execve(path, arguments, environment);
    60 exit = process::exit(code);
    61 wait4 = process::wait4(pid, status, options, usage);
    62 kill = signals::kill(pid, signal);
    63 uname = system::uname(result);
    72 fcntl = descriptors::fcntl(fd, command, argument);
    73 flock = descriptors::flock(fd, operation);
    74 fsync = sync::fsync(fd);
    75 fdatasync = sync::fdatasync(fd);
    76 truncate = attributes::truncate(path, length);
    77 ftruncate = attributes::ftruncate(fd, length);
    78 getdents = directories::getdents(fd, buffer, size);
    79 getcwd = directories::getcwd(buffer, size);
    80 chdir = directories::chdir(path);
    81 fchdir = directories::fchdir(fd);
    82 rename = names::rename(old, new);
    83 mkdir = names::mkdir(path, mode);
    84 rmdir = names::rmdir(path);
    85 creat = open::creat(path, mode);
    86 link = names::link(old, new);
    87 unlink = names::unlink(path);
    88 symlink = names::symlink(target, path);
    89 readlink = names::readlink(path, buffer, size);
    90 chmod = attributes::chmod(path, mode);
    91 fchmod = attributes::fchmod(fd, mode);
    92 chown = attributes::chown(path, uid, gid);
    93 fchown = attributes::fchown(fd, uid, gid);
    94 lchown = attributes::lchown(path, uid, gid);
    95 umask = directories::umask(mask);
    96 gettimeofday = time::gettimeofday(result, zone);
    97 getrlimit = process::getrlimit(resource, limit);
    98 getrusage = process::getrusage(who, result);
    99 sysinfo = system::sysinfo(result);
    100 times = process::times(result);
    102 getuid = ids::getuid();
    104 getgid = ids::getgid();
    105 setuid = ids::setuid(uid);
    106 setgid = ids::setgid(gid);
    107 geteuid = ids::geteuid();
    108 getegid = ids::getegid();
    109 setpgid = process::setpgid(pid, group);
    110 getppid = process::getppid();
    111 getpgrp = process::getpgrp();
    112 setsid = process::setsid();
    113 setreuid = ids::setreuid(real, effective);
    114 setregid = ids::setregid(real, effective);
    115 getgroups = ids::getgroups(size, list);
    116 setgroups = ids::setgroups(size, list);
    117 setresuid = ids::setresuid(real, effective, saved);
    118 getresuid = ids::getresuid(real, effective, saved);
    119 setresgid = ids::setresgid(real, effective, saved);
    120 getresgid = ids::getresgid(real, effective, saved);
    121 getpgid = process::getpgid(pid);
    122 setfsuid = ids::setfsuid(uid);
    123 setfsgid = ids::setfsgid(gid);
    124 getsid = process::getsid(pid);
    125 capget = ids::capget(header, data);
    126 capset = ids::capset(header, data);
    127 rt_sigpending = signals::rt_sigpending(set, size);
    128 rt_sigtimedwait = signals::rt_sigtimedwait(set, info, timeout, size);
    130 rt_sigsuspend = signals::rt_sigsuspend(set, size);
    131 sigaltstack = signals::sigaltstack(new, old);
    132 utime = attributes::utime(path, times);
    133 mknod = names::mknod(path, mode, device);
    135 personality = system::personality(persona);
    137 statfs = mounts::statfs(path, result);
    138 fstatfs = mounts::fstatfs(fd, result);
    140 getpriority = process::getpriority(which, who);
    141 setpriority = process::setpriority(which, who, priority);
    149 mlock = memory::mlock(address, length);
    150 munlock = memory::mlock(address, length);
    151 mlockall = memory::mlockall(flags);
    152 munlockall = memory::munlockall();
    157 prctl = system::prctl(option, argument);
    158 arch_prctl = system::arch_prctl(option, address);
    160 setrlimit = process::setrlimit(resource, limit);
    161 chroot = directories::chroot(path);
    162 sync = sync::sync();
    164 settimeofday = time::settimeofday(value, zone);
    165 mount = mounts::mount(source, target, fs_type, flags, data);
    166 umount2 = mounts::umount2(target, flags);
    169 reboot = system::reboot(magic1, magic2, command);
    170 sethostname = system::sethostname(name, length);
    171 setdomainname = system::setdomainname(name, length);
    186 gettid = process::getpid();
    187 readahead = descriptors::readahead(fd, offset, count);
    188 setxattr = xattr::setxattr(path, name, value, size, how);
    189 lsetxattr = xattr::lsetxattr(path, name, value, size, how);
    190 fsetxattr = xattr::fsetxattr(fd, name, value, size, how);
    191 getxattr = xattr::getxattr(path, name, value, size);
    192 lgetxattr = xattr::lgetxattr(path, name, value, size);
    193 fgetxattr = xattr::fgetxattr(fd, name, value, size);
    194 listxattr = xattr::listxattr(path, list, size);
    195 llistxattr = xattr::llistxattr(path, list, size);
    196 flistxattr = xattr::flistxattr(fd, list, size);
    197 removexattr = xattr::removexattr(path, name);
    198 lremovexattr = xattr::lremovexattr(path, name);
    199 fremovexattr = xattr::fremovexattr(fd, name);
    200 tkill = signals::tkill(pid, signal);
    201 time = time::time_of_day(result);
    202 futex = futex::futex(word, operation, value, timeout, second, bits);
    203 sched_setaffinity = system::sched_setaffinity(pid, size, mask);
    204 sched_getaffinity = system::sched_getaffinity(pid, size, mask);
    217 getdents64 = directories::getdents64(fd, buffer, size);
    218 set_tid_address = process::set_tid_address(address);
    221 fadvise64 = descriptors::fadvise64(fd, offset, length, advice);
    227 clock_settime = time::clock_settime(clock, value);
    228 clock_gettime = time::clock_gettime(clock, result);
    229 clock_getres = time::clock_getres(clock, result);
    230 clock_nanosleep = time::clock_nanosleep(clock, flags, span, rest);
    231 exit_group = process::exit(code);
    234 tgkill = signals::tgkill(group, pid, signal);
    235 utimes = attributes::utimes(path, times);
    257 openat = open::openat(at, path, flags, mode);
    258 mkdirat = names::mkdirat(at, path, mode);
    259 mknodat = names::mknodat(at, path, mode, device);
    260 fchownat = attributes::fchownat(at, path, uid, gid, flags);
    261 futimesat = attributes::futimesat(at, path, times);
    262 newfstatat = attributes::newfstatat(at, path, result, flags);
    263 unlinkat = names::unlinkat(at, path, flags);
    264 renameat = names::renameat(old_at, old, new_at, new);
    265 linkat = names::linkat(old_at, old, new_at, new, flags);
    266 symlinkat = names::symlinkat(target, at, path);
    267 readlinkat = names::readlinkat(at, path, buffer, size);
    268 fchmodat = attributes::fchmodat(at, path, mode);
    269 faccessat = attributes::faccessat(at, path, mode);
    270 pselect6 = poll::pselect6(count, reading, writing, exceptional, timeout, blocked);
    271 ppoll = poll::ppoll(list, count, timeout, blocked, size);
    273 set_robust_list = system::set_robust_list(head, size);
    274 get_robust_list = system::get_robust_list(pid, head, size);
    277 sync_file_range = sync::sync_file_range(fd, offset, count, flags);
    280 utimensat = attributes::utimensat(at, path, times, flags);
    285 fallocate = attributes::fallocate(fd, mode, offset, length);
    292 dup3 = descriptors::dup3(fd, new, flags);
    293 pipe2 = open::pipe2(ends, flags);
    295 preadv = io::preadv(fd, vector, count, offset);
    296 pwritev = io::pwritev(fd, vector, count, offset);
    302 prlimit64 = process::prlimit64(pid, resource, new, old);
    306 syncfs = sync::syncfs(fd);
    309 getcpu = system::getcpu(cpu, node);
    316 renameat2 = names::renameat2(old_at, old, new_at, new, flags);
    318 getrandom = system::getrandom(buffer, length, flags);
    322 execveat = process::execveat(at, path, arguments, environment, flags);
    326 copy_file_range = io::copy_file_range(input, input_offset, out, out_offset, count, flags);
    327 preadv2 = io::preadv2(fd, vector, count, offset, high, flags);
    328 pwritev2 = io::pwritev2(fd, vector, count, offset, high, flags);
    332 statx = attributes::statx(at, path, flags, mask, result);
    334 rseq = system::absent();
    435 clone3 = system::absent();
    436 close_range = descriptors::close_range(first, last, flags);
    437 openat2 = open::openat2(at, path, how, size);
    439 faccessat2 = attributes::faccessat2(at, path, mode, flags);
    452 fchmodat2 = attributes::fchmodat2(at, path, mode, flags);
}
