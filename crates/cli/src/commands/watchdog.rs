//! `onspot watchdog`: freezes or kills a worker's jobs when its lease has ended, even if the agent
//! is gone.

use onspot_runner::{Clock, Liveness};
use onspot_settings::WorkerSettings;

use crate::cli::Watchdog;
use crate::failure::Failure;
use crate::{signals, systemd};

/// Watches until it is told to stop.
pub(crate) async fn watchdog(args: &Watchdog) -> Result<(), Failure> {
    let settings = WorkerSettings::load(&args.config)?;
    let shutdown = signals::shutdown_token()?;
    let notifier = systemd::Notifier::from_env();
    notifier.ready();
    let limit = onspot_runner::freeze_limit(&settings.timing);
    let freeze = onspot_executor::freeze_all;
    let kill = || async { onspot_executor::kill_all(limit).await.map(drop) };
    let clock = Clock::system();
    let loops = Liveness::new();
    tokio::select! {
        () = onspot_runner::watchdog(
            &settings.lease_file, &clock, limit, freeze, kill, &loops, shutdown,
        ) => {}
        never = notifier.keep_alive(&loops) => match never {},
    }
    notifier.stopping();
    Ok(())
}
