//! The services' output in the job's trace while they run, where `CI_DEBUG_SERVICES` asks for it.

use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::LogsOptionsBuilder;
use futures::StreamExt;
use futures::future::join_all;
use onspot_gitlab::TraceWriter;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::job::DockerJob;
use super::service::Service;

/// How long the end of a log may take to arrive once its container is gone.
const REST: Duration = Duration::from_secs(2);
/// The longest line that is put together.
const LONGEST: usize = 64 << 10;

/// Grey, as in GitLab Runner.
const GREY: &str = "\x1b[0;37m";
const RESET: &str = "\x1b[0;m";

/// Copies a service's log into the trace; ends with the service, or when it is dropped.
#[derive(Debug)]
pub(super) struct ServiceLog(JoinHandle<()>);

impl ServiceLog {
    /// Begins with what the service has said since its start.
    pub(super) fn start(
        docker: &Docker,
        id: &str,
        aliases: &[String],
        trace: &TraceWriter,
    ) -> Self {
        let (docker, trace) = (docker.clone(), trace.clone());
        let id = id.to_owned();
        let mut lines = Lines::new(&aliases.join("-"));
        Self(tokio::spawn(async move {
            let options = LogsOptionsBuilder::default()
                .stdout(true)
                .stderr(true)
                .timestamps(true)
                .follow(true)
                .build();
            let mut log = docker.logs(&id, Some(options));
            while let Some(chunk) = log.next().await {
                match chunk {
                    Ok(chunk) => trace.write(&lines.take(chunk.as_ref())),
                    Err(error) => {
                        tracing::debug!(id, %error, "a service's log has ended");
                        break;
                    }
                }
            }
            trace.write(&lines.rest());
        }))
    }

    async fn end(&mut self) {
        if timeout(REST, &mut self.0).await.is_err() {
            self.0.abort();
        }
    }
}

impl Drop for ServiceLog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl DockerJob<'_> {
    /// Waits for the rest of the logs, once the services are gone.
    pub(super) async fn end_service_logs(&self) {
        let logs: Vec<ServiceLog> = self.services.iter().filter_map(Service::take_log).collect();
        join_all(
            logs.into_iter()
                .map(|mut log| async move { log.end().await }),
        )
        .await;
    }
}

/// Makes whole lines of pieces, each with the service's name before it.
struct Lines {
    name: String,
    begun: Vec<u8>,
}

impl Lines {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            begun: Vec::new(),
        }
    }

    fn take(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut ready = Vec::new();
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            self.begun.extend_from_slice(part);
            if part.ends_with(b"\n") || self.begun.len() > LONGEST {
                ready.extend(self.rest());
            }
        }
        ready
    }

    fn rest(&mut self) -> Vec<u8> {
        let line = std::mem::take(&mut self.begun);
        let text = line.trim_ascii_end();
        if text.is_empty() {
            return Vec::new();
        }
        let mut said = format!("{GREY}[service:{}] ", self.name).into_bytes();
        said.extend_from_slice(text);
        said.extend_from_slice(format!("{RESET}\n").as_bytes());
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_which_service_it_is_from() {
        let mut lines = Lines::new("postgres-db");
        let mut all = Vec::new();
        for piece in ["start", "ing\nready\r\n\n", "half"] {
            all.extend(lines.take(piece.as_bytes()));
        }
        all.extend(lines.rest());
        all.extend(lines.rest());
        let line = |text: &str| format!("{GREY}[service:postgres-db] {text}{RESET}\n");
        let expected = [line("starting"), line("ready"), line("half")].concat();
        assert_eq!(String::from_utf8(all).unwrap(), expected);
    }
}
