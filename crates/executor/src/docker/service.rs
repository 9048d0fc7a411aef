//! A started service of a job.

use std::sync::atomic::{AtomicBool, Ordering};

use bollard::Docker;
use onspot_gitlab::TraceWriter;
use parking_lot::Mutex;

use super::container;
use super::service_log::ServiceLog;

/// How many bytes of the end of a service's log are shown.
const SHOWN: usize = 64 << 10;

/// A started service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) id: String,
    /// Its image, for messages.
    pub(super) name: String,
    pub(super) ports: Vec<u16>,
    /// Its address when it was started, if it had one.
    pub(super) address: Option<String>,
    /// Whether its log is in the trace already.
    told: AtomicBool,
    /// Its log on the way into the trace, if the job asked for it.
    log: Mutex<Option<ServiceLog>>,
}

impl Service {
    pub(super) fn new(id: String, image: &str) -> Self {
        Self {
            id,
            name: image.to_owned(),
            ports: Vec::new(),
            address: None,
            told: AtomicBool::new(false),
            log: Mutex::new(None),
        }
    }

    /// Its log goes into the trace from now on.
    pub(super) fn follow(&self, log: ServiceLog) {
        *self.log.lock() = Some(log);
    }

    /// That log, if it is still followed.
    pub(super) fn take_log(&self) -> Option<ServiceLog> {
        self.log.lock().take()
    }

    /// Reports what happened to it and shows its log, once.
    pub(super) async fn tell(&self, docker: &Docker, what: &str, trace: &TraceWriter) {
        if self.told.swap(true, Ordering::SeqCst) {
            return;
        }
        trace.warning(&format!(
            "service {} {what}: it probably didn't start properly. Its log:",
            self.name
        ));
        match container::logs(docker, &self.id, SHOWN).await {
            Ok(log) if log.is_empty() => trace.info("(it is empty)"),
            Ok(log) => trace.write(&log),
            Err(error) => trace.warning(&format!("it can't be read: {error}")),
        }
        trace.line("*********");
    }
}
