//! Logins for registries: the job's own, the runner's and this host's.

mod config;
mod ecr;
mod place;
mod program;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bollard::auth::DockerCredentials;
use onspot_gitlab::Variables;
use onspot_gitlab::job::JobPayload;

use self::config::{AuthConfig, Secret};
use self::place::{place_of_image, place_of_login, registry_of, server_of};

pub(super) use self::ecr::Ecr;

/// The source of the job's logins.
const OF_JOB: &str = "the job's DOCKER_AUTH_CONFIG";
/// The source of the runner's logins.
const OF_RUNNER: &str = "the runner's DOCKER_AUTH_CONFIG";
/// The source of this host's logins.
const OF_HOST: &str = "this host's config.json";
/// The helper for Amazon's registries, whose work onspot does itself.
const ECR_LOGIN: &str = "ecr-login";

/// Known logins, by registry or by a path in one (`registry.example/team`). The longest path that
/// is a prefix of the image's wins, as in Docker. For the same path the first source wins: the
/// job's `DOCKER_AUTH_CONFIG`, the runner's, this host's file, then the credentials sent by GitLab.
///
/// Credential helpers are asked only for the registry of an image that is looked for.
#[derive(Default)]
pub(super) struct Logins {
    by_path: BTreeMap<String, Vec<Login>>,
    /// Helpers that know any number of registries.
    stores: Vec<Store>,
    sources: usize,
    ecr: Arc<Ecr>,
}

struct Login {
    secret: Secret,
    source: &'static str,
    /// The number of its source.
    rank: usize,
}

struct Store {
    program: String,
    source: &'static str,
    rank: usize,
}

/// What may know a login.
enum Candidate<'a> {
    Login(&'a Login),
    Store(&'a Store),
}

/// A login for one image.
pub(super) struct Found {
    /// For the engine.
    pub(super) credentials: DockerCredentials,
    /// Where it comes from, for people.
    pub(super) source: &'static str,
}

/// The configurations that the runner and its host have.
#[derive(Clone)]
pub(super) struct Own<'a> {
    /// The runner's `DOCKER_AUTH_CONFIG`.
    pub(super) of_runner: Option<&'a str>,
    /// The `config.json` of this host.
    pub(super) file: Option<&'a Path>,
    /// Access to Amazon's registries.
    pub(super) ecr: &'a Arc<Ecr>,
}

impl Logins {
    /// Collects the logins that a job may use. `warn` gets a message for each unreadable one.
    pub(super) fn of(
        job: &JobPayload,
        variables: &Variables,
        own: &Own<'_>,
        mut warn: impl FnMut(&str),
    ) -> Self {
        let mut logins = Self::default();
        // Without one of its own a job has the runner's variable.
        let of_job = variables.get("DOCKER_AUTH_CONFIG");
        logins.add_text(
            of_job.filter(|text| own.of_runner != Some(text)),
            OF_JOB,
            &mut warn,
        );
        logins.add_own(own, &mut warn);
        for credentials in job.credentials.iter().filter(|c| c.r#type == "registry") {
            let secret = Secret::Password {
                username: credentials.username.clone(),
                password: credentials.password.expose().to_owned(),
            };
            logins.add(&credentials.url, secret, "the job");
        }
        logins
    }

    /// The logins of the runner and its host.
    pub(super) fn of_runner(own: &Own<'_>, mut warn: impl FnMut(&str)) -> Self {
        let mut logins = Self::default();
        logins.add_own(own, &mut warn);
        logins
    }

