//! The machine images of instances.

use std::collections::BTreeMap;

use onspot_fleet::Image;
use onspot_reconcile::ServiceResultExt as _;

use crate::spec::{Os, Spec};
use crate::{Clients, Error};

/// The images of a stack's instances.
#[derive(Debug, Clone, Default)]
pub(crate) struct Images {
    /// By the id in the specification, or by the parameter that names the newest image.
    found: BTreeMap<String, Image>,
}

impl Images {
    /// Looks up the images that `spec` names, and the newest image of each operating system that is
    /// used without one.
    pub(crate) async fn resolve(clients: &Clients, spec: &Spec) -> Result<Self, Error> {
        let workers = spec.runners.iter().map(|runner| &runner.workers);
        let wanted = workers
            .map(|workers| (workers.os, workers.ami.as_deref()))
            .chain([(spec.manager.os, spec.manager.ami.as_deref())]);
        let mut found = BTreeMap::new();
        for (os, named) in wanted {
            let key = key(os, named);
            if !found.contains_key(key) {
                let id = match named {
                    Some(id) => id.to_owned(),
                    None => newest(clients, os).await?,
                };
                found.insert(
                    key.to_owned(),
                    onspot_fleet::image(&clients.ec2, &id).await?,
                );
            }
        }
        Ok(Self { found })
    }

    /// The image with the id `named`, or else the newest one of `os`.
    pub(crate) fn of(&self, os: Os, named: Option<&str>) -> Result<Image, Error> {
        let found = self.found.get(key(os, named)).cloned();
        found.ok_or_else(|| Error::NoImage { os: os.to_string() })
    }
}

fn key(os: Os, named: Option<&str>) -> &str {
    named.unwrap_or(os.image_parameter())
}

/// The id of the newest image, from the SSM parameter that its vendor publishes.
async fn newest(clients: &Clients, os: Os) -> Result<String, Error> {
    let answer = clients
        .ssm
        .get_parameter()
        .name(os.image_parameter())
        .send()
        .await;
    let no_image = || Error::NoImage { os: os.to_string() };
    match answer.calling("GetParameter") {
        Ok(answer) => answer
            .parameter
            .and_then(|found| found.value)
            .ok_or_else(no_image),
        Err(error) if error.is_not_found() => Err(no_image()),
        Err(error) => Err(error.into()),
    }
}
