//! What `up` finds out before it makes anything: names, zones, tokens, and whether GitLab accepts
//! them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::Client as Ec2;
use aws_sdk_ec2::types::{AvailabilityZoneState, Filter, LocationType};
use onspot_gitlab::{Client as GitLab, Info, RunnerIdentity, RunnerToken, SystemId};
use onspot_reconcile::{EventSender, ServiceResultExt as _, Step};
use onspot_settings::TokenRef;

use crate::names::Names;
use crate::resources::parameters::{self, TokenParameter};
use crate::spec::{Runner, Spec};
use crate::{Clients, Error};

/// A runner's token, and the parameter to store it in.
pub(crate) struct Token<'a> {
    runner: &'a Runner,
    secret: RunnerToken,
    /// `None` if it is already in SSM and stays there.
    parameter: Option<TokenParameter>,
}

/// Finds all tokens.
pub(crate) async fn tokens<'a>(
    spec: &'a Spec,
    clients: &Clients,
    names: &Names,
) -> Result<Vec<Token<'a>>, Error> {
    let mut found = Vec::new();
    for runner in &spec.runners {
        found.push(match &runner.token {
            TokenRef::Ssm(parameter) => {
                let stored = parameters::read(&clients.ssm, parameter).await?;
                let secret = stored.ok_or_else(|| Error::NoParameter {
                    runner: runner.name.clone(),
                    parameter: parameter.clone(),
                })?;
                Token {
                    runner,
                    secret,
                    parameter: None,
                }
            }
            reference => {
                let given = reference.read().map_err(|source| Error::Token {
                    runner: runner.name.clone(),
                    source,
                })?;
                let secret = RunnerToken::new(given.expose());
                let parameter = TokenParameter {
                    name: names.token_parameter(&runner.slug()),
                    token: secret.clone(),
                    tags: spec.tags_in(names).with_runner(&runner.name),
                };
                Token {
                    runner,
                    secret,
                    parameter: Some(parameter),
                }
            }
        });
    }
    Ok(found)
}

