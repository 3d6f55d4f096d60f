//! Mount options in the syntax of Linux: text in, checked types out, no side effects.
//!
//! [`MountOptions::parse`] reads `lowerdir=/a:/b,upperdir=/u,workdir=/w,…` and keeps the paths apart from the [`Options`] that
//! change behaviour. Every refusal is a [`MountError`] that names the option.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use vfs::Errno;

/// The most lower layers of an overlay: Linux's `OVL_MAX_STACK`.
pub const LOWERS_MAX: usize = 500;

/// What the overlay does with redirects of directories (`redirect_dir=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedirectMode {
    /// Directories with lower parts are renamed by a redirect, and redirects are followed (`on`).
    #[default]
    Create,
    /// Redirects are followed, but not made: such a rename answers `EXDEV` (`follow`, `off`).
    Follow,
    /// Redirects are neither made nor followed: a directory that has one answers `EPERM` (`nofollow`).
    Refuse,
}

/// What the overlay does with files of which only the attributes were copied up, their data being in a layer below (`metacopy=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetacopyMode {
    /// A change of attributes copies up no data, and the data of such files is found (`on`). It needs redirects.
    Create,
    /// The data of such files is found, but all copies are whole: the default, for an upper that stays whole keeps what was
    /// changed whatever the layers below become.
    #[default]
    Follow,
    /// Such a file answers `EPERM` (`off`).
    Refuse,
}

/// Whether the names of a lower inode stay one file when it is copied up (`index=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexMode {
    /// The name that is changed parts from the others (`off`).
    #[default]
    Off,
    /// They stay together: its copy is found through `index/` beside the work directory. An upper that was used so belongs to its
    /// lower layer: with another one it is refused (`on`).
    On,
}

/// Whose the UUID of the overlay is, which `statfs(2)` tells as `f_fsid` (`uuid=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UuidMode {
    /// Its own if the upper has one or is new, else as [`Null`](Self::Null) (`auto`).
    #[default]
    Auto,
    /// Its own, kept in the upper and made if it is missing (`on`).
    On,
    /// It has none: `f_fsid` is that of the upper's filesystem (`null`).
    Null,
    /// As [`Null`](Self::Null), and where all layers are on one filesystem its UUID is not looked at to find what was copied up:
    /// for copies of whole disks (`off`).
    Off,
}

/// Under which prefix the overlay keeps its extended attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XattrClass {
    /// `trusted.overlay.`
    #[default]
    Trusted,
    /// `user.overlay.` (`userxattr`)
    User,
}

/// What is made durable, and when (`fsync=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
    /// The data of a file is made durable before its copy is published (`auto`).
    #[default]
    Auto,
    /// So is every other copy, whatever its kind (`strict`).
    Strict,
    /// Nothing is, not even on `fsync(2)`: after a crash the upper layer is worthless, and its work directory says so
    /// (`volatile`).
    Volatile,
}

/// How the overlay behaves, whatever its layers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Redirects of directories.
    pub redirect: RedirectMode,
    /// Copies of attributes without data.
    pub metacopy: MetacopyMode,
    /// Hard links over copy-up.
    pub index: IndexMode,
    /// How many of the lower layers, counted from the lowest, are asked for the data of files alone (`::`, `datadir+=`): their names are
    /// not seen, and a `redirect` of a file finds what is in them.
    pub data_only: usize,
    /// Its UUID.
    pub uuid: UuidMode,
    /// What is made its UUID where a new one is needed: random bytes. Without it none is made.
    pub random: Option<[u8; 16]>,
    /// The prefix of its own extended attributes.
    pub xattrs: XattrClass,
    /// Durability.
    pub sync: SyncMode,
}

/// All that `mount(2)` says about an overlay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// The paths of the lower layers, topmost first (`lowerdir=`, `lowerdir+=`), the data-only ones last (`datadir+=`).
    pub lowers: Vec<Box<[u8]>>,
    /// The path of the upper layer (`upperdir=`); without one the overlay is read-only.
    pub upper: Option<Box<[u8]>>,
    /// The path of the work directory (`workdir=`).
    pub work: Option<Box<[u8]>>,
    /// The rest.
    pub options: Options,
}

/// Why an overlay cannot be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountError {
    errno: Errno,
    option: Box<[u8]>,
    reason: &'static str,
}

