//! A port's name, held by one supervisor at a time and freed by the kernel when
//! that one ends.

#[cfg(not(target_os = "linux"))]
pub(super) use lock_file::Claim;
#[cfg(target_os = "linux")]
pub(super) use socket::Claim;

/// The name under which supervisors claim a port.
pub(super) fn name(port: u16) -> String {
    format!("recipe-port-{port}")
}

#[cfg(target_os = "linux")]
mod socket {
    use std::io;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    /// A socket with a name in the abstract namespace. Unlike a lock file it
    /// belongs to the network namespace, just as the port does: containers that
    /// share the host's ports see it, ones with ports of their own do not.
    pub(in super::super) struct Claim {
        _socket: UnixDatagram,
    }

    impl Claim {
        /// Fails with `AddrInUse` when somebody else has it.
        pub(in super::super) fn new(port: u16) -> io::Result<Self> {
            let address = SocketAddr::from_abstract_name(super::name(port))?;
            Ok(Self { _socket: UnixDatagram::bind_addr(&address)? })
        }
    }
}

/// For systems without abstract sockets. Built into the tests of all systems.
#[cfg(any(not(target_os = "linux"), test))]
mod lock_file {
    use std::fs::{File, Permissions};
    use std::io;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use nix::errno::Errno;
    use nix::fcntl::{Flock, FlockArg};

    /// A lock on a file in a folder that all users share. Files are never
    /// removed: somebody could hold the lock of one that has no name any more.
    pub(in super::super) struct Claim {
        _lock: Flock<File>,
    }

    impl Claim {
        /// Fails with `AddrInUse` when somebody else has it.
        #[cfg_attr(target_os = "linux", expect(dead_code, reason = "the tests use a folder of their own"))]
        pub(in super::super) fn new(port: u16) -> io::Result<Self> {
            Self::within(Path::new("/tmp/recipe-ports"), port)
        }

        pub(super) fn within(folder: &Path, port: u16) -> io::Result<Self> {
            match fs_err::create_dir(folder) {
                // Whoever comes first makes it usable by all, as `/tmp` is.
                Ok(()) => fs_err::set_permissions(folder, Permissions::from_mode(0o1777))?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            match Flock::lock(open(&folder.join(super::name(port)))?, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => Ok(Self { _lock: lock }),
                Err((_, Errno::EWOULDBLOCK)) => Err(io::ErrorKind::AddrInUse.into()),
                Err((_, errno)) => Err(errno.into()),
            }
        }
    }

    /// Opens for reading, which is enough for a lock and all that other users
    /// may do. Never creates what exists: hardened kernels refuse that for
    /// other users' files, even to root.
    fn open(path: &Path) -> io::Result<File> {
        loop {
            match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => return opened,
            }
            match File::create_new(path) {
                Ok(file) => {
                    // Against a strict umask.
                    file.set_permissions(Permissions::from_mode(0o644))?;
                    return Ok(file);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_lock_file_is_held_once_and_freed_by_its_holder() {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let folder = folder.path().join("ports");
            let claim = Claim::within(&folder, 20_000).expect("it is free");
            let second = Claim::within(&folder, 20_000).map(|_| ()).expect_err("it is held");
            assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
            Claim::within(&folder, 20_001).expect("it is another one");
            drop(claim);
            Claim::within(&folder, 20_000).expect("it is free again");
        }
    }
}
