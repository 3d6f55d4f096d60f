//! Where commands come from, and how a line is read.

mod common;

use std::fs;

use common::Place;

#[test]
fn commands_from_a_pipe_run_in_order_without_prompts() {
    let outcome = Place::new().feed("echo one\n\n  # a comment\necho two # more\nfalse\necho $?\n");
    assert_eq!(outcome.fine(), "one\ntwo\n1\n");
}

#[test]
fn the_last_line_needs_no_newline_and_gives_the_status() {
    let outcome = Place::new().feed("echo one\nfalse");
    assert_eq!((outcome.out.as_str(), outcome.status), ("one\n", 1));
}

#[test]
fn exit_ends_the_input_early_with_its_status() {
    let outcome = Place::new().feed("exit 7\necho never\n");
    assert_eq!((outcome.out.as_str(), outcome.status), ("", 7));
    assert_eq!(Place::new().run("false; exit").status, 1);
}

#[test]
fn quotes_and_backslashes_keep_words_together() {
    let out = Place::new().run(r#"echo 'a  b' "c  'd'" e\ \ f \"g "h\"i\\j" '' "" x"#).fine();
    assert_eq!(out, "a  b c  'd' e  f \"g h\"i\\j   x\n");
}

#[test]
fn quoted_text_may_span_lines() {
    let place = Place::new();
    assert_eq!(place.feed("echo 'one\ntwo' three\necho four \\\nfive\n").fine(), "one\ntwo three\nfour five\n");
    assert_eq!(place.run("true &&\n\necho yes").fine(), "yes\n");
}

#[test]
fn and_or_and_semicolon_choose_by_the_last_status() {
    let out =
        Place::new().run("true && echo a; false && echo b; false || echo c; true || echo d; false; echo $?").fine();
    assert_eq!(out, "a\nc\n1\n");
}

#[test]
fn variables_are_set_expanded_and_given_to_programs() {
    let place = Place::new();
    let out = place.run("NAME=value; echo $NAME ${NAME}s \"<$NAME>\" '$NAME' $ $NONE end; run /usr/bin/env").fine();
    assert!(out.starts_with("value values <value> $NAME $ end\n"), "{out}");
    assert!(out.lines().any(|line| line == "NAME=value"), "{out}");
    assert_eq!(place.run("A=1 B=2; unset A; echo $A$B").fine(), "2\n");
}

#[test]
fn patterns_match_existing_names_and_else_stand_for_themselves() {
    let place = Place::new();
    for name in ["a1", "a2", "b1", ".hidden", "ä1"] {
        place.write(name, "");
    }
    fs::create_dir_all(place.join("d/e")).expect("make directories");
    place.write("d/e/x.txt", "");
    assert_eq!(place.run("echo a*").fine(), "a1 a2\n");
    assert_eq!(place.run("echo ?1").fine(), "a1 b1 ä1\n");
    assert_eq!(place.run("echo [!a]1").fine(), "b1 ä1\n");
    assert_eq!(place.run("echo [b-z]1 none* 'a*' a\\*").fine(), "b1 none* a* a*\n");
    assert_eq!(place.run("echo d/*/*.txt */e .h*").fine(), "d/e/x.txt d/e .hidden\n");
    assert_eq!(place.run("echo */").fine(), "d/\n");
}

#[test]
fn output_and_input_are_redirected_for_built_ins_and_programs() {
    let place = Place::new();
    place.run("echo one > f; echo two >> f; run /bin/echo three >>f").fine();
    assert_eq!(place.read("f"), "one\ntwo\nthree\n");
    assert_eq!(
        place.run("cat < f; wc -l <f; run /bin/cat < f").fine(),
        "one\ntwo\nthree\n       3 -\none\ntwo\nthree\n"
    );
    let outcome = place.run("echo x > none/f; echo $?");
    assert_eq!(outcome.err, "strata: none/f: No such file or directory (ENOENT)\n");
    assert_eq!(outcome.out, "1\n");
}

#[test]
fn a_program_reads_what_the_shell_left_of_the_pipe() {
    assert_eq!(Place::new().feed("run /bin/cat\nfor the program\n").fine(), "for the program\n");
}

#[test]
fn a_script_runs_with_its_arguments() {
    let place = Place::new();
    place.write("script", "echo $0 $1 $2 $#\nexit 3\necho never\n");
    let outcome = place.shell(["script", "a", "b c"]).output().expect("run the shell");
    assert_eq!(
        (String::from_utf8_lossy(&outcome.stdout).as_ref(), outcome.status.code()),
        ("script a b c 2\n", Some(3))
    );
}

#[test]
fn refused_lines_say_where_and_why() {
    let place = Place::new();
    for (line, reason) in [
        ("echo 'a", "the closing ' is missing"),
        ("echo a | cat", "pipes need a second process at the same time, which this shell does not start"),
        ("sleep 1 &", "there are no background commands"),
        ("echo >", "a file name is missing after < or >"),
        ("; echo", "a command is missing before ; or && or ||"),
        ("true &&", "a command is missing after && or ||"),
        ("echo ${a-b}", "no variable's name is in ${}"),
    ] {
        let outcome = place.run(&format!("echo first\n{line}"));
        assert_eq!(outcome.err, format!("strata: -c: line 2: {reason}\n"), "{line}");
        assert_eq!((outcome.out.as_str(), outcome.status), ("first\n", 2), "{line}");
    }
}

#[test]
fn set_e_stops_a_script_and_set_x_shows_it() {
    let place = Place::new();
    assert_eq!(place.run("set -e\ntrue\nfalse\necho never").out, "");
    assert_eq!(place.run("set -x; echo 'a b' c \"d'e\" ''; set +x; true").err, "+ echo 'a b' c 'd'\\\\''e' ''\n");
}

#[test]
fn scripts_that_call_themselves_are_stopped() {
    let place = Place::new();
    place.write("loop", "source loop\n");
    assert!(place.run("source loop").err.contains("scripts call each other more than 16 deep"));
}

#[test]
fn an_unknown_command_is_127_and_names_itself() {
    let outcome = Place::new().run("nonesuch --help");
    assert_eq!((outcome.err.as_str(), outcome.status), ("strata: nonesuch: no such command; `help` lists them\n", 127));
}

#[test]
fn wrong_options_print_the_usage_and_give_2() {
    let outcome = Place::new().run("mkdir -q x");
    assert_eq!(
        (outcome.err.as_str(), outcome.status),
        ("mkdir: no option -q\nusage: mkdir [-p] [-m MODE] DIR...\n", 2)
    );
}
