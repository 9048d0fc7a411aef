//! What `up` will do, as a value. It is computed once, so that a person can see it, agree to it and
//! have exactly that carried out.

use std::path::PathBuf;
use std::time::Duration;

use onspot_fleet::{Instance, group, template};
use onspot_reconcile::{Change, EventSender, Plan};

use crate::instances::images::Images;
use crate::instances::launch::{Ingredients, network_to_be, with_zones};
use crate::names::Names;
use crate::program::Program;
use crate::program::upload::{self, UploadPlan};
use crate::resources::graph::{self, Foundation, Observed};
use crate::resources::leftovers;
use crate::spec::Spec;
use crate::verbs::prepare::{self, Token};
use crate::{Clients, Error};

/// How to bring a stack up.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// The program for the instances.
    pub binary: PathBuf,
    /// The helper image as `docker save` writes it; workers build it themselves if absent.
    pub helper: Option<PathBuf>,
    /// Whether to ask GitLab about the tokens from here, before anything is made.
    pub verify: bool,
    /// How long to wait for the manager's hello to GitLab.
    pub patience: Duration,
}

impl UpOptions {
    /// The default options: upload `binary`, ask GitLab about the tokens, wait at most 10 minutes.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            helper: None,
            verify: true,
            patience: Duration::from_mins(10),
        }
    }
}

/// Computes what [`up`](crate::up()) would do, without changing anything.
///
/// # Errors
/// If something that `spec` names does not exist (a token, the binary, an image), or AWS refuses a
/// call.
pub async fn plan<'a>(
    spec: &'a Spec,
    clients: &'a Clients,
    options: &UpOptions,
) -> Result<StackPlan<'a>, Error> {
    let prepared = Prepared::find(spec, clients, options, None).await?;
    let comparison = prepared.compare().await?;
    Ok(StackPlan {
        prepared,
        comparison,
    })
}

/// Everything that has to be done to bring a stack in line with its file.
pub struct StackPlan<'a> {
    pub(super) prepared: Prepared<'a>,
    pub(super) comparison: Comparison,
}

impl StackPlan<'_> {
    /// The changes, in order. Ids that AWS has not assigned yet read `(known later)`.
    pub fn changes(&self) -> Plan {
        let mut plan = self.comparison.agreed();
        let retired = &self.comparison.retired;
        plan.merge(onspot_fleet::termination_plan(retired));
        plan.merge(self.comparison.foundation.leftovers().plan());
        plan
    }
}

/// What is known before the stack itself is observed.
pub(super) struct Prepared<'a> {
    pub(super) spec: &'a Spec,
    pub(super) clients: &'a Clients,
    pub(super) names: Names,
    pub(super) program: Program,
    pub(super) tokens: Vec<Token<'a>>,
    pub(super) images: Images,
}

impl<'a> Prepared<'a> {
    /// Finds the program, the tokens and the images, and checks that they can be used. GitLab is
    /// asked about the tokens only if `asking` is present; it receives the progress.
    pub(super) async fn find(
        spec: &'a Spec,
        clients: &'a Clients,
        options: &UpOptions,
        asking: Option<&EventSender>,
    ) -> Result<Self, Error> {
        let names = Names::new(&spec.name, clients.region())?;
        let program = Program::load(spec, &options.binary, options.helper.as_deref())?;
        let tokens = prepare::tokens(spec, clients, &names).await?;
        if let Some(events) = asking {
            prepare::verify(&tokens, events).await?;
        }
        Ok(Self {
            program,
            tokens,
            images: Images::resolve(clients, spec).await?,
            spec,
            clients,
            names,
        })
    }

    /// The name of the stack's bucket.
    pub(super) fn bucket(&self) -> String {
        self.names.bucket(self.clients.account())
    }

