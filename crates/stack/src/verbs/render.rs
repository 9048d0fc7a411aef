//! A stack as a `config.toml`, for people to look at.

use crate::instances::config::{self, Places};
use crate::names::Names;
use crate::spec::Spec;
use crate::{Clients, Error};

/// The account in the bucket's name where nobody was asked.
const UNKNOWN_ACCOUNT: &str = "000000000000";
/// The region where none is named.
const UNKNOWN_REGION: &str = "us-east-1";

/// Renders `config.toml` in the shape of 2017. With `clients` it holds the ids of the stack that
/// is up; without, it leaves out what only AWS knows.
pub async fn render(spec: &Spec, clients: Option<&Clients>) -> Result<String, Error> {
    let region = clients
        .map(Clients::region)
        .or(spec.region.as_deref())
        .unwrap_or(UNKNOWN_REGION);
    let names = Names::new(&spec.name, region)?;
    let network = match clients {
        Some(clients) => onspot_netplan::observe(&clients.ec2, names.stack())
            .await?
            .network(),
        None => None,
    };
    let places = Places {
        names: &names,
        bucket: names.bucket(clients.map_or(UNKNOWN_ACCOUNT, Clients::account)),
        endpoint: spec.aws.endpoint_url.as_ref(),
        network: network.as_ref(),
    };
    Ok(onspot_runnerconf::render(&config::of_stack(spec, &places)))
}
