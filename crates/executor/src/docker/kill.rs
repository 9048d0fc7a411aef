//! What is paused is killed as it is.

use bollard::Docker;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The length of a container's whole id.
const ID: usize = 64;

/// Kills what is paused in a container, so that nothing of it is left when it is unpaused.
///
/// The engine kills the first process alone, and unpauses the container for that: until its death
/// has reached the others, they run on (cgroup v1). Where this process may not kill them, as one of
/// another user's, that moment is all there is.
pub(super) async fn kill_paused(docker: &Docker, id: &str) {
    let Ok(container) = docker.inspect_container(id, None).await else {
        return;
    };
    let is_paused = container.state.and_then(|state| state.paused) == Some(true);
    // Only a whole id names one container for sure.
    if let Some(id) = container.id.filter(|id| is_paused && id.len() == ID) {
        // A walk through `/proc` takes a moment.
        let _ = tokio::task::spawn_blocking(move || kill_in(&id)).await;
    }
}

/// Kills every process of this host whose control group is the container's.
fn kill_in(id: &str) {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return;
    };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for pid in numbers.filter_map(Pid::from_raw) {
        // Held first, looked at then: what is killed is what was looked at.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()));
        if groups.is_ok_and(|groups| groups.contains(id)) {
            // One that has just ended is what was wanted.
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }
    }
}
