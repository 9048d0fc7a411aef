//! From the text of a configuration to jobs, and the errors for bad ones.

use super::report::Report;
use super::spec::AllowFailure;
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
fn only_what_is_named_is_inherited() {
    let shared = "image: a\nvariables: {A: 1, B: 2}\ndefault: {tags: [t], retry: 1, timeout: 2m}\n";
    let job = |inherit: &str| one(&format!("{shared}job: {{script: x, inherit: {inherit}}}"));
    let keys = |job: &JobSpec| -> Vec<String> {
        job.variables
            .iter()
            .map(|variable| variable.key.clone())
            .collect()
    };
    let nothing = job("{default: false, variables: false}");
    assert_eq!((nothing.image.clone(), nothing.tags.len()), (None, 0));
    assert!(keys(&nothing).is_empty());
    let some = job("{default: [tags, timeout], variables: [B, C]}");
    assert_eq!(
        (some.tags.as_slice(), some.retry.max),
        (&["t".to_owned()][..], 0)
    );
    assert_eq!(some.timeout.as_secs(), 120);
    assert_eq!(keys(&some), ["B"]);
    let all = job("{default: true}");
    assert_eq!((all.retry.max, keys(&all).len()), (1, 2));
}

#[test]
fn variables_of_the_pipeline_win_over_global_ones_only() {
    let more = [Variable::public("A", "w"), Variable::public("B", "w")];
    let values = |text: &str| {
        let mut job = one(text);
        job.take_variables(&more);
        let mut pairs: Vec<_> = job
            .variables
            .iter()
            .map(|v| format!("{}={}", v.key, v.value))
            .collect();
        pairs.sort();
        pairs
    };
    let shared = "variables: {A: g, B: g}\n";
    let own = values(&format!(
        "{shared}job: {{script: x, variables: {{A: own}}}}"
    ));
    assert_eq!(own, ["A=own", "B=w"]);
    let refusing = format!("{shared}job: {{script: x, inherit: {{variables: [A]}}}}");
    assert_eq!(values(&refusing), ["A=w"]);
}

#[test]
fn extends_and_references_come_together_in_a_job() {
    let job = one(
        ".base: {script: [a], tags: [x, y], variables: {A: 1, B: 2}}\n\
         .more: {extends: .base, variables: {B: 3}, rules: [{if: $A, when: always}]}\n\
         .setup: {before_script: [s1, !reference [.deep, lines]]}\n.deep: {lines: [s2, [s3]]}\n\
         job: {extends: [.more], tags: [z], variables: {C: 4}, \
         before_script: !reference [.setup, before_script], \
         rules: [{if: $N, when: never}, !reference [.more, rules]]}",
    );
    assert_eq!(job.script, ["s1", "s2", "s3", "a"]);
    assert_eq!(job.tags, ["z"]);
    let pairs: Vec<_> = job
        .variables
        .iter()
        .map(|v| format!("{}={}", v.key, v.value))
        .collect();
    assert_eq!(pairs, ["A=1", "B=3", "C=4"]);
    assert_eq!(job.rules.unwrap().len(), 2);
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
    let reports = job.artifacts.unwrap().reports;
    let junit = Report::named("junit").unwrap();
    assert_eq!(reports, [(junit, vec!["r.xml".to_owned()])]);
}

#[test]
fn a_manual_job_is_optional_by_default() {
    assert_eq!(
        one("job: {script: x, when: manual}").allow_failure,
        AllowFailure::Always
    );
    let job = one("job: {script: x, when: manual, allow_failure: false}");
    assert_eq!(job.allow_failure, AllowFailure::Never);
}

#[test]
fn needs_of_generated_jobs_mean_all_or_the_named_ones() {
    let config = CiConfig::parse(
        "n: {script: x, parallel: 2}\n\
         m: {script: x, variables: {OS: none, K: k}, parallel: {matrix: [{OS: [linux, mac], V: [1, 2]}]}}\n\
         all: {script: y, needs: [n, {job: m, artifacts: false}]}\n\
         some: {script: y, needs: [{job: m, parallel: {matrix: [{OS: mac, V: [1, 2]}]}}]}\n\
         each: {script: y, parallel: {matrix: [{OS: [linux, mac]}]}, \
         needs: [{job: m, parallel: {matrix: [{OS: ['$[[ matrix.OS ]]'], V: 2}]}}]}\n\
         late: {stage: deploy, script: y, dependencies: [n]}",
    );
    let config = config.unwrap();
    let job = |name: &str| config.jobs.iter().find(|job| job.name == name).unwrap();
    let needs = |name: &str| -> Vec<&str> {
        let needs = job(name).needs.iter().flatten();
        needs.map(|need| need.job.as_str()).collect()
    };
    let m = [
        "m: [linux, 1]",
        "m: [linux, 2]",
        "m: [mac, 1]",
        "m: [mac, 2]",
    ];
    assert_eq!(needs("all"), [&["n 1/2", "n 2/2"][..], &m].concat());
    assert!(!job("all").needs.as_ref().unwrap()[2].artifacts);
    assert_eq!(needs("some"), m[2..]);
    assert_eq!(needs("each: [linux]"), [m[1]]);
    assert_eq!(needs("each: [mac]"), [m[3]]);
    assert_eq!(
        job("late").dependencies,
        Some(vec!["n 1/2".to_owned(), "n 2/2".to_owned()])
    );
    let third = job(m[2]);
    assert_eq!(third.parallel, Some((3, 4)));
    let pairs: Vec<_> = third
        .variables
        .iter()
        .map(|v| format!("{}={}", v.key, v.value))
        .collect();
    assert_eq!(pairs, ["K=k", "OS=mac", "V=1"]);
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
            "job: {script: x, when: never}",
            "job: {trigger: other/project}",
            "job: {run: [{name: a, script: b}]}",
            "job: {script: x, rules: [{if: A is b}]}",
            "job: {script: x, rules: [{changes: 7}]}",
            "job: {script: x, rules: [{exists: {paths: [a], project: b/c}}]}",
            "job: {script: x, rules: [{when: sometimes}]}",
            "job: {script: x, rules: [7]}",
            "job: {script: x, rules: [], only: [main]}",
            "job: {script: x, inherit: {default: [script]}}",
            "job: {script: x, inherit: {variables: 7}}",
            "job: {script: x, inherit: {all: false}}",
            "job: {script: x, resource_group: 7}",
            "job: {script: x, parallel: 0}",
            "job: {script: x, parallel: {matrix: [{A: 1}]}, needs: ['$[[ matrix.B ]]']}",
            "job: {script: x, needs: [{job: a, parallel: 2}]}",
            "job: {script: x, needs: [{pipeline: '1', job: a}]}",
            "job: {script: x, needs: [{artifacts: false}]}",
            "a: {script: x}\njob: {script: x, needs: [a, a]}",
            "a: {script: x, stage: deploy}\njob: {script: x, needs: [a]}",
            "a: {script: x}\nb: {script: x}\njob: {script: x, needs: [a], dependencies: [b]}",
            "a: {script: x, needs: [b]}\nb: {script: x, needs: [a]}",
            "job: {script: x, dependencies: [a]}",
            "job: {script: x, artifacts: {reports: {odd: a}}}",
            "workflow: {rules: [{when: manual}]}\njob: {script: x}",
            "workflow: {auto_cancel: {on_new_commit: all}}\njob: {script: x}",
        ]
        .map(|text| format!("{} => {}", text.replace('\n', "; "), problem(text)))
        .join("\n")
    );
    assert!(problem("job: [").starts_with("(<unknown>): "));
}
