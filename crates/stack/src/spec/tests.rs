//! Files as people write them, right and wrong.

use miette::Diagnostic as _;

use super::*;

const SMALL: &str = r#"
[[runners]]
name = "docker.m3"
url = "https://gitlab.com"
token = "env:RUNNER_TOKEN"
"#;

fn parse(text: &str) -> Result<Spec, SpecError> {
    Spec::parse(text, "onspot.toml")
}

/// Error, hint, and the text that the error points at.
fn refused(text: &str) -> String {
    let error = parse(text).unwrap_err();
    let at = error.labels().into_iter().flatten().next().map(|label| {
        let line = error
            .source_code()
            .unwrap()
            .read_span(label.inner(), 0, 0)
            .unwrap();
        let line = String::from_utf8_lossy(line.data()).into_owned();
        line[label.offset()..label.offset() + label.len()].to_owned()
    });
    format!(
        "{error}\n  hint: {}\n  at: {}",
        error.hint().unwrap_or_default(),
        at.unwrap_or_default()
    )
}

#[test]
fn three_values_are_enough() {
    let spec = parse(SMALL).unwrap();
    insta::assert_debug_snapshot!(spec);
}

#[test]
fn everything_can_be_said() {
    let text = r#"
name = "ci-runners"
region = "eu-west-1"
concurrent = 4

[aws]
endpoint_url = "http://10.0.0.1:4566"

[network]
cidr = "10.1.0.0/16"
zones = ["eu-west-1a", "eu-west-1b"]
nat = "none"

[cache]
expire_days = 7

[tags]
CostCenter = "ci / 42"
"team:name" = "build"

[logs]
retention_days = 14

[manager]
instance_type = "t3a.micro"
count = 2
os = "debian-12"
ami = "ami-0123456789abcdef0"
[manager.registry_cache]
image = "registry.example.com/registry:2"
upstream = "https://mirror.example.com"
size_gb = 50

[timing]
lease = "20s"
takeover = "30s"
heartbeat = "2s"

[[runners]]
name = "docker.m3"
url = "https://gitlab.example.com/sub/"
token = "file:/run/secrets/token"
limit = 3
image = "npalm/cowsay"
privileged = true
pull_policy = "if-not-present"
volumes = ["/cache", "/certs/client"]
memory = "1.5g"
environment = ["DOCKER_TLS_CERTDIR=/certs"]
[runners.workers]
instance_types = ["m5.large", "m5a.large"]
spot = false
spot_price = "0.05"
idle_count = 1
idle_time = "90s"
max_builds = 5
slots = 1
os = "ubuntu-22.04"
disk_gb = 50
registry_mirrors = ["http://10.0.0.1:5000"]
"#;
    let spec = parse(text).unwrap();
    let runner = &spec.runners[0];
    assert_eq!(runner.workers.idle_time, Duration::from_secs(90));
    assert_eq!(runner.max_builds(), 5);
    assert_eq!(runner.slug(), "docker-m3");
    assert_eq!(spec.timing.lease, Duration::from_secs(20));
    let notes = spec.notes();
    assert_eq!(notes.len(), 2);
    assert_eq!(
        notes[0],
        "each manager keeps images of mirror.example.com for the workers, up to 50 GB (looked at \
         every 20 s), on a disk of 62 GB; a t3a.micro shares a slow network between this and its \
         other work, and workers leave a slow cache for Docker Hub: set instance_type = \
         \"t3.medium\" or a larger type"
    );
    assert_eq!(spec.owners_tags().len(), 3, "{:?}", spec.owners_tags());
}

#[test]
fn tags_are_those_that_all_of_aws_takes() {
    let tags = [
        "CostCenter = 'ci'\n'cost center' = 'ci'",
        "'aws:x' = 'ci'",
        "'onspot:stack' = 'other'",
        "Team = 'a & b'",
        "Team = 'a'\nteam = 'b'",
        "Team = 42",
    ];
    let refused = tags.map(|tags| refused(&format!("[tags]\n{tags}\n{SMALL}")));
    insta::assert_snapshot!(refused.join("\n"));
    let many: Vec<_> = (0..45).map(|n| format!("k{n} = ''\n")).collect();
    let error = parse(&format!("[tags]\n{}{SMALL}", many.concat())).unwrap_err();
    assert!(error.to_string().contains("room for 44"), "{error}");
}

#[test]
fn images_are_kept_where_that_is_wanted() {
    assert_eq!(parse(SMALL).unwrap().manager.registry_cache, None);
    let wanted = format!("[manager.registry_cache]\n{SMALL}");
    let cache = parse(&wanted).unwrap().manager.registry_cache.unwrap();
    assert_eq!(cache, RegistryCache::default());
    assert_eq!(cache.image, "registry:2");
    assert_eq!(cache.upstream(), "https://registry-1.docker.io");
    assert_eq!(cache.mirror(), None);
    assert_eq!((cache.size_gb, cache.disk_gb()), (20, 32));
}

