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
) -> Result<ProjectId, Error> {
    let id = server.change(|state| state.add_project(namespace, name, Timestamp::now()));
    git::init(&git::path(&server.dir, id)).await?;
    tracing::info!(project = %id, path = format!("{namespace}/{name}"), "project made");
    Ok(id)
}
