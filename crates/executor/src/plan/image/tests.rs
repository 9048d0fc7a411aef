use onspot_gitlab::job::{DockerOptions, ExecutorOptions};

use super::*;

fn settings(change: impl FnOnce(&mut Docker)) -> Docker {
    let mut settings = Docker {
        image: Some("debian:bookworm".into()),
        ..Docker::default()
    };
    change(&mut settings);
    settings
}

fn image(name: &str) -> Image {
    Image {
        name: name.into(),
        ..Image::default()
    }
}

fn job(name: &str) -> JobPayload {
    JobPayload {
        image: Some(image(name)).filter(|image| !image.name.is_empty()),
        ..JobPayload::default()
    }
}

fn with_services(services: Vec<Image>) -> JobPayload {
    JobPayload {
        services,
        ..job("")
    }
}

fn none() -> Variables {
    Variables::resolve([])
}

fn planned(name: &str, settings: &Docker) -> Result<ImagePlan, String> {
    of_job(&job(name), settings, &none()).map_err(|error| error.to_string())
}

fn services(
    services: Vec<Image>,
    settings: &Docker,
) -> Result<(Vec<ImagePlan>, Vec<String>), String> {
    of_services(&with_services(services), settings, &none()).map_err(|error| error.to_string())
}

#[test]
fn services_are_reached_by_their_images_names() {
    for (image, expected) in [
        ("postgres", &["postgres"][..]),
        ("postgres:11.7", &["postgres"]),
        (
            "tutum/wordpress:latest",
            &["tutum-wordpress", "tutum__wordpress"],
        ),
        (
            "registry.example:5000/a/b@sha256:00",
            &["registry.example5000-a-b", "registry.example5000__a__b"],
        ),
    ] {
        assert_eq!(default_aliases(image), expected, "{image}");
    }
}

#[test]
fn the_runners_own_image_may_be_named_by_a_job() {
    let settings = settings(|s| s.allowed_images = vec!["registry.example/**".into()]);
    assert_eq!(planned("", &settings).unwrap().name, "debian:bookworm");
    assert!(planned("debian:bookworm", &settings).is_ok());
    assert!(planned("registry.example/a/b:1", &settings).is_ok());
    let refused = planned("debian:sid", &settings).unwrap_err();
    assert!(refused.contains("\"debian:sid\" is not among"), "{refused}");
}

#[test]
fn variables_of_a_job_cannot_extend_the_allowed_images() {
    let settings = settings(|s| s.allowed_images = vec!["$REGISTRY/*".into()]);
    let variables = Variables::resolve([Variable::public("REGISTRY", "evil.example")]);
    assert!(of_job(&job("evil.example/x"), &settings, &variables).is_err());
    let named = of_job(&job("$REGISTRY/x"), &settings, &variables);
    assert!(named.is_err(), "{named:?}");
}

#[test]
fn only_allowed_images_are_privileged() {
    let mut settings = settings(|s| {
        s.privileged = true;
        s.allowed_privileged_images = vec!["docker:*".into()];
        s.allowed_privileged_services = vec!["docker:*-dind".into()];
    });
    assert!(planned("docker:27", &settings).unwrap().privileged);
    assert!(!planned("alpine", &settings).unwrap().privileged);
    assert!(!planned("evil/docker:27", &settings).unwrap().privileged);
    let both = vec![image("docker:27-dind"), image("postgres")];
    let privileged = |settings: &Docker| -> Vec<bool> {
        let (plans, _) = services(both.clone(), settings).unwrap();
        plans.iter().map(|plan| plan.privileged).collect()
    };
    assert_eq!(privileged(&settings), [true, false]);
    settings.allowed_privileged_services.clear();
    assert_eq!(privileged(&settings), [true, true]);
    settings.services_privileged = Some(false);
    assert_eq!(privileged(&settings), [false, false]);
    settings.privileged = false;
    settings.services_privileged = Some(true);
    assert_eq!(privileged(&settings), [true, true]);
    assert!(!planned("docker:27", &settings).unwrap().privileged);
}

