//! The command line: [`Command`], parsed from the arguments, with errors that name what is wrong.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// What `--help` says.
pub(crate) const HELP: &str = "\
Mounts the merged tree of a Strata appliance on this machine, with the code that the appliance runs.

usage: strata-mount --firmware FILE.tar|DIR [--firmware …] (--disk IMAGE | --ram-upper | --read-only)
                    [-o OVERLAY-OPTIONS] [--oci] [--foreground] MOUNTPOINT
       strata-mount --unmount MOUNTPOINT

  --firmware FILE|DIR  a lower layer: an archive, or several one after the other in one file, or a directory.
                       Given again, further layers below
  --disk IMAGE         changes go to this ext4 image, a blank one is formatted. It is locked while mounted.
                       With --read-only its changes are shown, and nothing is written to it
  --ram-upper          changes are kept in memory and lost at the end
  --read-only          nothing can be changed
  -o OPTIONS           of the overlay, separated by commas: redirect_dir=, fsync=, userxattr, … (docs/overlay.md)
  --oci                the archives are OCI image layers: .wh.NAME is a whiteout
  --foreground         stay, and report on standard error; else the program goes on in the background
  --unmount            unmounts, and returns when everything is on the disk
  --help               this text

umount(8) and fusermount(1) unmount as well; they return before the last changes are written, which another mount
of the image waits for. Interrupting the program (SIGINT, SIGTERM) unmounts too.
";

/// Where changes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upper {
    /// To an image.
    Disk(PathBuf),
    /// To memory.
    Memory,
    /// Nowhere, over the changes of this image, if any.
    ReadOnly(Option<PathBuf>),
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Lower layers, topmost first.
    pub(crate) firmware: Vec<PathBuf>,
    pub(crate) upper: Upper,
    /// Options of the overlay, as they were given.
    pub(crate) options: Vec<u8>,
    pub(crate) archives: tarfs::Layer,
    pub(crate) stay: Stay,
    pub(crate) mountpoint: PathBuf,
}

/// Whether the program stays in the foreground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    Foreground,
    Background,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Mount(Mount),
    Unmount(PathBuf),
}

#[derive(Default)]
struct Seen {
    firmware: Vec<PathBuf>,
    disk: Option<PathBuf>,
    ram: bool,
    read_only: bool,
    options: Vec<u8>,
    oci: bool,
    foreground: bool,
    unmount: bool,
    mountpoint: Option<PathBuf>,
}

/// Reads the arguments, the program's name left out.
///
/// # Errors
/// What is wrong with which of them.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut seen = Seen::default();
    let mut rest = arguments.into_iter();
    let mut only_names = false;
    while let Some(argument) = rest.next() {
        let bytes = argument.as_bytes();
        if only_names || !bytes.starts_with(b"-") {
            if let Some(other) = &seen.mountpoint {
                return Err(format!("two mount points: {} and {}", other.display(), argument.display()));
            }
            seen.mountpoint = Some(argument.into());
            continue;
        }
        let (name, given) = match bytes.iter().position(|&byte| byte == b'=') {
            Some(at) if bytes.starts_with(b"--") => {
                (OsStr::from_bytes(&bytes[..at]), Some(OsStr::from_bytes(&bytes[at + 1..]).to_os_string()))
            }
            _ => (argument.as_os_str(), None),
        };
        let has_value = given.is_some();
        let mut value = || {
            given
                .clone()
                .or_else(|| rest.next())
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("{} needs a value", name.display()))
        };
        let name_bytes = name.as_bytes();
        match name_bytes {
            b"--firmware" => seen.firmware.push(value()?.into()),
            b"--disk" => match (&seen.disk, value()?) {
                (None, path) => seen.disk = Some(path.into()),
                (Some(_), _) => return Err("--disk can be given once".into()),
            },
            b"-o" | b"--options" => {
                if !seen.options.is_empty() {
                    seen.options.push(b',');
                }
                seen.options.extend_from_slice(value()?.as_bytes());
            }
            _ if has_value => return Err(format!("unknown option, or one without a value: {}", argument.display())),
            b"--ram-upper" => seen.ram = true,
            b"--read-only" => seen.read_only = true,
            b"--oci" => seen.oci = true,
            b"--foreground" | b"-f" => seen.foreground = true,
            b"--unmount" | b"-u" => seen.unmount = true,
            b"--help" | b"-h" => return Ok(Command::Help),
            b"--" => only_names = true,
            _ => return Err(format!("unknown option: {}", argument.display())),
        }
    }
    seen.command()
}

impl Seen {
    fn command(self) -> Result<Command, String> {
        let mountpoint = self.mountpoint.ok_or("the mount point is missing")?;
        if self.unmount {
            return Ok(Command::Unmount(mountpoint));
        }
        if self.firmware.is_empty() {
            return Err("--firmware is missing: what is to be mounted?".into());
        }
        let upper = match (self.disk, self.ram, self.read_only) {
            (Some(image), false, false) => Upper::Disk(image),
            (None, true, false) => Upper::Memory,
            (image, false, true) => Upper::ReadOnly(image),
            (None, false, false) => return Err("where do changes go: --disk IMAGE, --ram-upper or --read-only?".into()),
            (Some(_), true, _) => return Err("--disk and --ram-upper exclude each other".into()),
            (None, true, true) => return Err("--ram-upper and --read-only exclude each other".into()),
        };
        Ok(Command::Mount(Mount {
            firmware: self.firmware,
            upper,
            options: self.options,
            archives: if self.oci { tarfs::Layer::Oci } else { tarfs::Layer::Plain },
            stay: if self.foreground { Stay::Foreground } else { Stay::Background },
            mountpoint,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_whole_command_line_is_understood() {
        let Ok(Command::Mount(mount)) =
            parsed("--firmware a.tar --firmware=b --disk d.img -o fsync=strict -o redirect_dir=off /mnt --foreground")
        else {
            panic!("it is a mount")
        };
        assert_eq!(mount.firmware, [PathBuf::from("a.tar"), PathBuf::from("b")]);
        assert_eq!(mount.upper, Upper::Disk("d.img".into()));
        assert_eq!(mount.options, b"fsync=strict,redirect_dir=off");
        assert_eq!(mount.stay, Stay::Foreground);
        assert_eq!(mount.mountpoint, PathBuf::from("/mnt"));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        for (line, word) in [
            ("--firmware a", "mount point"),
            ("/mnt", "--firmware"),
            ("--firmware a /mnt", "--disk"),
            ("--firmware a --disk d --ram-upper /mnt", "exclude"),
            ("--firmware a --ram-upper --read-only /mnt", "exclude"),
            ("--firmware a --frob /mnt", "--frob"),
            ("--firmware a --ram-upper=yes /mnt", "--ram-upper=yes"),
            ("--firmware a --ram-upper /mnt /other", "/other"),
            ("--ram-upper /mnt --firmware", "--firmware needs a value"),
            ("--firmware a --disk d --disk e /mnt", "once"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }

    #[test]
    fn the_changes_of_a_disk_can_be_looked_at() {
        let Ok(Command::Mount(mount)) = parsed("--firmware a --disk d --read-only /mnt") else {
            panic!("it is a mount")
        };
        assert_eq!(mount.upper, Upper::ReadOnly(Some("d".into())));
    }

    #[test]
    fn unmounting_and_help_need_no_firmware() {
        assert_eq!(parsed("-u /mnt"), Ok(Command::Unmount("/mnt".into())));
        assert_eq!(parsed("--help"), Ok(Command::Help));
    }
}
