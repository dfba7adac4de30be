//! All that the compiler cannot check: what is done between fork and exec, a
//! descriptor of which only the number is known, and shared memory.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal;
use nix::unistd::Pid;

use super::overlay::Mount;
use super::protocol::Signal;

/// Takes over a descriptor that was open when this process began; none when it
/// is not. To be called once for a number, before anything else is opened.
#[must_use]
#[expect(unsafe_code, reason = "a number is all that is known of an inherited descriptor")]
pub fn inherited(number: i32) -> Option<OwnedFd> {
    let is_open = Path::new("/dev/fd").join(number.to_string()).exists();
    // SAFETY: It is open, was not opened here, and this is the only owner.
    is_open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Removes a System V segment, once nobody has it attached any more.
#[expect(unsafe_code, reason = "no library wraps shmctl(2)")]
pub(super) fn remove_segment(id: i32) -> nix::Result<()> {
    // SAFETY: IPC_RMID reads and writes no memory of ours.
    Errno::result(unsafe { nix::libc::shmctl(id, nix::libc::IPC_RMID, std::ptr::null_mut()) }).map(drop)
}

/// Arranges what has to be done between fork and exec: default signals, for
/// whoever started recipe may have ignored some; the overlay, with the user; and
/// on Linux a signal from the kernel when the supervisor dies.
#[expect(unsafe_code, reason = "no other way to act between fork and exec")]
pub(super) fn prepare_in_child(command: &mut Command, mount: Option<Mount>, on_supervisor_death: Signal) {
    let supervisor = nix::unistd::getpid();
    let in_child = move || {
        for each in signal::Signal::iterator() {
            // SAFETY: The default disposition runs no code of ours. Fails for
            // SIGKILL and SIGSTOP, which have no other.
            let _ = unsafe { signal::signal(each, signal::SigHandler::SigDfl) };
        }
        if let Some(mount) = &mount {
            mount.enter()?;
        }
        // Last: to become another user clears it.
        die_with(supervisor, on_supervisor_death)
    };
    // SAFETY: The closure makes nothing but system calls, which are
    // async-signal-safe, and does not allocate. Their texts were made before.
    unsafe { command.pre_exec(in_child) };
}

/// The kernel sends it when the *thread* that forked ends: the supervisor has
/// but one.
#[cfg(target_os = "linux")]
fn die_with(supervisor: Pid, signal: Signal) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(signal::Signal::from(signal))?;
    // It may have died before it could be asked for.
    if nix::unistd::getppid() == supervisor { Ok(()) } else { Err(Errno::ESRCH.into()) }
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
fn die_with(_: Pid, _: Signal) -> io::Result<()> {
    Ok(())
}
