//! A job's commands as one script for a shell's standard input.
//!
//! The script works in bash and in any POSIX shell (dash, busybox). The commands are passed to
//! `eval` as one quoted text, so that the shell has read all of them before the first one runs: a
//! command that reads standard input gets nothing instead of the following commands.

use std::fmt::Write;

use onspot_gitlab::{FILE_FOLDER, Variables};

use crate::helper::request::Place;

/// The name of the file behind `$GITLAB_ENV`, as in GitLab Runner.
const ENV_FILE: &str = "gitlab_runner_env";

/// How a job's commands are run and shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    /// A command of several lines is shown as a section that can be unfolded
    /// (`FF_SCRIPT_SECTIONS`).
    pub(crate) sections: bool,
    /// After each command its exit code is checked, also under `set +e`
    /// (`FF_ENABLE_BASH_EXIT_CODE_CHECK`).
    pub(crate) checks: bool,
}

/// Commands that belong together, and the name of their sections.
pub(crate) type Part<'a> = (&'a str, &'a [String]);

/// Commands in a shell that ends at the first failing one; each is shown before it runs, and
/// `notice` before all of them.
pub(crate) fn shell(
    variables: &Variables,
    place: &Place,
    manner: Manner,
    notice: Option<&str>,
    parts: &[Part<'_>],
) -> String {
    let mut body = exports(variables);
    body.push_str(&of_earlier_scripts(variables, true));
    let _ = writeln!(body, "cd {}", quote(&place.project_dir()));
    // After the variables, whose values it would show.
    if variables.flag("CI_DEBUG_TRACE") {
        body.push_str("set -x\n");
    }
    if let Some(notice) = notice {
        body.push_str(&green(notice));
    }
    for (name, commands) in parts {
        for (index, command) in commands.iter().enumerate() {
            body.push_str(&shown(command, manner, &format!("{name}_{index}")));
        }
    }
    wrapped(&body)
}

/// Commands for the helper's own shell, before or after the check-out.
pub(crate) fn hook(variables: &Variables, dir: &str, commands: &[String]) -> String {
    let mut body = exports(variables);
    // Not created here, because the job's user may be a different one, who has to be able to write
    // to it.
    body.push_str(&of_earlier_scripts(variables, false));
    let _ = writeln!(body, "cd {}", quote(dir));
    for command in commands {
        body.push_str(&shown(command, Manner::default(), ""));
    }
    wrapped(&body)
}

/// The command line that finds the best shell of an image.
pub(crate) fn detection() -> Vec<String> {
    let find = "for shell in /usr/local/bin/bash /usr/bin/bash /bin/bash \
                /usr/local/bin/sh /usr/bin/sh /bin/sh /busybox/sh; do \
                if [ -x \"$shell\" ]; then exec \"$shell\"; fi; done; \
                echo 'the image has no shell' >&2; exit 1";
    vec!["sh".into(), "-c".into(), find.into()]
}

fn wrapped(body: &str) -> String {
    format!(
        "if (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\n\
         set -e\n\
         set +o noclobber\n\
         eval {} </dev/null\n\
         exit 0\n",
        quote(body),
    )
}

/// Exports the variables, and writes file variables to their files.
fn exports(variables: &Variables) -> String {
    let mut text = String::new();
    let folder = variables.get(FILE_FOLDER).unwrap_or_default();
    if variables.iter().any(|variable| variable.file) {
        let _ = writeln!(text, "mkdir -p {}", quote(folder));
    }
    for variable in variables.iter().filter(|variable| is_name(&variable.key)) {
        let Some(value) = variables.reference(&variable.key) else {
            continue;
        };
        if variable.file {
            let content = quote(&variable.value);
            let _ = writeln!(text, "printf '%s' {content} >{}", quote(&value));
        }
        let _ = writeln!(text, "export {}={}", variable.key, quote(&value));
    }
    text
}

/// Sets up the file to which scripts write `NAME=value` lines for later scripts (`$GITLAB_ENV`),
/// and exports the lines of earlier ones. As in GitLab Runner, a line is used literally, including
/// quotes, and overrides the job's variables.
fn of_earlier_scripts(variables: &Variables, make: bool) -> String {
    let Some(folder) = variables
        .get(FILE_FOLDER)
        .filter(|folder| !folder.is_empty())
    else {
        return String::new();
    };
    let (folder, file) = (quote(folder), quote(&format!("{folder}/{ENV_FILE}")));
    // If the file can't be created, a job that does not use it must not fail.
    let make = if make {
        format!("mkdir -p {folder} 2>/dev/null && touch {file} 2>/dev/null || :\n")
    } else {
        String::new()
    };
    format!(
        "export GITLAB_ENV={file}\n\
         {make}\
         if [ -r {file} ]; then\n\
         while read -r onspot_line || [ -n \"$onspot_line\" ]; do\n\
         case $onspot_line in\n\
         ''|'#'*) ;;\n\
         [A-Za-z_]*=*) export \"$onspot_line\" ;;\n\
         *) echo 'GITLAB_ENV holds a line that is not NAME=value' >&2 ;;\n\
         esac\n\
         done <{file}\n\
         unset onspot_line\n\
         fi\n"
    )
}

/// A command, shown in green as by GitLab Runner: one of several lines by its first line, or as a
/// folded section.
fn shown(command: &str, manner: Manner, section: &str) -> String {
    let command = command.trim();
    let check = if manner.checks {
        "_runner_exit_code=$?; if [ $_runner_exit_code -ne 0 ]; then exit $_runner_exit_code; fi\n"
    } else {
        ""
    };
    let Some(first) = command.lines().next() else {
        return format!("echo\n{check}");
    };
    let shown = match command.contains('\n') {
        true if manner.sections => folded(section, command),
        true => green(&format!("$ {first} # collapsed multi-line command")),
        false => green(&format!("$ {first}")),
    };
    format!("{shown}{command}\n{check}")
}

/// Prints a line in green.
fn green(line: &str) -> String {
    format!("printf '\\033[32;1m%s\\033[0;m\\n' {}\n", quote(line))
}

/// Prints a command of several lines as a section titled with the command. Its output comes after
/// the section, as with GitLab Runner.
fn folded(section: &str, command: &str) -> String {
    format!(
        "printf 'section_start:%s:section_{section}[hide_duration=true,collapsed=true]\\r\\033[0K\
         \\033[32;1m%s\\033[0;m\\n' \"$(date +%s)\" {}\n\
         printf 'section_end:%s:section_{section}\\r\\033[0K\\n' \"$(date +%s)\"\n",
        quote(&format!("$ {command}")),
    )
}

/// A word for a POSIX shell that expands to exactly this text.
pub(crate) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Whether it is a valid variable name for a shell.
fn is_name(key: &str) -> bool {
    let mut chars = key.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests;
