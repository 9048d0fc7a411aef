//! The project folders in a slot.

use std::path::Path;

use onspot_gitlab::job::JobPayload;

use crate::error::Error;

/// The folder of the project's files in a slot: one for protected branches and tags, another for
/// the others.
pub(super) fn folder_of(job: &JobPayload) -> String {
    let kind = if job.is_protected() { "-protected" } else { "" };
    format!("p{}{kind}", job.job_info.project_id)
}

/// Removes the folders of other projects from the slot.
pub(super) async fn remove_others(builds: &Path) -> Result<(), Error> {
    let (Some(slot), Some(own)) = (builds.parent(), builds.file_name()) else {
        return Ok(());
    };
    let failed = |error| Error::io(format!("clear {}", slot.display()))(error);
    let mut entries = match tokio::fs::read_dir(slot).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        if entry.file_name() == *own {
            continue;
        }
        let is_dir = entry.file_type().await.map_err(failed)?.is_dir();
        let removed = if is_dir {
            tokio::fs::remove_dir_all(entry.path()).await
        } else {
            tokio::fs::remove_file(entry.path()).await
        };
        removed.map_err(failed)?;
    }
    Ok(())
}
