//! [`frame`]s for tokio's byte streams: both ends of the link read and write by this.
//! Only the shape of a codec comes from there; what reads and writes are the programs.

use std::io;
use std::marker::PhantomData;

use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio_util::codec::{Decoder, Encoder};

use crate::frame::{self, FrameError};

/// Takes messages of one type, and sends those of another.
#[derive(Debug, Clone, Copy)]
pub struct FrameCodec<In, Out>(PhantomData<(In, Out)>);

/// A stream that carries no next frame.
#[derive(Debug, Error)]
pub enum CodecError {
    /// It can't be read from or written to.
    #[error("the link broke: {0}")]
    Io(#[from] io::Error),
    /// What came is no frame, or what was to go makes none.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl<In, Out> Default for FrameCodec<In, Out> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<In: DeserializeOwned, Out> Decoder for FrameCodec<In, Out> {
    type Item = In;
    type Error = CodecError;

    fn decode(&mut self, received: &mut BytesMut) -> Result<Option<In>, CodecError> {
        Ok(frame::decode(received)?)
    }
}

impl<In, Out: Serialize> Encoder<&Out> for FrameCodec<In, Out> {
    type Error = CodecError;

    fn encode(&mut self, message: &Out, out: &mut BytesMut) -> Result<(), CodecError> {
        Ok(frame::encode(message, out)?)
    }
}
