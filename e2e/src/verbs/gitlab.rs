//! `gitlab [PORT]`: only the mock GitLab, for any runner to register with.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use onspot_mock_gitlab::{MockGitlab, NewRunner};
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::{Error, Result};

/// Start only the mock GitLab.
#[derive(Debug, Args)]
pub(super) struct GitLabArgs {
    /// The port it listens on; 0 takes a free one.
    #[arg(default_value_t = 8929)]
    pub(super) port: u16,
    /// The address it listens on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(super) bind: IpAddr,
    /// The address given to runners and jobs, which job containers must reach too
    #[arg(long)]
    pub(super) external_url: Option<Url>,
    /// Keep repositories and artifacts here instead of in a temporary folder.
    #[arg(long)]
    pub(super) dir: Option<PathBuf>,
    /// Tags of the created runner
    #[arg(long, value_delimiter = ',', default_value = "docker.m3")]
    pub(super) tags: Vec<String>,
    /// Use this access token instead of a random one.
    #[arg(long, env = "ONSPOT_GITLAB_TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
    /// The token with which runners register the old way, instead of a random one
    #[arg(long)]
    pub(super) registration_token: Option<String>,
    /// How many seconds a request for a job is held open if there is none
    #[arg(long, default_value_t = 50)]
    pub(super) hold: u64,
}

/// Serves until Ctrl-C.
pub(super) async fn run(args: GitLabArgs) -> Result<ExitCode> {
    let registration = args
        .registration_token
        .unwrap_or_else(|| format!("GR1348941{}", uuid::Uuid::new_v4().simple()));
    let mut builder = MockGitlab::builder()
        .bind((args.bind, args.port))
        .registration_token(&registration)
        .hold(Duration::from_secs(args.hold));
    if let Some(url) = args.external_url {
        builder = builder.external_url(url);
    }
    if let Some(dir) = args.dir {
        builder = builder.dir(dir);
    }
    if let Some(token) = args.token {
        builder = builder.token(token);
    }
    let gitlab = builder.start().await.map_err(Error::gitlab("start"))?;
    let runner = gitlab.create_runner(NewRunner {
        description: "first runner".to_owned(),
        tags: args.tags.clone(),
        run_untagged: true,
        ..NewRunner::default()
    });
    let url = gitlab.url().as_str().trim_end_matches('/');
    let tags = args.tags.join(", ");
    let text = greeting(url, &gitlab.token(), &runner, &registration, &tags);
    // If writing fails, the caller may still know the tokens.
    let _ = writeln!(anstream::stdout(), "{text}");
    told_to_end().await;
    Ok(ExitCode::SUCCESS)
}

/// Waits for Ctrl-C or SIGTERM. If a signal can't be watched, only a kill ends the process.
async fn told_to_end() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminated => {}
        Ok(()) = tokio::signal::ctrl_c() => {}
    }
}

fn greeting(url: &str, token: &str, runner: &str, registration: &str, tags: &str) -> String {
    format!(
        "\
mock GitLab   {url}
access token  {token}   for the API, and as a password for git push
runner token  {runner}   takes jobs tagged {tags} and untagged ones
registration  {registration}   for runners that register the old way

register a runner
  onspot         write url = \"{url}\" and token = \"{runner}\" under [[runners]] of a
                 config.toml, then: onspot run --config config.toml
  gitlab-runner  gitlab-runner register --non-interactive --url {url} \\
                   --token {runner} --executor docker --docker-image alpine

push a project
  just push fixtures/cowsay --url {url} --token {token}
  git push http://oauth2:{token}@{host}/root/any-name.git HEAD:main

Ctrl-C ends it.",
        host = url.split_once("://").map_or(url, |(_, host)| host),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_says_how_to_go_on() {
        let url = "http://127.0.0.1:8929";
        let text = greeting(url, "glpat-a", "glrt-b", "GR1348941c", "docker.m3");
        insta::assert_snapshot!(text);
    }
}
