//! Checks an `onspot.toml` beyond its types. Without these checks, mistakes would fail half-way
//! through `up`, or not fail at all.

mod idle;

use std::collections::BTreeMap;
use std::ops::Range;

use onspot_netplan::NetworkSpec;

use super::locate::{Step, locate};
use super::{Runner, Spec, SpecError, SpecErrorKind, Workers};
use crate::names::{Names, slug};

/// The retentions that CloudWatch Logs has, in days (API reference of `PutRetentionPolicy`).
const RETENTIONS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];
/// A runner's name is a part of object keys and the value of a tag.
const MAX_RUNNER_NAME: usize = 64;
/// The slug that the managers' own resources have.
const MANAGER: &str = "manager";

/// What is wrong, and at which key.
#[derive(Debug)]
pub(super) struct Flaw {
    path: Vec<Step>,
    what: String,
    hint: String,
    /// The path of the other key, if two keys contradict each other.
    other: Option<Vec<Step>>,
}

impl Flaw {
    pub(super) fn new(path: &[Step], what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            path: path.to_vec(),
            what: what.into(),
            hint: hint.into(),
            other: None,
        }
    }

    fn beside(self, other: Vec<Step>) -> Self {
        Self {
            other: Some(other),
            ..self
        }
    }

    /// The flaw with the place in the text.
    pub(super) fn into_error(self, text: &str, file: &str) -> SpecError {
        let at = locate(text, &self.path);
        let lines = self.other.and_then(|other| {
            let line = |at: Range<usize>| Some(text.get(..at.start)?.matches('\n').count() + 1);
            line(locate(text, &other)?).zip(line(at.clone()?))
        });
        let what = match lines {
            Some((one, other)) => format!("{} (lines {one} and {other})", self.what),
            None => self.what,
        };
        let kind = SpecErrorKind::Invalid {
            what,
            hint: self.hint,
        };
        SpecError::new(kind, text, file, at)
    }
}

/// Finds the first flaw.
pub(super) fn check(spec: &Spec) -> Result<(), Flaw> {
    use Step::Key;
    let region = spec.region.as_deref().unwrap_or("us-east-1");
    Names::new(&spec.name, region).map_err(|error| {
        Flaw::new(
            &[Key("name")],
            error.to_string(),
            "for example name = \"ci-runners\"",
        )
    })?;
    let is_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if region.is_empty() || !region.chars().all(is_region) {
        return Err(Flaw::new(
            &[Key("region")],
            format!("`{region}` is not a region"),
            "write it as AWS does, for example region = \"eu-west-1\"",
        ));
    }
    positive(spec.concurrent, &[Key("concurrent")])?;
    tags(spec)?;
    network(spec)?;
    let expiry = [Key("cache"), Key("expire_days")];
    positive(spec.cache.expire_days, &expiry)?;
    retention(spec.logs.retention_days)?;
    let count = [Key("manager"), Key("count")];
    if !(1..=5).contains(&spec.manager.count) {
        let what = format!("{} managers are too few or too many", spec.manager.count);
        return Err(Flaw::new(
            &count,
            what,
            "write 1, or 2 for a manager that stands by",
        ));
    }
    instance_type(
        &spec.manager.instance_type,
        &[Key("manager"), Key("instance_type")],
    )?;
    ami(spec.manager.ami.as_deref(), &[Key("manager"), Key("ami")])?;
    if let Some(cache) = &spec.manager.registry_cache {
        cache.check(&[Key("manager"), Key("registry_cache")])?;
    }
    spec.timing.check().map_err(|error| {
        Flaw::new(
            &[Key("timing")],
            error.to_string(),
            "leave [timing] out for the defaults",
        )
    })?;
    runners(&spec.runners)
}

/// Refuses owner's tags that AWS would refuse on some resource, or that would look like onspot's
/// own.
fn tags(spec: &Spec) -> Result<(), Flaw> {
    spec.tags.check_of_owner().map_err(|error| {
        let mut path = vec![Step::Key("tags")];
        path.extend(error.key().map(|key| Step::Entry(key.to_owned())));
        Flaw::new(&path, error.to_string(), error.hint().unwrap_or_default())
    })
}

