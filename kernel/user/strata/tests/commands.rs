//! The built-in commands, compared with what they shall do and with the host's own tools.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use common::Place;

/// What the host's own tool prints in the place.
fn host(place: &Place, program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).current_dir(place.path()).output().expect("run a tool of the host");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("plain text")
}

fn mode(place: &Place, name: &str) -> u32 {
    fs::symlink_metadata(place.join(name)).expect("the file exists").permissions().mode() & 0o7777
}

#[test]
fn write_append_and_cat_make_and_show_files() {
    let place = Place::new();
    assert_eq!(place.run("write f one  'two  three'; append f four; append -n f five; cat f f").fine(), {
        "one two  three\nfour\nfiveone two  three\nfour\nfive"
    });
    place.run("write f short; write -n empty").fine();
    assert_eq!((place.read("f").as_str(), place.read("empty").as_str()), ("short\n", ""));
}

#[test]
fn errors_name_the_command_the_path_and_the_errno() {
    let place = Place::new();
    place.write("f", "");
    let outcome =
        place.run("cat none f/x; rm none; mkdir f; rmdir f; cd f; ls none; mv none x; ln none x; chmod 600 none");
    let expected = [
        "cat: none: No such file or directory (ENOENT)",
        "cat: f/x: Not a directory (ENOTDIR)",
        "rm: none: No such file or directory (ENOENT)",
        "mkdir: f: File exists (EEXIST)",
        "rmdir: f: Not a directory (ENOTDIR)",
        "cd: f: Not a directory (ENOTDIR)",
        "ls: none: No such file or directory (ENOENT)",
        "mv: none: No such file or directory (ENOENT)",
        "ln: none: No such file or directory (ENOENT)",
        "chmod: none: No such file or directory (ENOENT)",
    ];
    assert_eq!(outcome.err.lines().collect::<Vec<_>>(), expected);
    assert_eq!(outcome.status, 1);
}

#[test]
fn names_with_control_characters_cannot_disturb_the_terminal() {
    let place = Place::new();
    place.write("a\x1b[31m\nb", "");
    assert_eq!(place.run("ls").fine(), "a\\x1b[31m\\x0ab\n");
}

#[test]
fn ls_lists_sorted_and_hides_dot_files() {
    let place = Place::new();
    for name in ["b", "a", "C", ".h"] {
        place.write(name, "");
    }
    fs::create_dir(place.join("d")).expect("make a directory");
    place.write("d/x", "");
    assert_eq!(place.run("ls").fine(), "C\na\nb\nd\n");
    assert_eq!(place.run("ls -a").fine(), ".\n..\n.h\nC\na\nb\nd\n");
    assert_eq!(place.run("ls -d d; ls d; ls b d").fine(), "d\nx\nb\n\nd:\nx\n");
    assert_eq!(place.run("ls -R").fine(), ".:\nC\na\nb\nd\n\n./d:\nx\n");
}

#[test]
fn ls_l_shows_inode_mode_links_owner_size_time_layer_and_target() {
    let place = Place::new();
    place.write("file", "12345");
    symlink("file", place.join("link")).expect("make a link");
    fs::create_dir(place.join("dir")).expect("make a directory");
    place.run("chmod 4751 file; chmod 1777 dir; touch -d '2020-02-29 12:34:56' file dir; touch -h -d @0 link").fine();
    let inode = |name: &str| fs::symlink_metadata(place.join(name)).expect("it exists").ino().to_string();
    let lines = place.run("ls -l").fine();
    let fields: Vec<Vec<&str>> = lines.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(fields[0][..2], [inode("dir").as_str(), "drwxrwxrwt"]);
    assert_eq!(fields[1][..2], [inode("file").as_str(), "-rwsr-x--x"]);
    assert_eq!(fields[1][5..], ["5", "2020-02-29", "12:34", "-", "file"]);
    assert_eq!(fields[2][5..], ["4", "1970-01-01", "00:00", "-", "link", "->", "file"]);
}

#[test]
fn stat_agrees_with_the_host() {
    let place = Place::new();
    place.write("f", "contents");
    place.run("chmod 2640 f; touch -d '2001-02-03 04:05:06' f").fine();
    let out = place.run("stat f").fine();
    let facts = host(&place, "stat", &["-c", "%s %i %h %u %g %b", "f"]);
    let facts: Vec<&str> = facts.split_whitespace().collect();
    for expected in [
        "  File: f\n".to_owned(),
        format!("  Size: {:<12} Blocks: {:<8}", facts[0], facts[5]),
        format!("Inode: {}  Links: {}\n", facts[1], facts[2]),
        "Access: (2640/-rw-r-S---)".to_owned(),
        format!("Uid: ({}/", facts[3]),
        format!("Gid: ({}/", facts[4]),
        "Modify: 2001-02-03 04:05:06.000000000\n".to_owned(),
        " Layer: -\n".to_owned(),
    ] {
        assert!(out.contains(&expected), "{expected:?} is not in {out}");
    }
}

