//! A program that looks on while a run goes on: `--events-fd`, `--events-socket`.

use std::fs::File;
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::cli::RunArgs;
use crate::report::Stream;
use crate::run::{Failure, Kind};
use crate::supervise;

/// The stream to whoever was named on the command line.
pub(super) fn open(args: &RunArgs) -> Result<Option<Stream>, Failure> {
    if let Some(path) = &args.events_socket {
        let stream = UnixStream::connect(path).map_err(|error| {
            Failure::new(Kind::Usage, format!("nobody can be reached at the socket {}", path.display()))
                .hint("start the program that listens there first")
                .cause(error)
        })?;
        return Ok(Some(Stream::to(stream)));
    }
    let Some(number) = args.events_fd else { return Ok(None) };
    inherited(number).map(|file| Some(Stream::to(file)))
}

/// Takes over a descriptor that was open when this process began.
fn inherited(number: i32) -> Result<File, Failure> {
    let closed = || {
        Failure::new(Kind::Usage, format!("the file descriptor {number} is not open"))
            .hint(format!("open it for recipe, as in `recipe run .. --events-fd {number} {number}> FILE`"))
    };
    let file = File::from(supervise::inherited(number).ok_or_else(closed)?);
    // Servers that outlive this process must not hold its other end open.
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|errno| closed().cause(errno))?;
    Ok(file)
}
