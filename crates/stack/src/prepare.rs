//! What is found out before anything is made: names, zones, tokens, and whether GitLab takes them.

use aws_sdk_ec2::types::{AvailabilityZoneState, Filter};
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
    token: RunnerToken,
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
                let token = parameters::read(&clients.ssm, parameter).await?;
                let token = token.ok_or_else(|| Error::NoParameter {
                    runner: runner.name.clone(),
                    parameter: parameter.clone(),
                })?;
                Token {
                    runner,
                    token,
                    parameter: None,
                }
            }
            reference => {
                let secret = reference.read().map_err(|source| Error::Token {
                    runner: runner.name.clone(),
                    source,
                })?;
                let token = RunnerToken::new(secret.expose());
                let parameter = TokenParameter {
                    name: names.token_parameter(&runner.slug()),
                    token: token.clone(),
                    tags: Tags::of_stack(names.stack()).with_runner(&runner.name),
                };
                Token {
                    runner,
                    token,
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
    for Token { runner, token, .. } in tokens {
        let step = Step::start(events, format!("ask {} about {}", runner.url, runner.name));
        let us = RunnerIdentity::new(token.clone(), SystemId::of_this_host(), Info::docker());
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

/// The zones that `spec` names, or the region's first one.
pub(crate) async fn zones(spec: &Spec, clients: &Clients) -> Result<Vec<String>, Error> {
    if !spec.network.zones.is_empty() {
        return Ok(spec.network.zones.clone());
    }
    // Local and wavelength zones lack half of the services.
    let regional = Filter::builder()
        .name("zone-type")
        .values("availability-zone")
        .build();
    let answer = clients
        .ec2
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
    let first = available.filter_map(|zone| zone.zone_name).min();
    let first = first.ok_or(Error::Incomplete {
        operation: "DescribeAvailabilityZones",
        what: "a zone that is available",
    })?;
    Ok(vec![first])
}
