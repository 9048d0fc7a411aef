//! Reads any text as GitLab Runner's `config.toml`: what can be read can be written, and means the
//! same again.

use onspot_runnerconf::{Config, render};

/// One input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let config = match Config::parse(text, "config.toml") {
        Ok(config) => config,
        Err(error) => {
            // The message points at the place, wherever that is.
            let _ = error.to_string();
            return;
        }
    };
    let written = render(&config);
    match Config::parse(&written, "config.toml") {
        Ok(again) => assert_eq!(again, config, "{written}"),
        Err(error) => panic!("{error}\n{written}"),
    }
}
