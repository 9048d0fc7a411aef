//! Logins for registries: the job's own and the runner's.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bollard::auth::DockerCredentials;
use onspot_gitlab::Variables;
use onspot_gitlab::job::JobPayload;
use serde::Deserialize;

/// What Docker calls its own hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Known logins, by registry. The first source that knows a registry wins: the job's
/// `DOCKER_AUTH_CONFIG`, the runner's, then what GitLab sent with the job.
#[derive(Default)]
pub(super) struct Logins {
    by_registry: BTreeMap<String, Login>,
}

struct Login {
    username: String,
    password: String,
    source: &'static str,
}

#[derive(Deserialize)]
struct AuthConfig {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
}

#[derive(Deserialize)]
struct AuthEntry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

impl Logins {
    /// Collects what a job may use. What cannot be read is named in `warn`.
    pub(super) fn of(
        job: &JobPayload,
        variables: &Variables,
        of_runner: Option<&str>,
        mut warn: impl FnMut(&str),
    ) -> Self {
        let mut logins = Self::default();
        let sources = [
            (
                "the job's DOCKER_AUTH_CONFIG",
                variables.get("DOCKER_AUTH_CONFIG"),
            ),
            ("the runner's DOCKER_AUTH_CONFIG", of_runner),
        ];
        for (source, config) in sources {
            let Some(config) = config.filter(|config| !config.trim().is_empty()) else {
                continue;
            };
            match serde_json::from_str::<AuthConfig>(config) {
                Ok(config) => logins.add_config(config, source),
                Err(_) => warn(&format!("{source} is not the JSON of a docker config.json")),
            }
        }
        for credentials in job.credentials.iter().filter(|c| c.r#type == "registry") {
            let password = credentials.password.expose().to_owned();
            let username = credentials.username.clone();
            logins.add(
                &credentials.url,
                Login {
                    username,
                    password,
                    source: "the job",
                },
            );
        }
        logins
    }

    fn add_config(&mut self, config: AuthConfig, source: &'static str) {
        for (registry, entry) in config.auths {
            let (username, password) =
                decode(&entry.auth).unwrap_or((entry.username.clone(), entry.password.clone()));
            if !username.is_empty() {
                self.add(
                    &registry,
                    Login {
                        username,
                        password,
                        source,
                    },
                );
            }
        }
    }

    fn add(&mut self, registry: &str, login: Login) {
        self.by_registry.entry(host(registry)).or_insert(login);
    }

    /// The login for an image, and where it comes from.
    pub(super) fn for_image(&self, image: &str) -> Option<(DockerCredentials, &'static str)> {
        let registry = registry_of(image);
        let login = self.by_registry.get(registry)?;
        let address = if registry == "docker.io" {
            DOCKER_HUB
        } else {
            registry
        };
        let credentials = DockerCredentials {
            username: Some(login.username.clone()),
            password: Some(login.password.clone()),
            serveraddress: Some(address.to_owned()),
            ..DockerCredentials::default()
        };
        Some((credentials, login.source))
    }
}

/// `user:password` in base64, with or without padding.
fn decode(auth: &str) -> Option<(String, String)> {
    let bytes = STANDARD
        .decode(auth)
        .or_else(|_| STANDARD_NO_PAD.decode(auth))
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((
        username.to_owned(),
        password.trim_end_matches('\0').to_owned(),
    ))
}

/// A registry's name without scheme and path; all names of the hub are one.
fn host(registry: &str) -> String {
    let host = registry
        .split_once("://")
        .map_or(registry, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    match host {
        "index.docker.io" | "registry-1.docker.io" | "docker.io" | "" => "docker.io".into(),
        other => other.to_owned(),
    }
}

/// The registry in an image's name: what is before the first slash, if it looks like a host.
pub(super) fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => match host {
            "index.docker.io" => "docker.io",
            other => other,
        },
        _ => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onspot_gitlab::job::Credentials;
    use onspot_gitlab::{Secret, Variable};

    fn user(logins: &Logins, image: &str) -> Option<(String, &'static str)> {
        let (credentials, source) = logins.for_image(image)?;
        Some((credentials.username?, source))
    }

    #[test]
    fn the_nearest_source_wins() {
        let job = JobPayload {
            credentials: vec![Credentials {
                r#type: "registry".into(),
                url: "registry.example:5000".into(),
                username: "gitlab-ci-token".into(),
                password: Secret::new("token"),
            }],
            ..JobPayload::default()
        };
        // "job:secret"
        let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"am9iOnNlY3JldA=="}}}"#;
        let variables = Variables::resolve([Variable::public("DOCKER_AUTH_CONFIG", config)]);
        let of_runner = r#"{"auths":{"docker.io":{"username":"runner","password":"p"},
            "other.example":{"username":"runner","password":"p"}}}"#;
        let logins = Logins::of(&job, &variables, Some(of_runner), |text| panic!("{text}"));
        let from_job = Some(("job".to_owned(), "the job's DOCKER_AUTH_CONFIG"));
        assert_eq!(user(&logins, "alpine"), from_job);
        assert_eq!(user(&logins, "npalm/cowsay:latest"), from_job);
        assert_eq!(
            user(&logins, "registry.example:5000/a/b:1"),
            Some(("gitlab-ci-token".to_owned(), "the job"))
        );
        assert_eq!(user(&logins, "other.example/x").unwrap().0, "runner");
        assert_eq!(user(&logins, "unknown.example/x"), None);
    }

    #[test]
    fn a_broken_config_is_named_without_its_content() {
        let variables = Variables::resolve([Variable::public("DOCKER_AUTH_CONFIG", "{secret")]);
        let mut warnings = Vec::new();
        Logins::of(&JobPayload::default(), &variables, None, |text| {
            warnings.push(text.to_owned());
        });
        assert_eq!(
            warnings,
            ["the job's DOCKER_AUTH_CONFIG is not the JSON of a docker config.json"]
        );
    }
}
