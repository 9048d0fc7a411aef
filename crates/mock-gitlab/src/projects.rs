//! New projects.

use jiff::Timestamp;

use crate::error::Error;
use crate::git;
use crate::ids::ProjectId;
use crate::server::Server;

/// Make a project with an empty repository.
pub(crate) async fn create(
    server: &Server,
    namespace: &str,
    name: &str,
    object_format: &'static str,
) -> Result<ProjectId, Error> {
    let id = server.change(|state| {
        let id = state.add_project(namespace, name, Timestamp::now());
        if let Some(project) = state.projects.get_mut(&id) {
            project.object_format = object_format;
        }
        id
    });
    git::init(&git::path(&server.dir, id), object_format).await?;
    tracing::info!(project = %id, path = format!("{namespace}/{name}"), "project made");
    Ok(id)
}
