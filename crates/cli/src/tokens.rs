//! Resolves references to runners' tokens.

use std::collections::BTreeMap;

use aws_sdk_ssm::Client;
use onspot_gitlab::RunnerToken;
use onspot_reconcile::ServiceResultExt;
use onspot_runnerconf::{Config, TokenRef};

use crate::failure::Failure;

/// The tokens of all runners, by the runners' names. Without `ssm`, a token in SSM cannot be
/// resolved.
pub(crate) async fn of(
    config: &Config,
    ssm: Option<&Client>,
) -> Result<BTreeMap<String, RunnerToken>, Failure> {
    let mut tokens = BTreeMap::new();
    for runner in &config.runners {
        let token = match (&runner.token, ssm) {
            (TokenRef::Ssm(parameter), Some(ssm)) => from_ssm(ssm, parameter).await?,
            (reference, _) => reference
                .read()
                .map_err(|error| {
                    let hint = error.hint().unwrap_or_default();
                    Failure::caused(
                        format!("there is no token for runner {}", runner.name),
                        error,
                    )
                    .hint(hint)
                })?
                .expose()
                .to_owned(),
        };
        tokens.insert(runner.name.clone(), RunnerToken::new(token));
    }
    Ok(tokens)
}

async fn from_ssm(ssm: &Client, parameter: &str) -> Result<String, Failure> {
    let sent = ssm
        .get_parameter()
        .name(parameter)
        .with_decryption(true)
        .send()
        .await;
    let answer = sent.calling("GetParameter").map_err(|error| {
        let hint = error
            .hint()
            .unwrap_or_else(|| "run `onspot up`, which stores it".to_owned());
        Failure::caused(format!("cannot read the SSM parameter {parameter}"), error).hint(hint)
    })?;
    let value = answer.parameter.and_then(|parameter| parameter.value);
    value
        .filter(|value| !value.trim().is_empty())
        .map(|value| value.trim().to_owned())
        .ok_or_else(|| Failure::new(format!("the SSM parameter {parameter} is empty")))
}
