//! The repository's URL, and the logins that git inserts into URLs.

use onspot_gitlab::job::JobPayload;
use url::Url;

use crate::error::Error;
use crate::helper::request::Login;
use crate::plan::choices::Choices;
use crate::settings::RunnerSettings;

/// The user name that goes with a job's token.
const USER: &str = "gitlab-ci-token";

/// The repository's URL without its password, and the logins for it and its submodules.
pub(super) fn repository(
    job: &JobPayload,
    settings: &RunnerSettings,
    choices: &mut Choices<'_>,
) -> Result<(String, Vec<Login>), Error> {
    // Not in the error: the URL contains the job's token.
    let broken = || Error::Payload("the repository's URL is no URL".into());
    let mut url = Url::parse(&job.git_info.repo_url).map_err(|_| broken())?;
    let user = Some(url.username()).filter(|user| !user.is_empty());
    let secret = Secret {
        user: user.unwrap_or(USER).to_owned(),
        password: url.password().unwrap_or(job.token.expose()).to_owned(),
    };
    url.set_username("").map_err(|()| broken())?;
    url.set_password(None).map_err(|()| broken())?;
    let mut logins = Vec::new();
    let mut base = settings.runner.url.clone();
    if let Some(clone_url) = &settings.runner.clone_url {
        // The URLs of submodules may still contain the host that GitLab itself uses.
        logins.extend(secret.for_host(&url));
        base = Url::parse(clone_url).map_err(|_| {
            Error::Payload(format!("the runner's clone_url {clone_url:?} is no URL"))
        })?;
        let path = format!("{}{}", base.path().trim_end_matches('/'), url.path());
        url = base.clone();
        url.set_path(&path);
    }
    logins.extend(secret.for_host(&url));
    if choices.flag("GIT_SUBMODULE_FORCE_HTTPS", false) {
        logins.extend(secret.login(&base, ssh_urls(&url, choices)));
    }
    logins.dedup();
    Ok((url.into(), logins))
}

/// The prefixes of GitLab's SSH URLs.
fn ssh_urls(url: &Url, choices: &Choices<'_>) -> Vec<String> {
    let host = choices
        .text("CI_SERVER_SHELL_SSH_HOST")
        .or_else(|| choices.text("CI_SERVER_HOST"))
        .or_else(|| url.host_str())
        .unwrap_or_default();
    match choices.text("CI_SERVER_SHELL_SSH_PORT") {
        None | Some("22") => vec![format!("git@{host}:"), format!("ssh://git@{host}/")],
        Some(port) => vec![format!("ssh://git@{host}:{port}/")],
    }
}

/// A user name and a password.
struct Secret {
    user: String,
    password: String,
}

impl Secret {
    /// The login for all URLs of a host.
    fn for_host(&self, url: &Url) -> Option<Login> {
        let mut root = url.clone();
        root.set_path("/");
        self.login(&root, vec![root.to_string()])
    }

    /// The login that replaces other URLs by a base URL; none for a base that has no passwords.
    fn login(&self, base: &Url, instead_of: Vec<String>) -> Option<Login> {
        let fits = matches!(base.scheme(), "http" | "https") && !self.password.is_empty();
        let host = base.host_str().filter(|_| fits)?;
        let port = base.port();
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        let path = base.path().trim_end_matches('/');
        Some(Login {
            with_password: format!(
                "{}://{}:{}@{host}{port}{path}/",
                base.scheme(),
                self.user,
                self.password,
            ),
            instead_of,
        })
    }
}
