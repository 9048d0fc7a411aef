//! Logins for Amazon's registries (ECR), by the rights of this host's role: what the helper
//! `ecr-login` does, without that program.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::OnceCell;

/// The operation.
const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
const CONTENT: &str = "application/x-amz-json-1.1";
/// How long before its end a token is not used any more.
const RESERVE: Duration = Duration::from_mins(30);
/// How long AWS may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much of an error of AWS is passed on.
const SAID: usize = 300;

/// One of Amazon's registries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Registry {
    account: String,
    region: String,
    fips: bool,
}

/// Tokens of ECR, each kept as long as it is good.
#[derive(Default)]
pub(in crate::docker) struct Ecr {
    credentials: OnceCell<SharedCredentialsProvider>,
    endpoint: Option<String>,
    known: Mutex<HashMap<Registry, Token>>,
}

#[derive(Clone)]
struct Token {
    username: String,
    password: String,
    good_until: SystemTime,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    authorization_data: Vec<AuthorizationData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizationData {
    authorization_token: String,
    expires_at: f64,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "__type", default)]
    kind: String,
    #[serde(alias = "Message", default)]
    message: String,
}

impl std::fmt::Debug for Ecr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ecr").finish_non_exhaustive()
    }
}

impl Registry {
    /// `123456789012.dkr.ecr.eu-west-1.amazonaws.com`, or with two protocols
    /// `123456789012.dkr-ecr.eu-west-1.on.aws`. Strict: the region becomes part of an address.
    pub(super) fn parse(host: &str) -> Option<Self> {
        const DOMAINS: [&str; 4] = [
            "amazonaws.com",
            "amazonaws.com.cn",
            "on.aws",
            "on.amazonwebservices.com.cn",
        ];
        let (account, rest) = host.split_once('.')?;
        let kinds = [
            ("dkr.ecr.", false),
            ("dkr.ecr-fips.", true),
            ("dkr-ecr.", false),
            ("dkr-ecr-fips.", true),
        ];
        let (rest, fips) = kinds
            .iter()
            .find_map(|(kind, fips)| Some((rest.strip_prefix(kind)?, *fips)))?;
        let (region, domain) = rest.split_once('.')?;
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let is_region = !region.is_empty()
            && region
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        (is_account && is_region && DOMAINS.contains(&domain)).then(|| Self {
            account: account.to_owned(),
            region: region.to_owned(),
            fips,
        })
    }

    fn endpoint(&self) -> String {
        let region = &self.region;
        let service = if self.fips { "ecr-fips" } else { "api.ecr" };
        let china = if region.starts_with("cn-") { ".cn" } else { "" };
        format!("https://{service}.{region}.amazonaws.com{china}/")
    }
}

impl Ecr {
    /// The login for a registry. The error says what is wrong, and no secret.
    pub(super) async fn login(&self, registry: &Registry) -> Result<DockerCredentials, String> {
        let known = self.known.lock().get(registry).cloned();
        let known = known.filter(|token| token.good_until > SystemTime::now());
        let token = if let Some(token) = known {
            token
        } else {
            let fetched = self.fetch(registry).await;
            let token = fetched.map_err(|error| format!("ECR gives no token: {error}"))?;
            self.known.lock().insert(registry.clone(), token.clone());
            token
        };
        Ok(DockerCredentials {
            username: Some(token.username),
            password: Some(token.password),
            ..DockerCredentials::default()
        })
    }

    async fn fetch(&self, registry: &Registry) -> Result<Token, String> {
        let credentials = self.credentials(&registry.region).await?;
        let url = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => registry.endpoint(),
        };
        let body = serde_json::json!({ "registryIds": [registry.account] }).to_string();
        let headers = signed(&credentials, &registry.region, &url, &body)?;
        let client = reqwest::Client::builder().timeout(PATIENCE).build();
        let client = client.map_err(|error| error.to_string())?;
        let mut request = client
            .post(&url)
            .header("content-type", CONTENT)
            .header("x-amz-target", TARGET)
            .body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.map_err(|error| cause(&error))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|error| cause(&error))?;
        if status.is_success() {
            return token(&bytes).ok_or_else(|| "its answer holds none".to_owned());
        }
        let refusal: Option<Refusal> = serde_json::from_slice(&bytes).ok();
        Err(refusal.map_or_else(
            || status.to_string(),
            |refusal| {
                let said = format!("{}: {}", refusal.kind, refusal.message);
                said.chars().take(SAID).collect()
            },
        ))
    }

    /// Those of this host: on an instance the ones of its role.
    async fn credentials(&self, region: &str) -> Result<Credentials, String> {
        let provider = self.credentials.get_or_try_init(|| async {
            let region = Region::new(region.to_owned());
            let config = aws_config::defaults(BehaviorVersion::latest()).region(region);
            let provider = config.load().await.credentials_provider();
            provider.ok_or_else(|| "this host has no AWS credentials".to_owned())
        });
        let given = provider.await?.provide_credentials().await;
        given.map_err(|error| format!("this host has no AWS credentials: {}", cause(&error)))
    }
}

/// The innermost cause of an error: what happened, without where.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn token(answer: &[u8]) -> Option<Token> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let data = answer.authorization_data.into_iter().next()?;
    let text = String::from_utf8(STANDARD.decode(data.authorization_token).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    let expires = Duration::try_from_secs_f64(data.expires_at).ok()?;
    Some(Token {
        username: username.to_owned(),
        password: password.to_owned(),
        good_until: UNIX_EPOCH + expires.saturating_sub(RESERVE),
    })
}

/// The headers that sign a request.
fn signed(
    credentials: &Credentials,
    region: &str,
    url: &str,
    body: &str,
) -> Result<Vec<(String, String)>, String> {
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("ecr")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let headers = [("content-type", CONTENT), ("x-amz-target", TARGET)];
    let body = SignableBody::Bytes(body.as_bytes());
    let request = SignableRequest::new("POST", url, headers.into_iter(), body)
        .map_err(|error| error.to_string())?;
    let (instructions, _) = sign(request, &params)
        .map_err(|error| error.to_string())?
        .into_parts();
    let headers = instructions.headers();
    Ok(headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

#[cfg(test)]
impl Ecr {
    /// One with an endpoint and credentials of a test.
    pub(super) fn at(endpoint: &str) -> Self {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        Self {
            credentials: OnceCell::new_with(Some(SharedCredentialsProvider::new(credentials))),
            endpoint: Some(endpoint.to_owned()),
            known: Mutex::default(),
        }
    }
}
