//! The default memory limit of jobs: the host's memory minus what onspot, Docker and the helper
//! need, divided by the slots. Pure.

const MIB: u64 = 1 << 20;

/// Reserved for onspot itself: a tenth, within these bounds.
const KEPT: (u64, u64) = (384 * MIB, 2048 * MIB);

/// The limit of a job's container, and of each of its services, in bytes.
pub(super) fn share(host: u64, slots: usize) -> u64 {
    let kept = (host / 10).clamp(KEPT.0, KEPT.1).min(host / 2);
    let slots = u64::try_from(slots.max(1)).unwrap_or(u64::MAX);
    let share = (host - kept) / slots;
    share - share % MIB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_together_leave_the_reserve_to_the_host() {
        const GIB: u64 = 1 << 30;
        for (host, slots, expected) in [
            (GIB / 2, 1, 256),
            (GIB, 1, 640),
            (4 * GIB, 1, 3686),
            (8 * GIB, 2, 3686),
            (64 * GIB, 1, 63488),
            (64 * GIB, 8, 7936),
            (4 * GIB, 0, 3686),
        ] {
            assert_eq!(share(host, slots) / MIB, expected, "{host} / {slots}");
        }
        assert_eq!(share(0, 1), 0);
    }

    #[test]
    fn the_share_grows_with_the_host() {
        let mut before = 0;
        for mib in (256..200_000).step_by(97) {
            let (host, share) = (mib * MIB, share(mib * MIB, 1));
            assert!(share >= before && share < host, "{mib}");
            assert!(host - share >= (host / 2).min(KEPT.0), "{mib}");
            before = share;
        }
    }
}
