//! The layers of a stack and how they depend on each other.
//!
//! ```text
//!   network ─┐
//!   bucket ──┼─▶ uploads ─┐
//!   roles ───┤            ├─▶ launch templates ─▶ managers' group ─▶ hello
//!   tokens ──┤            │
//!   logs ────┴────────────┘
//! ```
//!
//! The first column needs only names, so its layers are made concurrently; `down` goes in the
//! opposite order. Every layer observes, compares and applies by itself; this module only joins
//! them.

use std::collections::BTreeMap;

use onspot_cache::bucket::{self, BucketPlan, BucketSpec, BucketState};
use onspot_fleet::group::{self, GroupSpec, GroupState};
use onspot_fleet::template::{self, TemplateState};
use onspot_fleet::{Instance, InstanceState};
use onspot_netplan::{Network, NetworkPlan, NetworkSpec};
use onspot_reconcile::{EventSender, Plan, Tags};
use onspot_settings::TokenRef;

use crate::instances::config;
use crate::names::Names;
use crate::resources::iam::{self, IamPlan, ManagerGrant, RoleSpec, WorkerGrant};
use crate::resources::log_group::{self, LogGroupPlan, LogGroupSpec, LogGroupState};
use crate::resources::parameters::{self, ParameterPlan, TokenParameter};
use crate::spec::{RegistryCache, Spec};
use crate::{Clients, Error};

/// All existing resources of a stack, found by tags and derived names alone.
pub(crate) struct Observed {
    pub(crate) network: onspot_netplan::Observed,
    pub(crate) bucket: Option<BucketState>,
    pub(crate) iam: iam::Observed,
    pub(crate) tokens: parameters::Observed,
    pub(crate) log_group: Option<LogGroupState>,
    pub(crate) templates: BTreeMap<String, TemplateState>,
    pub(crate) group: Option<GroupState>,
    pub(crate) instances: Vec<Instance>,
}

/// Looks at all layers at once.
pub(crate) async fn observe(clients: &Clients, names: &Names) -> Result<Observed, Error> {
    let stack = names.stack();
    let (bucket_spec, path, group) = (
        bucket_spec(clients, names),
        names.iam_path(),
        names.parameter_path(),
    );
    let (network, bucket, iam, tokens, log_group) = tokio::try_join!(
        async {
            onspot_netplan::observe(&clients.ec2, stack)
                .await
                .map_err(Error::from)
        },
        async {
            bucket::observe(&clients.s3, &bucket_spec)
                .await
                .map_err(Error::from)
        },
        async { iam::observe(&clients.iam, &path).await.map_err(Error::from) },
        async {
            parameters::observe(&clients.ssm, &group)
                .await
                .map_err(Error::from)
        },
        async {
            log_group::observe(&clients.logs, &names.log_group())
                .await
                .map_err(Error::from)
        },
    )?;
    let (templates, group, instances) = tokio::try_join!(
        async {
            template::observe(&clients.ec2, stack)
                .await
                .map_err(Error::from)
        },
        async { observe_group(clients, names).await },
        async {
            onspot_fleet::instances(&clients.ec2, stack, None)
                .await
                .map_err(Error::from)
        },
    )?;
    Ok(Observed {
        network,
        bucket,
        iam,
        tokens,
        log_group,
        templates,
        group,
        instances,
    })
}

/// The managers' group.
pub(crate) async fn observe_group(
    clients: &Clients,
    names: &Names,
) -> Result<Option<GroupState>, Error> {
    let (autoscaling, ec2) = (&clients.autoscaling, &clients.ec2);
    Ok(group::observe(autoscaling, ec2, names.stack(), &names.manager()).await?)
}

/// The bucket's specification without anything from the file, to find and remove it.
pub(crate) fn bucket_spec(clients: &Clients, names: &Names) -> BucketSpec {
    BucketSpec {
        name: names.bucket(clients.account()),
        ..BucketSpec::new(names.stack(), clients.account(), names.region())
    }
}

/// The bucket as it should be.
pub(crate) fn wanted_bucket(spec: &Spec, clients: &Clients, names: &Names) -> BucketSpec {
    BucketSpec {
        cache_days: spec.cache.expire_days,
        tags: spec.owners_tags(),
        ..bucket_spec(clients, names)
    }
}

/// The managers' group by its names only, which is enough to remove it.
pub(crate) fn group_to_end(names: &Names) -> GroupSpec {
    GroupSpec {
        stack: names.stack().to_owned(),
        name: names.manager(),
        template: names.manager(),
        content: template::Content(String::new()),
        subnets: Vec::new(),
        count: 0,
        tags: Tags::new(),
    }
}

/// The plans of the layers that need only names.
pub(crate) struct Foundation {
    network: NetworkPlan,
    leftovers: NetworkPlan,
    bucket: BucketPlan,
    iam: IamPlan,
    tokens: ParameterPlan,
    log_group: LogGroupPlan,
}

/// The results of the foundation, for the layers above it.
pub(crate) struct Base {
    pub(crate) network: Network,
    /// The unique ids of roles, by name.
    pub(crate) role_ids: BTreeMap<String, String>,
}