/// The parameters that tokens are to be stored in.
pub(crate) fn parameters_of(tokens: &[Token<'_>]) -> Vec<TokenParameter> {
    tokens
        .iter()
        .filter_map(|token| token.parameter.clone())
        .collect()
}

/// Asks each GitLab whether it accepts the runner's token.
pub(crate) async fn verify(tokens: &[Token<'_>], events: &EventSender) -> Result<(), Error> {
    for Token { runner, secret, .. } in tokens {
        let step = Step::start(events, format!("ask {} about {}", runner.url, runner.name));
        let us = RunnerIdentity::new(secret.clone(), SystemId::of_this_host(), Info::docker());
        let answer = async { GitLab::new(&runner.url)?.verify(&us).await };
        if let Err(source) = answer.await {
            step.failed(&source);
            return Err(Error::GitLab {
                runner: runner.name.clone(),
                source,
            });
        }
        step.done(None);
    }
    Ok(())
}

/// The most zones that are chosen if the file names none.
const ZONES: usize = 3;

/// The types of instances that each zone has.
type Offers = BTreeMap<String, BTreeSet<String>>;

/// The zones that `spec` names, or up to three that have the managers' type and the workers'. Zones
/// that `network` is already in are chosen first, so that nothing moves.
pub(crate) async fn zones(
    spec: &Spec,
    clients: &Clients,
    network: &onspot_netplan::Observed,
) -> Result<Vec<String>, Error> {
    if !spec.network.zones.is_empty() {
        return Ok(spec.network.zones.clone());
    }
    let manager = &spec.manager.instance_type;
    let workers = spec.runners.iter().map(|runner| &runner.workers);
    let types: BTreeSet<String> = workers
        .flat_map(|workers| &workers.instance_types)
        .chain([manager])
        .cloned()
        .collect();
    let (available, offers) =
        tokio::try_join!(available_zones(&clients.ec2), offers(&clients.ec2, types))?;
    // Not every look-alike of AWS knows which zone offers which type.
    let known = offers.filter(|offers| {
        clients.endpoint().is_none() || offers.values().any(|types| types.contains(manager))
    });
    let zones = choose(spec, available, known.as_ref(), &network.zones());
    match (zones.is_empty(), known) {
        (false, _) => Ok(zones),
        (true, None) => Err(Error::Incomplete {
            operation: "DescribeAvailabilityZones",
            what: "a zone that is available",
        }),
        (true, Some(_)) => Err(Error::NotOffered {
            instance_type: manager.clone(),
            region: clients.region().to_owned(),
        }),
    }
}

/// Chooses the zones, in order. Pure.
///
/// Managers go into each zone, so each must have their type. Among those, zones with the most
/// workers' types win, because each type is a separate pool in each zone.
fn choose(
    spec: &Spec,
    available: Vec<String>,
    offers: Option<&Offers>,
    there: &BTreeSet<String>,
) -> Vec<String> {
    let has = |zone: &String, instance_type: &String| {
        offers.is_none_or(|offers| {
            let types = offers.get(zone);
            types.is_some_and(|types| types.contains(instance_type))
        })
    };
    let types_of = |zone: &String, runner: &Runner| {
        let types = runner.workers.instance_types.iter();
        types.filter(|of_worker| has(zone, of_worker)).count()
    };
    let mut zones = available;
    zones.retain(|zone| has(zone, &spec.manager.instance_type));
    let serves_all = |zone: &String| spec.runners.iter().all(|r| types_of(zone, r) > 0);
    if zones.iter().any(serves_all) {
        zones.retain(serves_all);
    }
    zones.sort_by_cached_key(|zone| {
        let types: usize = spec.runners.iter().map(|r| types_of(zone, r)).sum();
        (!there.contains(zone), Reverse(types), zone.clone())
    });
    zones.truncate(ZONES);
    zones.sort();
    zones
}

async fn available_zones(ec2: &Ec2) -> Result<Vec<String>, Error> {
    // Local and wavelength zones lack many of the services.
    let regional = Filter::builder()
        .name("zone-type")
        .values("availability-zone")
        .build();
    let answer = ec2
        .describe_availability_zones()
        .filters(regional)
        .send()
        .await;
    let zones = answer
        .calling("DescribeAvailabilityZones")?
        .availability_zones
        .unwrap_or_default();
    let available = zones.into_iter().filter(|zone| {
        zone.state
            .as_ref()
            .is_none_or(|s| *s == AvailabilityZoneState::Available)
    });
    Ok(available.filter_map(|zone| zone.zone_name).collect())
}

/// Which of these types each zone has; `None` where the endpoint cannot say.
async fn offers(ec2: &Ec2, types: BTreeSet<String>) -> Result<Option<Offers>, Error> {
    let of_types = Filter::builder()
        .name("instance-type")
        .set_values(Some(types.into_iter().collect()))
        .build();
    let mut pages = ec2
        .describe_instance_type_offerings()
        .location_type(LocationType::AvailabilityZone)
        .filters(of_types)
        .into_paginator()
        .send();
    let mut found = Offers::new();
    while let Some(page) = pages.next().await {
        let offerings = match page.calling("DescribeInstanceTypeOfferings") {
            Ok(page) => page.instance_type_offerings.unwrap_or_default(),
            // The answer only improves the choice. If the caller lacks the permission, or a
            // look-alike of AWS does not know the call, the first zones are used.
            Err(error) if error.code().is_some() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        for offering in offerings {
            if let (Some(zone), Some(instance_type)) = (offering.location, offering.instance_type) {
                let types = found.entry(zone).or_default();
                types.insert(instance_type.as_str().to_owned());
            }
        }
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(workers: &str) -> Spec {
        let text = format!(
            "[[runners]]\nname = 'a'\nurl = 'https://gitlab.com'\ntoken = 'glrt-x'\n\
             [runners.workers]\ninstance_types = {workers}\n"
        );
        Spec::parse(&text, "onspot.toml").unwrap()
    }

    fn offers(zones: &[(&str, &[&str])]) -> Offers {
        let owned = |types: &[&str]| types.iter().map(|of| (*of).to_owned()).collect();
        let zones = zones.iter();
        zones
            .map(|(zone, types)| ((*zone).to_owned(), owned(types)))
            .collect()
    }

    fn chosen(spec: &Spec, offers: Option<&Offers>, there: &[&str]) -> Vec<String> {
        let available = ["e", "d", "c", "b", "a"].map(|letter| format!("us-east-1{letter}"));
        let there = there.iter().map(|zone| (*zone).to_owned()).collect();
        choose(spec, available.into(), offers, &there)
    }

    #[test]
    fn up_to_three_zones_are_taken_and_each_has_the_types() {
        let spec = spec("['m7i.large', 'm6i.large']");
        assert_eq!(
            chosen(&spec, None, &[]),
            ["us-east-1a", "us-east-1b", "us-east-1c"]
        );
        let known = offers(&[
            ("us-east-1a", &["m7i.large", "m6i.large"]),
            ("us-east-1b", &["t3.micro", "m6i.large"]),
            ("us-east-1c", &["t3.micro"]),
            ("us-east-1d", &["t3.micro", "m6i.large", "m7i.large"]),
            ("us-east-1e", &["t3.micro", "m7i.large"]),
        ]);
        assert_eq!(
            chosen(&spec, Some(&known), &[]),
            ["us-east-1b", "us-east-1d", "us-east-1e"],
            "a lacks the managers' type, c the workers'"
        );
        let none = offers(&[("us-east-1a", &["m7i.large"])]);
        assert!(chosen(&spec, Some(&none), &[]).is_empty());
    }

    #[test]
    fn a_stack_stays_in_its_zones_and_gets_others_beside_them() {
        let spec = spec("['m7i.large', 'm6i.large']");
        assert_eq!(
            chosen(&spec, None, &["us-east-1e"]),
            ["us-east-1a", "us-east-1b", "us-east-1e"]
        );
        let known = offers(&[
            ("us-east-1a", &["t3.micro", "m6i.large", "m7i.large"]),
            ("us-east-1b", &["t3.micro", "m6i.large", "m7i.large"]),
            ("us-east-1c", &["t3.micro", "m6i.large", "m7i.large"]),
            ("us-east-1d", &["t3.micro", "m6i.large"]),
        ]);
        assert_eq!(
            chosen(&spec, Some(&known), &["us-east-1d"]),
            ["us-east-1a", "us-east-1b", "us-east-1d"]
        );
    }

    #[test]
    fn who_sets_nothing_has_at_least_six_pools() {
        let text = "[[runners]]\nname = 'a'\nurl = 'https://gitlab.com'\ntoken = 'glrt-x'\n";
        let spec = Spec::parse(text, "onspot.toml").unwrap();
        assert!(
            spec.runners[0].workers.instance_types.len() >= 6,
            "in any one zone"
        );
    }
}
