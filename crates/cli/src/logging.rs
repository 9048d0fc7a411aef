//! Where the processes' own log goes: stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{Format, Global};

/// The environment variable with a filter of its own, as `tracing` reads it.
const FILTER: &str = "ONSPOT_LOG";

/// Turns the log on. `daemon` is for processes that run for long: what happens to jobs is what
/// one wants to see of them.
pub(crate) fn init(global: Global, daemon: bool) {
    let level = match (global.quiet, global.verbose, daemon) {
        (true, _, _) => "error",
        (false, 0, false) => "warn",
        (false, 0, true) | (false, 1, false) => "info",
        (false, _, _) => "debug",
    };
    let others = if global.verbose >= 2 { "info" } else { "warn" };
    // A target is matched by its beginning: `onspot` covers all our crates.
    // Where credentials were looked for in vain is told by the error, if it is one.
    let default = format!("{others},aws_config=error,onspot={level}");
    let filter = EnvFilter::builder()
        .with_env_var(FILTER)
        .try_from_env()
        .or_else(|_| EnvFilter::try_new(&default))
        .unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let colours = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    // journald notes the time itself.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    // A subscriber that is set already is a test's.
    let _ = match (global.output, std::io::stderr().is_terminal(), journal) {
        (Format::Json, _, _) => registry.with(lines.json().flatten_event(true)).try_init(),
        (Format::Text, true, _) => registry.with(lines.with_ansi(colours).compact()).try_init(),
        (Format::Text, false, true) => registry
            .with(lines.with_ansi(false).without_time())
            .try_init(),
        (Format::Text, false, false) => registry.with(lines.with_ansi(false)).try_init(),
    };
}