#[test]
fn a_cache_on_a_manager_with_a_slow_network_is_warned_of() {
    let noted = |instance_type: &str| {
        let text = format!(
            "[manager]\ninstance_type = '{instance_type}'\n[manager.registry_cache]\n{SMALL}"
        );
        let notes = parse(&text).unwrap().notes();
        notes.iter().any(|note| note.contains("slow network"))
    };
    for slow in ["t2.nano", "t3.micro", "t3a.small"] {
        assert!(noted(slow), "{slow}");
    }
    for fast in ["t3.medium", "m7i.large", "trn1.2xlarge"] {
        assert!(!noted(fast), "{fast}");
    }
}

#[test]
fn a_cache_of_images_that_can_not_be_is_refused_with_its_place() {
    let with = |line: &str| refused(&format!("[manager.registry_cache]\n{line}\n{SMALL}"));
    let refusals: Vec<_> = [
        "sise_gb = 5",
        "size_gb = 0",
        "image = 'registry:2 --privileged'",
        "image = '--privileged'",
        "upstream = 'ftp://mirror.example.com'",
        "upstream = 'https://mirror.example.com/%h'",
        "upstream = 'https://me:secret@mirror.example.com'",
    ]
    .iter()
    .map(|line| with(line))
    .collect();
    assert!(!refusals.iter().any(|refusal| refusal.contains("secret")));
    insta::assert_snapshot!(refusals.join("\n\n"));
}

#[test]
fn a_job_that_owns_its_worker_is_its_only_one() {
    let privileged = parse(&format!("{SMALL}privileged = true")).unwrap();
    assert_eq!(privileged.runners[0].max_builds(), 1);
    let socket = "volumes = ['/var/run/docker.sock:/var/run/docker.sock']";
    assert_eq!(
        parse(&format!("{SMALL}{socket}")).unwrap().runners[0].max_builds(),
        1
    );
    assert_eq!(parse(SMALL).unwrap().runners[0].max_builds(), 0);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let runner = |line: &str| format!("{SMALL}{line}\n");
    let workers = |line: &str| format!("{SMALL}[runners.workers]\n{line}\n");
    let period = |lines: &str| format!("{SMALL}[[runners.workers.periods]]\n{lines}\n");
    let cases = [
        "regoin = 'eu-west-1'".to_owned() + SMALL,
        runner("limits = 3"),
        workers("idle_tiem = '10m'"),
        workers("os = 'debian12'"),
        workers("idle_time = 'ten minutes'"),
        "[[runners]]\nname = 'a'\nurl = 'https://gitlab.com'\n".to_owned(),
        "name = 'ci'\n".to_owned(),
        "runners = []".to_owned(),
        format!("name = 'CI'\n{SMALL}"),
        format!("region = 'Ireland!'\n{SMALL}"),
        format!("concurrent = 0\n{SMALL}"),
        format!("[network]\ncidr = '10.0.0.0/27'\n{SMALL}"),
        format!("[network]\ncidr = '10.0.0.1/16'\n{SMALL}"),
        format!("[network]\ncidr = 'ten'\n{SMALL}"),
        format!("[network]\nzones = ['eu-west-1a', 'us-east-1a']\n{SMALL}"),
        format!("region = 'eu-west-1'\n[network]\nzones = ['us-east-1a']\n{SMALL}"),
        format!("[logs]\nretention_days = 29\n{SMALL}"),
        format!("[manager]\ncount = 0\n{SMALL}"),
        format!("[manager]\ninstance_type = 't4g.micro'\n{SMALL}"),
        format!("[timing]\nlease = '200s'\n{SMALL}"),
        SMALL.replace("docker.m3", ""),
        SMALL.replace("docker.m3", "Manager"),
        SMALL.replace("https://", "ftp://"),
        SMALL.replace("https://gitlab.com", "gitlab.com"),
        SMALL.replace("env:RUNNER_TOKEN", "vault:x"),
        SMALL.replace("env:RUNNER_TOKEN", "env:"),
        format!("{SMALL}{}", SMALL.replace("docker.m3", "Docker M3")),
        runner("environment = ['FOO']"),
        runner("volumes = ['/cache', 'some/folder:/x']"),
        runner("image = ''"),
        workers("instance_types = []"),
        workers("instance_types = ['m5.large', 'large']"),
        workers("slots = 0"),
        workers("disk_gb = 4"),
        workers("spot_price = 'cheap'"),
        workers("ami = 'debian'"),
        format!("{SMALL}privileged = true\n[runners.workers]\nslots = 2\n"),
        "name = ".to_owned(),
        runner("request_concurrency = 0"),
        workers("on_demand_after = 'soon'"),
        workers("scale_factor = -0.5\nidle_count = 2"),
        workers("scale_factor = 0.5"),
        workers("scale_factor = 0.5\nidle_count = 2\nidle_count_min = 3"),
        period("when = []\nidle_count = 2"),
        period("when = ['* 8-18 * * mon-fri', '* 25 * * *']\nidle_count = 2"),
        period("when = ['* 8 * * *']\ntimezone = 'Europe/Berln'\nidle_count = 2"),
        period("when = ['* 8 * * *']"),
    ];
    let all: Vec<_> = cases.iter().map(|text| refused(text)).collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn two_runners_of_one_name_are_refused_with_both_their_lines() {
    let runner = "[[runners]]\nname = 'a'\nurl = 'https://gitlab.com'\ntoken = 'env:T'\n";
    let error = parse(&format!("{runner}{runner}")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "onspot.toml: two runners have the name \"a\" (lines 2 and 6)"
    );
}

#[test]
fn a_token_in_the_file_is_never_shown() {
    let text = format!(
        "regoin = 1\n{}",
        SMALL.replace("env:RUNNER_TOKEN", "glrt-secret")
    );
    let error = parse(&text).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("glrt-secret"), "{shown}");
    let spec = parse(&SMALL.replace("env:RUNNER_TOKEN", "glrt-secret")).unwrap();
    assert!(!format!("{spec:?}").contains("glrt-secret"));
    assert_eq!(spec.notes().len(), 1);
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let error = Spec::load(Path::new("/nowhere/onspot.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("/nowhere/onspot.toml: cannot be read")
    );
    assert!(error.hint().unwrap().contains("onspot init"));
}

#[test]
fn editors_get_a_schema() {
    let schema = serde_json::to_value(Spec::json_schema()).unwrap();
    assert_eq!(schema["required"], serde_json::json!(["runners"]));
    assert!(schema["properties"]["network"].is_object());
    let text = schema.to_string();
    for word in [
        "amazon-linux-2023",
        "if-not-present",
        "idle_time",
        "endpoint_url",
    ] {
        assert!(text.contains(word), "{word}");
    }
}
#[test]
fn the_committed_schema_is_the_one_of_these_types() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/onspot.schema.json"));
    let schema = serde_json::to_string_pretty(&Spec::json_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == schema,
        "run this test with UPDATE_SCHEMA=1 and commit {}",
        path.display()
    );
}

