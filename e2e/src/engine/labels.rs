//! The labels by which everything of a world is found again, and told from a dead world's.

use std::collections::HashMap;

/// The world's id.
pub const WORLD: &str = "onspot.world";
/// The process that owns the world.
pub const OWNER: &str = "onspot.world.owner";
/// What a container is in the world: `localstack`, `registry`, `guest`.
pub const PART: &str = "onspot.world.part";
/// A guest's instance id.
pub const INSTANCE: &str = "onspot.world.instance";

/// The labels of a part of the world `id`, owned by this process.
pub fn of(id: &str, part: &str) -> HashMap<String, String> {
    HashMap::from([
        (WORLD.to_owned(), id.to_owned()),
        (OWNER.to_owned(), owner()),
        (PART.to_owned(), part.to_owned()),
    ])
}

/// This process, so that another one that got its number later is not taken for it: the id
/// and the time of its start, in the kernel's ticks.
pub fn owner() -> String {
    let pid = std::process::id();
    format!("{pid}.{}", started(pid).unwrap_or_default())
}

/// Whether the process of an [`OWNER`] label still lives.
pub fn is_alive(owner: &str) -> bool {
    let Some((pid, start)) = owner.split_once('.') else {
        return false;
    };
    let Ok(pid) = pid.parse() else { return false };
    started(pid).is_some_and(|now| now == start)
}

/// Field 22 of `/proc/<pid>/stat`; the command's name, in brackets, may hold spaces. A zombie
/// counts as dead.
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18).map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_others_do_not() {
        assert!(is_alive(&owner()));
        assert!(!is_alive(&format!("{}.1", std::process::id())));
        assert!(!is_alive("4194305.12"));
        assert!(!is_alive("nonsense"));
    }
}
