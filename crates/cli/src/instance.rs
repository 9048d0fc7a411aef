//! Shared by the processes on instances: identity, logs, and notifications to systemd.

use std::time::Duration;

use aws_config::SdkConfig;
use onspot_runner::Liveness;
use onspot_runner::imds::{IMDS_URL, Imds};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::failure::Failure;
use crate::logship::{self, Destination};
use crate::{signals, systemd};

/// The pause between requests to a metadata service that does not answer yet.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long the metadata service may take to come up.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long shipping the last log lines may take.
const LAST_LINES: Duration = Duration::from_secs(8);

/// The instance that this process runs on.
#[derive(Debug)]
pub(crate) struct Instance {
    /// EC2's id.
    pub(crate) id: String,
    /// The instance's metadata.
    pub(crate) imds: Imds,
    /// Configuration of the AWS clients, with the instance's own credentials.
    pub(crate) aws: SdkConfig,
}

/// Where an instance's logs go.
#[derive(Debug)]
pub(crate) struct Logs<'a> {
    /// The log group; if empty, no logs are shipped.
    pub(crate) group: &'a str,
    /// `manager` or `worker`.
    pub(crate) role: &'a str,
    /// The systemd units whose journal is shipped.
    pub(crate) units: &'static [&'static str],
}

impl Instance {
    /// Asks the metadata service for the instance's identity.
    pub(crate) async fn here(region: &str, endpoint: Option<&str>) -> Result<Self, Failure> {
        let root = Url::parse(IMDS_URL)
            .map_err(|error| Failure::caused("the metadata service has no address", error))?;
        let imds = Imds::new(root);
        let asked = tokio::time::timeout(PATIENCE, async {
            loop {
                match imds.instance_id().await {
                    Ok(id) => return id,
                    Err(error) => {
                        tracing::warn!(%error, "the metadata service does not answer yet");
                    }
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        });
        let id = asked.await.map_err(|_| {
            Failure::new("the instance metadata service does not answer")
                .hint("this verb runs on an instance of a stack; elsewhere use `onspot run`")
        })?;
        let endpoint = endpoint
            .map(Url::parse)
            .transpose()
            .map_err(|error| Failure::caused("endpoint_url is not a URL", error))?;
        let aws = onspot_stack::sdk_config(Some(region), endpoint.as_ref()).await;
        Ok(Self { id, imds, aws })
    }

    /// Does the work until it ends or the process is told to stop. Meanwhile it ships logs, and
    /// keeps systemd's watchdog quiet as long as all `loops` make progress.
    pub(crate) async fn serve<W>(
        &self,
        logs: Logs<'_>,
        loops: &Liveness,
        work: impl FnOnce(CancellationToken) -> W,
    ) -> Result<(), Failure>
    where
        W: Future<Output = Result<(), Failure>>,
    {
        let shutdown = signals::shutdown_token()?;
        let notifier = systemd::Notifier::from_env();
        let no_more_lines = CancellationToken::new();
        let shipping = self.ship(&logs, &no_more_lines);
        notifier.ready();
        let done = tokio::select! {
            done = work(shutdown) => done,
            never = notifier.keep_alive(loops) => match never {},
        };
        notifier.stopping();
        if let Err(failure) = &done {
            // It is printed only at the very end; this puts it into the shipped logs.
            tracing::error!("{failure}");
        }
        no_more_lines.cancel();
        if let Some(shipping) = shipping {
            // Lines that are not shipped in time stay in the journal.
            let _ = tokio::time::timeout(LAST_LINES, shipping).await;
        }
        done
    }

    /// Ships the units' journal in the background, if there is a log group.
    fn ship(
        &self,
        logs: &Logs<'_>,
        end: &CancellationToken,
    ) -> Option<tokio::task::JoinHandle<()>> {
        if logs.group.is_empty() {
            return None;
        }
        let destination = Destination {
            client: aws_sdk_cloudwatchlogs::Client::new(&self.aws),
            group: logs.group.to_owned(),
            stream: format!("{}/{}", logs.role, self.id),
            first_wait: Duration::from_secs(1),
        };
        Some(tokio::spawn(logship::run(
            logs.units,
            destination,
            end.clone(),
        )))
    }
}
