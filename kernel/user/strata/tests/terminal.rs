//! The line editor, on a pseudo-terminal.

mod common;

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::Place;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::{read, write};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";
const RIGHT: &str = "\x1b[C";
const LEFT: &str = "\x1b[D";
const HOME: &str = "\x1b[H";
const END: &str = "\x1b[F";
const DELETE: &str = "\x1b[3~";

/// A shell on a terminal, and what it has shown so far.
struct Session {
    place: Place,
    child: Child,
    terminal: OwnedFd,
    shown: String,
}

impl Session {
    fn new() -> Self {
        Self::with_width(80)
    }

    fn with_width(columns: u16) -> Self {
        let place = Place::new();
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("open a pseudo-terminal");
        grantpt(&master).expect("grant the terminal");
        unlockpt(&master).expect("unlock the terminal");
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("set the terminal's size");
        let name = ptsname(&master, Vec::new()).expect("name the terminal").into_string().expect("a plain name");
        let slave = File::options().read(true).write(true).open(name).expect("open the terminal");
        let other = || Stdio::from(slave.try_clone().expect("duplicate the terminal"));
        let none: [&str; 0] = [];
        let mut command = place.shell(none);
        command.env("HOME", place.path()).stdin(other()).stdout(other()).stderr(other()).process_group(0);
        let child = command.spawn().expect("run the shell");
        let mut session = Self { place, child, terminal: master, shown: String::new() };
        session.wait_for("# ");
        session
    }

    /// Types `keys` and waits until the terminal has shown `expected` since the last call; gives what it has shown.
    #[track_caller]
    fn expect(&mut self, keys: &str, expected: &str) -> String {
        self.shown.clear();
        self.type_keys(keys);
        self.wait_for(expected)
    }

