//! Reading from a socket that does not block, and writing to it: two calls a request, and most of what it costs.
//!
//! The C library's functions are points where a thread can be cancelled, which takes two atomic changes a call. Nobody cancels threads here, so
//! on Linux the kernel is called without them.

use std::io;
use std::os::fd::BorrowedFd;

/// Reads what there is, as far as there is room.
#[inline]
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes into the buffer, and not beyond its end.
    result(unsafe { system::receive(socket, buffer.as_mut_ptr(), buffer.len()) })
}

/// Writes as much as the socket takes. A peer that has gone is an error, and no signal.
#[inline]
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel reads these bytes.
    result(unsafe { system::send(socket, bytes.as_ptr(), bytes.len()) })
}

#[inline]
fn result(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod system {
    use std::os::fd::{AsRawFd, BorrowedFd};
    use std::ptr::null;

    /// # Safety
    /// So many bytes from there on can be written.
    #[inline]
    pub unsafe fn receive(socket: BorrowedFd<'_>, to: *mut u8, len: usize) -> isize {
        // SAFETY: as the caller says; without an address there is none to be written.
        let count = unsafe {
            libc::syscall(libc::SYS_recvfrom, socket.as_raw_fd(), to, len, 0, null::<libc::sockaddr>(), null::<u32>())
        };
        count as isize
    }

    /// # Safety
    /// So many bytes from there on can be read.
    #[inline]
    pub unsafe fn send(socket: BorrowedFd<'_>, from: *const u8, len: usize) -> isize {
        // SAFETY: as the caller says; without an address there is none to be read.
        let count = unsafe {
            libc::syscall(
                libc::SYS_sendto,
                socket.as_raw_fd(),
                from,
                len,
                libc::MSG_NOSIGNAL,
                null::<libc::sockaddr>(),
                0,
            )
        };
        count as isize
    }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
mod system {
    use std::os::fd::{AsRawFd, BorrowedFd};

    /// Where there is no such flag, std has ignored the signal.
    #[cfg(target_vendor = "apple")]
    const FLAGS: libc::c_int = 0;
    #[cfg(not(target_vendor = "apple"))]
    const FLAGS: libc::c_int = libc::MSG_NOSIGNAL;

    /// # Safety
    /// So many bytes from there on can be written.
    pub unsafe fn receive(socket: BorrowedFd<'_>, to: *mut u8, len: usize) -> isize {
        // SAFETY: as the caller says.
        unsafe { libc::recv(socket.as_raw_fd(), to.cast(), len, 0) }
    }

    /// # Safety
    /// So many bytes from there on can be read.
    pub unsafe fn send(socket: BorrowedFd<'_>, from: *const u8, len: usize) -> isize {
        // SAFETY: as the caller says.
        unsafe { libc::send(socket.as_raw_fd(), from.cast(), len, FLAGS) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn as_std_does_it() {
        let (here, there) = UnixStream::pair().unwrap();
        for stream in [&here, &there] {
            stream.set_nonblocking(true).unwrap();
        }
        let mut buffer = [0; 4];
        assert_eq!(receive(here.as_fd(), &mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(send(there.as_fd(), b"word").unwrap(), 4);
        assert_eq!(send(there.as_fd(), b"s").unwrap(), 1);
        assert_eq!(receive(here.as_fd(), &mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"word");
        assert_eq!(receive(here.as_fd(), &mut buffer).unwrap(), 1);

        let large = vec![b'x'; 1 << 20];
        let taken = send(there.as_fd(), &large).unwrap();
        assert!(taken < large.len());
        assert_eq!(send(there.as_fd(), &large).unwrap_err().kind(), ErrorKind::WouldBlock);

        drop(there);
        let mut buffer = vec![0; 2 << 20];
        let mut rest = 0;
        loop {
            match receive(here.as_fd(), &mut buffer).unwrap() {
                0 => break,
                count => rest += count,
            }
        }
        assert_eq!(rest, taken);
        assert_eq!(send(here.as_fd(), b"anybody?").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
