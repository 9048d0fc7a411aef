//! Logins for registries: the job's own and the runner's.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bollard::auth::DockerCredentials;
use onspot_gitlab::Variables;
use onspot_gitlab::job::JobPayload;
use serde::Deserialize;

/// Docker's name for its own hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The source of the runner's logins.
const OF_RUNNER: &str = "the runner's DOCKER_AUTH_CONFIG";

/// Known logins, by registry or by a path in one (`registry.example/team`). The longest path that
/// is a prefix of the image's wins, as in Docker. For the same path the first source wins: the
/// job's `DOCKER_AUTH_CONFIG`, the runner's, then the credentials sent by GitLab.
#[derive(Default)]
pub(super) struct Logins {
    by_path: BTreeMap<String, Login>,
}

struct Login {
    username: String,
    password: String,
    source: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthConfig {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
    #[serde(default)]
    creds_store: String,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
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
    /// Collects the logins that a job may use. `warn` gets a message for each unreadable one.
    pub(super) fn of(
        job: &JobPayload,
        variables: &Variables,
        of_runner: Option<&str>,
        mut warn: impl FnMut(&str),
    ) -> Self {
        let mut logins = Self::default();
        let of_job = variables.get("DOCKER_AUTH_CONFIG");
        logins.add_text(of_job, "the job's DOCKER_AUTH_CONFIG", &mut warn);
        logins.add_text(of_runner, OF_RUNNER, &mut warn);
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

    /// The runner's own logins.
    pub(super) fn of_runner(of_runner: Option<&str>, mut warn: impl FnMut(&str)) -> Self {
        let mut logins = Self::default();
        logins.add_text(of_runner, OF_RUNNER, &mut warn);
        logins
    }

    fn add_text(
        &mut self,
        config: Option<&str>,
        source: &'static str,
        warn: &mut impl FnMut(&str),
    ) {
        let Some(config) = config.filter(|config| !config.trim().is_empty()) else {
            return;
        };
        match serde_json::from_str::<AuthConfig>(config) {
            Ok(config) => {
                if !config.creds_store.is_empty() || !config.cred_helpers.is_empty() {
                    warn(&format!(
                        "{source} names credential helpers: only the logins in it are used"
                    ));
                }
                self.add_config(config, source);
            }
            Err(_) => warn(&format!("{source} is not the JSON of a docker config.json")),
        }
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
        self.by_path
            .entry(place_of_login(registry))
            .or_insert(login);
    }

    /// The login for an image, and its source.
    pub(super) fn for_image(&self, image: &str) -> Option<(DockerCredentials, &'static str)> {
        let path = place_of_image(image);
        let above = std::iter::successors(Some(path.as_str()), |path| {
            path.rsplit_once('/').map(|(above, _)| above)
        });
        let login = above.into_iter().find_map(|path| self.by_path.get(path))?;
        let registry = path.split('/').next().unwrap_or_default();
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

/// The place of a login: a registry, or a path in it. An address with a scheme is the old notation
/// of a registry; the path after its host (`/v1/`) is not a path of images.
fn place_of_login(address: &str) -> String {
    let (path, with_scheme) = match address.split_once("://") {
        Some((_, rest)) => (rest, true),
        None => (address, false),
    };
    let (host, path) = path.split_once('/').unwrap_or((path, ""));
    let host = registry_name(host);
    let path = without_tag(path.trim_end_matches('/'));
    let is_api = matches!(path, "v1" | "v2");
    if with_scheme || path.is_empty() || is_api {
        host
    } else {
        format!("{host}/{path}")
    }
}

/// An image's registry and path, without its tag or digest.
fn place_of_image(image: &str) -> String {
    let name = without_tag(image.split('@').next().unwrap_or_default());
    match name.split_once('/') {
        Some((host, path)) if is_host(host) => format!("{}/{path}", registry_name(host)),
        _ => format!("docker.io/{name}"),
    }
}

/// A colon after the last slash starts a tag, one before it a registry's port.
fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => path,
        _ => name,
    }
}

/// A registry's name; all names of the hub are treated as one.
fn registry_name(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" | "" => "docker.io".into(),
        _ => host,
    }
}

/// Whether the part of an image's name before the first slash is a registry.
fn is_host(text: &str) -> bool {
    text.contains(['.', ':']) || text.eq_ignore_ascii_case("localhost")
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
    fn a_login_for_a_path_is_for_what_is_below_it() {
        let config = r#"{"auths":{
            "registry.example/team":{"username":"team","password":"p"},
            "registry.example/team/app":{"username":"app","password":"p"},
            "Registry.Example:5000":{"username":"whole","password":"p"},
            "docker.io/company":{"username":"company","password":"p"},
            "https://old.example/v1/":{"username":"old","password":"p"}}}"#;
        let variables = Variables::resolve([Variable::public("DOCKER_AUTH_CONFIG", config)]);
        let logins = Logins::of(&JobPayload::default(), &variables, None, |text| {
            panic!("{text}")
        });
        let user = |image: &str| user(&logins, image).map(|(user, _)| user);
        for (image, expected) in [
            ("registry.example/team/tool:1", Some("team")),
            ("registry.example/team/app", Some("app")),
            ("registry.example/team/app/sub@sha256:00", Some("app")),
            ("registry.example/teams/tool", None),
            ("registry.example/other", None),
            ("registry.example:5000/any/thing:1", Some("whole")),
            ("company/private", Some("company")),
            ("alpine", None),
            ("old.example/x", Some("old")),
        ] {
            assert_eq!(user(image).as_deref(), expected, "{image}");
        }
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
        let mut warnings = Vec::new();
        let helper = r#"{"credHelpers":{"registry.example":"ecr-login"}}"#;
        Logins::of_runner(Some(helper), |text| warnings.push(text.to_owned()));
        assert!(warnings[0].contains("names credential helpers"));
    }
}