#[test]
fn only_allowed_users_are_used_and_the_runners_own_has_precedence() {
    let user = |wanted: &str, settings: &Docker| {
        let mut job = job("alpine");
        if let Some(image) = &mut job.image {
            image.executor_opts = ExecutorOptions {
                docker: DockerOptions {
                    user: wanted.into(),
                    ..DockerOptions::default()
                },
            };
        }
        let planned = of_job(&job, settings, &none());
        planned
            .map(|plan| plan.user)
            .map_err(|error| error.to_string())
    };
    let mut settings = settings(|_| {});
    assert_eq!(user("root", &settings).unwrap(), "root");
    settings.allowed_users = vec!["app".into(), "1000:1000".into()];
    assert_eq!(user("1000:1000", &settings).unwrap(), "1000:1000");
    assert_eq!(user("", &settings).unwrap(), "", "the image's own");
    let refused = user("root", &settings).unwrap_err();
    assert!(refused.contains("\"root\" is not among"), "{refused}");
    settings.user = Some("app".into());
    assert_eq!(user("root", &settings).unwrap(), "app");
    settings.allowed_users.clear();
    assert_eq!(user("root", &settings).unwrap(), "app");
}

#[test]
fn entrypoints_are_kept_if_the_runner_requires_it() {
    let settings = settings(|s| s.disable_entrypoint_overwrite = true);
    let mut job = job("alpine");
    job.services = vec![image("postgres")];
    for image in job.image.iter_mut().chain(&mut job.services) {
        image.entrypoint = vec!["/bin/evil".into()];
    }
    let plan = of_job(&job, &settings, &none()).unwrap();
    assert!(plan.entrypoint.is_empty());
    assert!(plan.warnings[0].contains("alpine keeps its own"));
    let (plans, warnings) = of_services(&job, &settings, &none()).unwrap();
    assert!(plans[0].entrypoint.is_empty());
    assert!(warnings[0].contains("postgres keeps its own"));
}

#[test]
fn services_of_the_runner_come_first_and_count_against_its_limit() {
    let mut settings = settings(|s| {
        s.services = vec![ContainerService {
            name: "docker:dind".into(),
            alias: "docker".into(),
            environment: vec!["DOCKER_TLS_CERTDIR=".into()],
            ..ContainerService::default()
        }];
        s.allowed_services = vec!["postgres:*".into()];
        s.services_limit = Some(2);
    });
    let (plans, _) = services(vec![image("postgres:16")], &settings).unwrap();
    let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
    assert_eq!(names, ["docker:dind", "postgres:16"]);
    let variable = ("DOCKER_TLS_CERTDIR".to_owned(), String::new());
    assert_eq!(plans[0].variables, [variable]);
    settings.services_limit = Some(1);
    let refused = services(vec![image("postgres:16")], &settings).unwrap_err();
    assert_eq!(refused, "the job has 2 services, this runner allows 1");
    settings.services_limit = Some(0);
    assert!(services(vec![], &settings).is_err());
    settings.services_limit = None;
    let refused = services(vec![image("mysql:8")], &settings).unwrap_err();
    assert!(refused.contains("the service \"mysql:8\""), "{refused}");
}

#[test]
fn the_first_service_with_a_name_gets_it() {
    let with_alias = |name: &str, alias: &str| Image {
        alias: alias.into(),
        ..image(name)
    };
    let both = vec![
        image("postgres:15"),
        with_alias("postgres:16", "new,postgres"),
    ];
    let (plans, warnings) = services(both, &settings(|_| {})).unwrap();
    assert_eq!(plans[0].aliases, ["postgres"]);
    assert_eq!(plans[1].aliases, ["new"]);
    assert_eq!(
        warnings,
        ["service postgres:16 is not reached as \"postgres\": service postgres:15 has that name"]
    );

    let both = vec![image("postgres:15"), image("postgres:16")];
    let (plans, warnings) = services(both, &settings(|_| {})).unwrap();
    assert_eq!(plans.len(), 1);
    assert!(
        warnings[1].contains("postgres:16 is not started"),
        "{warnings:?}"
    );
}
