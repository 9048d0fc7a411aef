//! The labels that identify the parts of a world, and distinguish them from a dead world's.

use std::collections::HashMap;

/// The world's id.
pub const WORLD: &str = "onspot.world";
/// The process that owns the world.
pub const OWNER: &str = "onspot.world.owner";
/// The container's part in the world: `localstack`, `registry`, `guest`.
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

/// Identifies this process uniquely: its id, its start time in the kernel's ticks, its PID
/// namespace, and the kernel's boot id.
pub fn owner() -> String {
    let pid = std::process::id();
    let start = started(pid).unwrap_or_default();
    format!("{pid}.{start}.{}.{}", name_space(), boot())
}

/// Whether the process of an [`OWNER`] label may still be alive. Processes in another namespace (a
/// container that shares this Docker engine) are invisible and count as alive.
pub fn is_alive(owner: &str) -> bool {
    let mut parts = owner.split('.');
    let mut part = || parts.next().unwrap_or_default();
    let (pid, start, space, at) = (part(), part(), part(), part());
    if at != boot() {
        return false;
    }
    if space != name_space() {
        return true;
    }
    let Ok(pid) = pid.parse() else { return false };
    started(pid).is_some_and(|now| now == start)
}

/// The PID namespace of this process, by its number.
fn name_space() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let digits = |c: &char| c.is_ascii_digit();
    link.to_string_lossy().chars().filter(digits).collect()
}

/// The kernel's boot id.
fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Field 22 of `/proc/<pid>/stat`; the command's name, in parentheses, may contain spaces. A zombie
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
    fn this_process_is_alive_and_others_are_not() {
        assert!(is_alive(&owner()));
        let (space, boot) = (name_space(), boot());
        assert!(!is_alive(&format!(
            "{}.1.{space}.{boot}",
            std::process::id()
        )));
        assert!(!is_alive(&format!("4194305.12.{space}.{boot}")));
        assert!(!is_alive("nonsense"));
        assert!(!is_alive(&format!("1.2.{space}.another-boot")));
        assert!(
            is_alive(&format!("4194305.12.1.{boot}")),
            "not ours to judge"
        );
    }
}