#[test]
fn mkdir_makes_parents_and_modes() {
    let place = Place::new();
    place.run("umask 022; mkdir -p a/b//c/ a; mkdir -m 1770 m; mkdir -p /").fine();
    assert_eq!((mode(&place, "a/b/c"), mode(&place, "m")), (0o755, 0o1770));
    place.write("file", "");
    assert_eq!(place.run("mkdir -p file/x").err, "mkdir: file/x: File exists (EEXIST)\n");
    assert_eq!(place.run("rmdir a").err, "rmdir: a: Directory not empty (ENOTEMPTY)\n");
    place.run("rmdir a/b/c a/b a").fine();
}

#[test]
fn rm_removes_trees_and_never_through_links() {
    let place = Place::new();
    fs::create_dir_all(place.join("keep")).expect("make a directory");
    place.write("keep/file", "");
    place.run("mkdir -p t/a/b; write t/a/f x; ln -s ../keep t/link; mkfifo t/p").fine();
    assert_eq!(place.run("rm t").err, "rm: t: Is a directory (EISDIR)\n");
    place.run("rm -r t; rm -f none; rm -f").fine();
    assert!(!place.join("t").exists() && place.join("keep/file").exists());
    assert!(place.run("rm -r . .. /").err.lines().all(|line| line.ends_with("is not removed, nor what is in it")));
    assert!(place.join("keep/file").exists());
}

#[test]
fn rm_reaches_the_bottom_of_a_deep_tree() {
    let place = Place::new();
    let deep = "d/".repeat(500);
    place.run(&format!("mkdir -p {deep}; write {deep}f x; rm -r d; ls")).fine();
}

#[test]
fn mv_renames_moves_refuses_and_exchanges() {
    let place = Place::new();
    place.write("a", "a");
    place.write("b", "b");
    fs::create_dir(place.join("d")).expect("make a directory");
    assert_eq!(place.run("mv -n a b").err, "mv: a: File exists (EEXIST)\n");
    place.run("mv -x a b").fine();
    assert_eq!((place.read("a"), place.read("b")), ("b".into(), "a".into()));
    place.run("mv a b d/; mv d e; mv e/a f; mv -T f e/b").fine();
    assert_eq!(place.read("e/b"), "b");
    assert!(!place.join("e/a").exists());
    assert_eq!(place.run("mv e e/x").err, "mv: e: Invalid argument (EINVAL)\n");
}

#[test]
fn mv_across_file_systems_copies_all_and_removes() {
    let place = Place::new();
    let other = format!("/dev/shm/strata-test-{}", std::process::id());
    if fs::create_dir(&other).is_err() {
        return;
    }
    place
        .run("mkdir -p t/d; write t/d/f text; ln t/d/f t/d/g; ln -s f t/d/l; chmod 640 t/d/f; touch -d @1000 t/d/f t/d")
        .fine();
    let before = host(&place, "find", &["t", "-printf", "%P %y %m %T@ %l %n\n"]);
    place.run(&format!("mv t {other}/t")).fine();
    assert!(!place.join("t").exists());
    place.run(&format!("mv {other}/t t")).fine();
    let after = host(&place, "find", &["t", "-printf", "%P %y %m %T@ %l %n\n"]);
    let times_of_t =
        |text: &str| text.lines().filter(|line| !line.starts_with(' ')).map(str::to_owned).collect::<Vec<_>>();
    let sorted = |text: &str| {
        let mut lines = times_of_t(text);
        lines.sort();
        lines
    };
    assert_eq!(sorted(&before), sorted(&after));
    fs::remove_dir_all(&other).expect("remove the test's other directory");
}

#[test]
fn cp_copies_files_into_directories_and_over_files() {
    let place = Place::new();
    place.write("f", "new");
    place.write("old", "something longer");
    fs::create_dir(place.join("d")).expect("make a directory");
    place.run("umask 022; chmod 751 f; cp f old; cp f copy; cp f old d").fine();
    assert_eq!((place.read("old"), place.read("d/f"), place.read("d/old")), ("new".into(), "new".into(), "new".into()));
    assert_eq!(mode(&place, "copy"), 0o751);
    assert_eq!(place.run("cp f f").err, "cp: f: is the same file as its target\n");
    assert_eq!(place.run("cp d e").err, "cp: d: is a directory; -r copies it with all in it\n");
    assert_eq!(place.run("cp none e; cp f none/x").err, {
        "cp: none: No such file or directory (ENOENT)\ncp: none/x: No such file or directory (ENOENT)\n"
    });
}

