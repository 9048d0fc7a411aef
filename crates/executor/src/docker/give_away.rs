//! Changes the owner of the job's files to the user of its image, if
//! `FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR` is set.
//!
//! By default everybody may write to files that the helper creates. With that flag the helper uses
//! the usual permissions, and its files are given to the user of the scripts.

use onspot_gitlab::TraceWriter;

use super::container;
use super::job::DockerJob;
use crate::error::Error;
use crate::helper::request::GiveAway;
use crate::helper::{HelperCall, HelperRequest};
use crate::host::Host;

impl DockerJob<'_> {
    /// Changes the owner of the job's files to the container's user, unless that is root.
    pub(super) async fn give_away(
        &self,
        container: &str,
        trace: &TraceWriter,
    ) -> Result<(), Error> {
        if !self.plan.gives_away {
            return Ok(());
        }
        let docker = &self.inner.docker;
        let made = docker.inspect_container(container, None).await;
        let made = made.map_err(Error::docker("look at the job's container"))?;
        let user = made.config.and_then(|config| config.user);
        if is_root(user.as_deref().unwrap_or_default()) {
            return Ok(());
        }
        // Only the image knows the user's numbers. The container can be started again for the
        // script.
        let said = TraceWriter::detached(&[]).map_err(Error::Masks)?;
        container::run(docker, container, "id -u; id -g\n", &self.gate, &said).await?;
        let said = String::from_utf8_lossy(&said.contents()).into_owned();
        let Some(to) = numbers(&said) else {
            let said = said.trim();
            return Err(Error::Unsupported(format!(
                "the image does not say who its user is: `id` printed {said:?}"
            )));
        };
        let call = HelperCall {
            place: self.plan.place.clone(),
            request: HelperRequest::GiveAway(to),
        };
        self.call(&call, trace).await.map(drop)
    }
}

/// Whether a container's user is root by name: then nothing has to be changed.
fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default();
    matches!(name, "" | "root" | "0")
}

fn numbers(said: &str) -> Option<GiveAway> {
    let mut lines = said.lines().map(|line| line.trim().parse().ok());
    Some(GiveAway {
        user: lines.next()??,
        group: lines.next()??,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_name_or_number() {
        for root in ["", "root", "0", "0:0", "root:app"] {
            assert!(is_root(root), "{root}");
        }
        assert!(!is_root("app") && !is_root("1000:0"));
        let to = GiveAway {
            user: 1000,
            group: 1001,
        };
        assert_eq!(numbers("1000\n1001\n"), Some(to));
        assert_eq!(numbers("id: not found\n"), None);
        assert_eq!(numbers(""), None);
    }
}
