//! Makes a stack, or brings it up to date. Run again, it changes nothing; cut off, it goes on
//! from where it was.

use std::path::PathBuf;
use std::time::Duration;

use onspot_cache::bucket;
use onspot_fleet::group::{self, GroupState};
use onspot_fleet::template;
use onspot_reconcile::{EventSender, Plan};

use crate::artifacts::Artifacts;
use crate::graph::{self, Foundation, Ground};
use crate::hello::{self, Hello};
use crate::images::Images;
use crate::instances::Ingredients;
use crate::lock::{self, Held, Holder};
use crate::names::Names;
use crate::parameters::TokenParameter;
use crate::spec::{Runner, Spec};
use crate::{Clients, Error, Outputs, prepare, tidy, upload};

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
    /// Uploads `binary`, asks GitLab, waits 10 minutes at most.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            helper: None,
            verify: true,
            patience: Duration::from_mins(10),
        }
    }
}

/// Makes the stack that `spec` describes, and waits until its manager has said hello to GitLab.
///
/// Before anything is made it is checked that the binary runs on the instances, that all tokens
/// can be found, and that GitLab takes them.
pub async fn up(
    spec: &Spec,
    clients: &Clients,
    options: &UpOptions,
    events: &EventSender,
) -> Result<Outputs, Error> {
    let names = Names::new(&spec.name, clients.region())?;
    let artifacts = Artifacts::load(spec, &options.binary, options.helper.as_deref())?;
    let tokens = prepare::tokens(spec, clients, &names).await?;
    if options.verify {
        prepare::verify(&tokens, events).await?;
    }
    let images = Images::resolve(clients, spec).await?;
    let (made, lock) = locked(spec, clients, &names, options.patience, events).await?;
    let building = Building {
        spec,
        clients,
        names: &names,
        artifacts: &artifacts,
        images: &images,
        parameters: prepare::parameters_of(&tokens),
        patience: options.patience,
        events,
    };
    lock.during(Box::pin(building.build(made))).await
}

/// How often a bucket that somebody else removes meanwhile is made anew.
const BUCKET_TRIES: usize = 3;

/// The lock of the stack, and what was made for it: it is in the bucket, which therefore comes
/// first. Making a bucket twice at once makes one, as its name is derived from the stack's.
async fn locked(
    spec: &Spec,
    clients: &Clients,
    names: &Names,
    patience: Duration,
    events: &EventSender,
) -> Result<(Plan, Held), Error> {
    let wanted = graph::wanted_bucket(spec, clients, names);
    let is_there = async || -> Result<bool, Error> {
        Ok(bucket::observe(&clients.s3, &wanted).await?.is_some())
    };
    let mut made = Plan::default();
    for _ in 0..BUCKET_TRIES {
        if !is_there().await? {
            let creation = bucket::diff(&wanted, None)?;
            bucket::apply(&clients.s3, &creation, events).await?;
            made = creation.plan();
        }
        let store = lock::store(clients, &wanted.name);
        match lock::take(store, Holder::new("up"), patience, events).await {
            // A `down` that was waited for has taken the bucket away.
            Err(Error::Ledger(_)) if !is_there().await? => {}
            taken => return Ok((made, taken?)),
        }
    }
    Err(Error::Locked {
        holder: "somebody who removes its bucket".to_owned(),
    })
}

/// What a stack is brought up from, once all of it was checked.
struct Building<'a> {
    spec: &'a Spec,
    clients: &'a Clients,
    names: &'a Names,
    artifacts: &'a Artifacts,
    images: &'a Images,
    parameters: Vec<TokenParameter>,
    patience: Duration,
    events: &'a EventSender,
}

impl Building<'_> {
    /// Makes what is missing beside what was `made` for the lock.
    async fn build(&self, made: Plan) -> Result<Outputs, Error> {
        let Self {
            spec,
            clients,
            names,
            artifacts,
            images,
            patience,
            events,
            ..
        } = *self;
        let observed = graph::observe(clients, names).await?;
        let zones = prepare::zones(spec, clients, &observed.network).await?;
        let foundation =
            Foundation::diff(spec, clients, names, &zones, &self.parameters, &observed)?;

        let mut changes = made;
        changes.merge(foundation.plan());
        let ground = foundation.apply(clients, events).await?;
        let bucket = names.bucket(clients.account());
        let uploads = upload::plan(&clients.s3, &bucket, artifacts).await?;
        changes.merge(uploads.plan());
        upload::apply(&clients.s3, &uploads, events).await?;

        let ingredients = Ingredients {
            spec,
            clients,
            names,
            artifacts,
            images,
            network: &ground.network,
            role_ids: &ground.role_ids,
        };
        let hello = Hello::before(clients, &bucket).await?;
        let changed = instances(&ingredients, &observed, events, &mut changes).await?;
        hello::wait(&hello, spec, clients, names, changed, patience, events).await?;
        let leftovers = foundation.leftovers();
        let tidied = tidy::tidy(spec, clients, names, leftovers, patience, events).await?;
        changes.merge(tidied.plan);
        let notes = tidied.notes;
        Ok(outputs(spec, names, &ground, bucket, changes, notes))
    }
}

fn outputs(
    spec: &Spec,
    names: &Names,
    ground: &Ground,
    bucket: String,
    changes: Plan,
    notes: Vec<String>,
) -> Outputs {
    let template = |runner: &Runner| (runner.name.clone(), names.workers(&runner.slug()));
    Outputs {
        stack: names.stack().to_owned(),
        region: names.region().to_owned(),
        vpc_id: ground.network.vpc_id.clone(),
        bucket,
        log_group: names.log_group(),
        manager_group: names.manager(),
        launch_templates: spec.runners.iter().map(template).collect(),
        changes,
        notes,
    }
}

/// Launch templates and the managers' group. Returns whether managers were made anew.
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