    fn add_own(&mut self, own: &Own<'_>, warn: &mut impl FnMut(&str)) {
        self.ecr = Arc::clone(own.ecr);
        self.add_text(own.of_runner, OF_RUNNER, warn);
        match own.file.map(std::fs::read_to_string) {
            Some(Ok(text)) => self.add_text(Some(&text), OF_HOST, warn),
            Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                warn(&format!("{OF_HOST} can't be read: {error}"));
            }
            _ => {}
        }
    }

    fn add_text(
        &mut self,
        config: Option<&str>,
        source: &'static str,
        warn: &mut impl FnMut(&str),
    ) {
        self.sources += 1;
        let Some(config) = config.filter(|config| !config.trim().is_empty()) else {
            return;
        };
        let Some(config) = AuthConfig::read(config) else {
            warn(&format!("{source} is not the JSON of a docker config.json"));
            return;
        };
        let (logins, store) = config.into_logins();
        for (registry, secret) in logins {
            self.add(&registry, secret, source);
        }
        self.stores.extend(store.map(|program| Store {
            program,
            source,
            rank: self.sources,
        }));
    }

    fn add(&mut self, registry: &str, secret: Secret, source: &'static str) {
        let login = Login {
            secret,
            source,
            rank: self.sources,
        };
        let known = self.by_path.entry(place_of_login(registry)).or_default();
        known.push(login);
    }

    /// The login for an image, if there is one. `warn` gets a message for each helper that fails.
    pub(super) async fn for_image(&self, image: &str, mut warn: impl FnMut(&str)) -> Option<Found> {
        let path = place_of_image(image);
        let registry = registry_of(&path);
        for candidate in self.candidates(&path) {
            let (asked, source) = match candidate {
                Candidate::Login(login) => (self.login(login, registry).await, login.source),
                Candidate::Store(store) => {
                    let server = server_of(registry);
                    let asked = self.ask(&store.program, registry, &server).await;
                    (asked, store.source)
                }
            };
            match asked {
                Ok(Some(credentials)) => {
                    let serveraddress = Some(server_of(registry));
                    let credentials = DockerCredentials {
                        serveraddress,
                        ..credentials
                    };
                    return Some(Found {
                        credentials,
                        source,
                    });
                }
                Ok(None) => {}
                Err(error) => warn(&format!("no login by {source}: {error}")),
            }
        }
        None
    }

    /// What may know a login for an image, in the order of asking. What is for a path in its
    /// registry is nearer than what is for all of it.
    fn candidates(&self, path: &str) -> Vec<Candidate<'_>> {
        let above = std::iter::successors(Some(path), |path| {
            path.rsplit_once('/').map(|(above, _)| above)
        });
        let known = |path: &str| self.by_path.get(path).into_iter().flatten();
        let nearer = above.filter(|path| path.contains('/')).flat_map(known);
        let mut whole: Vec<_> = known(registry_of(path)).map(Candidate::Login).collect();
        whole.extend(self.stores.iter().map(Candidate::Store));
        whole.sort_by_key(Candidate::order);
        nearer.map(Candidate::Login).chain(whole).collect()
    }

    async fn login(
        &self,
        login: &Login,
        registry: &str,
    ) -> Result<Option<DockerCredentials>, String> {
        let credentials = match &login.secret {
            Secret::Password { username, password } => DockerCredentials {
                username: Some(username.clone()),
                password: Some(password.clone()),
                ..DockerCredentials::default()
            },
            Secret::Token(token) => DockerCredentials {
                identitytoken: Some(token.clone()),
                ..DockerCredentials::default()
            },
            Secret::Helper { program, server } => return self.ask(program, registry, server).await,
        };
        Ok(Some(credentials))
    }

    /// Asks a helper for a registry's login.
    async fn ask(
        &self,
        program: &str,
        registry: &str,
        server: &str,
    ) -> Result<Option<DockerCredentials>, String> {
        if program != ECR_LOGIN {
            return program::ask(program, server).await;
        }
        match ecr::Registry::parse(registry) {
            // Boxed: what AWS's crates await is deep.
            Some(registry) => Box::pin(self.ecr.login(&registry)).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Candidate<'_> {
    /// The first source first, and in it the helper for all registries, as in Docker.
    fn order(&self) -> (usize, bool) {
        match self {
            Self::Store(store) => (store.rank, false),
            Self::Login(login) => (login.rank, true),
        }
    }
}

#[cfg(test)]
mod tests;
