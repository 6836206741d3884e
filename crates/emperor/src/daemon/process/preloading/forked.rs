//! A worker that was just forked, and waits for its plan.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustix::net::UCred;
use rustix::net::sockopt::set_socket_passcred;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;
use wire::exec::ExecPlan;
use wire::frame;
use wire::preload::{ForkPlan, WorkerWord};

use super::super::child::Child;
use super::super::credentials;
use super::super::failure::{PreloadFailure, SpawnFailure};
use super::super::helper;
use super::handle::Preloader;

/// How long a fork may take, and how long its plan. Only a preloader that was stopped, or a machine
/// without memory, makes either last.
const DEADLINE: Duration = Duration::from_secs(10);

/// A worker says its first word in far fewer bytes.
const WORD_BYTES: usize = 4096;

/// A worker that waits for its plan.
#[derive(Debug)]
pub(in super::super) struct Forked {
    pub(in super::super) child: Arc<Child>,
    preloader: Arc<Preloader>,
    link: UnixStream,
}

impl Forked {
    /// Has one forked. Resolves once it says that it is there; who says so is told by the kernel.
    pub(in super::super) async fn fork(preloader: &Arc<Preloader>) -> Result<Self, SpawnFailure> {
        let (link, theirs) = make_link().map_err(|error| SpawnFailure::Helper {
            doing: "make a socket for",
            error,
        })?;
        preloader.order_fork(theirs).await?;
        Ok(Self::meet(link, preloader).await?)
    }

    async fn meet(link: UnixStream, preloader: &Arc<Preloader>) -> Result<Self, PreloadFailure> {
        let uid = preloader.uid();
        let met = timeout(DEADLINE, first_word(&link)).await;
        let (word, from) = met
            .ok()
            .and_then(Result::ok)
            .flatten()
            .ok_or(PreloadFailure::Gone)?;
        match word {
            WorkerWord::Here if from.uid.as_raw() == uid => {}
            WorkerWord::Here => return Err(PreloadFailure::Foreign),
            WorkerWord::Failed(why) => return Err(PreloadFailure::Worker(why)),
        }
        let child = Child::forked(from.pid, uid, preloader);
        let child = child.map_err(|_| PreloadFailure::Gone)?;
        Ok(Self {
            child: Arc::new(child.ok_or(PreloadFailure::Foreign)?),
            preloader: Arc::clone(preloader),
            link,
        })
    }

    /// Limits and walls that were asked for and that it runs without.
    pub(in super::super) fn missing(&self) -> &[String] {
        self.preloader.missing()
    }

    /// Lets it become the worker that this plan describes. It was started as its preloader, so of the
    /// plan only what is its own goes to it.
    pub(in super::super) async fn carry_out(
        self,
        plan: &ExecPlan,
        outputs: [OwnedFd; 2],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), PreloadFailure> {
        let shared = self.preloader.env();
        let own = plan
            .env
            .iter()
            .filter(|variable| !shared.contains(variable));
        let plan = ForkPlan {
            descriptors: plan.descriptors.clone(),
            session_nice: plan.session_nice,
            env: own.cloned().collect(),
        };
        let descriptors = descriptors.iter().copied();
        let descriptors: Vec<_> = descriptors.chain(outputs.iter().map(AsFd::as_fd)).collect();
        let carried_out = async {
            helper::send(&self.link, &plan, &descriptors).await?;
            last_word(&self.link).await
        };
        match timeout(DEADLINE, carried_out).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(why))) => Err(PreloadFailure::Worker(why)),
            Ok(Err(error)) => Err(PreloadFailure::Worker(error.to_string())),
            Err(_) => Err(PreloadFailure::Worker(format!(
                "it was silent for {} s",
                DEADLINE.as_secs()
            ))),
        }
    }
}

/// A worker's link: our end, on which the kernel says who speaks, and its own.
fn make_link() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    set_socket_passcred(&ours, true)?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}

/// `None`: it hung up.
async fn first_word(link: &UnixStream) -> io::Result<Option<(WorkerWord, UCred)>> {
    let mut received = BytesMut::new();
    loop {
        let receive = || receive_once(link, &mut received);
        let Some(from) = link.async_io(Interest::READABLE, receive).await? else {
            return Ok(None);
        };
        if let Some(word) = frame::decode(&mut received).map_err(io::Error::other)? {
            return Ok(Some((word, from)));
        }
        if received.len() >= WORD_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn receive_once(link: &UnixStream, received: &mut BytesMut) -> io::Result<Option<UCred>> {
    let mut bytes = [0; WORD_BYTES];
    let (length, from) = credentials::receive(link, &mut bytes)?;
    received.extend_from_slice(&bytes[..length]);
    Ok(from.filter(|_| length > 0))
}

/// What it says before it hangs up, which is nothing where all went well.
async fn last_word(link: &UnixStream) -> io::Result<Option<String>> {
    let mut received = BytesMut::new();
    loop {
        let mut closed = false;
        link.async_io(Interest::READABLE, || {
            closed = receive_once(link, &mut received)?.is_none();
            Ok(())
        })
        .await?;
        match frame::decode(&mut received).map_err(io::Error::other)? {
            Some(WorkerWord::Failed(why)) => return Ok(Some(why)),
            None if closed && received.is_empty() => return Ok(None),
            None if closed => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(WorkerWord::Here) | None => {}
        }
    }
}
