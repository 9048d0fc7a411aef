//! When a template gets a new version, and how the plan explains it.

use super::*;

fn spec() -> TemplateSpec {
    TemplateSpec {
        stack: "ci".to_owned(),
        name: "onspot-ci-docker-m3".to_owned(),
        spot: false,
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
        tags: spec().own_tags(),
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
fn spot_has_a_template_of_its_own_with_the_same_content() {
    let (on_demand, spot) = (spec(), spec().for_spot());
    assert_eq!(spot.template_name(), "onspot-ci-docker-m3.spot");
    assert_eq!(spot.content(), on_demand.content());
    assert_eq!(spot.instance_tags(), on_demand.instance_tags());
    assert_eq!(
        Parts::wanted(&spot).differing(&Parts::wanted(&on_demand)),
        ["tags of spot requests"]
    );
    let plan = diff(&[spot, on_demand], &BTreeMap::new()).unwrap();
    assert_eq!(plan.plan().summary().create, 2);
}

#[test]
fn the_templates_own_tags_are_put_right_without_another_version() {
    let mut state = observed(version(1, &spec()), version(1, &spec()));
    let other = TemplateSpec {
        tags: Tags::new().with("cost", "x").noted(),
        ..spec()
    };
    let there = state.get_mut(&spec().name).unwrap();
    there.tags = other.own_tags();
    let plan = diff(&[spec()], &state).unwrap();
    let text = plan.plan().to_string();
    assert!(
        text.contains("tag cost") && text.contains("tag team"),
        "{text}"
    );
    assert!(matches!(plan.steps[0].1, Action::Tag { .. }));
    assert_eq!(plan.steps[1].1, Action::Keep);
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
