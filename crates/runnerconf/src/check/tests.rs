use super::*;

const HEAD: &str = "[[runners]]\nname = 'r'\nurl = 'https://gitlab.example'\ntoken = 't'\n";

fn checked(text: &str) -> Report {
    check_with(text, "config.toml", |_| None)
}

#[test]
fn all_errors_are_found_at_once() {
    let text = "concurrent = 0\n[[runners]]\nname = 'a'\nurl = 'gitlab'\nlimti = 3\n\
                executor = 'docker'\n[runners.docker]\nmemory = 'much'\ntls_verify = true\n\
                volumes = ['some/folder:/x', '/cache', 'other/folder:/y']\n[[runners]]\nname = 'a'\n\
                url = 'https://gitlab.example'\ntoken = 'vault:hidden'\nexecutor = 'dokcer'\n\
                [runners.cache]\nType = 's3'\n";
    let report = checked(text);
    let shown = |error: &ConfigError| match error.excerpt() {
        Some(place) => format!("{}: {error}", place.line()),
        None => error.to_string(),
    };
    let errors: Vec<String> = report.errors.iter().map(shown).collect();
    insta::assert_snapshot!(errors.join("\n"));
    assert!(report.config.is_some());
    assert!(!format!("{:?}", report.errors).contains("hidden"));
}

#[test]
fn a_key_that_is_not_set_is_not_reported() {
    let report = checked(&format!(
        "{HEAD}executor = 'docker'\n[runners.docker]\ntls_verify = false\nhelper_image_flavor = ''\n"
    ));
    assert!(report.is_usable());
    let keys: Vec<&str> = report.runners[0]
        .keys
        .iter()
        .map(|key| key.key.as_str())
        .collect();
    assert_eq!(keys, ["name", "url", "token", "executor"]);
}

#[test]
fn the_value_and_the_executor_decide() {
    let docker = "[runners.docker]\nvolumes = ['/cache']\n";
    for (executor, standing) in [
        ("shell", Standing::Ignored("the executor is shell".into())),
        ("docker", Standing::Honoured),
    ] {
        let report = checked(&format!("{HEAD}executor = '{executor}'\n{docker}"));
        assert_eq!(report.runners[0].keys[4].standing, standing);
    }
    let report = checked(&format!("{HEAD}executor = 'kubernetes'\n"));
    assert!(report.errors.is_empty() && !report.is_usable());
}

#[test]
fn what_is_no_toml_is_one_error() {
    let report = checked("token = glrt-hidden\n");
    assert_eq!(report.errors.len(), 1);
    assert!(report.config.is_none() && !report.is_usable());
}