fn network(spec: &Spec) -> Result<(), Flaw> {
    let network = &spec.network;
    if let Some(region) = &spec.region
        && let Some(stranger) = network
            .zones
            .iter()
            .position(|zone| !zone.starts_with(region))
    {
        return Err(Flaw::new(
            &[
                Step::Key("network"),
                Step::Key("zones"),
                Step::Index(stranger),
            ],
            format!("zone `{}` is not in {region}", network.zones[stranger]),
            format!("write it as AWS does, for example {region}a"),
        ));
    }
    // The network planner's own rules. The default zones are not known before AWS is asked, so one
    // zone stands for them.
    let zones = if network.zones.is_empty() {
        vec!["xx-xxxx-1a".to_owned()]
    } else {
        network.zones.clone()
    };
    let mut wanted = NetworkSpec::new(&spec.name, "", zones);
    wanted.cidr = network.cidr;
    wanted.nat = network.nat.into();
    onspot_netplan::desired(&wanted).map(drop).map_err(|error| {
        use onspot_netplan::Error as Network;
        let about_zones = matches!(
            error,
            Network::NoZone | Network::UnknownZone { .. } | Network::ZonesCollide { .. }
        );
        let key = Step::Key(if about_zones { "zones" } else { "cidr" });
        Flaw::new(
            &[Step::Key("network"), key],
            error.to_string(),
            error.hint().unwrap_or_default(),
        )
    })
}

fn retention(days: u32) -> Result<(), Flaw> {
    if RETENTIONS.contains(&days) {
        return Ok(());
    }
    let nearest = RETENTIONS
        .iter()
        .min_by_key(|known| known.abs_diff(days))
        .unwrap_or(&30);
    Err(Flaw::new(
        &[Step::Key("logs"), Step::Key("retention_days")],
        format!("CloudWatch cannot keep logs for {days} days"),
        format!("the nearest that it can is {nearest}"),
    ))
}

fn runners(runners: &[Runner]) -> Result<(), Flaw> {
    if runners.is_empty() {
        return Err(Flaw::new(
            &[Step::Key("runners")],
            "there is no runner",
            "add a [[runners]] section with name, url and token",
        ));
    }
    let mut slugs: BTreeMap<String, (&str, Vec<Step>)> = BTreeMap::new();
    for (index, runner) in runners.iter().enumerate() {
        let here = [Step::Key("runners"), Step::Index(index)];
        one_runner(runner, &here)?;
        let slug = slug(&runner.name);
        let name = at(&here, "name");
        if slug == MANAGER {
            let what = format!("a runner cannot be called {:?}", runner.name);
            return Err(Flaw::new(
                &name,
                what,
                "the manager's resources are: choose another name",
            ));
        }
        let this = (runner.name.as_str(), name.clone());
        if let Some((other, place)) = slugs.insert(slug.clone(), this) {
            let what = if *other == runner.name {
                format!("two runners have the name {other:?}")
            } else {
                format!(
                    "{other:?} and {:?} would both be {slug:?} in AWS",
                    runner.name
                )
            };
            return Err(Flaw::new(&name, what, "rename one of them").beside(place));
        }
    }
    Ok(())
}

fn one_runner(runner: &Runner, here: &[Step]) -> Result<(), Flaw> {
    let name = &runner.name;
    if !is_runner_name(name) {
        return Err(Flaw::new(
            &at(here, "name"),
            format!("{name:?} is no name for a runner"),
            format!(
                "1 to {MAX_RUNNER_NAME} letters, digits, inner spaces and _.:/=+-@, for example \
                 name = \"docker.m3\""
            ),
        ));
    }
    if !matches!(runner.url.scheme(), "http" | "https") || runner.url.host().is_none() {
        return Err(Flaw::new(
            &at(here, "url"),
            format!("`{}` is not GitLab's address", runner.url),
            "for example url = \"https://gitlab.com\"",
        ));
    }
    positive(runner.limit, &at(here, "limit"))?;
    let questions = at(here, "request_concurrency");
    positive(runner.request_concurrency, &questions)?;
    // The line may contain a secret, so only its number is shown.
    if let Some(bad) = runner
        .environment
        .iter()
        .position(|variable| !variable.contains('='))
    {
        return Err(Flaw::new(
            &at(here, "environment"),
            format!("entry {} of `environment` is not a variable", bad + 1),
            "write NAME=value",
        ));
    }
    let volumes = at(here, "volumes");
    for (index, text) in runner.volumes.iter().enumerate() {
        onspot_notation::volume::check(text).map_err(|error| {
            let place = [&volumes[..], &[Step::Index(index)]].concat();
            Flaw::new(&place, error.to_string(), error.hint())
        })?;
    }
    if let Some(memory) = &runner.memory {
        memory
            .parse::<onspot_notation::Size>()
            .map_err(|error| Flaw::new(&at(here, "memory"), error.to_string(), error.hint()))?;
    }
    if runner.image.is_empty() {
        let hint = "leave it out for alpine:latest";
        return Err(Flaw::new(&at(here, "image"), "`image` names none", hint));
    }
    workers(runner, &at(here, "workers"))
}