    #[track_caller]
    fn wait_for(&mut self, expected: &str) -> String {
        let start = Instant::now();
        while !self.shown.contains(expected) {
            assert!(start.elapsed() < Duration::from_secs(20), "waited for {expected:?}, got {:?}", self.shown);
            if self.is_ready() {
                let mut buffer = [0; 4096];
                let count = read(&self.terminal, &mut buffer).expect("read the terminal");
                self.shown.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        }
        self.shown.clone()
    }

    fn type_keys(&self, keys: &str) {
        assert_eq!(write(&self.terminal, keys.as_bytes()), Ok(keys.len()), "type the keys");
    }

    fn is_ready(&self) -> bool {
        let mut wanted = [PollFd::new(&self.terminal, PollFlags::IN)];
        let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        poll(&mut wanted, Some(&wait)) == Ok(1)
    }

    /// Types a line that ends in what the editor made of `keys`, and checks the words that `echo` got.
    #[track_caller]
    fn echoes(&mut self, keys: &str, expected: &str) {
        let shown = self.expect(&format!("{keys}\r"), &format!("\r\n<{expected}>\r\nstrata:"));
        assert!(shown.contains(expected));
    }

    fn end(mut self, keys: &str) -> i32 {
        self.type_keys(keys);
        for _ in 0..400 {
            if let Some(status) = self.child.try_wait().expect("wait for the shell") {
                return status.code().unwrap_or(-1);
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("the shell did not end");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn typing_at_the_end_shows_just_the_characters() {
    let mut session = Session::new();
    let shown = session.expect("echo hello\r", "\r\nhello\r\n");
    assert!(shown.starts_with("echo hello\r\nhello\r\n"), "{shown:?}");
    assert_eq!(session.end("\x04"), 0);
}

#[test]
fn the_prompt_names_the_directory() {
    let mut session = Session::new();
    let path = session.place.path().canonicalize().expect("the test's directory exists");
    session.expect("\r", &format!("\r\nstrata:{}# ", path.display()));
    session.expect("cd /\r", "\r\nstrata:/# ");
}

#[test]
fn keys_move_within_the_line_and_change_it() {
    let mut session = Session::new();
    session.echoes(&format!("echo '<acd>'{LEFT}{LEFT}{LEFT}{LEFT}b"), "abcd");
    session.echoes(&format!("echo '<abXcd>'{LEFT}{LEFT}{LEFT}{LEFT}\x7f"), "abcd");
    session.echoes(&format!("cho '<abcd>{HOME}e{END}'"), "abcd");
    session.echoes("cho '<abcd>\x01e\x05'", "abcd");
    session.echoes(&format!("Xecho '<abcd>'{HOME}{DELETE}"), "abcd");
    session.echoes(&format!("ehco '<abcd>'{HOME}{RIGHT}{RIGHT}\x14"), "abcd");
    session.echoes("echo '<abcd'>\x14", "abcd");
    session.echoes("false x\x15echo '<abcd>'", "abcd");
    session.echoes("echo '<abcd>' more words\x17\x17", "abcd");
    session.echoes("echo '<ab\x17\x19cd>'", "abcd");
    session.echoes(&format!("echo '<abcd>' rest{}\x0b", LEFT.repeat(5)), "abcd");
    session.echoes("echo one '<abcd>'\x1bb\x1bb\x1bd\x05", "abcd");
}

#[test]
fn characters_of_several_bytes_are_edited_as_one() {
    let mut session = Session::new();
    session.echoes(&format!("echo '<äöü>'{LEFT}{LEFT}\x7fß{LEFT}{LEFT}\x04"), "äß");
}

#[test]
fn earlier_lines_come_back_and_the_new_one_is_kept() {
    let mut session = Session::new();
    session.echoes("echo '<one>'", "one");
    session.echoes("echo '<two>'", "two");
    session.echoes(&format!("{UP}{UP}"), "one");
    session.echoes(&format!("echo '<three>'{UP}{UP}{DOWN}{DOWN}{DOWN}"), "three");
    let shown = session.expect("history\r", "5  history\r\n");
    assert!(shown.contains("   1  echo '<one>'\r\n   2  echo '<two>'\r\n   3  echo '<one>'\r\n"), "{shown:?}");
}

#[test]
fn tab_completes_commands_and_paths() {
    let mut session = Session::new();
    session.place.write("some file", "inside\n");
    session.place.write("other-one", "");
    session.place.write("other-two", "");
    std::fs::create_dir(session.place.join("directory")).expect("make a directory");
    session.expect("trun\t", "truncate ");
    session.expect("\x15cat so\t\r", "cat some\\ file \r\ninside\r\n");
    session.expect("ls dir\t", "ls directory/");
    session.expect("\x15echo ot\t", "other-");
    let shown = session.expect("\t", "other-one  other-two\r\n");
    assert!(shown.contains("other-one  other-two"));
    session.expect("o\t\r", "\r\nother-one\r\n");
}

#[test]
fn a_line_longer_than_the_terminal_wraps_and_stays_editable() {
    let mut session = Session::with_width(200);
    let text = "x".repeat(450);
    session.echoes(&format!("echo '<{text}>'"), &text);
    session.echoes(&format!("cho '<{text}>'{HOME}e"), &text);
    session.echoes(&format!("echo '<{text}yy>'{LEFT}{LEFT}\x7f\x7f"), &text);
}

#[test]
fn ctrl_c_drops_the_line_and_ctrl_d_ends_an_empty_one() {
    let mut session = Session::new();
    session.expect("rm -r everything\x03", "^C\r\nstrata:");
    session.expect("echo $?\r", "\r\n130\r\n");
    session.expect("ab\x04", "\x07");
    session.expect("\x7f\x7fexit 4", "exit 4");
    assert_eq!(session.end("\x04\x04"), 4);
}

#[test]
fn an_open_quote_asks_for_more_and_ctrl_c_leaves_it() {
    let mut session = Session::new();
    session.expect("echo '<a\r", "\r\n> ");
    session.echoes("b>'", "a\r\nb");
    session.expect("echo 'x\r", "\r\n> ");
    session.expect("\x03", "^C\r\nstrata:");
}

#[test]
fn ctrl_c_stops_a_command_that_takes_long() {
    let mut session = Session::new();
    session.expect("sleep 1000\r", "\r\n");
    thread::sleep(Duration::from_millis(200));
    session.expect("\x03", "^C\r\nstrata:");
    session.expect("echo $?\r", "\r\n130\r\n");
    session.expect("find / -name nonesuch\r", "\r\n");
    session.expect("\x03", "^C\r\n");
}

#[test]
fn what_is_typed_ahead_waits_its_turn_unseen() {
    let mut session = Session::new();
    let shown = session.expect("sleep 0.5; echo slept\recho '<next>'\r", "<next>\r\nstrata:");
    assert_eq!(shown.matches("echo '<next>'").count(), 1, "{shown:?}");
    assert!(shown.find("slept\r\n").is_some_and(|at| at < shown.find("<next>").unwrap_or(0)), "{shown:?}");
}

#[test]
fn a_program_gets_the_terminal_as_it_was() {
    let mut session = Session::new();
    let shown = session.expect("run /bin/stty -a\r", "strata:");
    assert!(shown.contains("isig icanon iexten echo "), "{shown:?}");
    session.expect("cat\r", "\r\n");
    // The line is seen a moment before the terminal is given back.
    thread::sleep(Duration::from_millis(300));
    session.expect("typed\r", "typed\r\ntyped\r\n");
    session.expect("\x04", "strata:");
}
