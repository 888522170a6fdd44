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

/// What a socket may hold that nobody reads, where the kernel does not say.
const USUAL_BUFFER: u64 = 208 << 10;
/// What one end of a pipe stands for: half of its 64 KiB.
const PIPE_END: u64 = 32 << 10;

/// Returns what the kernel may keep for some processes that is in no figure of theirs, in bytes: page
/// tables, full sockets and pipes, and memory that is shared without a name.
pub(crate) fn hidden(processes: &[u32]) -> u64 {
    let said = fs::read_to_string("/proc/sys/net/core/wmem_default").ok();
    let socket = said.and_then(|it| it.trim().parse().ok()).unwrap_or(USUAL_BUFFER);
    let mut sum = 0;
    for process in processes {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        sum += field(&status, "VmPTE:");
        let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
        sum += maps.lines().filter_map(nameless).sum::<u64>();
        for open in open_files(*process) {
            match open.to_str() {
                Some(it) if it.starts_with("socket:") => sum += socket,
                Some(it) if it.starts_with("pipe:") => sum += PIPE_END,
                _ => {}
            }
        }
    }
    sum
}

/// Returns how large a mapping is that shares memory without a name, or `None` when it is another one.
fn nameless(line: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    if !rights.ends_with('s') || !line.contains("/dev/zero") {
        return None;
    }
    let (from, to) = range.split_once('-')?;
    let at = |it| u64::from_str_radix(it, 16).ok();
    Some(at(to)?.saturating_sub(at(from)?))
}

/// Returns what some processes have open that has no name any more, in bytes on disk.
pub(crate) fn unlinked(processes: &[u32]) -> u64 {
    use std::os::unix::fs::MetadataExt;

    let mut sum = 0;
    for process in processes {
        let Ok(inside) = fs::read_dir(format!("/proc/{process}/fd")) else { continue };
        for entry in inside.flatten() {
            let gone = fs::read_link(entry.path())
                .is_ok_and(|it| it.to_string_lossy().ends_with(" (deleted)"));
            if let Ok(seen) = fs::metadata(entry.path())
                && gone
                && seen.is_file()
            {
                sum += seen.blocks() * 512;
            }
        }
    }
    sum
}

/// Returns what a process has open, as its links say.
fn open_files(process: u32) -> impl Iterator<Item = PathBuf> {
    let inside = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    inside.filter_map(|it| fs::read_link(it.path()).ok())
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
        let inside = match fs::read_dir(&folder) {
            Ok(inside) => inside,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            // What cannot be looked into, or lies too deep, may hold anything.
            Err(_) => return None,
        };
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
    fn memory_shared_without_a_name_is_seen_by_its_size() {
        let line = "7f0000000000-7f0000200000 rw-s 00000000 00:01 1037 /dev/zero (deleted)";
        assert_eq!(nameless(line), Some(2 << 20));
        assert_eq!(nameless(&line.replace("rw-s", "rw-p")), None);
        assert_eq!(nameless(&line.replace("/dev/zero", "/code/x")), None);
        assert_eq!(nameless("garbage s /dev/zero"), None);
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
