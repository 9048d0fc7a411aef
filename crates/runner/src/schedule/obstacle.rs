//! Explains in words what prevents launches, for the traces of waiting jobs and for `onspot
//! status`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use onspot_fleet::{BootHalt, Extent, Lifecycle, Pool, Refusal, Refused, prices_in, quota_name};

use super::view::RunnerView;

/// The most pools that are named one by one.
const NAMED: usize = 4;

/// What prevents a runner's usual launches, if anything. The same situation gives the same text.
pub(crate) fn obstacle(runner: &RunnerView, now: Timestamp) -> Option<String> {
    let kind = runner.policy.as_ref()?.lifecycle;
    let parts = obstacles(runner, kind, now);
    let blocked = runner.fleet.boots.halted(now).is_some()
        || runner.fleet.pools.halted(kind, now).is_some()
        || all_out(runner, kind, now);
    (blocked && !parts.is_empty()).then(|| parts.join(" "))
}

/// Everything that is known to prevent a launch of this kind.
pub(super) fn obstacles(runner: &RunnerView, kind: Lifecycle, now: Timestamp) -> Vec<String> {
    let mut parts = Vec::new();
    if runner.in_doubt {
        parts.push(
            "EC2 has not answered the last launch yet: it is asked again, and launches nothing \
             twice."
                .to_owned(),
        );
    }
    parts.extend(
        runner
            .fleet
            .boots
            .halted(now)
            .map(|halt| failed_boots(&halt)),
    );
    match runner.fleet.pools.halted(kind, now) {
        Some(halted) => parts.push(refused(halted, None)),
        None => parts.extend(refused_pools(runner, kind, now)),
    }
    parts
}

/// Whether all pools of this kind are to be avoided now.
pub(super) fn all_out(runner: &RunnerView, kind: Lifecycle, now: Timestamp) -> bool {
    let of_kind = runner
        .fleet
        .candidates
        .iter()
        .filter(|pool| pool.lifecycle == kind);
    let mut pools = of_kind.peekable();
    pools.peek().is_some() && pools.all(|pool| runner.fleet.pools.is_out(pool, now))
}

/// Says in words that all pools of this kind are to be avoided now.
pub(super) fn none_left(runner: &RunnerView, kind: Lifecycle, now: Timestamp) -> String {
    let mut refusals = runner.fleet.pools.refused(kind, now);
    if refusals.all(|refused| refused.refusal == Refusal::Capacity) {
        format!("Every {kind} pool is dry for now.")
    } else {
        format!("No {kind} pool can be used for now.")
    }
}

/// One sentence for all pools that were refused for the same reason.
fn refused_pools(runner: &RunnerView, kind: Lifecycle, now: Timestamp) -> Vec<String> {
    let mut alike: BTreeMap<(Refusal, &str, &str), Vec<&Refused>> = BTreeMap::new();
    for refused in runner.fleet.pools.refused(kind, now) {
        // EC2's messages about dry pools differ only in their wording.
        let message = match refused.refusal {
            Refusal::Capacity | Refusal::NotOffered | Refusal::Limit => "",
            _ => refused.message.as_str(),
        };
        let key = (refused.refusal, refused.code.as_str(), message);
        alike.entry(key).or_default().push(refused);
    }
    let sentences = alike.into_values().map(|mut group| {
        group.sort_by_key(|refused| refused.until);
        let names = names(&group);
        // The last of them has the latest end.
        group.last().map(|last| self::refused(last, Some(&names)))
    });
    sentences.flatten().collect()
}

fn names(group: &[&Refused]) -> String {
    let mut pools: Vec<String> = group
        .iter()
        .filter_map(|refused| match &refused.what {
            Extent::Pool(pool) => Some(Pool::to_string(pool)),
            Extent::All(_) => None,
        })
        .collect();
    pools.sort_unstable();
    let more = pools.len().saturating_sub(NAMED);
    pools.truncate(NAMED);
    let names = pools.join(", ");
    if more > 0 {
        format!("{names} and {more} more")
    } else {
        names
    }
}

/// Why something was not launched, and what to do about it. `pools` names what it was; `None` for
/// any launch at all.
fn refused(refused: &Refused, pools: Option<&str>) -> String {
    let Refused {
        refusal,
        code,
        message,
        until,
        ..
    } = refused;
    let message = message.trim_end_matches('.');
    let code = if code.is_empty() { "no code" } else { code };
    let again = format!("Next try at {}.", until.strftime("%H:%M UTC"));
    let to_do = refusal
        .hint(code)
        .map(|hint| format!(" To mend it: {hint}."))
        .unwrap_or_default();
    match (refusal, pools) {
        (Refusal::Capacity, Some(pools)) => format!("EC2 has nothing in {pools}: {code}."),
        (Refusal::Capacity, None) => format!("EC2 has no capacity: {message} ({code})."),
        (Refusal::NotOffered, Some(pools)) => {
            format!("EC2 does not offer {pools} ({code}).{to_do}")
        }
        (Refusal::Price, _) => {
            let what = pools.unwrap_or("every pool");
            let text = match prices_in(message) {
                Some((bid, price)) => format!(
                    "at most ${bid} an hour may be paid, and it costs ${price} now ({code})"
                ),
                None => format!("{message} ({code})"),
            };
            format!("The bid is too low for {what}: {text}.{to_do}")
        }
        (Refusal::Limit, pools) => {
            let what = quota_name(code).unwrap_or("a limit of the account");
            let pools = pools
                .map(|pools| format!(" for {pools}"))
                .unwrap_or_default();
            format!("Used up{pools}: {what} ({code}).{to_do} {again}")
        }
        (Refusal::Throttled, _) => format!("AWS asks for fewer calls ({code})."),
        (Refusal::Fault, Some(pools)) => {
            format!("EC2 failed to launch in {pools}: {message} ({code}).")
        }
        (Refusal::Fault, None) => format!("EC2 failed to launch: {message} ({code})."),
        (Refusal::Configuration, Some(pools)) => {
            format!("EC2 refuses to launch in {pools}: {message} ({code}).{to_do}")
        }
        (Refusal::NotOffered | Refusal::Configuration, None) => {
            format!("Nothing is launched: EC2 refuses it: {message} ({code}).{to_do} {again}")
        }
    }
}

fn failed_boots(halt: &BootHalt<'_>) -> String {
    let again = format!(
        "The next one is launched at {}",
        halt.until.strftime("%H:%M UTC")
    );
    let mut text = if halt.is_final {
        format!(
            "Nothing is launched: {} workers in a row were launched and never reported, so that \
             their image or boot script must be broken. {again}, or when there is a new version \
             of the launch template: mend it, and run `onspot up` again.",
            halt.lost
        )
    } else {
        format!("The last worker was launched and never reported. {again}.")
    };
    if let Some(last) = halt.last {
        let instance = &last.instance;
        if last.console.is_empty() {
            text.push_str(" It wrote nothing to its console.");
        } else {
            text.extend([" The console of ", instance.as_str(), " ended with:"]);
            for line in &last.console {
                text.push_str("\n  ");
                text.push_str(line);
            }
            text.push('\n');
        }
    }
    text
}
