//! Runs the binary in an empty folder and shows its output and exit code.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// What differs from run to run, and its replacement.
const REDACTIONS: [(&str, &str); 4] = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "[time]"),
    (r"\(\d+\.\d s\)", "([took])"),
    (r"wait=\d+(\.\d+)?m?s", "wait=[wait]"),
    (r"127\.0\.0\.1:\d+", "[address]"),
];

/// An empty folder in which the binary is run.
pub(crate) struct Folder {
    dir: TempDir,
    env: Vec<(String, String)>,
}

impl Folder {
    /// Empty, without AWS credentials and without a terminal.
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            env: Vec::new(),
        }
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Adds a file.
    pub(crate) fn with(self, name: &str, text: &str) -> Self {
        std::fs::write(self.path().join(name), text).unwrap();
        self
    }

    /// Adds an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs `onspot` with these arguments.
    pub(crate) fn output(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_onspot"))
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs `onspot` and shows the whole run.
    pub(crate) fn run(&self, line: &str) -> String {
        let args: Vec<&str> = line.split_whitespace().collect();
        let output = self.output(&args);
        let mut shown = format!("$ onspot {line}\n");
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let text = String::from_utf8_lossy(bytes);
            if !text.is_empty() {
                shown.extend(["--- ", name, "\n", text.trim_end(), "\n"]);
            }
        }
        let code = output
            .status
            .code()
            .map_or("none".to_owned(), |code| code.to_string());
        shown.extend(["--- exit code ", &code, "\n"]);
        shown.replace(&self.path().display().to_string(), "[folder]")
    }
}

/// Compares with the stored snapshot, after the redactions.
macro_rules! assert_run {
    ($name:expr, $shown:expr) => {
        insta::with_settings!({
            filters => $crate::invocation::redactions(),
            omit_expression => true,
        }, {
            insta::assert_snapshot!($name, $shown);
        });
    };
}
pub(crate) use assert_run;

/// The redactions in insta's form.
pub(crate) fn redactions() -> Vec<(&'static str, &'static str)> {
    REDACTIONS.to_vec()
}