impl MountError {
    /// A refusal because of `option`.
    #[must_use]
    pub fn new(errno: Errno, option: &[u8], reason: &'static str) -> Self {
        Self { errno, option: option.into(), reason }
    }

    /// What `mount(2)` returns.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        self.errno
    }

    /// The option that is wrong, as it was given.
    #[must_use]
    pub const fn option(&self) -> &[u8] {
        &self.option
    }

    /// What is wrong with it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "overlay: {}: {} ({:?})", self.option.escape_ascii(), self.reason, self.errno)
    }
}

impl core::error::Error for MountError {}

/// What was said, beside what it means.
#[derive(Default)]
struct Said<'a> {
    /// Of `redirect_dir`: `userxattr` forbids to say anything but off.
    redirect: Option<&'a [u8]>,
    /// Whether `lowerdir` told all lower layers.
    lowerdir: bool,
}

impl MountOptions {
    /// Reads options separated by commas. `\` takes the next byte as it is: `\,` in any value, `\:` in `lowerdir`.
    /// An option given twice: the last counts, but `lowerdir+` adds.
    ///
    /// # Errors
    /// `EINVAL` for an option that is unknown, malformed, in conflict with another, or not supported yet.
    pub fn parse(text: &[u8]) -> Result<Self, MountError> {
        let mut parsed = Self::default();
        let mut said = Said::default();
        for option in split(text, b',') {
            if !option.is_empty() {
                parsed.option(option, &mut said)?;
            }
        }
        parsed.verify(&said)?;
        Ok(parsed)
    }

    fn option<'a>(&mut self, option: &'a [u8], said: &mut Said<'a>) -> Result<(), MountError> {
        let refuse = |reason| Err(MountError::new(Errno::EINVAL, option, reason));
        let (key, value) = match option.iter().position(|&byte| byte == b'=') {
            Some(at) => (&option[..at], Some(&option[at + 1..])),
            None => (option, None),
        };
        let path = || match value {
            Some(value) if !value.is_empty() => Ok(unescape(value)),
            _ => Err(MountError::new(Errno::EINVAL, option, "a path is missing")),
        };
        match (key, value) {
            (b"lowerdir", Some(value)) => {
                (self.lowers, self.options.data_only) = lower_paths(option, value)?;
                said.lowerdir = true;
            }
            (b"lowerdir+" | b"datadir+", _) if said.lowerdir => return refuse("cannot follow lowerdir"),
            (b"lowerdir+", _) if self.options.data_only > 0 => {
                return refuse("a lower layer cannot follow a data-only one");
            }
            (b"lowerdir+", _) => self.lowers.push(path()?),
            (b"datadir+", _) if self.lowers.is_empty() => return refuse("needs a lower layer above it"),
            (b"datadir+", _) => {
                self.lowers.push(path()?);
                self.options.data_only += 1;
            }
            (b"upperdir", _) => self.upper = Some(path()?),
            (b"workdir", _) => self.work = Some(path()?),
            (b"redirect_dir", Some(value)) => {
                self.options.redirect = match value {
                    b"on" => RedirectMode::Create,
                    b"off" | b"follow" => RedirectMode::Follow,
                    b"nofollow" => RedirectMode::Refuse,
                    _ => return refuse("must be on, off, follow or nofollow"),
                };
                said.redirect = Some(value);
            }
            (b"fsync", Some(value)) => {
                self.options.sync = match value {
                    b"auto" => SyncMode::Auto,
                    b"strict" => SyncMode::Strict,
                    b"volatile" => SyncMode::Volatile,
                    _ => return refuse("must be auto, strict or volatile"),
                };
            }
            (b"volatile", None) => self.options.sync = SyncMode::Volatile,
            (b"userxattr", None) => self.options.xattrs = XattrClass::User,
            // Inode numbers are unique and constant whatever is said: docs/overlay.md.
            (b"xino", Some(b"on" | b"off" | b"auto")) => {}
            (b"xino", _) => return refuse("must be on, off or auto"),
            (b"uuid", value) => {
                self.options.uuid = match value {
                    Some(b"auto") => UuidMode::Auto,
                    Some(b"on") => UuidMode::On,
                    Some(b"null") => UuidMode::Null,
                    Some(b"off") => UuidMode::Off,
                    _ => return refuse("must be on, off, auto or null"),
                };
            }
            (b"metacopy", Some(b"on")) => self.options.metacopy = MetacopyMode::Create,
            (b"metacopy", Some(b"off")) => self.options.metacopy = MetacopyMode::Refuse,
            (b"index", Some(b"on")) => self.options.index = IndexMode::On,
            (b"index", Some(b"off")) => self.options.index = IndexMode::Off,
            (b"nfs_export" | b"verity", Some(b"off")) => {}
            (b"nfs_export" | b"verity", Some(b"on" | b"require")) => {
                return refuse("not supported yet, only off is");
            }
            (b"index" | b"metacopy" | b"nfs_export" | b"verity", _) => return refuse("must be on or off"),
            // The caller is always checked against the overlay's own attributes: there is nothing to switch.
            (b"default_permissions", None) => {}
            (b"lowerdir" | b"redirect_dir" | b"fsync", None) => return refuse("a value is missing"),
            (b"volatile" | b"userxattr" | b"default_permissions", Some(_)) => return refuse("takes no value"),
            _ => return refuse("unknown option"),
        }
        Ok(())
    }

    fn verify(&mut self, said: &Said<'_>) -> Result<(), MountError> {
        if self.lowers.is_empty() {
            return Err(MountError::new(Errno::EINVAL, b"lowerdir", "missing"));
        }
        if self.lowers.len() > LOWERS_MAX {
            return Err(MountError::new(Errno::EINVAL, b"lowerdir", "too many lower layers, the limit is 500"));
        }
        if self.upper.is_some() && self.work.is_none() {
            return Err(MountError::new(Errno::EINVAL, b"workdir", "missing, upperdir needs one"));
        }
        if self.upper.is_none() {
            // As on Linux: said, and without effect.
            if self.options.sync == SyncMode::Volatile {
                log::info!("overlay: volatile: without upperdir it has no meaning");
                self.options.sync = SyncMode::Auto;
            }
            if self.work.take().is_some() {
                log::info!("overlay: workdir: without upperdir it has no use");
            }
        }
        let refuse = |option: &[u8], reason| Err(MountError::new(Errno::EINVAL, option, reason));
        if self.options.metacopy == MetacopyMode::Create {
            if self.options.xattrs == XattrClass::User {
                return refuse(b"metacopy=on", "conflicts with userxattr");
            }
            if self.options.redirect == RedirectMode::Refuse
                || (self.upper.is_some() && self.options.redirect == RedirectMode::Follow)
            {
                return refuse(b"metacopy=on", "needs redirect_dir=on");
            }
        }
        if self.options.redirect == RedirectMode::Refuse || self.options.xattrs == XattrClass::User {
            self.options.metacopy = MetacopyMode::Refuse;
        }
        if self.options.xattrs == XattrClass::User {
            match said.redirect {
                None | Some(b"off" | b"nofollow") => self.options.redirect = RedirectMode::Refuse,
                Some(_) => {
                    return Err(MountError::new(Errno::EINVAL, b"redirect_dir", "conflicts with userxattr"));
                }
            }
        }
        Ok(())
    }
}

