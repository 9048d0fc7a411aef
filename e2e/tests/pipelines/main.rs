//! The pipelines of `fixtures/pipelines`, run by `onspot run` against one mock GitLab.
//!
//! Each folder is a repository with its `.gitlab-ci.yml`; `expect.json` holds the expected results.
//! `ONSPOT_PIPELINES=name,name` runs only some of them.

mod compatibility;
mod fixture;
mod host;
mod repository;
mod stop;
mod trace;
mod verdict;

use std::path::PathBuf;

use fixture::Fixture;
use host::Host;

/// The environment variable with the fixtures to run, separated by commas; by default all.
const CHOSEN: &str = "ONSPOT_PIPELINES";

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_have_the_expected_results() {
    let fixtures = chosen(Fixture::all(&folder()));
    assert!(!fixtures.is_empty(), "there are fixtures");
    let mut host = Host::start(&fixtures).await;
    let ended = host.run(&fixtures).await;
    let mut failed = Vec::new();
    for (fixture, ended) in fixtures.iter().zip(&ended) {
        let differences = verdict::differences(&fixture.expected, ended);
        let word = if differences.is_empty() {
            "ok  "
        } else {
            "FAIL"
        };
        println!("{word} {} ({})", fixture.name, ended.summary());
        if !differences.is_empty() {
            failed.push((fixture, ended, differences));
        }
    }
    let violations = host.end().await;
    if failed.is_empty() {
        assert!(violations.is_empty(), "{violations:?}");
        return;
    }
    eprintln!("── onspot run\n{}", host.log());
    for (fixture, ended, differences) in &failed {
        eprintln!("── {}", fixture.name);
        for job in &ended.jobs {
            eprintln!("── {} / {} {}", fixture.name, job.name, job.status);
            eprintln!("{}", job.trace);
        }
        eprintln!("── {} differs:\n{}", fixture.name, differences.join("\n"));
    }
    let names: Vec<&str> = failed.iter().map(|(one, ..)| one.name.as_str()).collect();
    panic!(
        "{} of {} differ: {}",
        failed.len(),
        fixtures.len(),
        names.join(", ")
    );
}

fn folder() -> PathBuf {
    onspot_e2e::images::repository().join("fixtures/pipelines")
}

fn chosen(all: Vec<Fixture>) -> Vec<Fixture> {
    let Ok(names) = std::env::var(CHOSEN) else {
        return all;
    };
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    let unknown = names
        .iter()
        .find(|name| all.iter().all(|one| one.name != **name));
    assert_eq!(unknown, None, "{CHOSEN} names a fixture that is not there");
    let mut all = all;
    all.retain(|fixture| names.contains(&fixture.name.as_str()));
    all
}
