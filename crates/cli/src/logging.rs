//! The log of the processes, on stderr.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::cli::{Format, Global};

/// The environment variable with a filter in `tracing`'s syntax.
const FILTER: &str = "ONSPOT_LOG";

/// Changes the level later, unless the command line or the environment has set it.
static CONFIGURABLE: OnceLock<Handle<EnvFilter, Registry>> = OnceLock::new();

/// Sets up the log. `daemon` is for long-running processes, which also log what happens to jobs.
pub(crate) fn init(global: Global, daemon: bool) {
    let level = match (global.quiet, global.verbose, daemon) {
        (true, _, _) => "error",
        (false, 0, false) => "warn",
        (false, 0, true) | (false, 1, false) => "info",
        (false, _, _) => "debug",
    };
    let others = if global.verbose >= 2 { "info" } else { "warn" };
    let default = filter(others, level);
    let given = EnvFilter::builder().with_env_var(FILTER).try_from_env();
    let open = given.is_err() && !global.quiet && global.verbose == 0;
    let (filter, handle) = reload::Layer::new(given.unwrap_or(default));
    if open {
        // It is set already only in tests.
        let _ = CONFIGURABLE.set(handle);
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let colours = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    // journald adds the time itself.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    // A subscriber is set already only in tests.
    let _ = match (global.output, std::io::stderr().is_terminal(), journal) {
        (Format::Json, _, _) => registry.with(lines.json().flatten_event(true)).try_init(),
        (Format::Text, true, _) => registry.with(lines.with_ansi(colours).compact()).try_init(),
        (Format::Text, false, true) => registry
            .with(lines.with_ansi(false).without_time())
            .try_init(),
        (Format::Text, false, false) => registry.with(lines.with_ansi(false)).try_init(),
    };
}

/// Takes the level from a `config.toml` (`log_level`).
pub(crate) fn configured(log_level: Option<&str>) {
    let Some((handle, level)) = CONFIGURABLE.get().zip(log_level.map(level_of)) else {
        return;
    };
    // This fails only when the log has been shut down.
    let _ = handle.reload(filter("warn", level));
}

/// Maps GitLab Runner's levels, the last two of which end the process there.
fn level_of(log_level: &str) -> &'static str {
    match log_level {
        "trace" => "trace",
        "debug" => "debug",
        "warn" | "warning" => "warn",
        "error" | "fatal" | "panic" => "error",
        _ => "info",
    }
}

/// A filter with one level for our own crates and one for all others. A target matches by prefix:
/// `onspot` covers all our crates. Of `aws_config` only errors are logged: if it finds no
/// credentials, the failed call reports it.
fn filter(others: &str, level: &str) -> EnvFilter {
    EnvFilter::try_new(format!("{others},aws_config=error,onspot={level}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gitlab_runners_levels_are_ours() {
        for (written, level) in [
            ("debug", "debug"),
            ("info", "info"),
            ("warning", "warn"),
            ("fatal", "error"),
        ] {
            assert_eq!(level_of(written), level);
            let shown = filter("warn", level_of(written)).to_string();
            assert!(shown.contains(&format!("onspot={level}")), "{shown}");
        }
    }
}
