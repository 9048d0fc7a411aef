//! What becomes of a key: that of the reference, or more exactly where its value or the executor
//! decides.

use serde::Serialize;
use toml::Value;

use crate::error::typo_of;
use crate::model::ExecutorKind;
use crate::reference::{self, Fate};

/// The table that stands for the options in `MachineOptions`.
pub(super) const OPTIONS: &str = "runners.machine.MachineOptions";
const FLAGS: &str = "runners.feature_flags";

/// What becomes of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", content = "why", rename_all = "lowercase")]
pub enum Standing {
    /// It works as in GitLab Runner.
    Honoured,
    /// It works, but differently: how.
    Differs(String),
    /// It has no effect: why, or what there is instead.
    Ignored(String),
    /// The file, or its runner, can't be used with it: why.
    Refused(String),
}

impl Standing {
    fn differs(how: &str) -> Self {
        Self::Differs(how.to_owned())
    }

    fn ignored(why: &str) -> Self {
        Self::Ignored(why.to_owned())
    }
}

/// Whether each entry of this table is reported, although its keys are not fixed.
pub(super) fn has_entries(table: &str) -> bool {
    table == FLAGS
}

/// What becomes of a key with this value; `None` if it counts as not set.
pub(super) fn of(table: &str, key: &str, value: &Value, executor: &str) -> Option<Standing> {
    if table == FLAGS {
        return Some(of_flag(key, value.as_bool().unwrap_or(true)));
    }
    let Some(known) = reference::key(table, key) else {
        return (!reference::is_unset(value)).then(|| of_unknown(table, key));
    };
    if known.fate != Fate::Honoured && reference::is_unset(value) {
        return None;
    }
    if let Some(standing) = special(table, known.name, value, executor) {
        return Some(standing);
    }
    Some(match known.fate {
        Fate::Honoured => Standing::Honoured,
        Fate::Warned(why) => Standing::ignored(why),
        Fate::Refused(why) => Standing::Refused(why.to_owned()),
    })
}

fn of_unknown(table: &str, key: &str) -> Standing {
    let known = reference::keys(table).iter().map(|key| key.name);
    match typo_of(key, known) {
        Some(meant) => Standing::Refused(format!("no such key; did you mean `{meant}`?")),
        None => Standing::ignored("not known to this version"),
    }
}

fn of_flag(name: &str, value: bool) -> Standing {
    match onspot_settings::feature_flag(name) {
        None => Standing::ignored("not known to this version"),
        Some(flag) => match flag.without_effect(value) {
            Some(why) => Standing::ignored(why),
            None => Standing::Honoured,
        },
    }
}

/// Keys whose value or executor decides.
fn special(table: &str, key: &str, value: &Value, executor: &str) -> Option<Standing> {
    match (table, key) {
        ("runners", "executor") => match ExecutorKind::parse(value.as_str()?).ok()? {
            ExecutorKind::Other(_) => Some(Standing::Refused(
                "onspot does not have it, and leaves the runner out".to_owned(),
            )),
            kind if kind.autoscales() => Some(Standing::differs(
                "`onspot run` runs the jobs on this host; for workers use `onspot migrate`",
            )),
            _ => None,
        },
        (table, _)
            if (table == "runners.docker" || table.starts_with("runners.docker."))
                && executor == ExecutorKind::Shell.as_str() =>
        {
            Some(Standing::ignored("the executor is shell"))
        }
        ("runners.machine", "MachineName") if value.as_str() == Some("runner-%s") => {
            Some(Standing::Honoured)
        }
        ("runners.autoscaler", "capacity_per_instance") => match value.as_integer()? {
            1 => Some(Standing::Honoured),
            _ => Some(Standing::differs(
                "it is `slots` of the workers in onspot.toml",
            )),
        },
        ("runners.autoscaler", "plugin_config") => Some(Standing::ignored(
            "the stack buys workers itself, without an Auto Scaling group",
        )),
        _ => None,
    }
}

/// What becomes of an option in `MachineOptions`.
pub(super) fn of_option(name: &str) -> Standing {
    match name {
        "amazonec2-region"
        | "amazonec2-instance-type"
        | "amazonec2-request-spot-instance"
        | "amazonec2-spot-price"
        | "amazonec2-root-size"
        | "engine-registry-mirror" => Standing::Honoured,
        "amazonec2-access-key" | "amazonec2-secret-key" | "amazonec2-session-token" => {
            Standing::ignored("the manager's role is used: remove the key")
        }
        "amazonec2-tags" => Standing::differs("`[tags]` of onspot.toml are on all resources"),
        "amazonec2-ami" => Standing::differs("`ami` of onspot.toml goes with `os`"),
        "amazonec2-zone" => Standing::ignored("workers are in several zones"),
        "amazonec2-vpc-id" | "amazonec2-subnet-id" | "amazonec2-security-group" => {
            Standing::ignored("the stack has a network of its own")
        }
        "amazonec2-private-address-only" | "amazonec2-use-private-address" => {
            Standing::differs("`nat` of `[network]` decides it")
        }
        "amazonec2-iam-instance-profile" => {
            Standing::ignored("each runner's workers have a role of their own")
        }
        "amazonec2-volume-type" => Standing::ignored("disks are gp3"),
        _ => Standing::ignored("workers are described by the stack's launch template"),
    }
}
