//! What `up` would do.

use onspot_fleet::{group, template};
use onspot_reconcile::Plan;

use crate::artifacts::Artifacts;
use crate::graph::{self, Foundation};
use crate::images::Images;
use crate::instances::{Ingredients, network_to_be, with_zones};
use crate::names::Names;
use crate::spec::Spec;
use crate::up::UpOptions;
use crate::{Clients, Error, prepare, strays, upload};

/// What [`up`](crate::up()) would do, without doing any of it.
///
/// Ids that AWS has yet to give read `(known later)`.
pub async fn plan(spec: &Spec, clients: &Clients, options: &UpOptions) -> Result<Plan, Error> {
    let names = Names::new(&spec.name, clients.region())?;
    let artifacts = Artifacts::load(spec, &options.binary, options.helper.as_deref())?;
    let tokens = prepare::tokens(spec, clients, &names).await?;
    let images = Images::resolve(clients, spec).await?;
    let observed = graph::observe(clients, &names).await?;
    let zones = prepare::zones(spec, clients, &observed.network).await?;
    let parameters = prepare::parameters_of(&tokens);
    let foundation = Foundation::diff(spec, clients, &names, &zones, &parameters, &observed)?;
    let bucket = names.bucket(clients.account());
    let uploads = upload::plan(&clients.s3, &bucket, &artifacts).await?;

    let nat = spec.network.nat.into();
    let network = match observed.network.network() {
        // As it will be: other zones are on their way out, new ones have no ids yet.
        Some(network) => with_zones(network, nat, &zones),
        None => network_to_be(nat, &zones),
    };
    let ingredients = Ingredients {
        spec,
        clients,
        names: &names,
        artifacts: &artifacts,
        images: &images,
        network: &network,
        role_ids: &observed.iam.ids(),
    };
    let templates = ingredients.templates()?;
    let mut plan = foundation.plan();
    plan.merge(uploads.plan());
    plan.merge(template::diff(&templates, &observed.templates)?.plan());
    if let Some(manager) = templates.first() {
        let group = ingredients.group(manager);
        plan.merge(group::diff(&group, observed.group.as_ref())?.plan());
    }
    let strays = strays::strays(spec, &observed.instances);
    plan.merge(onspot_fleet::termination_plan(&strays));
    plan.merge(foundation.leftovers().plan());
    Ok(plan)
}
