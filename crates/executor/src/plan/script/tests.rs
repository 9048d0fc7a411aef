//! Scripts, run with the shells of this host.

use std::io::Write;
use std::process::{Command, Stdio};

use onspot_gitlab::Variable;
use proptest::prelude::*;

use super::*;

struct Ran {
    output: String,
    code: Option<i32>,
}

fn run_in(shell: &str, script: &str) -> Ran {
    let mut child = Command::new(shell)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let script = script.to_owned();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(script.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran {
        output: String::from_utf8(output.stdout).unwrap(),
        code: output.status.code(),
    }
}

/// A place with existing folders.
fn place(dir: &std::path::Path) -> Place {
    std::fs::create_dir_all(dir.join("g/p")).unwrap();
    Place {
        builds: dir.into(),
        project: "g/p".into(),
        world_writable: false,
    }
}

/// Commands without any of the ways to change how they run.
fn shell(variables: &Variables, place: &Place, commands: &[String]) -> String {
    super::shell(
        variables,
        place,
        Manner::default(),
        None,
        &[("script_step", commands)],
    )
}

fn lines(commands: &[&str]) -> Vec<String> {
    commands.iter().map(|&command| command.to_owned()).collect()
}

/// The output of a script of these commands without the shown commands, the same in bash and in sh.
fn printed(variables: &Variables, commands: &[&str]) -> (String, Option<i32>) {
    let dir = tempfile::tempdir().unwrap();
    let mut variables = variables.clone();
    variables.set(Variable::public(
        FILE_FOLDER,
        dir.path().join("tmp").to_str().unwrap(),
    ));
    let script = shell(&variables, &place(dir.path()), &lines(commands));
    let [bash, sh] = ["bash", "sh"].map(|shell| {
        let ran = run_in(shell, &script);
        let shown = |line: &&str| !line.starts_with("\u{1b}[32;1m$ ");
        (
            ran.output
                .lines()
                .filter(shown)
                .flat_map(|line| {
                    [
                        line, "
",
                    ]
                })
                .collect(),
            ran.code,
        )
    });
    assert_eq!(bash, sh);
    bash
}

#[test]
fn commands_share_a_shell_and_end_at_the_first_failure() {
    let none = Variables::default();
    for (commands, output, code) in [
        (&["x=1", "echo $x"][..], "1\n", 0),
        (&["echo a", "false", "echo b"], "a\n", 1),
        (&["exit 42", "echo b"], "", 42),
        (&["(exit 7)"], "", 7),
        (&["if false; then echo a; fi", "echo b"], "b\n", 0),
        (&["false || echo c"], "c\n", 0),
        (&["cat", "read line || echo eof"], "eof\n", 0),
        (&["cat <<END\nhere\nEND", "echo after"], "here\nafter\n", 0),
        (&["f() {\n  echo \"in $1\"\n}", "f g"], "in g\n", 0),
        (&["echo 'it''s' \"quoted\" \\$x"], "its quoted $x\n", 0),
        (&["", "echo blank"], "\nblank\n", 0),
        (&["unset-command-xyz"], "", 127),
    ] {
        assert_eq!(
            printed(&none, commands),
            (output.to_owned(), Some(code)),
            "{commands:?}"
        );
    }
}

#[test]
fn a_pipe_fails_with_any_of_its_commands_if_the_shell_supports_it() {
    let dir = tempfile::tempdir().unwrap();
    let script = shell(
        &Variables::default(),
        &place(dir.path()),
        &lines(&["false | true"]),
    );
    assert_eq!(run_in("bash", &script).code, Some(1));
}

#[test]
fn the_script_runs_in_the_projects_folder() {
    let (output, _) = printed(&Variables::default(), &["pwd | sed 's,.*/g/p$,g/p,'"]);
    assert_eq!(output, "g/p\n");
}

#[test]
fn commands_are_shown_before_they_run() {
    let dir = tempfile::tempdir().unwrap();
    let commands = lines(&["echo 'a' \"$HOME\" > /dev/null", "\necho one\necho two\n"]);
    let script = shell(&Variables::default(), &place(dir.path()), &commands);
    assert_eq!(
        run_in("sh", &script).output,
        "\u{1b}[32;1m$ echo 'a' \"$HOME\" > /dev/null\u{1b}[0;m\n\
         \u{1b}[32;1m$ echo one # collapsed multi-line command\u{1b}[0;m\none\ntwo\n"
    );
}

#[test]
fn file_variables_are_files() {
    let file = Variable {
        file: true,
        ..Variable::public("KEY", "line 1\nline '2'\n")
    };
    let variables = Variables::resolve([file, Variable::public("not-a-name", "x")]);
    let (output, code) = printed(
        &variables,
        &["cat \"$KEY\"; case $KEY in */tmp/KEY) echo ok;; esac"],
    );
    assert_eq!((output.as_str(), code), ("line 1\nline '2'\nok\n", Some(0)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn values_reach_the_script_unchanged(value in "[ -~\n\tüß€]{0,40}") {
        let variables = Variables::resolve([Variable::public("VALUE", &value)]);
        let (output, code) = printed(&variables, &["printf '[%s]\\n' \"$VALUE\" | sed 's/^/>/'"]);
        let shown = format!("[{value}]");
        let text: String = shown.lines().flat_map(|line| [">", line, "
"]).collect();
        prop_assert_eq!(output, text);
        prop_assert_eq!(code, Some(0));
    }
}

#[test]
fn lines_in_gitlab_env_reach_later_scripts() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let folder = dir.path().join("tmp");
    let variables = Variables::resolve([
        Variable::public(FILE_FOLDER, folder.to_str().unwrap()),
        Variable::public("OVERRULED", "by the job"),
    ]);
    for name in ["bash", "sh"] {
        let first = lines(&[
            "echo \"GREETING=hello there\" >>\"$GITLAB_ENV\"",
            "printf '\\n# a comment\\nno assignment\\nOVERRULED=\"q\" $HOME' >>\"$GITLAB_ENV\"",
            "echo \"[${GREETING:-unset}]\"",
        ]);
        let ran = run_in(name, &shell(&variables, &place, &first));
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.output);
        assert!(ran.output.contains("[unset]"), "{name}: {}", ran.output);

        let second = lines(&["printf '[%s]' \"$GREETING\" \"$OVERRULED\" \"${onspot_line-}\""]);
        let ran = run_in(name, &shell(&variables, &place, &second));
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.output);
        let seen = "[hello there][\"q\" $HOME][]";
        assert!(ran.output.contains(seen), "{name}: {}", ran.output);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_script_that_cannot_have_a_gitlab_env_runs_without() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let folder = file.join("below");
    let variables = Variables::resolve([Variable::public(FILE_FOLDER, folder.to_str().unwrap())]);
    let script = shell(&variables, &place, &lines(&["echo ran"]));
    let ran = run_in("sh", &script);
    assert_eq!(ran.code, Some(0), "{}", ran.output);
    assert!(ran.output.contains("\nran\n"), "{}", ran.output);
}

#[test]
fn a_command_of_several_lines_can_be_a_section() {
    let dir = tempfile::tempdir().unwrap();
    let manner = Manner {
        sections: true,
        ..Manner::default()
    };
    let commands = lines(&["echo one", "echo '\\n%s' |\n  cat"]);
    let parts = [("script_step", commands.as_slice())];
    let script = super::shell(
        &Variables::default(),
        &place(dir.path()),
        manner,
        None,
        &parts,
    );
    for name in ["bash", "sh"] {
        let output = run_in(name, &script).output;
        let times = timeless(&output);
        let expected = "\u{1b}[32;1m$ echo one\u{1b}[0;m\none\n\
            section_start:T:section_script_step_1[hide_duration=true,collapsed=true]\r\u{1b}[0K\
            \u{1b}[32;1m$ echo '\\n%s' |\n  cat\u{1b}[0;m\n\
            section_end:T:section_script_step_1\r\u{1b}[0K\n";
        assert!(times.starts_with(expected), "{name}: {times:?}");
    }
}

/// The seconds of section marks replaced by `T`.
fn timeless(output: &str) -> String {
    let mut text = String::new();
    for (index, piece) in output.split(':').enumerate() {
        let is_time = !piece.is_empty() && piece.bytes().all(|b| b.is_ascii_digit());
        text.push_str(if index > 0 { ":" } else { "" });
        text.push_str(if is_time { "T" } else { piece });
    }
    text
}

#[test]
fn exit_codes_can_be_checked_where_the_shell_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let commands = lines(&["set +e", "(exit 7)", "echo later"]);
    let parts = [("script_step", commands.as_slice())];
    for (checks, code) in [(false, 0), (true, 7)] {
        let manner = Manner {
            checks,
            ..Manner::default()
        };
        let none = Variables::default();
        let script = super::shell(&none, &place(dir.path()), manner, None, &parts);
        for name in ["bash", "sh"] {
            assert_eq!(run_in(name, &script).code, Some(code), "{name}");
        }
    }
}
