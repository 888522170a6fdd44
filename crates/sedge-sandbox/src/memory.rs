//! What the processes of a sandbox and the folder of a session take, as the kernel counts it.

use std::fs;
use std::path::{Path, PathBuf};

/// More processes than any sandbox may have; what is beyond is not looked at.
const MOST_PROCESSES: usize = 4096;
/// More entries than a session's folder may have.
const MOST_ENTRIES: usize = 20_000;

/// What some processes have in memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Private and shared memory of all, what several share counted for each.
    pub(crate) private: u64,
    /// The most that any one of them ever had, its program included.
    pub(crate) largest: u64,
}

/// Looks at some processes.
pub(crate) fn of(processes: &[u32]) -> Seen {
    let mut seen = Seen::default();
    for process in processes {
        let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else { continue };
        seen.private += field(&status, "RssAnon:") + field(&status, "RssShmem:");
        seen.largest = seen.largest.max(field(&status, "VmHWM:"));
    }
    seen
}

/// Returns the most that this process ever had, its program included.
pub(crate) fn own_peak() -> u64 {
    fs::read_to_string("/proc/self/status").map_or(0, |it| field(&it, "VmHWM:"))
}

/// Looks closer, in bytes: what several processes share is divided between them.
pub(crate) fn shared_out(processes: &[u32]) -> u64 {
    let sizes = processes.iter().map(|process| {
        match fs::read_to_string(format!("/proc/{process}/smaps_rollup")) {
            Ok(text) => field(&text, "Pss_Anon:") + field(&text, "Pss_Shmem:"),
            // Not to be seen: the coarse look stands. Of one that has ended there is nothing to see.
            Err(_) => of(&[*process]).private,
        }
    });
    sizes.sum()
}

/// Returns what the files below a folder take, or `None` when that is more than `limit` bytes or
/// too many entries; links are not followed.
pub(crate) fn of_folder(folder: &Path, limit: u64) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;

    let (mut sum, mut entries) = (0, 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(inside) = fs::read_dir(&folder) else { continue };
        for entry in inside.flatten() {
            let Ok(seen) = entry.metadata() else { continue };
            sum += seen.blocks() * 512;
            entries += 1;
            if sum > limit || entries > MOST_ENTRIES {
                return None;
            }
            if seen.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Some(sum)
}

/// Returns the file of the program that a process runs, where that can be seen.
pub(crate) fn program(process: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/exe")).ok()
}

/// Returns everything below a process, itself left out; unless `all` are looked at, only processes
/// that have a larger number than it, which is all of them until the numbers wrap around.
pub(crate) fn descendants(process: u32, all: bool) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> = numbers
        .filter(|it| all || *it > process)
        .filter_map(|it| Some((it, parent(&fs::read_to_string(format!("/proc/{it}/stat")).ok()?)?)))
        .collect();
    let mut found = vec![process];
    let mut next = 0;
    while let Some(&above) = found.get(next) {
        next += 1;
        let room = MOST_PROCESSES.saturating_sub(found.len());
        let below = parents.iter().filter(|(_, parent)| *parent == above);
        let below: Vec<u32> = below.map(|(it, _)| *it).take(room).collect();
        found.extend(below);
    }
    found.remove(0);
    found
}

/// Reads the parent out of a `stat` file; a process's own name stands before it, in parentheses.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Returns a field of a status file in bytes; 0 when it is not there.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|it| it.strip_prefix(name));
    let number = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
    number.map_or(0, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_bytes() {
        let text = "Name:\tx\nVmHWM:\t   2048 kB\nRssAnon:\t 4 kB\n";
        assert_eq!(
            (field(text, "VmHWM:"), field(text, "RssAnon:"), field(text, "No:")),
            (2 << 20, 4096, 0)
        );
    }

    #[test]
    fn a_name_cannot_lie_about_its_parent() {
        assert_eq!(parent("12 (x) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a) S 1 (b) R 7 12"), Some(7));
        assert_eq!(parent("garbage"), None);
    }

    #[test]
    fn a_folder_is_counted_until_it_is_too_much() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/b"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("root")).unwrap();
        let all = of_folder(folder.path(), 1 << 20).unwrap();
        assert!((100_000..200_000).contains(&all), "{all}");
        assert_eq!(of_folder(folder.path(), 50_000), None);
    }
}
