//! What is found out before anything is made: names, zones, tokens, and whether GitLab takes them.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client as Ec2;
use aws_sdk_ec2::types::{AvailabilityZoneState, Filter, LocationType};
use onspot_gitlab::{Client as GitLab, Info, RunnerIdentity, RunnerToken, SystemId};
use onspot_reconcile::{EventSender, ServiceResultExt as _, Step, Tags};
use onspot_runnerconf::TokenRef;

use crate::names::Names;
use crate::parameters::{self, TokenParameter};
use crate::spec::{Runner, Spec};
use crate::{Clients, Error};

/// A runner's token, and the parameter that it is to be stored in.
pub(crate) struct Token<'a> {
    runner: &'a Runner,
    secret: RunnerToken,
    /// `None` where it is in SSM already and stays there.
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
                    tags: Tags::of_stack(names.stack()).with_runner(&runner.name),
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

/// Asks each GitLab whether it takes the runner's token.
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

/// The zones that `spec` names, or the region's first one that has the managers' type.
pub(crate) async fn zones(spec: &Spec, clients: &Clients) -> Result<Vec<String>, Error> {
    if !spec.network.zones.is_empty() {
        return Ok(spec.network.zones.clone());
    }
    let instance_type = &spec.manager.instance_type;
    let (available, offering) = tokio::try_join!(
        available_zones(&clients.ec2),
        offering_zones(&clients.ec2, instance_type),
    )?;
    // Not every look-alike of AWS knows who offers what.
    let known = offering.filter(|zones| clients.endpoint().is_none() || !zones.is_empty());
    let first = first_zone(available, known.as_ref()).ok_or_else(|| match known {
        None => Error::Incomplete {
            operation: "DescribeAvailabilityZones",
            what: "a zone that is available",
        },
        Some(_) => Error::NotOffered {
            instance_type: instance_type.clone(),
            region: clients.region().to_owned(),
        },
    })?;
    Ok(vec![first])
}

/// The first of the zones, of those that offer what is needed where that is known.
fn first_zone(available: Vec<String>, offering: Option<&BTreeSet<String>>) -> Option<String> {
    available
        .into_iter()
        .filter(|zone| offering.is_none_or(|offering| offering.contains(zone)))
        .min()
}

async fn available_zones(ec2: &Ec2) -> Result<Vec<String>, Error> {
    // Local and wavelength zones lack half of the services.
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

/// The zones that have this type of instance; `None` where the endpoint cannot say.
async fn offering_zones(ec2: &Ec2, instance_type: &str) -> Result<Option<BTreeSet<String>>, Error> {
    let of_type = Filter::builder()
        .name("instance-type")
        .values(instance_type)
        .build();
    let answer = ec2
        .describe_instance_type_offerings()
        .location_type(LocationType::AvailabilityZone)
        .filters(of_type)
        .send()
        .await;
    match answer.calling("DescribeInstanceTypeOfferings") {
        Ok(answer) => {
            let offerings = answer.instance_type_offerings.unwrap_or_default();
            let zones = offerings
                .into_iter()
                .filter_map(|offering| offering.location);
            Ok(Some(zones.collect()))
        }
        // It is only for a better choice: who may not ask, or asks something that does not know
        // the call, gets the first zone.
        Err(error) if error.code().is_some() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_without_the_managers_type_is_passed_over() {
        let zones = || ["us-east-1e", "us-east-1b", "us-east-1a"].map(str::to_owned);
        let offering = |zones: &[&str]| -> BTreeSet<String> {
            zones.iter().map(|zone| (*zone).to_owned()).collect()
        };
        let first = |known: Option<&[&str]>| {
            let known = known.map(offering);
            first_zone(zones().into(), known.as_ref())
        };
        assert_eq!(first(None).as_deref(), Some("us-east-1a"));
        let some: &[&str] = &["us-east-1b", "us-east-1c"];
        assert_eq!(first(Some(some)).as_deref(), Some("us-east-1b"));
        assert_eq!(first(Some(&[])), None);
    }
}
