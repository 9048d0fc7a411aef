//! Ctrl-C and SIGTERM: the first one ends the process gracefully, the second one at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::{Exit, Failure};

/// A token that the first Ctrl-C or SIGTERM cancels. A second one ends the process.
///
/// Must be called within the runtime.
pub(crate) fn shutdown_token() -> Result<CancellationToken, Failure> {
    let failed = |error| Failure::caused("cannot watch for signals", error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let token = CancellationToken::new();
    let told = token.clone();
    tokio::spawn(async move {
        next(&mut interrupt, &mut terminate).await;
        tracing::info!("ending; once more to end at once");
        told.cancel();
        next(&mut interrupt, &mut terminate).await;
        end_at_once();
    });
    Ok(token)
}

/// Does work that can be interrupted anywhere and repeated: Ctrl-C drops it.
pub(crate) async fn interruptible<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let shutdown = shutdown_token()?;
    tokio::select! {
        done = work => done,
        () = shutdown.cancelled() => Err(Failure::interrupted("interrupted")
            .hint("run the same command again: it continues from here")),
    }
}

async fn next(
    interrupt: &mut tokio::signal::unix::Signal,
    terminate: &mut tokio::signal::unix::Signal,
) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[expect(clippy::exit, reason = "a second Ctrl-C must end whatever still runs")]
fn end_at_once() {
    std::process::exit(Exit::Interrupted as i32);
}
