//! The script that instances run at their first boot (user-data). It fetches the program from the
//! bucket, writes the configuration and the systemd units, and starts them.
//!
//! The scripts need only bash, curl and openssl, which all supported systems have. The script signs
//! the fetch itself, because the curl of Ubuntu 22.04 cannot sign with a session token, and that of
//! Debian 12 leaves out the hash of the content.

use url::Url;

use crate::Error;
use crate::clients::domain;
use crate::instances::config::authority;
use crate::spec::{Os, RegistryCache};

/// The longest user-data that EC2 takes, in bytes before base64.
pub(crate) const MAX_USER_DATA: usize = 16 * 1024;

/// The line that ends a file in a script; no file may contain it.
const EOF: &str = "END_OF_ONSPOT_FILE";

/// Where the bucket is.
#[derive(Debug, Clone)]
pub(crate) struct Source<'a> {
    pub(crate) stack: &'a str,
    pub(crate) region: &'a str,
    pub(crate) endpoint: Option<&'a Url>,
    pub(crate) bucket: &'a str,
    /// Of the program.
    pub(crate) sha256: &'a str,
}

/// What a manager boots with.
#[derive(Debug, Clone)]
pub(crate) struct ManagerBoot<'a> {
    pub(crate) source: Source<'a>,
    /// `manager.toml`.
    pub(crate) settings: &'a str,
    pub(crate) os: Os,
    pub(crate) registry_cache: Option<&'a RegistryCache>,
}

/// What a worker boots with.
#[derive(Debug, Clone)]
pub(crate) struct WorkerBoot<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) runner: &'a str,
    pub(crate) os: Os,
    /// `worker.toml`.
    pub(crate) settings: &'a str,
    pub(crate) registry_mirrors: &'a [Url],
    /// Whether managers keep images.
    pub(crate) registry_cache: bool,
    /// Key in the bucket and SHA-256 of the helper image.
    pub(crate) helper: Option<(String, &'a str)>,
}

impl ManagerBoot<'_> {
    /// The script.
    pub(crate) fn render(&self) -> Result<String, Error> {
        let title = format!("Boots a manager of the onspot stack {}.", self.source.stack);
        let body = fill(
            include_str!("boot/manager.sh"),
            &[
                ("SHA256", self.source.sha256),
                ("STACK", self.source.stack),
                ("SETTINGS", self.settings.trim_end()),
            ],
        );
        checked(
            format!("{}{body}{}", common(&self.source, &title), self.registry()),
            "the manager",
        )
    }

    /// The cache of images. It starts after everything that the manager itself needs.
    fn registry(&self) -> String {
        let Some(cache) = self.registry_cache else {
            return String::new();
        };
        let mirrors = cache.mirror().map(str::to_owned);
        fill(
            include_str!("boot/registry.sh"),
            &[
                ("STACK", self.source.stack),
                ("PORT", &RegistryCache::PORT.to_string()),
                ("IMAGE", &cache.image),
                ("UPSTREAM", cache.upstream()),
                ("SIZE_MB", &(u64::from(cache.size_gb) * 1000).to_string()),
                ("DOCKER_PACKAGE", docker_package(self.os)),
                ("DAEMON_JSON", &daemon_json(mirrors)),
            ],
        )
    }
}

