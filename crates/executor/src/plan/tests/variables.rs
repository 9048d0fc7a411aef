//! Variables that the runner adds to a job's.

use super::*;

#[test]
fn jobs_know_their_image_and_the_authorities_of_gitlab() {
    let settings = RunnerSettings {
        tls_ca_pem: Some("-----BEGIN CERTIFICATE-----\n".into()),
        ..settings()
    };
    let image = json!({
        "image": { "name": "npalm/$NAME" },
        "variables": [{ "key": "NAME", "value": "cowsay" }],
    });
    let plan = JobPlan::new(&payload(image), &settings, &SITE).unwrap();
    assert_eq!(plan.variables.get("CI_JOB_IMAGE"), Some("npalm/cowsay"));
    let file = plan.variables.reference("CI_SERVER_TLS_CA_FILE").unwrap();
    assert_eq!(file, "/builds/group/cowsay.tmp/CI_SERVER_TLS_CA_FILE");
}

#[test]
fn a_job_cannot_change_the_runners_version() {
    let plan = plan(with_variables(&[("CI_RUNNER_VERSION", "99.0.0")]));
    assert_eq!(
        plan.variables.get("CI_RUNNER_VERSION"),
        Some(env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn only_a_job_with_its_own_network_knows_its_name() {
    assert_eq!(plan(json!({})).network(), None);
    assert_eq!(plan(json!({})).variables.get("CI_BUILD_NETWORK_NAME"), None);
    let plan = plan(with_variables(&[("FF_NETWORK_PER_BUILD", "1")]));
    assert_eq!(plan.network(), Some("runner-abcdefghi-7-0-42"));
}

#[test]
fn references_in_a_release_are_expanded() {
    let steps = json!([{ "name": "release", "script": ["release-cli create --name '$NAME'"] }]);
    let plan = plan(json!({
        "steps": steps,
        "variables": [{ "key": "NAME", "value": "v1" }],
    }));
    assert_eq!(plan.steps[0].section, "step_release");
    assert!(plan.steps[0].script.contains("--name"));
    assert!(!plan.steps[0].script.contains("$NAME"));
}
