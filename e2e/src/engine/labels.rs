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

/// This process, so that no other one is taken for it: its id, the time of its start in the
/// kernel's ticks, the name space that its id is from, and the kernel's start.
pub fn owner() -> String {
    let pid = std::process::id();
    let start = started(pid).unwrap_or_default();
    format!("{pid}.{start}.{}.{}", name_space(), boot())
}

/// Whether the process of an [`OWNER`] label may still live. Of processes in another name space
/// (a container that shares this Docker engine) nothing can be seen: they count as alive.
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

/// The process name space of this process, by its number.
fn name_space() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let digits = |c: &char| c.is_ascii_digit();
    link.to_string_lossy().chars().filter(digits).collect()
}

/// Which start of the kernel this is.
fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
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
