//! `push DIR`: push a folder into a GitLab and follow its pipeline.

mod api;
mod error;
mod follow;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use onspot_mock_gitlab::push_folder;
use serde::Deserialize;
use url::Url;

use api::Api;
pub use error::PushError;
use error::WORLD;
use follow::Follower;
pub use follow::OutputFormat;

/// Push a folder with a `.gitlab-ci.yml` and follow its jobs.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// The folder; it need not be a git repository.
    pub dir: PathBuf,
    /// Format of the output
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub output: OutputFormat,
    /// The GitLab to push to, instead of the running world's.
    #[arg(long, requires = "token")]
    pub url: Option<Url>,
    /// An access token of that GitLab.
    #[arg(
        long,
        env = "ONSPOT_GITLAB_TOKEN",
        hide_env_values = true,
        requires = "url"
    )]
    pub token: Option<String>,
    /// The project's name; by default the folder's.
    #[arg(long)]
    pub project: Option<String>,
}

/// Push, follow, and return the exit code: 0 success, 1 failure, 2 wrong usage.
pub async fn run(args: PushArgs) -> u8 {
    match follow(&args).await {
        Ok(success) => u8::from(!success),
        Err(error) => {
            let mut stderr = anstream::stderr().lock();
            // If writing fails, nobody can be told.
            let mut text = format!("error: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                let _ = write!(text, ": {cause}");
                source = cause.source();
            }
            let _ = writeln!(stderr, "{text}");
            if let Some(hint) = error.hint() {
                let _ = writeln!(stderr, "  {hint}");
            }
            error.exit_code()
        }
    }
}

async fn follow(args: &PushArgs) -> Result<bool, PushError> {
    if !args.dir.join(".gitlab-ci.yml").is_file() {
        return Err(PushError::NoConfiguration(args.dir.clone()));
    }
    let (url, token) = match (&args.url, &args.token) {
        (Some(url), Some(token)) => (url.clone(), token.clone()),
        _ => running_world()?,
    };
    let project = format!("root/{}", project_name(args));
    let repository = join(&url, &format!("{project}.git"));
    let sha = push_folder(&args.dir, &repository, &token).await?;
    let api = Api::new(&url, token)?;
    let project = project.replace('/', "%2F");
    let pipeline = api.pipeline_of(&project, &sha).await?;
    Follower::new(api, project, pipeline, args.output)
        .run()
        .await
}

/// The folder's name in the form that GitLab allows in a path.
fn project_name(args: &PushArgs) -> String {
    let named = args.project.clone();
    let folder = || {
        let full = args.dir.canonicalize().unwrap_or_else(|_| args.dir.clone());
        full.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let name = named.or_else(folder).unwrap_or_default().to_lowercase();
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let plain = plain.trim_matches('-');
    if plain.is_empty() {
        "project".to_owned()
    } else {
        plain.to_owned()
    }
}

#[derive(Debug, Deserialize)]
struct World {
    gitlab_url: Url,
    gitlab_token: String,
}

/// Address and token of the world that was started in this folder or one above.
fn running_world() -> Result<(Url, String), PushError> {
    let here = std::env::current_dir().map_err(PushError::CurrentFolder)?;
    let path = here
        .ancestors()
        .map(|folder| folder.join(WORLD))
        .find(|path| path.is_file())
        .ok_or(PushError::NoWorld)?;
    let wrong = |source| PushError::World {
        path: path.clone(),
        source,
    };
    let text = std::fs::read_to_string(&path).map_err(wrong)?;
    let world: World = serde_json::from_str(&text).map_err(|error| wrong(error.into()))?;
    Ok((world.gitlab_url, world.gitlab_token))
}

fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_named_after_its_folder() {
        let name = |dir: &str, project: Option<&str>| {
            project_name(&PushArgs {
                dir: dir.into(),
                output: OutputFormat::Text,
                url: None,
                token: None,
                project: project.map(str::to_owned),
            })
        };
        assert_eq!(name("/nowhere/My App", None), "my-app");
        assert_eq!(name("/nowhere/My App", Some("other")), "other");
        assert_eq!(name("/", None), "project");
    }
}
