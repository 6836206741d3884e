//! Framing: a big-endian `u32` length, then that many bytes of JSON. No I/O.

use bytes::{Buf, BufMut, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// The longest frame that is sent or taken: several hundred routes, and far more than one plan.
/// A peer that announces more is broken or hostile, and is hung up on.
pub const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;

const PREFIX_BYTES: usize = 4;

/// A frame that can't be sent or understood. The connection it came on has no next frame.
#[derive(Debug, Error)]
pub enum FrameError {
    /// It is longer than [`MAX_FRAME_BYTES`].
    #[error("a frame of {0} bytes; at most {MAX_FRAME_BYTES} are taken")]
    TooLong(usize),
    /// Its JSON is not that of the expected message.
    #[error("a frame that is no message")]
    Json(#[from] serde_json::Error),
}

/// Appends one message to what is to be sent.
pub fn encode<T: Serialize>(message: &T, out: &mut BytesMut) -> Result<(), FrameError> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len())
        .ok()
        .filter(|_| json.len() <= MAX_FRAME_BYTES);
    out.put_u32(length.ok_or(FrameError::TooLong(json.len()))?);
    out.extend_from_slice(&json);
    Ok(())
}

/// Takes one message from the front of what was received; `None` while it is not there whole.
pub fn decode<T: DeserializeOwned>(received: &mut BytesMut) -> Result<Option<T>, FrameError> {
    let Some(prefix) = received.first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*prefix) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong(length));
    }
    if received.len() < PREFIX_BYTES + length {
        received.reserve(PREFIX_BYTES + length - received.len());
        return Ok(None);
    }
    received.advance(PREFIX_BYTES);
    let json = received.split_to(length);
    Ok(Some(serde_json::from_slice(&json)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_announced_length_beyond_the_bound_is_refused_before_it_arrives() {
        let mut received = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
        assert!(matches!(
            decode::<String>(&mut received),
            Err(FrameError::TooLong(_))
        ));
    }

    proptest! {
        #[test]
        fn messages_survive_any_cut(texts in prop::collection::vec(".{0,20}", 0..8), cut in 1usize..16) {
            let mut sent = BytesMut::new();
            for text in &texts {
                encode(text, &mut sent).unwrap();
            }
            let (mut received, mut taken) = (BytesMut::new(), Vec::new());
            for part in sent.chunks(cut) {
                received.extend_from_slice(part);
                while let Some(text) = decode::<String>(&mut received).unwrap() {
                    taken.push(text);
                }
            }
            prop_assert_eq!(taken, texts);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut received = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode::<serde_json::Value>(&mut received) {}
        }
    }
}
