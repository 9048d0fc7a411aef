//! Docker's credential helpers: programs on this host that know logins
//! (`docker-credential-secretservice`).

use std::process::{Output, Stdio};
use std::time::Duration;

use bollard::auth::DockerCredentials;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The name of a login that is a token.
const TOKEN: &str = "<token>";
/// What helpers say of a server that they do not know.
const NOT_FOUND: &str = "credentials not found";
/// How much of what a helper says is passed on.
const SAID: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper for a server's login. The error says what is wrong, and no secret.
pub(super) async fn ask(program: &str, server: &str) -> Result<Option<DockerCredentials>, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if program.is_empty() || !program.chars().all(is_plain) {
        return Err(format!("{program:?} is no name of a credential helper"));
    }
    let program = format!("docker-credential-{program}");
    let output = match timeout(PATIENCE, run(&program, server)).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("{program} is not on this host"));
        }
        Ok(Err(error)) => return Err(format!("{program}: {error}")),
        Err(_) => {
            return Err(format!(
                "{program} has not answered in {} s",
                PATIENCE.as_secs()
            ));
        }
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let said: String = said.trim().chars().take(SAID).collect();
        return if said.contains(NOT_FOUND) {
            Ok(None)
        } else {
            Err(format!("{program}: {said}"))
        };
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("{program} has not answered in its JSON"))?;
    Ok(Some(credentials(answer)))
}

fn credentials(answer: Answer) -> DockerCredentials {
    if answer.username == TOKEN {
        return DockerCredentials {
            identitytoken: Some(answer.secret),
            ..DockerCredentials::default()
        };
    }
    DockerCredentials {
        username: Some(answer.username),
        password: Some(answer.secret),
        ..DockerCredentials::default()
    }
}

async fn run(program: &str, server: &str) -> std::io::Result<Output> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // One that has not read it says so by its answer.
        let _ = input.write_all(server.as_bytes()).await;
    }
    child.wait_with_output().await
}