    /// Looks at the stack and compares it with what it should be.
    pub(super) async fn compare(&self) -> Result<Comparison, Error> {
        let Self {
            spec,
            clients,
            names,
            ..
        } = self;
        let observed = graph::observe(clients, names).await?;
        let zones = prepare::zones(spec, clients, &observed.network).await?;
        let parameters = prepare::parameters_of(&self.tokens);
        let foundation = Foundation::diff(spec, clients, names, &zones, &parameters, &observed)?;
        let uploads = upload::plan(&clients.s3, &self.bucket(), &self.program).await?;
        Ok(Comparison {
            instances: self.instances(&observed, &zones)?,
            retired: leftovers::without_runner(spec, &observed.instances),
            observed,
            foundation,
            uploads,
        })
    }

    /// The launch templates and the managers' group, as far as their network is known.
    fn instances(&self, observed: &Observed, zones: &[String]) -> Result<Plan, Error> {
        let nat = self.spec.network.nat.into();
        let network = match observed.network.network() {
            // The network as it will be: without zones that are to be removed, and with new zones
            // that have no ids yet.
            Some(network) => with_zones(network, nat, zones),
            None => network_to_be(nat, zones),
        };
        let role_ids = observed.iam.ids();
        let ingredients = Ingredients {
            spec: self.spec,
            clients: self.clients,
            names: &self.names,
            program: &self.program,
            images: &self.images,
            network: &network,
            role_ids: &role_ids,
        };
        let templates = ingredients.templates()?;
        let mut plan = template::diff(&templates, &observed.templates)?.plan();
        if let Some(manager) = templates.first() {
            let group = ingredients.group(manager);
            plan.merge(group::diff(&group, observed.group.as_ref())?.plan());
        }
        Ok(plan)
    }
}

/// The comparison of a stack with what it should be.
pub(super) struct Comparison {
    pub(super) observed: Observed,
    pub(super) foundation: Foundation,
    pub(super) uploads: UploadPlan,
    /// The launch templates and the managers' group.
    instances: Plan,
    /// Workers whose runner is no longer in the file.
    retired: Vec<Instance>,
}

impl Comparison {
    /// The changes that only an `up` makes. Workers come and go by themselves, and so does their
    /// use of the network.
    fn agreed(&self) -> Plan {
        let mut plan = self.foundation.plan();
        plan.merge(self.uploads.plan());
        plan.merge(self.instances.clone());
        plan
    }

    /// Returns an error if this later comparison differs from `agreed` by more than `made`, the
    /// changes made between the two.
    pub(super) fn check(&self, agreed: &Self, made: &Plan) -> Result<(), Error> {
        let mut now = made.clone();
        now.merge(self.agreed());
        let differences = differences(&agreed.agreed(), &now);
        if differences.is_empty() {
            Ok(())
        } else {
            Err(Error::Changed { differences })
        }
    }
}

/// The changes that only one of the two plans has, one line each.
fn differences(agreed: &Plan, now: &Plan) -> Vec<String> {
    let only = |one: &Plan, other: &Plan, why: &str| {
        let others: Vec<&Change> = other.acting().collect();
        one.acting()
            .filter(|change| !others.contains(change))
            .map(|change| format!("{}: {why}", change.title()))
            .collect::<Vec<_>>()
    };
    let mut lines = only(agreed, now, "no longer to be done");
    lines.extend(only(now, agreed, "was not in the plan"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(changes: impl IntoIterator<Item = Change>) -> Plan {
        changes.into_iter().collect()
    }

    #[test]
    fn a_plan_that_holds_still_has_no_differences() {
        let bucket = || Change::create("bucket", "ci");
        let vpc = || Change::create("VPC", "ci");
        let kept = Change::keep("role", "ci");
        // The bucket is made first, for the lock; unchanged resources do not matter.
        let agreed = plan([vpc(), bucket(), kept]);
        assert_eq!(differences(&agreed, &plan([bucket(), vpc()])), [""; 0]);
    }

    #[test]
    fn what_somebody_else_did_or_undid_is_named() {
        let agreed = plan([Change::create("VPC", "ci")]);
        let now = plan([Change::delete("role", "ci-old")]);
        assert_eq!(
            differences(&agreed, &now),
            [
                "create VPC ci: no longer to be done",
                "delete role ci-old: was not in the plan"
            ]
        );
    }
}