#[test]
fn no_error_shows_a_secret() {
    let runner = |line: &str| format!("{SMALL}{line}\n");
    let token = |value: &str| {
        let head = "[[runners]]\nname = 'a'\nurl = 'https://gitlab.com'\n";
        format!("{head}token = {value}\n")
    };
    let cases = [
        token("glrt-hidden"),
        token("'glrt-hidden"),
        token("4242"),
        token("['glrt-hidden']"),
        token("'vault:glrt-hidden'"),
        runner("environment = 'KEY=hidden'"),
        runner("environment = ['KEY=hidden', 'hidden']"),
        runner("environment = ['KEY=hidden', hidden]"),
        runner("environment = ['KEY=hidden', 4242]"),
        runner("environmnt = ['KEY=hidden']"),
        "runners = [{ name = '', url = 'https://gitlab.com', token = 'glrt-hidden' }]".to_owned(),
    ];
    for text in cases {
        let error = parse(&text).unwrap_err();
        let mut seen = String::new();
        miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none())
            .render_report(&mut seen, &error)
            .unwrap();
        assert!(
            !seen.contains("hidden") && !seen.contains("4242"),
            "{text}\n{seen}"
        );
    }
}

#[test]
fn a_runners_name_is_one_that_all_tags_take() {
    let named = |name: &str| parse(&SMALL.replacen("docker.m3", name, 1));
    for name in ["docker.m3", "Läufer 2", "a_b:c/d=e+f-g@h"] {
        named(name).unwrap();
    }
    for name in ["a,b", "a(b)", "a*b", " a", "a\\tb", "☃"] {
        assert!(named(name).is_err(), "{name}");
    }
}

#[test]
fn a_memory_that_is_no_size_is_refused_with_its_place() {
    assert!(parse(&format!("{SMALL}memory = '0'\n")).is_ok());
    let refused = refused(&format!("{SMALL}memory = 'lots'\n"));
    assert!(refused.contains("lots"), "{refused}");
    assert!(refused.contains("512m"), "{refused}");
}
