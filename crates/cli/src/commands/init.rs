//! `onspot init`: writes a first onspot.toml.

use std::io::Write;

use onspot_settings::TokenRef;
use onspot_stack::Spec;
use serde::Serialize;

use crate::cli::{Global, Init};
use crate::failure::Failure;
use crate::output::Output;

/// The file, with `@NAME@`, `@URL@` and `@TOKEN@` for the three values without default.
const TEMPLATE: &str = include_str!("init.toml");

/// The result, for programs.
#[derive(Debug, Serialize)]
struct Written {
    path: String,
}

/// Writes the file unless there is one.
pub(crate) fn init(args: &Init, global: Global) -> Result<(), Failure> {
    let token = args.token.as_deref().unwrap_or("env:RUNNER_TOKEN");
    let reference = token.parse::<TokenRef>().map_err(|error| {
        let hint = error.hint();
        Failure::hinted(error, hint)
    })?;
    if reference.is_plain() {
        return Err(
            Failure::usage("a token does not belong on the command line")
                .hint("say --token env:NAME, file:PATH or ssm:PARAMETER, and put the token there"),
        );
    }
    let url = args
        .url
        .as_ref()
        .map_or("https://gitlab.com", url::Url::as_str);
    let name = args.name.as_deref().unwrap_or("docker.m3");
    let text = filled(name, url.trim_end_matches('/'), token);
    let path = args.config.display().to_string();
    Spec::parse(&text, &path)?;
    write_new(&args.config, &text)?;
    let shown = Written { path: path.clone() };
    Output::new(global.output).result(&shown, || {
        let export = match &reference {
            TokenRef::Env(name) => format!("  export {name}=glrt-…\n"),
            _ => String::new(),
        };
        format!("{path} is written. Next:\n\n{export}  onspot plan\n  onspot up\n")
    })
}

/// The template with its values, as TOML strings.
fn filled(name: &str, url: &str, token: &str) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    TEMPLATE
        .replace("@NAME@", &quoted(name))
        .replace("@URL@", &quoted(url))
        .replace("@TOKEN@", &quoted(token))
}

/// Creates the file; an existing one is not changed.
fn write_new(path: &std::path::Path, text: &str) -> Result<(), Failure> {
    let shown = path.display();
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
    {
        Ok(mut file) => file
            .write_all(text.as_bytes())
            .map_err(|error| Failure::caused(format!("cannot write {shown}"), error)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Failure::new(format!("{shown} is there already"))
                .hint("change it by hand, or write another one: onspot init --config FILE"))
        }
        Err(error) => Err(Failure::caused(format!("cannot write {shown}"), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_shows_the_defaults() {
        let as_is = filled("docker.m3", "https://gitlab.com", "env:RUNNER_TOKEN");
        let uncommented: String = as_is
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.starts_with('[') || rest.contains(" = ") => rest,
                _ => line,
            })
            // These have no fixed default, or none at all.
            .filter(|line| {
                let without = [
                    "region",
                    "zones",
                    "spot_price",
                    "memory",
                    "registry_cache",
                    "listen_address",
                    "CostCenter",
                ];
                !without.iter().any(|key| line.starts_with(key))
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        assert!(uncommented.contains("\ncidr = "), "{uncommented}");
        let said = Spec::parse(&uncommented, "uncommented.toml").unwrap();
        let default = Spec::parse(&as_is, "onspot.toml").unwrap();
        let shown = |spec: &Spec| {
            format!("{spec:#?}").replace("Some(\n                    0,\n                )", "None")
        };
        assert_eq!(shown(&said), shown(&default));
    }

    #[test]
    fn names_are_quoted() {
        let text = filled("a \"b\"", "https://gitlab.com", "env:X");
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["runners"][0]["name"].as_str(), Some("a \"b\""));
    }
}
