//! `strata-mount`: the merged tree of an appliance on the host, over FUSE, with exactly the crates that the kernel uses.
//!
//! `arguments` reads the command line, `layers` opens firmware and changes (`hostdir` and `image` are the host's part of it), `serve`
//! answers the kernel's requests, `session` runs it all until it is unmounted, `background` sends it there.

#![forbid(unsafe_code)]

mod arguments;
mod background;
mod hostdir;
mod image;
mod layers;
mod messages;
mod serve;
mod session;

use std::process::ExitCode;

use arguments::{Command, HELP, Stay};

fn main() -> ExitCode {
    let command = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(why) => {
            eprintln!("strata-mount: {why}\nTry strata-mount --help.");
            return ExitCode::from(2);
        }
    };
    messages::begin();
    let result = match command {
        Command::Help => {
            print!("{HELP}");
            Ok(())
        }
        Command::Unmount(mountpoint) => session::unmount(&mountpoint),
        Command::Mount(mount) => match mount.stay {
            Stay::Foreground => session::run(&mount),
            Stay::Background => background::start(),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("strata-mount: {why}");
            ExitCode::FAILURE
        }
    }
}