/// Whether EC2, IAM and SSM all accept it as a tag's value (references of `Tag` in IAM and SSM).
fn is_runner_name(name: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || " _.:/=+-@".contains(c);
    (1..=MAX_RUNNER_NAME).contains(&name.chars().count())
        && name.chars().all(allowed)
        && name.trim() == name
}

fn workers(runner: &Runner, here: &[Step]) -> Result<(), Flaw> {
    let Workers {
        instance_types,
        slots,
        disk_gb,
        spot_price,
        ami: image,
        ..
    } = &runner.workers;
    let types = at(here, "instance_types");
    if instance_types.is_empty() {
        let hint = "leave it out for the default ones";
        return Err(Flaw::new(&types, "there is no instance type to buy", hint));
    }
    for (index, name) in instance_types.iter().enumerate() {
        instance_type(name, &[&types[..], &[Step::Index(index)]].concat())?;
    }
    idle::check(&runner.workers, here)?;
    positive(*slots, &at(here, "slots"))?;
    if runner.owns_its_worker() && *slots > 1 {
        return Err(Flaw::new(
            &at(here, "slots"),
            "a job that is privileged or has Docker's socket owns its worker and cannot share it",
            "write slots = 1",
        ));
    }
    if *disk_gb < 8 {
        let what = format!("{disk_gb} GB are too small for the system and Docker's images");
        return Err(Flaw::new(&at(here, "disk_gb"), what, "write 8 or more"));
    }
    if let Some(price) = spot_price
        && !price
            .parse::<f64>()
            .is_ok_and(|price| price > 0.0 && price.is_finite())
    {
        return Err(Flaw::new(
            &at(here, "spot_price"),
            format!("`{price}` is not a price"),
            "dollars an hour, for example spot_price = \"0.05\"; leave it out for the price on demand",
        ));
    }
    ami(image.as_deref(), &at(here, "ami"))
}

/// Whether workers may be of this type.
pub(crate) fn buyable(name: &str) -> bool {
    instance_type(name, &[]).is_ok()
}

/// Accepts `family.size` for x86_64 only, because the helper image and the binary are built for it.
fn instance_type(name: &str, path: &[Step]) -> Result<(), Flaw> {
    let part = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    let Some((family, size)) = name.split_once('.') else {
        let hint = "write it as AWS does, for example \"m6i.large\"";
        return Err(Flaw::new(
            path,
            format!("`{name}` is not an instance type"),
            hint,
        ));
    };
    if !part(family) || !part(size) {
        let hint = "write it as AWS does, for example \"m6i.large\"";
        return Err(Flaw::new(
            path,
            format!("`{name}` is not an instance type"),
            hint,
        ));
    }
    if is_arm(family) {
        let what = format!("`{name}` has an ARM processor, which is not supported yet");
        return Err(Flaw::new(
            path,
            what,
            "choose an Intel or AMD type, for example m6i or m6a",
        ));
    }
    Ok(())
}

/// AWS's naming: after the generation's digit, `g` stands for Graviton.
fn is_arm(family: &str) -> bool {
    let after_digit = family.trim_start_matches(|c: char| !c.is_ascii_digit());
    let attributes = after_digit.trim_start_matches(|c: char| c.is_ascii_digit());
    family == "a1" || attributes.starts_with('g')
}

fn ami(ami: Option<&str>, path: &[Step]) -> Result<(), Flaw> {
    match ami {
        Some(id) if !id.starts_with("ami-") => Err(Flaw::new(
            path,
            format!("`{id}` is not the id of an image"),
            "for example ami-0123456789abcdef0; leave it out for the newest one",
        )),
        _ => Ok(()),
    }
}

pub(super) fn positive(value: u32, path: &[Step]) -> Result<(), Flaw> {
    if value > 0 {
        return Ok(());
    }
    let key = match path.last() {
        Some(Step::Key(key)) => key,
        _ => "it",
    };
    Err(Flaw::new(
        path,
        format!("`{key}` must be 1 at least"),
        "write a bigger number",
    ))
}

fn at(here: &[Step], key: &'static str) -> Vec<Step> {
    [here, &[Step::Key(key)]].concat()
}