type Paths = Vec<Box<[u8]>>;

/// The paths of `lowerdir`, separated by colons, and how many of them follow double ones.
fn lower_paths(option: &[u8], value: &[u8]) -> Result<(Paths, usize), MountError> {
    let refuse = |reason| Err(MountError::new(Errno::EINVAL, option, reason));
    if value.is_empty() {
        return refuse("a path is missing");
    }
    let mut paths = Vec::new();
    let mut data_only = 0;
    let mut parts = split(value, b':').peekable();
    while let Some(part) = parts.next() {
        let part = match part {
            // What follows a double colon; the layers above are of the other kind.
            [] if !paths.is_empty() && parts.peek().is_some_and(|next| !next.is_empty()) => {
                data_only += 1;
                parts.next().unwrap_or_default()
            }
            [] => return refuse("an empty path"),
            _ if data_only > 0 => return refuse("a lower layer cannot follow a data-only one"),
            part => part,
        };
        if paths.len() == LOWERS_MAX {
            return refuse("too many lower layers, the limit is 500");
        }
        paths.push(unescape(part));
    }
    Ok((paths, data_only))
}

/// The parts of `text` between `separator`s that no backslash precedes, still escaped.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut escaped = false;
    text.split(move |&byte| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = byte == b'\\';
        byte == separator
    })
}

