//! How much memory a machine, or a container, can still give.
//!
//! `fallocate` on a memfd does not fail when memory is short: it takes page after page until the kernel kills somebody,
//! and not always who asked. So who wants much asks here before.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Bytes that can be had without somebody being killed for it, as far as the system tells: `MemAvailable`, or what is
/// left of the control group's limit where that is less. `None` where nothing can be read.
pub(crate) fn available() -> Option<u64> {
    let machine = field(&read_to_string("/proc/meminfo").ok()?, "MemAvailable:").map(|kib| kib * 1024);
    match (machine, group()) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (one, other) => one.or(other),
    }
}

/// The number behind `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// What is left of the limit of this process's control group, of either version. The limits of groups above are not asked.
fn group() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    let versions = [
        (
            groups.lines().find_map(|line| line.strip_prefix("0::")),
            "/sys/fs/cgroup",
            ["memory.max", "memory.current", "inactive_file "],
        ),
        (
            groups
                .lines()
                .find_map(|line| line.split_once(":memory:").map(|(_, path)| path)),
            "/sys/fs/cgroup/memory",
            [
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file ",
            ],
        ),
    ];
    versions
        .into_iter()
        .filter_map(|(path, root, names)| left(&folder(Path::new(root), path?), names))
        .min()
}

/// In a container the group is often shown by the name that it has outside, and mounted as the root.
fn folder(root: &Path, path: &str) -> PathBuf {
    let folder = root.join(path.trim_start_matches('/'));
    if folder.is_dir() {
        folder
    } else {
        root.to_path_buf()
    }
}

/// Limit less use, where a cache of files that nobody reads is not use.
fn left(folder: &Path, [limit, used, cache]: [&str; 3]) -> Option<u64> {
    let number = |name| read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let cache = read_to_string(folder.join("memory.stat")).map_or(0, |text| field(&text, cache).unwrap_or(0));
    let (limit, used) = (number(limit)?, number(used)?);
    Some(limit.saturating_sub(used.saturating_sub(cache)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "MemFree:  5 kB\nMemAvailable:   77 kB\n";
        assert_eq!(field(text, "MemAvailable:"), Some(77));
        assert_eq!(field(text, "Mem:"), None);
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
