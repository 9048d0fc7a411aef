//! From the text of a configuration to jobs, and what is said about bad ones.

use super::*;

const COWSAY: &str = include_str!("../../../../fixtures/cowsay/.gitlab-ci.yml");

fn one(text: &str) -> JobSpec {
    let config = CiConfig::parse(text).expect("a configuration");
    config.jobs.into_iter().next().expect("a job")
}

fn problem(text: &str) -> String {
    CiConfig::parse(text)
        .expect_err("a bad configuration")
        .to_string()
}

#[test]
fn the_pipeline_of_2017() {
    let config = CiConfig::parse(COWSAY).unwrap();
    assert_eq!(config.stages, [".pre", "build", "verify", ".post"]);
    let names: Vec<_> = config.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["build", "verify"]);
    let build = &config.jobs[0];
    assert_eq!(build.tags, ["docker.m3"]);
    assert_eq!(build.image.as_ref().unwrap().name, "npalm/cowsay");
    assert_eq!(
        build.caches[0].key,
        CacheKey::Plain("$CI_BUILD_REF".to_owned())
    );
    assert_eq!(build.caches[0].untracked, Some(true));
    assert_eq!(build.caches[0].paths, None);
    assert_eq!(build.script.len(), 1);
}

#[test]
fn defaults_reach_the_jobs() {
    let job = one(
        "default: {image: a, before_script: [one, [two, [three]]]}\n\
                   after_script: [last]\njob: {script: four}",
    );
    assert_eq!(job.image.unwrap().name, "a");
    assert_eq!(job.script, ["one", "two", "three", "four"]);
    assert_eq!(job.after_script, ["last"]);
    assert_eq!(job.stage, "test");
}

#[test]
fn a_job_wins_over_defaults_and_may_refuse_them() {
    let job = one(
        "image: a\nservices: [b]\njob: {script: x, image: {name: c, entrypoint: ['']}, \
                   inherit: {default: [image]}}",
    );
    let image = job.image.unwrap();
    assert_eq!(image.name, "c");
    assert_eq!(image.entrypoint, Some(vec![String::new()]));
    assert!(job.services.is_empty());
}

#[test]
fn extends_joins_mappings_and_replaces_lists() {
    let job = one(
        ".base: {script: [a], tags: [x, y], variables: {A: 1, B: 2}}\n\
                   .more: {extends: .base, variables: {B: 3}}\n\
                   job: {extends: [.more], tags: [z], variables: {C: 4}}",
    );
    assert_eq!(job.script, ["a"]);
    assert_eq!(job.tags, ["z"]);
    let pairs: Vec<_> = job
        .variables
        .iter()
        .map(|v| format!("{}={}", v.key, v.value))
        .collect();
    assert_eq!(pairs, ["A=1", "B=3", "C=4"]);
}

#[test]
fn anchors_and_merge_keys_work() {
    let job =
        one(".setup: &setup\n  tags: [a]\n  script:\n    - one\njob:\n  <<: *setup\n  image: b\n");
    assert_eq!(job.tags, ["a"]);
    assert_eq!(job.script, ["one"]);
}

#[test]
fn the_rest_of_a_job() {
    let job = one(
        "job:\n  script: x\n  needs: []\n  timeout: 1h 30m\n  interruptible: true\n  \
         retry: {max: 2, when: runner_system_failure}\n  allow_failure: {exit_codes: [3]}\n  \
         environment: {name: review/$CI_COMMIT_REF_SLUG, url: https://example.com}\n  \
         cache:\n    - {key: {files: [Cargo.lock], prefix: p}, paths: [target/], policy: pull, when: always}\n    \
         - {paths: [b]}\n  \
         artifacts: {paths: [out], expire_in: 1 week, when: always, reports: {junit: r.xml}}\n",
    );
    assert_eq!(job.needs, Some(Vec::new()));
    assert_eq!(job.timeout.as_secs(), 5400);
    assert!(job.interruptible);
    assert_eq!(job.retry.max, 2);
    assert_eq!(job.retry.when, ["runner_system_failure"]);
    assert!(job.allow_failure.covers(Some(3)));
    assert!(!job.allow_failure.covers(Some(1)));
    assert_eq!(job.environment.unwrap().name, "review/$CI_COMMIT_REF_SLUG");
    assert_eq!(job.caches.len(), 2);
    assert_eq!(job.caches[1].key, CacheKey::Plain("default".to_owned()));
    assert_eq!(
        job.artifacts.unwrap().reports,
        [("junit".to_owned(), vec!["r.xml".to_owned()])]
    );
}

#[test]
fn a_manual_job_is_optional_unless_it_says_so() {
    assert_eq!(
        one("job: {script: x, when: manual}").allow_failure,
        AllowFailure::Always
    );
    let job = one("job: {script: x, when: manual, allow_failure: false}");
    assert_eq!(job.allow_failure, AllowFailure::Never);
}

#[test]
fn parallel_makes_several() {
    let config =
        CiConfig::parse("a: {script: x, parallel: 2}\nb: {script: y, needs: [a]}").unwrap();
    let names: Vec<_> = config.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["a 1/2", "a 2/2", "b"]);
}

#[test]
fn bad_files_say_what_is_wrong() {
    insta::assert_snapshot!(
        [
            "job: {image: a}",
            "job: {script: [1, {}]}",
            "job: {script: x, scripts: y}",
            "job: {script: x, stage: nowhere}",
            "job: {script: x, needs: [other]}",
            "job: {script: x, when: sometimes}",
            "job: {script: x, retry: 3}",
            "job: {script: x, extends: .base}",
            ".a: {script: x}",
            "a: {extends: b, script: x}\nb: {extends: a}",
            "- a list",
            "variables: [a]\njob: {script: x}",
            "job: {script: x, timeout: soon}",
            "include: other.yml",
            "job: {script: !reference [.a, script]}",
        ]
        .map(|text| format!("{} => {}", text.replace('\n', "; "), problem(text)))
        .join("\n")
    );
    assert!(problem("job: [").starts_with("(<unknown>): "));
}
