//! Directories that a process sees another content in, without a copy: overlayfs,
//! mounted in a namespace of the process's own between fork and exec. The mount
//! goes with the last process that sees it, however that ends.
//!
//! Who is root mounts before the process gets its user. Anybody else needs a
//! namespace of users, which not every system lets them have.

use std::fs::File;
use std::io;
use std::path::Path;

use super::protocol::{Overlay, User};

/// Keeps the content from being removed, for as long as this is open.
pub(super) fn hold(overlay: &Overlay) -> io::Result<File> {
    let file = File::open(&overlay.lock)?;
    file.try_lock_shared()?;
    Ok(file)
}

/// What has to be done between fork and exec, where nothing may be allocated.
#[cfg(target_os = "linux")]
pub(super) struct Mount {
    at: std::ffi::CString,
    options: std::ffi::CString,
    user: Option<User>,
    /// The texts of `uid_map` and `gid_map` of a namespace of users.
    maps: Option<[String; 2]>,
}

#[cfg(target_os = "linux")]
impl Mount {
    /// Of a process that is to run as `user`.
    pub(super) fn prepare(overlay: &Overlay, user: Option<User>) -> io::Result<Self> {
        use std::os::unix::ffi::OsStrExt;

        let mut options = Vec::new();
        for (name, path) in
            [("lowerdir=", &overlay.lower), (",upperdir=", &overlay.at), (",workdir=", &overlay.work)]
        {
            let path = path.as_os_str().as_bytes();
            if path.iter().any(|byte| b",:\\".contains(byte)) {
                return Err(io::Error::other("a path has a character that mount options cannot hold"));
            }
            options.extend_from_slice(name.as_bytes());
            options.extend_from_slice(path);
        }
        let ids = (nix::unistd::geteuid(), nix::unistd::getegid());
        let maps = (!ids.0.is_root()).then(|| [format!("{0} {0} 1", ids.0), format!("{0} {0} 1", ids.1)]);
        if maps.is_some() {
            // Others than root cannot write `trusted.` ones.
            options.extend_from_slice(b",userxattr");
        }
        let text = |bytes: Vec<u8>| std::ffi::CString::new(bytes).map_err(io::Error::other);
        let at = text(overlay.at.as_os_str().as_bytes().to_owned())?;
        Ok(Self { at, options: text(options)?, user, maps })
    }

    /// Mounts it for this process alone, and becomes its user.
    pub(super) fn enter(&self) -> io::Result<()> {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

        let nothing: Option<&std::ffi::CStr> = None;
        if let Some([users, groups]) = &self.maps {
            unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
            write(c"/proc/self/uid_map", users)?;
            // Else the kernel takes no map of groups.
            write(c"/proc/self/setgroups", "deny")?;
            write(c"/proc/self/gid_map", groups)?;
        } else {
            unshare(CloneFlags::CLONE_NEWNS)?;
        }
        // What others mount later is seen here, too, and not the other way round.
        mount(nothing, c"/", nothing, MsFlags::MS_REC | MsFlags::MS_SLAVE, nothing)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let options = Some(self.options.as_c_str());
        mount(Some(c"overlay"), self.at.as_c_str(), Some(c"overlay"), flags, options)?;
        if let Some(user) = self.user {
            setgroups(&[])?;
            setgid(Gid::from_raw(user.gid))?;
            setuid(Uid::from_raw(user.uid))?;
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn write(path: &std::ffi::CStr, text: &str) -> nix::Result<()> {
    use nix::fcntl::{OFlag, open};
    let file = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?;
    nix::unistd::write(file, text.as_bytes()).map(drop)
}

#[cfg(not(target_os = "linux"))]
pub(super) struct Mount;

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unused_self, reason = "as on Linux")]
impl Mount {
    pub(super) fn prepare(_: &Overlay, _: Option<User>) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn enter(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Removes a directory. The kernel leaves one in `work` that not even its owner
/// may enter.
///
/// # Errors
/// When something in it cannot be removed.
pub fn remove_all(folder: &Path) -> io::Result<()> {
    match fs_err::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(folder)?;
            fs_err::remove_dir_all(folder)
        }
        removed => removed,
    }
}

fn open_up(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs_err::set_permissions(folder, PermissionsExt::from_mode(0o700))?;
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_the_kernel_leaves_in_work_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("run/postgres/work");
        std::fs::create_dir_all(work.join("work/deeper")).unwrap();
        std::fs::write(work.join("file"), "").unwrap();
        std::fs::set_permissions(work.join("work"), PermissionsExt::from_mode(0o000)).unwrap();
        remove_all(&folder.path().join("run")).unwrap();
        assert!(!folder.path().join("run").exists());
        let error = remove_all(&folder.path().join("run")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
