//! Who asks. The kernel checks permissions before anything arrives here; what is left to judge are the few things that it leaves to
//! the filesystem, and they need more than the protocol tells of the caller.

use std::fs;

use fuser::Request;

/// `CAP_FSETID`: keep set-id bits at changes.
pub(crate) const CAP_FSETID: u32 = 4;
/// `CAP_SYS_ADMIN`: see `trusted.*`.
pub(crate) const CAP_SYS_ADMIN: u32 = 21;

/// Whether the caller has a capability in effect. For a process that cannot be looked at, root has all.
pub(crate) fn is_capable(request: &Request, capability: u32) -> bool {
    let effective = status(request, "CapEff:").and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    effective.map_or(request.uid() == 0, |bits| bits & (1 << capability) != 0)
}

/// Whether the caller is in a group.
pub(crate) fn is_in_group(request: &Request, gid: u32) -> bool {
    request.gid() == gid
        || status(request, "Groups:")
            .is_some_and(|groups| groups.split_ascii_whitespace().any(|group| group.parse() == Ok(gid)))
}

/// A line of `/proc/PID/status`.
fn status(request: &Request, key: &str) -> Option<String> {
    // 0: from another PID namespace, or by the kernel itself.
    let pid = Some(request.pid()).filter(|&pid| pid != 0)?;
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned)
}
