//! Removes leftovers: a world's at its end, dead worlds' at any time.

use std::collections::HashMap;

use bollard::Docker;
use bollard::query_parameters::ListNetworksOptionsBuilder;

use crate::engine::{self, labels};
use crate::{Error, Result};

/// What to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// Everything of this world.
    World(&'a str),
    /// Everything of worlds whose process is dead.
    Dead,
    /// Everything of the worlds of this process.
    OfThisProcess,
    /// Everything of every world.
    All,
}

impl Which<'_> {
    fn covers(self, found: &HashMap<String, String>) -> bool {
        match self {
            Self::All => true,
            Self::OfThisProcess => found.get(labels::OWNER) == Some(&labels::owner()),
            Self::World(id) => found.get(labels::WORLD).is_some_and(|world| world == id),
            Self::Dead => !found
                .get(labels::OWNER)
                .is_some_and(|owner| labels::is_alive(owner)),
        }
    }
}

/// Removes containers with their volumes, and networks; returns how many.
pub async fn sweep(docker: &Docker, which: Which<'_>) -> Result<usize> {
    let mut removed = 0;
    let found = engine::containers(docker, labels::WORLD).await?;
    let doomed: Vec<_> = found
        .iter()
        .filter(|found| which.covers(&found.labels))
        .collect();
    let gone =
        futures::future::join_all(doomed.iter().map(|found| engine::remove(docker, &found.id)));
    for result in gone.await {
        result?;
        removed += 1;
    }
    let filters = HashMap::from([("label", vec![labels::WORLD])]);
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let networks = docker
        .list_networks(Some(options))
        .await
        .map_err(Error::docker("list networks"))?;
    for network in networks {
        let (Some(name), Some(found)) = (network.name, network.labels) else {
            continue;
        };
        if which.covers(&found) {
            docker
                .remove_network(&name)
                .await
                .map_err(Error::docker(format!("remove the network {name}")))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The containers of a world, for display.
pub async fn parts(docker: &Docker, world: &str) -> Result<Vec<String>> {
    let found = engine::containers(docker, &format!("{}={world}", labels::WORLD)).await?;
    let part = |of: &HashMap<String, String>| {
        let part = of.get(labels::PART).cloned().unwrap_or_default();
        let instance = of.get(labels::INSTANCE).cloned().unwrap_or_default();
        format!("{part} {instance}").trim_end().to_owned()
    };
    Ok(found.iter().map(|found| part(&found.labels)).collect())
}