impl Foundation {
    /// Compares what is wanted with what is there.
    pub(crate) fn diff(
        spec: &Spec,
        clients: &Clients,
        names: &Names,
        zones: &[String],
        tokens: &[TokenParameter],
        observed: &Observed,
    ) -> Result<Self, Error> {
        let mut network = NetworkSpec::new(names.stack(), names.region(), zones);
        network.cidr = spec.network.cidr;
        network.nat = spec.network.nat.into();
        network.tags = spec.owners_tags();
        let cache = spec.manager.registry_cache.as_ref();
        network.manager_port = cache.map(|_| RegistryCache::PORT);
        let network = onspot_netplan::desired(&network)?;
        let bucket = wanted_bucket(spec, clients, names);
        let log_group = LogGroupSpec {
            name: names.log_group(),
            retention_days: spec.logs.retention_days,
            tags: spec.tags_in(names),
        };
        let in_use = roles_in_use(names, &observed.instances);
        let (network, leftovers) = onspot_netplan::diff(&network, &observed.network)?.split();
        Ok(Self {
            network,
            leftovers,
            bucket: bucket::diff(&bucket, observed.bucket.as_ref())?,
            iam: iam::diff(&roles(spec, clients, names), &observed.iam, &in_use),
            tokens: parameters::diff(tokens, &referenced_parameters(spec), &observed.tokens),
            log_group: log_group::diff(&log_group, observed.log_group.as_ref()),
        })
    }

    /// What has to be done to remove everything.
    pub(crate) fn teardown(clients: &Clients, names: &Names, observed: &Observed) -> Self {
        let (network, leftovers) = onspot_netplan::teardown(&observed.network).split();
        Self {
            network,
            leftovers,
            bucket: bucket::teardown(&bucket_spec(clients, names), observed.bucket.as_ref()),
            iam: iam::teardown(&observed.iam),
            tokens: parameters::teardown(&observed.tokens),
            log_group: log_group::teardown(&names.log_group(), observed.log_group.as_ref()),
        }
    }

    /// The parts of the network that have to be removed once no instance uses them any more.
    pub(crate) fn leftovers(&self) -> &NetworkPlan {
        &self.leftovers
    }

    /// The plan as data, without the leftovers.
    pub(crate) fn plan(&self) -> Plan {
        let mut plan = self.network.plan();
        plan.merge(self.bucket.plan());
        plan.merge(self.iam.plan());
        plan.merge(self.tokens.plan());
        plan.merge(self.log_group.plan());
        plan
    }

    /// Applies all layers concurrently. Each layer runs to its end even if another one fails,
    /// because a call that is cut off may still have had its effect.
    pub(crate) async fn apply(
        &self,
        clients: &Clients,
        events: &EventSender,
    ) -> Result<Base, Error> {
        let (network, bucket, role_ids, tokens, log_group) = tokio::join!(
            onspot_netplan::apply(&clients.ec2, &self.network, events),
            bucket::apply(&clients.s3, &self.bucket, events),
            iam::apply(&clients.iam, &self.iam, events),
            parameters::apply(&clients.ssm, &self.tokens, events),
            log_group::apply(&clients.logs, &self.log_group, events),
        );
        bucket?;
        tokens?;
        log_group?;
        Ok(Base {
            network: network?,
            role_ids: role_ids?,
        })
    }

    /// Removes all layers concurrently, except for the bucket, which holds the stack's lock.
    pub(crate) async fn destroy_all_but_the_bucket(
        &self,
        clients: &Clients,
        events: &EventSender,
    ) -> Result<(), Error> {
        let (network, roles, tokens, log_group) = tokio::join!(
            onspot_netplan::destroy(&clients.ec2, &self.network, events),
            iam::destroy(&clients.iam, &self.iam, events),
            parameters::apply(&clients.ssm, &self.tokens, events),
            log_group::apply(&clients.logs, &self.log_group, events),
        );
        network?;
        roles?;
        tokens?;
        log_group?;
        Ok(())
    }
}

/// The SSM parameters that the file refers to. They exist already; an earlier `up`, whose file had
/// the token elsewhere, may have made them.
fn referenced_parameters(spec: &Spec) -> Vec<String> {
    let references = spec.runners.iter().map(|runner| &runner.token);
    references
        .filter_map(|token| match token {
            TokenRef::Ssm(name) => Some(name.clone()),
            _ => None,
        })
        .collect()
}

/// The roles of a stack.
fn roles(spec: &Spec, clients: &Clients, names: &Names) -> iam::Desired {
    let account = clients.account();
    let tags = |role: &str| spec.tags_in(names).with_role(role);
    let path = names.iam_path();
    let workers: Vec<_> = spec
        .runners
        .iter()
        .map(|runner| {
            let slug = runner.slug();
            RoleSpec {
                name: names.worker_role(&slug),
                path: path.clone(),
                policy: iam::worker_policy(WorkerGrant {
                    names,
                    account,
                    slug: &slug,
                }),
                tags: tags(onspot_fleet::WORKER).with_runner(&runner.name),
            }
        })
        .collect();
    let grant = ManagerGrant {
        names,
        account,
        worker_roles: workers.iter().map(|role| role.name.clone()).collect(),
        token_parameters: spec
            .runners
            .iter()
            .map(|runner| config::token_parameter(runner, names))
            .collect(),
        foreign_parameters: referenced_parameters(spec),
    };
    let manager = RoleSpec {
        name: names.manager_role(),
        path: path.clone(),
        policy: iam::manager_policy(&grant),
        tags: tags(group::MANAGER),
    };
    iam::Desired {
        path,
        roles: std::iter::once(manager).chain(workers).collect(),
        trust: iam::trust_policy(names.region()),
    }
}

/// The roles of living workers. The role of a removed runner stays until its last worker has ended.
fn roles_in_use(names: &Names, instances: &[Instance]) -> Vec<String> {
    instances
        .iter()
        .filter(|instance| instance.state != InstanceState::Terminated)
        .filter_map(|instance| instance.tags.runner())
        .map(|runner| names.worker_role(&crate::names::slug(runner)))
        .collect()
}
