//! Who a process is, so that nobody is ever killed for having the pid of a
//! process long gone.

use std::collections::HashMap;

use nix::unistd::{Pid, getpgid};
use serde::{Deserialize, Serialize};

/// One process, told apart from every other one that has or had its pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The pid.
    pub pid: i32,
    /// When it started, in a unit of the system's own: only good for comparing.
    pub start_time: u64,
    /// The boot of the machine in which it ran; 0 where `start_time` says all.
    pub boot: u64,
}

impl ProcessId {
    /// The process that has this pid now, which may be a zombie.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        os::process(pid).map(|found| found.id)
    }

    /// The calling process.
    #[must_use]
    pub fn current() -> Option<Self> {
        Self::of(nix::unistd::getpid().as_raw())
    }

    /// Whether this very process still runs. A zombie does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        os::process(self.pid).is_some_and(|found| found.id == self && !found.is_zombie)
    }
}

/// A process as the system lists it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: ProcessId,
    pub(super) parent: i32,
    pub(super) is_zombie: bool,
}

/// All processes, zombies among them.
#[cfg(target_os = "linux")]
pub(super) fn processes() -> Vec<Found> {
    os::processes()
}

/// Their children, the children's children and so on, without zombies. One that
/// is forked meanwhile can be missed.
pub(super) fn descendants(roots: impl IntoIterator<Item = i32>) -> Vec<ProcessId> {
    let mut children: HashMap<i32, Vec<Found>> = HashMap::new();
    for found in os::processes() {
        children.entry(found.parent).or_default().push(found);
    }
    let mut tree = Vec::new();
    let mut parents: Vec<i32> = roots.into_iter().collect();
    while let Some(parent) = parents.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            parents.push(child.id.pid);
            if !child.is_zombie {
                tree.push(child.id);
            }
        }
    }
    tree
}

/// The members of a process group, without zombies.
pub(super) fn group(leader: i32) -> Vec<ProcessId> {
    let leader = Pid::from_raw(leader);
    let is_member = |found: &Found| getpgid(Some(Pid::from_raw(found.id.pid))) == Ok(leader);
    let members = os::processes().into_iter().filter(|found| !found.is_zombie && is_member(found));
    members.map(|found| found.id).collect()
}

#[cfg(target_os = "linux")]
use proc as os;
#[cfg(not(target_os = "linux"))]
use ps as os;

#[cfg(target_os = "linux")]
mod proc {
    use std::sync::OnceLock;

    use super::{Found, ProcessId};

    pub(super) fn process(pid: i32) -> Option<Found> {
        parse(pid, &fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    pub(super) fn processes() -> Vec<Found> {
        let Ok(entries) = fs_err::read_dir("/proc") else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(process)
            .collect()
    }

    /// Reads a line of `/proc/PID/stat`. The command, second and in
    /// parentheses, may itself hold spaces and parentheses.
    pub(super) fn parse(pid: i32, stat: &str) -> Option<Found> {
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let is_zombie = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        // Field 22; the iterator stands before field 5.
        let start_time = fields.nth(17)?.parse().ok()?;
        Some(Found { id: ProcessId { pid, start_time, boot: boot() }, parent, is_zombie })
    }

    /// The first half of the boot id; `start_time` counts from the boot.
    fn boot() -> u64 {
        static BOOT: OnceLock<u64> = OnceLock::new();
        *BOOT.get_or_init(|| {
            let id = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
            let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
            u64::from_str_radix(&digits, 16).unwrap_or(0)
        })
    }
}

/// For systems without `/proc`. Built into the tests of all systems.
#[cfg(any(not(target_os = "linux"), test))]
mod ps {
    use super::{Found, ProcessId};

    pub(super) fn process(pid: i32) -> Option<Found> {
        ps(&["-p", &pid.to_string()]).pop()
    }

    #[cfg_attr(target_os = "linux", expect(dead_code, reason = "the tests use `process` alone"))]
    pub(super) fn processes() -> Vec<Found> {
        ps(&["-ax"])
    }

    fn ps(which: &[&str]) -> Vec<Found> {
        let output = std::process::Command::new("ps")
            .args(["-o", "pid=,ppid=,state=,lstart="])
            .args(which)
            // The start is a text: the same words in every process that asks.
            .envs([("LC_ALL", "C"), ("TZ", "UTC")])
            .output();
        let Ok(output) = output else { return Vec::new() };
        String::from_utf8_lossy(&output.stdout).lines().filter_map(parse).collect()
    }

    fn parse(line: &str) -> Option<Found> {
        let mut fields = line.split_ascii_whitespace();
        let pid = fields.next()?.parse().ok()?;
        let parent = fields.next()?.parse().ok()?;
        let is_zombie = fields.next()?.starts_with('Z');
        let mut start = blake3::Hasher::new();
        for word in fields {
            start.update(word.as_bytes());
        }
        let start = start.finalize();
        let start_time = start.as_bytes()[..8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Some(Found { id: ProcessId { pid, start_time, boot: 0 }, parent, is_zombie })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn child() -> std::process::Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat is everywhere")
    }

    #[test]
    fn a_process_lives_until_it_ends() {
        let mut child = child();
        let pid = child.id().cast_signed();
        let process = ProcessId::of(pid).expect("it runs");
        assert!(process.is_alive());
        assert!(descendants([nix::unistd::getpid().as_raw()]).contains(&process));

        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert!(!process.is_alive());
    }

    #[test]
    fn another_process_with_the_same_pid_is_another_one() {
        let me = ProcessId::current().expect("/proc is mounted");
        let earlier = ProcessId { start_time: me.start_time - 1, ..me };
        let before_reboot = ProcessId { boot: me.boot ^ 1, ..me };
        assert!(me.is_alive());
        assert!(!earlier.is_alive());
        assert!(!before_reboot.is_alive());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_command_may_look_like_fields() {
        let stat = "7 (a) R 1 (b)) S 3 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let found = proc::parse(7, stat).expect("well-formed");
        assert_eq!((found.parent, found.id.start_time, found.is_zombie), (3, 4711, false));
    }

    #[test]
    fn ps_tells_the_same_process_from_another() {
        let mut child = child();
        let (me, other) = (nix::unistd::getpid().as_raw(), child.id().cast_signed());
        let found = ps::process(other).expect("`ps` is installed (apt-get install procps)");
        assert_eq!(found.parent, me);
        assert_eq!(ps::process(other).expect("it still runs").id, found.id);
        assert_ne!(ps::process(me).expect("we run").id, found.id);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert!(ps::process(other).is_none());
    }
}
