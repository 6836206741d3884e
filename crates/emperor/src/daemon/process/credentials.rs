//! Messages whose sender the kernel names.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, UCred, recvmsg};

/// Receives into a buffer, and says how much and from whom.
///
/// There is room for the credentials alone: descriptors that somebody sends along find none, and
/// the kernel drops them.
pub(super) fn receive(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Option<UCred>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let from = ancillary.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmCredentials(from) => Some(from),
        _ => None,
    });
    Ok((received.bytes, from))
}