/// `text` without the backslashes that take the next byte as it is.
fn unescape(text: &[u8]) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        match (byte, rest.as_slice().first()) {
            (b'\\', Some(&next)) => {
                bytes.push(next);
                rest.next();
            }
            _ => bytes.push(byte),
        }
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn refused(text: &str) -> std::string::String {
        let error = MountOptions::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.errno(), Errno::EINVAL);
        error.to_string()
    }

    #[test]
    fn the_usual_options_are_read() {
        let parsed = MountOptions::parse(b"lowerdir=/a:/b,upperdir=/u,workdir=/w").unwrap();
        assert_eq!(parsed.lowers, [Box::from(&b"/a"[..]), Box::from(&b"/b"[..])]);
        assert_eq!(parsed.upper.as_deref(), Some(&b"/u"[..]));
        assert_eq!(parsed.work.as_deref(), Some(&b"/w"[..]));
        assert_eq!(parsed.options, Options::default());
        assert_eq!(parsed.options.redirect, RedirectMode::Create);
    }

    #[test]
    fn a_backslash_takes_the_next_byte_as_it_is() {
        let parsed = MountOptions::parse(br"lowerdir=/a\:b:/c\,d:/e\\,upperdir=/u\,v\:w,workdir=/w\").unwrap();
        let lowers: Vec<&[u8]> = parsed.lowers.iter().map(|path| &**path).collect();
        assert_eq!(lowers, [&b"/a:b"[..], b"/c,d", br"/e\"]);
        assert_eq!(parsed.upper.as_deref(), Some(&b"/u,v:w"[..]));
        assert_eq!(parsed.work.as_deref(), Some(&br"/w\"[..]));
    }

    #[test]
    fn lower_layers_can_be_added_one_by_one() {
        let parsed = MountOptions::parse(b"lowerdir+=/a:b,lowerdir+=/c").unwrap();
        assert_eq!(parsed.lowers, [Box::from(&b"/a:b"[..]), Box::from(&b"/c"[..])]);
        let parsed = MountOptions::parse(b"lowerdir+=/a,datadir+=/b,lowerdir=/c").unwrap();
        assert_eq!((parsed.lowers, parsed.options.data_only), (std::vec![Box::from(&b"/c"[..])], 0));
    }

    #[test]
    fn behaviour_is_read() {
        let options = |text: &str| {
            let text = std::format!("lowerdir=/l,upperdir=/u,workdir=/w,{text}");
            MountOptions::parse(text.as_bytes()).unwrap().options
        };
        assert_eq!(options("redirect_dir=off").redirect, RedirectMode::Follow);
        assert_eq!(options("redirect_dir=nofollow").redirect, RedirectMode::Refuse);
        assert_eq!(options("redirect_dir=off,redirect_dir=on").redirect, RedirectMode::Create);
        assert_eq!(options("volatile").sync, SyncMode::Volatile);
        let uuids = [("auto", UuidMode::Auto), ("on", UuidMode::On), ("null", UuidMode::Null), ("off", UuidMode::Off)];
        for (text, uuid) in uuids {
            assert_eq!(options(&std::format!("uuid={text}")).uuid, uuid);
        }
        assert_eq!(options("fsync=strict,xino=off,index=off,metacopy=off,nfs_export=off").sync, SyncMode::Strict);
        let user = options("userxattr");
        assert_eq!((user.xattrs, user.redirect), (XattrClass::User, RedirectMode::Refuse));
    }

    #[test]
    fn what_only_an_upper_layer_needs_is_ignored_without_one() {
        let parsed = MountOptions::parse(b"lowerdir=/a:/b,volatile,workdir=/w").unwrap();
        assert_eq!((parsed.options.sync, parsed.work), (SyncMode::Auto, None));
    }

    #[test]
    fn data_only_layers_come_last() {
        for text in ["lowerdir=/a:/b::/c::/d", "lowerdir+=/a,lowerdir+=/b,datadir+=/c,datadir+=/d"] {
            let parsed = MountOptions::parse(text.as_bytes()).unwrap();
            let lowers: Vec<&[u8]> = parsed.lowers.iter().map(|path| &**path).collect();
            assert_eq!(lowers, [&b"/a"[..], b"/b", b"/c", b"/d"]);
            assert_eq!((parsed.options.data_only, parsed.options.metacopy), (2, MetacopyMode::Follow));
        }
        for said in ["metacopy=off", "redirect_dir=nofollow", "userxattr"] {
            let text = std::format!("lowerdir=/a::/b,{said}");
            assert_eq!(MountOptions::parse(text.as_bytes()).unwrap().options.data_only, 1, "{said}");
        }
    }

    #[test]
    fn a_refusal_names_the_option() {
        for (text, message) in [
            ("", "overlay: lowerdir: missing (EINVAL)"),
            ("upperdir=/u,workdir=/w", "overlay: lowerdir: missing (EINVAL)"),
            ("lowerdir=/l,upperdir=/u", "overlay: workdir: missing, upperdir needs one (EINVAL)"),
            ("lowerdir=", "overlay: lowerdir=: a path is missing (EINVAL)"),
            ("lowerdir", "overlay: lowerdir: a value is missing (EINVAL)"),
            ("lowerdir=/l,upperdir", "overlay: upperdir: a path is missing (EINVAL)"),
            ("lowerdir=::/b", "overlay: lowerdir=::/b: an empty path (EINVAL)"),
            ("lowerdir=/a:::/b", "overlay: lowerdir=/a:::/b: an empty path (EINVAL)"),
            ("lowerdir=/a::", "overlay: lowerdir=/a::: an empty path (EINVAL)"),
            ("lowerdir=/a::/b:/c", "overlay: lowerdir=/a::/b:/c: a lower layer cannot follow a data-only one (EINVAL)"),
            (
                "lowerdir+=/a,datadir+=/b,lowerdir+=/c",
                "overlay: lowerdir+=/c: a lower layer cannot follow a data-only one (EINVAL)",
            ),
            ("datadir+=/b", "overlay: datadir+=/b: needs a lower layer above it (EINVAL)"),
            ("lowerdir=/a,lowerdir+=/b", "overlay: lowerdir+=/b: cannot follow lowerdir (EINVAL)"),
            ("lowerdir=/a,datadir+=/b", "overlay: datadir+=/b: cannot follow lowerdir (EINVAL)"),
            ("lowerdir=/a,metacopy=on,userxattr", "overlay: metacopy=on: conflicts with userxattr (EINVAL)"),
            (
                "lowerdir=/a,upperdir=/u,workdir=/w,metacopy=on,redirect_dir=off",
                "overlay: metacopy=on: needs redirect_dir=on (EINVAL)",
            ),
            ("lowerdir=/a,metacopy=maybe", "overlay: metacopy=maybe: must be on or off (EINVAL)"),
            ("lowerdir=:/b", "overlay: lowerdir=:/b: an empty path (EINVAL)"),
            ("lowerdir=/b:", "overlay: lowerdir=/b:: an empty path (EINVAL)"),
            ("lowerdir=/l,nfs_export=on", "overlay: nfs_export=on: not supported yet, only off is (EINVAL)"),
            ("lowerdir=/l,uuid=mine", "overlay: uuid=mine: must be on, off, auto or null (EINVAL)"),
            ("lowerdir=/l,index=2", "overlay: index=2: must be on or off (EINVAL)"),
            (
                "lowerdir=/l,redirect_dir=maybe",
                "overlay: redirect_dir=maybe: must be on, off, follow or nofollow (EINVAL)",
            ),
            ("lowerdir=/l,fsync=never", "overlay: fsync=never: must be auto, strict or volatile (EINVAL)"),
            ("lowerdir=/l,volatile=on", "overlay: volatile=on: takes no value (EINVAL)"),
            ("lowerdir=/l,userxattr,redirect_dir=on", "overlay: redirect_dir: conflicts with userxattr (EINVAL)"),
            ("lowerdir=/l,colour=blue", "overlay: colour=blue: unknown option (EINVAL)"),
            ("lowerdir=/l,\u{1}", r"overlay: \x01: unknown option (EINVAL)"),
        ] {
            assert_eq!(refused(text), message);
        }
    }

    #[test]
    fn five_hundred_lower_layers_are_the_limit() {
        let lowers = |count: usize| std::format!("lowerdir={}", std::vec!["/l"; count].join(":"));
        assert_eq!(MountOptions::parse(lowers(500).as_bytes()).unwrap().lowers.len(), 500);
        assert!(refused(&lowers(501)).contains("limit is 500"));
    }

    #[test]
    fn no_text_makes_the_parser_panic() {
        let alphabet = br"lowerdir=:,\+upo/";
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut text = Vec::new();
            for _ in 0..(state >> 33) % 24 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push(alphabet[(state >> 33) as usize % alphabet.len()]);
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let _ = MountOptions::parse(&text);
        }
    }
}