#[test]
fn cp_r_copies_a_tree_but_not_into_itself_without_end() {
    let place = Place::new();
    place.run("mkdir -p t/a; write t/a/f x; ln -s f t/a/l; mkfifo t/p; cp -r t u; cp -r t u").fine();
    assert_eq!(host(&place, "diff", &["-r", "--no-dereference", "--exclude=p", "t", "u/t"]), "");
    let outcome = place.run("cp -r t t/a/t");
    assert_eq!(outcome.err, "cp: t/a/t: is not copied into itself\n");
    assert!(place.join("t/a/t/a").exists() && !place.join("t/a/t/a/t").exists());
}

#[test]
fn cp_keeps_holes_and_reads_files_without_a_size() {
    let place = Place::new();
    place.run("write f start; truncate -s 100M f; append f middle; truncate -s 200M f; cp f g; cmp f g; append f end; cp f g; cmp f g").fine();
    let blocks = fs::metadata(place.join("g")).expect("it exists").blocks();
    assert!(blocks < 1000, "{blocks} blocks");
    place.run("cp /proc/self/status s; wc -c s").fine();
    assert!(place.read("s").starts_with("Name:"));
}

#[test]
fn cp_a_keeps_links_times_modes_and_xattrs() {
    let place = Place::new();
    place
        .run("mkdir -p t/ro; write t/f x; ln t/f t/g; ln -s f t/l; write t/ro/in x; xattr set user.note 'a b' t/f t")
        .fine();
    place
        .run("chmod 4711 t/f; touch -h -d @5 t/l; touch -d @1000000 t/f t/ro; chmod 555 t/ro; touch -d @2000000 t")
        .fine();
    place.run("cp -a t u").fine();
    let list = |name: &str| {
        let mut lines: Vec<_> =
            host(&place, "find", &[name, "-printf", "%P %y %m %T@ %l\n"]).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(list("t"), list("u"));
    let ino = |name: &str| fs::metadata(place.join(name)).expect("it exists").ino();
    assert_eq!(ino("u/f"), ino("u/g"));
    assert_eq!(place.run("xattr get user.note u/f u").fine(), "a b\na b\n");
    place.run("chmod 755 t/ro u/ro").fine();
}

#[test]
fn chmod_understands_octal_and_letters() {
    let place = Place::new();
    for (start, change, end) in [
        ("000", "644", 0o644),
        ("644", "u+x,go-r", 0o700),
        ("644", "a+x", 0o755),
        ("755", "go=", 0o700),
        ("644", "+X", 0o644),
        ("744", "a+X", 0o755),
        ("600", "g=u", 0),
        ("755", "u+s,g+s,+t", 0o7755),
        ("7755", "u-s,a-t", 0o2755),
        ("777", "o-wx", 0o774),
    ] {
        place.write("f", "");
        let outcome = place.run(&format!("umask 022; chmod {start} f; chmod {change} f"));
        if end == 0 {
            assert_eq!(outcome.status, 2, "{change}");
        } else {
            assert_eq!((outcome.fine().as_str(), mode(&place, "f")), ("", end), "{start} {change}");
        }
    }
    place.run("mkdir -p d/e; write d/e/f x; ln -s /etc/passwd d/l; chmod -R u=rwX,go= d").fine();
    assert_eq!((mode(&place, "d/e"), mode(&place, "d/e/f")), (0o700, 0o600));
}

#[test]
fn chown_takes_names_and_numbers() {
    let place = Place::new();
    place.write("f", "");
    let owner = || fs::metadata(place.join("f")).map(|found| (found.uid(), found.gid())).expect("it exists");
    if owner().0 != 0 {
        return;
    }
    place.run("chown 1000:100 f").fine();
    assert_eq!(owner(), (1000, 100));
    place.run("chown root f; chown :0 f").fine();
    assert_eq!(owner(), (0, 0));
    place.run("mkdir d; ln -s none d/l; chown -R 7:8 d").fine();
    assert_eq!(fs::symlink_metadata(place.join("d/l")).expect("it exists").gid(), 8);
    assert_eq!(place.run("chown nobodyatall f").err, "chown: nobodyatall: no such user or group\n");
}

#[test]
fn links_are_made_read_and_replaced() {
    let place = Place::new();
    place.run("write f x; ln f g; ln -s f s; ln -sf g s; ln -f f g; readlink s").fine();
    assert_eq!(fs::metadata(place.join("f")).expect("it exists").nlink(), 2);
    assert_eq!(place.run("readlink s").fine(), "g\n");
    assert_eq!(place.run("ln -s f s").err, "ln: s: File exists (EEXIST)\n");
    assert_eq!(place.run("readlink f").err, "readlink: f: Invalid argument (EINVAL)\n");
}

#[test]
fn special_files_are_made() {
    let place = Place::new();
    place.run("mkfifo -m 600 p; mknod q p").fine();
    assert!(fs::metadata(place.join("p")).expect("it exists").file_type().is_fifo());
    if fs::metadata(place.path()).expect("it exists").uid() == 0 && place.run("mknod c c 1 3").status == 0 {
        assert_eq!(fs::metadata(place.join("c")).expect("it exists").rdev(), 0x103);
        let line = place.run("ls -l c").fine();
        assert!(line.contains("crw") && line.contains(" 1, 3 "), "{line}");
    }
}

#[test]
fn truncate_takes_absolute_and_relative_sizes() {
    let place = Place::new();
    let size = |commands: &str| {
        place.run(commands).fine();
        fs::metadata(place.join("f")).expect("it exists").len()
    };
    assert_eq!(size("truncate -s 3k f"), 3072);
    assert_eq!(size("truncate -s +1M f"), 3072 + (1 << 20));
    assert_eq!(size("truncate -s -1024 f"), 2048 + (1 << 20));
    assert_eq!(size("truncate -s 0 f"), 0);
    assert_eq!(place.run("truncate -s x f").status, 2);
}

#[test]
fn xattrs_are_set_listed_read_and_removed() {
    let place = Place::new();
    place.write("f", "");
    place.run(r"xattr set user.a 'text\x00\\' f; xattr set user.b 0x6869 f").fine();
    assert_eq!(place.run("xattr list f").fine(), "f: user.a=text\\x00\\\\\nf: user.b=hi\n");
    assert_eq!(
        place.run("xattr get user.b f; xattr rm user.b f; xattr list f").fine(),
        "hi\nf: user.a=text\\x00\\\\\n"
    );
    assert_eq!(place.run("xattr get user.b f").err, "xattr: f: No data available (ENODATA)\n");
}

#[test]
fn sum_agrees_with_sha256sum() {
    let place = Place::new();
    for (name, size) in [("empty", 0), ("small", 3), ("block", 64), ("chunk", 65_536), ("large", 1_000_003)] {
        let contents: Vec<u8> = (0..size).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        place.write(name, contents);
    }
    let names = ["empty", "small", "block", "chunk", "large"];
    assert_eq!(place.run(&format!("sum {}", names.join(" "))).fine(), host(&place, "sha256sum", &names));
}

#[test]
fn wc_and_cmp_look_into_files() {
    let place = Place::new();
    place.write("a", "one two\nthree  four\n");
    place.write("b", "one two\nthree  five\n");
    place.write("c", "one two\n");
    assert_eq!(
        place.run("wc a; wc -l a c").fine(),
        "       2        4       20 a\n       2 a\n       1 c\n       3 total\n"
    );
    place.run("cmp a a").fine();
    let outcome = place.run("cmp a b");
    assert_eq!((outcome.out.as_str(), outcome.status), ("a b differ: byte 17\n", 1));
    assert_eq!(place.run("cmp a c").err, "cmp: c: ends after 8 bytes, the other goes on\n");
    assert_eq!(place.run("cmp c a").err, "cmp: c: ends after 8 bytes, the other goes on\n");
}

#[test]
fn hexdump_prints_as_the_host_does() {
    let place = Place::new();
    let contents: Vec<u8> = (0..=255).chain(0..5).collect();
    place.write("f", &contents);
    let out = place.run("hexdump f; hexdump -s 0x f").out;
    let first = out.lines().next().expect("a line");
    assert_eq!(first, "00000000  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  |................|");
    assert!(out.contains("00000040  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  |@ABCDEFGHIJKLMNO|"));
    assert!(out.contains("00000100  00 01 02 03 04                                    |.....|\n00000105\n"));
    assert!(place.run("hexdump -s 64 -n 3 f").fine().starts_with("00000040  40 41 42    "));
}

#[test]
fn find_walks_sorted_and_tests() {
    let place = Place::new();
    place.run("mkdir -p t/b t/a; write t/a/x.txt x; write t/b/y.rs y; ln -s a t/l").fine();
    assert_eq!(place.run("find t").fine(), "t\nt/a\nt/a/x.txt\nt/b\nt/b/y.rs\nt/l\n");
    assert_eq!(place.run("find t -name '*.txt'").fine(), "t/a/x.txt\n");
    assert_eq!(place.run("find t -type dl -maxdepth 1").fine(), "t\nt/a\nt/b\nt/l\n");
    assert_eq!(place.run("find t -layer upper").fine(), "");
    assert_eq!(place.run("find t -bad").status, 2);
}

#[test]
fn directories_are_changed_and_shown() {
    let place = Place::new();
    fs::create_dir(place.join("d")).expect("make a directory");
    let here = place.path().canonicalize().expect("it exists").display().to_string();
    assert_eq!(place.run("cd d; pwd; cd -; cd /; cd; pwd").fine(), format!("{here}/d\n{here}\n{here}\n"));
    assert_eq!(place.run("mkdir e; cd e; rmdir ../e; pwd; echo on").out, "on\n");
}

#[test]
fn dates_print_and_parse() {
    let place = Place::new();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let printed: u64 = place.run("date +%s").fine().trim().parse().expect("a number");
    assert!(printed.abs_diff(now) < 60);
    let day = host(&place, "date", &["-u", "+%Y-%m-%d"]);
    assert_eq!(place.run("date +%F").fine(), day);
    place.run("touch -d 2024-02-29 f").fine();
    assert_eq!(fs::metadata(place.join("f")).expect("it exists").mtime(), 1_709_164_800);
    assert_eq!(place.run("touch -d 2023-02-29 f").status, 2);
}

#[test]
fn programs_run_and_their_status_counts() {
    let place = Place::new();
    assert_eq!(place.run("run /bin/sh -c 'echo $0 $1; exit 5' a 'b c'; echo $?").fine(), "a b c\n5\n");
    assert_eq!(place.run("/bin/echo found; env > /dev/null; echo $?").fine(), "found\n0\n");
    let outcome = place.run("run /bin/sh -c 'kill -9 $$'; echo $?");
    assert_eq!((outcome.out.as_str(), outcome.err.as_str()), ("137\n", "strata: /bin/sh: killed by signal 9\n"));
    place.write("text", "no program");
    assert_eq!(place.run("./text; echo $?").err, "strata: ./text: Permission denied (EACCES)\n");
    assert_eq!(place.run("chmod 755 text; ./text; echo $?").err, "strata: ./text: Exec format error (ENOEXEC)\n");
    assert_eq!(place.run("./none").status, 127);
    assert_eq!(place.run("exec /bin/echo replaced; echo never").fine(), "replaced\n");
}

#[test]
fn many_programs_in_a_row_leave_nothing_behind() {
    let line = "run /bin/true; ".repeat(200);
    let out = Place::new().run(&format!("ls /proc/self/fd; echo done; {line} ls /proc/self/fd")).fine();
    let (before, after) = out.split_once("done\n").expect("both lists");
    assert_eq!(before, after);
}

#[test]
fn only_the_first_process_stops_the_machine() {
    let outcome = Place::new().run("poweroff; reboot");
    assert_eq!(outcome.status, 1);
    assert_eq!(outcome.err, {
        "poweroff: this is not the first process: Operation not permitted (EPERM)\n\
         reboot: this is not the first process: Operation not permitted (EPERM)\n"
    });
}

#[test]
fn help_lists_every_command_and_explains_each() {
    let place = Place::new();
    let out = place.run("help").fine();
    for name in ["ls", "write", "append", "xattr", "poweroff", "umount", "layer"] {
        assert!(out.split_whitespace().any(|word| word == name), "{name}");
        assert!(place.run(&format!("help {name}")).fine().starts_with(name));
    }
}

#[test]
fn the_system_is_described() {
    let place = Place::new();
    assert_eq!(place.run("uname -srm").fine(), host(&place, "uname", &["-srm"]));
    assert!(place.run("free; uptime; df /; mount").fine().contains("Memory"));
    assert!(place.run("time true").err.starts_with("real 0."));
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let outcome = Place::new().run("echo text > /dev/full; echo $?");
    assert_eq!(outcome.err, "strata: standard output: No space left on device (ENOSPC)\n");
    assert_eq!(outcome.out, "1\n");
    assert_eq!(Place::new().run("write /dev/full text").err, "write: /dev/full: No space left on device (ENOSPC)\n");
}
