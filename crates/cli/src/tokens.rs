//! Resolves references to runners' tokens.

use std::collections::BTreeMap;

use aws_sdk_ssm::Client;
use onspot_gitlab::RunnerToken;
use onspot_reconcile::ServiceResultExt;
use onspot_settings::TokenRef;

use crate::failure::Failure;

/// The tokens of these runners, by the runners' names. Without `ssm`, a token in SSM cannot be
/// resolved.
pub(crate) async fn of(
    runners: impl Iterator<Item = (&str, &TokenRef)>,
    ssm: Option<&Client>,
) -> Result<BTreeMap<String, RunnerToken>, Failure> {
    let mut tokens = BTreeMap::new();
    for (runner, token) in runners {
        let token = match (token, ssm) {
            (TokenRef::Ssm(parameter), Some(ssm)) => from_ssm(ssm, parameter).await?,
            (reference, _) => reference
                .read()
                .map_err(|error| {
                    let hint = error.hint().unwrap_or_default();
                    Failure::caused(format!("there is no token for runner {runner}"), error)
                        .hint(hint)
                })?
                .expose()
                .to_owned(),
        };
        tokens.insert(runner.to_owned(), RunnerToken::new(token));
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
