//! Kills paused containers without letting them run again.

use bollard::Docker;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The length of a container's full id.
const ID: usize = 64;

/// Kills the processes in a paused container, so that nothing runs when it is unpaused.
///
/// The engine kills only the first process, and unpauses the container for that: until the others
/// die too, they run (cgroup v1). If this process may not kill them because they belong to another
/// user, that moment cannot be avoided.
pub(super) async fn kill_paused(docker: &Docker, id: &str) {
    let Ok(container) = docker.inspect_container(id, None).await else {
        return;
    };
    let is_paused = container.state.and_then(|state| state.paused) == Some(true);
    // Only a full id is certain to name a single container.
    if let Some(id) = container.id.filter(|id| is_paused && id.len() == ID) {
        // Reading `/proc` takes a moment.
        let _ = tokio::task::spawn_blocking(move || kill_in(&id)).await;
    }
}

/// Kills every process of this host whose cgroup is the container's.
fn kill_in(id: &str) {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return;
    };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for pid in numbers.filter_map(Pid::from_raw) {
        // Opened first and checked then, so that the killed process is the checked one.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()));
        if groups.is_ok_and(|groups| groups.contains(id)) {
            // The process may have just ended, which is fine.
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }
    }
}
