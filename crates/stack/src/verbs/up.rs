//! Makes a stack, or brings it up to date. A second run changes nothing; after an interruption it
//! continues from where it was.

use std::time::Duration;

use onspot_cache::bucket;
use onspot_fleet::group::{self, GroupState};
use onspot_fleet::template;
use onspot_reconcile::{EventSender, Plan};

use crate::instances::launch::Ingredients;
use crate::program::upload;
use crate::resources::graph;
use crate::resources::leftovers;
use crate::spec::{Runner, Spec};
use crate::verbs::plan::{Comparison, Prepared, StackPlan, UpOptions};
use crate::verbs::{Outputs, prepare};
use crate::waits::hello::{self, Hello};
use crate::waits::lock::{self, Held, Holder};
use crate::{Clients, Error};

/// Makes the stack that `spec` describes, and waits until its manager has said hello to GitLab. It
/// compares only once it holds the lock, when nobody else can change the stack.
///
/// Before it makes anything, it checks that the binary runs on the instances, that all tokens can
/// be found, and that GitLab accepts them.
///
/// # Errors
/// What was refused and why; another run continues from there.
pub async fn up(
    spec: &Spec,
    clients: &Clients,
    options: &UpOptions,
    events: &EventSender,
) -> Result<Outputs, Error> {
    let asking = options.verify.then_some(events);
    let prepared = Prepared::find(spec, clients, options, asking).await?;
    carry_out(&prepared, None, options, events).await
}

impl StackPlan<'_> {
    /// Carries out the plan that somebody has agreed to, as [`up`] does.
    ///
    /// # Errors
    /// As [`up`]; and [`Error::Changed`], before anything was done, if the stack now needs other
    /// changes than those agreed to.
    pub async fn apply(self, options: &UpOptions, events: &EventSender) -> Result<Outputs, Error> {
        if options.verify {
            prepare::verify(&self.prepared.tokens, events).await?;
        }
        carry_out(&self.prepared, Some(&self.comparison), options, events).await
    }
}

async fn carry_out(
    prepared: &Prepared<'_>,
    agreed: Option<&Comparison>,
    options: &UpOptions,
    events: &EventSender,
) -> Result<Outputs, Error> {
    let (made, lock) = locked(prepared, options.patience, events).await?;
    let building = Building {
        prepared,
        patience: options.patience,
        events,
    };
    lock.during(Box::pin(building.build(made, agreed))).await
}

/// How often a bucket is made again that somebody else removes meanwhile.
const BUCKET_TRIES: usize = 3;

/// Takes the lock of the stack; also returns the changes made for it. The lock is in the bucket, so
/// the bucket comes first. Two runs that make the bucket at the same time make only one, because
/// its name is derived from the stack's.
async fn locked(
    prepared: &Prepared<'_>,
    patience: Duration,
    events: &EventSender,
) -> Result<(Plan, Held), Error> {
    let clients = prepared.clients;
    let wanted = graph::wanted_bucket(prepared.spec, clients, &prepared.names);
    let is_there = async || bucket::exists(&clients.s3, &wanted).await;
    let mut made = Plan::default();
    for _ in 0..BUCKET_TRIES {
        if !is_there().await? {
            let creation = bucket::diff(&wanted, None)?;
            bucket::apply(&clients.s3, &creation, events).await?;
            made = creation.plan();
        }
        let store = lock::store(clients, &wanted.name);
        match lock::take(store, Holder::new("up"), patience, events).await {
            // This run has waited for a `down`, which has removed the bucket.
            Err(Error::Ledger(_)) if !is_there().await? => {}
            taken => return Ok((made, taken?)),
        }
    }
    Err(Error::Locked {
        holder: "somebody who removes its bucket".to_owned(),
    })
}

/// A stack that is being brought up.
struct Building<'a> {
    prepared: &'a Prepared<'a>,
    patience: Duration,
    events: &'a EventSender,
}

impl Building<'_> {
    /// Makes everything that is missing besides what was `made` for the lock.
    async fn build(&self, made: Plan, agreed: Option<&Comparison>) -> Result<Outputs, Error> {
        let Self {
            prepared,
            patience,
            events,
        } = *self;
        let Prepared {
            spec,
            clients,
            names,
            program,
            images,
            ..
        } = prepared;
        let comparison = prepared.compare().await?;
        if let Some(agreed) = agreed {
            comparison.check(agreed, &made)?;
        }
        let Comparison {
            observed,
            foundation,
            uploads,
            ..
        } = comparison;

        let mut changes = made;
        changes.merge(foundation.plan());
        let base = foundation.apply(clients, events).await?;
        changes.merge(uploads.plan());
        upload::apply(&clients.s3, &uploads, program, events).await?;

        let ingredients = Ingredients {
            spec,
            clients,
            names,
            program,
            images,
            network: &base.network,
            role_ids: &base.role_ids,
        };
        let hello = Hello::before(clients, &prepared.bucket()).await?;
        let changed = instances(&ingredients, &observed, events, &mut changes).await?;
        hello::wait(&hello, spec, clients, names, changed, patience, events).await?;
        let network = foundation.leftovers();
        let removed = leftovers::remove(spec, clients, names, network, patience, events).await?;
        changes.merge(removed.plan);
        let vpc_id = base.network.vpc_id;
        Ok(outputs(prepared, vpc_id, changes, removed.notes))
    }
}

fn outputs(prepared: &Prepared<'_>, vpc_id: String, changes: Plan, notes: Vec<String>) -> Outputs {
    let names = &prepared.names;
    let template = |runner: &Runner| (runner.name.clone(), names.workers(&runner.slug()));
    Outputs {
        stack: names.stack().to_owned(),
        region: names.region().to_owned(),
        vpc_id,
        bucket: prepared.bucket(),
        log_group: names.log_group(),
        manager_group: names.manager(),
        launch_templates: prepared.spec.runners.iter().map(template).collect(),
        changes,
        notes,
    }
}

/// Launch templates and the managers' group. Returns whether managers were replaced.
async fn instances(
    ingredients: &Ingredients<'_>,
    observed: &graph::Observed,
    events: &EventSender,
    changes: &mut Plan,
) -> Result<bool, Error> {
    let clients = ingredients.clients;
    let specs = ingredients.templates()?;
    let templates = template::diff(&specs, &observed.templates)?;
    changes.merge(templates.plan());
    template::apply(&clients.ec2, &templates, events).await?;
    let Some(manager) = specs.first() else {
        return Ok(false);
    };
    let wanted = ingredients.group(manager);
    let group = group::diff(&wanted, observed.group.as_ref())?;
    changes.merge(group.plan());
    group::apply(&clients.autoscaling, &clients.ec2, &group, events).await?;
    let outdated = |state: &GroupState| {
        state
            .members
            .iter()
            .any(|m| m.content.as_ref() != Some(&wanted.content))
    };
    Ok(observed.group.as_ref().is_none_or(outdated))
}
