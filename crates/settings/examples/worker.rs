//! Prints the `worker.toml` of a worker whose jobs run in Alpine.

use onspot_settings::{DEFAULT_LEASE_FILE, Docker, Runner, Timing, WorkerSettings};

#[expect(clippy::print_stdout, reason = "that is what the example is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = WorkerSettings {
        stack: "ci".to_owned(),
        region: "eu-west-1".to_owned(),
        endpoint_url: None,
        bucket: "ci-123456789012".to_owned(),
        log_group: "/onspot/ci".to_owned(),
        role_id: "AROAEXAMPLE".to_owned(),
        slots: 2,
        max_builds: 0,
        lease_file: DEFAULT_LEASE_FILE.into(),
        registry_port: None,
        timing: Timing::default(),
        runner: Runner::new("docker.m3", "https://gitlab.example".parse()?),
        docker: Docker {
            image: Some("alpine:latest".to_owned()),
            ..Docker::default()
        },
        cache: None,
    };
    print!("{}", toml::to_string(&settings)?);
    Ok(())
}
