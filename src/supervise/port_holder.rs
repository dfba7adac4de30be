//! Finds the process that listens on a port or has reserved it.

use super::failure::PortHolder;

/// Whoever has the port, as far as this user may see it. A server that listens
/// comes before a run that has only reserved the port.
#[cfg(target_os = "linux")]
pub(super) fn holder(port: u16) -> Option<PortHolder> {
    let links: Vec<_> = ["tcp", "tcp6"]
        .iter()
        .flat_map(|table| listeners(&read(&format!("/proc/net/{table}")), port))
        .chain(claims(&read("/proc/net/unix"), port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    links.iter().find_map(|link| owner_of(link))
}

/// Not known without `/proc`.
#[cfg(not(target_os = "linux"))]
pub(super) fn holder(_: u16) -> Option<PortHolder> {
    None
}

#[cfg(target_os = "linux")]
use linux::{claims, listeners, owner_of, read};

#[cfg(target_os = "linux")]
mod linux {
    use super::super::claim;
    use super::PortHolder;

    pub(super) fn read(path: &str) -> String {
        fs_err::read_to_string(path).unwrap_or_default()
    }

    /// Inodes of the listening sockets in a table like `/proc/net/tcp`.
    pub(super) fn listeners(table: &str, port: u16) -> Vec<String> {
        const LISTEN: &str = "0A";
        let suffix = format!(":{port:04X}");
        let inode = |line: &str| {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            let [_, local, _, LISTEN, _, _, _, _, _, inode, ..] = fields[..] else { return None };
            local.ends_with(&suffix).then(|| inode.to_owned())
        };
        table.lines().filter_map(inode).collect()
    }

    /// Inodes of the sockets in `/proc/net/unix` that claim the port.
    pub(super) fn claims(table: &str, port: u16) -> Vec<String> {
        let name = format!("@{}", claim::name(port));
        let inode = |line: &str| {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            let [_, _, _, _, _, _, inode, path] = fields[..] else { return None };
            (path == name).then(|| inode.to_owned())
        };
        table.lines().filter_map(inode).collect()
    }

    /// The process with a file descriptor that links to `link`.
    pub(super) fn owner_of(link: &str) -> Option<PortHolder> {
        let pids = fs_err::read_dir("/proc")
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let has_link = |pid: &i32| {
            let Ok(files) = fs_err::read_dir(format!("/proc/{pid}/fd")) else { return false };
            files
                .flatten()
                .any(|file| fs_err::read_link(file.path()).is_ok_and(|target| target.as_os_str() == link))
        };
        let pid = { pids }.find(has_link)?;
        let command = read(&format!("/proc/{pid}/comm")).trim_end().to_owned();
        Some(PortHolder { pid, command })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_listeners_on_this_very_port_count() {
            let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                \x20  0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 111 1 x 100\n\
                \x20  1: 0100007F:1539 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 222 1 x 100\n\
                \x20  2: 0100007F:1538 0100007F:A001 01 00000000:00000000 00:00000000 00000000   101        0 333 1 x 100\n";
            assert_eq!(listeners(table, 5432), ["111"]);
        }

        #[test]
        fn a_claim_is_found_by_its_whole_name() {
            let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                ffff: 00000002 00000000 00000000 0002 01 111 @recipe-port-20000\n\
                ffff: 00000002 00000000 00000000 0002 01 222 @recipe-port-2000\n\
                ffff: 00000002 00000000 00000000 0002 01 333\n";
            assert_eq!(claims(table, 2000), ["222"]);
        }
    }
}
