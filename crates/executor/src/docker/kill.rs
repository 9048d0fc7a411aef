//! Kills containers' processes without the engine.

use std::path::Path;

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
        let _ = tokio::task::spawn_blocking(move || kill_in(&[id])).await;
    }
}

/// Kills the processes in all containers with `mark` in their description, which the engine keeps
/// in `folder`. A paused one dies when it is unpaused with cgroup v1, and at once with v2.
pub(super) async fn kill_without_engine(folder: &Path, mark: &str) {
    let (folder, mark) = (folder.to_owned(), mark.to_owned());
    let killing = move || match described(&folder, &mark) {
        Ok(ids) => kill_in(&ids),
        Err(error) => tracing::error!(%error, "the engine's containers are not known"),
    };
    let _ = tokio::task::spawn_blocking(killing).await;
}

/// The ids of the containers whose descriptions contain `mark`.
fn described(folder: &Path, mark: &str) -> std::io::Result<Vec<String>> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // One that has just been removed has no description any more.
        let described = std::fs::read_to_string(entry.path().join("config.v2.json"));
        if let Ok(id) = entry.file_name().into_string()
            && id.len() == ID
            && described.is_ok_and(|text| text.contains(mark))
        {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Kills every process of this host whose cgroup is one of the containers'.
fn kill_in(ids: &[String]) {
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
        if groups.is_ok_and(|groups| ids.iter().any(|id| groups.contains(id))) {
            // The process may have just ended, which is fine.
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The engine is asked for nothing between a container's start and its end.
    #[tokio::test]
    async fn containers_are_found_and_killed_without_the_engine() {
        let docker = |args: &[&str]| {
            let ran = Command::new("docker").args(args).output();
            let ran = ran.ok().filter(|ran| ran.status.success())?;
            Some(String::from_utf8_lossy(&ran.stdout).trim().to_owned())
        };
        let Some(root) = docker(&["info", "--format", "{{.DockerRootDir}}"]) else {
            eprintln!("skipped: there is no Docker here");
            return;
        };
        let folder = Path::new(&root).join("containers");
        if std::fs::read_dir(&folder).is_err() {
            eprintln!("skipped: the engine's files can't be read");
            return;
        }
        let mark = format!("onspot.test={}", std::process::id());
        let run = [
            "run",
            "-d",
            "--rm",
            "--label",
            &mark,
            "--entrypoint",
            "sleep",
        ];
        let image = ["onspot-helper:0.1.0", "600"];
        let Some(id) = docker(&[&run[..], &image[..]].concat()) else {
            eprintln!("skipped: there is no image of the helper");
            return;
        };
        let mark = mark.replace('=', "\":\"");
        kill_without_engine(&folder, &mark).await;
        let waited = docker(&["wait", &id]);
        assert!(waited.is_none_or(|code| code == "137"));
        assert_eq!(
            described(&folder, "no such mark").unwrap(),
            Vec::<String>::new()
        );
    }
}
