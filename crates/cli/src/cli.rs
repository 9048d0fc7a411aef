//! The command line's types. The verbs are implemented in `commands`.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Autoscaling GitLab CI runners on AWS EC2 Spot.
#[derive(Debug, Parser)]
#[command(name = "onspot", version, styles = STYLES, max_term_width = 100)]
#[command(
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "Begin with `onspot init`, then `onspot plan` and `onspot up`.")]
pub(crate) struct Cli {
    /// Options of every verb.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The verb.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Global {
    /// Format of results; JSON is one value, or one per line where there are several
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    #[arg(display_order = 900)]
    pub(crate) output: Format,
    /// Print only results and errors
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        display_order = 901
    )]
    pub(crate) quiet: bool,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 902)]
    pub(crate) verbose: u8,
}

/// The format of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write an onspot.toml to begin with
    Init(Init),
    /// Show what `up` would change
    Plan(Plan),
    /// Create the stack, or bring it up to date
    Up(Up),
    /// Show the stack, its managers, workers and jobs
    Status(Stack),
    /// Show the logs of managers and workers
    Logs(Logs),
    /// Remove the stack and everything in it
    Down(Down),
    /// Print the stack as a config.toml of GitLab Runner
    Render(Render),
    /// Run jobs on this host, without AWS
    Run(Run),
    /// Say what becomes of each key of GitLab Runner's config.toml
    #[command(after_help = CHECK_HELP)]
    Check(Check),
    /// Write an onspot.toml with the runners of GitLab Runner's config.toml
    #[command(after_help = MIGRATE_HELP)]
    Migrate(Migrate),
    /// The manager's process, on its instance
    #[command(next_help_heading = "On instances")]
    Manager(Manager),
    /// A worker's process, on its instance
    Worker(Worker),
    /// Print the version
    Version,
    /// Answer one request inside a job's helper container
    #[command(hide = true)]
    Helper,
    /// Freeze or kill a worker's jobs when its lease has ended
    #[command(hide = true)]
    Watchdog(Watchdog),
}

/// Which stack.
#[derive(Debug, Clone, Args)]
pub(crate) struct Stack {
    /// The stack's description
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "onspot.toml",
        env = "ONSPOT_CONFIG"
    )]
    pub(crate) config: PathBuf,
}

/// `onspot init`
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The file to write; an existing one is not changed
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "onspot.toml",
        env = "ONSPOT_CONFIG"
    )]
    pub(crate) config: PathBuf,
    /// The runner's name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// GitLab's address, for example `https://gitlab.com`
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<url::Url>,
    /// Where the runner's token is: env:NAME, file:PATH or ssm:PARAMETER
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) token: Option<String>,
}

/// Files to upload for the instances.
#[derive(Debug, Clone, Args)]
pub(crate) struct Uploads {
    /// The onspot binary for the instances; this one if absent
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,
    /// The helper image from `docker save`, gzipped or not; made with Docker if absent
    #[arg(long, value_name = "FILE")]
    pub(crate) helper: Option<PathBuf>,
}

/// `onspot plan`
#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) stack: Stack,
    #[command(flatten)]
    pub(crate) uploads: Uploads,
}

/// `onspot up`
#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) stack: Stack,
    #[command(flatten)]
    pub(crate) uploads: Uploads,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Do not check the tokens at GitLab from here
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Seconds to wait until the manager has reached GitLab
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) wait: u64,
}

/// `onspot render`
#[derive(Debug, Args)]
pub(crate) struct Render {
    #[command(flatten)]
    pub(crate) stack: Stack,
    /// Ask AWS for the ids of the running stack
    #[arg(long)]
    pub(crate) live: bool,
}

const CHECK_HELP: &str = "\
The exit code is 0 if onspot can work with the file, 1 if something in it is refused or wrong.
No value of a key is printed, so that no secret is.";

/// `onspot check`
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// GitLab Runner's config.toml [default: config.toml]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The same, as for `onspot run`
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    pub(crate) config: Option<PathBuf>,
}

const MIGRATE_HELP: &str = "\
A comment stands at every key that changed its meaning, and one at the end for those that have no
place. A token that stands in the file is not copied: env:NAME is written in its place, the
environment variable that `onspot up` takes it from.";

/// `onspot migrate`
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// GitLab Runner's config.toml
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "onspot.toml")]
    pub(crate) out: PathBuf,
    /// Replace the file if it is there already
    #[arg(long)]
    pub(crate) force: bool,
}

/// `onspot down`
#[derive(Debug, Args)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) stack: Stack,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// `onspot logs`
#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) stack: Stack,
    /// Keep printing new lines as they arrive
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only managers, or only workers
    #[arg(long, value_enum, value_name = "ROLE")]
    pub(crate) role: Option<Role>,
    /// Only this instance
    #[arg(long, value_name = "ID")]
    pub(crate) instance: Option<String>,
    /// How far to look back, for example 30m or 2h
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub(crate) since: std::time::Duration,
}

/// The role of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Manager,
    Worker,
}

/// `onspot run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// GitLab Runner's config.toml
    #[arg(short, long, value_name = "FILE", default_value = "config.toml")]
    pub(crate) config: PathBuf,
    /// Folder of builds and caches; /var/lib/onspot for root, else ~/.local/state/onspot
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// `onspot manager`
#[derive(Debug, Args)]
pub(crate) struct Manager {
    /// A config.toml of GitLab Runner that replaces the runners' settings from the stack
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The manager's settings from its stack
    #[arg(long, value_name = "FILE", default_value = "/etc/onspot/manager.toml")]
    pub(crate) stack: PathBuf,
}

/// `onspot worker`
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// The worker's settings from its stack
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "/etc/onspot/worker.toml"
    )]
    pub(crate) config: PathBuf,
}

/// `onspot watchdog`
#[derive(Debug, Args)]
pub(crate) struct Watchdog {
    /// The worker's settings from its stack
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "/etc/onspot/worker.toml"
    )]
    pub(crate) config: PathBuf,
}

/// `90s`, `30m`, `2h`, `1d`.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("say for example 90s, 30m, 2h or 1d".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "say for example 90s, 30m, 2h or 1d".to_owned())?;
    let seconds = number
        .checked_mul(seconds)
        .ok_or("that is too long".to_owned())?;
    Ok(std::time::Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(duration("30m"), Ok(std::time::Duration::from_mins(30)));
        for text in ["", "m", "30", "-1s", "1w", "é", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
