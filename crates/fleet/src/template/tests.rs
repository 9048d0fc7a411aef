//! When a template gets a new version, and what is said of it.

use super::*;

fn spec() -> TemplateSpec {
    TemplateSpec {
        stack: "ci".to_owned(),
        name: "onspot-ci-docker-m3".to_owned(),
        role: "worker".to_owned(),
        runner: Some("docker.m3".to_owned()),
        image: Image {
            id: "ami-1".to_owned(),
            name: "al2023".to_owned(),
            architecture: "x86_64".to_owned(),
            root_device: "/dev/xvda".to_owned(),
            root_gb: 8,
        },
        instance_type: None,
        disk_gb: Some(40),
        instance_profile: "onspot-ci-worker".to_owned(),
        security_group: "sg-1".to_owned(),
        user_data: "#!/bin/sh\n".to_owned(),
        tags: Tags::new().with("team", "ci"),
    }
}

fn version(number: i64, spec: &TemplateSpec) -> Version {
    Version {
        number,
        content: Some(spec.content()),
        image: Some(spec.image.id.clone()),
        instance_type: spec.instance_type.clone(),
        parts: Parts::wanted(spec),
    }
}

fn observed(default: Version, latest: Version) -> BTreeMap<String, TemplateState> {
    let state = TemplateState {
        id: "lt-1".to_owned(),
        default,
        latest,
    };
    [(spec().name, state)].into()
}

#[test]
fn whatever_makes_an_instance_another_changes_the_content() {
    let changes: [fn(&mut TemplateSpec); 10] = [
        |spec| spec.role = "manager".to_owned(),
        |spec| spec.runner = None,
        |spec| spec.image.id = "ami-2".to_owned(),
        |spec| spec.image.root_device = "/dev/sda1".to_owned(),
        |spec| spec.instance_type = Some("t3.micro".to_owned()),
        |spec| spec.disk_gb = Some(41),
        |spec| spec.instance_profile = "other".to_owned(),
        |spec| spec.security_group = "sg-2".to_owned(),
        |spec| spec.user_data.push('x'),
        |spec| spec.tags = Tags::new(),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut other = spec();
        change(&mut other);
        assert_ne!(other.content(), spec().content(), "change {n}");
    }
    assert_eq!(spec().content(), spec().content());
}

#[test]
fn instances_show_tags_that_imds_accepts() {
    let tags = spec().instance_tags();
    assert_eq!(tags.check(), Ok(()));
    assert_eq!(
        (tags.role(), tags.runner()),
        (Some("worker"), Some("docker.m3"))
    );
}

#[test]
fn the_same_content_needs_no_new_version() {
    let (one, two) = (version(1, &spec()), version(1, &spec()));
    assert!(diff(&[spec()], &observed(one, two)).unwrap().is_empty());
}

#[test]
fn a_version_that_a_crash_left_unused_is_used() {
    let old = TemplateSpec {
        user_data: "old".to_owned(),
        ..spec()
    };
    let state = observed(version(1, &old), version(2, &spec()));
    let plan = diff(&[spec()], &state).unwrap();
    let wanted = Action::UseVersion {
        id: "lt-1".to_owned(),
        number: 2,
    };
    assert_eq!(plan.steps[0].1, wanted);
}

#[test]
fn people_see_what_changes_and_what_goes() {
    let old = TemplateSpec {
        user_data: "old".to_owned(),
        image: Image {
            id: "ami-0".to_owned(),
            ..spec().image
        },
        ..spec()
    };
    let mut state = observed(version(1, &old), version(1, &old));
    let gone = state[&spec().name].clone();
    state.insert(
        "onspot-ci-removed".to_owned(),
        TemplateState {
            id: "lt-2".to_owned(),
            ..gone
        },
    );
    let manager = TemplateSpec {
        name: "onspot-ci-manager".to_owned(),
        role: "manager".to_owned(),
        runner: None,
        instance_type: Some("t3.micro".to_owned()),
        ..spec()
    };
    let plan = diff(&[manager, spec()], &state).unwrap();
    insta::assert_snapshot!(plan.plan());
}

#[test]
fn too_much_user_data_is_refused_before_any_call() {
    let spec = TemplateSpec {
        user_data: "x".repeat(MAX_USER_DATA + 1),
        ..spec()
    };
    let error = diff(&[spec], &BTreeMap::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the user-data of onspot-ci-docker-m3 has 16385 bytes: EC2 accepts 16384"
    );
}
