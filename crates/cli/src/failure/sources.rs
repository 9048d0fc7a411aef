//! Converts the other crates' errors to failures with hints.

use super::Failure;

impl From<onspot_runnerconf::ConfigError> for Failure {
    fn from(error: onspot_runnerconf::ConfigError) -> Self {
        Self::shown(error)
    }
}

impl From<onspot_stack::SpecError> for Failure {
    fn from(error: onspot_stack::SpecError) -> Self {
        Self::shown(error)
    }
}

impl From<onspot_stack::MigrateError> for Failure {
    fn from(error: onspot_stack::MigrateError) -> Self {
        use onspot_stack::MigrateError::Config;
        let hint = "`onspot check` says what becomes of each key";
        match error {
            Config(error) => error.into(),
            error => Self::hinted(error, Some(hint.to_owned())),
        }
    }
}

impl From<onspot_stack::Error> for Failure {
    fn from(error: onspot_stack::Error) -> Self {
        let hint = error.hint();
        Self::hinted(error, hint)
    }
}

impl From<onspot_settings::SettingsError> for Failure {
    fn from(error: onspot_settings::SettingsError) -> Self {
        let hint = "`onspot up` writes it on the stack's instances; to run jobs on this host, use \
                    `onspot run`";
        Self::hinted(error, Some(hint.to_owned()))
    }
}

impl From<onspot_gitlab::Error> for Failure {
    fn from(error: onspot_gitlab::Error) -> Self {
        let hint = error.hint();
        Self::hinted(error, hint)
    }
}

impl From<onspot_executor::Error> for Failure {
    fn from(error: onspot_executor::Error) -> Self {
        let hint = error.hint();
        Self::hinted(error, hint)
    }
}

impl From<onspot_runnerconf::Unusable> for Failure {
    fn from(error: onspot_runnerconf::Unusable) -> Self {
        let hint = error.hint();
        Self::hinted(error, Some(hint.to_owned()))
    }
}

impl From<onspot_runner::SetupError> for Failure {
    fn from(error: onspot_runner::SetupError) -> Self {
        let hint = error.hint();
        Self::hinted(error, hint)
    }
}