impl WorkerBoot<'_> {
    /// The script.
    pub(crate) fn render(&self) -> Result<String, Error> {
        let title = format!("Boots a worker of the onspot stack {}.", self.source.stack);
        let package = docker_package(self.os);
        let mirrors = daemon_json(self.mirrors());
        let body = fill(
            include_str!("boot/worker.sh"),
            &[
                ("SHA256", self.source.sha256),
                ("STACK", self.source.stack),
                ("SETTINGS", self.settings.trim_end()),
                ("DOCKER_PACKAGE", package),
                ("DAEMON_JSON", &mirrors),
                ("HELPER", &self.load_helper()),
                (
                    "AWAIT_HELPER",
                    if self.helper.is_some() {
                        "wait \"$helper\""
                    } else {
                        ""
                    },
                ),
            ],
        );
        let whose = format!("runner {:?}", self.runner);
        checked(format!("{}{body}", common(&self.source, &title)), &whose)
    }

    /// In the order in which the engine asks them. The stack's own cache is first: behind a mirror
    /// that has everything it would never be asked.
    fn mirrors(&self) -> impl Iterator<Item = String> {
        let own = self.registry_cache.then(RegistryCache::on_worker);
        let named = self.registry_mirrors.iter();
        let named = named.map(|url| url.as_str().trim_end_matches('/').to_owned());
        own.into_iter().chain(named)
    }

    /// Runs in parallel with the rest of the script, which waits for it before it starts the agent.
    fn load_helper(&self) -> String {
        let Some((key, sha256)) = &self.helper else {
            return String::new();
        };
        fill(
            include_str!("boot/helper.sh"),
            &[("KEY", key.as_str()), ("SHA256", sha256)],
        )
    }
}

fn docker_package(os: Os) -> &'static str {
    match os {
        Os::AmazonLinux2023 => "docker",
        Os::Debian12 | Os::Ubuntu2204 => "docker.io",
    }
}

/// The engine's settings, with these mirrors of Docker Hub if there are any.
fn daemon_json(mirrors: impl IntoIterator<Item = String>) -> String {
    let mirrors: Vec<_> = mirrors.into_iter().collect();
    if mirrors.is_empty() {
        return String::new();
    }
    let json = serde_json::json!({ "registry-mirrors": mirrors });
    format!("mkdir -p /etc/docker\ncat >/etc/docker/daemon.json <<'{EOF}'\n{json:#}\n{EOF}\n")
}

/// The functions that both scripts share.
fn common(source: &Source<'_>, title: &str) -> String {
    let place = Place::of(source);
    fill(
        include_str!("boot/common.sh"),
        &[
            ("TITLE", title),
            ("S3_URL", &place.url),
            ("S3_HOST", &place.host),
            ("S3_PATH", &place.path),
            ("REGION", source.region),
        ],
    )
}

/// How the bucket is addressed: by host name on AWS, by path elsewhere.
struct Place {
    /// Scheme and host.
    url: String,
    /// The `Host` header.
    host: String,
    /// The path before an object's key, without the last slash.
    path: String,
}

impl Place {
    fn of(source: &Source<'_>) -> Self {
        if let Some(endpoint) = source.endpoint {
            let host = authority(endpoint);
            Self {
                url: format!("{}://{host}", endpoint.scheme()),
                host,
                path: format!(
                    "{}/{}",
                    endpoint.path().trim_end_matches('/'),
                    source.bucket
                ),
            }
        } else {
            let Source { bucket, region, .. } = source;
            let host = format!("{bucket}.s3.{region}.{}", domain(region));
            Self {
                url: format!("https://{host}"),
                host,
                path: String::new(),
            }
        }
    }
}

/// Replaces `@NAME@` by its value in one pass, so that nothing inside a value is replaced.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find('@') {
        filled.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let name = after.split_once('@').map(|(name, _)| name);
        let value = name.and_then(|name| match name {
            "EOF" => Some(EOF),
            name => values
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value),
        });
        if let (Some(name), Some(value)) = (name, value) {
            filled.push_str(value);
            rest = &after[name.len() + 1..];
        } else {
            filled.push('@');
            rest = after;
        }
    }
    filled + rest
}

fn checked(script: String, of: &str) -> Result<String, Error> {
    let bytes = script.len();
    if bytes > MAX_USER_DATA {
        return Err(Error::BootScript {
            of: of.to_owned(),
            bytes,
            limit: MAX_USER_DATA,
        });
    }
    Ok(script)
}

#[cfg(test)]
mod tests;
